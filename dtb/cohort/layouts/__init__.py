"""Layouts of derivative trees: what each matches, reads and says of itself."""

from dtb.lazy import public_names

__all__ = ["Layout"]

_FILES = {"Layout": ".layout"}
__getattr__, __dir__ = public_names(__name__, _FILES)
