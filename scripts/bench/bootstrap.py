"""How long bootstrap intervals take: 10,000 draws of 1,000 people for 20 regions, beside scipy's vectorised bootstrap on one of them.

    python scripts/bench/bootstrap.py [--people 1000] [--draws 10000] [--regions 20]

Each region's correlation is computed with its interval; drawing the people, once for all of them, is part of the time.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from scipy import stats

from dtb.evaluate.scores.statistics import correlation, draw_weights, estimate

CONFIDENCE = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--regions", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    observed_SR = rng.standard_normal((options.people, options.regions))
    predicted_SR = 0.5 * observed_SR + rng.standard_normal((options.people, options.regions))
    begin = time.perf_counter()
    weights_BS = draw_weights(options.people, options.draws, 0)
    drawn = time.perf_counter() - begin
    ours = [
        estimate(correlation, observed_S, predicted_S, weights_BS, CONFIDENCE)
        for observed_S, predicted_S in zip(observed_SR.T, predicted_SR.T, strict=True)
    ]
    seconds = time.perf_counter() - begin
    print(
        f"dtb: {options.draws:,} draws x {options.people:,} people x {options.regions} regions in {seconds:.1f} s, of which {drawn:.1f} s "
        f"draw the people; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    begin = time.perf_counter()
    theirs = stats.bootstrap(
        (observed_SR[:, 0], predicted_SR[:, 0]),
        lambda x, y, axis: stats.pearsonr(x, y, axis=axis).statistic,
        n_resamples=options.draws,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=CONFIDENCE,
        rng=1,
    ).confidence_interval
    seconds = time.perf_counter() - begin
    print(
        f"scipy.stats.bootstrap, one region: {seconds:.1f} s; [{theirs.low:.3f}, {theirs.high:.3f}], "
        f"dtb [{ours[0].lower:.3f}, {ours[0].upper:.3f}]"
    )


if __name__ == "__main__":
    main()
