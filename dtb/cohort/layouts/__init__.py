"""Layouts of derivative trees: their files, reading and description."""

from dtb.lazy import public_names

__all__ = ["Layout"]

_FILES = {"Layout": ".layout"}
__getattr__, __dir__ = public_names(__name__, _FILES)
