"""What the driver of a training does beside it: room for the workers, waits, clocks, failures, and what is said of them."""

from dtb.lazy import public_names

__all__ = ["FailureLog"]

_FILES = {"FailureLog": ".failures"}
__getattr__, __dir__ = public_names(__name__, _FILES)
