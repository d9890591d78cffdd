"""A live twin for scripts and tests: `dtb view` in a process of its own, and the browser to look at it with."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
"""Debian's Chromium, or the one that the variable names; None if there is none."""
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
READY = "body:not([data-waiting])"
"""Is on the page when everything that was asked has been answered and drawn."""


@contextlib.contextmanager
def served(run: Path) -> Iterator[str]:
    """Serve a run at a free port, and give the address that is printed; end it as a hand would, and insist that it ends well."""
    command = [sys.executable, "-m", "dtb", "view", str(run), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", server.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            server.terminate()
            said, _ = server.communicate(timeout=30)
    assert "Ended." in said
    assert server.returncode == 0
