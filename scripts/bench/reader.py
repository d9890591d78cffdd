"""What the readers of connectomes cost before a training begins: time, memory, and the products that they cannot do without.

    python scripts/bench/reader.py [--people 1000] [--regions 446] [--latents 16] [--figures 28]

Connectomes are random numbers in which a few edges carry what the figures show: the readers' work does not depend on them. Beside what was
measured stands the least that the same arithmetic takes, at the rate of this machine's own float32 matrix product, timed on a block of
edges: the Gram matrix (people x people x edges), correlations of each fit's targets with each edge, and the sums of edges at each setting.

Time is wall and processor time; on a machine that others use too, the latter over the number of threads is what an idle one would take.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time

import numpy as np

from dtb.train.reader.axes import MOST_AXES
from dtb.train.reader.edges import EdgeRows
from dtb.train.reader.readers import SELECTED_P, WEIGHTED_P, products
from dtb.train.reader.reading import NUM_FOLDS, Figures, read


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--regions", type=int, default=446)
    parser.add_argument("--latents", type=int, default=16)
    parser.add_argument("--figures", type=int, default=28, help="half of behaviour, half of task BOLD")
    parser.add_argument("--threads", type=int, default=2, help="of the matrix products, for the estimate")
    options = parser.parse_args()
    num_edges = options.regions * (options.regions - 1) // 2
    before = peak_gib()
    edges, figures = made_up(options.people, num_edges, options.figures)
    filled = peak_gib()
    begun, cpu = time.perf_counter(), time.process_time()
    product_SM = products(edges)
    gram, gram_cpu = time.perf_counter() - begun, time.process_time() - cpu
    reading = read(
        edges, product_SM, np.ones(options.people, bool), figures, np.arange(options.people), options.latents
    )
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    assert reading is not None
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}; load {os.getloadavg()[0]:.1f}\n"
        f"{options.people:,} people x {num_edges:,} edges, {options.figures} figures, {options.latents} latents, sizes "
        f"{np.round(reading.size_Z[:4], 2).tolist()} ...\n"
        f"wall {wall:.1f} s (Gram {gram:.1f}), processor {cpu:.1f} s (Gram {gram_cpu:.1f}); over {options.threads} cores "
        f"{cpu / options.threads:.1f} s\n"
        f"peak memory {peak_gib():.2f} GiB, of which {filled - before:.2f} with the edges alone and {before:.2f} imports",
        flush=True,
    )
    rate = product_rate(options.people)
    for name, flops in least_flops(options.people, num_edges, options.figures, options.latents).items():
        print(f"{name:34s} {flops / 1e9:8.0f} GFLOP  {flops / rate:7.1f} s at {rate / 1e9:.0f} GFLOP/s a core")
    passes = 5
    print(f"edges are read {passes} times: {passes * 4 * options.people * num_edges / 2**30:.1f} GiB")


def made_up(num_people: int, num_edges: int, num_figures: int) -> tuple[EdgeRows, list[Figures]]:
    """Return people's edges and two kinds of figures."""
    rng = np.random.default_rng(0)
    traits_S3 = rng.standard_normal((num_people, 3)).astype(np.float32)
    edges, sums, squares = EdgeRows(num_edges), np.zeros(num_edges), np.zeros(num_edges)
    for trait_3 in traits_S3:
        row_E = rng.standard_normal(num_edges, dtype=np.float32)
        row_E[:72] += np.repeat(trait_3, 24)
        edges.add(row_E)
        sums += row_E
        squares += row_E.astype(np.float64) ** 2
    mean_E = sums / num_people
    edges.standardise_by(mean_E, np.sqrt(squares / num_people - mean_E**2))
    halves = [
        traits_S3 @ rng.standard_normal((3, num_figures)) + rng.standard_normal((num_people, num_figures)) for _ in "ab"
    ]
    behaviour, bold = np.split((halves[0] + halves[1]) / 2, [num_figures // 2], axis=1)
    some = [half[:, : num_figures // 2] for half in halves]
    trials_S = np.full(num_people, 90.0)
    return edges, [Figures("behaviour", behaviour, (some[0], some[1]), trials_S), Figures("task BOLD", bold)]


def least_flops(num_people: int, num_edges: int, num_figures: int, num_latents: int) -> dict[str, float]:
    """Return the operations of the products over edges."""
    pairs, num_axes = NUM_FOLDS * (NUM_FOLDS - 1) // 2, 2 * min(num_latents, MOST_AXES)
    columns = (NUM_FOLDS + pairs) * num_figures + 2 * (NUM_FOLDS + pairs) * num_axes
    settings = len(SELECTED_P) + len(WEIGHTED_P)
    each = 2.0 * num_people * num_edges
    return {
        "Gram matrix": each * num_people,
        f"correlations of {columns} targets": each * columns * 0.7,
        f"their sums at {settings} settings": each * columns * settings,
    }


def product_rate(num_people: int) -> float:
    """Return the operations a second of processor time of a float32 product like the readers'."""
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((num_people, 8192), np.float32), rng.standard_normal((8192, 64), np.float32)
    begun, times = time.process_time(), 5
    for _ in range(times):
        one @ other
    return times * 2.0 * num_people * 8192 * 64 / max(time.process_time() - begun, 1e-9)


def peak_gib() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
