"""What a data set holds, by the names of its files: people, tasks with events, rest, and how derivatives were made."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dtb.cohort.bids.names import BidsName
from dtb.cohort.bids.tree import Tree, list_tree
from dtb.cohort.connectomes.matrices import PATTERNS
from dtb.cohort.layouts.table import LAYOUTS
from dtb.config import IngestConfig
from dtb.errors import InputDataError

_SAMPLED_PEOPLE = 5
"""People in whose folders matrices are looked for, which may lie anywhere."""
_NOT_SERIES = {"sourcedata", "code", "phenotype", "stimuli"}


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes
    ----------
    bids : Path
    derivatives : tuple of Path
        Trees with series or matrices; the others among those that were looked at are `unused`.
    unused : tuple of Path
    people : int
        In the raw tree.
    events : dict of str to list of Path
        Events files by BIDS task label.
    layout : str
        What made the derivatives; empty if nothing is known to have.
    parcellations, spaces, features : tuple of str
        Among which a choice has to be made, the most common first; features are HALFpipe's.
    series : dict of str to int
        People with a series, by BIDS task label.
    matrices : tuple of str
        Names of some connectivity matrices, if there are no series.
    has_participants, has_atlas_names : bool
        Whether there is a `participants.tsv`, and one table of regions at the top of a derivative tree.
    """

    bids: Path
    derivatives: tuple[Path, ...]
    unused: tuple[Path, ...]
    people: int
    events: dict[str, list[Path]]
    layout: str
    parcellations: tuple[str, ...]
    spaces: tuple[str, ...]
    features: tuple[str, ...]
    series: dict[str, int]
    matrices: tuple[str, ...]
    has_participants: bool
    has_atlas_names: bool

    @property
    def rest_label(self) -> str:
        """Beginning of the labels of the runs that may stand for rest: `rest` if there is one, or what most people have and no events."""
        if any(label.lower().startswith("rest") for label in self.series):
            return next(label for label in self.series if label.lower().startswith("rest"))[:4]
        without_events = {label: count for label, count in self.series.items() if label not in self.events}
        return max(without_events, key=lambda label: without_events[label], default="rest")


def find_derivatives(bids: Path) -> tuple[Path, ...]:
    """Return the folders with people in them that may be derivatives of a raw tree: below its `derivatives`, and beside it."""
    inside = sorted((bids / "derivatives").glob("*"))
    beside = sorted([*bids.parent.glob("*"), *(bids.parent / "derivatives").glob("*")])
    known = {bids.resolve()}
    found = []
    for folder in (*inside, *beside):
        if folder.name in _NOT_SERIES or folder.resolve() in known or not folder.is_dir():
            continue
        known.add(folder.resolve())
        if any(folder.glob("sub-*/")) and (folder in inside or _says_derivative(folder)):
            found.append(folder)
    return tuple(found)


def _says_derivative(folder: Path) -> bool:
    path = folder / "dataset_description.json"
    return (
        path.is_file()
        and re.search(
            r'"DatasetType"\s*:\s*"derivative"|"GeneratedBy"|"PipelineDescription"', path.read_text("utf-8", "replace")
        )
        is not None
    )


def look_at(bids: Path, derivatives: Sequence[Path]) -> Survey:
    """Return what a raw tree and derivative trees hold; no file of people is opened.

    Parameters
    ----------
    bids : Path
    derivatives : sequence of Path

    Returns
    -------
    Survey

    Raises
    ------
    InputDataError
        A folder is not there, or the raw tree holds nobody.
    """
    for folder in (bids, *derivatives):
        if not folder.is_dir():
            raise InputDataError(
                f"{folder} is not a folder. Give the root of a BIDS tree (the folder that holds sub-*)."
            )
    raw = list_tree(bids)
    if not raw.labels:
        raise InputDataError(f"{bids} holds no sub-* folder. Give the root of a BIDS tree.")
    events: dict[str, list[Path]] = {}
    for path, name in _files(raw):
        if name.suffix == "events" and name.extension == ".tsv" and "task" in name.entities:
            events.setdefault(name.entities["task"], []).append(path)
    trees = {root: _files(list_tree(root)) for root in derivatives}
    layout = _layout(name for files in trees.values() for _, name in files)
    used, names = _series(trees, layout)
    matrices = () if names else _matrices(trees)
    if matrices:
        used = tuple(root for root in trees if _matrices({root: []}))
    return Survey(
        bids=bids,
        derivatives=used,
        unused=tuple(root for root in trees if root not in used),
        people=len(raw.labels),
        events=events,
        layout=layout,
        parcellations=_ranked(name.entities.get("seg", name.entities.get("atlas", "")) for name in names),
        spaces=_ranked(name.entities.get("space", "") for name in names),
        features=_ranked(name.entities.get("feature", "") for name in names),
        series={
            label: len({name.entities["sub"] for name in names if name.entities.get("task") == label})
            for label in _ranked(name.entities.get("task", "") for name in names)
        },
        matrices=matrices,
        has_participants=(bids / "participants.tsv").exists(),
        has_atlas_names=sum(len(list(root.glob("*_dseg.tsv"))) for root in used) == 1,
    )


def _files(tree: Tree) -> list[tuple[Path, BidsName]]:
    return [file for files in tree.files.values() for file in files]


def _config(layout: str, name: BidsName) -> IngestConfig:
    """Return the settings by which a file of this name is a series, if any are."""
    feature = name.entities.get("feature")
    return IngestConfig(layout=layout) if feature is None else IngestConfig(layout=layout, halfpipe_feature=feature)


def _layout(names: Iterable[BidsName]) -> str:
    """Return the layout with most files; parcellated series come before images, which need an atlas, in a draw as in the table."""
    counts: Counter[str] = Counter()
    for name in names:
        for layout in LAYOUTS:
            if layout.list_tree is None and layout.matches(name, _config(layout.name, name)):
                counts[layout.name] += layout.has_features == ("feature" in name.entities)
    parcellated = [layout.name for layout in LAYOUTS if counts[layout.name] and not layout.needs_atlas]
    return max(parcellated or [name for name in counts if counts[name]], key=lambda name: counts[name], default="")


def _series(trees: dict[Path, list[tuple[Path, BidsName]]], layout: str) -> tuple[tuple[Path, ...], list[BidsName]]:
    """Return the trees with series of a layout, and the series' names."""
    if not layout:
        return (), []
    found = {
        root: [name for _, name in files if LAYOUTS[layout].matches(name, _config(layout, name))]
        for root, files in trees.items()
    }
    return tuple(root for root, names in found.items() if names), [name for names in found.values() for name in names]


def _matrices(trees: dict[Path, list[tuple[Path, BidsName]]]) -> tuple[str, ...]:
    """Return the names of matrices in the folders of the first people of each tree."""
    people = [person for root in trees for person in sorted(root.glob("sub-*"))[:_SAMPLED_PEOPLE]]
    return tuple(sorted({path.name for person in people for pattern in PATTERNS for path in person.rglob(pattern)}))


def _ranked(values: Iterable[str]) -> tuple[str, ...]:
    """Return values that are not empty, the most common first."""
    return tuple(value for value, _ in Counter(value for value in values if value).most_common())
