"""Reliability of edges: their spread within a person over rest runs, against their spread between people.

Shape letters: `E` edge, `K` rest run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy

from dtb.files import written_whole

RELIABILITY_FILE = "reliability.safetensors"
_MIN_PEOPLE = 2


class EdgeReliability:
    """Collects, over people, the statistics of each edge from two or more rest runs.

    It is a one-way analysis of variance with everybody's runs as the groups. Memory is a few vectors, whatever the number of people.

    Examples
    --------
    >>> gathered = EdgeReliability()
    >>> for runs_KE in ([[0.0], [0.2]], [[1.0], [1.2]], [[2.0], [2.2]]):
    ...     gathered.add(np.array(runs_KE))
    >>> {name: round(float(values[0]), 3) for name, values in gathered.figures().items()}
    {'retest_sd_E': 0.141, 'between_sd_E': 0.995, 'icc_E': 0.98, 'num_people_E': 3.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}

    def add(self, runs_KE: np.ndarray) -> None:
        """Add one person's runs (Fisher z, NaN where an edge is absent). An edge counts where two runs or more have it."""
        known_KE = np.isfinite(runs_KE)
        num_E = known_KE.sum(axis=0)
        counts_E = num_E >= 2
        mean_E = np.where(known_KE, runs_KE, 0.0).sum(axis=0) / np.maximum(num_E, 1)
        within_E = np.where(known_KE, (runs_KE - mean_E) ** 2, 0.0).sum(axis=0)
        terms = {
            "people": np.ones(len(num_E)),
            "within": within_E,
            "freedom": num_E - 1.0,
            "mean": mean_E,
            "square": mean_E**2,
            "inverse": 1.0 / np.maximum(num_E, 1),
        }
        for name, values_E in terms.items():
            added_E = np.where(counts_E, values_E, 0.0)
            self._sums[name] = self._sums[name] + added_E if name in self._sums else added_E

    def figures(self) -> dict[str, np.ndarray]:
        """Return, for each edge, the test-retest standard deviation of one run, the standard deviation between people, and the intraclass
        correlation ICC(1) of one run; NaN with fewer than two people. Nothing if nobody has two runs.
        """
        if not self._sums or not self._sums["people"].any():
            return {}
        sums, num_E = self._sums, self._sums["people"]
        with np.errstate(invalid="ignore", divide="ignore"):
            retest_E = sums["within"] / sums["freedom"]
            spread_E = (sums["square"] - sums["mean"] ** 2 / num_E) / (num_E - 1)
            between_E = np.maximum(spread_E - retest_E * sums["inverse"] / num_E, 0.0)
            icc_E = between_E / (between_E + retest_E)
        enough_E = num_E >= _MIN_PEOPLE
        found = {"retest_sd_E": np.sqrt(retest_E), "between_sd_E": np.sqrt(between_E), "icc_E": icc_E}
        return {name: np.where(enough_E, values, np.nan).astype(np.float32) for name, values in found.items()} | {
            "num_people_E": num_E.astype(np.float32)
        }

    def save(self, folder: Path) -> dict[str, np.ndarray]:
        """Write the figures into `folder`, if there are any, and return them."""
        found = self.figures()
        if found:
            with written_whole(folder / RELIABILITY_FILE) as temporary:
                temporary.write_bytes(safetensors.numpy.save(found))
        return found


def load_reliability(folder: Path) -> dict[str, np.ndarray]:
    """Read the figures that `EdgeReliability.save` wrote into a folder of shards; None if there are none.

    Parameters
    ----------
    folder : Path
    """
    path = folder / RELIABILITY_FILE
    return safetensors.numpy.load(path.read_bytes()) if path.is_file() else {}
