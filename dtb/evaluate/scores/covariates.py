"""Covariates of people (age, sex, site and motion), and the basis by which they are regressed out of figures.

What is said to be taken out is what was: a covariate counts as known if nine in ten people have it, of those who trained and of those who
are tested. Numbers enter by a restricted cubic spline (Harrell 2015, Regression Modeling Strategies, section 2.4.5: four knots, linear
beyond the outer ones), because reaction times do not rise in a straight line with age; labels by one column each.

A diagnosis (`group`) is taken out too: what differs between patients and others in brain and behaviour is no person's own. Figures that
leave it in stand beside those that do not.

Shape letters: `S` subject, `C` column of the basis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dtb.evaluate.scores.statistics import orthonormal
from dtb.people.covariates import COVARIATES, listed, removed_labels, removed_numbers

if TYPE_CHECKING:
    import pandas as pd

Facts = Sequence[Mapping[str, float | str | None]]
"""What is known of each person, as in `dtb.people.records.SubjectRecord.covariates`."""

GROUP, GROUP_LEFT_IN = "group", "with group left in"
SHARE_KNOWN = 0.9
"""Of the people, for a covariate to count as known."""
_KNOTS = (0.05, 0.35, 0.65, 0.95)


@dataclasses.dataclass(frozen=True)
class Covariates:
    """The covariates that are regressed out of figures.

    Attributes
    ----------
    known : tuple of str
        Those that are.
    lacking : tuple of str
        Those that would have to be, but are not known.
    """

    known: tuple[str, ...] = ()
    lacking: tuple[str, ...] = dataclasses.field(
        default_factory=lambda: tuple(one.name for one in COVARIATES if one.needed == "yes")
    )

    @property
    def in_words(self) -> str:
        """Return the covariates that are regressed out, in words.

        Examples
        --------
        >>> Covariates(("age", "sex", "motion"), ()).in_words
        'age, sex and motion'
        """
        return listed(self.known)

    @property
    def lacking_in_words(self) -> str:
        """Return the covariates that are lacking, in words."""
        return listed(self.lacking)


def taken_out(covariates: Covariates, metric: str) -> str:
    """Return the covariates that a partial figure regresses out, by its name.

    Examples
    --------
    >>> taken_out(Covariates(("age", "group"), ()), "mean RT partial r, with group left in")
    'age'
    """
    left_in = metric.endswith(GROUP_LEFT_IN)
    return listed([name for name in covariates.known if not (left_in and name == GROUP)])


def basis_with_group(people: Facts, names: Sequence[str]) -> np.ndarray | None:
    """Return the basis of all covariates but the group (`covariate_basis`); None where the group is not among them, or alone."""
    others = [name for name in names if name != GROUP]
    return covariate_basis(people, others) if others and len(others) < len(names) else None


def known_covariates(training: Facts, people: Facts) -> Covariates:
    """Return the covariates that can be regressed out of figures.

    Site and group are none where there is one only, or where nobody has any: what does not differ confounds nothing.
    """
    # Its import takes a second, for which actors, who know covariates by name alone, are not to wait.
    import pandas as pd

    tables = [_table(who) for who in (training, people)]

    def is_known(name: str) -> bool:
        return all(len(table) > 0 and bool(table[name].notna().mean() >= SHARE_KNOWN) for table in tables)

    values = pd.concat(tables)
    wanted = [
        one for one in COVARIATES if one.is_removed and (one.needed != "if several" or values[one.name].nunique() >= 2)
    ]
    known = tuple(one.name for one in wanted if is_known(one.name))
    return Covariates(known, tuple(one.name for one in wanted if one.needed != "no" and one.name not in known))


def covariate_basis(people: Facts, names: Sequence[str]) -> np.ndarray:
    """Return an orthonormal basis of the covariates over people.

    Parameters
    ----------
    people : sequence of mapping
    names : sequence of str
        The covariates, from `Covariates.known`.

    Returns
    -------
    (S, C)
        Orthonormal columns, the first of which spans the mean; NaN for people of whom one of the covariates is not known.
    """
    table = _table(people)[list(names)]
    complete_S = table.notna().all(axis=1).to_numpy()
    columns = [np.ones(complete_S.sum())]
    for name in names:
        values = table.loc[complete_S, name]
        columns += list((spline(values.to_numpy(np.float64)) if COVARIATES[name].is_number else _one_hot(values)).T)
    basis_SC = orthonormal(np.column_stack(columns))
    filled_SC = np.full((len(table), basis_SC.shape[1]), np.nan)
    filled_SC[complete_S] = basis_SC
    return filled_SC


def spline(values_S: np.ndarray) -> np.ndarray:
    """Return the columns of a restricted cubic spline; of a number with too few values for four knots, the number and its square."""
    scale = float(values_S.std()) if len(values_S) else 0.0
    if scale <= 1e-9 * float(np.abs(values_S).max(initial=0.0)):
        return np.zeros((len(values_S), 0))
    z_S = (values_S - values_S.mean()) / scale
    knots = np.quantile(z_S, _KNOTS)
    if np.diff(knots).min() < 0.05:
        return np.stack([z_S, z_S**2], axis=1)
    cube = lambda knot: np.maximum(z_S - knot, 0.0) ** 3
    last, before = knots[-1], knots[-2]
    bent = [
        cube(knot) - cube(before) * (last - knot) / (last - before) + cube(last) * (before - knot) / (last - before)
        for knot in knots[:-2]
    ]
    return np.stack([z_S, *bent], axis=1)


def _one_hot(values: pd.Series) -> np.ndarray:
    import pandas as pd

    return pd.get_dummies(values.astype(str)).to_numpy(np.float64)


def _table(people: Facts) -> pd.DataFrame:
    import pandas as pd

    numbers = list(removed_numbers())
    table = pd.DataFrame(list(people), columns=[*numbers, *removed_labels()], index=range(len(people)))
    table[numbers] = table[numbers].apply(pd.to_numeric)
    return table
