"""What the machine has: how many cores and which share of a GPU this process may use, and how it keeps memory."""

from dtb.lazy import public_names

__all__ = ["keep_freed_memory", "usable_cores"]

_FILES = {"keep_freed_memory": ".memory", "usable_cores": ".cores"}
__getattr__, __dir__ = public_names(__name__, _FILES)
