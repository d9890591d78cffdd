"""The cache of a tree's file index; a person's part is valid until one of that person's folders changes.

It lies in the user's own cache folder, readable to the user alone: a raw tree is often read-only, and a dry run has no output folder.
Adding, removing or renaming an entry changes its folder's times, so a status of each folder tells. A file whose content changes needs no
new list: only names are kept, and contents are always read from the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from pathlib import Path

import bids2table
import pyarrow as pa
import pyarrow.parquet as pq

from dtb import terminal
from dtb.files import cache_folder, written_whole

_SETTLING_NS = 2_000_000_000
"""A folder that changed later than this before it was listed may change again within the resolution of its clock."""
_VERSION = f"3 {bids2table.__version__}"


@dataclasses.dataclass(frozen=True)
class Listed:
    """One person's folders and files.

    Attributes
    ----------
    folders : list of str
        Paths within the person's folder, itself included.
    changed : list of int
        Of each folder, when its entries and when anything about it changed last: two values each, in nanoseconds.
    files : list of str
        Paths within the tree of functional files that may be read.
    """

    folders: list[str]
    changed: list[int]
    files: list[str]


def list_folders(person: Path) -> Listed:
    """Return a person's folders, without files; None if they changed too recently for their times to be reliable.

    Raises
    ------
    OSError
        A folder cannot be listed, or a link leads to a folder that holds it.
    """
    now = time.time_ns()
    folders: list[str] = []
    changed: list[int] = []
    pending = [(person, frozenset({_identity(person.parent.stat())}))]
    while pending:
        folder, holders = pending.pop()
        status = folder.stat()
        if _identity(status) in holders:
            raise OSError(0, "it is a link to a folder that holds it", str(folder))
        folders.append(str(folder.relative_to(person)))
        changed += _times(status)
        with os.scandir(folder) as entries:
            inner = [Path(entry.path) for entry in entries if is_folder(entry)]
        pending += [(each, holders | {_identity(status)}) for each in inner]
    return Listed(folders, changed, []) if max(changed) < now - _SETTLING_NS else Listed([], [], [])


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or leads to one; a link that leads nowhere or to itself does not."""
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def is_unchanged(person: Path, listed: Listed) -> bool:
    """Return whether all folders of a person are as they were when they were listed."""
    try:
        now = [time_ns for name in listed.folders for time_ns in _times((person / name).stat())]
    except OSError:
        return False
    return bool(now) and now == listed.changed


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ctime_ns


def kept_at(root: Path) -> Path | None:
    """Return the cache file of a tree; None for a user without a home."""
    try:
        folder = cache_folder() / "trees"
    except RuntimeError:
        return None
    return folder / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]}.parquet"


def read_kept(place: Path) -> dict[str, Listed]:
    """Return the cached index by participant label; empty if there is none, or one that this version cannot use."""
    if not place.is_file():
        return {}
    try:
        table = pq.read_table(place)
        if (table.schema.metadata or {}).get(b"version") != _VERSION.encode():
            return {}
        columns = (table[name].to_pylist() for name in ("label", "folders", "changed", "files"))
        return {label: Listed(*one) for label, *one in zip(*columns, strict=True)}
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        terminal.err.print(f"Warning: the list kept in {place} is damaged ({reason}); the tree is listed anew.")
        return {}


def keep(place: Path, people: dict[str, Listed]) -> None:
    """Cache the index of everybody whose folders can show when it is out of date."""
    settled = {label: listed for label, listed in sorted(people.items()) if listed.folders}
    columns = {
        "label": pa.array(settled, pa.string()),
        "folders": pa.array([one.folders for one in settled.values()], pa.list_(pa.string())),
        "changed": pa.array([one.changed for one in settled.values()], pa.list_(pa.int64())),
        "files": pa.array([one.files for one in settled.values()], pa.list_(pa.string())),
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with written_whole(place, sync=False) as temporary:
            pq.write_table(pa.table(columns).replace_schema_metadata({"version": _VERSION}), temporary)
        place.chmod(0o600)
    except (OSError, ValueError, pa.ArrowException) as error:
        terminal.err.print(f"Warning: the list of files cannot be kept in {place} ({error}).")
