"""Reading latents from connectomes: the stack of regressions that a twin's latents begin at."""

from dtb.lazy import public_names

__all__ = ["Figures", "Reading", "read"]

_FILES = {"Figures": ".reading", "Reading": ".reading", "read": ".reading"}
__getattr__, __dir__ = public_names(__name__, _FILES)
