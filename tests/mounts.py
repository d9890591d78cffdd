"""Whether tests may mount a file system that nobody else sees, such as a disk that is soon full."""

from __future__ import annotations

import subprocess


def may_mount() -> bool:
    """Whether this process may mount a tmpfs in a namespace of its own, as root may."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
