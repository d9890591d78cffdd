"""`dtb doctor`: is this machine, or a cluster, fit for a run, and if not, what to do about it."""

from dtb.lazy import public_names

__all__ = ["Machine", "measure"]

_FILES = {"Machine": ".measurements", "measure": ".measurements"}
__getattr__, __dir__ = public_names(__name__, _FILES)
