"""The kinds of connectome: how each is estimated from a rest series, whether it is a correlation matrix, and what it is in words.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dtb.kinds import Kinds


@dataclasses.dataclass(frozen=True)
class ConnectomeKind:
    """One kind of connectome.

    Attributes
    ----------
    name : str
        As `ingest.connectome` names it.
    words : str
        What it is made of, for the report.
    quantity : str
        What one of its numbers is.
    is_correlation : bool
        Whether it is a correlation matrix where its scale is Fisher's z. Interventions and the tangent space rely on it.
    estimate : function or None
        From the (V, R) values of the regions that are present and vary, all of them finite, to a symmetric (R, R) matrix with entries
        between -1 and 1. None for matrices that are read from files.
    """

    name: str
    words: str
    quantity: str
    is_correlation: bool
    estimate: Callable[[np.ndarray], np.ndarray] | None


def _pearson(known_VR: np.ndarray) -> np.ndarray:
    return np.asarray(np.corrcoef(known_VR, rowvar=False))


def _shrunk(known_VR: np.ndarray) -> np.ndarray:
    """Return the covariance of standardised series, shrunk towards the identity (Ledoit and Wolf 2004, J Multivar Anal)."""
    from sklearn.covariance import ledoit_wolf

    standardised_VR = (known_VR - known_VR.mean(axis=0)) / known_VR.std(axis=0)
    return np.asarray(ledoit_wolf(standardised_VR, assume_centered=True)[0])


def _ledoit_wolf(known_VR: np.ndarray) -> np.ndarray:
    from nilearn.connectome import cov_to_corr

    return np.asarray(cov_to_corr(_shrunk(known_VR)))


def _partial(known_VR: np.ndarray) -> np.ndarray:
    from nilearn.connectome import prec_to_partial

    return np.asarray(prec_to_partial(np.linalg.inv(_shrunk(known_VR))))


CONNECTOMES: Kinds[ConnectomeKind] = Kinds(
    "connectome kind",
    [
        ConnectomeKind(
            name="pearson",
            words="Pearson's correlations between the rest signals of regions",
            quantity="correlation",
            is_correlation=True,
            estimate=_pearson,
        ),
        ConnectomeKind(
            name="ledoit_wolf",
            words="correlations between the rest signals of regions, shrunk after Ledoit and Wolf (2004)",
            quantity="correlation",
            is_correlation=True,
            estimate=_ledoit_wolf,
        ),
        ConnectomeKind(
            name="partial",
            words=(
                "partial correlations between the rest signals of regions, from the inverse of a matrix shrunk after Ledoit and Wolf (2004)"
            ),
            quantity="partial correlation",
            is_correlation=False,
            estimate=_partial,
        ),
        ConnectomeKind(
            name="precomputed",
            words="matrices that were given",
            quantity="correlation",
            is_correlation=True,
            estimate=None,
        ),
    ],
)


def is_correlation(connectome: Mapping[str, Any]) -> bool:
    """Return whether connectomes of this description (`CohortDescription.connectome`) are correlation matrices.

    A description without a kind is of none.

    Raises
    ------
    ConfigurationError
        The kind is not known here.
    """
    kind = connectome.get("kind")
    return kind is not None and CONNECTOMES[kind].is_correlation and connectome.get("scale") == "fisher_z"


def connectome_in_words(connectome: Mapping[str, Any]) -> str:
    """Return what connectomes of this description are, for a message; those of the same words are interchangeable for a twin."""
    parts = [str(connectome[key]) for key in ("matrix", "scale") if key in connectome]
    return f"{connectome.get('kind')} ({', '.join(parts)})"


def kind_in_words(connectome: Mapping[str, Any]) -> str:
    """Return what connectomes of this description are made of, for the report; a kind that is not known here is called so."""
    kind = connectome.get("kind")
    if kind is None:
        return "not described"
    return CONNECTOMES[kind].words if kind in CONNECTOMES else f"{kind}, a kind that this installation does not know"


def quantity_of(connectome: Mapping[str, Any]) -> str:
    """Return what one number of connectomes of this description is: a correlation, where nothing says otherwise."""
    kind = connectome.get("kind")
    return "correlation" if kind is None or kind not in CONNECTOMES else CONNECTOMES[kind].quantity


def estimated_correlations() -> str:
    """Return the kinds that make correlation matrices of rest series, for advice."""
    return " or ".join(f"`{kind.name}`" for kind in CONNECTOMES if kind.is_correlation and kind.estimate is not None)
