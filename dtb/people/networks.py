"""The network of a region, read from its name."""

from __future__ import annotations

import re

OTHER = "other"
_PATTERN = re.compile(r"(?:\d+Networks_[LR]H|Toy)_(?P<network>[A-Za-z0-9]+)", re.IGNORECASE)


def network_of(region: str) -> str:
    """Return the network in a region's name; ``other`` if the name has none.

    Names are read as in the Schaefer atlases [1]_ and the ground-truth cohort.

    Parameters
    ----------
    region : str

    References
    ----------
    .. [1] Schaefer et al. 2018, Cereb Cortex, 10.1093/cercor/bhx179.

    Examples
    --------
    >>> network_of("Schaefer2018_17Networks_LH_VisCent_ExStr_1"), network_of("7Networks_RH_Default_PFC_2")
    ('VisCent', 'Default')
    >>> network_of("HIP-rh")
    'other'
    """
    found = _PATTERN.search(region)
    return found["network"] if found else OTHER
