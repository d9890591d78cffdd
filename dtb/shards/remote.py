"""Shards at a URL (s3, gs, http, ...): downloaded to a cache on the node that needs them, and verified by SHA-256.

dtb names all folders by `Path`, which turns the two slashes in ``https://host/cohort`` into one; `url_of` restores the URL. The cache
belongs to the node, not to the run, so the node's environment says where it is and how large: `DTB_CACHE` (``~/.cache/dtb/shards``) and
`DTB_CACHE_GIB` (20). Several processes share it: a shard is downloaded once, and the shards used longest ago are removed for others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from dtb.errors import ConfigurationError, DamagedOutputError, InputDataError
from dtb.files import cache_folder, lock, sha256_of, written_whole
from dtb.passwords import holds_password
from dtb.terminal import err

PLACE_VARIABLE, SIZE_VARIABLE = "DTB_CACHE", "DTB_CACHE_GIB"
SERVERS = ("https", "http", "s3", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "sftp", "ftp")
"""Kinds of URL that a file may name: others, such as `file:` and `zip:`, reach what lies on this machine."""
_DEFAULT_GIB = 20.0
# Two letters at least: `C:/data` is a folder.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")
_WAITS_SECONDS = (1.0, 5.0)
_WITHOUT_LOCKS = (
    f"Processes that read shards at the same time may remove each other's: set {PLACE_VARIABLE} to a disk with locks."
)
Found = TypeVar("Found")
T = TypeVar("T")


def url_of(folder: Path) -> str | None:
    """Return the URL that a path stands for, or None for a folder of this machine.

    Examples
    --------
    >>> url_of(Path("https://host/cohort/shards"))
    'https://host/cohort/shards'
    >>> url_of(Path("/data/shards")) is None
    True

    Raises
    ------
    ConfigurationError
        The URL holds a password, which would be written into configurations, logs and messages.
    """
    found = _URL.fullmatch(folder.as_posix())
    if found and holds_password(folder.as_posix()):
        raise ConfigurationError(
            f"The URL {found[1]}://... holds a password, which would be written with every output. Leave it out, and give it through the "
            "environment (docs/clusters.md)."
        )
    return f"{found[1]}://{found[2]}" if found else None


def absolute(folder: Path) -> Path:
    """Return the absolute path of a folder or file; a URL is returned unchanged.

    A link to a file keeps its own name, which says what it is of: git-annex links to files that are named after their content.
    """
    if url_of(folder):
        return folder
    path = folder.expanduser()
    if path.is_symlink() and not path.is_dir():
        return path.parent.resolve() / path.name
    return path.resolve()


def with_absolute_paths(values: T) -> T:
    """Return a dataclass with absolute paths, because Ray's workers run in other folders.

    Parameters
    ----------
    values : dataclass
        Paths in it may lie in tuples, or in dataclasses within it.

    Returns
    -------
    dataclass
        A copy of the same type.
    """

    def resolved(value: Any) -> Any:
        if isinstance(value, Path):
            return absolute(value)
        if isinstance(value, tuple):
            return tuple(map(resolved, value))
        return with_absolute_paths(value) if dataclasses.is_dataclass(value) else value

    fields = dataclasses.fields(cast(Any, values))
    changed = {field.name: resolved(getattr(values, field.name)) for field in fields}
    return cast(T, dataclasses.replace(cast(Any, values), **changed))


def read_bytes(url: str) -> bytes:
    """Read a small file.

    Raises
    ------
    InputDataError
        It is not there, or its server cannot be reached.
    """
    return bytes(_patiently(url, lambda files, path: files.cat_file(path)))


def is_there(url: str) -> bool:
    """Whether there is a file at a URL."""
    return bool(_patiently(url, lambda files, path: files.exists(path)))


def warn_if_cache_is_small(num_bytes: int) -> None:
    """Warn if this many bytes of shards do not fit into this node's cache together, and say how large it should be."""
    limit = _limit_bytes()
    if num_bytes > limit:
        err.print(
            f"The shards come to {num_bytes / 2**30:.2f} GiB, more than this node's cache of {limit / 2**30:.2f} GiB: in a shuffled "
            f"order they push one another out, and are read over the network again and again. Set {SIZE_VARIABLE} to "
            f"{math.ceil(num_bytes / 2**30 * 100) / 100:.2f} at least, where Ray is started."
        )


def open_copy(url: str, sha256: str, num_bytes: int) -> BinaryIO:
    """Open this node's copy of the file at a URL, after downloading it to the cache if needed.

    Parameters
    ----------
    url : str
    sha256 : str
        What the manifest says of the file; it is also its name in the cache.
    num_bytes : int

    Returns
    -------
    BinaryIO
        It can be read to its end even if another process removes it from the cache.

    Raises
    ------
    InputDataError
        The file is not there, or its server cannot be reached.
    DamagedOutputError
        It is not what the manifest says.
    ConfigurationError
        It is larger than the cache.
    """
    folder = _cache_folder()
    path = folder / f"{sha256}.tar"
    while True:
        try:
            stream = path.open("rb", buffering=0)
        except FileNotFoundError:
            # One at a time: the cache keeps within its size, and a shard that several ranks want is read once.
            with _alone(folder / ".lock"):
                if not path.is_file():
                    _make_room(folder, num_bytes)
                    _read_into(path, url, sha256, num_bytes)
        else:
            # Used last now. The clock's own time: what the system would take is as coarse as its ticks, so that two uses could be one.
            now = time.time_ns()
            os.utime(stream.fileno(), ns=(now, now))
            return stream


def _read_into(path: Path, url: str, sha256: str, num_bytes: int) -> None:
    with written_whole(path, sync=False) as temporary:
        _patiently(url, lambda files, place: files.get_file(place, str(temporary)))
        if temporary.stat().st_size != num_bytes or sha256_of(temporary) != sha256:
            raise DamagedOutputError(
                f"{url} is not what its manifest says: its SHA-256 differs. Copy the shards there again."
            )


def _cache_folder() -> Path:
    said = os.environ.get(PLACE_VARIABLE)
    folder = Path(said).expanduser() if said else cache_folder() / "shards"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _limit_bytes() -> int:
    said = os.environ.get(SIZE_VARIABLE)
    try:
        gib = float(said) if said else _DEFAULT_GIB
        return int(gib * 2**30)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{SIZE_VARIABLE} is {said!r}; expected a number of GiB, for example 50.") from None


def _make_room(folder: Path, num_bytes: int) -> None:
    """Remove leftovers of killed processes, and the shards used longest ago until a new one fits."""
    limit = _limit_bytes()
    if num_bytes > limit:
        raise ConfigurationError(
            f"A shard of {num_bytes / 2**30:.2f} GiB does not fit into the cache of {limit / 2**30:.2f} GiB. Set {SIZE_VARIABLE} higher, "
            "or ingest with a smaller ingest.subjects_per_shard."
        )
    for partial in folder.glob(".*.partial"):
        partial.unlink()
    found = sorted(((path.stat(), path) for path in folder.glob("*.tar")), key=lambda pair: pair[0].st_mtime_ns)
    used = sum(status.st_size for status, _ in found)
    for status, path in found:
        if used + num_bytes <= limit:
            return
        used -= status.st_size
        path.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep every other process of this node out of the block."""
    with path.open("a") as stream:
        lock(stream.fileno(), path.parent, lacking=_WITHOUT_LOCKS)
        yield


def _patiently(url: str, act: Callable[[Any, str], Found]) -> Found:
    """Return the result of an operation on the file system of a URL; it is tried three times if the network breaks."""
    import fsspec

    for wait in (*_WAITS_SECONDS, None):
        try:
            files, path = fsspec.core.url_to_fs(url)
            return act(files, path)
        except FileNotFoundError:
            raise InputDataError(f"{url} does not exist. Give the URL of a folder that `dtb ingest` wrote.") from None
        except (
            ImportError,
            ValueError,
        ) as error:  # a package for this kind of URL is missing, or there is no such kind
            raise InputDataError(f"{url} cannot be read: {error}") from None
        except Exception as error:  # noqa: BLE001 - each kind of file system has errors of its own for a network that breaks
            if wait is None:
                raise InputDataError(f"{url} cannot be read ({type(error).__name__}: {error}).") from None
            time.sleep(wait)
    raise AssertionError
