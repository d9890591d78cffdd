"""People of whom one half is there: connectomes without any task, and behaviour without a connectome, which is never filled in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtb.cohort.ingest import ingest
from dtb.config import ClusterConfig, Config, IngestConfig, InputConfig, TrainConfig
from dtb.errors import ConfigurationError, InputDataError
from dtb.people.records import matrix_from_edges
from dtb.pipeline import steps_of
from dtb.shards.existing import use_existing_shards
from dtb.shards.inspect import print_info, verify_shards
from dtb.shards.read import Cohort, open_cohort
from dtb.train.plan import make_plan

ONE_CPU = ClusterConfig(num_cpus=1)


@pytest.fixture
def copy(small_cohort, tmp_path) -> Path:
    """A copy of the small cohort, to be changed."""
    return Path(shutil.copytree(small_cohort, tmp_path / "cohort"))


def ingested(cohort: Path, out: Path, *, derivatives: bool = True, **options) -> tuple[Cohort, dict[str, str]]:
    """Return the cohort in the shards, and pseudonyms by label."""
    trees = (cohort / "derivatives" / "xcp_d",) if derivatives else ()
    ingest(Config(ingest=IngestConfig(**options), cluster=ONE_CPU), cohort / "bids", trees, out, resume=False)
    table = pd.read_csv(Path(f"{out}.identities.tsv"), sep="\t", comment="#", dtype=str)
    label, pseudonym = (
        next(name for name in table if name.startswith(start)) for start in ("participant", "pseudonym")
    )
    return open_cohort(out), dict(zip(table[label].str.removeprefix("sub-"), table[pseudonym], strict=True))


def refused_by_training(cohort: Cohort, out: Path, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        make_plan(Config(train=TrainConfig(num_workers=1)), cohort.path, out / "trained", cohort)
    refused_by_whole_runs(cohort, out, match)


def refused_by_whole_runs(cohort: Cohort, out: Path, match: str) -> None:
    with pytest.raises(InputDataError, match=match):
        use_existing_shards(Config(), cohort.path, out / "run", resume=False, dry_run=True)


@pytest.mark.cluster
def test_connectomes_alone_are_read_of_people_who_are_in_the_derivatives_only(copy, tmp_path, capsys):
    for folder in (copy / "bids").glob("sub-*"):
        shutil.rmtree(folder)
    cohort, names = ingested(copy, tmp_path / "shards", tasks=(), rest_runs="separate")
    assert sorted(names) == [f"{place:04d}" for place in range(1, 7)]
    record = cohort.record(names["0001"])
    assert record.runs == ()
    func = copy / "derivatives" / "xcp_d" / "sub-0001" / "func"
    for label, edges_E in record.rest_runs.items():
        way = label.split("dir-")[1][:2]
        table = pd.read_csv(next(func.glob(f"*task-rest_dir-{way}*timeseries.tsv")), sep="\t")
        z_RR = np.arctanh(np.corrcoef(table.to_numpy().T) - np.eye(20))
        np.testing.assert_allclose(matrix_from_edges(edges_E), z_RR, atol=1e-6)
    assert len(record.rest_runs) == 2
    assert cohort.manifest.counts["runs"] == 0
    assert record.covariates["age"] == pd.read_csv(copy / "bids/participants.tsv", sep="\t").age[0]
    assert "connectomes and no task" in " ".join(capsys.readouterr().err.split())
    print_info(tmp_path / "shards")
    verify_shards(tmp_path / "shards")
    refused_by_training(cohort, tmp_path, "connectomes and no task")


def test_with_tasks_the_raw_tree_says_who_there_is(copy, tmp_path):
    for folder in (copy / "bids").glob("sub-*"):
        shutil.rmtree(folder)
    with pytest.raises(InputDataError, match="holds no sub-"):
        ingested(copy, tmp_path / "shards")


@pytest.mark.cluster
def test_behaviour_is_kept_of_whoever_has_no_connectome_with_every_edge_absent(copy, tmp_path, capsys):
    derived = copy / "derivatives" / "xcp_d"
    for path in (derived / "sub-0002" / "func").glob("*task-rest*"):
        path.unlink()
    for path in (derived / "sub-0003" / "func").glob("*task-rest*timeseries.tsv"):
        path.write_text(path.read_text()[:200])
    whole, names_of_whole = ingested(copy, tmp_path / "set_aside", max_quarantined_fraction=0.5)
    assert len(whole) == 4
    assert "without_connectome" not in whole.manifest.counts
    kept, names = ingested(copy, tmp_path / "kept", without_connectome="keep")
    assert len(kept) == 6
    assert kept.manifest.counts["without_connectome"] == 2
    for label in ("0002", "0003"):
        record = kept.record(names[label])
        assert record.connectome_E.shape == (190,)
        assert np.isnan(record.connectome_E).all()
        assert record.covariates["motion"] is None
        assert record.covariates["rest_seconds"] is None
        for run in record.runs:
            (path,) = (copy / "bids" / f"sub-{label}" / "func").glob(f"*task-{run.task}*events.tsv")
            rt = pd.read_csv(path, sep="\t").response_time
            assert np.nansum(run.trials.rt_seconds_J) == pytest.approx(rt[rt > 0].sum(), abs=1e-6)
            assert run.bold_VR is not None
        assert [run.task for run in record.runs] == ["hammer", "stroop"]
    for label in ("0001", "0004", "0005", "0006"):
        same = whole.record(names_of_whole[label]).connectome_E
        np.testing.assert_array_equal(kept.record(names[label]).connectome_E, same)
    left_out = pd.read_csv(tmp_path / "kept" / "left_out.tsv", sep="\t")
    assert set(left_out[left_out.file.str.contains("task-rest")].pseudonym) == {names["0003"]}
    assert "2 of 6 people in these shards have no connectome" in " ".join(capsys.readouterr().err.split())
    verify_shards(tmp_path / "kept")
    refused_by_whole_runs(kept, tmp_path, "2 of 6 people")


@pytest.mark.cluster
@pytest.mark.parametrize(("rule", "value"), [("max_motion_mm", 1e-6), ("min_rest_seconds", 1e6)])
def test_behaviour_is_kept_of_whoever_has_a_connectome_that_the_rules_refuse(small_cohort, tmp_path, rule, value):
    cohort, _ = ingested(small_cohort, tmp_path / "shards", without_connectome="keep", **{rule: value})
    assert cohort.manifest.counts["without_connectome"] == 6
    left_out = pd.read_csv(tmp_path / "shards" / "left_out.tsv", sep="\t")
    reasons = left_out[left_out.file == "connectome"].reason
    assert len(reasons) == 6
    assert reasons.str.contains(f"ingest.{rule}").all()


@pytest.mark.cluster
def test_a_cohort_of_behaviour_alone_needs_no_derivatives(small_cohort, tmp_path):
    cohort, names = ingested(small_cohort, tmp_path / "shards", derivatives=False, without_connectome="keep")
    assert cohort.manifest.description.regions == ()
    assert cohort.manifest.counts["without_connectome"] == 6
    record = cohort.record(names["0001"])
    assert record.connectome_E.shape == (0,)
    assert all(run.bold_VR is None for run in record.runs)
    events = pd.read_csv(next((small_cohort / "bids/sub-0001/func").glob("*stroop*events.tsv")), sep="\t")
    (stroop,) = (run for run in record.runs if run.task == "stroop")
    assert stroop.trials.num_trials == len(events)
    print_info(tmp_path / "shards")
    verify_shards(tmp_path / "shards")
    refused_by_whole_runs(cohort, tmp_path, "6 of 6 people")
    quality = pd.read_csv(tmp_path / "shards" / "quality.tsv", sep="\t")
    assert quality.rest_seconds.isna().all()
    assert json.loads((tmp_path / "shards/stage.json").read_text())


def test_a_derivative_tree_without_rest_is_refused_all_the_same(copy, tmp_path):
    with pytest.raises(InputDataError, match="No resting-state series of any of 6 people"):
        ingested(copy, tmp_path / "shards", without_connectome="keep", rest_task="movie")


def test_nothing_is_not_asked_for():
    with pytest.raises(ValueError, match="without_connectome"):
        IngestConfig(tasks=(), without_connectome="keep")


def test_a_whole_run_refuses_shards_without_tasks_before_it_begins(small_cohort, tmp_path):
    given = InputConfig(bids=small_cohort / "bids", derivatives=(small_cohort / "derivatives/xcp_d",))
    with pytest.raises(ConfigurationError, match="`dtb run` needs tasks"):
        steps_of(Config(input=given, ingest=IngestConfig(tasks=())), tmp_path)


def test_a_run_of_people_who_may_have_no_connectome_updates_them_and_searches_for_nothing(small_cohort, tmp_path):
    given = InputConfig(bids=small_cohort / "bids")
    with pytest.raises(ConfigurationError, match="--ingest.without-connectome keep"):
        steps_of(Config(input=given), tmp_path)
    steps = steps_of(Config(input=given, ingest=IngestConfig(without_connectome="keep")), tmp_path)
    assert [step.stage for step in steps] == ["ingest", "train", "evaluate", "update", "report"]
