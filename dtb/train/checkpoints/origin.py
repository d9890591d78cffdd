"""Whose checkpoint it is: manifests are signed with a key that stays with the user, in no output folder.

DeepSpeed's files are pickles, so loading those of somebody else can run that person's code. A checksum shows that a file is whole; only the
signature shows that this user wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtb.errors import ConfigurationError

VARIABLE = "DTB_KEY"
"""Environment variable with the path of the key, where it does not lie in the user's home."""
SIGNATURE = "signature"
_NUM_BYTES = 32


class UnknownOriginError(ConfigurationError):
    """A checkpoint was not written with this user's key."""


def key_path() -> Path:
    """Return the path of the user's key: what ``DTB_KEY`` names, or ``$XDG_CONFIG_HOME/dtb/key``, or ``~/.config/dtb/key``."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dtb" / "key"


def user_key() -> bytes:
    """Return the user's key; it is made at the first call, readable by the user alone.

    Raises
    ------
    ConfigurationError
        It cannot be read or made, or others can read or have made it.
    """
    path = key_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            _make(path)
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            key = stream.read(1024)
    except OSError as error:
        raise ConfigurationError(
            f"The key with which checkpoints are signed, {path}, cannot be read or made ({error.strerror}). {VARIABLE} can name another."
        ) from None
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or len(key) != _NUM_BYTES:
        raise ConfigurationError(
            f"The key with which checkpoints are signed, {path}, is not yours alone: expected {_NUM_BYTES} bytes that nobody else owns or "
            f"can read. If you made it, `chmod 600 {path}`; else remove it, and begin trainings anew."
        )
    return key


def _make(path: Path) -> None:
    """Write a new key, whole from the moment that it is there."""
    partial = path.with_name(f".key-{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_NUM_BYTES))
        os.link(partial, path)  # fails where there is one
    finally:
        partial.unlink()


def signed(manifest: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """Return a manifest with its signature."""
    return {**manifest, SIGNATURE: _signature(manifest, key)}


def require_own(manifest: Mapping[str, Any], key: bytes, path: Path) -> None:
    """Refuse a manifest that was not signed with the key.

    Raises
    ------
    UnknownOriginError
        It says what to do.
    """
    said = manifest.get(SIGNATURE)
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), _signature(manifest, key).encode()):
        raise UnknownOriginError(
            f"{path} was not written with your key ({key_path()}): to go on from it could run code of whoever wrote it. If you wrote it "
            "elsewhere, copy that machine's key file here first. Else train anew; the exported twin in `twin/` is safe to use."
        )


def _signature(manifest: Mapping[str, Any], key: bytes) -> str:
    unsigned = {name: value for name, value in manifest.items() if name != SIGNATURE}
    canonical = json.dumps(unsigned, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()
