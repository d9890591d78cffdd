"""The stages as functions: each does what its command does, with the settings it is given, and returns what was left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import dtb
from dtb.errors import ConfigurationError, DamagedOutputError, InputDataError, OutputInUseError
from dtb.files import write_json
from dtb.report.style import _VARIABLES
from dtb.twin.export import TwinCard, save_twin
from tests.report.runs import add_trial, make_run

SMALL = dtb.SynthConfig(num_subjects=4, num_regions=12, num_causal_edges=4, rest_seconds=130, tasks=("hammer",))


def finish(folder: Path, stage: str, *, complete: bool = True, **files: Any) -> Path:
    """Leave a folder as a stage does, with some JSON files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_json(folder / f"{name}.json", content)
    write_json(
        folder / "stage.json", {"stage": stage, "complete": complete, "config_hash": "0", "summary": {"people": 3}}
    )
    return folder


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> dtb.SynthResult:
    return dtb.make_cohort(tmp_path_factory.mktemp("api") / "cohort", SMALL)


def test_a_cohort_comes_with_its_people_its_truth_and_where_it_lies(cohort: dtb.SynthResult) -> None:
    assert list(cohort.participants["participant_id"]) == list(cohort.traits["participant_id"])
    assert len(cohort.participants) == 4
    assert cohort.summary["num_regions"] == 12
    assert list(cohort.ceilings.columns) == ["hammer"]
    assert cohort.ceilings["hammer"].to_dict().keys() == cohort.summary["ceilings"]["hammer"].keys()
    assert list(cohort.derivatives.rglob("*_timeseries.tsv"))
    assert (cohort.bids / "participants.tsv").is_file()
    assert cohort.participants is cohort.participants  # read once


def test_a_folder_in_use_is_refused_and_one_that_is_complete_is_left_with_resume(cohort: dtb.SynthResult) -> None:
    with pytest.raises(OutputInUseError, match="is not empty"):
        dtb.make_cohort(cohort.folder, SMALL)
    before = {path: path.stat().st_mtime_ns for path in cohort.folder.rglob("*")}
    assert dtb.make_cohort(cohort.folder, SMALL, resume=True) == cohort
    assert {path: path.stat().st_mtime_ns for path in cohort.folder.rglob("*")} == before
    with pytest.raises(OutputInUseError, match="other settings"):
        dtb.make_cohort(cohort.folder, dtb.Config(seed=7, synth=SMALL), resume=True)


def test_a_section_that_is_not_the_stages_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="of type TrainConfig; this stage takes a Config or SynthConfig"):
        dtb.make_cohort(tmp_path / "cohort", dtb.TrainConfig())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="this stage takes a Config"):
        dtb.run_pipeline(SMALL, tmp_path / "run")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_whole", [True, False])
def test_settings_reach_the_stage_with_paths_that_hold_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    seen: dict[str, Any] = {}

    def train(config: dtb.Config, shards: Path, out: Path, *, resume: bool) -> None:
        seen.update(config=config, shards=shards, resume=resume)
        finish(out, "train")

    monkeypatch.setattr("dtb.train.trainer.train", train)
    monkeypatch.chdir(tmp_path)
    section = dtb.TrainConfig(batch_size=3, deepspeed=Path("ds.json"))
    given = dtb.Config(seed=5, train=section, twin=dtb.TwinConfig(num_hidden=9)) if is_whole else section
    trained = dtb.train_twin("shards", "trained", given, resume=True)
    assert trained.folder == tmp_path.resolve() / "trained"
    assert trained.summary == {"people": 3}
    assert seen["shards"] == tmp_path.resolve() / "shards"
    assert seen["resume"]
    config = seen["config"]
    assert config.train.batch_size == 3
    assert config.train.deepspeed == tmp_path.resolve() / "ds.json"
    assert (config.seed, config.twin.num_hidden) == ((5, 9) if is_whole else (0, 64))


def test_a_result_of_another_stage_or_of_one_that_did_not_finish_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        dtb.TrainResult(tmp_path / "absent")
    with pytest.raises(DamagedOutputError, match="dtb evaluate"):
        dtb.TrainResult(finish(tmp_path / "other", "evaluate"))
    with pytest.raises(DamagedOutputError, match="incomplete"):
        dtb.TrainResult(finish(tmp_path / "cut", "train", complete=False))


def test_a_twin_is_read_from_the_trained_folder_and_from_the_twins_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    twin = dtb.Twin(dtb.TwinConfig(num_hidden=4), dtb.TwinSizes(0, 1, 1, 0, num_features=5))
    card = TwinCard(twin.config, twin.sizes, {}, (), (), {}, "c", "s", 0, dtb.SegmentConfig())
    save_twin(tmp_path / "trained" / "twin", twin, card)
    trained = dtb.TrainResult(finish(tmp_path / "trained", "train"))
    connectome, stimulus = torch.randn(2, 5), torch.randn(2, 1, 9, 1)
    for read in (dtb.load_twin(trained.folder), dtb.load_twin(trained.twin_folder), trained.load_twin()):
        assert read.sizes == twin.sizes
        assert torch.equal(read(connectome, stimulus).press_SKTA, twin.eval()(connectome, stimulus).press_SKTA)
    with pytest.raises(InputDataError, match="no exported twin"):
        dtb.load_twin(tmp_path)


def test_epochs_are_those_that_count_and_are_drawn(tmp_path: Path) -> None:
    lines = [
        {"epoch": epoch, "train_loss": train, "validation_loss": validation}
        for epoch, train, validation in [(0, 3.0, 3.5), (1, 9.0, 9.0), (1, 2.0, 2.5), (2, 1.0, 2.75)]
    ]
    folder = finish(tmp_path / "train", "train")
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    trained = dtb.TrainResult(folder)
    assert trained.epochs["train_loss"].tolist() == [3.0, 2.0, 1.0]
    (axes,) = trained.plot().axes
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [[3.0, 2.0, 1.0], [3.5, 2.5, 2.75]]
    assert list(axes.lines[2].get_xdata()) == [1, 1]  # the epoch with the lowest validation loss


def test_an_evaluation_gives_its_figures_and_draws_people_in_the_colours_of_a_page(tmp_path: Path) -> None:
    folder = finish(
        tmp_path / "evaluate",
        "evaluate",
        figures={"claim": "None.", "rows": [{"task": "stroop", "metric": "mean RT r", "twin": 0.5}]},
        certificate={"sentence": "It is not personal.", "tests": []},
    )
    subjects = pd.DataFrame(
        {
            "pseudonym": ["a", "b", "c", "a"],
            "task": ["stroop"] * 3 + ["hammer"],
            "observed_mean_rt": [0.5, 0.6, np.nan, 0.9],
            "predicted_mean_rt": [0.55, 0.58, 0.7, 0.8],
            "group_mean_mean_rt": [0.6, 0.6, 0.6, 0.6],
        }
    )
    subjects.to_parquet(folder / "subjects.parquet")
    evaluated = dtb.EvaluateResult(folder)
    assert (evaluated.verdict, evaluated.claim) == ("It is not personal.", "None.")
    assert evaluated.figures["twin"].tolist() == [0.5]
    figure = evaluated.plot("stroop")
    (axes,) = figure.axes
    assert axes.collections[-1].get_offsets().tolist() == [[0.5, 0.55], [0.6, 0.58]]
    figure.savefig(tmp_path / "figure.svg")
    drawn = (tmp_path / "figure.svg").read_text()
    assert not [holder for holder in _VARIABLES if holder in drawn]
    assert "#0072b2" in drawn
    for wrong in ({"task": "nback"}, {"quantity": "iq"}):
        with pytest.raises(InputDataError, match=r"tasks are stroop, hammer; quantities are mean_rt"):
            evaluated.plot(**wrong)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dtb.RunResult:
    path = tmp_path_factory.mktemp("run")
    make_run(path, 8)
    add_trial(path, 8)
    return dtb.RunResult(path)


def test_a_run_gives_each_stages_result_and_refuses_a_stage_that_is_not_there(run: dtb.RunResult) -> None:
    assert run.ingest.people["pseudonym"].tolist() == list(run.ingest.cohort.pseudonyms)
    assert run.train.epochs["epoch"].is_unique
    assert set(run.simulate.trials["pseudonym"]) <= set(run.simulate.status["pseudonym"])
    with pytest.raises(InputDataError, match="does not exist"):
        run.report  # noqa: B018


def test_a_simulation_is_drawn_as_one_person_s_reaction_times(run: dtb.RunResult) -> None:
    trials = run.simulate.trials
    who, what = trials[["pseudonym", "task"]].iloc[-1]
    mine = trials[(trials["pseudonym"] == who) & (trials["task"] == what)]
    (axes,) = run.simulate.plot(who, what).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    seen = mine.drop_duplicates([name for name in ("label", "run", "trial") if name in mine])["observed_rt"].count()
    assert f"observed ({seen} presses)" in labels
    assert axes.get_title(loc="left") == f"{what}: reaction times"
    assert run.simulate.plot().axes[0].get_title(loc="left") == f"{trials['task'].iloc[0]}: reaction times"
    with pytest.raises(InputDataError, match=r"no simulated trials of nobody in any task: tasks are "):
        run.simulate.plot("nobody")


def test_a_sweep_has_a_row_a_member_and_each_member_s_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def sweep(config: dtb.Config, shards: Path, out: Path, **options: Any) -> None:
        seen.update(options, shards=shards, steps=config.train.max_steps)
        finish(out, "sweep")
        (out / "sweep.tsv").write_text("member\tbest_loss\nfold0-seed1\t2.5\nfold0-seed2\tn/a\n")
        finish(out / "members" / "fold0-seed1", "train")

    monkeypatch.setattr("dtb.train.sweeps.sweep.sweep", sweep)
    swept = dtb.sweep_twins("shards", tmp_path / "swept", dtb.TrainConfig(max_steps=7), seeds=(1, 2))
    options = {"folds": (), "seeds": (1, 2), "settings": (), "resume": False}
    assert seen == {**options, "shards": Path("shards").absolute(), "steps": 7}
    assert swept.members["best_loss"].tolist() == pytest.approx([2.5, np.nan], nan_ok=True)
    assert swept.trained("fold0-seed1").folder == tmp_path / "swept" / "members" / "fold0-seed1"
    with pytest.raises(InputDataError, match="does not exist"):
        swept.trained("fold0-seed2")


def test_a_search_is_drawn_person_by_person_before_and_after(run: dtb.RunResult) -> None:
    effects = run.intervene.effects
    target = effects[effects["is_target"].astype(bool)]
    assert len(target) > 2
    drawn = {
        float(value)
        for axes in run.intervene.plot().axes
        for offsets in (collection.get_offsets() for collection in axes.collections)
        for value in np.ravel(offsets)
    }
    drawn |= {
        float(value)
        for axes in run.intervene.plot().axes
        for line in axes.lines
        for value in np.ravel(line.get_xydata())
    }
    assert set(target["before"].astype(float)) | set(target["after"].astype(float)) <= drawn


def test_a_trial_is_drawn_arm_by_arm(run: dtb.RunResult) -> None:
    trial = dtb.TrialResult(run.folder / "trial")
    (axes,) = trial.plot().axes
    lines = {line.get_label(): line.get_ydata()[1:] for line in axes.lines}
    for arm, rows in trial.doses.groupby("arm"):
        assert lines[str(arm)] == pytest.approx(rows["effect"].to_numpy(float))
