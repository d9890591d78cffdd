"""What the data decide about a twin's shape; everything else about it is in `TwinConfig`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class TwinSizes:
    """Sizes that come from the cohort and the tasks.

    Attributes
    ----------
    num_regions : int
        Regions of the connectome.
    num_channels : int
        Stimulus channels, task flags included.
    num_alternatives : int
        Response alternatives.
    num_bold_regions : int
        Regions whose BOLD signal is predicted.
    """

    num_regions: int
    num_channels: int
    num_alternatives: int
    num_bold_regions: int

    def __post_init__(self) -> None:
        """Refuse sizes that no twin can have."""
        if self.num_regions < 2:
            raise ValueError(f"num_regions is {self.num_regions}; a connectome needs at least 2 regions")
        if self.num_channels < 1 or self.num_alternatives < 1 or self.num_bold_regions < 0:
            raise ValueError(f"{self}: a twin needs at least one stimulus channel and one response alternative")

    @property
    def num_edges(self) -> int:
        """Pairs of regions.

        Examples
        --------
        >>> TwinSizes(446, 9, 3, 20).num_edges
        99235
        """
        return self.num_regions * (self.num_regions - 1) // 2

    @property
    def num_outputs(self) -> int:
        """Rows of the readout: response alternatives, then BOLD regions."""
        return self.num_alternatives + self.num_bold_regions
