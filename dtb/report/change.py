"""One person's change of the connectome: on a brain before and after, as a matrix, and as rankings of edges, regions and networks.

Shape letters: `R` region, `E` connectome edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtb.fleet.rankings import rank_networks, rank_regions
from dtb.people.records import matrix_from_edges, num_regions_of
from dtb.report import figures
from dtb.report.brain import edges_on_brain, strongest
from dtb.report.collected import Collected, Interventions, People
from dtb.report.parts import Panel, Table
from dtb.report.style import task_colour

_EDGES_DRAWN = 40
_ROWS_SHOWN = 10


def add_change(
    interventions: Interventions,
    pseudonym: str,
    found: Collected,
    panels: list[Panel],
    tables: list[Table],
    missing: list[str],
) -> None:
    """Add one person's change to a section's parts, or why there is none."""
    try:
        change_E = interventions.change_of(pseudonym)
    except (OSError, ValueError, KeyError) as error:
        missing.append(f"The change of this person's connectome cannot be read: {error}")
        return
    if change_E is None:
        missing.append(
            f"There is no change to show for {pseudonym}: the search did not succeed for them, or did not come to them."
        )
        return
    change_E = np.nan_to_num(change_E)
    names: Sequence[str] = [f"region {index + 1}" for index in range(num_regions_of(len(change_E)))]
    places_R3 = None
    if isinstance(found.people, People) and len(found.people.manifest.description.regions) == len(names):
        names, places_R3 = found.people.manifest.description.regions, found.places_R3
    panels += _brain_panels(pseudonym, change_E, interventions.base_of(pseudonym), names, places_R3)
    change_RR = matrix_from_edges(change_E, diagonal=np.nan)
    panels.append(
        Panel(
            figures.matrix(
                "intervention-change",
                change_RR,
                regions=names,
                limit=_limit(change_E),
                title="The change, as a matrix",
                quantity="change of correlation",
            ),
            f"{pseudonym}: what was added to the connectome, all edges.",
        )
    )
    tables += _tables(pseudonym, change_E, names)
    panels += _front_panels(interventions, pseudonym)


def _front_panels(interventions: Interventions, pseudonym: str) -> list[Panel]:
    front = interventions.front_of(pseudonym)
    if front.empty:
        return []
    svg = figures.front(
        "change-front",
        front[["target_gain", "second_gain"]].to_numpy(float),
        front["on_front"].to_numpy(bool),
        front["second_share"].to_numpy(float),
        colour=task_colour(0),
    )
    caption = (
        f"{pseudonym}: the search was done again with the second aim (`intervene.against`) at each of these shares. Gains are in standard "
        "deviations between people, positive the wanted way."
    )
    return [Panel(svg, caption)]


def _brain_panels(
    pseudonym: str, change_E: np.ndarray, base_E: np.ndarray | None, names: Sequence[str], places_R3: np.ndarray | None
) -> list[Panel]:
    """Draw the edges that change most: the change and, if the original correlations are known, before and after."""
    kept_RR = strongest(matrix_from_edges(change_E, diagonal=0.0), _EDGES_DRAWN)
    is_kept_RR = np.isfinite(kept_RR)
    num_edges = int(is_kept_RR.sum()) // 2
    where = (
        ""
        if places_R3 is not None
        else " Regions stand on a ring by network; with `report.atlas`, they stand in a brain."
    )
    svg = edges_on_brain(
        "change-brain",
        kept_RR,
        names,
        places_R3,
        limit=_limit(change_E),
        title="The change",
        quantity="change of r",
    )
    total = float(np.sum(change_E**2)) or 1.0
    share = float(np.nansum(kept_RR**2)) / 2 / total
    caption = (
        f"{pseudonym}: by how much they change; red edges grow, blue ones shrink. These {num_edges} edges of {len(change_E):,} carry "
        f"{share:.1%} of the squared change."
    )
    change = Panel(svg, caption + where, new_row=base_E is None)
    if base_E is None:
        return [change]
    drawn: list[Panel] = []
    for title, values_E in (("Before", base_E), ("After", base_E + change_E)):
        value_RR = np.where(is_kept_RR, matrix_from_edges(values_E, diagonal=np.nan), np.nan)
        svg = edges_on_brain(
            f"{title.lower()}-brain", value_RR, names, places_R3, limit=1.0, title=title, quantity="correlation r"
        )
        caption = f"{pseudonym}: the {num_edges} edges that the search changes most, {title.lower()} the change."
        drawn.append(Panel(svg, caption, new_row=not drawn))
    return [*drawn, change]


def _tables(pseudonym: str, change_E: np.ndarray, names: Sequence[str]) -> list[Table]:
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(-np.abs(change_E), kind="stable")[:_ROWS_SHOWN]
    share = float(np.sum(change_E[order] ** 2)) / (float(np.sum(change_E**2)) or 1.0)
    edges = Table(
        f"{pseudonym}: the {len(order)} edges that change most ({share:.1%} of the squared change)",
        ("region", "region", "change of correlation"),
        [(names[first[edge]], names[second[edge]], _signed(change_E[edge])) for edge in order],
        frozenset({2}),
    )
    regions = rank_regions([pseudonym], change_E[None], names).slice(0, _ROWS_SHOWN).to_pylist()
    networks = rank_networks([pseudonym], change_E[None], names).slice(0, _ROWS_SHOWN).to_pylist()
    made = [
        edges,
        Table(
            f"{pseudonym}: the regions at whose edges most changes",
            ("region", "network", "share of the squared change", "change of strength"),
            [
                (row["region"], row["network"], f"{row['share']:.1%}", _signed(row["strength_change"]))
                for row in regions
            ],
            frozenset({2, 3}),
        ),
    ]
    if len({row["network"] for row in networks}) > 1:
        made.append(
            Table(
                f"{pseudonym}: the networks between which most changes",
                ("network", "network", "share of the squared change", "mean change of correlation"),
                [
                    (row["network"], row["other"], f"{row['share']:.1%}", _signed(row["mean_change"]))
                    for row in networks
                ],
                frozenset({2, 3}),
            )
        )
    return made


def _limit(change_E: np.ndarray) -> float:
    return float(np.abs(change_E).max(initial=0.0)) or 1.0


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
