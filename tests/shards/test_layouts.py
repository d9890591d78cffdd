"""A node's store of layouts: what is read is what was written, it keeps within its room, and it leaves nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from dtb.shards import layouts
from dtb.shards.layouts import LayoutStore
from tests.shards.test_batches import make_maker, people

ROOT = Path(__file__).parents[2]


@pytest.fixture
def layout():
    return make_maker().layout(people(3)[0], "train")


def test_what_is_read_is_what_was_written_to_the_last_bit_by_another_process_too(layout, tmp_path):
    one, other = LayoutStore({"a": 1}, tmp_path), LayoutStore({"a": 1}, tmp_path)
    one.write(layout, "train")
    read = other.read(layout.pseudonym, "train")
    assert read.pseudonym == layout.pseudonym
    assert read.arrays.keys() == layout.arrays.keys()
    for name, array in layout.arrays.items():
        assert (read.arrays[name].dtype, read.arrays[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(read.arrays[name], array, err_msg=name)
    assert other.read(layout.pseudonym, "validation") is None
    assert LayoutStore({"a": 2}, tmp_path).read(layout.pseudonym, "train") is None


def test_the_last_one_out_removes_it_and_what_a_killed_process_left_goes_with_the_next(layout, tmp_path):
    one, other = LayoutStore({"a": 1}, tmp_path), LayoutStore({"a": 1}, tmp_path)
    one.write(layout, "train")
    one.close()
    assert other.read(layout.pseudonym, "train") is not None
    other.close()
    assert not other.folder.exists()
    program = (
        "import os, sys; from pathlib import Path; from dtb.shards.layouts import LayoutStore; "
        "store = LayoutStore({'b': 1}, Path(sys.argv[1])); (store.folder / 'left').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, check=False)
    (left,) = (path for path in one.folder.parent.iterdir() if path.is_dir())
    assert (left / "left").exists()
    LayoutStore({"c": 1}, tmp_path)
    assert not left.exists()


def test_nobody_else_can_enter_it(tmp_path):
    store = LayoutStore({}, tmp_path)
    for folder in (store.folder, store.folder.parent):
        assert folder.stat().st_mode & 0o077 == 0
    taken = tmp_path / "taken"
    (taken / f"dtb-layouts-{os.getuid()}").mkdir(parents=True)  # as somebody else's would be: open to others
    assert LayoutStore({}, taken).folder.parent.name != f"dtb-layouts-{os.getuid()}"


def test_a_disk_stays_free_enough_for_others_and_it_is_said_once(layout, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(layouts.shutil, "disk_usage", lambda _: usage(100, 86, 14))
    one, other = LayoutStore({}, tmp_path), LayoutStore({}, tmp_path)
    one.write(layout, "train")
    assert one.is_full
    assert one.read(layout.pseudonym, "train") is None
    assert [store.is_first_to_tell() for store in (one, other, one)] == [True, False, False]


def test_a_disk_that_is_memory_leaves_half_of_it_free(layout, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sdb /tmp/disk ext4 rw 0 0\n")
    kinds = [layouts._kind_of_disk(Path(folder), mounts) for folder in ("/home", "/tmp/a", "/tmp/disk/a", "/tmpa")]
    assert kinds == ["ext4", "tmpfs", "ext4", "ext4"]
    (tmp_path / "memory.stat").write_text("anon 500\nfile 400\nshmem 300\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert layouts._free_memory_share(tmp_path, tmp_path / "none") == pytest.approx(0.2)
    monkeypatch.setattr(layouts, "_kind_of_disk", lambda _: "tmpfs")
    for share, is_full in ((0.6, False), (0.4, True)):
        monkeypatch.setattr(layouts, "_free_memory_share", lambda share=share: share)
        store = LayoutStore({}, tmp_path)
        store.write(layout, "train")
        assert store.is_full is is_full


def test_without_locks_layouts_are_kept_and_read_and_no_store_removes_another_s(layout, tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    one, other = LayoutStore({"a": 1}, tmp_path), LayoutStore({"b": 1}, tmp_path)
    assert one.folder.is_dir()
    one.write(layout, "train")
    other.close()
    one.close()
    again = LayoutStore({"a": 1}, tmp_path).read(layout.pseudonym, "train")
    np.testing.assert_array_equal(again.connectome_E, layout.connectome_E)
    said = capsys.readouterr().err
    assert said.count("Warning:") == 1
    assert f"{one.folder.parent} lies on a file system without locks (No locks available)" in said
