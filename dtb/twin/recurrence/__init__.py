"""The recurrent network over time, several ways: the same numbers, each fast somewhere."""

from dtb.lazy import public_names

__all__ = ["Recurrence", "next_state", "perform_in_blocks"]

_FILES = {"Recurrence": ".weights", "next_state": ".cells", "perform_in_blocks": ".blocks"}
__getattr__, __dir__ = public_names(__name__, _FILES)
