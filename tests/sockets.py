"""Which sockets a process and its children listen at."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

_TABLES = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
_LISTENING = " 0A "


def listening_sockets() -> set[tuple[str, str]]:
    """Return the address at which each listens, with the name of its process, of this process and all that it started."""
    found = set()
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((connection.laddr.ip.removeprefix("::ffff:"), process.name()))
    return found


def _listening_on_this_machine() -> set[str]:
    """Return the inodes of the sockets at which any process listens, where Linux names them."""
    lines = [line for path in _TABLES for line in path.read_text().splitlines() if _LISTENING in line]
    return {line.split()[9] for line in lines}


def assert_listening_on_loopback_alone(found: set[tuple[str, str]]) -> None:
    assert found
    assert {address for address, _ in found} <= {"127.0.0.1", "::1"}, found


@contextlib.contextmanager
def watched_sockets(every_seconds: float = 0.2) -> Iterator[set[tuple[str, str]]]:
    """Yield a set that fills with all that listen at some time within the block."""
    found: set[tuple[str, str]] = set()
    known: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every_seconds):
            there = _listening_on_this_machine()
            if not _TABLES or there - known:  # whose it is takes a tenth of a second to find out
                found.update(listening_sockets())
            known.update(there)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
