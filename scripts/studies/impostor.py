"""Train impostors on the open events of the paper's cohort, twins that are given a code number in place of each connectome, and write
docs/an-impostor.md about what they score.

    python scripts/studies/impostor.py TCP OUT [DOCS]

TCP is the BIDS tree of OpenNeuro ds005237 (events and participants.tsv are enough), OUT a folder for shards, trainings and evaluations (a
second call goes on there), DOCS the folder of the page (docs). Five seeds, each with codes of its own, take about ten minutes on one
core.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dtb import terminal
from dtb.cluster.connection import connected
from dtb.config import ClusterConfig, Config, SegmentConfig, SplitConfig, TrainConfig, TwinConfig, config_hash, sections
from dtb.errors import UserError
from dtb.evaluate.predictors.controls import with_code, write_cohort
from dtb.evaluate.stage import evaluate
from dtb.files import write_text
from dtb.people.records import SubjectRecord
from dtb.shards.manifest import CohortDescription
from dtb.stages import OutputFolder
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.trainer import train
from scripts.studies.behaviour_only import RUNS, read_covariates, read_runs

NUM_REGIONS = 20
SEEDS = (1, 2, 3, 4, 5)
CONFIG = Config(
    name="impostor",
    split=SplitConfig(kind="temporal"),
    segments=SegmentConfig(segment_seconds=60, burn_in_seconds=6),
    twin=TwinConfig(
        num_hidden=48,
        connectome_components=0,
        rank=6,
        latent_size=32,
        encoder_widths=(200,),
        connectome_dropout=0.0,
        step_seconds=0.1,
    ),
    train=TrainConfig(
        num_workers=1,
        batch_size=20,
        max_epochs=100,
        patience_epochs=25,
        learning_rate=1e-3,
        weight_decay=1e-3,
        bold_weight=0,
    ),
    cluster=ClusterConfig(num_cpus=1),
)

NAMES = {"hammer": "Emotional Faces", "stroop": "Stroop"}
PUBLISHED = {("hammer", "mean RT r"): 0.90, ("stroop", "mean RT r"): 0.85}
PUBLISHED |= {("hammer", "choice agreement"): 0.94, ("stroop", "choice agreement"): 0.90}

TEXT = """# An impostor

Could a digital twin look personal without any brain? Here are some that have none. In place of the connectome they are given a **code**:
{num_edges} random numbers, drawn once for each person, from which nothing about the person can be known. Everything else is as for any
twin: hypernetwork, recurrent network, press-time likelihood, `dtb train`, `dtb evaluate`. Their people are the {people} participants of the
[Transdiagnostic Connectome Project](https://openneuro.org/datasets/ds005237) whose events are in the public git tree, and
they are trained and tested as in Takahashi et al. 2026 ([10.34133/bmef.0231](https://doi.org/10.34133/bmef.0231)): on the
first 196.8 s of each run, and on the next 196.8 s of the same people.

Five impostors were trained, each with codes of its own: means over them, and in brackets the least and the most. Both Stroop runs are
taken together.

{table}

The first of them, with 95% percentile intervals over 2,000 bootstrap draws of people. The column of strangers' codes is the mean over the
codes of at least 20 others. It is empty where figures are correlations over people, because such a mean is of nobody in particular. CRPS
and log-loss are losses, better when lower:

{first}

**What the certificate says:** {sentence}

{against_paper}

The code lets the network tell the people of its training apart, and so remember how fast and how accurate each of them is. With a
stranger's code the same network knows nothing of them (its losses are in the table). So figures of this size, for people seen in training,
do not show that a connectome was of use, and `dtb evaluate` refuses the word "personal" for them, whatever they are.

Made by `python scripts/studies/impostor.py TCP OUT` (seeds 1 to {num_seeds}, trainings of at most {epochs} epochs). See also
[what the paper's headline figures show](what-the-paper-shows.md).
"""


def write_shards(config: Config, root: Path, out: Path) -> int:
    """Write the cohort with codes, and give the number of its people."""
    folder = OutputFolder.claim(out, "ingest", sections(config, "seed", "ingest"), resume=True)
    tasks = TaskSet(tuple(load_task(name) for name in ("hammer", "stroop")))
    covariates, runs = read_covariates(root), [read_runs(root, run) for run in RUNS]
    participants = sorted(set().union(*runs))
    if not folder.is_complete:
        records = []
        for participant in participants:
            performed = tuple(run[participant] for run in runs if participant in run)
            plain = SubjectRecord(
                participant.removeprefix("sub-"), np.zeros(0, np.float32), covariates.get(participant, {}), performed
            )
            records.append(with_code(plain, NUM_REGIONS * (NUM_REGIONS - 1) // 2, config.seed))
        names = tuple(f"code{number}" for number in range(NUM_REGIONS))
        description = CohortDescription(names, tasks.to_plain(), {"control": "codes"}, config_hash(config))
        write_cohort(folder, records, description, 32)
    return len(participants)


SHOWN = ("mean RT r", "choice agreement", "condition effect r")
LOSSES = ("RT CRPS", "choice log-loss")
"""Figures of single trials, which have a value for strangers' codes: of what these say on average there is no correlation over people."""
Rows = list[dict[str, Any]]


def first_table(rows: Rows) -> str:
    """Lay out the figures of one impostor that the paper has too, the condition effects, and the losses, which are better when lower."""
    lines = [
        "| task | figure | impostor | with strangers' codes | own earlier part | n |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["metric"] in {*SHOWN, *LOSSES}:
            others = [row["baselines"].get(name) for name in ("stranger_connectome", "own_earlier")]
            cells = [
                NAMES[row["task"]],
                row["metric"],
                f"{row['twin']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]",
                *("–" if value is None else f"{value:.3f}" for value in others),
                str(row["n"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_figure(seeds: list[Rows]) -> dict[tuple[str, str], list[float]]:
    """Return what each impostor scores, by task and figure."""
    found: dict[tuple[str, str], list[float]] = {}
    for rows in seeds:
        for row in rows:
            if row["metric"] in SHOWN:
                found.setdefault((row["task"], row["metric"]), []).append(row["twin"])
    return found


def table(seeds: list[Rows]) -> str:
    """Lay the means of all impostors beside the paper's figures."""
    lines = ["| task | figure | the paper's twins | impostors |", "|---|---|---|---|"]
    for (task, metric), values in by_figure(seeds).items():
        published = PUBLISHED.get((task, metric))
        paper = "" if published is None else f"{published:.2f}"
        mean = f"**{np.mean(values):.3f}** ({min(values):.3f} to {max(values):.3f})"
        lines.append(f"| {NAMES[task]} | {metric} | {paper} | {mean} |")
    return "\n".join(lines)


def against_paper(seeds: list[Rows]) -> str:
    """Return, in words, where the impostors reach what the paper reports, and where they fall short."""
    reached, short = [], []
    for (task, metric), values in by_figure(seeds).items():
        published = PUBLISHED.get((task, metric))
        if published is None:
            continue
        figure, mean = f"{metric} ({NAMES[task]})", float(np.mean(values))
        # The paper gives two digits.
        if round(mean, 2) >= published:
            reached.append(figure)
        else:
            some = sum(round(value, 2) >= published for value in values)
            short.append(
                f"{figure}, {mean:.3f} where the paper has {published:.2f}: {some} of {len(values)} reach that"
            )
    words = []
    if reached:
        words.append(f"On the mean the impostors are as high in {', '.join(reached)}.")
    if short:
        words.append(f"They fall short in {'; '.join(short)}.")
    return " ".join(["**Beside the paper's twins.**", *words])


def write_page(people: int, evaluated: list[Path], docs: Path) -> None:
    """Write docs/an-impostor.md from the evaluations."""
    figures = [json.loads((each / "figures.json").read_text(encoding="utf-8")) for each in evaluated]
    seeds = [each["rows"] for each in figures]
    text = TEXT.format(
        people=people,
        num_edges=NUM_REGIONS * (NUM_REGIONS - 1) // 2,
        table=table(seeds),
        first=first_table(seeds[0]),
        sentence=figures[0]["certificate"]["sentence"],
        against_paper=against_paper(seeds),
        num_seeds=len(seeds),
        epochs=CONFIG.train.max_epochs,
    )
    write_text(docs / "an-impostor.md", text)


def main(root: Path, out: Path, docs: Path) -> None:
    """Write the cohorts, train, evaluate, and write the page."""
    people, evaluated = 0, []
    with connected(CONFIG.cluster):
        for seed in SEEDS:
            config, folder = dataclasses.replace(CONFIG, seed=seed), out / f"seed{seed}"
            people = write_shards(config, root, folder / "shards")
            train(config, folder / "shards", folder / "train", resume=True)
            evaluate(config, folder / "shards", folder / "train", folder / "evaluate", resume=True)
            evaluated.append(folder / "evaluate")
    write_page(people, evaluated, docs)
    terminal.out.print(f"Wrote {docs / 'an-impostor.md'}.")


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) == 4 else "docs"))
    except UserError as error:
        sys.exit(str(error))
