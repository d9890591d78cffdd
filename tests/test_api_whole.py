"""Every stage for real: one small cohort from nothing to a page, a trial, a pooled certificate and a plan.

Once by the functions, in this process, and once by the command, on a cluster of two raylets that was there before and is there after.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

import dtb
from dtb.cli.entry import exit_code
from dtb.config import to_yaml
from dtb.pipeline import FOLDERS
from tests.reproducibility import digests
from tests.sockets import assert_listening_on_loopback_alone, watched_sockets
from tests.test_track import names_in, read_record

REPOSITORY = Path(__file__).parent.parent

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
        track=dtb.TrackConfig(wandb="offline"),
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


def test_folds_pool_to_one_certificate_over_everybody(run: dtb.RunResult, config: dtb.Config, tmp_path: Path) -> None:
    settings = dataclasses.replace(config, split=dtb.SplitConfig(num_folds=2, fold=1))
    trained = dtb.train_twin(run.ingest.folder, tmp_path / "trained", settings)
    other = dtb.evaluate_twin(run.ingest.folder, trained.folder, tmp_path / "fold1", settings)
    pooled = dtb.pool_evaluations([run.evaluate.folder, other.folder], tmp_path / "pooled", config)
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


@pytest.fixture(scope="module")
def two_raylets():
    """The address of a running cluster of two nodes with one core each."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 200 << 20})
    cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def command(config: dtb.Config, two_raylets: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run of the same settings on these."""
    folder = tmp_path_factory.mktemp("commanded")
    (folder / "settings.yaml").write_text(to_yaml(config))
    return ["run", str(folder / "settings.yaml"), str(folder / "run"), "--ray-address", two_raylets]


@pytest.fixture(scope="module")
def commanded(command: list[str]) -> subprocess.CompletedProcess[str]:
    """That run, which a process of its own has done."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "dtb", *command]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=560)


@pytest.mark.own_ray
def test_all_stages_on_a_cluster_that_was_there_before(
    command: list[str], commanded: subprocess.CompletedProcess[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(command[2])
    assert commanded.returncode == 0, commanded.stderr[-3000:]
    assert str(out / "report" / "index.html") in commanded.stdout
    assert "Research use only" in (out / "report" / "index.html").read_text(encoding="utf-8")
    for stage in ("ingest", "train", "evaluate", "simulate", "intervene", "report"):
        folder = out / ("shards" if stage == "ingest" else stage)
        assert json.loads((folder / "stage.json").read_text())["complete"]
    status = ds.dataset(out / "simulate" / "status").to_table().to_pydict()
    assert len(set(status["pseudonym"])) == 20
    assert set(status["status"]) == {"ok"}

    assert exit_code(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert exit_code([*command, "--resume"]) == 0
    assert capsys.readouterr().err.count("(done)") == 7

    labels = [
        line.split("\t")[0] for line in (out / "cohort" / "bids" / "participants.tsv").read_text().splitlines()[1:]
    ]
    for path in (path for path in out.rglob("*") if path.is_file() and "cohort" not in path.relative_to(out).parts[:1]):
        if path.name.endswith(".identities.tsv"):
            assert path.stat().st_mode & 0o077 == 0
            continue
        content = path.read_bytes()
        assert not [label for label in labels if label.encode() in content], f"{path} names a participant"
    assert_tracked_without_names(out, set(status["pseudonym"]))


@pytest.mark.own_ray
def test_functions_and_the_command_agree_to_the_last_bit_in_every_stage_of_a_run_but_the_pages(
    run: dtb.RunResult, command: list[str], commanded: subprocess.CompletedProcess[str]
) -> None:
    assert commanded.returncode == 0, commanded.stderr[-3000:]
    first, second = digests(run.folder), digests(Path(command[2]))
    assert {path for path in {*first, *second} if first.get(path) != second.get(path)} == set()
    assert {path.split("/")[0] for path in first} >= set(FOLDERS.values()) - {
        "report",
        "update",
    }  # pages show all of these; who is simulated is not updated


def assert_tracked_without_names(out: Path, pseudonyms: set[str]) -> None:
    """Training and evaluation are one W&B run, with losses by task, the table and the picture; what would be sent names nobody."""
    records = [*(out / "train").rglob("*.wandb"), *(out / "evaluate").rglob("*.wandb")]
    assert len(records) == 2
    assert len({record.stem for record in records}) == 1
    history = [
        {".".join(item.nested_key) or item.key for item in entry.history.item}
        for record in records
        for entry in read_record(record.read_bytes())
    ]
    logged = set().union(*history)
    assert {"train_loss", "lr", "grad_norm", "hammer/press", "hammer/validation_press"} <= logged
    assert {
        "segments_per_second",
        "flops_per_second",
        "peak_flops_share",
        "data_wait_share",
        "peak_memory_gib",
    } <= logged
    assert {"evaluation.path", "predicted against observed.path"} <= logged
    files = [path for record in records for path in (record.parent / "files").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".html", ".png"}
    secrets = {socket.gethostname(), str(out), str(REPOSITORY), str(Path.home()), getpass.getuser() + "@"} | pseudonyms
    for path in [*records, *files]:
        assert not names_in(path, secrets), path
