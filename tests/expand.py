"""Expand a compact real data set once for all tests of a session."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path


@functools.cache
def expanded(real_data: Path, name: str, num_people: int | None = None) -> Path:
    """Return the folder with the BIDS tree `bids` and, where there are any, the derivatives `xcp_d` of a set, or of its first people."""
    folder = Path(tempfile.mkdtemp(prefix=f"dtb-{name}-"))
    some = [] if num_people is None else ["--people", str(num_people)]
    command = [sys.executable, real_data / "expand.py", name, real_data / name, folder, *some]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder
