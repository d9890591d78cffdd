"""What a command costs with everything that it starts: wall time, processor time, peak memory, bytes written, and files.

Processes that outlive their parents are handed to this one (`PR_SET_CHILD_SUBREAPER`), so that Linux adds their time and their writes to
what this process knows of its children. Memory and files are looked at every half second.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import resource
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_SUBREAPER = 36
_LOOK_SECONDS = 0.5
_LEFT_SECONDS = 10.0


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
    before, written, had = _cpu(), _written(), num_files(folders)
    began = time.perf_counter()
    process = psutil.Popen(
        list(map(str, command)), env={**os.environ, **environment}, stdout=(stream := log.open("wb")), stderr=stream
    )
    with stream, _looking(folders) as looks:
        code = process.wait()
    wall = time.perf_counter() - began
    _reap()
    if code:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {code}:\n{log.read_text(errors='replace')[-4000:]}")
    return Cost(
        wall,
        _cpu() - before,
        max((mib for mib, _ in looks), default=0.0),
        (_written() - written) / 2**20,
        num_files(folders) - had,
        max((files for _, files in looks), default=had) - had,
    )


def num_files(folders: Sequence[Path]) -> int:
    """Return the number of files in folders, those of Ray apart."""
    found = 0
    for folder in folders:
        for _, inner, files in os.walk(folder):
            inner[:] = [name for name in inner if not name.startswith(("dtb-ray-", "ray"))]
            found += len(files)
    return found


@contextlib.contextmanager
def _looking(folders: Sequence[Path]):  # type: ignore[no-untyped-def]
    """Look at memory and files until the block ends."""
    looks: list[tuple[float, int]] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            looks.append((_memory(), num_files(folders)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        done.set()
        thread.join()


def _memory() -> float:
    """Return the MiB of all processes below this one."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError, StopIteration, psutil.Error):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


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


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _written() -> int:
    """Return the bytes that this process and its ended children gave to disks."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(lines["write_bytes"])
