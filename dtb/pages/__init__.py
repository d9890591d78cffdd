"""The pages that dtb writes and serves: every template, the one style sheet, and the function that fills them in."""

from dtb.lazy import public_names

__all__ = ["prose"]

_FILES = {"prose": ".render"}
__getattr__, __dir__ = public_names(__name__, _FILES)
