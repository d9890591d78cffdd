"""What a figure's alternative text says of the values that the figure shows."""

from __future__ import annotations

import numpy as np


def median_of(values: np.ndarray) -> float:
    """Return the median of the values that are known; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def first_of(values: np.ndarray) -> float:
    """Return the first value that is known; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known[0]) if len(known) else float("nan")


def last_of(values: np.ndarray) -> float:
    """Return the last value that is known; NaN without any."""
    return first_of(values[::-1])


def range_of(values: np.ndarray) -> str:
    """Return the least and the largest value, in words."""
    return f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}" if np.isfinite(values).any() else "unknown"
