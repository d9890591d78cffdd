"""The `dtb` command: what a user types, what is refused, and what is printed as help."""

from dtb.lazy import public_names

__all__ = ["main"]

_FILES = {"main": ".entry"}
__getattr__, __dir__ = public_names(__name__, _FILES)
