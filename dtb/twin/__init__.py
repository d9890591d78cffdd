"""The model: pure PyTorch, no cluster; only `export` touches files.

The public Python API: ``Twin(config)`` of the paper's sizes or ``Twin(config, sizes)`` of others (`TwinSizes`),
``twin(connectome, stimulus)``, ``twin.simulate(...)``; `batch_from_arrays` and `fit` to train one without a BIDS tree or a cluster.
"""

from dtb.twin.arrays import batch_from_arrays
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.fitting import Fit, fit, standardise_by
from dtb.twin.model import Twin
from dtb.twin.outputs import Simulation, TwinOutput
from dtb.twin.own_data import OwnData, remaining, restricted
from dtb.twin.posterior import Latents, Posterior, condition, prior_of
from dtb.twin.sizes import PAPER_SIZES, TwinSizes

__all__ = [
    "PAPER_SIZES",
    "Batch",
    "Fit",
    "Latents",
    "OwnData",
    "Posterior",
    "Simulation",
    "TrialTensors",
    "Twin",
    "TwinOutput",
    "TwinSizes",
    "batch_from_arrays",
    "condition",
    "fit",
    "prior_of",
    "remaining",
    "restricted",
    "standardise_by",
]
