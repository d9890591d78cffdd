"""The model: pure PyTorch, no cluster; only `export` touches files.

The public Python API: ``Twin(config)`` of the paper's sizes or ``Twin(config, sizes)`` of others (`TwinSizes`),
``twin(connectome, stimulus)``, ``twin.simulate(...)``, ``load_twin(path)``; `batch_from_arrays` and `fit` to train one without a BIDS
tree or a cluster.
"""

from dtb.twin.arrays import batch_from_arrays
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.fitting import Fit, fit, standardise_by
from dtb.twin.model import Twin
from dtb.twin.outputs import Simulation, TwinOutput
from dtb.twin.sizes import PAPER_SIZES, TwinSizes

__all__ = [
    "PAPER_SIZES",
    "Batch",
    "Fit",
    "Simulation",
    "TrialTensors",
    "Twin",
    "TwinOutput",
    "TwinSizes",
    "batch_from_arrays",
    "fit",
    "standardise_by",
]
