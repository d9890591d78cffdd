"""Edges of a connectome on a brain or, if the regions' positions are unknown, on a ring of networks.

Shape letters: `R` region, `E` drawn edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from dtb.people.networks import OTHER, network_of
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
def edges_on_brain(
    name: str,
    value_RR: np.ndarray,
    regions: Sequence[str],
    place_R3: np.ndarray | None,
    *,
    limit: float,
    title: str,
    quantity: str,
) -> Markup:
    """Draw the edges that a matrix has, red above zero and blue below, the wider the stronger.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    value_RR : (R, R) float
        NaN for edges that are not drawn.
    regions : sequence of str
        Names.
    place_R3 : (R, 3) float or None
        Millimetres in MNI space. Without it, the regions stand on a ring, network by network.
    limit : float
        Value of the widest line, either way.
    title, quantity : str
        Heading, and what the lines show, with its unit.
    """
    known = np.ones(len(regions), dtype=bool) if place_R3 is None else np.isfinite(place_R3).all(axis=1)
    kept_RR = np.where(np.outer(known, known), value_RR, np.nan)
    first, second = np.nonzero(np.triu(np.isfinite(kept_RR), 1))
    value_E = kept_RR[first, second]
    with canvas(4.4, 4.4) as (figure, axes):
        if place_R3 is None:
            _ring(axes, first, second, value_E, regions, limit)
        else:
            axes.remove()
            joined = np.isfinite(kept_RR).any(axis=1)
            _glass_brain(figure, kept_RR[np.ix_(joined, joined)], place_R3[joined], limit)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        handles = [
            Line2D([], [], color=LESS, linewidth=_WIDEST, label=f"down to −{limit:.2g}"),
            Line2D([], [], color=MORE, linewidth=_WIDEST, label=f"up to +{limit:.2g}"),
        ]
        figure.legend(handles=handles, title=quantity, loc="outside lower center", ncols=2)
        order = np.argsort(-np.abs(value_E), kind="stable")[:3]
        named = "; ".join(f"{regions[first[e]]} with {regions[second[e]]} {value_E[e]:+.2g}" for e in order) or "none"
        where = (
            "on a ring of networks" if place_R3 is None else "on a glass brain seen from both sides, behind and above"
        )
        return to_svg(
            figure,
            name,
            f"{title}. {len(value_E)} connections {where}, {quantity}: {int((value_E > 0).sum())} above zero, "
            f"{int((value_E < 0).sum())} below. The strongest: {named}.",
        )


def _glass_brain(figure: Figure, value_RR: np.ndarray, place_R3: np.ndarray, limit: float) -> None:
    from matplotlib.colors import ListedColormap
    from nilearn.plotting import plot_connectome

    figure.set_layout_engine("none")
    value_RR = np.nan_to_num(value_RR)
    joined_R = np.abs(value_RR).sum(axis=1)
    for views, bottom in (("lr", 0.53), ("yz", 0.14)):
        display = plot_connectome(
            value_RR,
            place_R3,
            node_color=INK,
            node_size=4 + 36 * joined_R / max(joined_R.max(), 1e-9),
            edge_cmap=ListedColormap([LESS, MORE]),
            edge_vmin=-limit,
            edge_vmax=limit,
            display_mode=views,
            figure=figure,
            axes=(0.0, bottom, 1.0, 0.39),
            annotate=False,
            colorbar=False,
        )
        display.annotate(size=9, positions=False)
    for panel in figure.axes:
        panel.set_facecolor("none")
        for patch in panel.patches:  # the outlines, which nilearn draws in black and with identifiers of its own
            patch.set_gid(None)
            patch.set_edgecolor(QUIET)
        for text in panel.texts:
            text.set(color=QUIET, bbox=None)


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
    for network in starts:
        angles = angle_R[[region for region in order if networks[region] == network]]
        arc = np.linspace(angles.min(), angles.max(), 40)
        axes.plot(1.06 * np.sin(arc), 1.06 * np.cos(arc), color=QUIET, linewidth=2.5, solid_capstyle="butt")
        middle = float(angles.mean())
        side = "center" if abs(np.sin(middle)) < 0.2 else "left" if np.sin(middle) > 0 else "right"
        axes.text(1.12 * np.sin(middle), 1.12 * np.cos(middle), network, ha=side, va="center", fontsize=9)
    axes.set(xlim=(-1.42, 1.42), ylim=(-1.2, 1.2), aspect="equal")
    axes.set_axis_off()
