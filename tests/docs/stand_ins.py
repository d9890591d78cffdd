"""What stands in for the data that the documentation names: a made-up cohort under a laboratory's names, in each layout that it speaks of."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy.io import savemat

from tests.docs.pages import ROOT, blocks

SMALL = {"num-subjects": 12, "num-regions": 12, "num-causal-edges": 4, "rest-seconds": 130}
MATRIX = "atlas_4S156Parcels_sift_radius2_count_connectivity"


def make_study(images: Path, parcellated: Path, out: Path) -> None:
    """Make `/data/study`: people 01, 02 ... in one session, fMRIPrep's volumes, XCP-D's series in two trees, and QSIRecon's matrices."""
    copy_renamed(images / "bids", out / "bids")
    copy_renamed(images / "derivatives" / "fmriprep", out / "derivatives" / "fmriprep")
    for name, task in (("xcp_d", "stroop"), ("xcp_d-tasks", "rest|hammer")):
        tree = out / "derivatives" / name
        copy_renamed(parcellated / "derivatives" / "xcp_d", tree)
        for path in [path for path in tree.rglob("sub-*") if re.search(rf"_task-({task})", path.name)]:
            path.unlink()
    rng = np.random.default_rng(0)
    names = [f"region{number}" for number in range(6)]
    for person in sorted((out / "bids").glob("sub-*")):
        matrix = np.triu(rng.integers(1, 100, (6, 6)), 1).astype(float)
        folder = out / "derivatives" / "qsirecon-MRtrix3" / person.name / "ses-pre" / "dwi"
        folder.mkdir(parents=True)
        labels = {"atlas_4S156Parcels_region_labels": np.array(names, dtype=object)}
        path = folder / f"{person.name}_ses-pre_space-T1w_connectivity.mat"
        savemat(path, {MATRIX: matrix + matrix.T, **labels}, long_field_names=True)


def copy_renamed(tree: Path, out: Path) -> None:
    """Copy a tree of `dtb synth`, with labels of two digits and a session."""
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        place = re.sub(
            r"sub-00(\d\d)/func/sub-00\d\d_", r"sub-\1/ses-pre/func/sub-\1_ses-pre_", str(path.relative_to(tree))
        )
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes()
        (out / place).write_bytes(text.replace(b"sub-00", b"sub-") if path.name == "participants.tsv" else text)


def make_tcp(parcellated: Path, out: Path) -> None:
    """Make `ds005237`: events under the TCP's names, and series in its HDF5 files, of 434 regions as the page counts them."""
    rng = np.random.default_rng(0)
    for number, person in enumerate(sorted((parcellated / "bids").glob("sub-*"))):
        label = "NDARINVAG388HJL" if number == 0 else f"NDARINVXX{number:03d}ABC"
        func = out / f"sub-{label}" / "func"
        func.mkdir(parents=True)
        series = out / "fMRI_timeseries_clean_denoised_GSR_parcellated" / label.replace("NDARINV", "NDAR_INV")
        series.mkdir(parents=True)
        for task in ("rest", "stroop", "hammer"):
            with h5py.File(series / f"task-{task}AP_run-01_bold_Atlas_hp2000_clean_GSR_parcellated.h5", "w") as stream:
                stream["dataset"] = rng.standard_normal((434, 500))
            if task != "rest":
                (events,) = (person / "func").glob(f"*task-{task}*_events.tsv")
                shutil.copy(events, func / f"sub-{label}_task-{task}AP_run-01_events.tsv")
    shutil.copy(parcellated / "bids" / "dataset_description.json", out)


def make_small_things(place: Path, regions: list[str]) -> None:
    """Make the files that a page takes for granted where its reader stands."""
    (place / "my-tasks").mkdir()
    task = (ROOT / "configs" / "tasks" / "hammer.yaml").read_text().replace("name: hammer", "name: flanker")
    (place / "my-tasks" / "flanker.yaml").write_text(task)
    (block,) = [block for page, block in blocks("json") if page == "your-data.md"]
    (place / "filter.json").write_text(block)
    points = np.random.default_rng(0).uniform(-60, 60, (len(regions), 3)).round(1)
    table = pd.DataFrame(points, columns=["x", "y", "z"]).assign(name=regions)
    table.to_csv(place / "centroids.csv", index=False)
    for name in ("configs", "scripts"):
        (place / name).symlink_to(ROOT / name)
