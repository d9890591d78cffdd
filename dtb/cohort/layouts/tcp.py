"""The HDF5 files of the Transdiagnostic Connectome Project, whose names are not as BIDS has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dtb.cohort.bids.names import BidsName
from dtb.cohort.layouts.layout import Layout, SeriesPath, Values
from dtb.cohort.layouts.regions import numbered_region_names
from dtb.config import IngestConfig

if TYPE_CHECKING:
    from dtb.cohort.bids.tree import Tree

_NAME = re.compile(r"task-(?P<task>[A-Za-z0-9]+)_run-(?P<run>[0-9]+)_bold_.*parcellated\.h5")


def _list_tree(root: Path, labels: list[str]) -> Tree:
    from dtb.cohort.bids.tree import Tree

    return Tree(root, (), {label: list(_files(root, label)) for label in labels}, {})


def _files(root: Path, label: str) -> Iterator[tuple[Path, BidsName]]:
    """Yield one person's HDF5 files. Folders are named NDAR_INV..., which BIDS labels write without the underscore."""
    for folder in (root / label.replace("NDARINV", "NDAR_INV"), root / label):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                match = _NAME.fullmatch(path.name)
                if match:
                    yield path, BidsName({"sub": label, "task": match["task"], "run": match["run"]}, "bold", ".h5")
            return


def _read(file: SeriesPath, regions: tuple[str, ...], _derivatives: tuple[Path, ...], config: IngestConfig) -> Values:
    from dtb.cohort.series.tabular import read_hdf5

    return Values(read_hdf5(file.path, len(regions), config.max_memory_gib))


TCP = Layout(
    name="tcp",
    words="parcellated series of the Transdiagnostic Connectome Project (Chopra et al. 2024, doi:10.1101/2024.06.18.24309054)",
    matches=lambda name, _config: (name.suffix, name.extension) == ("bold", ".h5"),
    looked_for=lambda config: f"NDAR_INV*/task-{config.rest_task}*_run-*_bold_*parcellated.h5",
    read_region_names=numbered_region_names,
    read=_read,
    needs_region_table=True,
    list_tree=_list_tree,
)
