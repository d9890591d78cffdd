"""Every volume stands at the time that its sidecars say: in the shards, in the contrast of the general linear model, in training."""

import json

import nibabel
import numpy as np
import pytest

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.bids.names import BidsName
from dtb.cohort.series import timing
from dtb.cohort.series.timing import read_timing
from dtb.config import IngestConfig, SegmentConfig
from dtb.errors import InputDataError
from dtb.people.glm import condition_events, design_matrix, run_contrast
from dtb.shards.batches import BatchMaker
from dtb.shards.sample import decode_sample, encode_sample
from dtb.shards.split import Split
from tests.cohort.test_person import TASKS, Person

SPEC = TASKS.specs[0]
SECONDS, NUM_VOLUMES, EFFECT = 2.0, 130, 10.0
ONSETS = [3.0 + 6.2 * place for place in range(38)]


class TimedPerson(Person):
    """Somebody whose incongruent trials raise region `a` by 10 more than congruent ones, sampled at the true times of the volumes."""

    def sample(self, first_seconds: float, sidecar: dict, num_volumes: int = NUM_VOLUMES) -> None:
        self.events(ONSETS)
        path = self.series("stroop_run-01", num_volumes, SECONDS)
        run = self.read().record.runs[0]
        seconds_V = first_seconds + SECONDS * np.arange(num_volumes)
        design = design_matrix(condition_events(run, SPEC.conditions), seconds_V)
        lifted_V = 100 + EFFECT * design["incongruent"].to_numpy()
        self.series("stroop_run-01", num_volumes, SECONDS, a=[repr(float(value)) for value in lifted_V])
        path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": SECONDS, **sidecar}))

    def contrast(self, **options) -> float:
        read = self.read(**options)
        run = decode_sample(**{f"{k}_bytes": v for k, v in encode_sample(read.record).items()}).runs[0]
        kept_V = np.isfinite(run.bold_VR[:, 0])
        weights_V = run_contrast(run, SPEC.conditions, {"incongruent": 1.0, "congruent": -1.0}, (0.0, np.inf), kept_V)
        return float(weights_V @ np.nan_to_num(run.bold_VR[:, 0]))


@pytest.fixture
def person(tmp_path) -> TimedPerson:
    return TimedPerson(tmp_path)


@pytest.mark.parametrize(
    ("first_seconds", "sidecar"),
    [
        (0.0, {"SliceTimingCorrected": False}),
        (1.0, {"SliceTimingCorrected": True, "StartTime": 1.0}),
        (0.97, {"SliceTimingCorrected": True, "StartTime": 0.97}),
        (1.0, {"SliceTimingCorrected": True}),  # fMRIPrep before 21, which did not write the time: the middle
        (0.5, {"SliceTimingCorrected": True, "SliceTimingReference": 0.25}),
        (8.0, {"DummyScans": 4, "ScanStart": 8.0, "SliceTimingCorrected": False}),
        (8.0, {"ScanStart": 8.0, "SliceTimingCorrected": False}),
        (9.0, {"DummyScans": 4, "StartTime": 1.0}),
    ],
)
def test_the_contrast_is_the_true_one_whatever_moved_the_volumes(person, first_seconds, sidecar):
    person.sample(first_seconds, sidecar)
    assert person.contrast() == pytest.approx(EFFECT, abs=0.02)
    run = person.read().record.runs[0]
    seconds_V = run.volume_seconds_V[np.isfinite(run.bold_VR).any(axis=1)]
    np.testing.assert_allclose(seconds_V, first_seconds + SECONDS * np.arange(NUM_VOLUMES))


def test_the_middle_of_the_slices_is_taken_where_the_raw_tree_says_when_they_were(person):
    (person.bids / "task-stroop_bold.json").write_text(
        json.dumps({"RepetitionTime": SECONDS, "SliceTiming": [0.0, 0.4, 0.8, 1.2]})
    )
    person.sample(0.6, {"SliceTimingCorrected": True})
    read = person.read()
    assert read.record.runs[0].first_volume_seconds == pytest.approx(0.6)
    assert timing.MIDDLE_ASSUMED in {text for _, text in read.notices}


def test_a_series_of_xcpd_gets_its_time_from_its_table_of_quality_and_from_fmriprep(person):
    person.sample(7.0, {})
    assert {text for _, text in person.read().notices} == {timing.START_UNKNOWN, timing.DROPPED_UNKNOWN}
    quality = person.func / "sub-sue_task-stroop_run-01_space-MNI152NLin2009cAsym_desc-linc_qc.tsv"
    quality.write_text("sub\tnum_dummy_volumes\tnum_censored_volumes\nsue\t3\t0\n")
    image = person.func / "sub-sue_task-stroop_run-01_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    image.touch()
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text(
        '{"SliceTimingCorrected": true, "StartTime": 1.0}'
    )
    read = person.read()
    assert not read.notices
    assert read.record.runs[0].bold_VR.shape[0] == NUM_VOLUMES + 3
    assert person.contrast() == pytest.approx(EFFECT, abs=0.02)
    quality.with_suffix(".csv").write_text("sub,nVolsRemoved\nsue,3\n")
    quality.unlink()
    assert person.contrast() == pytest.approx(EFFECT, abs=0.02)


def test_more_volumes_than_a_scanner_makes_were_not_dropped(person):
    person.sample(7.0, {})
    quality = person.func / "sub-sue_task-stroop_run-01_space-MNI152NLin2009cAsym_desc-linc_qc.tsv"
    quality.write_text("sub\tnum_dummy_volumes\nsue\t1e308\n")
    assert timing.DROPPED_UNKNOWN in {text for _, text in person.read().notices}
    found = timing._dropped_seconds(None, {"DummyScans": 1e308}, 2.0)  # type: ignore[arg-type]
    assert found == (None, "DummyScans is 1e+308; expected a number from 0 to 100,000")


def test_the_number_of_dropped_volumes_is_each_runs_own_and_the_option_decides(person):
    person.sample(8.0, {"DummyScans": 4, "SliceTimingCorrected": False})
    assert person.contrast(dropped_volumes=4) == pytest.approx(EFFECT, abs=0.02)
    read = person.read(dropped_volumes=1)
    np.testing.assert_array_equal(np.isnan(read.record.runs[0].bold_VR).all(axis=1).nonzero()[0], [0])
    assert timing.DROPPED_DIFFERS in {text for _, text in read.notices}
    assert abs(person.contrast(dropped_volumes=1) - EFFECT) > 1  # what the wrong time costs


def test_a_raw_image_of_the_same_length_says_that_nothing_was_dropped(person):
    raw = nibabel.Nifti1Image(np.zeros((2, 2, 2, NUM_VOLUMES), np.int16), np.eye(4))
    raw.to_filename(person.raw / "sub-sue_task-stroop_run-01_bold.nii.gz")
    person.sample(0.0, {"SliceTimingCorrected": False})
    assert not person.read().notices


def test_training_sees_the_volumes_at_their_times(person):
    person.sample(9.0, {"DummyScans": 4, "StartTime": 1.0})
    record = person.read().record
    run = record.runs[0]
    split = Split("subjects", ("p",), ("p",), ("p",))
    maker = BatchMaker(TASKS, SegmentConfig(segment_seconds=60, burn_in_seconds=20), 0.1, [0, 1, 2], split)
    batch = maker.batch([record], part="all")
    seconds_SKV = batch.start_seconds_SK[..., None] + batch.volume_seconds_SKV
    seen = sorted(
        (round(float(seconds), 3), tuple(np.nan_to_num(values_R).round(4)))
        for seconds, values_R in zip(
            seconds_SKV[batch.bold_counted_SKV].numpy(), batch.bold_SKVR[batch.bold_counted_SKV].numpy(), strict=True
        )
    )
    expected = [
        (round(float(seconds), 3), tuple(np.nan_to_num(values_R).round(4)))
        for seconds, values_R in zip(run.volume_seconds_V, run.bold_VR, strict=True)
    ]
    assert seen == expected


def file_with(tmp_path, sidecar: dict | None, raw: dict | None = None) -> SeriesFile:
    path = tmp_path / "sub-1_task-x_desc-preproc_bold.nii.gz"
    if sidecar is not None:
        (tmp_path / "sub-1_task-x_desc-preproc_bold.json").write_text(json.dumps(sidecar))
    raws = ()
    if raw is not None:
        raws = (tmp_path / "task-x_bold.json",)
        raws[0].write_text(json.dumps(raw))
    return SeriesFile(path, BidsName({"sub": "1", "task": "x"}, "bold", ".nii.gz"), raw_sidecars=raws)


@pytest.mark.parametrize("header", [1.0, 2000.0, 0.002])
def test_the_sidecar_is_taken_where_the_header_says_another_repetition_time(tmp_path, header):
    found = read_timing(file_with(tmp_path, {"RepetitionTime": 2.0}), header, IngestConfig(layout="fmriprep"))
    assert found.repetition_time == 2.0
    assert found.notices == (timing.HEADER_DIFFERS,)
    decided = read_timing(
        file_with(tmp_path, {"RepetitionTime": 2.0}, {"RepetitionTime": 2000}),
        header,
        IngestConfig(layout="fmriprep", repetition_time=1.5),
    )
    assert decided.repetition_time == 1.5
    assert decided.notices == (timing.OPTION_DECIDES,)


def test_a_header_that_agrees_or_stands_alone_is_no_reason_for_a_notice(tmp_path):
    config = IngestConfig(layout="fmriprep")
    assert read_timing(file_with(tmp_path, None), 0.8, config).repetition_time == 0.8
    assert not read_timing(file_with(tmp_path, {"RepetitionTime": 2.0}), 2.0, config).notices
    with pytest.raises(InputDataError, match="RepetitionTime is 2000.0 in the header"):
        read_timing(file_with(tmp_path / "..", None), 2000.0, config)


@pytest.mark.parametrize(
    ("sidecar", "raw", "said"),
    [
        ({"TaskName": "x"}, None, "sub-1_task-x_desc-preproc_bold.json lacks it"),
        ({}, {"TaskName": "x"}, "bold.json and the raw tree's task-x_bold.json lack it"),
        (None, {}, "the raw tree's task-x_bold.json lacks it"),
        (None, None, "there is no sidecar sub-1_task-x_desc-preproc_bold.json"),
    ],
)
def test_what_lacks_the_repetition_time_is_named(tmp_path, sidecar, raw, said):
    with pytest.raises(InputDataError, match=said):
        read_timing(file_with(tmp_path, sidecar, raw), None, IngestConfig(layout="fmriprep"))


def test_volume_times_give_spacing_and_beginning_or_are_refused(tmp_path):
    config = IngestConfig(layout="fmriprep")
    found = read_timing(file_with(tmp_path, {"VolumeTiming": [0.5, 3.5, 6.5], "StartTime": 1.0}), None, config)
    assert (found.repetition_time, found.start_seconds) == (3.0, 1.5)
    with pytest.raises(InputDataError, match="not evenly spaced"):
        read_timing(file_with(tmp_path, {"VolumeTiming": [0, 3, 9]}), None, config)


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ({"DummyScans": 4, "ScanStart": 2.0}, "DummyScans is 4, which takes 8 s, but ScanStart is 2 s"),
        ({"DummyScans": "four"}, "DummyScans is 'four'"),
        ({"StartTime": "later"}, "StartTime is 'later'"),
        ({"StartTime": 400}, "StartTime is 400; expected seconds, at most 60"),
        ({"SliceTimingReference": 3}, "reference of slice timing is 3"),
    ],
)
def test_a_sidecar_that_cannot_be_right_is_refused(tmp_path, sidecar, said):
    file = file_with(tmp_path, {"RepetitionTime": 2.0, **sidecar})
    with pytest.raises(InputDataError, match=said):
        read_timing(file, None, IngestConfig(layout="halfpipe"))
