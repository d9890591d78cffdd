"""The quality page: who was left out and why, and the distributions of quality figures. One file, no network."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dtb.cohort.lost_trials import MANY, lost_by_reason, who_lost_many
from dtb.cohort.quality import PersonQuality, RunQuality
from dtb.config import IngestConfig
from dtb.files import write_table, write_text
from dtb.pages.render import PageLink, render

PAGE = "quality.html"
_NUM_BINS = 24
_SAME = 1e-9  # range of values that are equal but for rounding, relative to them
_SHARE = "share"
_INK = "#757d87"


@dataclasses.dataclass(frozen=True)
class SetAside:
    """A person who was set aside.

    Attributes
    ----------
    pseudonym : str
    reason : str
    kind : str
        The kind of reason: the same words for everybody of the kind, without their own figures.
    """

    pseudonym: str
    reason: str
    kind: str


def commonest(quarantined: Sequence[SetAside]) -> list[tuple[str, int, str]]:
    """Return each kind of reason, its number of people, and the reason of the first of them; the most common first."""
    example = {each.kind: each.reason for each in reversed(quarantined)}
    return [(kind, count, example[kind]) for kind, count in Counter(each.kind for each in quarantined).most_common()]


def write_quality_page(
    folder: Path,
    people: Sequence[tuple[str, PersonQuality]],
    quarantined: Sequence[SetAside],
    num_left_out: int,
    num_rows: int,
    icc_E: np.ndarray | None,
    coverage_R: np.ndarray,
    config: IngestConfig,
) -> None:
    """Write `quality.html`.

    Parameters
    ----------
    folder : Path
    people : sequence of (pseudonym, PersonQuality)
        People who were kept, and people set aside whose rest could be read.
    quarantined : sequence of SetAside
    num_left_out, num_rows : int
        Runs and rows of events that were not used.
    icc_E : (E,) float or None
        Intraclass correlation of each edge.
    coverage_R : (R,) float
        Mean share of each region that images cover; NaN where nothing says it.
    config : IngestConfig
        Its limits are drawn.
    """
    runs = [
        (pseudonym, run, not person.set_aside and not run.left_out)
        for pseudonym, person in people
        for run in person.runs
    ]
    known = icc_E[np.isfinite(icc_E)] if icc_E is not None else np.zeros(0)
    quartiles = np.percentile(known, [25, 50, 75]) if len(known) else None
    kept = sum(not person.set_aside for _, person in people)
    text = render(
        "quality",
        links=[PageLink("Data quality", PAGE)],
        here=PAGE,
        kept=kept,
        total=kept + len(quarantined),
        num_shown_aside=sum(bool(person.set_aside) for _, person in people),
        num_runs_aside=sum(not used for _, _, used in runs),
        num_left_out=num_left_out,
        num_rows=num_rows,
        reasons=[(kind, num, "" if one == kind else one) for kind, num, one in commonest(quarantined)],
        lost=lost_by_reason(people),
        losers=[
            (who, task, num, total, f"{num / total:.1%}", reason)
            for who, task, num, total, reason in who_lost_many(people)
        ],
        many=f"{MANY:.0%}",
        figures=_figures([person for _, person in people], [(run, used) for _, run, used in runs], coverage_R, config),
        has_answers=any(not math.isnan(run.accuracy) for _, run, _ in runs),
        flagged=[
            (who, _run_name(run), f"{run.accuracy:.0%}", f"{run.chance:.0%}", run.flag)
            for who, run, used in runs
            if run.flag and used
        ],
        icc=None if quartiles is None else f"{quartiles[1]:.2f} ({quartiles[0]:.2f} to {quartiles[2]:.2f})",
    )
    write_text(folder / PAGE, text)


def write_quality_table(folder: Path, people: Sequence[tuple[str, PersonQuality]]) -> None:
    """Write `quality.tsv`, a row for each run of everybody whose rest could be read."""
    columns = [
        "pseudonym", "set_aside", "motion", "rest_seconds", "rest_volumes_fraction", "region_fraction",
        "task", "label", "session", "run", "num_trials", "num_usable",
        "omission_fraction", "commission_fraction", "d_prime", "late_fraction", "num_unseen", "accuracy",
        "chance", "flag", "median_rt", "rt_outlier_fraction", "num_volumes", "volumes_fraction",
        "left_out",
    ]  # fmt: skip
    rows = [columns]
    for pseudonym, person in people:
        for run in person.runs or (None,):
            own = {} if run is None else {**vars(run), "late_fraction": run.late_fraction}
            values = {"pseudonym": pseudonym, **vars(person), **own}
            rows.append([_cell(values.get(name)) for name in columns])
    write_table(folder / "quality.tsv", rows)


def _run_name(run: RunQuality) -> str:
    return " ".join(filter(None, (run.label, run.session, run.run)))


def _cell(value: object) -> str:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _figures(
    people: Sequence[PersonQuality],
    runs: Sequence[tuple[RunQuality, bool]],
    coverage_R: np.ndarray,
    config: IngestConfig,
) -> list[tuple[str, str, str]]:
    """Return title, picture and note of each distribution, those who were set aside and runs that were left out included."""
    stayed = [not person.set_aside for person in people]
    wanted: list[tuple[str, str, list[float], list[bool], float | None]] = [
        ("Motion", "mm", [math.nan if p.motion is None else p.motion for p in people], stayed, config.max_motion_mm),
        ("Rest", "minutes", [p.rest_seconds / 60 for p in people], stayed, config.min_rest_seconds / 60),
        (
            "Share of volumes left, rest",
            _SHARE,
            [p.rest_volumes_fraction for p in people],
            stayed,
            config.min_volumes_fraction,
        ),
        ("Regions present", _SHARE, [p.region_fraction for p in people], stayed, config.min_region_fraction),
        (
            "Regions' mean coverage at rest",
            f"{_SHARE} of the region",
            coverage_R.tolist(),
            [True] * len(coverage_R),
            config.min_parcel_coverage,
        ),
    ]
    num_of_people = len(wanted) - 1
    for task in dict.fromkeys(run.task for run, _ in runs):
        own = [run for run, _ in runs if run.task == task]
        used = [is_used for run, is_used in runs if run.task == task]
        chance = next((run.chance for run in own if not math.isnan(run.chance)), None)
        measures: list[tuple[str, str, list[float], float | None]] = [
            ("Right answers", f"{_SHARE} of answers", [run.accuracy for run in own], chance),
            ("Median reaction time", "s", [run.median_rt for run in own], None),
            (
                "Reaction times that are outliers",
                _SHARE,
                [run.rt_outlier_fraction for run in own],
                config.max_rt_outlier_fraction,
            ),
            ("Share of volumes left", _SHARE, [run.volumes_fraction for run in own], config.min_volumes_fraction),
            ("Trials without a press", _SHARE, [run.omission_fraction for run in own], config.max_omission_fraction),
            ("Presses where none was right", _SHARE, [run.commission_fraction for run in own], None),
            ("d' of pressing", "", [run.d_prime for run in own], None),
        ]
        if any(run.num_late for run in own):
            late = [run.late_fraction for run in own]
            measures.append(("Presses lost after the window", _SHARE, late, config.max_late_fraction))
        wanted += [(f"{title}, {task}", unit, values, used, limit) for title, unit, values, limit in measures]
    figures = []
    for place, (title, unit, values, is_used, limit) in enumerate(wanted):
        shown, aside = (
            np.array(
                [value for value, used in zip(values, is_used, strict=True) if used == which and not math.isnan(value)]
            )
            for which in (True, False)
        )
        both = np.concatenate([shown, aside])
        if len(both):
            measure = "" if unit.startswith(_SHARE) else f" {unit}"
            note = (
                f"Median {np.median(both):.3g}{measure}, from {both.min():.3g} to {both.max():.3g}, {len(both)} in all."
            )
            note += f" Grey: {len(aside)} not used." if len(aside) else ""
            note += "" if limit is None else f" Dashed: {limit:.3g}."
            each = "people" if place < num_of_people else "regions" if place == num_of_people else "runs"
            figures.append((title, _histogram(shown, aside, unit, each, limit), note))
    return figures


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the range of the bins: as wide as the values, or one around values that are all the same but for rounding."""
    lowest, highest = float(values.min()), float(values.max())
    largest = max(abs(lowest), abs(highest))
    if highest - lowest > _SAME * largest:
        return lowest, highest
    half = 0.5 * max(largest, 1.0)
    return lowest - half, highest + half


def _histogram(shown: np.ndarray, aside: np.ndarray, unit: str, each: str, limit: float | None) -> str:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(3.2, 2.1), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.hist(
        [shown, aside],
        bins=_NUM_BINS,
        range=(0, 1) if unit.startswith(_SHARE) else _range(np.concatenate([shown, aside])),
        color=["#4a86c5", "#8c8c8c"],
        stacked=True,
    )
    if limit is not None:
        axes.axvline(limit, color="#d0473a", linestyle="--", linewidth=1)
    # The ground is the page's own, light or dark: the ink stands out from both.
    axes.set_xlabel(unit, color=_INK)
    axes.set_ylabel(each, color=_INK)
    axes.tick_params(colors=_INK)
    axes.spines[:].set_color(_INK)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", transparent=True)
    return base64.b64encode(stream.getvalue()).decode()
