"""The record of one person: a connectome, covariates and runs, under a pseudonym.

Shape letters: `R` region, `E` connectome edge, `V` volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from dtb.tasks.trials import Trials

LARGEST_CORRELATION = 1 - 1e-7
"""Larger correlations are taken as this: two identical regions would have an infinite Fisher z."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One run of a task.

    Attributes
    ----------
    task : str
        Name of the task specification.
    label : str
        BIDS task label, followed by the direction where that is an entity of its own: ``stroopAP`` for ``task-stroopAP`` and for
        ``task-stroop_dir-AP``.
    session, run : str or None
        BIDS entities.
    trials : Trials
    duration_seconds : float
        Length of the run: of its volumes where there are any, else until the last response window ends.
    bold_VR : (V, R) float32 or None
        Parcellated series, each region's mean over the run removed; NaN where a region or a volume is absent.
    repetition_time : float or None
        Seconds from one volume to the next; None without volumes.
    bold_mean_R : (R,) float32 or None
        The mean over the run that was removed from each region, in the units of its file; None where none was.
    first_volume_seconds : float
        Time of the first volume on the clock of the events: half a repetition time, for example, where slice timing correction brought all
        slices to the middle of their volume.
    """

    task: str
    label: str
    session: str | None
    run: str | None
    trials: Trials
    duration_seconds: float
    bold_VR: np.ndarray | None
    repetition_time: float | None
    bold_mean_R: np.ndarray | None = None
    first_volume_seconds: float = 0.0

    @property
    def volume_seconds_V(self) -> np.ndarray:
        """Return the time of each volume on the clock of the events, (V,) float64; empty without volumes."""
        if self.bold_VR is None or self.repetition_time is None:
            return np.zeros(0)
        return self.first_volume_seconds + self.repetition_time * np.arange(len(self.bold_VR))

    def volumes_at(self, seconds: np.ndarray) -> np.ndarray:
        """Return the indices of the volumes at these times.

        Examples
        --------
        >>> from dtb.tasks.trials import Trials
        >>> none = Trials(*[np.zeros(0)] * 2, np.zeros(0), *[np.zeros((0, 1), bool)] * 2, *[np.zeros(0, bool)] * 2, *[np.zeros(0)] * 5)
        >>> run = Run("t", "t", None, None, none, 7.0, np.zeros((3, 1)), 2.0, first_volume_seconds=1.0)
        >>> run.volume_seconds_V
        array([1., 3., 5.])
        >>> run.volumes_at(run.volume_seconds_V)
        array([0, 1, 2])
        """
        assert self.repetition_time is not None
        return np.rint((seconds - self.first_volume_seconds) / self.repetition_time).astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class SubjectRecord:
    """One person.

    Attributes
    ----------
    pseudonym : str
        Keyed pseudonym, letters and digits only.
    connectome_E : (E,) float32
        Fisher z of the upper triangle (row by row, `numpy.triu_indices(R, 1)`); NaN where a region is absent, and throughout for somebody
        without a connectome.
    covariates : dict
        From `participants.tsv`: `age` (years, float), `sex`, `site`, `group` (str), `motion` (mean framewise displacement in mm,
        float) and `rest_seconds` (float); None where unknown.
    runs : tuple of Run
        Task runs, ordered by label, session and run; none in a cohort of connectomes alone.
    rest_runs : dict of str to (E,) float32
        With `ingest.rest_runs: separate`, the connectome of each rest run by the run's entities (``task-rest_dir-AP_run-1``), in order.
    """

    pseudonym: str
    connectome_E: np.ndarray
    covariates: dict[str, float | str | None]
    runs: tuple[Run, ...]
    rest_runs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def has_connectome(self) -> bool:
        """Whether any edge is known."""
        return bool(np.isfinite(self.connectome_E).any())


def edges_from_matrix(matrix_RR: np.ndarray) -> np.ndarray:
    """Return the upper triangle, row by row, without the diagonal.

    Parameters
    ----------
    matrix_RR : (R, R) array
        Symmetric.

    Examples
    --------
    >>> edges_from_matrix(np.arange(9).reshape(3, 3))
    array([1, 2, 5])
    """
    return matrix_RR[np.triu_indices(len(matrix_RR), 1)]


def matrix_from_edges(edges_E: np.ndarray, diagonal: float = 0.0) -> np.ndarray:
    """Return the symmetric (R, R) matrix whose upper triangle is `edges_E`.

    Parameters
    ----------
    edges_E : (E,) array
    diagonal : float
        What stands on the diagonal.

    Raises
    ------
    ValueError
        The number of edges is not R (R - 1) / 2 for any R.

    Examples
    --------
    >>> matrix_from_edges(np.array([1, 2, 5]))
    array([[0, 1, 2],
           [1, 0, 5],
           [2, 5, 0]])
    """
    num_regions = num_regions_of(len(edges_E))
    matrix_RR = np.full((num_regions, num_regions), diagonal, dtype=edges_E.dtype)
    rows, columns = np.triu_indices(num_regions, 1)
    matrix_RR[rows, columns] = edges_E
    matrix_RR[columns, rows] = edges_E
    return matrix_RR


def num_regions_of(num_edges: int) -> int:
    """Return the number of regions that have this many pairs.

    Examples
    --------
    >>> num_regions_of(99_235)
    446
    """
    num_regions = round((1 + (1 + 8 * num_edges) ** 0.5) / 2)
    if num_regions * (num_regions - 1) // 2 != num_edges:
        raise ValueError(f"{num_edges} is not the number of pairs of any number of regions")
    return num_regions
