"""Expand a compact real data set once for all tests of a session."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path


@functools.cache
def expanded(real_data: Path, name: str) -> Path:
    """Return the folder with the BIDS tree `bids` and, where there are any, the derivatives `xcp_d` of a set."""
    folder = Path(tempfile.mkdtemp(prefix=f"dtb-{name}-"))
    subprocess.run(
        [sys.executable, real_data / "expand.py", name, real_data / name, folder], check=True, stdout=subprocess.DEVNULL
    )
    return folder
