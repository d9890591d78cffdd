"""Region names for series without them, from a table of the configuration or of a derivative tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dtb.config import IngestConfig
from dtb.errors import InputDataError

if TYPE_CHECKING:
    from dtb.cohort.series.region_table import RegionTable


def region_table(derivatives: tuple[Path, ...], config: IngestConfig) -> RegionTable:
    """Read the table of regions: `ingest.region_labels`, the one beside the atlas, or the one at the top of a derivative tree.

    Raises
    ------
    InputDataError
        There is none, or there are several.
    """
    from dtb.cohort.series.region_table import load_region_table, table_beside

    if config.region_labels is not None:
        return load_region_table(config.region_labels)
    if config.atlas is not None:
        if (beside := table_beside(config.atlas)) is None:
            raise InputDataError(
                f"There is no {config.atlas.name.split('.')[0]}.tsv beside the atlas; give its region names as ingest.region_labels."
            )
        return load_region_table(beside)
    return load_region_table(_only_labels_table(derivatives))


def numbered_region_names(_path: Path, derivatives: tuple[Path, ...], config: IngestConfig) -> tuple[str, ...]:
    """Return the names in that table."""
    return tuple(region_table(derivatives, config).names.values())


def _only_labels_table(derivatives: tuple[Path, ...]) -> Path:
    found = sorted(path for root in derivatives for path in root.glob("*_dseg.tsv"))
    if len(found) != 1:
        listed = f"found {', '.join(path.name for path in found)}" if found else "found none"
        raise InputDataError(
            "These series do not name their regions: give ingest.region_labels, or one *_dseg.tsv at the top of a derivative tree "
            f"({listed})."
        )
    return found[0]
