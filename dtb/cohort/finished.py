"""The cache of finished people within the output, so that an interrupted ingest can resume.

A person counts as finished if their file in OUT/.people is whole and nothing that they were read from has changed since: neither
their files, nor the tasks, regions and settings. Those who were set aside are read again, for what was wrong may have been mended.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from dtb.cohort.bids.names import sidecar_of
from dtb.cohort.job import LeftOut, PersonJob, PersonRead
from dtb.cohort.quality import PersonQuality
from dtb.cohort.series.confounds import confounds_beside
from dtb.cohort.without_label import paths_in
from dtb.files import written_whole
from dtb.shards.sample import decode_sample, encode_sample
from dtb.version import __version__

_FOLDER = ".people"
_ARRAYS = ("rest_KE", "coverage_R", "present_R")
_LEFT_OUT = TypeAdapter(tuple[LeftOut, ...])
_NOTICES = TypeAdapter(tuple[tuple[str, str], ...])
_QUALITY = TypeAdapter(PersonQuality)


class FinishedPeople:
    """The finished people of one output folder.

    Parameters
    ----------
    out : Path
        Output folder of the stage.
    read_with : object
        Everything that reading depends on besides the files themselves; compared by its `repr`.
    """

    def __init__(self, out: Path, read_with: object) -> None:
        self._folder = out / _FOLDER
        self._read_with = repr((__version__, read_with))

    def finished(self, jobs: list[PersonJob]) -> set[str]:
        """Return the pseudonyms of people who need not be read again."""
        return {job.pseudonym for job in jobs if self._is_whole(job)}

    def keep(self, job: PersonJob, read: PersonRead) -> None:
        """Add a person who was read."""
        assert read.record is not None
        assert read.quality is not None
        texts = {
            "read_from": self._read_from(job),
            "left_out": _LEFT_OUT.dump_json(read.left_out),
            "notices": _NOTICES.dump_json(read.notices),
            "quality": json.dumps(dataclasses.asdict(read.quality)).encode(),  # here NaN stays NaN
            **encode_sample(read.record),
        }
        arrays = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
        arrays |= {name: found for name in _ARRAYS if (found := getattr(read, name)) is not None}
        # Without waiting for the disk: what a power cut spoils fails its checksum, and the person is read again.
        with written_whole(self._path(job), sync=False) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def load(self, job: PersonJob) -> PersonRead:
        """Return a finished person, as read."""
        with np.load(self._path(job), allow_pickle=False) as arrays:
            return PersonRead(
                pseudonym=job.pseudonym,
                record=decode_sample(arrays["json"].tobytes(), arrays["safetensors"].tobytes()),
                reason="",
                left_out=_LEFT_OUT.validate_json(arrays["left_out"].tobytes()),
                quality=_QUALITY.validate_python(json.loads(arrays["quality"].tobytes())),
                notices=_NOTICES.validate_json(arrays["notices"].tobytes()),
                **{name: arrays.get(name) for name in _ARRAYS},
            )

    def _path(self, job: PersonJob) -> Path:
        return self._folder / f"{job.pseudonym}.npz"

    def _is_whole(self, job: PersonJob) -> bool:
        path = self._path(job)
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return False
            with np.load(path, allow_pickle=False) as arrays:
                return bool(arrays["read_from"].tobytes() == self._read_from(job))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            return False

    def _read_from(self, job: PersonJob) -> bytes:
        """Return what a person is read from: files by path, size and time of change, and everything shared."""
        files = list(paths_in(job.files))
        beside = [found for path in files for found in (sidecar_of(path), confounds_beside(path)) if found]
        states = [(str(path), fingerprint_of_file(path)) for path in dict.fromkeys(files + beside)]
        return hashlib.sha256(repr((self._read_with, job.covariates, states)).encode()).hexdigest().encode()


def remove_finished(out: Path) -> None:
    """Remove the cache of an output folder, after the shards are written."""
    shutil.rmtree(out / _FOLDER, ignore_errors=True)


def fingerprint_of_file(path: Path) -> tuple[int, int] | None:
    """Return a file's size and time of change; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
