"""Reading people's files within a memory limit, and in a separate process where the cluster has no memory monitor.

A few hundred bytes can ask for a hundred gigabytes, or keep a library busy for ever. Readers check what they can before they allocate; this
is the wall behind them, so that one person's file costs that person only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from dtb.errors import InputDataError, UserError

_SPARE_GIB = 2.0  # for what an interpreter and its libraries take beside the numbers that are read
_CHILD = "from dtb.cohort.bounded import serve; serve()"

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def bounded_memory(max_memory_gib: float) -> Iterator[None]:
    """Limit the additional memory of this process and its children; beyond it they get a `MemoryError`.

    Only memory of its own counts, not what it shares with others, as Ray's workers do. Where the system does not say how much there is
    (elsewhere than on Linux), nothing is bounded.
    """
    taken = _data_bytes()
    if taken is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = taken + int((max_memory_gib + _SPARE_GIB) * 2**30)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(wanted, *known), hard) if known else (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def needs_too_much(max_memory_gib: float) -> str:
    """Return the message that a file needs more memory than allowed."""
    return f"reading needs more memory than ingest.max_memory_gib {max_memory_gib:g} allows: a damaged file, or raise the limit"


def _data_bytes() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmData:")]
    return 1024 * int(found[0]) if found else None


class ReadingProcess:
    """Another process that reads files, one after another; a crash, a hang or too much memory costs that file only.

    It starts at once and is begun anew after a file that ended it, so that whoever has other things to do need not wait for it.

    Parameters
    ----------
    seconds : float
        How long one file may take.
    max_memory_gib : float
    imports : str
        Module that the process imports as it starts: that of what will read the files.
    """

    def __init__(self, *, seconds: float, max_memory_gib: float, imports: str = __name__) -> None:
        self._seconds = seconds
        self._setup = max_memory_gib, imports
        self._running: _Running | None = _Running(*self._setup)

    def __enter__(self) -> ReadingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result | InputDataError]:
        """Return the results of reading files.

        Parameters
        ----------
        read : callable
            It can be pickled, and so can what it returns.
        items : iterable
            Paths, or values with a `path`.

        Yields
        ------
        object
            What `read` returns, or the error that says why there is nothing.
        """
        for item in items:
            if self._running is None:
                self._running = _Running(*self._setup)
            found = self._running.ask(read, item, self._seconds)
            if isinstance(found, _Ended):
                self._end()
                yield InputDataError(f"{_name_of(item)}: {found.why}.")
            else:
                yield found

    def _end(self) -> None:
        if self._running is not None:
            self._running.end()
        self._running = None


@dataclasses.dataclass(frozen=True)
class _Ended:
    """Why the process is of no more use."""

    why: str


class _Running:
    """One such process, from its start to its end."""

    def __init__(self, max_memory_gib: float, imports: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD],  # -P: no module of the folder that dtb is run in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._requests = Connection(os.dup(self._child.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._child.stdout.fileno()), writable=False)
        self._child.stdin.close()
        self._child.stdout.close()
        with contextlib.suppress(OSError):  # one that is dead already does not answer either
            self._requests.send((max_memory_gib, imports))

    def ask(self, read: Callable[[Item], Result], item: Item, seconds: float) -> Result | InputDataError | _Ended:
        """Return what reading one file gives."""
        try:
            self._requests.send((read, item))
            if not self._answers.poll(seconds):
                return _Ended(f"reading takes longer than {seconds:g} s (ingest.subject_timeout_seconds)")
            found: Result | InputDataError = self._answers.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return _Ended("reading it crashed the process that read it")
        return found

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        self._requests.close()
        self._answers.close()


def _name_of(item: Any) -> str:
    return Path(getattr(item, "path", item)).name


def serve() -> None:
    """Serve requests from standard input on standard output, until there are no more; this is the other process."""
    requests, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # libraries may print
    max_memory_gib, imports = requests.recv()
    importlib.import_module(imports)
    with contextlib.suppress(EOFError):
        while True:
            read, item = requests.recv()
            answers.send(_read_one(read, item, max_memory_gib))


def _read_one(read: Callable[[Item], Result], item: Item, max_memory_gib: float) -> Result | InputDataError:
    name = _name_of(item)
    try:
        with bounded_memory(max_memory_gib):
            return read(item)
    except UserError as error:
        return InputDataError(str(error))
    except MemoryError:
        return InputDataError(f"{name}: {needs_too_much(max_memory_gib)}.")
    except Exception as error:  # noqa: BLE001, one person's unforeseen file must not stop everybody
        return InputDataError(f"{name}: unforeseen {type(error).__name__}: {error}".splitlines()[0])
