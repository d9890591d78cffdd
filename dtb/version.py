"""Which version this is, of what else results depend on, and under which name package indexes know it.

The name of the package on an index is not the one that is imported: ``dtb`` belongs to another project there.
"""

from __future__ import annotations

import functools

__all__ = ["DISTRIBUTION", "__version__", "versions_here"]

__version__ = "0.1.0"
DISTRIBUTION = "digital-twin-brains"
_PACKAGES = ("torch", "deepspeed", "ray", "webdataset", "nilearn", "scikit-learn", "numpy")


@functools.cache
def versions_here() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on, and dtb's commit where it runs from its repository."""
    import contextlib
    import importlib.metadata
    import platform
    import subprocess
    from pathlib import Path

    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    root = Path(__file__).parent.parent
    if (root / ".git").exists() and (root / "pyproject.toml").exists():
        asked = ["git", "-C", str(root), "rev-parse", "HEAD"]
        with contextlib.suppress(OSError):
            answer = subprocess.run(asked, check=False, capture_output=True, text=True)
            found |= {"commit": answer.stdout.strip()} if answer.returncode == 0 else {}
    return found
