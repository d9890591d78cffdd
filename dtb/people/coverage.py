"""Coverage of each region by people's rest images: regions at the edge of the field of view are absent or partial in some people.

Shape letters: `R` region.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dtb.files import write_table

COVERAGE_FILE = "coverage.tsv"


class RegionCoverage:
    """Collects, over people, how much of each region the images cover, and how many people lack it.

    Examples
    --------
    >>> gathered = RegionCoverage(("a", "b"))
    >>> for coverage_R in ([1.0, 0.5], [0.5, 0.0]):
    ...     gathered.add(np.array(coverage_R), np.array(coverage_R) > 0)
    >>> gathered.rows()[1:]
    [('a', '0.75', '0.5', '0', '2'), ('b', '0.25', '0', '1', '2')]
    >>> gathered.absent_in_everybody
    []
    """

    def __init__(self, regions: tuple[str, ...]) -> None:
        self._regions = regions
        self._sum_R, self._least_R = np.zeros(len(regions)), np.full(len(regions), np.inf)
        self._num_known_R, self._num_absent_R = np.zeros(len(regions), int), np.zeros(len(regions), int)
        self._num_people = 0

    def add(self, coverage_R: np.ndarray, present_R: np.ndarray) -> None:
        """Add one person: shares (NaN if unknown), and which regions have any edge."""
        known_R = np.isfinite(coverage_R)
        self._sum_R += np.where(known_R, coverage_R, 0.0)
        self._least_R = np.fmin(self._least_R, coverage_R)
        self._num_known_R += known_R
        self._num_absent_R += ~present_R
        self._num_people += 1

    @property
    def mean_R(self) -> np.ndarray:
        """(R,) float: mean share over people; NaN where nothing says it."""
        return np.where(self._num_known_R > 0, self._sum_R / np.maximum(self._num_known_R, 1), np.nan)

    @property
    def absent_in_everybody(self) -> list[str]:
        """Regions that nobody has."""
        absent_R = self._num_absent_R == self._num_people
        return [name for name, absent in zip(self._regions, absent_R, strict=True) if absent and self._num_people]

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows, its header first."""
        least_R = np.where(self._num_known_R > 0, self._least_R, np.nan)
        rows: list[tuple[str, ...]] = [("region", "mean", "minimum", "num_absent", "num_people")]
        for name, mean, least, absent in zip(self._regions, self.mean_R, least_R, self._num_absent_R, strict=True):
            shares = ("n/a" if np.isnan(share) else f"{share:.4g}" for share in (mean, least))
            rows.append((name, *shares, str(absent), str(self._num_people)))
        return rows

    def save(self, folder: Path) -> None:
        """Write `coverage.tsv` into `folder`."""
        write_table(folder / COVERAGE_FILE, self.rows())
