"""Mutated files, and what becomes of them: refused in a sentence, read, a traceback, a hang.

python -m tests.mutated 500               prints the four counts of each format of `tests/formats.py`
python -m tests.mutated 500 NIfTI task    of those with such a word in their names
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import given

from dtb.cohort.connectomes import matlab_child, matrix_files
from dtb.errors import UserError
from tests.damage import DAMAGES, cases

Read = Callable[[], Any]
LONGEST_SECONDS, LONGEST_SENTENCE = 60, 2000


@dataclasses.dataclass(frozen=True)
class Whole:
    """A file that can be read.

    Attributes
    ----------
    path : Path
    content : bytes
        What is mutated.
    read : callable
    put : callable
        Writes content, mutated or not, into the file; a compressed file may be mutated before it is compressed.
    """

    path: Path
    content: bytes
    read: Read
    put: Callable[[bytes], object]


def whole(path: Path, content: bytes, read: Read, put: Callable[[bytes], object] | None = None) -> Whole:
    return Whole(path, content, read, put or path.write_bytes)


class _Fork:
    """Stands in for the process that reads a MATLAB file, and starts in a hundredth of its time: SciPy is imported already."""

    def __init__(self, command: list[str], **_: object) -> None:
        ours, theirs = zip(
            *[pair if place else pair[::-1] for place, pair in enumerate(os.pipe() for _ in range(3))], strict=True
        )
        self._pid = os.fork()
        if self._pid == 0:
            for place, descriptor in enumerate(theirs):
                os.dup2(descriptor, place)
            sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
            try:
                matlab_child.main(command[-1])
                sys.stdout.flush()
                os._exit(0)
            except BaseException:  # noqa: BLE001, what the interpreter does at its end
                os.write(2, traceback.format_exc().encode())
                os._exit(1)
        for descriptor in theirs:
            os.close(descriptor)
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(each, "wb" if not place else "rb") for place, each in enumerate(ours)
        )
        self._code: int | None = None

    def __enter__(self) -> _Fork:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        self.wait()

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)


def forked(read: Read) -> Any:
    """Read a MATLAB file in a fork of this process."""
    real, matrix_files.subprocess.Popen = matrix_files.subprocess.Popen, _Fork
    try:
        return read()
    finally:
        matrix_files.subprocess.Popen = real


@contextlib.contextmanager
def _in_time(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcomes(file: Whole, number: int) -> tuple[Counter[str], list[str]]:
    """Return how many mutations of a file were refused, read, ended in a traceback or hung, and what the last two said."""
    file.put(file.content)
    file.read()  # whole, it can be read
    found: Counter[str] = Counter()
    faults: list[str] = []

    @cases(number)
    @given(damage=DAMAGES)
    def check(damage: Callable[[bytes], bytes]) -> None:
        file.put(damage(file.content))
        try:
            with _in_time(LONGEST_SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file.read()
            found["read"] += 1
        except UserError as error:
            found["refused"] += 1
            if not 0 < len(str(error)) < LONGEST_SENTENCE:
                faults.append(f"a refusal of {len(str(error))} letters")
        except TimeoutError:
            found["hang"] += 1
            faults.append("hang")
        except Exception as error:  # noqa: BLE001, counted
            found["traceback"] += 1
            at = traceback.extract_tb(error.__traceback__)[-1]
            ours = [each for each in traceback.extract_tb(error.__traceback__) if "/dtb/" in each.filename][-1:]
            faults.append(
                f"{type(error).__name__}: {str(error)[:100]} ({at.name}; {[f'{Path(e.filename).name}:{e.lineno}' for e in ours]})"
            )

    check()
    return found, faults


def main(number: int, wanted: list[str]) -> None:
    """Print the counts of the formats that are wanted, or of all."""
    from tests.formats import FORMATS

    total: Counter[str] = Counter()
    for name in FORMATS:
        if wanted and not any(each in name for each in wanted):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found, faults = outcomes(FORMATS[name](Path(folder)), number)
        total += found
        print(f"| {name} | {found['refused']} | {found['read']} | {found['traceback']} | {found['hang']} |", flush=True)
        for fault, times in Counter(faults).items():
            print(f"    {times} x {fault}", file=sys.stderr, flush=True)
    print(f"| all of these | {total['refused']} | {total['read']} | {total['traceback']} | {total['hang']} |")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
