"""Proof that a folder is the same one for two processes, which may be on different machines.

The driver of a stage writes a word that nobody can guess into its output folder. A worker looks for it there before it works, and leaves
a word of its own for the driver to find: a path that exists on both machines, but on a disk of each one's own, would otherwise lose
whatever the worker writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from dtb.errors import ConfigurationError

_FOLDER = ".shared"
_DRIVER = "driver"
SECONDS_TO_APPEAR = 60.0
"""NFS may hide a new file from another machine for up to a minute (``acdirmax`` in nfs(5))."""


@dataclasses.dataclass(frozen=True)
class SharedFolder:
    """A folder that the driver has marked.

    Attributes
    ----------
    folder : Path
    word : str
    seconds : float
        How long a file may take until another machine sees it.
    """

    folder: Path
    word: str
    seconds: float = SECONDS_TO_APPEAR

    def require(self, worker: str) -> None:
        """Leave this worker's mark in the folder, if it is the one that the driver marked.

        Parameters
        ----------
        worker : str
            A name that no other worker has, fit for a file.

        Raises
        ------
        ConfigurationError
            It is not.
        """
        if not self._appears(_DRIVER):
            raise ConfigurationError(
                f"{self.folder} on node {socket.gethostname()} is not the folder that the command writes to: what is written there "
                "would be lost. Give an output folder on a file system that all nodes of the cluster share, at the same path."
            )
        self.mark(worker)

    def mark(self, name: str) -> None:
        """Leave a mark for the driver."""
        (self._place / name).touch()

    def was_seen_by(self, worker: str) -> bool:
        """Whether the worker's mark can be seen here, at last."""
        return self._appears(worker)

    def require_seen(self, worker: str, node: str) -> None:
        """Refuse a folder in which the worker's mark cannot be seen here.

        Parameters
        ----------
        worker : str
        node : str
            Name of its machine.

        Raises
        ------
        ConfigurationError
            It cannot.
        """
        if not self.was_seen_by(worker):
            raise ConfigurationError(
                f"What node {node} writes to {self.folder} does not appear here. Give an output folder on a file system that all nodes of "
                "the cluster share, at the same path."
            )

    def holds(self, name: str) -> bool:
        """Whether a mark can be seen here now."""
        # To list a folder asks the server anew, where to ask for a name may be answered from a cache.
        with contextlib.suppress(OSError):
            return any(path.name == name for path in self._place.iterdir())
        return False

    def tell(self, words: str) -> None:
        """Write a message for the workers, in place of the one before; the driver may."""
        (self._place / _DRIVER).write_text(words, encoding="utf-8")

    def told(self) -> str:
        """Return what the driver said last; nothing at first."""
        # It is written in place, for NFS asks the server about a file that is opened, but may answer from a cache whether there is one.
        with contextlib.suppress(OSError):
            return (self._place / _DRIVER).read_text(encoding="utf-8")
        return ""

    @property
    def _place(self) -> Path:
        return self.folder / _FOLDER / self.word

    def _appears(self, name: str) -> bool:
        until = time.monotonic() + self.seconds
        while True:
            if self.holds(name):
                return True
            # What is not even a folder on this machine will not become one.
            if time.monotonic() >= until or not self.folder.is_dir():
                return False
            time.sleep(min(0.5, self.seconds))


@contextlib.contextmanager
def marked(folder: Path, seconds: float = SECONDS_TO_APPEAR) -> Iterator[SharedFolder]:
    """Mark a folder for as long as the block runs; what an earlier process that was killed left is removed, too."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)
    found = SharedFolder(folder.resolve(), secrets.token_hex(16), seconds)
    place = found.folder / _FOLDER / found.word
    place.mkdir(parents=True)
    (place / _DRIVER).touch()
    try:
        yield found
    finally:
        shutil.rmtree(found.folder / _FOLDER, ignore_errors=True)
