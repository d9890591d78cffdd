"""XCP-D's parcellated series, as tables and as CIFTI files; both name their regions."""

from __future__ import annotations

from pathlib import Path

from dtb.cohort.bids.names import BidsName
from dtb.cohort.layouts.layout import Layout, SeriesPath, Values, is_timeseries, space_pattern
from dtb.config import IngestConfig

_WORDS = "parcellated series of XCP-D (Mehta et al. 2024, doi:10.1162/imag_a_00257)"


def _is_table(name: BidsName, config: IngestConfig) -> bool:
    return is_timeseries(name, ".tsv", config)


def _is_cifti(name: BidsName, config: IngestConfig) -> bool:
    return is_timeseries(name, ".ptseries.nii", config)


def _looked_for(config: IngestConfig, extension: str) -> str:
    chosen = config.parcellation or "*"
    return f"*_task-{config.rest_task}*{space_pattern(config)}*_seg-{chosen}_*timeseries{extension} (or atlas-{chosen})"


def _table_names(path: Path, _derivatives: tuple[Path, ...], _config: IngestConfig) -> tuple[str, ...]:
    from dtb.cohort.series.tabular import read_header_names

    return read_header_names(path)


def _cifti_names(path: Path, _derivatives: tuple[Path, ...], _config: IngestConfig) -> tuple[str, ...]:
    from dtb.cohort.series.cifti import read_parcel_names

    return read_parcel_names(path)


def _read_table(
    file: SeriesPath, regions: tuple[str, ...], _derivatives: tuple[Path, ...], config: IngestConfig
) -> Values:
    from dtb.cohort.series.tabular import read_with_header

    return Values(read_with_header(file.path, regions, config.max_memory_gib))


def _read_cifti(
    file: SeriesPath, regions: tuple[str, ...], _derivatives: tuple[Path, ...], config: IngestConfig
) -> Values:
    from dtb.cohort.series.cifti import read_parcel_series
    from dtb.cohort.series.tabular import in_order

    found_VR, names, repetition_time = read_parcel_series(file.path, config.max_memory_gib)
    return Values(in_order(found_VR, names, regions, file.path), repetition_time)


XCPD = Layout(
    name="xcpd",
    words=_WORDS,
    matches=_is_table,
    looked_for=lambda config: _looked_for(config, ".tsv"),
    read_region_names=_table_names,
    read=_read_table,
    names_regions=True,
    drops_volumes=True,
)
XCPD_CIFTI = Layout(
    name="xcpd_cifti",
    words=_WORDS,
    matches=_is_cifti,
    looked_for=lambda config: _looked_for(config, ".ptseries.nii"),
    read_region_names=_cifti_names,
    read=_read_cifti,
    names_regions=True,
    drops_volumes=True,
)
