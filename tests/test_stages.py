"""What every stage does alike, and an output folder that knows who wrote it."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import dtb
from dtb.config import ClusterConfig, Config, plain_hash
from dtb.errors import DamagedOutputError, InputDataError, OutputInUseError, UserError
from dtb.stages import OutputFolder, StageCall, progress_of_stage, read_stage, require_complete, seconds_of_stage


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


def test_a_setting_that_an_older_version_did_not_have_is_no_difference_at_its_default(tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "out" / "config.yaml"
    OutputFolder.claim(out, "train", Config(seed=1), resume=False)
    plain, state = yaml.safe_load(file.read_text()), json.loads((out / "stage.json").read_text())
    del plain["cluster"]["wait_seconds"]
    state["config_hash"] = plain_hash(plain)
    file.write_text(yaml.safe_dump(plain))
    (out / "stage.json").write_text(json.dumps(state))
    assert OutputFolder.claim(out, "train", Config(seed=1), resume=True).config_hash == state["config_hash"]
    with pytest.raises(OutputInUseError, match=r"cluster\.wait_seconds was None and is 7"):
        OutputFolder.claim(out, "train", Config(seed=1, cluster=ClusterConfig(wait_seconds=7)), resume=True)
    # What is kept was changed by hand: nobody knows what the results were made with.
    state["config_hash"] = plain_hash(plain | {"seed": 2})
    (out / "stage.json").write_text(json.dumps(state))
    with pytest.raises(OutputInUseError, match="begun with other settings"):
        OutputFolder.claim(out, "train", Config(seed=1), resume=True)


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
        "import sys, time; from pathlib import Path; from dtb.config import Config; from dtb.stages import OutputFolder\n"
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


def test_a_file_system_without_locks_is_written_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is named, and what the lack means; the same folder is not warned of twice."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    out = tmp_path / "out"
    OutputFolder.claim(out, "train", Config(), resume=False).finish({})
    assert OutputFolder.claim(out, "train", Config(), resume=True).is_complete
    assert require_complete(out, "train") == {}
    said = capsys.readouterr().err
    assert said.count("Warning:") == 1
    assert f"{out} lies on a file system without locks (No locks available)" in said
    assert "start only one" in said
    OutputFolder.claim(tmp_path / "other", "train", Config(), resume=False)
    assert f"{tmp_path / 'other'} lies on" in capsys.readouterr().err


def test_a_call_ends_early_where_it_only_looks_or_has_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, told = tmp_path / "out", []

    def call(*, resume: bool = False, dry_run: bool = False, goes_on: bool = False) -> StageCall:
        return StageCall("plan", out, Config(), resume=resume, dry_run=dry_run, goes_on_when_complete=goes_on)

    assert call(dry_run=True).ends_early(lambda: told.append("plan"))
    assert told == ["plan"]
    assert not out.exists()
    assert not call().ends_early(lambda: told.append("never"))
    assert progress_of_stage(out) == "to do"
    folder = call().claim()
    assert progress_of_stage(out) == "begun"
    for dry_run in (False, True):  # what a claim would refuse, looking refuses too, after the plan was told
        with pytest.raises(OutputInUseError, match="--resume"):
            call(dry_run=dry_run).ends_early(lambda: told.append("refused"))
    assert not call(resume=True).ends_early(lambda: told.append("never"))
    folder.finish({})
    assert progress_of_stage(out) == "done"
    assert capsys.readouterr().err == ""
    assert call(resume=True).ends_early(lambda: told.append("never"))
    assert capsys.readouterr().err == f"{out} is complete already; nothing to do.\n"
    assert not call(resume=True, goes_on=True).ends_early(lambda: told.append("never"))
    assert told == ["plan", "refused"]


def test_every_stage_goes_through_the_same_ceremony() -> None:
    """No stage looks at its folder, or says that there is nothing to do, in a way of its own."""
    root = Path(dtb.__file__).parent
    own = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if path.name != "stages.py"
        and any(text in path.read_text(encoding="utf-8") for text in ("OutputFolder.examine", "; nothing to do"))
    }
    assert own == set()


def test_a_stage_is_timed_from_its_call_however_late_it_claims_its_folder(tmp_path: Path) -> None:
    call = StageCall("report", tmp_path / "out", Config(), resume=False)
    time.sleep(0.3)
    call.claim().finish({})
    assert 0.3 <= seconds_of_stage(tmp_path / "out") < 30
    OutputFolder.claim(tmp_path / "begun", "report", Config(), resume=False)
    StageCall("report", tmp_path / "begun", Config(), resume=True).claim().finish({})
    assert seconds_of_stage(tmp_path / "begun") is None  # how long the part before took nobody knows
