"""`dtb run`: what it refuses, and under which names people stand in what it writes; `test_api_whole.py` has whole runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from dtb.config import ClusterConfig, Config, InputConfig, SynthConfig, TrainConfig
from dtb.errors import ConfigurationError, InputDataError, OutputInUseError
from dtb.pipeline import run_all, steps_of
from dtb.shards.read import open_cohort
from dtb.stages import OutputFolder


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
    assert "How long it takes is not known: no finished run" in said
    assert not out.exists()
    OutputFolder.claim(out / "cohort", "synth", Config(), resume=False)
    with pytest.raises(OutputInUseError, match="not empty"):
        run_all(Config(cluster=two_cores), out, resume=False, dry_run=True)


def test_a_dry_run_says_how_long_the_newest_run_beside_it_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, stage in (("shards", "ingest"), ("train", "train"), ("report", "report")):
        folder = OutputFolder.claim(tmp_path / "before" / place, stage, Config(), resume=False)
        folder.finish({"subjects": 30, "steps": 700})
        state = json.loads((tmp_path / "before" / place / "stage.json").read_text())
        assert state["seconds"] >= 0
        (tmp_path / "before" / place / "stage.json").write_text(json.dumps(state | {"seconds": 90.0}))
    (tmp_path / "damaged" / "train").mkdir(parents=True)
    (tmp_path / "damaged" / "train" / "stage.json").write_text("{")
    run_all(Config(cluster=ClusterConfig(num_cpus=2)), tmp_path / "new", resume=False, dry_run=True)
    said = capsys.readouterr().out
    assert f"(to do; took 2 min in {tmp_path / 'before'})" in said
    assert "There, 30 people were read, and training made 700 steps" in said
