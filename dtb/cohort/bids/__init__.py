"""Finding a person's files in BIDS trees."""

from dtb.lazy import public_names

__all__ = ["BidsName", "EventsFile", "PersonFiles", "Selection", "SeriesFile", "Tree", "read_covariates"]

_FILES = {
    "BidsName": ".names",
    "EventsFile": ".files",
    "PersonFiles": ".files",
    "Selection": ".selection",
    "SeriesFile": ".files",
    "Tree": ".tree",
    "read_covariates": ".participants",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
