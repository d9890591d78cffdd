"""Trees as other pipelines and laboratories write them, after public reports: the right values, or a sentence that says what to do."""

import dataclasses
import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series import timing
from dtb.cohort.series.tabular import read_headerless
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.taskset import TaskSet
from tests.cohort.test_person import HEADER, ONSETS, TASKS, Person

GONE = ".git/annex/objects/gone"
SPACE = "space-MNI152NLin6Asym_res-2"


@pytest.fixture
def person(tmp_path) -> Person:
    return Person(tmp_path)


def said(text: str) -> str:
    return " ".join(text.split())


def test_a_run_without_a_usable_trial_is_left_out_with_the_commonest_reason(person):
    """EEGDash#257: decimal commas throughout."""
    path = person.events(ONSETS)
    path.write_text(path.read_text().replace("0.5", "0,5"))
    read = person.read()
    assert re.search(r"no usable trial: .* which is not a reaction time \(12 rows\)", read.reason)
    assert sum("decimal point, not a comma" in each.reason for each in read.left_out) == 12


@pytest.mark.parametrize(
    "place",
    [
        "task-stroop_events.tsv",  # pybids#103, bids-specification#946: inherited by all
        "sub-sue/sub-sue_task-stroop_events.tsv",
        "sub-sue/beh/sub-sue_task-stroop_run-01_events.tsv",  # bids-2-devel#68
    ],
)
def test_events_outside_the_func_folders_are_named(person, place, capsys):
    target = person.bids / place
    target.parent.mkdir(exist_ok=True)
    next(person.raw.glob("*_events.tsv")).rename(target)
    assert person.read().record is None
    assert re.search(
        f"1 events files in .* no func folder. Give each run its own.*{place}",
        said(capsys.readouterr().err),
    )


def test_files_of_macos_and_copies_are_passed_over(person):
    """openneuro#2520: `._` files beside each file."""
    path = next(person.raw.glob("*_events.tsv"))
    for file in (path, *person.func.glob("*.tsv")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7" + bytes(50))
    path.with_name(path.name.replace(".tsv", " 2.tsv")).write_text("other")
    (run,) = person.read().record.runs
    np.testing.assert_array_equal(run.trials.onset_seconds_J, ONSETS)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("*rest*.tsv", "timeseries.tsv is a link to a file that is not there"),
        ("*rest*.json", "timeseries.json is a link to a file that is not there"),
        ("*events.tsv", "events.tsv is a link to a file that is not there"),
    ],
)
def test_what_git_annex_did_not_fetch_is_called_so(person, pattern, reason):
    """pybids#631, datalad#3513; a sidecar that was not fetched was taken for none."""
    path = next(file for folder in (person.raw, person.func) for file in folder.glob(pattern))
    path.unlink()
    path.symlink_to(GONE)
    read = person.read()
    assert read.record is None
    assert reason in read.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sub-sue_task", "sub-sue_ses-1_task"),  # m2g#156: a session in the name alone
        ("sub-sue_task-stroop_run-01", "sub-sue_run-1_ses-1_task-stroop"),  # m2g#156: entities out of order
    ],
)
def test_a_session_in_the_name_alone_is_a_session(person, old, new):
    for path in [*person.raw.iterdir(), *person.func.iterdir()]:
        path.rename(path.with_name(path.name.replace(old, new)))
    (run,) = person.read().record.runs
    assert (run.session, run.bold_VR.shape) == ("1", (100, 3))


def test_padding_of_the_run_is_no_other_run(person):
    """fmriprep#2666: run-01 in the raw tree, run-1 in the derivatives."""
    for path in person.func.glob("*run-01*"):
        path.rename(path.with_name(path.name.replace("run-01", "run-1")))
    assert person.read().record.runs[0].bold_VR.shape == (100, 3)


def test_a_single_run_under_two_names_counts_once(person):
    """xcp_d#1472: XCP-D's copy of a single run without `dir-` and `run-`."""
    for path in person.func.glob("*rest*"):
        copy = path.with_name(path.name.replace("task-rest", "task-rest_dir-AP_run-1"))
        copy.write_bytes(path.read_bytes())
    read = person.read()
    assert read.record.covariates["rest_seconds"] == 240
    assert [each.run for each in read.left_out] == ["p_task-rest_space-MNI152NLin2009cAsym_seg-Toy_timeseries.tsv"]


def test_hcps_names_of_rest_are_found_and_named(person):
    """xcp_d#951, #1615: `task-REST1_dir-LR`, `task-REST2_dir-AP`."""
    next(person.func.glob("*rest*.tsv")).unlink()
    person.series("REST1_dir-LR", 300)
    person.series("REST2_dir-AP", 300, a=np.arange(300) % 7)
    with pytest.raises(InputDataError, match="The series there are of task-REST1, task-REST2, task-stroop"):
        person.read()
    assert person.read(rest_task="REST").record.covariates["rest_seconds"] == 480


def giga_connectome(person: Person, strategy: str = "Simple", **metadata) -> None:
    """Write series as giga_connectome does: one sidecar for those of all atlases (#20, #80, #143)."""
    for path in list(person.func.glob("*_space-*")):
        stem = path.name.split("_space-")[0]
        if path.suffix == ".json":
            frequency = 1 / json.loads(path.read_text())["RepetitionTime"]
            path.unlink()
            values = {"MeanFramewiseDisplacement": 0.107, "SamplingFrequency": frequency, **metadata}
            (person.func / f"{stem}_desc-denoise{strategy}_timeseries.json").write_text(json.dumps(values))
        else:
            path.rename(person.func / f"{stem}_seg-Toy_desc-denoise{strategy}_timeseries.tsv")


def test_giga_connectomes_series_get_their_time_and_motion_from_the_sidecar_they_share(person):
    giga_connectome(person, NumberOfVolumesDiscardedByNonsteadyStatesDetector=3)
    record = person.read().record
    (run,) = record.runs
    assert run.repetition_time == pytest.approx(0.8)
    assert np.isnan(run.bold_VR).all(axis=1).nonzero()[0].tolist() == [0, 1, 2]
    assert record.covariates["motion"] == pytest.approx(0.107)


def test_giga_connectomes_scrubbed_series_are_refused_and_a_strategy_can_be_chosen(person, tmp_path):
    giga_connectome(person, "Scrubbing", NumberOfVolumesDiscardedByMotionScrubbing=7)
    assert "lacks 7 volumes of too much motion" in person.read().reason
    person.series("rest", 300)
    person.series("stroop_run-01", 100)
    giga_connectome(person)
    with pytest.raises(InputDataError, match=r"several series of one run.*ingest\.bids_filter_file"):
        person.read()
    chosen = tmp_path / "filter.json"
    chosen.write_text('{"bold": {"desc": "denoiseSimple"}}')
    assert person.read(bids_filter_file=chosen).record.runs[0].repetition_time == pytest.approx(0.8)


def test_numbers_of_regions_are_no_volume(tmp_path):
    """giga_connectome#80 and pandas write 0, 1, 2 above the columns."""
    path = tmp_path / "sub-1_task-rest_atlas-Toy_timeseries.tsv"
    pd.DataFrame(np.ones((9, 3))).to_csv(path, sep="\t", index=False)
    with pytest.raises(InputDataError, match="begins with the numbers of its regions, which are no volume"):
        read_headerless(path, 3, 1.0)


class Image:
    """One person's images in the space of an atlas of two regions, TR 2 s in the sidecar."""

    def __init__(self, root: Path, desc: str, header_seconds: float, name: str = SPACE) -> None:
        self.bids, self.derived = root / "bids", root / "derived"
        func = self.derived / "sub-01" / "func"
        for folder in (func, self.bids / "sub-01" / "func"):
            folder.mkdir(parents=True)
        (self.bids / "sub-01" / "func" / "sub-01_task-stroop_events.tsv").write_text(
            HEADER + "".join(f"{3 * place + 1}\t3\tcon1\t0.5\t1\tred\tred\n" for place in range(20))
        )
        labelled = np.repeat([1, 2], 4).reshape(2, 2, 2).astype(np.int16)
        self.atlas = root / "tpl-MNI152NLin6Asym_atlas-Toy_dseg.nii.gz"
        nibabel.save(nibabel.Nifti1Image(labelled, np.eye(4)), self.atlas)
        (root / "tpl-MNI152NLin6Asym_atlas-Toy_dseg.tsv").write_text("index\tname\n1\ta\n2\tb\n")
        self.values_RV = np.random.default_rng(0).standard_normal((2, 100)) + 100
        for task in ("rest", "stroop"):
            image = nibabel.Nifti1Image(self.values_RV[labelled - 1].astype(np.float32), np.eye(4))
            image.header.set_xyzt_units("mm", "sec")
            image.header["pixdim"][4] = header_seconds
            path = func / "_".join(
                part for part in ("sub-01", f"task-{task}", name, f"desc-{desc}", "bold.nii.gz") if part
            )
            nibabel.save(image, path)
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"RepetitionTime": 2.0}')

    def read(self, *more: Path, **options):
        config = IngestConfig(layout="fmriprep", atlas=self.atlas, tasks=("stroop",), **options)
        trees = (self.derived, *more)
        (files,) = index_people(self.bids, trees, config, TASKS)
        return read_person(PersonJob(files, "p", no_covariates(), trees), ("a", "b"), TASKS, config)


@pytest.mark.parametrize(
    ("desc", "header_seconds"),
    [
        ("denoised", 1.0),  # tedana#1372, #206; xcp_d#967: the header has lost the repetition time
        ("optcomDenoised", 1.0),  # tedana before 23
        ("nonaggrDenoised", 1.0),  # fmripost-aroma#119
        ("preproc", 0.0),  # fmriprep#3270: multi-echo
    ],
)
def test_denoised_images_get_their_time_from_the_sidecar(tmp_path, desc, header_seconds):
    image = Image(tmp_path, desc, header_seconds)
    read = image.read(confounds="none")
    (run,) = read.record.runs
    assert run.repetition_time == 2.0
    assert read.record.covariates["rest_seconds"] == 200
    np.testing.assert_allclose(run.bold_VR + run.bold_mean_R, image.values_RV.T, rtol=1e-6)
    assert read.record.connectome_E[0] == pytest.approx(np.arctanh(np.corrcoef(image.values_RV)[0, 1]), abs=1e-4)
    assert (timing.HEADER_DIFFERS in {text for _, text in read.notices}) == (header_seconds == 1.0)


def test_confounds_of_an_image_that_others_denoised_lie_in_fmripreps_tree(tmp_path):
    """nilearn#5325: fMRIPost-AROMA writes no confounds; fMRIPrep's tree has them."""
    image = Image(tmp_path, "nonaggrDenoised", 1.0)
    assert "no sub-01_task-rest_desc-confounds_timeseries.tsv beside it".replace("sub-01", "p") in image.read().reason
    func = tmp_path / "fmriprep" / "sub-01" / "func"
    func.mkdir(parents=True)
    rng = np.random.default_rng(1)
    kinds = [f"{move}_{axis}{end}" for move in ("trans", "rot") for axis in "xyz"
             for end in ("", "_derivative1", "_power2", "_derivative1_power2")]  # fmt: skip
    table = pd.DataFrame(rng.standard_normal((100, 24)), columns=kinds).assign(cosine00=1.0, framewise_displacement=0.2)
    for task in ("rest", "stroop"):
        path = func / f"sub-01_task-{task}_desc-confounds_timeseries.tsv"
        table.to_csv(path, sep="\t", index=False)
        path.with_suffix(".json").write_text("{}")
    read = image.read(tmp_path / "fmriprep", confounds="24p")
    assert read.record.covariates["motion"] == pytest.approx(0.2)
    bold_VR = read.record.runs[0].bold_VR
    assert np.abs(np.corrcoef(bold_VR[:, 0], table["trans_x"])[0, 1]) < 1e-6


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        (
            ("100307/MNINonLinear/Results/rfMRI_REST1_LR",),
            "folders such as 100307, as in the releases of HCP",
        ),  # xcp_d#680
        (
            ("1000083_2_0/fMRI/rfMRI.ica",),
            "folders such as 1000083_2_0.*--input-type hcp` and `ukb`",
        ),  # informatics_misc#52
        (("sub-1/func",), "looked for .*Check --derivatives"),
    ],
)
def test_releases_that_are_no_bids_trees_are_named(person, tmp_path, folders, reason):
    for folder in folders:
        (tmp_path / "other" / folder).mkdir(parents=True)
    config = IngestConfig(tasks=("stroop",))
    with pytest.raises(InputDataError, match=reason):
        index_people(person.bids, (tmp_path / "other",), config, TASKS)
    if not folders[0].startswith("sub-"):
        with pytest.raises(InputDataError, match=f"no sub-.* folder, but {reason}"):
            index_people(tmp_path / "other", (person.derived,), config, TASKS)


@pytest.mark.parametrize(
    "name",
    [
        "sub-sue_task-rest_run-1_atlas-CC200_desc-Mean-1_reg-36parameter_timeseries.1D",  # C-PAC
        "sub-sue_task-rest_acq-645_atlas-Yeo-17space-MNI152NLin6res-1x1x1_desc-Mean-1_timeseries.1D",  # C-PAC#1692, #1641
        "sub-sue_task-rest_bold_atlas-Gordon2014FreeSurferSubcortical_desc-filtered_timeseries.ptseries.nii",  # nda-abcd-3165#32
        "sub-sue_task-rest_bold_desc-filtered_timeseries.dtseries.nii",  # nda-abcd-collection-3165#18
    ],
)
def test_names_that_bids_has_not_are_listed(person, name, capsys):
    for path in person.func.glob("*rest*"):
        path.unlink()
    (person.func / name).touch()
    with pytest.raises(InputDataError, match="No resting-state series"):
        person.read()
    assert re.search(f"1 files in .* do not follow BIDS .*{re.escape(name)}", said(capsys.readouterr().err))


def test_a_layout_that_would_find_series_is_named(person):
    with pytest.raises(InputDataError, match="There are series of the layout xcpd"):
        person.read(layout="xcpd_cifti")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("sub-sue_task-rest_run-1_desc-smoothed_bold.nii.gz", r"There are images desc-smoothed\.$"),
        ("sub-sue_task-rest_run-1_events.tsv", r"ingest\.rest_task\.$"),
    ],
)
def test_no_layout_is_named_where_there_are_no_series(person, name, there):
    for path in person.func.iterdir():
        path.unlink()
    (person.func / name).touch()
    with pytest.raises(InputDataError, match=there):
        person.read()


def test_a_task_that_begins_as_rest_does_is_no_rest_if_it_has_events(person, capsys):
    """`restudy`, of experiments on memory, was put together with rest."""
    path = person.series("restudy", 200)
    assert person.read().record.covariates["rest_seconds"] == 400  # restingstate, resteyesopen
    person.events(ONSETS, "restudy")
    assert person.read().record.covariates["rest_seconds"] == 240
    assert "task-restudy has events, and is not taken for rest" in said(capsys.readouterr().err)
    assert path.exists()


def test_a_copy_of_a_rest_run_counts_once(person):
    for path in person.func.glob("*rest*"):
        copy = path.with_name(path.name.replace("task-rest", "task-rest_run-2"))
        copy.write_bytes(path.read_bytes())
        path.rename(path.with_name(path.name.replace("task-rest", "task-rest_run-1")))
    read = person.read()
    assert read.record.covariates["rest_seconds"] == 240
    assert ["has the very volumes of task-rest_run-1: a copy" in each.reason for each in read.left_out] == [True]


def test_atlases_without_names_of_regions_are_not_mixed(tmp_path):
    """Two atlases of as many regions, each in other people: the second was taken for the first."""
    config = IngestConfig(tasks=(), layout="halfpipe")
    for label, atlas in (("01", "A"), ("02", "B")):
        (tmp_path / "bids" / f"sub-{label}").mkdir(parents=True)
        func = tmp_path / "halfpipe" / f"sub-{label}" / "func"
        func.mkdir(parents=True)
        (func / f"sub-{label}_task-rest_feature-{config.halfpipe_feature}_atlas-{atlas}_timeseries.tsv").touch()
    trees = (tmp_path / "halfpipe",)
    with pytest.raises(InputDataError, match="several atlases, .* A of 1 people, B of 1 people.*ingest.parcellation"):
        index_people(tmp_path / "bids", trees, config, TaskSet(()))
    chosen = dataclasses.replace(config, parcellation="A")
    assert [len(each.rest) for each in index_people(tmp_path / "bids", trees, chosen, TaskSet(()))] == [1, 0]


@pytest.mark.parametrize("ending", ["tsv.gz", "csv", "TSV"])
def test_events_under_another_ending_are_named(person, ending, capsys):
    """The person had none of the task, and nothing said why."""
    path = next(person.raw.glob("*_events.tsv"))
    path.rename(path.with_suffix(f".{ending}"))
    assert person.read().record is None
    assert f"1 events files in {person.bids}: they do not end in .tsv" in said(capsys.readouterr().err).replace(
        "- ", "-"
    )
