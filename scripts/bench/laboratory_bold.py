"""BOLD of people's connectomes by tvboptim, in an environment of its own (`pip install tvboptim`): a row for `chain.py --tvboptim PYTHON`.

    PYTHON scripts/bench/laboratory_bold.py FOLDER --seconds 800

FOLDER is what `laboratory.py series` wrote. Each person's absolute correlations couple reduced Wong-Wang nodes, as in tvboptim's own
example: Heun steps of 1 ms, without delays, and BOLD every 0.8 s. It compiles once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tvboptim.experimental.network_dynamics import DenseGraph, Network, prepare
from tvboptim.experimental.network_dynamics.coupling import LinearCoupling
from tvboptim.experimental.network_dynamics.dynamics.tvb import ReducedWongWang
from tvboptim.experimental.network_dynamics.solvers import Heun
from tvboptim.observations.tvb_monitors import HRFBold


def main() -> None:
    """Simulate, and print what it took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="of BOLD for each person")
    parser.add_argument("--people", type=int, default=None)
    given = parser.parse_args()
    people = sorted(given.folder.glob("*.npz"))[: given.people]
    matrices = [matrix_of(np.load(path)["edges"]) for path in people]
    network = Network(
        dynamics=ReducedWongWang(),
        coupling={"instant": LinearCoupling(incoming_states="S", G=0.5)},
        graph=DenseGraph(jnp.asarray(matrices[0])),
    )
    simulator, parameters = prepare(network, Heun(), t0=0.0, t1=1000.0 * given.seconds, dt=1.0)
    monitor = HRFBold(period=800.0)
    run = jax.jit(lambda parameters: monitor(simulator(parameters)).ys)
    began = time.perf_counter()
    jax.block_until_ready(run(parameters))
    compiled = time.perf_counter() - began
    began = time.perf_counter()
    for matrix_RR in matrices:
        parameters.graph.weights = jnp.asarray(matrix_RR)
        bold_VR = jax.block_until_ready(run(parameters))
    seconds = time.perf_counter() - began
    assert np.isfinite(bold_VR).all()
    found = {"people": len(people), "seconds": seconds, "first_seconds": compiled, "volumes": int(bold_VR.shape[0])}
    json.dump(found, sys.stdout)


def matrix_of(edges_E: np.ndarray) -> np.ndarray:
    """Return absolute correlations from the Fisher z of the lower triangle, scaled to a mean strength of 1."""
    num_regions = round((1 + np.sqrt(1 + 8 * len(edges_E))) / 2)
    matrix_RR = np.zeros((num_regions, num_regions))
    matrix_RR[np.tril_indices(num_regions, -1)] = np.abs(np.tanh(edges_E))
    matrix_RR += matrix_RR.T
    return matrix_RR / matrix_RR.sum(axis=1).mean()


if __name__ == "__main__":
    main()
