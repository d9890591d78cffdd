"""Every kind of file that dtb reads, whole, with what reads it: to be mutated (`tests/mutated.py`, `tests/test_fuzz.py`)."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pandas as pd
import torch

from dtb.cohort.bids.participants import read_covariates
from dtb.cohort.bids.selection import read_selection
from dtb.cohort.bids.source import read_source
from dtb.cohort.connectomes.matrices import read_matrix_regions
from dtb.cohort.series.atlas import VolumeAtlas
from dtb.cohort.series.cifti import parcellate_dense, read_label_table, read_parcel_series
from dtb.cohort.series.confounds import cleaned
from dtb.cohort.series.region_centres import region_places
from dtb.cohort.series.region_table import read_region_table
from dtb.cohort.series.volumes import parcellate_volumes
from dtb.config import IngestConfig, SegmentConfig, load_config
from dtb.config.labels import read_labels
from dtb.intervene.protocol import load_protocol
from dtb.shards.manifest import Manifest
from dtb.shards.sample import encode_sample
from dtb.shards.split import Split
from dtb.stages import read_stage
from dtb.tasks.exports import read_events
from dtb.tasks.hcp import read_ev
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.train.engine import read_user_settings
from dtb.twin import Twin
from dtb.twin.export import TwinCard, read_twin, save_twin
from tests.cohort import test_damage as parts
from tests.cohort.connectomes import test_matrices as matrices
from tests.mutated import Whole, forked, whole
from tests.shards import test_damage as shards
from tests.shards.people import make_person
from tests.test_damaged_outputs import READERS, good
from tests.twin.conftest import SIZES, make_config

CONFIGS = Path(__file__).parent.parent / "configs"


FORMATS: dict[str, Callable[[Path], Whole]] = {}


def format_of(name: str) -> Callable[[Callable[[Path], Whole]], Callable[[Path], Whole]]:
    def known(make: Callable[[Path], Whole]) -> Callable[[Path], Whole]:
        FORMATS[name] = make
        return make

    return known


def _labelled() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, parts.SHAPE).astype(np.int16)


def _values() -> np.ndarray:
    return np.random.default_rng(1).uniform(100, 200, (*parts.SHAPE, parts.NUM_VOLUMES))


def _volumes(folder: Path, which: str, content: bytes, put: Callable[[bytes], object] | None, name: str) -> Whole:
    parts.volume(_labelled(), "int16").to_filename(folder / "good_atlas.nii")
    parts.volume(_values()).to_filename(folder / "good_run.nii")
    path = folder / name
    run = path if which == "run" else folder / "good_run.nii"
    atlas = path if which == "atlas" else folder / "good_atlas.nii"
    limits: dict[str, Any] = {"max_memory_gib": 0.1, "min_coverage": 0.0, "mask": path if which == "mask" else None}
    return whole(path, content, lambda: parcellate_volumes(run, VolumeAtlas(atlas, parts.NUMBERS), **limits), put)


@format_of("NIfTI")
def _nifti(folder: Path) -> Whole:
    return _volumes(folder, "run", parts.volume(_values()).to_bytes(), None, "run.nii")


@format_of("NIfTI-2")
def _nifti_2(folder: Path) -> Whole:
    image = nibabel.Nifti2Image(_values().astype("float32"), parts.AFFINE)
    return _volumes(folder, "run", image.to_bytes(), None, "run.nii")


@format_of("NIfTI, compressed after")
def _nifti_packed(folder: Path) -> Whole:
    path = folder / "run.nii.gz"
    put = lambda content: path.write_bytes(gzip.compress(content, 1))
    return _volumes(folder, "run", parts.volume(_values()).to_bytes(), put, path.name)


@format_of("NIfTI, compressed before")
def _nifti_gzip(folder: Path) -> Whole:
    return _volumes(folder, "run", gzip.compress(parts.volume(_values()).to_bytes(), 1), None, "run.nii.gz")


@format_of("NIfTI atlas")
def _atlas(folder: Path) -> Whole:
    return _volumes(folder, "atlas", parts.volume(_labelled(), "int16").to_bytes(), None, "atlas.nii")


@format_of("NIfTI mask")
def _mask(folder: Path) -> Whole:
    return _volumes(folder, "mask", parts.volume(_labelled(), "int16").to_bytes(), None, "mask.nii")


@format_of("CIFTI ptseries")
def _ptseries(folder: Path) -> Whole:
    path = folder / "run.ptseries.nii"
    return whole(path, parts.cifti("ptseries"), lambda: read_parcel_series(path, 0.1))


def _dense(folder: Path, kind: str) -> Whole:
    for each in ("dtseries", "dlabel"):
        (folder / f"run.{each}.nii").write_bytes(parts.cifti(each))
    run, atlas = folder / "run.dtseries.nii", folder / "run.dlabel.nii"

    def read() -> None:
        read_label_table(atlas)
        parcellate_dense(run, atlas, parts.NUMBERS, max_memory_gib=0.1, min_coverage=0)

    return whole(folder / f"run.{kind}.nii", parts.cifti(kind), read)


FORMATS["CIFTI dtseries"] = functools.partial(_dense, kind="dtseries")
FORMATS["CIFTI dlabel"] = functools.partial(_dense, kind="dlabel")


@format_of("HDF5 series")
def _hdf5(folder: Path) -> Whole:
    path = folder / "run.h5"
    with h5py.File(path, "w") as stream:
        stream.create_dataset("dataset", data=np.random.default_rng(0).standard_normal((3, 40)), compression="gzip")
    return whole(path, path.read_bytes(), lambda: parts.read_by_layout(path, "tcp"))


def _matrix(folder: Path, way: str) -> Whole:
    write, name, config = matrices.WAYS[way]
    path = write(folder / name, matrices.counts())
    within = dataclasses.replace(config, max_memory_gib=0.3)
    return whole(path, path.read_bytes(), lambda: forked(lambda: read_matrix_regions(path, within)))


for _way in matrices.WAYS:
    FORMATS[f"matrix, {_way}"] = functools.partial(_matrix, way=_way)


def _beside(folder: Path, which: str) -> Whole:
    numbers = np.random.default_rng(0).standard_normal((12, 3))
    series = "\t".join(parts.REGIONS) + "\n" + "".join("\t".join(map(str, row)) + "\n" for row in numbers)
    contents = {
        "run.tsv": series,
        "run.json": json.dumps({"RepetitionTime": 0.8, "SliceTimingCorrected": True, "FDMean": 0.2}),
        "outliers.tsv": "framewise_displacement\n" + "0\n" * 12,
        "motion.tsv": "framewise_displacement\n" + "0.25\n" * 12,
        "qc.tsv": "sub\tnum_dummy_volumes\n1\t4\n",
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
    beside = {"outliers": folder / "outliers.tsv", "motion": folder / "motion.tsv", "quality": folder / "qc.tsv"}
    return whole(
        folder / which, contents[which].encode(), lambda: parts.read_by_layout(folder / "run.tsv", "xcpd", **beside)
    )


for _name, _which in {
    "series as a table": "run.tsv",
    "sidecar": "run.json",
    "table of outliers": "outliers.tsv",
    "table of motion": "motion.tsv",
    "table of quality": "qc.tsv",
}.items():
    FORMATS[_name] = functools.partial(_beside, which=_which)


def _halfpipe(folder: Path, is_packed_after: bool) -> Whole:
    labels = parts.spoil(folder, "labels.tsv", b"1\ta\n2\tb\n3\tc\n")
    path, text = folder / "run.tsv.gz", parts.table_text()[1]
    put = lambda content: path.write_bytes(gzip.compress(content, 1))
    read = lambda: parts.read_by_layout(path, "halfpipe", labels)
    return whole(path, text, read, put) if is_packed_after else whole(path, gzip.compress(text, 1), read)


FORMATS["series as a table, compressed after"] = functools.partial(_halfpipe, is_packed_after=True)
FORMATS["series as a table, compressed before"] = functools.partial(_halfpipe, is_packed_after=False)


def _confounds(folder: Path, kind: str) -> Whole:
    rng = np.random.default_rng(0)
    names = [f"{each}_{axis}{more}" for each in ("trans", "rot") for axis in "xyz"
             for more in ("", "_derivative1", "_power2", "_derivative1_power2")]  # fmt: skip
    table = pd.DataFrame(rng.standard_normal((60, 24)), columns=names).assign(cosine00=rng.standard_normal(60))
    stem = "sub-1_task-rest_desc-confounds_timeseries"
    content = {"tsv": table.to_csv(sep="\t", index=False).encode(), "json": b'{"a": {"Method": "x"}}'}
    for each, text in content.items():
        parts.spoil(folder, f"{stem}.{each}", text)
    image = parts.spoil(folder, "sub-1_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz", b"")
    values_VR = rng.standard_normal((60, 3))
    config = IngestConfig(confounds="24p")
    return whole(folder / f"{stem}.{kind}", content[kind], lambda: cleaned(values_VR, image, 0.8, config))


FORMATS["confounds"] = functools.partial(_confounds, kind="tsv")
FORMATS["confounds' sidecar"] = functools.partial(_confounds, kind="json")


def _simple(folder: Path, name: str, text: str, read: Callable[[Path], Any]) -> Whole:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    return whole(path, text.encode("utf-16" if "E-Prime" in text else "utf-8"), lambda: read(path))


EVENTS = "onset\tduration\ttrial_type\tresponse_time\taccuracy_binarized\tstimulus_text\tstimulus_color\n" + "".join(
    f"{2.0 + 6 * place}\t3\t{'con1' if place % 2 else 'inc1'}\t0.5\t1\tred\tred\n" for place in range(12)
)
CONFIGURATION = "seed: 3\nname: mine\nsynth: {num_subjects: 12, tasks: [hammer]}\ningest:\n  tasks: [hammer]\n  participant_label: ['01']\n"
STAGE = '{"stage": "train", "complete": true, "config_hash": "a", "summary": {"steps": 1}}'
PSYCHOPY = (
    "trials.thisN,word,key_resp.keys,key_resp.rt,key_resp.started,text.started,frameRate,psychopyVersion,expName\n"
    + "".join(
        f"{place},red,left,0.5{place},{10.0 + 3 * place},{10.0 + 3 * place},60,2024.1,stroop\n" for place in range(8)
    )
)
EPRIME = "*** Header Start ***\r\nExperiment: Stroop (E-Prime)\r\nSubject: 1\r\n*** Header End ***\r\n" + "".join(
    "\tLevel: 2\r\n\t*** LogFrame Start ***\r\n\tProcedure: Trial\r\n\tStim.OnsetTime: "
    f"{1000 + 3000 * place}\r\n\tStim.RT: 5{place}0\r\n\tStim.RESP: 1\r\n\tWord: red\r\n\t*** LogFrame End ***\r\n"
    for place in range(8)
)
JSPSYCH = json.dumps(
    [
        {
            "trial_type": "html-keyboard-response",
            "trial_index": i,
            "time_elapsed": 3000 * (i + 1),
            "rt": 500 + i,
            "response": "f",
        }
        for i in range(8)
    ]
)
_SIMPLE: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "table of regions": ("labels.tsv", "index\tname\n1\ta\n2\tb\n3\tc\n", read_region_table),
    "table of colours": ("colours.txt", "1 Left-A 10 20 30 0\n2 Right-B 40 50 60 0\n", read_region_table),
    "list of regions": ("names.txt", "a\nb\nc\n", read_region_table),
    "centres of regions": (
        "places.csv",
        "ROI Name,R,A,S\na,1,2,3\nb,4,5,6\n",
        lambda path: region_places(path, ("a", "b")),
    ),
    "participants": (
        "bids/participants.tsv",
        "participant_id\tage\tsex\tsite\nsub-01\t20\tF\ta\nsub-02\t31\tM\tb\n",
        lambda path: read_covariates(path.parent, ["01", "02"]),
    ),
    "description of a data set": (
        "bids/dataset_description.json",
        '{"Name": "people", "BIDSVersion": "1.10.0", "License": "CC0"}',
        lambda path: read_source(path.parent),
    ),
    "BIDS filters": (
        "filters.json",
        '{"bold": {"session": ["1", "2"], "run": 1}}',
        lambda path: read_selection(IngestConfig(bids_filter_file=path)),
    ),
    "list of labels": ("labels.txt", "01\n02\n", lambda path: read_labels([str(path)])),
    "events": ("sub-1_task-stroop_events.tsv", EVENTS, lambda path: read_trials(load_task("stroop"), path)),
    "events of PsychoPy": ("stroop.csv", PSYCHOPY, read_events),
    "events of E-Prime": ("stroop.txt", EPRIME, read_events),
    "events of jsPsych": ("stroop.json", JSPSYCH, read_events),
    "events of FSL": ("0bk_faces.txt", "10.5\t27.5\t1\n90.1\t27.5\t1\n", read_ev),
    "configuration": ("mine.yaml", CONFIGURATION, load_config),
    "task": ("mine.yaml", (CONFIGS / "tasks" / "stroop.yaml").read_text("utf-8"), lambda path: load_task(str(path))),
    "protocol of a trial": (
        "trial.yaml",
        (CONFIGS / "trials" / "stroop_speed.yaml").read_text("utf-8"),
        load_protocol,
    ),
    "DeepSpeed's settings": ("zero.json", '{"zero_optimization": {"stage": 1}}', read_user_settings),
    "state of a stage": ("stage.json", STAGE, lambda path: read_stage(path.parent)),
}
for _name, _given in _SIMPLE.items():
    FORMATS[_name] = functools.partial(_simple, name=_given[0], text=_given[1], read=_given[2])


def _twin(folder: Path, name: str) -> Whole:
    torch.manual_seed(0)
    twin = Twin(make_config(), SIZES)
    regions = tuple("abcdef")
    save_twin(folder, twin, TwinCard(twin.config, SIZES, {}, regions, regions, {}, "c", "s", 3, SegmentConfig()))
    return whole(folder / name, (folder / name).read_bytes(), lambda: read_twin(folder))


FORMATS["twin.json"] = functools.partial(_twin, name="twin.json")
FORMATS["twin.safetensors"] = functools.partial(_twin, name="twin.safetensors")


def _output(folder: Path, which: str) -> Whole:
    path, read = good(folder, which)
    if which == "split":
        Split("subjects", ("a",), ("b",), ("c",)).save(path, "cohort")
    return whole(path, path.read_bytes(), lambda: read(path))


for _which in READERS:
    FORMATS[f"output: {_which}"] = functools.partial(_output, which=_which)


def _shard(folder: Path, which: str) -> Whole:
    shards.restore(folder, 1)
    members = encode_sample(make_person(0))
    path = folder / "shard-00000.tar"

    def put(content: bytes) -> None:
        shards.restore(folder, 1)
        changed = members if which == "tar" else {**members, which: content}
        shards.put(
            folder, content if which == "tar" else shards.packed(*((f"p0000.{k}", c) for k, c in changed.items()))
        )

    def read() -> None:
        for _ in shards.open_cohort(folder).records():
            pass

    return whole(path, path.read_bytes() if which == "tar" else members[which], read, put)


for _which in ("tar", "json", "safetensors"):
    FORMATS[f"shard: {_which}"] = functools.partial(_shard, which=_which)


@format_of("shards' manifest")
def _manifest(folder: Path) -> Whole:
    shards.restore(folder, 2)
    path = folder / "manifest.json"
    return whole(path, path.read_bytes(), lambda: Manifest.load(folder))
