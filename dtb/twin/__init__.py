"""The model: pure PyTorch, no cluster; only `export` touches files.

The public Python API is `Twin`: ``Twin(config)`` of the paper's sizes or ``Twin(config, sizes)`` of others (`TwinSizes`),
``twin(connectome, stimulus)``, ``twin.simulate(...)``, ``load_twin(path)``; and `batch_from_arrays` for training one without a BIDS tree.
"""

from dtb.twin.arrays import batch_from_arrays
from dtb.twin.model import Simulation, Twin, TwinOutput
from dtb.twin.sizes import TwinSizes

__all__ = ["Simulation", "Twin", "TwinOutput", "TwinSizes", "batch_from_arrays"]
