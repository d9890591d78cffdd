"""The recurrent network over time, in several implementations: the same numbers, each fast on some hardware."""

from dtb.lazy import public_names

__all__ = ["Recurrence", "next_state"]

_FILES = {"Recurrence": ".weights", "next_state": ".cells"}
__getattr__, __dir__ = public_names(__name__, _FILES)
