"""The cache of finished people within the output, so that an interrupted ingest can resume.

One file holds everybody whom a run has read, one after the other: shared file systems suffer from a file for each person. A person counts
as finished if their record in OUT/.people is whole and nothing that they were read from has changed since: neither their files, nor the
tasks, regions and settings. Those who were set aside are read again, for what was wrong may have been mended.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import safetensors.numpy
from pydantic import TypeAdapter

from dtb.cohort.bids.names import sidecar_of
from dtb.cohort.job import LeftOut, PersonJob, PersonRead
from dtb.cohort.quality import PersonQuality
from dtb.cohort.without_label import paths_in
from dtb.shards.sample import decode_sample, encode_sample
from dtb.version import __version__

_FOLDER = ".people"
_ARRAYS = ("rest_KE", "coverage_R", "present_R")
_LEFT_OUT = TypeAdapter(tuple[LeftOut, ...])
_NOTICES = TypeAdapter(tuple[tuple[str, str], ...])
_QUALITY = TypeAdapter(PersonQuality)
_HEAD = struct.Struct("<8sQI")
_MAGIC = b"dtb-one\n"


class _Place(NamedTuple):
    """Where a record stands: file, first byte, number of bytes."""

    path: Path
    begin: int
    size: int


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
        self._places: dict[str, _Place] = {}
        self._stream: BinaryIO | None = None

    def finished(self, jobs: list[PersonJob]) -> set[str]:
        """Return the pseudonyms of people who need not be read again."""
        self._places = {}
        jobs_by_name = {job.pseudonym: job for job in jobs}
        for path in sorted(self._folder.glob("*.records")):
            for place, record in records_in(path):
                arrays = safetensors.numpy.load(record)
                job = jobs_by_name.get(arrays["pseudonym"].tobytes().decode())
                if job is not None and arrays["read_from"].tobytes() == self._read_from(job):
                    self._places[job.pseudonym] = place
        return set(self._places)

    def keep(self, job: PersonJob, read: PersonRead) -> None:
        """Add a person who was read."""
        assert read.record is not None
        assert read.quality is not None
        texts = {
            "pseudonym": job.pseudonym.encode(),
            "read_from": self._read_from(job),
            "left_out": _LEFT_OUT.dump_json(read.left_out),
            "notices": _NOTICES.dump_json(read.notices),
            "quality": json.dumps(dataclasses.asdict(read.quality)).encode(),  # here NaN stays NaN
            **encode_sample(read.record),
        }
        arrays = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
        arrays |= {name: found for name in _ARRAYS if (found := getattr(read, name)) is not None}
        record = safetensors.numpy.save(arrays)
        if self._stream is None:
            self._stream = self._new_file()
        # Without waiting for the disk: what a power cut spoils fails its checksum, and the person is read again.
        self._stream.write(_HEAD.pack(_MAGIC, len(record), zlib.crc32(record)))
        begin = self._stream.tell()
        self._stream.write(record)
        self._stream.flush()
        self._places[job.pseudonym] = _Place(Path(self._stream.name), begin, len(record))

    def close(self) -> None:
        """Close the file of this run: some file systems keep a folder that holds an open one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def load(self, job: PersonJob) -> PersonRead:
        """Return a finished person, as read."""
        place = self._places[job.pseudonym]
        with place.path.open("rb") as stream:
            stream.seek(place.begin)
            arrays = safetensors.numpy.load(stream.read(place.size))
        return PersonRead(
            pseudonym=job.pseudonym,
            record=decode_sample(arrays["json"].tobytes(), arrays["safetensors"].tobytes()),
            reason="",
            left_out=_LEFT_OUT.validate_json(arrays["left_out"].tobytes()),
            quality=_QUALITY.validate_python(json.loads(arrays["quality"].tobytes())),
            notices=_NOTICES.validate_json(arrays["notices"].tobytes()),
            rest_KE=arrays.get("rest_KE"),
            coverage_R=arrays.get("coverage_R"),
            present_R=arrays.get("present_R"),
        )

    def _new_file(self) -> BinaryIO:
        """Open the file of this run; what an earlier one wrote may end in the middle of a record."""
        self._folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.stem) for path in self._folder.glob("*.records")]
        return (self._folder / f"{max(numbers, default=0) + 1:04d}.records").open("xb")

    def _read_from(self, job: PersonJob) -> bytes:
        """Return what a person is read from: files by path, size and time of change, and everything shared."""
        files = list(paths_in(job.files))
        sidecars = [found for path in files if (found := sidecar_of(path))]
        # Each folder is listed once for all files of a person: file systems that are shared are slow at that.
        folders = dict.fromkeys(path.parent for path in files)
        confounds = [found for folder in folders for found in sorted(folder.glob("*_desc-confounds_*.tsv"))]
        states = [(str(path), fingerprint_of_file(path)) for path in dict.fromkeys(files + sidecars + confounds)]
        return hashlib.sha256(repr((self._read_with, job.covariates, states)).encode()).hexdigest().encode()


def records_in(path: Path) -> Iterator[tuple[_Place, bytes]]:
    """Yield the whole records of a file with their places; one that is damaged is passed over, and nothing follows one that was cut."""
    with path.open("rb") as stream:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            magic, size, checksum = _HEAD.unpack(head)
            begin, left = stream.tell(), os.fstat(stream.fileno()).st_size - stream.tell()
            if magic != _MAGIC or size > left:
                return
            record = stream.read(size)
            if zlib.crc32(record) == checksum:
                yield _Place(path, begin, size), record


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
