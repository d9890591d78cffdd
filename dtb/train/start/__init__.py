"""What a training knows of everybody before its first step: scales, initial latents, and the sums that they are made of."""

from dtb.lazy import public_names

__all__ = ["Normalisation", "Summary", "measure", "summaries_of"]

_FILES = {"Normalisation": ".normalise", "Summary": ".summaries", "measure": ".normalise", "summaries_of": ".summaries"}
__getattr__, __dir__ = public_names(__name__, _FILES)
