"""The definition of a layout of derivatives: which files are its series, how they are read, and its words.

Files of this folder import nothing heavy outside of functions: the configuration looks at the table of layouts for their names.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dtb.cohort.bids.names import BidsName
from dtb.config import IngestConfig

if TYPE_CHECKING:
    from dtb.cohort.bids.tree import Tree


class Values(NamedTuple):
    """The content of a file of series.

    Attributes
    ----------
    values_VR : (V, R) float64
        In the order of the cohort's regions; NaN where a region or a volume is absent.
    repetition_time : float or None
        Seconds, as the file says; None where it does not.
    coverage_R : (R,) float64 or None
        Share of each parcel that the images cover; None for series that others parcellated.
    """

    values_VR: np.ndarray
    repetition_time: float | None = None
    coverage_R: np.ndarray | None = None


class SeriesPath(NamedTuple):
    """The path of a series, and of the brain mask on the same grid, if any."""

    path: Path
    mask: Path | None


Matches = Callable[[BidsName, IngestConfig], bool]
ReadNames = Callable[[Path, tuple[Path, ...], IngestConfig], tuple[str, ...]]
Read = Callable[[SeriesPath, tuple[str, ...], tuple[Path, ...], IngestConfig], Values]


@dataclasses.dataclass(frozen=True)
class Layout:
    """One layout of derivative trees.

    Attributes
    ----------
    name : str
        As `ingest.layout` names it.
    words : str
        What is read, and whom to cite, for the report.
    matches : function
        Whether a file of this name is a series.
    looked_for : function
        Names of rest series as a pattern, for the message that there are none.
    read_region_names : function
        Names of the regions from a series' path, the derivative trees and the configuration.
    read : function
        A series from its path, the regions of the cohort, the derivative trees and the configuration.
    names_regions : bool
        Whether each series names its regions itself.
    is_denoised : bool
        Whether confounds were taken out already; else they are regressed out, and motion is read from their table.
    drops_volumes : bool
        Whether the pipeline may have taken volumes from the beginning.
    is_on_grid : bool
        Whether series are volumes, which have to lie in the atlas's space.
    needs_atlas : bool
        Whether images are averaged over the parcels of an atlas, which the configuration has to name.
    needs_region_table : bool
        Whether neither series nor atlas name the regions, so that a table of names is needed.
    has_features : bool
        Whether its files are of one feature each (`feature-` in their names); files of other layouts have none.
    lacking : function or None
        Sentences on labels that only the atlas has, or only its table of names, from the derivative trees and the configuration.
    list_tree : function or None
        Lists the files of the labelled people under a root, for trees whose names are not as BIDS has them.
    """

    name: str
    words: str
    matches: Matches
    looked_for: Callable[[IngestConfig], str]
    read_region_names: ReadNames
    read: Read
    names_regions: bool = False
    is_denoised: bool = True
    drops_volumes: bool = False
    is_on_grid: bool = False
    needs_atlas: bool = False
    needs_region_table: bool = False
    has_features: bool = False
    lacking: Callable[[tuple[Path, ...], IngestConfig], list[str]] | None = None
    list_tree: Callable[[Path, list[str]], Tree] | None = None


def is_timeseries(name: BidsName, extension: str, config: IngestConfig) -> bool:
    """Return whether a file is a parcellated series of the selected parcellation."""
    parcellation = name.entities.get("seg", name.entities.get("atlas"))
    is_wanted = parcellation is not None and config.parcellation in {None, parcellation}
    return name.suffix == "timeseries" and is_wanted and name.extension == extension


def space_pattern(config: IngestConfig) -> str:
    """Return the selected space as a part of file names; empty if any will do."""
    return f"_space-{config.space}" if config.space else ""
