"""One person's change of the connectome: on a brain before, after and in between, as a matrix, and as rankings of edges, regions and
networks.

Shape letters: `R` region, `E` connectome edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtb.fleet.rankings import rank_networks, rank_regions
from dtb.people.networks import network_of, tell_networks
from dtb.people.records import matrix_from_edges, num_regions_of
from dtb.report.brain import edges_on_ring, strongest
from dtb.report.collected import Collected, Interventions, People
from dtb.report.figures import changes, matrices
from dtb.report.maps import Brain, edge_map, limit_of, region_map, values_of
from dtb.report.parts import Panel, Section, Table
from dtb.report.style import task_colour

_EDGES_DRAWN = 40
_ROWS_SHOWN = 8


def change_sections(
    interventions: Interventions, pseudonym: str, found: Collected, brain: Brain | None
) -> list[Section]:
    """Return the sections on one person's change: on the brain, as rankings, and network by network; or why there is none."""
    section = Section("person-change", f"The change for {pseudonym}")
    try:
        change_E = interventions.change_of(pseudonym)
    except (OSError, ValueError, KeyError) as error:
        return [
            dataclasses.replace(section, missing=[f"The change of this person's connectome cannot be read: {error}"])
        ]
    if change_E is None:
        reason = (
            f"There is no change to show for {pseudonym}: the search did not succeed for them, or did not come to them."
        )
        return [dataclasses.replace(section, missing=[reason])]
    change_E = np.nan_to_num(change_E)
    names: Sequence[str] = [f"region {index + 1}" for index in range(num_regions_of(len(change_E)))]
    if isinstance(found.people, People) and len(found.people.manifest.description.regions) == len(names):
        names = found.people.manifest.description.regions
    base_E = interventions.base_of(pseudonym)
    matrix = matrices.matrix(
        "intervention-change",
        matrix_from_edges(change_E, diagonal=np.nan),
        regions=names,
        limit=_limit(change_E),
        title="All edges",
        quantity="change of correlation",
    )
    panels = [
        *_strength_maps("strength", change_E, base_E, brain, by_network=False),
        *_brain_panels(change_E, base_E, names, brain),
        Panel(matrix, "What was added to the connectome."),
        *_front_panels(interventions, pseudonym),
    ]
    sections = [dataclasses.replace(section, panels=panels, tables=_tables(change_E, names))]
    if contrasts := _contrast_maps(interventions, pseudonym, brain):
        sections.append(Section("change-contrasts", "Its BOLD contrasts, before and after", panels=contrasts))
    if tell_networks(names) and (networks := _strength_maps("networks", change_E, base_E, brain, by_network=True)):
        sections.append(Section("change-networks", "The same, network by network", panels=networks))
    return sections


def _strength_maps(
    name: str, change_E: np.ndarray, base_E: np.ndarray | None, brain: Brain | None, *, by_network: bool
) -> list[Panel]:
    """Draw each region's mean correlation with all others before the change, after it, and the difference."""
    if brain is None or num_regions_of(len(change_E)) != len(brain.regions):
        return []
    network_R = np.array([network_of(region) for region in brain.regions])

    def strength(values_E: np.ndarray) -> np.ndarray:
        value_R = np.nanmean(matrix_from_edges(values_E, diagonal=np.nan), axis=0)
        if not by_network:
            return value_R
        means = {network: value_R[network_R == network].mean() for network in np.unique(network_R)}
        return np.array([means[network] for network in network_R])

    moved_R = strength(change_E)
    told = [("difference", moved_R, "mean change of r", limit_of(moved_R))]
    if base_E is not None:
        before_R = strength(base_E)
        limit = limit_of(np.concatenate([before_R, before_R + moved_R]))
        told = [("before", before_R, "mean r", limit), ("after", before_R + moved_R, "mean r", limit), *told]
    what = "Networks" if by_network else "Strength"
    captions = {
        "before": "Mean correlation with all other regions" + (", averaged over each network." if by_network else ".")
    }
    return [
        Panel(
            region_map(
                f"{name}-{place}", value_R, brain, limit=limit, title=f"{what}, {when}", quantity=quantity, decimals=3
            ),
            captions.get(when, ""),
            new_row=not place,
        )
        for place, (when, value_R, quantity, limit) in enumerate(told)
    ]


def _contrast_maps(interventions: Interventions, pseudonym: str, brain: Brain | None) -> list[Panel]:
    """Draw the twin's contrast of each task before the change, after it, and the difference, where the search looked at all regions."""
    rows = interventions.results
    if brain is None or "region" not in rows:
        return []
    rows = rows[(rows["pseudonym"].astype(str) == pseudonym) & rows["region"].isin(list(brain.regions))]
    panels = []
    for index, (task, some) in enumerate(rows.drop_duplicates(["task", "region"]).groupby("task", sort=False)):
        before_R, after_R = (values_of(some, column, brain.regions) for column in ("before", "after"))
        limit, apart_R = limit_of(np.concatenate([before_R, after_R])), after_R - before_R
        told = (("before", before_R, limit), ("after", after_R, limit), ("difference", apart_R, limit_of(apart_R)))
        panels += [
            Panel(
                region_map(
                    f"contrast-{index}-{place}",
                    value_R,
                    brain,
                    limit=most,
                    title=f"{task}, {when}",
                    quantity="contrast",
                ),
                "",
                new_row=not place,
            )
            for place, (when, value_R, most) in enumerate(told)
        ]
    return panels


def _front_panels(interventions: Interventions, pseudonym: str) -> list[Panel]:
    front = interventions.front_of(pseudonym)
    if front.empty:
        return []
    svg = changes.front(
        "change-front",
        front[["target_gain", "second_gain"]].to_numpy(float),
        front["on_front"].to_numpy(bool),
        front["second_share"].to_numpy(float),
        colour=task_colour(0),
    )
    caption = (
        "The search with the second aim (`intervene.against`) at each of these shares; gains in SD between people."
    )
    return [Panel(svg, caption)]


def _brain_panels(
    change_E: np.ndarray, base_E: np.ndarray | None, names: Sequence[str], brain: Brain | None
) -> list[Panel]:
    """Draw the edges that change most: the change and, if the original correlations are known, before and after."""
    kept_RR = strongest(matrix_from_edges(change_E, diagonal=0.0), _EDGES_DRAWN)
    is_kept_RR = np.isfinite(kept_RR)
    num_edges = int(is_kept_RR.sum()) // 2
    glass = brain if brain is not None and brain.place_R3 is not None and len(brain.regions) == len(names) else None
    where = (
        ""
        if glass is not None
        else f" Regions stand on a ring{' by network' if tell_networks(names) else ''}; with `dtb report --atlas`, in a brain."
    )
    total = float(np.sum(change_E**2)) or 1.0
    share = float(np.nansum(kept_RR**2)) / 2 / total
    caption = (
        f"The {num_edges} edges of {len(change_E):,} that change most carry {share:.1%} of the squared change.{where}"
    )
    told = [("Edges, difference", kept_RR, "change of r", _limit(change_E), caption)]
    if base_E is not None:
        told = [
            (
                f"Edges, {when}",
                np.where(is_kept_RR, matrix_from_edges(values_E, diagonal=np.nan), np.nan),
                "correlation r",
                1.0,
                "",
            )
            for when, values_E in (("before", base_E), ("after", base_E + change_E))
        ] + told
    panels = []
    for place, (title, value_RR, quantity, limit, words) in enumerate(told):
        svg = (
            edges_on_ring(f"edges-{place}", value_RR, names, limit=limit, title=title, quantity=quantity)
            if glass is None
            else edge_map(f"edges-{place}", value_RR, glass, limit=limit, title=title, quantity=quantity)
        )
        panels.append(Panel(svg, words, new_row=not place))
    return panels


def _tables(change_E: np.ndarray, names: Sequence[str]) -> list[Table]:
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(-np.abs(change_E), kind="stable")[:_ROWS_SHOWN]
    share = float(np.sum(change_E[order] ** 2)) / (float(np.sum(change_E**2)) or 1.0)
    made = [
        Table(
            f"The {len(order)} edges that change most ({share:.1%} of the squared change)",
            ("region", "region", "change of r"),
            [(names[first[edge]], names[second[edge]], _signed(change_E[edge])) for edge in order],
            frozenset({2}),
            is_folded=True,
        )
    ]
    regions = rank_regions(["p"], change_E[None], names).slice(0, _ROWS_SHOWN).to_pylist()
    networks = rank_networks(["p"], change_E[None], names).slice(0, _ROWS_SHOWN).to_pylist()
    told = [
        ("region", [row["region"] for row in regions]),
        *([("network", [row["network"] for row in regions])] if tell_networks(names) else []),
        ("share of the squared change", [f"{row['share']:.1%}" for row in regions]),
        ("change of strength", [_signed(row["strength_change"]) for row in regions]),
    ]
    made.append(
        Table(
            "The regions at whose edges most changes",
            tuple(heading for heading, _ in told),
            list(zip(*(cells for _, cells in told), strict=True)),
            frozenset({len(told) - 2, len(told) - 1}),
            is_folded=True,
        )
    )
    if tell_networks(names):
        made.append(
            Table(
                "The networks between which most changes",
                ("network", "network", "share of the squared change", "mean change of r"),
                [
                    (row["network"], row["other"], f"{row['share']:.1%}", _signed(row["mean_change"]))
                    for row in networks
                ],
                frozenset({2, 3}),
                is_folded=True,
            )
        )
    return made


def _limit(change_E: np.ndarray) -> float:
    return float(np.abs(change_E).max(initial=0.0)) or 1.0


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
