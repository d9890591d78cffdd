"""The file that knows whose pseudonym is whose is never readable by others, not for a moment."""

import os
from pathlib import Path

import pytest

from dtb.cohort.identities import identities_path, load_or_make_key, save_identities


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_it_is_made_readable_by_the_user_alone_and_never_opened_up(tmp_path, monkeypatch, umask):
    out, modes = tmp_path / "out", []
    chmod, replace = Path.chmod, Path.replace
    monkeypatch.setattr(Path, "chmod", lambda path, mode, **more: (modes.append(mode), chmod(path, mode, **more))[1])
    monkeypatch.setattr(
        Path, "replace", lambda path, target: (modes.append(path.stat().st_mode & 0o777), replace(path, target))[1]
    )
    before = os.umask(umask)
    try:
        for key in (b"1" * 32, b"2" * 32):  # anew, and over the one that is there
            save_identities(out, key, {"01": "p1"})
            assert identities_path(out).stat().st_mode & 0o777 == 0o600
            assert load_or_make_key(out) == key
    finally:
        os.umask(before)
    assert modes == [0o600, 0o600]
