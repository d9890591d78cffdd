"""Reading BIDS trees and derivatives into one record per person."""

from dtb.lazy import public_names

__all__ = ["LeftOut", "PersonQuality", "PersonRead", "SetAside"]

_FILES = {"LeftOut": ".person", "PersonQuality": ".quality", "PersonRead": ".person", "SetAside": ".quality_page"}
__getattr__, __dir__ = public_names(__name__, _FILES)
