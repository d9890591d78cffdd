"""Every stage as a function, for real: one small cohort from nothing to a page, a trial, a pooled certificate and a plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import dtb
from tests.sockets import assert_listening_on_loopback_alone, watched_sockets

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
PROTOCOL = """
title: Faster responses to faces
search: {indicator: mean_rt, task: hammer, direction: decrease, budget: 0.05, num_steps: 2}
arms: [population, random, sham]
doses: [0.5, 1.0]
primary: population
comparator: random
responder_spreads: 0.2
max_off_target_spreads: 0.5
"""


@pytest.fixture(scope="module")
def config() -> dtb.Config:
    return dtb.Config(
        seed=1,
        synth=dtb.SynthConfig(num_subjects=20, num_regions=12, num_causal_edges=4, rest_seconds=130, tasks=("hammer",)),
        ingest=dtb.IngestConfig(tasks=("hammer",)),
        twin=dtb.TwinConfig(num_hidden=8, encoder_widths=(8,), latent_size=4, rank=2, step_seconds=0.1),
        train=dtb.TrainConfig(num_workers=1, batch_size=8, max_steps=4),
        split=dtb.SplitConfig(num_folds=2),
        evaluate=dtb.EvaluateConfig(num_bootstrap=100),
        simulate=dtb.SimulateConfig(num_draws=2),
        intervene=dtb.InterveneConfig(task="hammer", num_steps=2),
        fleet=dtb.FleetConfig(num_actors=1),
        report=dtb.ReportConfig(person_pages=1),
        track=dtb.TrackConfig(wandb="off"),
    )


@pytest.fixture(scope="module")
def run(config: dtb.Config, tmp_path_factory: pytest.TempPathFactory) -> dtb.RunResult:
    with watched_sockets() as listening:
        result = dtb.run_pipeline(config, tmp_path_factory.mktemp("whole") / "run")
    assert_listening_on_loopback_alone(listening)
    return result


def test_a_run_leaves_a_result_of_every_stage(run: dtb.RunResult) -> None:
    people = set(run.ingest.cohort.pseudonyms)
    assert len(people) == 20
    assert set(run.simulate.status["pseudonym"]) == people
    assert np.isfinite(run.train.epochs["train_loss"]).all()
    assert "cannot be said: 10 people support no claim" in run.evaluate.verdict
    assert set(run.intervene.effects["pseudonym"]) <= people
    assert run.report.page.is_file()
    for stage in (run.train, run.evaluate, run.intervene):
        assert stage.plot().axes


def test_single_stages_do_what_the_run_does(run: dtb.RunResult, config: dtb.Config, tmp_path: Path) -> None:
    shards, trained = run.ingest.folder, run.train.folder
    simulated = dtb.simulate_twins(shards, trained, tmp_path / "simulate", config)
    columns = ["pseudonym", "run", "trial"]
    theirs, mine = (
        table.trials.sort_values(columns).reset_index(drop=True)[columns] for table in (run.simulate, simulated)
    )
    assert mine.equals(theirs)
    found = dtb.search_interventions(shards, trained, tmp_path / "intervene", config)
    assert set(found.status["pseudonym"]) == set(run.intervene.status["pseudonym"])
    page = dtb.write_report(run.folder, tmp_path / "report", config)
    assert "Research use only" in page.page.read_text(encoding="utf-8")


def test_a_trial_has_every_arm_at_every_dose(run: dtb.RunResult, config: dtb.Config, tmp_path: Path) -> None:
    protocol = tmp_path / "protocol.yaml"
    protocol.write_text(PROTOCOL)
    trial = dtb.run_trial(protocol, run.ingest.folder, run.train.folder, tmp_path / "trial", config)
    assert {"population", "random", "sham"} <= set(trial.outcomes["arm"])
    assert {0.5, 1.0} <= set(trial.outcomes["dose"])
    assert trial.plot().axes


@pytest.mark.on_request
def test_folds_pool_to_one_certificate_over_everybody(run: dtb.RunResult, config: dtb.Config, tmp_path: Path) -> None:
    folders = []
    for fold in (0, 1):
        settings = dataclasses.replace(config, split=dtb.SplitConfig(num_folds=2, fold=fold))
        trained = dtb.train_twin(run.ingest.folder, tmp_path / f"trained{fold}", settings)
        folders.append(dtb.evaluate_twin(run.ingest.folder, trained.folder, tmp_path / f"fold{fold}", settings).folder)
    pooled = dtb.pool_evaluations(folders, tmp_path / "pooled", config)
    assert pooled.certificate_page.is_file()
    assert len(pooled.figures)


def test_a_plan_says_how_many_people(config: dtb.Config, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        config, plan=dtb.PlanConfig(task="hammer", people=(20, 40), rest_minutes=(5.0,), trials=(40,), num_cohorts=10)
    )
    planned = dtb.plan_study(tmp_path / "plan", settings)
    assert planned.picture.is_file()
    assert planned.sentence
    assert len(planned.settings) >= 2
