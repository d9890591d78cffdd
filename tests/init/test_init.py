"""`dtb init` writes what `dtb run` can read, or says what is missing; the BIDS App's levels are the stages of `dtb run`."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from dtb.cli.command_line import parse
from dtb.cli.entry import exit_code
from dtb.config import load_config
from dtb.init.tasks import task_files
from dtb.stages import OutputFolder
from tests.expand import expanded
from tests.tasks.test_draft import events_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["song", "cnp"])
def test_what_is_written_for_a_real_tree_passes_the_dry_run(
    name: str, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = real_data / "cnp" if name == "cnp" else expanded(real_data, "song", 2) / "bids"
    assert exit_code(["init", str(bids), "mine"]) == 0
    said = capsys.readouterr().out
    config = load_config(tmp_path / "mine" / "config.yaml")
    assert said.endswith(f"Next: dtb run {tmp_path / 'mine' / 'config.yaml'}\n")
    assert config.split.kind == "temporal"
    if name == "cnp":
        assert "Would read 8 people, 8 of them with rest" in said
        assert (config.ingest.layout, config.train.bold_weight) == ("halfpipe", 0)
        assert config.ingest.tasks == ("bart", "scap", "stopsignal", "taskswitch")
    else:
        assert "gradcptface: 2 events files of 2 of 2 people, 2 with a series" in said
        assert config.ingest.layout == "xcpd"
        assert [Path(task).name for task in config.ingest.tasks] == ["gradcptface.yaml", "gradcptscene.yaml"]
    before = (tmp_path / "mine" / "config.yaml").read_bytes()
    assert exit_code(["init", str(bids), "mine", "--held-out", "people"]) == 2
    assert "left as it is" in capsys.readouterr().err
    assert (tmp_path / "mine" / "config.yaml").read_bytes() == before


def test_what_is_missing_is_said_and_the_files_are_written(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = events_of(real_data, "hedge") / "bids"
    assert exit_code(["init", str(bids), "mine", "--tasks", "flanker"]) == 1
    assert "- Rest: no derivative tree with series or connectivity matrices" in capsys.readouterr().err
    written = (tmp_path / "mine" / "config.yaml").read_text()
    assert "#   Rest: no derivative tree" in written
    assert yaml.safe_load(written)["ingest"]["tasks"] == [str(tmp_path / "mine" / "tasks" / "flanker.yaml")]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_five_questions_have_answers_that_enter_accepts(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = events_of(real_data, "selfreg") / "bids"
    monkeypatch.setattr(sys, "stdin", _Terminal(f"{bids}\n\nstroop stopSignal\n\npeople\n"))
    assert exit_code(["init"]) == 1  # there is no rest
    asked = capsys.readouterr().err
    assert [f"{number}/5 " in asked for number in range(1, 6)] == [True] * 5
    (written,) = tmp_path.glob("*/config.yaml")
    values = yaml.safe_load(written.read_text())
    assert values["split"] == {"kind": "subjects"}
    assert len(values["ingest"]["tasks"]) == 2


def test_without_a_tree_and_nobody_to_ask_it_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert exit_code(["init"]) == 2
    assert "Nobody is there to ask. Give the raw BIDS tree" in capsys.readouterr().err


def test_a_bids_app_s_levels_are_the_stages_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[dict[str, object]] = []
    monkeypatch.setattr(
        "dtb.pipeline.run_all", lambda config, run, **options: called.append({"config": config, "run": run, **options})
    )
    (tmp_path / "study.yaml").write_text("ingest: {tasks: [stroop], layout: halfpipe}\n")
    places = ["bids", "out"]
    options = ["--config", "study.yaml", "--derivatives", "half"]
    assert exit_code([*places, "group", *options]) == 2
    assert "First: dtb" in capsys.readouterr().err
    assert exit_code([*places, "participant", "--participant_label", "01", "sub-02", *options]) == 0
    (read,) = called
    config = read["config"]
    assert read["stages"] == {"ingest"}
    assert (config.ingest.participant_label, config.ingest.layout) == (("01", "sub-02"), "halfpipe")
    assert (config.input.bids, config.input.derivatives) == (tmp_path / "bids", (tmp_path / "half",))
    folder = OutputFolder.claim(tmp_path / "out" / "shards", "ingest", config, resume=False)
    folder.finish({})
    assert exit_code([*places, "group", "--participant-label", "01", *options]) == 2
    assert "belongs to the level participant" in capsys.readouterr().err
    assert exit_code([*places, "group", *options, "--train.max-steps", "7"]) == 0
    assert called[1]["stages"] == {"train", "evaluate", "update", "simulate", "intervene", "report"}
    assert called[1]["config"].train.max_steps == 7
    shutil.rmtree(tmp_path / "out")


def test_the_group_level_accepts_the_folder_of_the_participant_level(tmp_path: Path) -> None:
    stage, _ = parse("app", ["bids", "out", "group"])
    assert stage.config_path is None
    (tmp_path / "out" / "init").mkdir(parents=True)
    (tmp_path / "out" / "init" / "config.yaml").write_text("ingest: {tasks: [hammer]}\n")
    assert parse("app", ["bids", "out", "group"])[1].ingest.tasks == ("hammer",)


@pytest.mark.parametrize("broken", [1, 4])
def test_one_persons_broken_file_does_not_end_a_task(tmp_path: Path, broken: int) -> None:
    """Events that were not fetched left the whole task out of what `dtb init` writes."""
    header = "onset\tduration\tkind\tarrow\tkey\trt\tcorrect\n"
    paths = []
    for person in range(6):
        path = tmp_path / f"sub-0{person}_task-arrows_events.tsv"
        rows = [
            f"{2 * row + 1}\t1\tGO\t{'LR'[row % 2]}\t{'fj'[(row + (row == 7)) % 2]}\t{0.4 + (row * 7 + person) % 11 / 50:.2f}\t{int(row != 7)}\n"
            for row in range(30)
        ]
        path.write_text(header + "".join(rows))
        paths.append(path)
    whole, _ = task_files({"arrows": paths[broken:]})
    for path in paths[:broken]:
        path.unlink()
        path.symlink_to(".git/annex/objects/gone")
    found, left_out = task_files({"arrows": paths})
    assert not left_out
    assert [each.name for each in found] == [each.name for each in whole]
    assert found[0].draft is not None
    assert whole[0].draft is not None
    assert found[0].draft.values == whole[0].draft.values
    _, left_out = task_files({"arrows": paths[:broken]})
    assert "is a link to a file that is not there (not fetched?" in left_out["arrows"]
