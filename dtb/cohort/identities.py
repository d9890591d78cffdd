"""Pseudonyms, and the one file that links them to labels. It lies beside the output, never inside."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from dtb.errors import InputDataError
from dtb.files import written_whole

_LENGTH = 16


def identities_path(out: Path) -> Path:
    """Return the path of the file that belongs to the output folder `out`."""
    return out.parent / f"{out.name}.identities.tsv"


def open_key(seed: int) -> bytes:
    """Return the key for people who are made up: anybody may know it, and the same seed gives the same
    pseudonyms, and so the same split."""
    return hashlib.sha256(f"dtb synth {seed}".encode()).digest()


def load_or_make_key(out: Path, new: bytes | None = None) -> bytes:
    """Read the key from an earlier run's file, so that people keep their pseudonyms, or take `new`, by default a random one.

    Raises
    ------
    InputDataError
        The file is there but holds no key.
    """
    path = identities_path(out)
    if not path.exists():
        return secrets.token_bytes(32) if new is None else new
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        label, key = lines[0].split("\t")
        if label != "# key":
            raise ValueError
        return bytes.fromhex(key)
    except (IndexError, ValueError):
        raise InputDataError(
            f"{path} holds no key in its first line. Restore it, or move it away to give everybody a new pseudonym."
        ) from None


def labels_kept(out: Path) -> set[str]:
    """Return the labels in the file that belongs to an output folder; none where there is no such file."""
    path = identities_path(out)
    if not path.exists():
        return set()
    rows = path.read_text(encoding="utf-8").splitlines()[2:]
    return {row.partition("\t")[0].removeprefix("sub-") for row in rows}


def pseudonym_of(label: str, key: bytes) -> str:
    """Return the pseudonym of a participant label.

    Examples
    --------
    >>> pseudonym_of("0001", b"secret")
    '80bcd0a4f9e0ec48'
    """
    return hmac.new(key, label.encode(), hashlib.sha256).hexdigest()[:_LENGTH]


def save_identities(out: Path, key: bytes, pseudonyms: dict[str, str]) -> Path:
    """Write the key, and the label of each pseudonym, readable by the user alone."""
    path = identities_path(out)
    rows = [f"sub-{label}\t{pseudonym}" for label, pseudonym in sorted(pseudonyms.items())]
    with written_whole(path, private=True) as temporary:
        temporary.write_text(
            "\n".join([f"# key\t{key.hex()}", "participant_id\tpseudonym", *rows]) + "\n", encoding="utf-8"
        )
    return path
