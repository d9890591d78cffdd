"""fMRIPrep's images, volumes and dense surfaces, which are averaged over the parcels of an atlas and cleaned of confounds here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dtb.cohort.bids.names import BidsName
from dtb.cohort.layouts.layout import Layout, SeriesPath, Values, space_pattern
from dtb.cohort.layouts.regions import region_table
from dtb.config import IngestConfig
from dtb.errors import InputDataError

_DESCRIPTIONS = {"preproc", "denoised", "optcomDenoised", "nonaggrDenoised", "aggrDenoised", "orthaggrDenoised"}
"""What images that can be averaged are called by fMRIPrep, XCP-D and tedana, tedana of old, and fMRIPost-AROMA."""
_FMRIPREP = "of fMRIPrep (Esteban et al. 2019, doi:10.1038/s41592-018-0235-4), averaged over parcels"


def _is_volume(name: BidsName, _config: IngestConfig) -> bool:
    is_wanted = name.entities.get("desc") in _DESCRIPTIONS
    return name.suffix == "bold" and name.extension in {".nii.gz", ".nii"} and is_wanted


def _is_dense(name: BidsName, _config: IngestConfig) -> bool:
    return name.suffix == "bold" and name.extension == ".dtseries.nii"


def _atlas(config: IngestConfig) -> Path:
    if config.atlas is None or not config.atlas.is_file():
        raise InputDataError(f"ingest.atlas: {config.atlas} is not a file; `layout: {config.layout}` needs an atlas.")
    return config.atlas


def _volume_regions(derivatives: tuple[Path, ...], config: IngestConfig) -> dict[int, str]:
    _atlas(config)
    return region_table(derivatives, config).names


def _dense_regions(config: IngestConfig) -> dict[int, str]:
    from dtb.cohort.series.cifti import read_label_table

    return read_label_table(_atlas(config)).names


def _lacking_in_volume(derivatives: tuple[Path, ...], config: IngestConfig) -> list[str]:
    from dtb.cohort.series.atlas import labels_of_volume

    atlas = _atlas(config)
    return _left_out(region_table(derivatives, config).lacking(labels_of_volume(atlas), atlas.name))


def _lacking_in_dense(_derivatives: tuple[Path, ...], config: IngestConfig) -> list[str]:
    from dtb.cohort.series.cifti import labels_of_surface, other_maps, read_label_table

    atlas = _atlas(config)
    lacking = read_label_table(atlas).lacking(labels_of_surface(atlas, config.max_memory_gib), atlas.name)
    return other_maps(atlas) + _left_out(lacking)


def _left_out(sentences: list[str]) -> list[str]:
    return [f"{sentence} What has no name or no label is left out." for sentence in sentences]


def _read_volumes(
    file: SeriesPath, _regions: tuple[str, ...], derivatives: tuple[Path, ...], config: IngestConfig
) -> Values:
    from dtb.cohort.series.atlas import VolumeAtlas
    from dtb.cohort.series.volumes import parcellate_volumes

    atlas = VolumeAtlas(_atlas(config), np.array(list(_volume_regions(derivatives, config))))
    limits = {"max_memory_gib": config.max_memory_gib, "min_coverage": config.min_parcel_coverage}
    found = parcellate_volumes(file.path, atlas, mask=file.mask, **limits)
    return Values(found.values_VR, found.repetition_time, found.coverage_R)


def _read_dense(
    file: SeriesPath, _regions: tuple[str, ...], _derivatives: tuple[Path, ...], config: IngestConfig
) -> Values:
    from dtb.cohort.series.cifti import parcellate_dense

    numbers = np.array(list(_dense_regions(config)))
    limits = {"max_memory_gib": config.max_memory_gib, "min_coverage": config.min_parcel_coverage}
    found = parcellate_dense(file.path, _atlas(config), numbers, **limits)
    return Values(found.values_VR, found.repetition_time, found.coverage_R)


FMRIPREP = Layout(
    name="fmriprep",
    words=f"images {_FMRIPREP}",
    matches=_is_volume,
    looked_for=lambda config: f"*_task-{config.rest_task}*{space_pattern(config)}*_desc-preproc_bold.nii.gz",
    read_region_names=lambda _path, derivatives, config: tuple(_volume_regions(derivatives, config).values()),
    read=_read_volumes,
    is_denoised=False,
    is_on_grid=True,
    needs_atlas=True,
    lacking=_lacking_in_volume,
)
FMRIPREP_CIFTI = Layout(
    name="fmriprep_cifti",
    words=f"surface images {_FMRIPREP}",
    matches=_is_dense,
    looked_for=lambda config: f"*_task-{config.rest_task}*{space_pattern(config)}*_bold.dtseries.nii",
    read_region_names=lambda _path, _derivatives, config: tuple(_dense_regions(config).values()),
    read=_read_dense,
    is_denoised=False,
    needs_atlas=True,
    lacking=_lacking_in_dense,
)
