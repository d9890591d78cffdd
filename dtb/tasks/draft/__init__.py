"""A first specification of a task, drafted from what its events files say, with a list of what they cannot say."""

from dtb.lazy import public_names

__all__ = ["Draft", "draft_of"]

_FILES = {"Draft": ".draft", "draft_of": ".draft"}
__getattr__, __dir__ = public_names(__name__, _FILES)
