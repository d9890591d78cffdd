"""How each layout of derivatives names its series."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dtb.cohort.bids.names import BidsName
from dtb.cohort.bids.tree import Tree
from dtb.config import IngestConfig


def is_series(name: BidsName, config: IngestConfig) -> bool:
    """Return whether a file is a series of the configured layout."""
    entities = name.entities
    if config.space not in {None, entities.get("space")}:
        return False
    if config.layout in {"fmriprep", "fmriprep_cifti"}:
        kinds = (".nii.gz", ".nii") if config.layout == "fmriprep" else (".dtseries.nii",)
        wanted = entities.get("desc") in {"preproc", "denoised"} or config.layout == "fmriprep_cifti"
        return name.suffix == "bold" and name.extension in kinds and wanted
    if config.layout == "tcp":
        return True
    parcellation = entities.get("seg", entities.get("atlas"))
    if name.suffix != "timeseries" or parcellation is None or config.parcellation not in {None, parcellation}:
        return False
    if config.layout == "halfpipe":
        return name.extension == ".tsv.gz" and entities.get("feature") == config.halfpipe_feature
    return name.extension == {"xcpd": ".tsv", "xcpd_cifti": ".ptseries.nii"}[config.layout]


_TCP_NAME = re.compile(r"task-(?P<task>[A-Za-z0-9]+)_run-(?P<run>[0-9]+)_bold_.*parcellated\.h5")


def tcp_tree(root: Path, labels: list[str]) -> Tree:
    """List people's files in the layout of the TCP, whose names are not as BIDS has them."""
    return Tree(root, (), {label: list(_tcp_files(root, label)) for label in labels}, {})


def _tcp_files(root: Path, label: str) -> Iterator[tuple[Path, BidsName]]:
    """Go through one person's HDF5 files. Folders are named NDAR_INV..., which BIDS labels write without the underscore."""
    for folder in (root / label.replace("NDARINV", "NDAR_INV"), root / label):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                match = _TCP_NAME.fullmatch(path.name)
                if match:
                    yield path, BidsName({"sub": label, "task": match["task"], "run": match["run"]}, "bold", ".h5")
            return


def looked_for(config: IngestConfig) -> str:
    """Describe the names of the rest series that the layout has."""
    rest, chosen, space = config.rest_task, config.parcellation or "*", f"_space-{config.space}" if config.space else ""
    return {
        "xcpd": f"*_task-{rest}*{space}*_seg-{chosen}_*timeseries.tsv (or atlas-{chosen})",
        "xcpd_cifti": f"*_task-{rest}*{space}*_seg-{chosen}_*timeseries.ptseries.nii (or atlas-{chosen})",
        "halfpipe": f"*_task-{rest}*_feature-{config.halfpipe_feature}_atlas-{chosen}_timeseries.tsv.gz",
        "fmriprep": f"*_task-{rest}*{space}*_desc-preproc_bold.nii.gz",
        "fmriprep_cifti": f"*_task-{rest}*{space}*_bold.dtseries.nii",
        "tcp": f"NDAR_INV*/task-{rest}*_run-*_bold_*parcellated.h5",
    }[config.layout]
