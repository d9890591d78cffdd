"""Several trainings: folds, seeds and settings, on Ray Tune."""

from dtb.lazy import public_names

__all__ = ["Halving", "Member"]

_FILES = {"Halving": ".sweep", "Member": ".sweep"}
__getattr__, __dir__ = public_names(__name__, _FILES)
