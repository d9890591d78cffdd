"""A file is there whole or not at all, and an output folder knows who wrote it."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dtb
from dtb.config import Config
from dtb.errors import DamagedOutputError, InputDataError, OutputInUseError, UserError
from dtb.files import OutputFolder, read_stage, require_complete, sha256_of, write_json, write_text, written_whole


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


def test_life_of_an_output_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = OutputFolder.claim(out, "train", Config(seed=1), resume=False)
    assert not first.is_resumed
    with pytest.raises(DamagedOutputError, match="interrupted"):
        require_complete(out, "train")
    with pytest.raises(OutputInUseError, match="--resume"):
        OutputFolder.claim(out, "train", Config(seed=1), resume=False)
    with pytest.raises(OutputInUseError, match=r"seed was 1 and is 2\."):
        OutputFolder.claim(out, "train", Config(seed=2), resume=True)
    with pytest.raises(OutputInUseError, match="begun by `dtb train`"):
        OutputFolder.claim(out, "ingest", Config(seed=1), resume=True)
    again = OutputFolder.claim(out, "train", Config(seed=1), resume=True)
    assert again.is_resumed
    assert not again.is_complete
    again.finish({"epochs": 3})
    assert require_complete(out, "train") == {"epochs": 3}
    assert OutputFolder.claim(out, "train", Config(seed=1), resume=True).is_complete
    with pytest.raises(DamagedOutputError, match="output of `dtb ingest` is needed"):
        require_complete(out, "ingest")


def test_a_folder_of_someone_else_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    for resume in (False, True):
        with pytest.raises((OutputInUseError, DamagedOutputError)):
            OutputFolder.claim(tmp_path, "train", Config(), resume=resume)
    assert os.listdir(tmp_path) == ["thesis.doc"]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"stage": "train"})])
def test_a_damaged_stage_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "stage.json").write_text(text)
    with pytest.raises(DamagedOutputError, match=r"stage\.json"):
        read_stage(tmp_path)
    with pytest.raises(InputDataError, match="does not exist"):
        read_stage(tmp_path / "absent")


def test_a_stage_says_which_versions_it_ran_with(tmp_path: Path) -> None:
    folder = OutputFolder.claim(tmp_path / "out", "train", Config(), resume=False)
    folder.finish({})
    versions = read_stage(tmp_path / "out")["versions"]
    assert versions["Python"] == platform.python_version()
    assert versions["torch"] == importlib.metadata.version("torch")
    repository = Path(dtb.__file__).parent.parent
    if (repository / ".git").exists() and shutil.which("git"):
        head = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], check=True, capture_output=True)
        assert versions["commit"] == head.stdout.decode().strip()


def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for refuse in (OutputFolder.examine, OutputFolder.claim):
        with pytest.raises(UserError, match=r"file/out cannot be written: Not a directory at .*/file\."):
            refuse(tmp_path / "file" / "out", "train", Config(), resume=False)
    with pytest.raises(UserError, match="/proc/self/out cannot be written: "):
        OutputFolder.claim(Path("/proc/self/out"), "train", Config(), resume=False)


def test_what_a_claim_would_refuse_is_refused_without_writing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not OutputFolder.examine(out, "train", Config(), resume=False).is_resumed
    assert not out.exists()
    OutputFolder.claim(out, "train", Config(), resume=False)
    with pytest.raises(OutputInUseError, match="--resume"):
        OutputFolder.examine(out, "train", Config(), resume=False)
    assert OutputFolder.examine(out, "train", Config(), resume=True).is_resumed


def test_two_processes_never_write_into_one_folder(tmp_path: Path) -> None:
    """The second is refused, with --resume too, until the first has ended, and be it killed; one process may claim a folder again."""
    out = tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; from dtb.config import Config; from dtb.files import OutputFolder\n"
        "folder = OutputFolder.claim(Path(sys.argv[1]), 'train', Config(), resume=False)\n"
        "print('claimed', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        for refuse in (OutputFolder.examine, OutputFolder.claim):
            with pytest.raises(OutputInUseError, match=r"Another process is writing into .*out"):
                refuse(out, "train", Config(), resume=True)
        other.kill()
    first = OutputFolder.claim(out, "train", Config(), resume=True)
    second = OutputFolder.claim(out, "train", Config(), resume=True)
    assert first == second


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    OutputFolder.claim(tmp_path / "out", "train", Config(), resume=False).finish({})
    assert require_complete(tmp_path / "out", "train") == {}
