"""A file is there whole or not at all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtb.files import sha256_of, write_frame, write_json, write_table, write_text, written_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_writer_killed_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from dtb.files import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert finished.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "abc")
    assert (
        sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )  # FIPS 180-2, B.1


def test_json_refuses_what_json_has_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-1.5e-3", "-1.5e-3"),
        ("+x", "'+x"),
        ("a\tb\nc", "a b c"),
        ("\x1b[2Jred\u202e", "\\x1b[2Jred\\u202e"),
        ("plain = text", "plain = text"),
    ],
)
def test_a_table_does_nothing_in_a_terminal_or_a_spreadsheet(tmp_path, given, written):
    write_table(tmp_path / "a.tsv", [("name", "x"), (given, "1")])
    assert (tmp_path / "a.tsv").read_text(encoding="utf-8") == f"name\tx\n{written}\t1\n"
    for kind in (object, "str", "category"):
        frame = pd.DataFrame(
            {given: pd.Series([given, given, None], dtype=kind), "x": [1, 2, np.nan], "y": [True, False, True]}
        )
        write_frame(tmp_path / "b.tsv", frame)
        lines = [f"{written}\tx\ty", f"{written}\t1\tTrue", f"{written}\t2\tFalse", "n/a\tn/a\tTrue", ""]
        assert (tmp_path / "b.tsv").read_text(encoding="utf-8").split("\n") == lines


def test_every_table_of_a_stage_is_written_by_the_writer_that_cleans():
    for path in (Path(__file__).parent.parent / "dtb").rglob("*.py"):
        assert path.name == "files.py" or not re.search(r"\.to_csv\(|csv\.writer|DictWriter", path.read_text()), path


def test_what_is_printed_cannot_steer_the_terminal(capsys):
    from dtb import terminal

    table = terminal.table("people", "name\x1b[31m")
    table.add_row("a\x1b]0;title\x07")
    for console in (terminal.out, terminal.err):
        console.print("file\x1b[2J.tsv", table, terminal.headed("dtb\x9b1m:", "\udcff"))
    for said in capsys.readouterr():
        assert not {"\x1b", "\x07", "\x9b"} & set(said)
        assert "file\\x1b[2J.tsv" in said
