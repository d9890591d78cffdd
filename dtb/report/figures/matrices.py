"""A region-by-region matrix, with its networks.

Shape letters: `R` region.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from dtb.people.networks import OTHER, network_of
from dtb.report.figures.values import range_of
from dtb.report.style import GRID, QUIET, canvas, or_words, to_svg

_SMALLEST_LABELLED = 0.04


@or_words
def matrix(
    name: str, matrix_RR: np.ndarray, *, regions: Sequence[str] = (), limit: float, title: str, quantity: str
) -> Markup:
    """Draw a region-by-region matrix, blue below zero and red above; absent regions stay empty.

    Regions whose names contain networks are sorted by network; others keep their order, counted from 1.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    matrix_RR : (R, R) float
        NaN where absent.
    regions : sequence of str
        Their names, if they are known.
    limit : float
        Value of the strongest colour, either way.
    title, quantity : str
        Heading, and name of the colour scale with its unit.
    """
    names = [network_of(region) for region in regions]
    order = sorted(range(len(names)), key=lambda region: (names[region] == OTHER, names[region], region))
    networks = Counter(names[region] for region in order)
    shown_RR = matrix_RR[np.ix_(order, order)] if len(networks) > 1 else matrix_RR
    size = len(matrix_RR)
    with canvas(4.4, 3.9) as (figure, axes):
        figure.set_layout_engine("compressed", w_pad=0.1)  # for a square, which otherwise leaves no room for its labels
        axes.grid(visible=False)
        axes.set_facecolor(GRID)
        extent = (0.5, size + 0.5, size + 0.5, 0.5)
        image = axes.imshow(shown_RR, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="none", extent=extent)
        bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.03)
        bar.set_label(quantity)
        bar.outline.set_visible(False)
        axes.set(xlabel="region", ylabel="region")
        if len(networks) > 1:
            _label_networks(axes, networks)
        axes.set_title(title)
        absent = int(np.isnan(matrix_RR).all(axis=1).sum())
        values = matrix_RR[np.isfinite(matrix_RR)]
        return to_svg(
            figure,
            name,
            f"{title}. Matrix of {size} by {size} regions, {quantity} from {range_of(values)}"
            + (f"; networks in order: {', '.join(networks)}" if len(networks) > 1 else "")
            + (f"; {absent} regions are absent." if absent else "."),
        )


def _label_networks(axes: Axes, networks: Mapping[str, int]) -> None:
    """Write the networks beside their regions, with lines between them; networks that are too small have no label."""
    ends = 0.5 + np.cumsum(list(networks.values()))
    for end in ends[:-1]:
        axes.axhline(end, color=QUIET, linewidth=0.5)
        axes.axvline(end, color=QUIET, linewidth=0.5)
    named = [
        (end - count / 2, name)
        for end, (name, count) in zip(ends, networks.items(), strict=True)
        if count >= _SMALLEST_LABELLED * sum(networks.values())
    ]
    places, words = zip(*named, strict=True) if named else ((), ())
    axes.set_xticks(places, words, rotation=90, fontsize=8)
    axes.set_yticks(places, words, fontsize=8)
    axes.tick_params(length=0)
    axes.set(xlabel="regions, by network", ylabel="")
