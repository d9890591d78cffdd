"""The report: a page for a whole run, and pages for single people."""

from dtb.lazy import public_names

__all__ = ["StageState", "figure_of", "region_places"]

_FILES = {"StageState": ".collect", "figure_of": ".style", "region_places": ".region_centres"}
__getattr__, __dir__ = public_names(__name__, _FILES)
