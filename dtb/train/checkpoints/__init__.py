"""Checkpoints of a training: written whole, signed, and loaded without running code."""

from dtb.lazy import public_names

__all__ = ["Checkpoint", "save_checkpoint"]

_FILES = {"Checkpoint": ".checkpoint", "save_checkpoint": ".checkpoint"}
__getattr__, __dir__ = public_names(__name__, _FILES)
