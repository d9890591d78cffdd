"""Maps of the brain: a number of each region as the colour of the cortex, seen from four sides, and of discs for the subcortex.

A map refers to outlines and light that a page has once (`map_parts`). Every region tells its name and value when it is pointed at, and
colours follow the page. In print they stay.

Shape letters: `R` region.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from dtb.report.style import or_words
from dtb.report.surface import GLASS, MEDIAL, OUTSIDE, outlines, view

LEVELS = 10
"""Shades on either side of zero; the style sheet has a class for each."""
_GAP, _TOP, _INSET, _BAR = 16, 44, 150, 250
_PREFIX = re.compile(r"^(?:Schaefer2018_)?(?:\d+Networks_)?|^FreeSurfer_")


@dataclasses.dataclass(frozen=True, eq=False)
class Brain:
    """Where a cohort's regions are seen.

    Attributes
    ----------
    regions : sequence of str
    paths : dict of str to dict of int to str
        For each view of a hemisphere, the outline of each region.
    place_R3 : (R, 3) float or None
        Millimetres in MNI space.
    beneath : dict of int to (float, float)
        Places, 0 to 1 from the left and from the front, of the regions that no side shows.
    """

    regions: Sequence[str]
    paths: Mapping[str, Mapping[int, str]]
    place_R3: np.ndarray | None
    beneath: Mapping[int, tuple[float, float]]


def brain_of(regions: Sequence[str], place_R3: np.ndarray | None) -> Brain | None:
    """Return where the regions are seen; None where it is not known where they lie."""
    paths = outlines(regions, place_R3)
    if paths is None:
        return None
    shown = {region for side in paths.values() for region in side}
    beneath: dict[int, tuple[float, float]] = {}
    if place_R3 is not None:
        hidden = [place for place in range(len(regions)) if place not in shown and np.isfinite(place_R3[place]).all()]
        reach = max((float(np.abs(place_R3[hidden, :2] - [0.0, -10.0]).max()) if hidden else 1.0), 1.0)
        for place in hidden:
            x, y = place_R3[place, 0] / reach, (place_R3[place, 1] + 10.0) / reach
            beneath[place] = (0.5 + x / 2, 0.5 - y / 2)
    return Brain(regions, paths, place_R3, beneath)


def map_parts(brain: Brain | None) -> Markup:
    """Return what all maps of a page refer to; nothing where there can be none."""
    if brain is None:
        return Markup("")
    parts = []
    for name in (*OUTSIDE, *MEDIAL, *GLASS):
        side, (width, height) = view(name), view(name).size
        parts.append(f'<path id="all-{side.name}" d="{side.outline}"/>')
        paths = brain.paths.get(name, {})
        parts += [f'<path id="{_identifier(side.name, region)}" d="{path}"/>' for region, path in paths.items()]
        parts.append(
            f'<image id="light-{side.name}" width="{width}" height="{height}" href="data:image/png;base64,{side.light}"/>'
        )
    return Markup(
        f'<svg class="parts" aria-hidden="true" focusable="false" width="0" height="0"><defs>{"".join(parts)}</defs></svg>'
    )


def _heading(title: str) -> str:
    return f'<text class="title" x="0" y="26">{escape(title)}</text>' if title else ""


@or_words
def region_map(
    name: str,
    value_R: np.ndarray,
    brain: Brain,
    *,
    limit: float,
    title: str,
    quantity: str,
    decimals: int = 2,
    views: Sequence[str] = (*OUTSIDE, *MEDIAL),
) -> Markup:
    """Draw a number of each region on the brain, red above zero and blue below.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    value_R : (R,) float
        NaN for regions without a number, which stay grey.
    brain : Brain
    limit : float
        Value of the strongest shade, either way.
    title, quantity : str
        Heading, and what the numbers are, with their unit.
    decimals : int
        Of the values that are told.
    views : sequence of str
        Sides that are drawn, two in a row.
    """
    rows = [[view(one) for one in views[place : place + 2]] for place in range(0, len(views), 2)]
    width = sum(side.size[0] for side in rows[0]) + _GAP
    drawn, top = [_heading(title)], _TOP if title else 0
    for row in rows:
        left = 0
        for side in row:
            cells = "".join(
                f'<use href="#{_identifier(side.name, region)}" class="{_shade(value_R[region], limit)}">'
                f"<title>{_told(brain.regions[region], value_R[region], decimals)}</title></use>"
                for region in brain.paths[side.name]
            )
            drawn.append(
                f'<g transform="translate({left},{top})"><use href="#all-{side.name}" class="none"/>{cells}'
                f'<use href="#light-{side.name}" class="light"/></g>'
            )
            left += side.size[0] + _GAP
        top += max(side.size[1] for side in row) + _GAP
    foot = top
    for region, (x, y) in brain.beneath.items():
        drawn.append(
            f'<circle cx="{20 + x * _INSET:.0f}" cy="{foot + y * _INSET * 0.72:.0f}" r="11" class="{_shade(value_R[region], limit)}">'
            f"<title>{_told(brain.regions[region], value_R[region], decimals)}</title></circle>"
        )
    if brain.beneath:
        drawn.append(f'<text class="small" x="{40 + _INSET}" y="{foot + 20}">subcortex, from above</text>')
    drawn.append(_bar(width - 2 * _BAR, foot + 52, limit, quantity))
    known = np.flatnonzero(np.isfinite(value_R))
    order = known[np.argsort(-np.abs(value_R[known]), kind="stable")][:3]
    named = "; ".join(_told(brain.regions[region], value_R[region], decimals) for region in order) or "none"
    alt = f"{title}: {quantity} of {len(known)} regions on the brain. The largest: {named}."
    return Markup(
        f'<svg class="figure map" id="{name}" role="img" aria-label="{escape(alt)}" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width} {foot + 118}">{"".join(drawn)}</svg>'
    )


@or_words
def edge_map(
    name: str, value_RR: np.ndarray, brain: Brain, *, limit: float, title: str, quantity: str, decimals: int = 3
) -> Markup:
    """Draw edges in a brain of glass, red above zero and blue below, the wider the stronger.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    value_RR : (R, R) float
        NaN for edges that are not drawn.
    brain : Brain
        With the places of the regions.
    limit : float
        Value of the widest line, either way.
    title, quantity : str
        Heading, and what the lines are, with their unit.
    decimals : int
        Of the values that are told.
    """
    assert brain.place_R3 is not None, "who draws edges knows where regions lie"
    known_R = np.isfinite(brain.place_R3).all(axis=1)
    first, second = np.nonzero(np.triu(np.isfinite(value_RR) & np.outer(known_R, known_R), 1))
    order = np.argsort(np.abs(value_RR[first, second]), kind="stable")
    edges = list(zip(first[order].tolist(), second[order].tolist(), strict=True))
    width = sum(view(one).size[0] for one in GLASS) + _GAP
    drawn, left = [_heading(title)], 0
    for side in map(view, GLASS):
        seen_R2 = side.places(np.nan_to_num(brain.place_R3))
        lines = "".join(
            f'<line x1="{seen_R2[one, 0]:.0f}" y1="{seen_R2[one, 1]:.0f}" x2="{seen_R2[other, 0]:.0f}" y2="{seen_R2[other, 1]:.0f}" '
            f'class="{"more" if value_RR[one, other] > 0 else "less"}" '
            f'stroke-width="{1.5 + 7 * min(abs(value_RR[one, other]) / limit, 1.0):.1f}"><title>'
            f"{_named(brain.regions[one])} with {_told(brain.regions[other], value_RR[one, other], decimals)}</title></line>"
            for one, other in edges
        )
        ends = "".join(
            f'<circle cx="{seen_R2[region, 0]:.0f}" cy="{seen_R2[region, 1]:.0f}" r="6">'
            f"<title>{_named(brain.regions[region])}</title></circle>"
            for region in sorted({region for edge in edges for region in edge})
        )
        drawn.append(
            f'<g transform="translate({left},{_TOP})"><use href="#all-{side.name}" class="glass"/><use href="#light-{side.name}" '
            f'class="light glass"/>{lines}{ends}</g>'
        )
        left += side.size[0] + _GAP
    foot = _TOP + max(view(one).size[1] for one in GLASS)
    words = (("less", f"down to −{limit:.2g}"), ("more", f"up to +{limit:.2g}"))
    left = 0
    for kind, text in words:
        drawn.append(
            f'<line x1="{left}" x2="{left + 50}" y1="{foot + 28}" y2="{foot + 28}" class="{kind}" stroke-width="7"/>'
            f'<text class="small" x="{left + 62}" y="{foot + 37}">{text}</text>'
        )
        left += 80 + 15 * len(text)
    drawn.append(f'<text class="small" x="{width}" y="{foot + 37}" text-anchor="end">{escape(quantity)}</text>')
    above = sum(value_RR[one, other] > 0 for one, other in edges)
    named = "; ".join(
        f"{_named(brain.regions[one])} with {_told(brain.regions[other], value_RR[one, other], decimals)}"
        for one, other in edges[:-4:-1]
    )
    alt = (
        f"{title}. {len(edges)} connections on a glass brain from the right and from above, {quantity}: {above} above zero, "
        f"{len(edges) - above} below. The strongest: {named or 'none'}."
    )
    return Markup(
        f'<svg class="figure map" id="{name}" role="img" aria-label="{escape(alt)}" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width} {foot + 54}">{"".join(drawn)}</svg>'
    )


def values_of(rows: pd.DataFrame, column: str, regions: Sequence[str]) -> np.ndarray:
    """Return a column of a table with a row a region, in the order of the cohort's regions; NaN for a region without a row."""
    return rows.set_index("region")[column].reindex(list(regions)).to_numpy(float)


def limit_of(value_R: np.ndarray) -> float:
    """Return the value of the strongest shade of a map: what one region in fifty exceeds."""
    known = np.abs(value_R[np.isfinite(value_R)])
    return (float(np.quantile(known, 0.98)) if len(known) else 0.0) or 1.0


def _identifier(side: str, region: int) -> str:
    return f"r-{side}-{region}"


def _shade(value: float, limit: float) -> str:
    if not np.isfinite(value):
        return "none"
    level = int(np.clip(round(LEVELS * value / limit), -LEVELS, LEVELS)) if limit > 0 else 0
    return f"v{level}" if level >= 0 else f"v-{-level}"


def _told(region: str, value: float, decimals: int) -> str:
    said = f"{value:+.{decimals}f}".replace("-", "−") if np.isfinite(value) else "no value"
    return f"{_named(region)}: {said}"


def plain_region(region: str) -> str:
    """Return a region's name for a reader.

    Examples
    --------
    >>> plain_region("Schaefer2018_17Networks_LH_VisCent_ExStr_1")
    'LH VisCent ExStr 1'
    """
    return _PREFIX.sub("", region).replace("_", " ")


def _named(region: str) -> str:
    return str(escape(plain_region(region)))


def _bar(left: float, top: float, limit: float, quantity: str) -> str:
    """Return the legend: all shades, with the numbers of the ends."""
    width = 2 * _BAR / (2 * LEVELS + 1)
    cells = [
        f'<rect x="{left + place * width:.1f}" y="{top}" width="{width + 0.5:.1f}" height="16" class="{_shade(level, LEVELS)}"/>'
        for place, level in enumerate(range(-LEVELS, LEVELS + 1))
    ]
    words = (("start", 0.0, f"−{limit:.2g}"), ("middle", float(_BAR), "0"), ("end", 2.0 * _BAR, f"+{limit:.2g}"))
    ends = [
        f'<text class="small" x="{left + x:.0f}" y="{top + 40}" text-anchor="{at}">{text}</text>'
        for at, x, text in words
    ]
    said = f'<text class="small" x="{left + 2 * _BAR}" y="{top - 12}" text-anchor="end">{escape(quantity)}</text>'
    return f'<g class="bar">{"".join([*cells, *ends, said])}</g>'
