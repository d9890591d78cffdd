"""The model: pure PyTorch, no cluster; only `export` touches files.

The public Python API is `Twin` with `TwinSizes`: ``twin(connectome, stimulus)``, ``Twin.load(path)``.
"""

from dtb.twin.model import Twin, TwinOutput
from dtb.twin.sizes import TwinSizes

__all__ = ["Twin", "TwinOutput", "TwinSizes"]
