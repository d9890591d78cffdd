"""What does not fit together is said: events and volumes, names that differ, regions that a run has in part."""

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.job import PersonJob, PersonRead
from dtb.cohort.person import read_person
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

TASKS = TaskSet((load_task("stroop"),))
REGIONS = ("a", "b", "c")
NUM_VOLUMES, REPETITION_TIME = 100, 0.8
HEADER = "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n"
ONSETS = [2.0 + 6 * place for place in range(12)]


class Person:
    """One person's files: rest, and a Stroop run of 100 volumes with twelve trials."""

    more: tuple[Path, ...] = ()

    def __init__(self, root: Path) -> None:
        self.bids, self.derived = root / "bids", root / "xcp_d"
        self.raw, self.func = self.bids / "sub-sue" / "func", self.derived / "sub-sue" / "func"
        for folder in (self.raw, self.func):
            folder.mkdir(parents=True)
        self.series("rest", 300)
        self.series("stroop_run-01", NUM_VOLUMES)
        self.events(ONSETS)

    def series(self, run: str, num_volumes: int, repetition_time: float = REPETITION_TIME, **regions) -> Path:
        rng = np.random.default_rng(len(run))
        values_VR = rng.standard_normal((num_volumes, len(REGIONS))).astype(str)
        for name, cells in regions.items():
            values_VR[:, REGIONS.index(name)] = cells
        path = self.func / f"sub-sue_task-{run}_space-MNI152NLin2009cAsym_seg-Toy_timeseries.tsv"
        path.write_text("\t".join(REGIONS) + "\n" + "".join("\t".join(row) + "\n" for row in values_VR))
        path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": repetition_time}))
        return path

    def events(self, onsets, name: str = "stroop_run-01") -> Path:
        path = self.raw / f"sub-sue_task-{name}_events.tsv"
        rows = [f"{onset!r}\t3\t{'con1' if i % 2 else 'inc1'}\t0.5\t1\tred\tred\n" for i, onset in enumerate(onsets)]
        path.write_text(HEADER + "".join(rows))
        return path

    def read(self, **options) -> PersonRead:
        config = IngestConfig(tasks=("stroop",), **options)
        trees = (self.derived, *self.more)
        (files,) = index_people(self.bids, trees, config, TASKS)
        return read_person(PersonJob(files, "p", no_covariates(), trees), REGIONS, TASKS, config)


@pytest.fixture
def person(tmp_path) -> Person:
    return Person(tmp_path)


def test_trials_outside_the_volumes_are_unusable_rows_and_the_others_stay(person):
    person.events([-0.5, *ONSETS[1:-1], 80.0])
    read = person.read()
    (run,) = read.record.runs
    assert run.trials.usable_J.tolist() == [False, *[True] * 10, False]
    assert np.isnan(run.trials.rt_seconds_J[[0, -1]]).all()
    assert not run.trials.response_JA[[0, -1]].any()
    assert [(each.line, each.reason) for each in read.left_out] == [
        (2, "the onset, -0.5 s, is before the first volume"),
        (
            13,
            "the onset, 80 s, is after the end of the run, which is 80 s long (100 volumes, RepetitionTime 0.8 s)",
        ),
    ]
    person.events([*ONSETS[:-1], 79.9])
    assert not person.read().left_out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda person: person.events([1000 * onset for onset in ONSETS]),
            "2000.0 to 68000.0 s.*These seem to be milliseconds",
        ),
        (lambda person: person.events([onset - 300 for onset in ONSETS]), "-298.0 to -232.0 s.*clock_offset_seconds"),
        (
            lambda person: person.series("stroop_run-01", NUM_VOLUMES, 0.2),
            "20 s long .*RepetitionTime 0.2 s.*2.0 to 68.0 s",
        ),
    ],
)
def test_events_of_another_unit_clock_or_run_are_left_out_with_what_was_found(person, change, said):
    change(person)
    read = person.read()
    assert read.record is None
    (left_out,) = read.left_out
    assert left_out.line is None
    assert re.search(f"of 12 trials begin outside the run.*{said}", left_out.reason)


def test_without_a_series_a_run_of_days_is_refused(person):
    next(person.func.glob("*stroop*.tsv")).unlink()
    assert person.read().record.runs[0].duration_seconds == pytest.approx(71)
    person.events([1000 * onset for onset in ONSETS])
    read = person.read()
    assert read.record is None
    assert "lasts at most 14400 s where no series says how long" in read.reason
    assert "These seem to be milliseconds" in read.reason


@pytest.mark.parametrize(
    ("raw", "options", "said"),
    [
        ("0.807", {}, ""),
        ("0.82", {}, "0.8 s in p_task-rest_.*timeseries.json, but 0.82 s in the raw tree's task-rest_bold.json"),
        ("0.82", {"repetition_time": 0.8}, ""),
        ("800", {}, "RepetitionTime is 800 in the raw tree's task-rest_bold.json; expected 0.1 to 20 seconds"),
    ],
)
def test_files_that_contradict_each_other_about_the_repetition_time_are_refused(person, raw, options, said):
    (person.bids / "task-rest_bold.json").write_text(f'{{"RepetitionTime": {raw}}}')
    read = person.read(**options)
    assert (read.record is None) == bool(said)
    assert re.search(said, read.reason)


def test_volumes_dropped_from_the_beginning_are_missing_and_shift_nothing(person):
    whole = person.read().record.runs[0]
    path = next(person.func.glob("*stroop*.tsv"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[6:]]))
    run = person.read(dropped_volumes=5).record.runs[0]
    assert run.duration_seconds == whole.duration_seconds
    assert np.isnan(run.bold_VR[:5]).all()
    np.testing.assert_allclose(
        run.bold_VR[5:] - whole.bold_VR[5:], np.zeros((95, 3)) + (run.bold_VR - whole.bold_VR)[5], atol=1e-5
    )

    raw = nibabel.Nifti1Image(np.zeros((2, 2, 2, NUM_VOLUMES), np.int16), np.eye(4))
    raw.to_filename(person.raw / "sub-sue_task-stroop_run-01_bold.nii.gz")
    assert not person.read(dropped_volumes=5).left_out
    for dropped in (None, 3):
        read = person.read(dropped_volumes=dropped)
        assert read.record.runs[0].bold_VR is None
        assert "has 95 volumes, p_task-stroop_run-01_bold.nii.gz 100" in read.left_out[0].reason
        assert "set ingest.dropped_volumes: 5." in read.left_out[0].reason
    (person.raw / "sub-sue_task-stroop_run-01_bold.nii.gz").write_text("/annex/objects/MD5E-s1--0.nii.gz")
    assert person.read().record.runs[0].bold_VR is not None


def test_echoes_of_a_run_are_refused_unless_one_is_chosen(person, tmp_path):
    for run in ("rest", "stroop_run-01"):
        path = next(person.func.glob(f"*task-{run}_*.tsv"))
        for echo in (1, 2, 3):
            for extension in (".tsv", ".json"):
                source = path.with_suffix(extension)
                source.with_name(source.name.replace("_space", f"_echo-{echo}_space")).write_bytes(source.read_bytes())
        for extension in (".tsv", ".json"):
            path.with_suffix(extension).unlink()
    with pytest.raises(InputDataError, match=r"several echoes of one run.*ingest\.bids_filter_file"):
        person.read()  # nobody else's rest is there
    filters = tmp_path / "filter.json"
    filters.write_text('{"bold": {"echo": 2}}')
    record = person.read(bids_filter_file=filters).record
    assert record.covariates["rest_seconds"] == 240
    assert record.runs[0].bold_VR is not None


def test_somebodys_echoes_do_not_stop_the_others(person):
    folder = person.derived / "sub-tom" / "func"
    folder.mkdir(parents=True)
    (person.bids / "sub-tom" / "func").mkdir(parents=True)
    for echo in (1, 2):
        (folder / f"sub-tom_task-rest_echo-{echo}_seg-Toy_timeseries.tsv").touch()
    first, second = index_people(person.bids, (person.derived,), IngestConfig(tasks=("stroop",)), TASKS)
    assert (first.problem, len(first.rest)) == ("", 1)
    assert second.problem.startswith("several echoes of one run")


@pytest.mark.parametrize(("events", "series"), [("stroop", "stroop_run-01"), ("stroop_run-01", "stroop")])
def test_a_series_that_the_entity_run_alone_parts_from_its_events_is_named(person, events, series):
    for path in (*person.raw.glob("*stroop*"), *person.func.glob("*stroop*")):
        path.unlink()
    person.events(ONSETS, events)
    path = person.series(series, NUM_VOLUMES)
    read = person.read()
    assert read.record.runs[0].bold_VR is None
    (left_out,) = read.left_out
    assert left_out.run == path.name.replace("sub-sue", "p")
    assert f"p_task-{events}_events.tsv" in left_out.reason


def test_a_run_without_a_series_is_no_matter_where_the_names_are_alike(person):
    person.events(ONSETS, "stroop_run-02")
    read = person.read()
    assert [run.bold_VR is None for run in read.record.runs] == [False, True]
    assert not read.left_out


def test_a_region_that_single_volumes_lack_is_absent_and_said_so(person):
    person.series("rest", 300, b=["n/a", "n/a", *["0.5", "1.5"] * 149])
    person.series("stroop_run-01", NUM_VOLUMES, a=["n/a", *["0.5"] * 99], c=[*["1.5"] * 99, "n/a"])
    read = person.read(min_region_fraction=0.5)
    assert np.isnan(read.record.runs[0].bold_VR).all(axis=0).tolist() == [True, False, True]
    assert [(each.line, each.reason) for each in read.left_out] == [
        (None, "absent from this run: the region b, which has no value in 2 of 300 volumes"),
        (None, "absent from this run: the region a, which has no value in 1 of 100 volumes, and 1 more"),
    ]


def test_rest_of_a_volume_or_two_is_refused_in_words(person):
    for number in (1, 2):
        person.series("rest", number)
        assert f"has {number} volumes that can be used; a correlation needs 3" in person.read(min_rest_seconds=0).reason


def test_a_region_named_twice_is_named(person):
    path = next(person.func.glob("*task-rest_*.tsv"))
    path.write_text(path.read_text().replace("a\tb\tc", "a\tb\tb", 1))
    assert "has the region 'b' more than once" in person.read().reason


def test_what_was_left_out_comes_back_with_rest_or_with_the_reason_why_there_is_none(person):
    """A second reading says the same: nothing is gathered in an argument. What could not be read is said also where nothing could."""
    next(person.func.glob("*task-rest_space*.tsv")).unlink()
    good, bad = person.series("rest_run-01", 300), person.series("rest_run-02", 300)
    bad.write_text(bad.read_text().replace("a\tb\tc", "a\tb\tz", 1))
    first, again = person.read(), person.read()
    assert first.record is not None
    assert [each.run.split("_")[2] for each in first.left_out] == ["run-02"]
    assert first.left_out == again.left_out
    good.write_text(bad.read_text())
    none = person.read()
    assert none.record is None
    assert none.kind == "no resting-state series could be read"
    assert len(none.left_out) == 2
    assert none.reason.endswith(none.left_out[0].reason)


@pytest.mark.parametrize("which", ["series", "events"])
def test_a_label_in_other_capitals_is_of_the_same_task_and_meets_nothing_in_silence(person, which):
    folder = person.func if which == "series" else person.raw
    for path in [*folder.glob("*task-stroop*")]:
        path.rename(path.with_name(path.name.replace("task-stroop", "task-Stroop")))
    read = person.read()
    (run,) = read.record.runs
    assert run.trials.num_trials == len(ONSETS)
    assert run.bold_VR is None
    (unmet,) = (each for each in read.left_out if each.line is None)
    assert "task-Stroop" in unmet.run + unmet.reason
    assert "task-stroop" in unmet.run + unmet.reason
    assert "differs in task-" in unmet.reason


def test_a_sidecar_with_a_byte_order_mark_is_read(person):
    for path in person.func.glob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (run,) = person.read().record.runs
    assert run.repetition_time == REPETITION_TIME
