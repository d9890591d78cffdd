"""The folder of a private Ray: its driver holds a lock in it, so that a later command can tell what a killed one left, and clears up.

The processes of a Ray whose driver was killed notice after about a minute. Until then they run beside those of a later command, which has a
Ray of its own: another folder, another token.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dtb.files import lock
from dtb.terminal import err

_PREFIX = "dtb-ray-"
_LOCK = "driver"
_WITHOUT_LOCKS = "If this command is killed, no later one removes its Ray's folder there."


@contextlib.contextmanager
def ray_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that only this user can enter, and remove it after the block; folders of drivers that were killed are seen to first.

    Parameters
    ----------
    parent : Path

    Yields
    ------
    Path
    """
    see_to_orphans(parent)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / f".{_LOCK}").open("wb") as stream:
            if lock(stream.fileno(), parent, lacking=_WITHOUT_LOCKS):
                (folder / f".{_LOCK}").rename(folder / _LOCK)  # under this name it is locked from its first moment
            yield folder


def see_to_orphans(parent: Path) -> None:
    """Remove the folders that killed drivers left, and say so of those whose processes still run.

    Parameters
    ----------
    parent : Path
        Folder of the Rays' folders.
    """
    num_running = 0
    for folder in parent.glob(f"{_PREFIX}*"):
        if not _is_left(folder):
            continue
        running = _processes_of(folder)
        num_running += len(running)
        if not running:
            shutil.rmtree(folder, ignore_errors=True)
    if num_running:
        err.print(
            f"Note: {num_running} processes of an earlier Ray, whose command was killed, still run; they end by themselves within about a "
            "minute. This command has a Ray of its own and does not use them."
        )


def _is_left(folder: Path) -> bool:
    """Whether the driver that made a folder, one of this user's, has ended."""
    try:
        with (folder / _LOCK).open("rb") as stream:
            if os.fstat(stream.fileno()).st_uid != os.getuid():
                return False
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # there is none, or it is held
        return False
    return True


def _processes_of(folder: Path) -> list[int]:
    """Return the numbers of this user's processes that were started with a folder in their command or environment."""
    name, found = folder.name.encode(), []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or over
            if any(name in (place / each).read_bytes() for each in ("cmdline", "environ")):
                found.append(int(place.name))
    return found
