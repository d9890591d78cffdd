"""Connectomes: estimated from rest, or read as matrices."""

from dtb.lazy import public_names

__all__ = ["MatrixFile", "Rest", "find_matrices", "read_matrix"]

_FILES = {"MatrixFile": ".matrices", "Rest": ".rest", "find_matrices": ".matrices", "read_matrix": ".matrices"}
__getattr__, __dir__ = public_names(__name__, _FILES)
