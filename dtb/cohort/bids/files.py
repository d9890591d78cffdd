"""The files of one person, once they are found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dtb.cohort.bids.names import BidsName
from dtb.cohort.connectomes.matrices import MatrixFile


@dataclasses.dataclass(frozen=True)
class SeriesFile:
    """A parcellated series and its accompanying files.

    Attributes
    ----------
    path : Path
    name : BidsName
    motion : Path or None
        Table with a column `framewise_displacement`.
    outliers : Path or None
        Table that marks the volumes which were censored.
    mask : Path or None
        Brain mask on the same grid.
    raw_sidecars : tuple of Path
        Sidecars (`*_bold.json`) of the raw run, from its folder upwards; each fills in what the earlier ones lack.
    image_sidecars : tuple of Path
        Sidecars of the run's preprocessed images in derivative trees, which may say more than the raw ones.
    quality : Path or None
        XCP-D's table of quality, which has the number of volumes removed from the beginning.
    confounds : Path or None
        fMRIPrep's table of confounds, which may lie in another tree than an image that others denoised.
    """

    path: Path
    name: BidsName
    motion: Path | None = None
    outliers: Path | None = None
    mask: Path | None = None
    raw_sidecars: tuple[Path, ...] = ()
    image_sidecars: tuple[Path, ...] = ()
    quality: Path | None = None
    confounds: Path | None = None


@dataclasses.dataclass(frozen=True)
class EventsFile:
    """Events of one task run, and the parcellated series of the run, if there is one.

    Attributes
    ----------
    path : Path
    name : BidsName
    task_index : int
        Place of the task among the specifications.
    series : SeriesFile or None
    """

    path: Path
    name: BidsName
    task_index: int
    series: SeriesFile | None


@dataclasses.dataclass(frozen=True)
class UnmetSeries:
    """A series of a wanted task without an events file of the same name, which is not used.

    Attributes
    ----------
    path : Path
    nearest : Path or None
        The person's events file of the task whose name differs least; None if there is none at all.
    differences : tuple of (str, str, str)
        Entities in which the two names differ, with the series' value and the events'; empty for one that is absent.
    """

    path: Path
    nearest: Path | None
    differences: tuple[tuple[str, str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class PersonFiles:
    """One person's files.

    Attributes
    ----------
    label : str
        Participant label without ``sub-``.
    rest : tuple of SeriesFile
    events : tuple of EventsFile
    matrices : tuple of MatrixFile
        With `ingest.connectome: precomputed`.
    problem : str
        Why this person cannot be read, if that is known already.
    combined : tuple of Path
        Series and matrices that others put together out of runs that are read themselves; they are not read.
    unmet : tuple of UnmetSeries
    """

    label: str
    rest: tuple[SeriesFile, ...]
    events: tuple[EventsFile, ...]
    problem: str = ""
    matrices: tuple[MatrixFile, ...] = ()
    combined: tuple[Path, ...] = ()
    unmet: tuple[UnmetSeries, ...] = ()
