"""What is known of people besides their connectome and behaviour: the table of covariates.

Ingestion reads those that have columns, the evaluation takes out of its figures those that may confound them, and certificate and report
describe people by them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from dtb.kinds import Kinds

_MALE, _FEMALE = ("m", "male", "man", "boy", "männlich"), ("f", "female", "woman", "girl", "w", "weiblich")


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
    other_columns : tuple of str
        Names of columns, in lower case, that may hold it but are not read; that there is one is said.
    spellings : mapping of str to str
        What values of a label mean, in lower case: those that mean the same are taken for one.
    is_in_years : bool
        Whether it is a number of years; the table's sidecar may say that a column has months, weeks or days.
    is_removed : bool
        Whether it is taken out of figures.
    is_counted : bool
        Whether it is told how many people there are of each of its values.
    needed : {"no", "yes", "if several"}
        Whether nothing is said to be a person's own without it; `if several`, where there are several values.
    """

    name: str
    words: str
    is_number: bool
    columns: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    plural: str = ""
    other_columns: tuple[str, ...] = ()
    spellings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_in_years: bool = False
    is_removed: bool = True
    is_counted: bool = True
    needed: Literal["no", "yes", "if several"] = "no"


COVARIATES: Kinds[Covariate] = Kinds(
    "covariate",
    [
        Covariate(
            "age",
            "age",
            is_number=True,
            columns=("age",),
            limits=(0.0, 120.0),
            plural="ages",
            other_columns=("alter", "ageatscan", "ageyears", "interview_age"),
            is_in_years=True,
            needed="yes",
        ),
        Covariate(
            "sex",
            "sex",
            is_number=False,
            columns=("sex", "gender"),
            other_columns=("geschlecht", "sexe", "sexo"),
            spellings={**dict.fromkeys(_MALE, "male"), **dict.fromkeys(_FEMALE, "female")},
            needed="yes",
        ),
        Covariate(
            "site",
            "site",
            is_number=False,
            columns=("site", "scannerserialnumber", "scanner"),
            needed="if several",
        ),
        Covariate("motion", "motion", is_number=True, needed="yes"),
        Covariate("rest_seconds", "length of rest", is_number=True),
        Covariate(
            "family",
            "family",
            is_number=False,
            columns=("family_id", "rel_family_id"),
            is_removed=False,
            is_counted=False,
        ),
        Covariate("group", "group", is_number=False, columns=("group", "diagnosis"), needed="if several"),
    ],
)


def removed_numbers() -> tuple[str, ...]:
    """Return the numeric covariates that are regressed out of figures."""
    return tuple(one.name for one in COVARIATES if one.is_removed and one.is_number)


def removed_labels() -> tuple[str, ...]:
    """Return the categorical covariates that are regressed out of figures."""
    return tuple(one.name for one in COVARIATES if one.is_removed and not one.is_number)


def labels() -> tuple[str, ...]:
    """Return every categorical covariate by which people are counted."""
    return tuple(one.name for one in COVARIATES if not one.is_number and one.is_counted)


def family_numbers(people: Iterable[Mapping[str, float | str | None]]) -> np.ndarray:
    """Return family numbers, (S,) int: relatives have the same number, and a person without a known family is a family of one.

    Examples
    --------
    >>> family_numbers([{"family": "a"}, {"family": None}, {"family": "a"}, {}]).tolist()
    [0, 1, 0, 2]
    """
    number_of: dict[tuple[str, str], int] = {}
    found = []
    for place, facts in enumerate(people):
        family = facts.get("family")
        key = ("alone", str(place)) if family is None else ("family", str(family))
        found.append(number_of.setdefault(key, len(number_of)))
    return np.array(found, np.int64)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Return covariates in words.

    Examples
    --------
    >>> listed(["age", "sex", "rest_seconds"])
    'age, sex and length of rest'
    """
    words = [COVARIATES[name].words for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
