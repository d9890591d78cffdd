"""`dtb init`: looks at a data set, and writes a configuration and task files that `dtb run` can use."""

from dtb.lazy import public_names

__all__ = ["Survey", "look_at"]

_FILES = {"Survey": ".survey", "look_at": ".survey"}
__getattr__, __dir__ = public_names(__name__, _FILES)
