"""The strongest edges of a connectome, and edges on a ring of networks, for regions of which nobody knows where they lie.

Shape letters: `R` region, `E` drawn edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from dtb.people.networks import OTHER, network_of, tell_networks
from dtb.report.style import INK, LESS, MORE, QUIET, canvas, or_words, to_svg

_WIDEST = 3.0


def strongest(value_RR: np.ndarray, num_edges: int) -> np.ndarray:
    """Return a symmetric matrix with all but the largest edges set to NaN."""
    first, second = np.triu_indices(len(value_RR), 1)
    size_E = np.abs(np.nan_to_num(value_RR[first, second]))
    order = np.argsort(-size_E, kind="stable")[:num_edges]
    order = order[size_E[order] > 0]
    kept_RR = np.full_like(value_RR, np.nan, dtype=float)
    for rows, columns in ((first, second), (second, first)):
        kept_RR[rows[order], columns[order]] = value_RR[rows[order], columns[order]]
    return kept_RR


@or_words
def edges_on_ring(
    name: str, value_RR: np.ndarray, regions: Sequence[str], *, limit: float, title: str, quantity: str
) -> Markup:
    """Draw the edges of a matrix between regions on a ring, by network if names tell it: red above zero, blue below, wide for strong.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    value_RR : (R, R) float
        NaN for edges that are not drawn.
    regions : sequence of str
        Names.
    limit : float
        Value of the widest line, either way.
    title, quantity : str
        Heading, and what the lines show, with its unit.
    """
    first, second = np.nonzero(np.triu(np.isfinite(value_RR), 1))
    value_E = value_RR[first, second]
    with canvas(4.4, 4.4) as (figure, axes):
        _ring(axes, first, second, value_E, regions, limit)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        handles = [
            Line2D([], [], color=LESS, linewidth=_WIDEST, label=f"down to −{limit:.2g}"),
            Line2D([], [], color=MORE, linewidth=_WIDEST, label=f"up to +{limit:.2g}"),
        ]
        figure.legend(handles=handles, title=quantity, loc="outside lower center", ncols=2)
        order = np.argsort(-np.abs(value_E), kind="stable")[:3]
        ring = " of networks" if tell_networks(regions) else ""
        named = "; ".join(f"{regions[first[e]]} with {regions[second[e]]} {value_E[e]:+.2g}" for e in order) or "none"
        return to_svg(
            figure,
            name,
            f"{title}. {len(value_E)} connections on a ring{ring}, {quantity}: {int((value_E > 0).sum())} above zero, "
            f"{int((value_E < 0).sum())} below. The strongest: {named}.",
        )


def _ring(
    axes: Axes, first_E: np.ndarray, second_E: np.ndarray, value_E: np.ndarray, regions: Sequence[str], limit: float
) -> None:
    networks = [network_of(region) for region in regions]
    order = sorted(range(len(regions)), key=lambda region: (networks[region] == OTHER, networks[region], region))
    # A gap after each network, as wide as one region.
    place, angle_R = 0, np.zeros(len(regions))
    starts: dict[str, int] = {}
    for step, region in enumerate(order):
        if step and networks[region] != networks[order[step - 1]]:
            place += 1
        starts.setdefault(networks[region], place)
        angle_R[region] = place
        place += 1
    angle_R *= 2 * np.pi / (place + 1)
    point_R2 = np.stack([np.sin(angle_R), np.cos(angle_R)], axis=1)
    for edge in np.argsort(np.abs(value_E), kind="stable"):
        ends = point_R2[[first_E[edge], second_E[edge]]]
        path = Path([ends[0], 0.25 * ends.mean(axis=0), ends[1]], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
        width = 0.6 + (_WIDEST - 0.6) * min(abs(value_E[edge]) / limit, 1.0)
        colour = MORE if value_E[edge] > 0 else LESS
        axes.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, linewidth=width, alpha=0.85))
    joined = np.union1d(first_E, second_E)
    axes.scatter(point_R2[:, 0], point_R2[:, 1], s=5, color=QUIET, zorder=3)
    axes.scatter(point_R2[joined, 0], point_R2[joined, 1], s=18, color=INK, zorder=4)
    for network in starts if tell_networks(regions) else ():
        angles = angle_R[[region for region in order if networks[region] == network]]
        arc = np.linspace(angles.min(), angles.max(), 40)
        axes.plot(1.06 * np.sin(arc), 1.06 * np.cos(arc), color=QUIET, linewidth=2.5, solid_capstyle="butt")
        middle = float(angles.mean())
        side = "center" if abs(np.sin(middle)) < 0.2 else "left" if np.sin(middle) > 0 else "right"
        axes.text(1.12 * np.sin(middle), 1.12 * np.cos(middle), network, ha=side, va="center", fontsize=9)
    axes.set(xlim=(-1.42, 1.42), ylim=(-1.2, 1.2), aspect="equal")
    axes.set_axis_off()
