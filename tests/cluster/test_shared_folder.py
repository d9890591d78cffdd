"""A folder that another process does not see is noticed, on either side."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dtb.cluster.shared_folder import SharedFolder, marked
from dtb.errors import ConfigurationError


def test_both_sides_see_one_another_and_nothing_stays(tmp_path: Path) -> None:
    with marked(tmp_path, seconds=0.1) as folder:
        folder.require("actor-1")
        assert folder.was_seen_by("actor-1")
        assert not folder.was_seen_by("actor-2")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_same_path_on_another_disk_is_refused(tmp_path: Path) -> None:
    with marked(tmp_path / "here", seconds=0.1) as folder:
        other = SharedFolder(tmp_path / "elsewhere", folder.word, 0.1)
        with pytest.raises(ConfigurationError, match="is not the folder that the command writes to"):
            other.require("actor-1")
        other.folder.mkdir()
        with pytest.raises(ConfigurationError, match="file system that all nodes"):
            other.require("actor-1")
        assert not folder.was_seen_by("actor-1")


def test_what_a_killed_process_left_proves_nothing(tmp_path: Path) -> None:
    with marked(tmp_path / "a", seconds=0.1) as folder:
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        with marked(tmp_path / "b", seconds=0.1) as anew:
            assert anew.word != folder.word
            with pytest.raises(ConfigurationError):
                SharedFolder(tmp_path / "b", folder.word, 0.1).require("actor-1")
