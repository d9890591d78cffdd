"""The quality page: who was left out and why, and how the figures of those who stayed are spread. One file, no network."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from dtb.cohort.quality import PersonQuality, RunQuality
from dtb.config import IngestConfig
from dtb.files import write_text

_NUM_BINS = 24
_SHARE = "share"
_INK = "#757d87"
_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Quality of the cohort</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #59636e; --line: #d0d7de; --ground: #ffffff; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --quiet: #a5b0bb; --line: #38424d; --ground: #0e1216; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--ground); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .8rem; text-align: left; }
img { border-radius: 6px; max-width: 100%; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .85rem; color: var(--quiet); max-width: 19rem; }
</style></head><body>
<h1>Quality of the cohort</h1>
<p>{{ kept }} of {{ total }} people can be used; {{ total - kept }} were set aside.
{{ num_left_out }} runs and {{ num_rows }} rows of events
of those who stayed were not used (left_out.tsv).</p>
{% if reasons %}<h2>Set aside</h2><div class="scroll" tabindex="0" role="region" aria-label="Set aside"><table>
<tr><th scope="col">people</th><th scope="col">reason</th></tr>
{% for reason, count in reasons %}<tr><td>{{ count }}</td><td>{{ reason }}</td></tr>{% endfor %}</table></div>{% endif %}
<h2>Those who stayed</h2><div class="figures">
{% for title, image, note in figures %}<figure><img src="data:image/png;base64,{{ image }}" alt="{{ title }}: {{ note }}" width="300">
<figcaption><b>{{ title }}.</b> {{ note }}</figcaption></figure>{% endfor %}</div>
<h2>Runs to look at</h2>
{% if flagged %}<div class="scroll" tabindex="0" role="region" aria-label="Runs to look at"><table>
<tr><th scope="col">person</th><th scope="col">run</th><th scope="col">right</th><th scope="col">by guessing</th>
<th scope="col">why</th></tr>
{% for person, run in flagged %}<tr><td>{{ person }}</td><td>{{ run.label }} {{ run.session }} {{ run.run }}</td>
<td>{{ "%.0f" | format(100 * run.accuracy) }}%</td>
<td>{{ "%.0f" | format(100 * run.chance) }}%</td>
<td>{{ run.flag }}</td></tr>{% endfor %}</table></div>
{% else %}<p>No run's answers are at or below chance.</p>{% endif %}
{% if icc %}<h2>Edges</h2><p>Over the rest runs of one person, an edge of one run has the intraclass correlation {{ icc }} (median, and the
middle half); test-retest and between-people standard deviations are in reliability.safetensors.</p>{% endif %}
<p>Every figure is in quality.tsv. People go by pseudonyms.
The page that <code>dtb report</code> makes links here. Research use only.</p></body></html>
"""


def write_quality(
    folder: Path,
    people: Sequence[tuple[str, PersonQuality]],
    quarantined: Sequence[tuple[str, str]],
    num_left_out: int,
    num_rows: int,
    icc_E: np.ndarray | None,
    config: IngestConfig,
) -> None:
    """Write `quality.tsv` and `quality.html`.

    Parameters
    ----------
    folder : Path
    people : sequence of (pseudonym, PersonQuality)
        Those who stayed.
    quarantined : sequence of (pseudonym, reason)
    num_left_out, num_rows : int
        Runs and rows of events that were not used.
    icc_E : (E,) float or None
        Intraclass correlation of each edge.
    config : IngestConfig
        Its limits are drawn.
    """
    _write_table(folder / "quality.tsv", people)
    runs = [(pseudonym, run) for pseudonym, person in people for run in person.runs]
    known = icc_E[np.isfinite(icc_E)] if icc_E is not None else np.zeros(0)
    quartiles = np.percentile(known, [25, 50, 75]) if len(known) else None
    page = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    text = page.render(
        kept=len(people),
        total=len(people) + len(quarantined),
        num_left_out=num_left_out,
        num_rows=num_rows,
        reasons=Counter(reason for _, reason in quarantined).most_common(),
        figures=_figures([person for _, person in people], [run for _, run in runs], config),
        flagged=[(pseudonym, run) for pseudonym, run in runs if run.flag],
        icc=None if quartiles is None else f"{quartiles[1]:.2f} ({quartiles[0]:.2f} to {quartiles[2]:.2f})",
    )
    write_text(folder / "quality.html", text)


def _write_table(path: Path, people: Sequence[tuple[str, PersonQuality]]) -> None:
    columns = [
        "pseudonym", "motion", "rest_seconds", "region_fraction", "task", "label", "session", "run", "num_trials", "num_usable",
        "omission_fraction", "accuracy", "chance", "flag", "median_rt", "rt_outlier_fraction", "num_volumes", "volumes_fraction",
    ]  # fmt: skip
    lines = ["\t".join(columns)]
    for pseudonym, person in people:
        for run in person.runs:
            values = {"pseudonym": pseudonym, **vars(person), **vars(run)}
            lines.append("\t".join(_cell(values[name]) for name in columns))
    write_text(path, "\n".join(lines) + "\n")


def _cell(value: object) -> str:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _figures(
    people: Sequence[PersonQuality], runs: Sequence[RunQuality], config: IngestConfig
) -> list[tuple[str, str, str]]:
    """Give title, picture and note of each distribution."""
    wanted: list[tuple[str, str, list[float], float | None]] = [
        ("Motion", "mm", [p.motion for p in people if p.motion is not None], config.max_motion_mm),
        ("Rest", "minutes", [p.rest_seconds / 60 for p in people], config.min_rest_seconds / 60),
        ("Regions present", _SHARE, [p.region_fraction for p in people], config.min_region_fraction),
    ]
    num_of_people = len(wanted)
    for task in dict.fromkeys(run.task for run in runs):
        own = [run for run in runs if run.task == task]
        chance = own[0].chance
        wanted += [
            (f"Right answers, {task}", f"{_SHARE} of presses", [run.accuracy for run in own], chance),
            (f"Median reaction time, {task}", "s", [run.median_rt for run in own], None),
            (
                f"Reaction times that are outliers, {task}",
                _SHARE,
                [run.rt_outlier_fraction for run in own],
                config.max_rt_outlier_fraction,
            ),
            (
                f"Volumes left, {task}",
                _SHARE,
                [run.volumes_fraction for run in own],
                config.min_volumes_fraction,
            ),
            (
                f"Trials without a press, {task}",
                _SHARE,
                [run.omission_fraction for run in own],
                config.max_omission_fraction,
            ),
        ]
    figures = []
    for place, (title, unit, values, limit) in enumerate(wanted):
        known = np.array([value for value in values if not math.isnan(value)])
        if len(known):
            drawn = None if limit is None or math.isnan(limit) else limit
            measure = "" if unit.startswith(_SHARE) else f" {unit}"
            note = f"Median {np.median(known):.3g}{measure}, from {known.min():.3g} to {known.max():.3g}, {len(known)} in all."
            note += "" if drawn is None else f" Dashed: {drawn:.3g}."
            each = "people" if place < num_of_people else "runs"
            figures.append((title, _histogram(known, unit, each, drawn), note))
    return figures


def _histogram(values: np.ndarray, unit: str, each: str, limit: float | None) -> str:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(3.2, 2.1), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.hist(values, bins=_NUM_BINS, range=(0, 1) if unit.startswith(_SHARE) else None, color="#4a86c5")
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
