"""HALFpipe's parcellated series: tables without a header, one a feature."""

from __future__ import annotations

from pathlib import Path

from dtb.cohort.bids.names import BidsName
from dtb.cohort.layouts.layout import Layout, SeriesPath, Values, is_timeseries
from dtb.cohort.layouts.regions import numbered_region_names
from dtb.config import IngestConfig


def _matches(name: BidsName, config: IngestConfig) -> bool:
    is_table = any(is_timeseries(name, extension, config) for extension in (".tsv", ".tsv.gz"))
    return is_table and name.entities.get("feature") == config.halfpipe_feature


def _looked_for(config: IngestConfig) -> str:
    chosen = config.parcellation or "*"
    return f"*_task-{config.rest_task}*_feature-{config.halfpipe_feature}_atlas-{chosen}_timeseries.tsv (or .tsv.gz)"


def _read(file: SeriesPath, regions: tuple[str, ...], _derivatives: tuple[Path, ...], config: IngestConfig) -> Values:
    from dtb.cohort.series.tabular import read_headerless

    return Values(read_headerless(file.path, len(regions), config.max_memory_gib))


HALFPIPE = Layout(
    name="halfpipe",
    words="parcellated series of HALFpipe (Waller et al. 2022, doi:10.1002/hbm.25829)",
    matches=_matches,
    looked_for=_looked_for,
    read_region_names=numbered_region_names,
    read=_read,
    drops_volumes=True,
    needs_region_table=True,
    has_features=True,
)
