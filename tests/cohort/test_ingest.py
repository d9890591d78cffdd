"""Ingesting: the shards hold what the files say, whoever reads them and however many at once; whoever cannot be read is on record."""

import ctypes
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.identities import identities_path, open_key, pseudonym_of
from dtb.cohort.ingest import _print_summary, ingest
from dtb.cohort.job import LeftOut, PersonJob
from dtb.cohort.person import MEETS_NO_EVENTS, read_person
from dtb.cohort.workers import read_people
from dtb.config import ClusterConfig, Config, IngestConfig, SplitConfig
from dtb.errors import InputDataError
from dtb.people.records import matrix_from_edges
from dtb.pipeline import steps_of
from dtb.shards.divide import make_split
from dtb.shards.read import open_cohort
from dtb.stages import require_complete
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from tests.small import SMALL

ONE_CPU = Config(cluster=ClusterConfig(num_cpus=1))
TASKS = TaskSet((load_task("stroop"), load_task("hammer")))


def paths(cohort: Path) -> tuple[Path, tuple[Path]]:
    return cohort / "bids", (cohort / "derivatives" / "xcp_d",)


def jobs_of(cohort: Path, config: IngestConfig) -> list[PersonJob]:
    people = index_people(*paths(cohort), config, TASKS)
    return [PersonJob(person, f"p{place}", no_covariates(), paths(cohort)[1]) for place, person in enumerate(people)]


def regions_of(cohort: Path) -> tuple[str, ...]:
    return tuple(json.loads((cohort / "truth" / "mechanism.json").read_text())["regions"])


@pytest.fixture
def copy(small_cohort, tmp_path) -> Path:
    """A copy of the small cohort, to be damaged."""
    return Path(shutil.copytree(small_cohort, tmp_path / "cohort"))


def func(cohort: Path, label: str) -> Path:
    return cohort / "derivatives" / "xcp_d" / f"sub-{label}" / "func"


def rest_file(cohort: Path, label: str, direction: str) -> Path:
    return next(func(cohort, label).glob(f"*task-rest_dir-{direction}*timeseries.tsv"))


def test_connectomes_equal_numpys_averaged_over_runs(small_cohort):
    config = IngestConfig()
    read = read_person(jobs_of(small_cohort, config)[0], regions_of(small_cohort), TASKS, config)
    tables = [pd.read_csv(rest_file(small_cohort, "0001", way), sep="\t") for way in ("AP", "PA")]
    z_RR = np.mean([np.arctanh(np.corrcoef(table.to_numpy().T) - np.eye(20)) for table in tables], axis=0)
    np.testing.assert_allclose(matrix_from_edges(read.record.connectome_E), z_RR, atol=1e-6)
    assert read.record.covariates["rest_seconds"] == 480
    assert read.record.covariates["motion"] > 0
    for run in read.record.runs:
        np.testing.assert_allclose(run.bold_VR.mean(axis=0), 0, atol=1e-5)
        (path,) = func(small_cohort, "0001").glob(f"*task-{run.task}*timeseries.tsv")
        table = pd.read_csv(path, sep="\t")
        np.testing.assert_allclose(run.bold_VR + run.bold_mean_R, table, rtol=1e-5, atol=1e-5)
        assert run.duration_seconds == pytest.approx(len(run.bold_VR) * 0.8)
    assert [run.label for run in read.record.runs] == ["hammerAP", "stroopAP"]


def test_rest_runs_are_averaged_concatenated_or_kept_apart(small_cohort):
    names, tables = regions_of(small_cohort), {}
    for way in ("AP", "PA"):
        tables[way] = pd.read_csv(rest_file(small_cohort, "0001", way), sep="\t").to_numpy()
    records = {}
    for how in ("average", "concatenate", "separate"):
        config = IngestConfig(rest_runs=how)
        records[how] = read_person(jobs_of(small_cohort, config)[0], names, TASKS, config).record
    np.testing.assert_array_equal(records["separate"].connectome_E, records["average"].connectome_E)
    assert not records["average"].rest_runs
    assert not records["concatenate"].rest_runs
    joined_VR = np.concatenate([(table - table.mean(0)) / table.std(0) for table in tables.values()])
    np.testing.assert_allclose(
        np.tanh(matrix_from_edges(records["concatenate"].connectome_E)),
        np.corrcoef(joined_VR.T) - np.eye(20),
        atol=1e-6,
    )
    apart = records["separate"].rest_runs
    assert list(apart) == ["task-rest_dir-AP_run-1", "task-rest_dir-PA_run-1"]
    for edges_E, table in zip(apart.values(), tables.values(), strict=True):
        np.testing.assert_allclose(np.tanh(matrix_from_edges(edges_E)), np.corrcoef(table.T) - np.eye(20), atol=1e-6)


def test_a_region_absent_from_one_run_is_taken_from_the_other_and_from_neither_is_absent(copy):
    names = regions_of(copy)
    for way, columns in (("AP", [2, 5]), ("PA", [5])):
        path = rest_file(copy, "0001", way)
        table = pd.read_csv(path, sep="\t")
        table.iloc[:, columns] = np.nan
        table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    config = IngestConfig()
    record = read_person(jobs_of(copy, config)[0], names, TASKS, config).record
    z_RR = matrix_from_edges(record.connectome_E, diagonal=0.0)
    absent = np.isnan(z_RR)
    assert absent[5].sum() == 19
    assert absent.sum() == 38
    other = pd.read_csv(rest_file(copy, "0001", "PA"), sep="\t").to_numpy()
    assert z_RR[2, 7] == pytest.approx(np.arctanh(np.corrcoef(other[:, 2], other[:, 7])[0, 1]), abs=1e-6)


def test_regions_are_matched_by_name_whatever_their_order(copy):
    path = rest_file(copy, "0002", "AP")
    config = IngestConfig()
    before = read_person(jobs_of(copy, config)[1], regions_of(copy), TASKS, config).record
    table = pd.read_csv(path, sep="\t", dtype=str)
    table[table.columns[::-1]].to_csv(path, sep="\t", index=False)
    after = read_person(jobs_of(copy, config)[1], regions_of(copy), TASKS, config).record
    np.testing.assert_array_equal(before.connectome_E, after.connectome_E)


def test_censored_volumes_are_put_back_onto_the_clock_or_refused(copy):
    path = next(func(copy, "0001").glob("*task-stroop*timeseries.tsv"))
    whole = pd.read_csv(path, sep="\t")
    marks = np.zeros(len(whole), dtype=int)
    marks[[3, 4, 100]] = 1
    outliers = path.with_name("sub-0001_task-stroop_dir-AP_run-01_outliers.tsv")
    pd.DataFrame({"framewise_displacement": marks}).to_csv(outliers, sep="\t", index=False)
    whole[marks == 0].to_csv(path, sep="\t", index=False)
    config = IngestConfig()
    job = jobs_of(copy, config)[0]
    run = read_person(job, regions_of(copy), TASKS, config).record.runs[1]
    assert np.flatnonzero(np.isnan(run.bold_VR).all(axis=1)).tolist() == [3, 4, 100]
    assert run.duration_seconds == pytest.approx(0.8 * len(whole))
    pd.DataFrame({"framewise_displacement": marks[:-5]}).to_csv(outliers, sep="\t", index=False)
    read = read_person(job, regions_of(copy), TASKS, config)
    assert read.record.runs[1].bold_VR is None
    assert "do not belong together" in read.left_out[0].reason


def test_a_censored_series_that_nothing_puts_back_onto_the_clock_is_not_taken_as_evenly_spaced(copy):
    path = rest_file(copy, "0001", "AP")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:50] + lines[60:]))
    config = IngestConfig()
    read = read_person(jobs_of(copy, config)[0], regions_of(copy), TASKS, config)
    assert read.record.covariates["rest_seconds"] == 240
    assert "290 volumes" in read.left_out[0].reason
    assert "taken out of the series" in read.left_out[0].reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda cohort: shutil.rmtree(func(cohort, "0001")), "no resting-state series"),
        (
            lambda cohort: [
                p.write_text(p.read_text()[:-200]) for p in func(cohort, "0001").glob("*rest*timeseries.tsv")
            ],
            "",
        ),
        (
            lambda cohort: [
                p.write_bytes(b"\x1f\x8b\0garbage") for p in func(cohort, "0001").glob("*rest*timeseries.tsv")
            ],
            "could be read",
        ),
        (lambda cohort: [p.unlink() for p in func(cohort, "0001").glob("*rest*.json")], "RepetitionTime"),
        (lambda cohort: [p.unlink() for p in (cohort / "bids/sub-0001/func").glob("*events.tsv")], "no task run"),
        (
            lambda cohort: [
                p.write_text("onset\tduration\n1\t2\n") for p in (cohort / "bids/sub-0001/func").glob("*events.tsv")
            ],
            "no column 'response_time'",
        ),
    ],
)
def test_what_is_wrong_with_one_person_sets_that_person_aside_under_a_pseudonym(copy, damage, reason):
    damage(copy)
    config = IngestConfig()
    read = read_person(jobs_of(copy, config)[0], regions_of(copy), TASKS, config)
    assert reason in read.reason
    assert (read.record is None) == bool(reason) or read.left_out
    everything = read.reason + "".join(each.run + each.reason for each in read.left_out)
    assert "0001" not in everything
    assert str(copy) not in everything


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"participant_label": ("sub-0001", "9999")}, "no folder of .* belongs to sub-9999"),
        ({"rest_task": "sleep"}, r"task-sleep.*ingest\.rest_task"),
        ({"layout": "halfpipe"}, "corrMatrix5"),
    ],
)
def test_what_concerns_everybody_is_said_at_once_and_nothing_is_written(small_cohort, tmp_path, change, message):
    config = dataclasses.replace(ONE_CPU, ingest=IngestConfig(**change))
    with pytest.raises(InputDataError, match=message):
        ingest(config, *paths(small_cohort), tmp_path / "out", resume=False)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_derivative_tree_is_named(small_cohort, tmp_path):
    with pytest.raises(InputDataError, match="nowhere is not a folder"):
        ingest(ONE_CPU, small_cohort / "bids", (tmp_path / "nowhere",), tmp_path / "out", resume=False)


@pytest.mark.parametrize("num_ambiguous", [1, 3, 4, 6])
def test_several_parcellations_must_be_chosen_from_by_most_people_or_set_somebody_aside(copy, num_ambiguous):
    for label in range(1, num_ambiguous + 1):
        for path in list(func(copy, f"{label:04d}").glob("*_seg-Toy20_*")):
            shutil.copy(path, path.with_name(path.name.replace("Toy20", "Other")))
    said = r"several series of one run.*ingest\.parcellation"
    if num_ambiguous > 3:
        with pytest.raises(InputDataError, match=rf"{said}.*{num_ambiguous} of 6 people"):
            index_people(*paths(copy), IngestConfig(), TASKS)
    else:
        jobs = jobs_of(copy, IngestConfig())
        assert [bool(job.files.problem) for job in jobs] == [place < num_ambiguous for place in range(6)]
        reason = read_person(jobs[0], regions_of(copy), TASKS, IngestConfig()).reason
        assert re.search(said, reason)
        assert str(copy) not in reason
    people = index_people(*paths(copy), IngestConfig(parcellation="Toy20"), TASKS)
    assert all("Toy20" in file.path.name for person in people for file in person.rest)


def test_sessions_are_kept_apart_and_can_be_chosen(copy):
    for root in (copy / "bids", copy / "derivatives" / "xcp_d"):
        for label in ("0001", "0002"):
            func_folder = root / f"sub-{label}" / "func"
            for session in ("a", "b"):
                target = root / f"sub-{label}" / f"ses-{session}" / "func"
                target.mkdir(parents=True)
                for path in func_folder.iterdir():
                    shutil.copy(path, target / path.name.replace("_task", f"_ses-{session}_task"))
            shutil.rmtree(func_folder)
    people = index_people(*paths(copy), IngestConfig(participant_label=("0001", "sub-0002")), TASKS)
    assert [(len(person.rest), len(person.events)) for person in people] == [(4, 4), (4, 4)]
    config = IngestConfig(participant_label=("0001",), session_label=("ses-b",))
    (person,) = index_people(*paths(copy), config, TASKS)
    assert [(len(person.rest), len(person.events))] == [(2, 2)]
    record = read_person(PersonJob(person, "p", no_covariates()), regions_of(copy), TASKS, config).record
    assert [run.session for run in record.runs] == ["b", "b"]


def test_a_shrunk_connectome_is_the_plain_one_nearer_to_none(small_cohort):
    plain, shrunk = IngestConfig(), IngestConfig(connectome="ledoit_wolf")
    job = jobs_of(small_cohort, plain)[0]
    r_E, s_E = (
        np.tanh(read_person(job, regions_of(small_cohort), TASKS, config).rest_KE[0]) for config in (plain, shrunk)
    )
    ratio = s_E / r_E
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert 0.8 < ratio[0] < 1


def test_a_dry_run_writes_nothing(small_cohort, tmp_path, capsys):
    ingest(ONE_CPU, *paths(small_cohort), tmp_path / "out", resume=False, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert "6 people" in capsys.readouterr().out


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_task_of_which_nobody_has_events_is_refused_before_anything_is_written(small_cohort, tmp_path, dry_run):
    nback = Config(ingest=IngestConfig(tasks=("nback",)))
    with pytest.raises(InputDataError, match=r"None of 6 people in .* has an events file of nback"):
        ingest(nback, *paths(small_cohort), tmp_path / "out", resume=False, dry_run=dry_run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "a\tb\n1\t2\n", "a\ta\n", None])
def test_the_first_persons_broken_series_does_not_stop_the_others(copy, tmp_path, content, capsys):
    path = rest_file(copy, "0001", "AP")
    path.unlink()
    if content is None:
        os.mkfifo(path)  # whoever opens it waits for ever
    else:
        path.write_text(content)
    ingest(ONE_CPU, *paths(copy), tmp_path / "out", resume=False, dry_run=True)
    assert "20 regions" in capsys.readouterr().out


def crash_or_fail(job, regions, tasks, config):
    if job.pseudonym == "p1":
        ctypes.string_at(0)  # a segmentation fault
    if job.pseudonym == "p4":
        raise ZeroDivisionError("sub-0005 divided")
    return read_person(job, regions, tasks, config)


@pytest.mark.cluster
def test_a_crash_a_hang_and_a_surprise_cost_one_person_each(copy, tmp_path):
    # More than a process takes to import on its first person, on a machine with much else to do.
    config = IngestConfig(subject_timeout_seconds=10)
    jobs = jobs_of(copy, config)
    pipe = rest_file(copy, "0004", "AP")
    pipe.unlink()
    os.mkfifo(pipe)  # nobody writes into it: whoever opens it waits for ever, deep in the system
    reading = read_people(jobs, regions_of(copy), TASKS, config, ClusterConfig(num_cpus=2), tmp_path, crash_or_fail)
    reads = {job.pseudonym: read for job, read in reading}
    found = [reads[job.pseudonym] for job in jobs]
    assert [read.pseudonym for read in found] == [job.pseudonym for job in jobs]
    assert [read.record is None for read in found] == [False, True, False, True, True, False]
    assert "crashed its process" in found[1].reason
    assert "longer than 10 s" in found[3].reason
    assert "ZeroDivisionError: p4 divided" in found[4].reason


def content_of(out):
    """Return the bytes of each file; of `stage.json` without the time that the stage took."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    stage = json.loads(found["stage.json"])
    stage.pop("seconds", None)
    return found | {"stage.json": json.dumps(stage).encode()}


@pytest.mark.cluster
@pytest.mark.own_ray
def test_the_same_bytes_come_out_of_one_and_of_two_workers_and_identities_stay_outside(small_cohort, tmp_path):
    shards = {}
    for num_cpus in (1, 2):
        out = tmp_path / "out"
        config = Config(cluster=ClusterConfig(num_cpus=num_cpus), ingest=IngestConfig(subjects_per_shard=4))
        ingest(config, *paths(small_cohort), out, resume=False)
        shards[num_cpus] = content_of(out)
        shutil.rmtree(out)
    assert shards[1] == shards[2]
    assert sorted(shards[1])[-2:] == ["shard-00001.tar", "stage.json"]
    assert not any(b"sub-000" in content for content in shards[1].values())
    identities = identities_path(tmp_path / "out")
    assert identities.stat().st_mode & 0o777 == 0o600
    assert len(pd.read_csv(identities, sep="\t", comment="#")) == SMALL.synth.num_subjects


@pytest.mark.cluster
def test_a_page_that_cannot_be_drawn_is_a_warning_and_the_shards_are_whole(copy, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr("dtb.cohort.quality_page._histogram", fail)
    out = tmp_path / "out"
    ingest(ONE_CPU, *paths(copy), out, resume=False)
    assert len(open_cohort(out).pseudonyms) == SMALL.synth.num_subjects
    assert require_complete(out, "ingest")["subjects"] == SMALL.synth.num_subjects
    assert len(pd.read_csv(out / "quality.tsv", sep="\t")) == 2 * SMALL.synth.num_subjects
    assert not (out / "quality.html").exists()
    assert "quality.html was not made (ZeroDivisionError: no picture" in capsys.readouterr().err


@pytest.mark.cluster
def test_people_who_are_made_up_have_the_pseudonyms_of_their_seed_and_others_never_the_same_twice(copy, tmp_path):
    def key_of(out: Path) -> str:
        ingest(ONE_CPU, *paths(copy), tmp_path / out, resume=False)
        return identities_path(tmp_path / out).read_text().splitlines()[0]

    (step,) = (step for step in steps_of(SMALL, tmp_path / "run") if step.stage == "ingest")
    shutil.copytree(copy, tmp_path / "run" / "cohort")
    step.call(resume=False)
    by_run, by_hand = open_cohort(step.folder), tmp_path / "by_hand"
    ingest(ONE_CPU, *paths(copy), by_hand, resume=False)
    assert open_cohort(by_hand).pseudonyms == by_run.pseudonyms
    assert set(by_run.pseudonyms) == {pseudonym_of(f"{number:04d}", open_key(SMALL.seed)) for number in range(1, 7)}
    splits = [
        make_split(open_cohort(folder), SplitConfig(), SMALL.seed).to_plain() for folder in (by_hand, step.folder)
    ]
    assert splits[0] == splits[1]
    description = copy / "bids" / "dataset_description.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "GeneratedBy": [{"Name": "dtb"}]}))
    keys = {key_of("first"), key_of("second"), f"# key\t{open_key(SMALL.seed).hex()}"}
    assert len(keys) == 3


@pytest.mark.cluster
def test_past_the_fraction_it_stops_with_the_commonest_reason(copy, tmp_path):
    for label in ("0001", "0002", "0003", "0004"):
        shutil.rmtree(func(copy, label))
    with pytest.raises(InputDataError, match=r"4 of 6 people.*\n  4 x no resting-state series"):
        ingest(ONE_CPU, *paths(copy), tmp_path / "out", resume=False)
    assert not (tmp_path / "out" / "manifest.json").exists()
    relaxed = dataclasses.replace(ONE_CPU, ingest=IngestConfig(max_quarantined_fraction=0.7))
    ingest(relaxed, *paths(copy), tmp_path / "again", resume=False)
    assert len(open_cohort(tmp_path / "again").pseudonyms) == 2
    assert len((tmp_path / "again" / "quarantine.tsv").read_text().splitlines()) == 5


REAL = os.environ.get("DTB_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="DTB_REAL_DATA does not point to the real data")
def test_cnp_rest_series_are_read_with_their_absent_regions():
    root = Path(REAL, "cnp")
    config = IngestConfig(tasks=("stopsignal", "taskswitch", "scap"), layout="halfpipe")
    tasks = TaskSet(tuple(load_task(name) for name in config.tasks))
    people = index_people(root, (root / "derivatives" / "halfpipe",), config, tasks)
    assert len(people) == 8
    regions = tuple(f"r{place}" for place in range(434))
    for person in people:
        record = read_person(PersonJob(person, "p", no_covariates()), regions, tasks, config).record
        raw = pd.read_csv(person.rest[0].path, sep="\t", header=None).to_numpy()
        absent = np.isnan(raw).any(axis=0)
        assert 7 <= absent.sum() <= 28
        z_RR = matrix_from_edges(record.connectome_E, diagonal=0.0)
        expected = np.corrcoef(raw[:, ~absent].T)
        np.testing.assert_allclose(np.tanh(z_RR[~absent][:, ~absent]), expected - np.eye(len(expected)), atol=1e-6)
        assert np.isnan(z_RR[absent]).sum() == absent.sum() * 433
        assert [run.label for run in record.runs] == ["scap", "stopsignal", "taskswitch"]


@pytest.mark.slow
def test_a_column_that_everybody_lacks_is_refused_before_anything_is_written(copy, tmp_path):
    for path in (copy / "bids").glob("sub-*/func/*stroop*_events.tsv"):
        path.write_text(path.read_text().replace("response_time", "reaction", 1))
    for dry_run in (True, False):
        with pytest.raises(InputDataError, match=r"no column 'response_time'.*nothing was written"):
            ingest(ONE_CPU, *paths(copy), tmp_path / "shards", resume=False, dry_run=dry_run)
    assert not (tmp_path / "shards").exists()
    assert not identities_path(tmp_path / "shards").exists()


def test_the_summary_names_task_series_without_events_and_regions_that_nobody_has(tmp_path, capsys):
    counts = dict.fromkeys(("subjects", "quarantined", "runs", "usable_trials", "trials", "volumes"), 3)
    alone = [LeftOut(f"p1_run-{run}.tsv", None, f"{MEETS_NO_EVENTS}: p1_events.tsv, the nearest") for run in (1, 2)]
    left_out = [("p1", each) for each in alone] + [("p2", LeftOut("other.tsv", None, "damaged"))]
    _print_summary({**counts, "regions": 9}, left_out, ["r8", "r9"], tmp_path)
    said = capsys.readouterr().err
    assert (
        "2 task series of 1 people are not used, because no events file has their name. For example p1_run-1.tsv: "
        in said
    )
    assert "p1_events.tsv, the nearest" in said
    assert "2 of 9 regions are absent in everybody: r8, r9." in said


@pytest.mark.cluster
def test_people_with_the_same_files_are_named(copy, tmp_path, capsys):
    """Copied or linked under another name, one of them tells of the other in the test of unseen people: nothing was said."""
    for way in ("AP", "PA"):
        shutil.copyfile(rest_file(copy, "0001", way), rest_file(copy, "0004", way))
    out = tmp_path / "shards"
    ingest(ONE_CPU, *paths(copy), out, resume=False)
    said = " ".join(capsys.readouterr().err.split())
    assert "2 people have a connectome that is another's to the last digit" in said
    records = list(open_cohort(out).records())
    edges = [record.connectome_E.tobytes() for record in records]
    assert sorted(edges.count(each) for each in edges) == [1, 1, 1, 1, 2, 2]
