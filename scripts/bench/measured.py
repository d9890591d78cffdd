"""What a command costs with everything that it starts: wall time, processor time, peak memory, bytes written, and files.

Every quarter of a second all processes below this one are looked at (memory and files every second), also those that outlived their
parents, which Linux hands to this one (`PR_SET_CHILD_SUBREAPER`). What each had used when it was last seen is summed: at most a quarter of
a second of each is missed. What Linux itself says of ended children is too little, for Ray's do not wait for theirs.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

_SUBREAPER = 36
_LOOK_SECONDS = 0.25
_LOOKS_BETWEEN = 4  # at memory and files, which takes longer to look at
_LEFT_SECONDS = 10.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes
    ----------
    wall, cpu : float
        Seconds; those of the processor are of all processes.
    mib : float
        Largest sum of the memory of all processes, what several share counted once (PSS).
    written_mib : float
        What all processes gave to the disks, whether it is there yet or was removed again.
    files, most_files : int
        In the folders that were watched, more than before: at the end, and at most at any time.
    """

    wall: float
    cpu: float
    mib: float
    written_mib: float
    files: int
    most_files: int


def cost_of(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    folders: Sequence[Path],
) -> Cost:
    """Run a command to its end, and return what it cost.

    Parameters
    ----------
    command : sequence of str or Path
    log : Path
        What it prints goes there.
    environment : mapping of str to str
        What it has beside this process's own.
    folders : sequence of Path
        Where files are counted; Ray's own folders and their logs are not.

    Raises
    ------
    SystemExit
        It failed; its last lines are printed.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    had = num_files(folders)
    began = time.perf_counter()
    process = psutil.Popen(
        list(map(str, command)), env={**os.environ, **environment}, stdout=(stream := log.open("wb")), stderr=stream
    )
    looks = Looks(folders)
    with stream, looks.going_on():
        code = process.wait()
        wall = time.perf_counter() - began
        _reap()
    if code:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {code}:\n{log.read_text(errors='replace')[-4000:]}")
    cpu, written = (sum(each) for each in zip(*looks.used.values(), strict=True))
    left = num_files(folders)
    return Cost(wall, cpu, looks.mib, written / 2**20, left - had, max(left, looks.most_files) - had)


def num_files(folders: Sequence[Path]) -> int:
    """Return the number of files in folders, those of Ray apart."""
    found = 0
    for folder in folders:
        for _, inner, files in os.walk(folder):
            inner[:] = [name for name in inner if not name.startswith(("dtb-ray-", "ray"))]
            found += len(files)
    return found


class Looks:
    """What was seen of all processes below this one: the seconds and bytes of each, and the most memory and files at any time."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.used: dict[tuple[int, int], tuple[float, int]] = {}
        self.mib, self.most_files, self._folders = 0.0, 0, folders

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Look again and again until the block ends."""
        done = threading.Event()

        def look() -> None:
            for number in itertools.count():
                if done.wait(_LOOK_SECONDS):
                    return
                self._look(with_memory=number % _LOOKS_BETWEEN == 0)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _look(self, *, with_memory: bool) -> None:
        memory = 0
        for pid in _below(os.getpid()):
            with contextlib.suppress(OSError, StopIteration, ValueError):
                folder = Path(f"/proc/{pid}")
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                written = _number(folder / "io", "write_bytes:")
                # A number of a process may come again: when it began is part of its name.
                self.used[pid, int(fields[19])] = (int(fields[11]) + int(fields[12])) / _TICK, written
                if with_memory:
                    memory += _number(folder / "smaps_rollup", "Pss:")
        self.mib = max(self.mib, memory / 1024)
        if with_memory:
            self.most_files = max(self.most_files, num_files(self._folders))


def _number(path: Path, name: str) -> int:
    """Return the number that stands after a name in a file of `/proc`."""
    lines = path.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _below(pid: int) -> list[int]:
    """Return all processes that a process began, and those that these began."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        own = [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []
    return [*own, *(below for child in own for below in _below(child))]


def _reap() -> None:
    """Wait for processes that were left, and end those that stay: only what has ended is counted."""
    ends = time.monotonic() + _LEFT_SECONDS
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not found:
            if time.monotonic() > ends:
                for process in psutil.Process().children():
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(signal.SIGKILL)
            time.sleep(0.02)
