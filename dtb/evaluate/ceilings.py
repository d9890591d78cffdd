"""What the best possible predictor would reach, so that a figure can be read as a share of what is possible.

From the data themselves: how well two halves of what a person did agree (every other trial), or two runs. On a ground-truth cohort also
from its truth, which says how well perfect knowledge of people, or of their connectomes, would predict what was observed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from dtb.errors import InputDataError
from dtb.evaluate.statistics import correlation

FEWEST_FOR_A_CEILING = 10
TRUTH_FILE = "ceilings.json"

_IN_TRUTH = {
    "mean RT r": "mean_rt",
    "condition effect r": "condition_rt",
    "accuracy r": "accuracy",
    "BOLD map r": "bold_contrast_map",
    "BOLD map r without the group map": "bold_contrast_map_own",
    "BOLD series r": "bold_series",
}


def ceiling_of_halves(odd_S: np.ndarray, even_S: np.ndarray) -> float | None:
    """Estimate the largest r that any predictor can have with the whole, from the correlation of its halves.

    The reliability of the whole is 2 r / (1 + r) (Spearman and Brown), and no predictor correlates better with it than its root; None
    where there are fewer than ten people or the halves do not agree at all.
    """
    both_S = np.isfinite(odd_S) & np.isfinite(even_S)
    if both_S.sum() < FEWEST_FOR_A_CEILING:
        return None
    r = float(correlation(odd_S, even_S, np.ones((1, len(odd_S))))[0])
    return math.sqrt(2 * r / (1 + r)) if r > 0 else None


def true_ceilings(truth: Path, *, seen: bool) -> dict[tuple[str, str], float]:
    """Read the ceilings of a ground-truth cohort.

    Parameters
    ----------
    truth : Path
        The folder `truth` that `dtb synth` wrote.
    seen : bool
        Whether people are tested whom training has seen: then everything about them may be known, else their connectome alone.

    Returns
    -------
    dict
        By task and metric; over all of the cohort's people and runs.

    Raises
    ------
    InputDataError
        There is no such file, or it is none of ceilings.
    """
    path = truth / TRUTH_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        ceilings = {}
        for task, values in found.items():
            for metric, name in _IN_TRUTH.items():
                value = values.get(name) if seen else values.get(f"{name}_from_connectome", values.get(name))
                if value is not None:
                    ceilings[task, metric] = float(value)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputDataError(
            f"{path} cannot be read as ceilings ({error}). Give --truth the folder `truth` that `dtb synth` made, or leave it out."
        ) from None
    return ceilings
