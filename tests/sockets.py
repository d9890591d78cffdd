"""Which sockets a process and its children listen at."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil


def listening_sockets() -> set[tuple[str, str]]:
    """Return the address at which each listens, with the name of its process, of this process and all that it started."""
    found = set()
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((connection.laddr.ip.removeprefix("::ffff:"), process.name()))
    return found


def assert_listening_on_loopback_alone(found: set[tuple[str, str]]) -> None:
    assert found
    assert {address for address, _ in found} <= {"127.0.0.1", "::1"}, found


@contextlib.contextmanager
def watched_sockets(every_seconds: float = 0.2) -> Iterator[set[tuple[str, str]]]:
    """Yield a set that fills with all that listen at some time within the block."""
    found: set[tuple[str, str]] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every_seconds):
            found.update(listening_sockets())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
