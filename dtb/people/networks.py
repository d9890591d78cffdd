"""The network of a region, read from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable

OTHER = "other"
SUBCORTEX, CEREBELLUM = "Subcortex", "Cerebellum"
_PATTERN = re.compile(r"(?:\d+Networks_[LR]H|^[LR]H(?=_[A-Za-z]+_)|Toy)_(?P<network>[A-Za-z0-9]+)", re.IGNORECASE)
# Tian's names, FreeSurfer's structures as HALFpipe has them, and the subcortical ones of XCP-D's 4S atlases.
_SUBCORTICAL = re.compile(
    r"FreeSurfer_|[aplm]{0,2}(?:HIP|AMY|THA|NAc|GP|PUT|CAU)(?:-[A-Za-z]+)?-[lr]h$|[LR]H(?:-|_(?:Hippocampus|Amygdala)$)"
)
_CEREBELLAR = re.compile(r"Buckner2011_|Cerebellar|cerebellum_", re.IGNORECASE)


def network_of(region: str) -> str:
    """Return the network in a region's name, ``Subcortex`` or ``Cerebellum``; ``other`` if the name tells none.

    Names are read as in the Schaefer atlases [1]_, alone and as part of HALFpipe's and XCP-D's, and in Tian's of the subcortex [2]_.

    Parameters
    ----------
    region : str

    References
    ----------
    .. [1] Schaefer et al. 2018, Cereb Cortex, 10.1093/cercor/bhx179.
    .. [2] Tian et al. 2020, Nat Neurosci, 10.1038/s41593-020-00711-6.

    Examples
    --------
    >>> network_of("Schaefer2018_17Networks_LH_VisCent_ExStr_1"), network_of("7Networks_RH_Default_PFC_2")
    ('VisCent', 'Default')
    >>> network_of("LH_DorsAttn_Post_1"), network_of("THA-DP-rh"), network_of("FreeSurfer_Left-Caudate"), network_of("V1")
    ('DorsAttn', 'Subcortex', 'Subcortex', 'other')
    """
    if found := _PATTERN.search(region):
        return found["network"]
    return SUBCORTEX if _SUBCORTICAL.match(region) else CEREBELLUM if _CEREBELLAR.match(region) else OTHER


def tell_networks(regions: Iterable[str]) -> bool:
    """Return whether the names of regions tell networks apart; one network alone, ``other`` for example, says nothing of a region.

    Parameters
    ----------
    regions : iterable of str

    Examples
    --------
    >>> tell_networks(["7Networks_LH_Vis_1", "7Networks_LH_Default_PFC_2"]), tell_networks(["V1", "V2"])
    (True, False)
    """
    return len({network_of(region) for region in regions}) > 1
