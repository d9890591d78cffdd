"""`dtb shards verify` names everything that is wrong with a folder, and `info` counts what is there."""

import pytest

from dtb.errors import DamagedOutputError
from dtb.shards.inspect import print_info, verify_shards
from tests.shards.people import write_people


@pytest.fixture
def folder(tmp_path):
    write_people(tmp_path / "shards", 5, subjects_per_shard=2)
    return tmp_path / "shards"


def test_a_whole_folder_passes_and_is_described(folder, capsys):
    verify_shards(folder)
    print_info(folder)
    shown = capsys.readouterr().out
    assert "all 3 shards are whole" in shown
    assert "5 people in 3 shards" in shown
    assert "5 of 5" in shown


def test_everything_that_is_wrong_is_named_at_once(folder):
    first, second, third = sorted(folder.glob("shard-*.tar"))
    content = bytearray(first.read_bytes())
    content[1000] ^= 1
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:-512])
    third.unlink()
    (folder / "shard-00009.tar").write_bytes(b"")
    with pytest.raises(DamagedOutputError) as raised:
        verify_shards(folder)
    lines = str(raised.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == [first.name, second.name, third.name, "shard-00009.tar"]
    for line, word in zip(lines, ("altered", "bytes", "missing", "not in the manifest"), strict=True):
        assert word in line
