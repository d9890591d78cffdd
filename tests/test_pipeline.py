"""`dtb run` from nothing to a page, on a cluster of two raylets that was there before and is there after."""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from dtb.config import ClusterConfig, Config, InputConfig, SynthConfig, TrainConfig
from dtb.errors import ConfigurationError, InputDataError, OutputInUseError
from dtb.pipeline import run_all, steps_of
from dtb.shards.read import open_cohort
from dtb.stages import OutputFolder
from tests.test_track import names_in, read_record

REPOSITORY = Path(__file__).parent.parent
SMALL = {
    "synth.num-subjects": 20,
    "synth.num-regions": 12,
    "synth.num-causal-edges": 4,
    "synth.rest-seconds": 130,
    "synth.tasks": "hammer",
    "ingest.tasks": "hammer",
    "twin.num-hidden": 8,
    "train.max-epochs": 2,
    "train.batch-size": 8,
    "evaluate.num-bootstrap": 100,
    "simulate.num-draws": 2,
    "intervene.num-steps": 2,
    "fleet.num-actors": 1,
    "report.person-pages": 1,
}


@pytest.fixture
def two_raylets():
    """The address of a running cluster of two nodes with one core each."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 200 << 20})
    cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dtb", "run", str(REPOSITORY / "configs" / "demo.yaml"), str(out)]
    command += [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False, timeout=560
    )


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.on_request
def test_all_stages_on_a_cluster_that_was_there_before(two_raylets: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(out, "--ray-address", two_raylets)
    assert done.returncode == 0, done.stderr[-3000:]
    assert str(out / "report" / "index.html") in done.stdout
    assert "Research use only" in (out / "report" / "index.html").read_text(encoding="utf-8")
    for stage in ("ingest", "train", "evaluate", "simulate", "intervene", "report"):
        folder = out / ("shards" if stage == "ingest" else stage)
        assert json.loads((folder / "stage.json").read_text())["complete"]
    status = ds.dataset(out / "simulate" / "status").to_table().to_pydict()
    assert len(set(status["pseudonym"])) == 20
    assert set(status["status"]) == {"ok"}

    used = run(out)
    assert used.returncode == 2
    assert "--resume" in used.stderr
    again = run(out, "--resume", "--ray-address", two_raylets)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stderr.count("(done)") == 7

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


@pytest.mark.cluster
def test_a_made_up_cohort_is_the_same_each_time_and_people_who_exist_get_pseudonyms_that_nobody_can_know(
    tmp_path: Path,
) -> None:
    synth = SynthConfig(num_subjects=4, num_regions=12, rest_seconds=130, num_causal_edges=4)
    config = Config(seed=1, synth=synth, cluster=ClusterConfig(num_cpus=1))
    written = []
    for name in ("first", "second"):
        for step in steps_of(config, tmp_path / name)[:2]:
            step.call(resume=False)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name / "shards").glob("*.tar")})
    assert written[0] == written[1] != {}
    cohort = tmp_path / "first" / "cohort"
    described = cohort / "bids" / "dataset_description.json"
    described.write_text(json.dumps({"Name": "people who exist", "BIDSVersion": "1.10.0"}))
    given = InputConfig(bids=cohort / "bids", derivatives=(cohort / "derivatives" / "xcp_d",))
    steps_of(dataclasses.replace(config, input=given), tmp_path / "given")[0].call(resume=False)
    known, hidden = (set(open_cohort(tmp_path / name / "shards").pseudonyms) for name in ("first", "given"))
    assert len(hidden) == 4
    assert not known & hidden


def test_a_dry_run_refuses_what_the_run_would_refuse_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inputs that are not there, more workers than cores, a folder in use: as the run itself, before it has written anything."""
    nowhere, out = tmp_path / "nowhere", tmp_path / "[bold]out"
    two_cores = ClusterConfig(num_cpus=2)
    images = Config(cluster=two_cores, input=InputConfig(bids=nowhere, derivatives=(nowhere,)))
    shards = Config(cluster=two_cores, input=InputConfig(shards=nowhere))
    workers = Config(cluster=two_cores, train=TrainConfig(num_workers=64))
    for config, error, says in (
        (images, InputDataError, "nowhere is not a folder"),
        (shards, InputDataError, "nowhere does not exist"),
        (workers, ConfigurationError, r"train\.num_workers needs 64 CPU, but this machine has 2"),
    ):
        with pytest.raises(error, match=says):
            run_all(config, out, resume=False, dry_run=True)
    with pytest.raises(ConfigurationError, match=r"needs 64 CPU"):
        run_all(workers, out, resume=False, dry_run=False)
    assert not out.exists()
    capsys.readouterr()
    run_all(Config(cluster=two_cores), out, resume=False, dry_run=True)
    said = capsys.readouterr().out
    assert said.count(str(out)) == 8  # in each stage's line and in synth's own: no part of a path is taken for a style
    assert "What ingest, train, evaluate, simulate, intervene, report would read is not there yet" in said
    assert not out.exists()
    OutputFolder.claim(out / "cohort", "synth", Config(), resume=False)
    with pytest.raises(OutputInUseError, match="not empty"):
        run_all(Config(cluster=two_cores), out, resume=False, dry_run=True)
