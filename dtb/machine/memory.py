"""Keeping the memory that large tensors leave, instead of giving it back to the operating system and asking for it again at once."""

from __future__ import annotations

import ctypes

# Numbers of options of the C library's `mallopt`, from <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Make this process keep the memory that it frees, until it ends; call it once where much is computed on the CPU.

    glibc maps every large block anew and gives it back when it is freed, and the system fills each new page with zeros: about half of the
    processor time of a training step. Elsewhere than on glibc nothing is changed. The price is memory: blocks of one size lie up to
    about ten times beside one another before a place is used again, for slivers that alignment leaves keep neighbours from merging.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
