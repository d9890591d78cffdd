"""Reading people's files within a memory limit, and in a separate process where the cluster has no memory monitor.

A few hundred bytes can ask for a hundred gigabytes, or keep a library busy for ever. Readers check what they can before they allocate; this
is the wall behind them, so that one person's file costs that person only.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
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


def read_apart(
    read: Callable[[Item], Result], items: Sequence[Item], *, seconds: float, max_memory_gib: float
) -> Iterator[Result | InputDataError]:
    """Return the results of reading files in another process, one after another; a crash, a hang or too much memory costs that file only.

    Parameters
    ----------
    read : callable
        It can be pickled, and so can what it returns.
    items : sequence
        Paths, or values with a `path`.
    seconds : float
        How long one file may take.
    max_memory_gib : float

    Yields
    ------
    object
        What `read` returns, or the error that says why there is nothing.
    """
    done = 0
    while done < len(items):
        with _started(read, items[done:], max_memory_gib) as answers:
            while done < len(items):
                name = _name_of(items[done])
                done += 1
                if not answers.poll(seconds):
                    yield InputDataError(
                        f"{name}: reading takes longer than {seconds:g} s (ingest.subject_timeout_seconds)."
                    )
                    break
                try:
                    found = answers.recv()
                except (EOFError, OSError, pickle.UnpicklingError):
                    yield InputDataError(f"{name}: reading it crashed the process that read it.")
                    break
                yield found


def _name_of(item: Any) -> str:
    return Path(getattr(item, "path", item)).name


@contextlib.contextmanager
def _started(read: Callable[[Any], Any], items: Sequence[Any], max_memory_gib: float) -> Iterator[Connection]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD],  # -P: no module of the folder that dtb is run in
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(pickle.dumps((read, list(items), max_memory_gib)))
                child.stdin.close()
            with Connection(os.dup(child.stdout.fileno()), writable=False) as answers:
                yield answers
        finally:
            child.kill()


def serve() -> None:
    """Serve requests from standard input on standard output; this is the other process."""
    answers = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # libraries may print
    read, items, max_memory_gib = pickle.load(sys.stdin.buffer)
    for item in items:
        name = _name_of(item)
        try:
            with bounded_memory(max_memory_gib):
                found = read(item)
        except UserError as error:
            found = InputDataError(str(error))
        except MemoryError:
            found = InputDataError(f"{name}: {needs_too_much(max_memory_gib)}.")
        except Exception as error:  # noqa: BLE001, one person's unforeseen file must not stop everybody
            found = InputDataError(f"{name}: unforeseen {type(error).__name__}: {error}".splitlines()[0])
        answers.send(found)
