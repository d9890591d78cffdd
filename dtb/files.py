"""Files that are either there whole or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from dtb.errors import DamagedOutputError, UserError
from dtb.passwords import without_passwords
from dtb.terminal import err, printable

if TYPE_CHECKING:
    import pandas as pd

# What readers raise of a file that is not what it should be, beside safetensors' own.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError, NotImplementedError)
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]inf")
PARTIAL = ".partial"
"""How the name of a file ends that is being written."""
_without_locks: set[tuple[int, int]] = set()
"""Folders without locks of which it was said."""


@contextlib.contextmanager
def written_whole(path: Path, *, sync: bool = True, private: bool = False) -> Iterator[Path]:
    """Return a temporary path beside `path`; when the block ends well, fsync it and rename it to `path`.

    Parameters
    ----------
    path : Path
        Where the file is to stand. Its folder is made if it is absent.
    sync : bool
        Whether to wait until the file is on the disk. Thousands of small files that can be made again need not wait.
    private : bool
        Whether the file is readable by the user alone, from the moment that it is made; else the umask says who may read it.

    Yields
    ------
    Path
        The temporary file to write. It is removed if the block raises, and `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if sync:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        if not private:  # it was made 0600
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        if sync:
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write `text` to `path`, without passwords in URLs, whole or not at all; for `sync` see `written_whole`."""
    # A file's name may be no text.
    write_bytes(path, without_passwords(text).encode(errors="backslashreplace"), sync=sync)


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write `content` to `path`, whole or not at all; for `sync` see `written_whole`."""
    with written_whole(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def write_table(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a tab-separated table, whole; what stands in it comes from others, and does nothing in a terminal or a spreadsheet.

    Parameters
    ----------
    path : Path
    rows : iterable of sequence of str
        The header first.
    """
    write_text(path, "".join("\t".join(map(cell, row)) + "\n" for row in rows))


def write_frame(path: Path, table: pd.DataFrame, *, sync: bool = True) -> None:
    """Write a data frame as such a table: numbers with six digits, `n/a` where there is none.

    Parameters
    ----------
    path : Path
    table : pandas.DataFrame
        Its index is not written.
    sync : bool
        See `written_whole`.
    """
    whole = table.rename(columns=lambda name: cell(str(name)))
    for name in whole.select_dtypes(exclude=["number", "bool"]):
        whole[name] = whole[name].map({each: cell(str(each)) for each in whole[name].dropna().unique()})
    write_text(path, whole.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.6g"), sync=sync)


def cell(text: str) -> str:
    """Return a text as one cell: without tabs, line feeds and control characters, an apostrophe before what is a formula elsewhere.

    Examples
    --------
    >>> cell("=cmd|'/c calc'!A1"), cell("-0.5"), cell("a\\tb")
    ("'=cmd|'/c calc'!A1", '-0.5', 'a b')
    """
    one = printable(" ".join(text.split("\t")).replace("\n", " ").replace("\r", " "))
    return f"'{one}" if one[:1] in _FORMULA and not _NUMBER.fullmatch(one) else one


def write_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all; NaN is refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", sync=sync)


@contextlib.contextmanager
def readable(path: Path, advice: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a reader raise within the block into one sentence.

    Parameters
    ----------
    path : Path
    advice : str
        What to do about it, as a sentence.

    Raises
    ------
    DamagedOutputError
        It cannot be read, or does not hold what is read of it.
    """
    try:
        yield
    except UserError:
        raise
    except (*_UNREADABLE, SafetensorError) as error:
        said = next(iter(str(error).splitlines()), "")
        found = (
            f"{type(error).__name__}: {said}" if isinstance(error, LookupError | TypeError | AttributeError) else said
        )
        raise DamagedOutputError(f"{path} is damaged: it cannot be read ({found[:200]}). {advice}") from None


def read_json(path: Path, advice: str) -> Any:
    """Read a JSON file that dtb wrote; see `readable`."""
    with readable(path, advice):
        return json.loads(path.read_text(encoding="utf-8"))


def sync_folder(folder: Path) -> None:
    """Make a rename within `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int, folder: Path, *, lacking: str, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file or folder until it is closed; on a file system without locks, warn once for each folder, and go on.

    Parameters
    ----------
    descriptor : int
        Of what is locked.
    folder : Path
        The folder that it keeps others from, for the warning.
    lacking : str
        What can happen without the lock, as a sentence, for the warning.
    shared : bool
        Whether others may hold such a lock too.
    wait : bool
        Whether to wait for whoever holds it.

    Returns
    -------
    bool
        Whether it is locked.

    Raises
    ------
    BlockingIOError
        Another process holds it, and `wait` is false.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        status = folder.stat()
        if (key := (status.st_dev, status.st_ino)) not in _without_locks:
            _without_locks.add(key)
            err.print(f"Warning: {folder} lies on a file system without locks ({error.strerror}). {lacking}")
        return False
    return True


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the folder for what can be had again, ``$XDG_CACHE_HOME/dtb`` or ``~/.cache/dtb``; it may not exist yet.

    Raises
    ------
    RuntimeError
        The user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtb"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
