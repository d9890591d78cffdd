"""What is known of people besides their connectome and behaviour: the table of covariates.

Ingestion reads those that have columns, the evaluation takes out of its figures those that may confound them, and certificate and report
describe people by them.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from dtb.kinds import Kinds


@dataclasses.dataclass(frozen=True)
class Covariate:
    """One covariate.

    Attributes
    ----------
    name : str
        As in `dtb.people.records.SubjectRecord.covariates`.
    words : str
        What it is, for sentences.
    is_number : bool
        Whether it is a number, or else a label.
    columns : tuple of str
        Names of its column in `participants.tsv`, in lower case, the first of which that is there is read; empty for what the rest runs
        say.
    limits : pair of float or None
        Numbers outside of these, in a column, count as unknown.
    plural : str
        Several of its values, for messages.
    is_removed : bool
        Whether it is taken out of figures.
    needed : {"no", "yes", "if several"}
        Whether nothing is said to be a person's own without it; `if several`, where there are several values.
    """

    name: str
    words: str
    is_number: bool
    columns: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    plural: str = ""
    is_removed: bool = True
    needed: Literal["no", "yes", "if several"] = "no"


COVARIATES: Kinds[Covariate] = Kinds(
    "covariate",
    [
        Covariate("age", "age", is_number=True, columns=("age",), limits=(0.0, 120.0), plural="ages", needed="yes"),
        Covariate("sex", "sex", is_number=False, columns=("sex", "gender"), needed="yes"),
        Covariate(
            "site",
            "site",
            is_number=False,
            columns=("site", "scannerserialnumber", "scanner"),
            needed="if several",
        ),
        Covariate("motion", "motion", is_number=True, needed="yes"),
        Covariate("rest_seconds", "length of rest", is_number=True),
        Covariate("group", "group", is_number=False, columns=("group", "diagnosis"), is_removed=False),
    ],
)


def removed_numbers() -> tuple[str, ...]:
    """Name the numbers that are taken out of figures."""
    return tuple(one.name for one in COVARIATES if one.is_removed and one.is_number)


def removed_labels() -> tuple[str, ...]:
    """Name the labels that are taken out of figures."""
    return tuple(one.name for one in COVARIATES if one.is_removed and not one.is_number)


def labels() -> tuple[str, ...]:
    """Name every label, by which people are counted."""
    return tuple(one.name for one in COVARIATES if not one.is_number)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Name covariates in a sentence.

    Examples
    --------
    >>> listed(["age", "sex", "rest_seconds"])
    'age, sex and length of rest'
    """
    words = [COVARIATES[name].words for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
