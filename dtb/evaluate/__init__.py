"""The evaluation of a twin against baselines, and the certificate that says whether it is personal."""

from dtb.lazy import public_names

__all__ = ["conclude", "gather", "open_inputs", "pooled_figures"]

_FILES = {"conclude": ".concluding", "gather": ".gathering", "open_inputs": ".inputs", "pooled_figures": ".pool"}
__getattr__, __dir__ = public_names(__name__, _FILES)
