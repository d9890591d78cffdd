"""Opening a cohort, and reading any person by pseudonym.

The headers of each tar are read once; then two reads at known places fetch a person's two members. So people can be read in any order at
the same cost, and a global shuffle needs no buffer.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dtb.errors import DamagedOutputError, InputDataError, UserError
from dtb.files import readable, sha256_of
from dtb.people.records import SubjectRecord
from dtb.shards.manifest import Manifest, ShardEntry
from dtb.shards.possible import ImpossibleRecordError, TaskSizes, impossible, sizes_of_tasks
from dtb.shards.remote import SERVERS, open_copy, url_of, warn_if_cache_is_small
from dtb.shards.sample import decode_header, decode_sample
from dtb.stages import STAGE_FILE, broken_seals, require_complete

PLACE_FILE = "shards_lie_at.txt"
_LONGEST_PLACE, _LONGEST_QUOTE = 4096, 200
_ADVICE = "Copy it again from where it was made, or run `dtb ingest` anew."


class Cohort:
    """People in shards. Cheap to send to another process: it holds no open file.

    Attributes
    ----------
    path : Path
        The folder, or a URL.
    manifest : Manifest
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._shard_of = {pseudonym: shard for shard in manifest.shards for pseudonym in shard.subjects}
        self._url = url_of(path)
        self._places: dict[str, dict[str, tuple[int, int]]] = {}
        self._tasks: dict[str, TaskSizes] | None = None

    @property
    def pseudonyms(self) -> tuple[str, ...]:
        """Return all pseudonyms, in the order of the shards."""
        return self.manifest.pseudonyms

    def __len__(self) -> int:
        return len(self._shard_of)

    def records(self, pseudonyms: Iterable[str] | None = None) -> Iterator[SubjectRecord]:
        """Read people in the given order, or everybody in the order of the shards.

        Raises
        ------
        InputDataError
            There is no person of that pseudonym.
        DamagedOutputError
            The shard does not hold what the manifest says, or numbers of somebody's that nobody can have (`ImpossibleRecordError`).
        """
        for pseudonym in self.pseudonyms if pseudonyms is None else pseudonyms:
            yield self.record(pseudonym)

    def record(self, pseudonym: str) -> SubjectRecord:
        """Read one person; see `records`."""
        shard = self._shard(pseudonym)
        json_bytes, arrays = self._read(shard, (f"{pseudonym}.json", f"{pseudonym}.safetensors"))
        try:
            record = decode_sample(json_bytes, arrays)
            if record.pseudonym != pseudonym:
                raise ValueError("it is somebody else's")
        except ValueError as error:
            raise DamagedOutputError(
                f"{self.path / shard.name}: the entry of {pseudonym} cannot be read ({error}). {_ADVICE}"
            ) from None
        if self._tasks is None:
            self._tasks = sizes_of_tasks(self.manifest.description.taskset)
        if (reason := impossible(record, self._tasks)) is not None:
            raise ImpossibleRecordError(f"{self.path / shard.name}: {pseudonym}, {reason}. {_ADVICE}", reason)
        return record

    def header(self, pseudonym: str) -> dict[str, Any]:
        """Read a person's covariates and list of runs, without any array."""
        shard = self._shard(pseudonym)
        (json_bytes,) = self._read(shard, (f"{pseudonym}.json",))
        try:
            return decode_header(json_bytes)
        except ValueError as error:
            raise DamagedOutputError(
                f"{self.path / shard.name}: the entry of {pseudonym} cannot be read ({error}). {_ADVICE}"
            ) from None

    def _shard(self, pseudonym: str) -> ShardEntry:
        try:
            return self._shard_of[pseudonym]
        except KeyError:
            raise InputDataError(f"{self.path} holds no person with the pseudonym {pseudonym!r}.") from None

    def connectome(self, pseudonym: str) -> np.ndarray:
        """Read a person's connectome alone, (E,) float32."""
        shard = self._shard(pseudonym)
        with self._reading(shard) as (stream, places):
            begin, _ = places[f"{pseudonym}.safetensors"]
            stream.seek(begin)
            size = int.from_bytes(stream.read(8), "little")
            entry = json.loads(stream.read(size))["connectome_E"]
            if entry["dtype"] != "F32":
                raise ValueError(f"the connectome of {pseudonym} is of type {entry['dtype']}")
            first, last = entry["data_offsets"]
            stream.seek(begin + 8 + size + first)
            return np.frombuffer(stream.read(last - first), "<f4").reshape(entry["shape"])

    def _read(self, shard: ShardEntry, members: tuple[str, ...]) -> list[bytes]:
        found = []
        with self._reading(shard) as (stream, places):
            for offset, size in (places[member] for member in members):
                stream.seek(offset)
                found.append(stream.read(size))
                if len(found[-1]) != size:
                    raise ValueError(f"it ends before the entry of {members[0]} does")
        return found

    @contextlib.contextmanager
    def _reading(self, shard: ShardEntry) -> Iterator[tuple[BinaryIO, dict[str, tuple[int, int]]]]:
        """Open a shard, whose members are found once; what a damaged one makes a reader raise becomes one sentence."""
        try:
            with self._open(shard) as stream:
                if shard.name not in self._places:
                    self._places[shard.name] = _places_in(stream)
                yield stream, self._places[shard.name]
        except UserError:
            raise
        except (OSError, tarfile.TarError, LookupError, ValueError) as error:
            path = self.path / shard.name
            raise DamagedOutputError(f"{path} does not hold what the manifest says ({error}). {_ADVICE}") from None

    def verify(self, shard: ShardEntry) -> None:
        """Refuse a shard that was altered; a copy from a URL is verified when it is made.

        Raises
        ------
        DamagedOutputError
            Its SHA-256 is not that in the manifest.
        """
        if self._url is None and sha256_of(self.path / shard.name) != shard.sha256:
            raise DamagedOutputError(
                f"{self.path / shard.name} was altered: its SHA-256 is not the manifest's. {_ADVICE}"
            )

    def _open(self, shard: ShardEntry) -> BinaryIO:
        if self._url is None:
            return (self.path / shard.name).open("rb", buffering=0)
        return open_copy(f"{self._url}/{shard.name}", shard.sha256, shard.num_bytes)


def _places_in(stream: BinaryIO) -> dict[str, tuple[int, int]]:
    """Return offset and size of each member's data within a tar."""
    found: dict[str, tuple[int, int]] = {}
    num_bytes = os.fstat(stream.fileno()).st_size
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            if member.name in found or not member.isreg() or not 0 <= member.size <= num_bytes - member.offset_data:
                raise ValueError(f"{member.name!r} occurs twice, is no plain file or is not all there")
            found[member.name] = member.offset_data, member.size
    return found


def require_ingested(path: Path) -> None:
    """Refuse a folder that `dtb ingest` did not finish. At a URL, the manifest shows it, because it is written last.

    Raises
    ------
    InputDataError, DamagedOutputError
        See `dtb.stages.require_complete`.
    """
    if url_of(path) is None:
        require_complete(path, "ingest")


def home_of(path: Path, manifest: Manifest) -> Path:
    """Return the folder or URL of the shards, which may lie elsewhere (see `dtb.shards.existing`).

    Whoever wrote the folder wrote where they lie too, and may be somebody else: only another folder of the same shards is followed, or a
    URL of a server.

    Parameters
    ----------
    path : Path
    manifest : Manifest
        That of the folder.

    Raises
    ------
    DamagedOutputError
        It is neither.
    """
    place = path / PLACE_FILE
    if url_of(path) is not None or not place.is_file():
        return path
    with readable(place, _ADVICE):
        said = Path(place.read_bytes()[:_LONGEST_PLACE].decode().strip())
        if (url := url_of(said)) is not None:
            is_allowed = url.partition(":")[0] in SERVERS
        else:
            is_allowed = said.is_absolute() and _has_manifest(said, manifest)
    if not is_allowed:
        raise DamagedOutputError(
            f"{place} names {str(said)[:_LONGEST_QUOTE]!r}, which is neither a folder of the same shards nor a URL of a server "
            f"({', '.join(SERVERS)}), and is not read. If the shards have moved, name their folder in place of this one."
        )
    return said


def _has_manifest(folder: Path, manifest: Manifest) -> bool:
    try:
        return Manifest.load(folder).cohort_hash == manifest.cohort_hash
    except UserError:
        return False


def open_cohort(path: Path | str, *, verify: bool = True) -> Cohort:
    """Return the cohort in a folder of shards.

    Parameters
    ----------
    path : Path or str
        Output folder of `dtb ingest`, or the URL of a copy of it, whose shards are verified as each is first needed.
    verify : bool
        Whether to read every shard once and compare its SHA-256. Sizes are always compared. Workers of a stage whose driver
        has verified the cohort need not verify it again.

    Returns
    -------
    Cohort

    Raises
    ------
    InputDataError
        There is no such folder.
    DamagedOutputError
        The manifest is absent, unreadable or altered, or a shard is missing, cut short or altered; the message names it.
    """
    path = Path(path)
    manifest = Manifest.load(path)
    if url_of(path) is None and (path / STAGE_FILE).is_file() and (broken := broken_seals(path)):
        raise DamagedOutputError(
            f"{path / broken[0]} is not as `dtb ingest` wrote it: its SHA-256 is not that in {STAGE_FILE}. {_ADVICE}"
        )
    path = home_of(path, manifest)
    if url_of(path) is not None:
        if verify:
            warn_if_cache_is_small(sum(shard.num_bytes for shard in manifest.shards))
        return Cohort(path, manifest)
    cohort = Cohort(path, manifest)
    for shard in manifest.shards:
        file = path / shard.name
        if not file.is_file():
            raise DamagedOutputError(f"{file} is missing: the manifest names it. {_ADVICE}")
        found = file.stat().st_size
        if found != shard.num_bytes:
            change = "cut short" if found < shard.num_bytes else "longer than it was written"
            raise DamagedOutputError(
                f"{file} is {change}: {found} bytes, the manifest says {shard.num_bytes}. {_ADVICE}"
            )
        if verify:
            cohort.verify(shard)
    return cohort
