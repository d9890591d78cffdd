"""The report: a page for a whole run, and pages for single people."""

from dtb.lazy import public_names

__all__ = ["StageState", "figure_of"]

_FILES = {"StageState": ".collect", "figure_of": ".style"}
__getattr__, __dir__ = public_names(__name__, _FILES)
