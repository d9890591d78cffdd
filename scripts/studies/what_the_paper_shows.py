"""Write docs/what-the-paper-shows.md and its two pictures from the open events of the paper's cohort.

    python scripts/studies/what_the_paper_shows.py TCP [DOCS]

TCP is the BIDS tree of OpenNeuro ds005237 (events and participants.tsv are enough), DOCS the folder to write into (docs).
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from dtb import terminal
from dtb.errors import UserError
from dtb.files import write_text, written_whole
from scripts.studies.behaviour_only import HALF_SECONDS, NUM_DRAWS, RUNS, Finding, RunHalves, findings, read_halves

PUBLISHED, OURS = "#c2500a", "#0072b2"

TEXT = """# What the paper's headline figures show

Takahashi, Soda, Tomita & Yamashita (*Digital Twin Brain*, BME Frontiers 2026,
[10.34133/bmef.0231](https://doi.org/10.34133/bmef.0231)) validate their twins on the Transdiagnostic Connectome Project with four
figures. The events and covariates of that cohort are open ([OpenNeuro ds005237](https://openneuro.org/datasets/ds005237), CC0; Chopra,
Cocuzza et al. 2024), so for three of them it can be asked what the same figure is **with no brain data and no model at all**. This
page does that, for the {people} participants whose events are in the public git tree (the paper has 228).

Every figure below was computed by `python scripts/studies/what_the_paper_shows.py TCP`; brackets hold 95% percentile intervals over
{draws:,} bootstrap draws of people, and `n` is the number of people. A run is cut as in the paper: the first {half} s, and the next
{half} s.

![The paper's figures beside those of predictors without brain data](images/what-the-paper-shows.png)

## 1. "Simulated and observed mean reaction times correlate at .90 and .85"

The twins were trained on the first half of each run and tested on the second half, of the same people. A person's mean reaction time
in the first half is then known to whatever was trained on it, and it predicts the second half as well as the twins do:

{rt}

![First-half against second-half mean reaction time](images/first-and-second-half.png)

A correlation of this size is had by remembering how fast somebody is. It cannot show that a connectome was of use:
[a twin that is given a code number in its place](an-impostor.md) reaches as much in the Stroop task and
.87 with faces, where a person's own first half gives .89.

## 2. "The twins' choices agree with the people's at .94 and .90"

Most people are right in most trials. An agent that is always right, for everybody, agrees with them as often as their twins do:

{choice}

## 3. "Reaction times of unseen people are predicted at r = .36 to .42"

This is the one figure that an own earlier part cannot give. But older people are slower, and whatever in a connectome goes with age
predicts that. Age alone, and age, sex and site by a regression fitted to other people, reach:

{unseen}

A twin of an unseen person shows something of that person's brain, beyond age, to the extent that it exceeds these rows. The intervals
of age alone overlap with the paper's range in every run.

## 4. "BOLD maps correlate at .84"

That is a correlation of *group* maps, simulated against observed; a model that gives everybody the mean map of the training people aims at
just this, and says nothing of a person. The cohort's BOLD is not in the public git tree, so no figure is given here; `dtb evaluate` reports
each person's map with and without the group map, beside the group mean.

## What could be shown

How well perfect knowledge of a person could do is bounded by how well the person predicts himself or herself. The mean reaction time is a
stable property of people, over runs and even tasks; the condition effects, of which theories speak, are less so:

{effect}

{retest}

Those at or below chance in a run may not have followed the task; rows that leave them out say so.

A claim of a personal twin needs people who were not seen in training; the own earlier part, the group mean and demographics beside it;
a figure such as the condition effect that is not only speed; and intervals. That is what `dtb evaluate` prints.

## All participants

On the events of more participants than are public in git, first half to second half was measured before as r = .90 (faces, n = 219; .92
without people below chance) and .84 (Stroop, n = 226; .88); always correct .938 and .916; Stroop AP to PA r = .87 for the mean reaction
time and .51 for the Stroop effect; .61 to .66 between tasks. Those measurements are not repeated by the script; the figures above
are close to them.
"""


def table(found: list[Finding], question: str) -> str:
    """Lay the findings of one question out as a Markdown table."""
    rows = [finding for finding in found if finding.question == question]
    with_published = any(row.published is not None for row in rows)
    heading = "| run | predictor | figure | without a brain | n |" + (" the paper's twins |" if with_published else "")
    lines = [heading, "|---" * (heading.count("|") - 1) + "|"]
    for row in rows:
        figure = row.figure
        line = f"| {row.run} | {row.predictor} | {row.metric} | {figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}] "
        line += f"| {figure.num_people} |"
        if with_published:
            line += f" {row.published:.2f} |" if row.published is not None else "  |"
        lines.append(line)
    return "\n".join(lines)


def draw_comparison(found: list[Finding], path: Path) -> None:
    """Draw the paper's figures and ours, one row each."""
    rows = [finding for finding in found if finding.published is not None]
    unseen = [row for row in found if row.question == "unseen" and "sex" in row.predictor and row.run != "Stroop PA"]
    names = {"rt": "mean RT, r", "choice": "choice agreement", "unseen": "unseen people, mean RT, r"}
    says = {"rt": "own first half", "choice": "always correct", "unseen": "age, sex, site"}
    figure, axes = plt.subplots(figsize=(8.2, 3.6), layout="constrained")
    for place, row in enumerate(reversed(rows + unseen)):
        axes.plot(
            [row.figure.lower, row.figure.upper], [place, place], color=OURS, lw=3, alpha=0.5, solid_capstyle="round"
        )
        axes.plot(
            row.figure.value, place, "o", color=OURS, ms=7, label="no brain data, 95% interval" if place == 0 else None
        )
        if row.published is not None:
            axes.plot(
                row.published,
                place + 0.02,
                "D",
                color=PUBLISHED,
                ms=7,
                label="the paper's twins" if place == 2 else None,
            )
        else:
            label = "the paper's range" if place == 0 else None
            axes.plot(
                [0.36, 0.42], [place, place], color=PUBLISHED, lw=8, alpha=0.45, label=label, solid_capstyle="butt"
            )
    labels = [f"{names[row.question]}\n{row.run} ({says[row.question]})" for row in reversed(rows + unseen)]
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set(xlim=(0, 1), xlabel="correlation, or share of trials")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=9)
    _save(figure, path)


def draw_halves(halves: dict[str, RunHalves], found: list[Finding], path: Path) -> None:
    """Draw each person's second half against the first, for the two runs of the paper's figure."""
    runs = ["Emotional Faces", "Stroop AP"]
    figure, panels = plt.subplots(1, 2, figsize=(8.2, 4.1), layout="constrained")
    for axes, run in zip(panels, runs, strict=True):
        half = halves[run]
        first_S, second_S, able_S = half.first.mean_rt_ST[:, 0], half.second.mean_rt_ST[:, 0], half.above_chance_S
        axes.scatter(first_S[able_S], second_S[able_S], s=16, color=OURS, alpha=0.6, lw=0, label="people")
        axes.scatter(first_S[~able_S], second_S[~able_S], s=18, color=PUBLISHED, marker="x", label="at or below chance")
        low, high = np.nanmin([first_S, second_S]) - 0.05, np.nanmax([first_S, second_S]) + 0.05
        axes.plot([low, high], [low, high], color="grey", lw=0.8, ls=":")
        r = next(row for row in found if row.question == "rt" and row.run == run and row.metric == "r").figure
        axes.set_title(f"{run}: r = {r.value:.2f} [{r.lower:.2f}, {r.upper:.2f}], n = {r.num_people}", fontsize=10)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="mean RT, first 196.8 s (s)")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean RT, next 196.8 s (s)")
    panels[0].legend(frameon=False, fontsize=9, loc="upper left")
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)


def main(root: Path, docs: Path) -> None:
    """Compute, draw and write."""
    with terminal.progress() as progress:
        bar = progress.add_task("events", total=len(RUNS))
        halves = {}
        for run in RUNS:
            halves[run] = read_halves(root, run)
            progress.advance(bar)
    found = findings(halves)
    draw_comparison(found, docs / "images" / "what-the-paper-shows.png")
    draw_halves(halves, found, docs / "images" / "first-and-second-half.png")
    people = len(set().union(*(half.people.pseudonyms for half in halves.values())))
    tables = {question: table(found, question) for question in ("rt", "choice", "unseen", "effect", "retest")}
    write_text(
        docs / "what-the-paper-shows.md", TEXT.format(people=people, draws=NUM_DRAWS, half=HALF_SECONDS, **tables)
    )
    terminal.out.print(f"Wrote {docs / 'what-the-paper-shows.md'}.")


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "docs"))
    except UserError as error:
        sys.exit(str(error))
