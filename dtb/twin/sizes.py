"""The sizes of a twin that depend on the data; all others are in `TwinConfig`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class TwinSizes:
    """Sizes that come from the cohort and the tasks.

    Attributes
    ----------
    num_regions : int
        Regions of the connectome, whose pairs are its edges; 0 where `num_features` says how much is known of a connectome, or where
        nobody has one.
    num_channels : int
        Stimulus channels, task flags included.
    num_alternatives : int
        Response alternatives; 0 for a twin of BOLD alone.
    num_bold_regions : int
        Regions whose BOLD signal is predicted.
    num_features : int
        How many numbers describe a connectome, where they are not the pairs of its regions: components, or a selection of edges.
    """

    num_regions: int
    num_channels: int
    num_alternatives: int
    num_bold_regions: int
    num_features: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that no twin can have."""
        if min(self.num_features, self.num_regions) < 0 or (self.num_features > 0 and self.num_regions > 0):
            raise ValueError(
                f"num_regions is {self.num_regions} and num_features is {self.num_features}; a connectome is "
                "either all pairs of its regions or a number of features: give one of the two, and 0 for the other; or 0 for both where "
                "nobody has one"
            )
        if self.num_regions == 1:
            raise ValueError("num_regions is 1; a connectome needs at least 2 regions")
        if self.num_channels < 1 or self.num_alternatives < 0 or self.num_bold_regions < 0 or not self.num_outputs:
            raise ValueError(
                f"{self}: a twin needs at least one stimulus channel, and a response alternative or a BOLD region"
            )

    @property
    def num_edges(self) -> int:
        """What is read of a connectome: pairs of regions, or features.

        Examples
        --------
        >>> TwinSizes(446, 9, 3, 20).num_edges, TwinSizes(0, 9, 3, 20, num_features=50).num_edges
        (99235, 50)
        """
        return self.num_features or self.num_regions * (self.num_regions - 1) // 2

    @property
    def edges_in_words(self) -> str:
        """Return what the axis E holds, for messages."""
        if not self.num_edges:
            return "nothing of connectomes"
        if self.num_features:
            return f"{self.num_features} features of each connectome"
        return f"the upper triangles of {self.num_regions} x {self.num_regions} matrices (`dtb.twin.edges.edges_of`)"

    @property
    def num_outputs(self) -> int:
        """Rows of the readout: response alternatives, then BOLD regions."""
        return self.num_alternatives + self.num_bold_regions


PAPER_SIZES = TwinSizes(num_regions=446, num_channels=9, num_alternatives=3, num_bold_regions=20)
"""The paper's: its atlas, its two tasks, its task-related regions."""


def check_shape(name: str, found: tuple[int, ...], wanted: tuple[int | None, ...], meaning: str = "") -> None:
    """Refuse an array of another shape than this twin reads; its name ends in its axes, and None is any length.

    Examples
    --------
    >>> check_shape("connectome_SE", (3, 4, 4), (None, 6), "pairs of 4 regions")
    Traceback (most recent call last):
        ...
    ValueError: connectome_SE has shape (3, 4, 4); this twin reads (S, E) = (any, 6), pairs of 4 regions
    """
    fits = [length is None or length == other for length, other in zip(wanted, found, strict=False)]
    if len(found) == len(wanted) and all(fits):
        return
    axes = ", ".join(name.rsplit("_", 1)[1])
    lengths = ", ".join("any" if length is None else str(length) for length in wanted)
    more = f", {meaning}" if meaning else ""
    raise ValueError(f"{name} has shape {tuple(found)}; this twin reads ({axes}) = ({lengths}){more}")
