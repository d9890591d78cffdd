"""The table of layouts: one line each, from a file each."""

from __future__ import annotations

from dtb.cohort.bids.names import BidsName
from dtb.cohort.layouts.fmriprep import FMRIPREP, FMRIPREP_CIFTI
from dtb.cohort.layouts.halfpipe import HALFPIPE
from dtb.cohort.layouts.layout import Layout
from dtb.cohort.layouts.tcp import TCP
from dtb.cohort.layouts.xcpd import XCPD, XCPD_CIFTI
from dtb.config import IngestConfig
from dtb.kinds import Kinds

LAYOUTS: Kinds[Layout] = Kinds("layout", [XCPD, XCPD_CIFTI, HALFPIPE, FMRIPREP, FMRIPREP_CIFTI, TCP])


def is_series(name: BidsName, config: IngestConfig) -> bool:
    """Return whether a file is a series of the configured layout, in the space that is wanted."""
    return config.space in {None, name.entities.get("space")} and LAYOUTS[config.layout].matches(name, config)
