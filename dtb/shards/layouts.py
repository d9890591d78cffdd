"""People's layouts, and a store of them on this node's own disk: whoever lays a person out first writes, and all ranks of the node read.

A layout is the same in each epoch. To make one takes ten milliseconds or more, to read one a fraction of that: files are mapped, so the
system keeps them in memory as far as there is room, once for all ranks, and gives that up when others need it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy

from dtb.files import lock, written_whole

_DTYPES = {"BOOL": "?", "I16": "<i2", "I64": "<i8", "F32": "<f4", "F64": "<f8"}
_TRIALS = "trials."
_USERS = ".users"
KEEP_FREE = 0.15
"""Share of a disk that stays free: Ray takes no more work where less than a twentieth is."""
_MEMORY_KEPT_FREE = 0.5
_IN_MEMORY = {"tmpfs", "ramfs"}
_WITHOUT_LOCKS = (
    "Nobody can tell which processes use the layouts there, so none are removed: remove the folder after the training, or set TMPDIR to a "
    "disk of this node."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """One person's segments of a part, before padding.

    Attributes
    ----------
    pseudonym : str
    connectome_E : ndarray
    stimulus_KTI, task_K, run_K, session_K, start_seconds_K, press_KTA, at_risk_KT, counted_KT : ndarray
    bold_KVR, bold_counted_KV, bold_steps_KT, volume_seconds_KV : ndarray
        As in `dtb.twin.batch.Batch`, without the subject's axis.
    trials : dict of str to ndarray
        As in `dtb.twin.batch.TrialTensors`.
    """

    pseudonym: str
    connectome_E: np.ndarray
    stimulus_KTI: np.ndarray
    task_K: np.ndarray
    run_K: np.ndarray
    session_K: np.ndarray
    start_seconds_K: np.ndarray
    press_KTA: np.ndarray
    at_risk_KT: np.ndarray
    counted_KT: np.ndarray
    bold_KVR: np.ndarray
    bold_counted_KV: np.ndarray
    bold_steps_KT: np.ndarray
    volume_seconds_KV: np.ndarray
    trials: dict[str, np.ndarray]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by names that `of` knows."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return own | {f"{_TRIALS}{name}": value for name, value in self.trials.items()}

    @classmethod
    def of(cls, pseudonym: str, arrays: dict[str, np.ndarray]) -> Layout:
        """Make a layout of its arrays."""
        trials = {name.removeprefix(_TRIALS): value for name, value in arrays.items() if name.startswith(_TRIALS)}
        own: dict[str, Any] = {name: value for name, value in arrays.items() if not name.startswith(_TRIALS)}
        return cls(pseudonym, trials=trials, **own)


class LayoutStore:
    """Layouts in a folder that only this user can enter, and that goes with the last process that uses it.

    Parameters
    ----------
    what : object
        All that layouts depend on, beside person and part, as JSON values: stores of the same are one.
    place : Path, optional
        On the node's own disk; the temporary folder (`TMPDIR`) if not given.

    Attributes
    ----------
    folder : Path
    is_full : bool
        Whether a layout could not be kept, because the disk would be too full.
    """

    def __init__(self, what: object, place: Path | None = None) -> None:
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]
        self._base = _own_folder(place or Path(tempfile.gettempdir()))
        self.folder = self._base / key
        self.is_full = False
        self._is_in_memory = _kind_of_disk(self._base) in _IN_MEMORY
        with self._alone():
            for other in self._base.iterdir():
                if other.is_dir() and other != self.folder:
                    _remove_if_unused(other)  # somebody was killed
            self.folder.mkdir(exist_ok=True, mode=0o700)
            self._users: BinaryIO = (self.folder / _USERS).open("wb")
            lock(self._users.fileno(), self._base, lacking=_WITHOUT_LOCKS, shared=True)

    def close(self) -> None:
        """End the use of the store; the last one removes it."""
        with self._alone():
            self._users.close()
            _remove_if_unused(self.folder)

    def read(self, pseudonym: str, part: str) -> Layout | None:
        """Return a person's layout, mapped from the disk; None if it is not there."""
        try:
            with self._path(pseudonym, part).open("rb") as stream:
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            mapped.madvise(mmap.MADV_WILLNEED)  # whole, where the system has forgotten it
        except FileNotFoundError:
            return None
        return Layout.of(pseudonym, _arrays_in(mapped))

    def write(self, layout: Layout, part: str) -> None:
        """Keep a layout, if there is room."""
        if not self._has_room():
            self.is_full = True
            return
        arrays = {name: np.ascontiguousarray(array) for name, array in layout.arrays.items()}
        try:
            with written_whole(self._path(layout.pseudonym, part), sync=False) as temporary:
                safetensors.numpy.save_file(arrays, temporary)
        except OSError:  # the disk has become full, or there is none
            self.is_full = True

    def is_first_to_tell(self) -> bool:
        """Whether nobody else of this node has said yet that the disk is too full."""
        try:
            (self.folder / ".told").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _path(self, pseudonym: str, part: str) -> Path:
        return self.folder / f"{hashlib.sha256(f'{part}/{pseudonym}'.encode()).hexdigest()[:32]}.safetensors"

    def _has_room(self) -> bool:
        disk = shutil.disk_usage(self.folder)
        if disk.free < KEEP_FREE * disk.total:
            return False
        return not self._is_in_memory or _free_memory_share() > _MEMORY_KEPT_FREE

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep every other process of this node from opening and closing stores."""
        with (self._base / ".lock").open("a") as stream:
            lock(stream.fileno(), self._base, lacking=_WITHOUT_LOCKS)
            yield


def _arrays_in(mapped: mmap.mmap) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file without copying them, as its own reader would."""
    size = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + size])
    return {
        name: np.ndarray(
            entry["shape"], _DTYPES[entry["dtype"]], buffer=mapped, offset=8 + size + entry["data_offsets"][0]
        )
        for name, entry in header.items()
    }


def _own_folder(place: Path) -> Path:
    """Return this user's folder of stores, which nobody else can enter."""
    folder = place / f"dtb-layouts-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    # A temporary folder is everybody's: who made this one first could read what is written there.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return Path(tempfile.mkdtemp(prefix="dtb-layouts-", dir=place))
    return folder


def _remove_if_unused(folder: Path) -> None:
    """Remove a store that no process uses."""
    try:
        with (folder / _USERS).open("rb") as stream:
            if not lock(stream.fileno(), folder.parent, lacking=_WITHOUT_LOCKS, wait=False):
                return  # nobody knows who uses it
    except BlockingIOError:
        return
    except OSError:  # it was cut off when it was made, or removed
        pass
    shutil.rmtree(folder, ignore_errors=True)


def _kind_of_disk(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of the file system that a folder lies on, as Linux names it; nothing elsewhere."""
    found = Path(), ""
    with contextlib.suppress(OSError):
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            _, where, kind, *_ = line.split(" ")
            if folder.is_relative_to(where) and len(where) >= len(str(found[0])):
                found = Path(where), kind
    return found[1]


def _free_memory_share(cgroups: Path = Path("/sys/fs/cgroup"), memory: Path = Path("/proc/meminfo")) -> float:
    """Return the share of the memory of the machine, or of this container, that is free."""
    shares = [math.inf]
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = dict(line.split(":", 1) for line in memory.read_text(encoding="ascii").splitlines())
        free, total = (int(lines[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
        shares.append(free / total)
    with contextlib.suppress(OSError, ValueError, KeyError):
        used = dict(line.split() for line in (cgroups / "memory.stat").read_text(encoding="ascii").splitlines())
        limit = int((cgroups / "memory.max").read_text(encoding="ascii"))  # "max" is no number
        shares.append(1 - (int(used["anon"]) + int(used["shmem"])) / limit)
    return min(shares)
