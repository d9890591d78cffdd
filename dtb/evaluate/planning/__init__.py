"""How many people, minutes and trials a claim needs."""

from dtb.lazy import public_names

__all__ = ["Outcome", "Setting", "strength_of"]

_FILES = {"Outcome": ".power", "Setting": ".power", "strength_of": ".power"}
__getattr__, __dir__ = public_names(__name__, _FILES)
