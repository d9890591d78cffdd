"""Reading BIDS trees and derivatives into one record per person."""

from dtb.lazy import public_names

__all__ = ["LeftOut", "PersonQuality", "PersonRead", "SetAside", "region_places"]

_FILES = {
    "LeftOut": ".job",
    "PersonQuality": ".quality",
    "PersonRead": ".job",
    "SetAside": ".quality_page",
    "region_places": ".series.region_centres",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
