"""What a worker is given of one person, and what comes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from dtb.cohort.bids.files import PersonFiles
from dtb.cohort.quality import PersonQuality
from dtb.people.records import SubjectRecord


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A run, a series, some of its regions, or a row of events, that was not used.

    Attributes
    ----------
    run : str
        File name.
    line : int or None
        Line of the events file; None for a whole run, its series or regions.
    reason : str
    """

    run: str
    line: int | None
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class PersonRead:
    """The result of reading a person.

    Attributes
    ----------
    pseudonym : str
    record : SubjectRecord or None
        None for somebody who is set aside.
    reason : str
        Why; empty with a record.
    left_out : tuple of LeftOut
    quality : PersonQuality or None
        Also of somebody who is set aside, if their rest could be read.
    rest_KE : (K, E) float32 or None
        Fisher z of each rest run, of somebody with more than one.
    coverage_R : (R,) float64 or None
        Share of each parcel that the images of rest cover, NaN where nothing says it; None if rest could not be read.
    present_R : (R,) bool or None
        Which regions have any edge.
    kind : str
        The kind of reason: the same words for everybody of the kind, without their own figures; empty with a record.
    notices : tuple of (str, str)
        File names, each with what is unknown about it or had to be decided, in the same words for everybody.
    """

    pseudonym: str
    record: SubjectRecord | None
    reason: str
    left_out: tuple[LeftOut, ...]
    quality: PersonQuality | None = None
    rest_KE: np.ndarray | None = None
    coverage_R: np.ndarray | None = None
    present_R: np.ndarray | None = None
    kind: str = ""
    notices: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class PersonJob:
    """What a worker needs to read one person."""

    files: PersonFiles
    pseudonym: str
    covariates: dict[str, float | str | None]
    derivatives: tuple[Path, ...] = ()
