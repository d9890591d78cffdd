"""Which version this is, and under which name package indexes know it.

The name of the package on an index is not the one that is imported: ``dtb`` belongs to another project there.
"""

from __future__ import annotations

__all__ = ["DISTRIBUTION", "__version__"]

__version__ = "0.1.0"
DISTRIBUTION = "digital-twin-brains"
