"""Reading the series of runs: tables, CIFTI files, and volumes that are cut into parcels."""

from dtb.lazy import public_names

__all__ = [
    "Parcellated",
    "Series",
    "VolumeAtlas",
    "VolumeHeader",
    "parcellate_dense",
    "parcellate_volumes",
    "read_series",
]

_FILES = {
    "Parcellated": ".volumes",
    "Series": ".read",
    "VolumeAtlas": ".atlas",
    "VolumeHeader": ".volumes",
    "parcellate_dense": ".cifti",
    "parcellate_volumes": ".volumes",
    "read_series": ".read",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
