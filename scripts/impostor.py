"""Train an impostor on the open events of the paper's cohort, a twin that is given a code number in place of each connectome, and write
docs/an-impostor.md about what it scores.

    python scripts/impostor.py TCP OUT [DOCS]

TCP is the BIDS tree of OpenNeuro ds005237 (events and participants.tsv are enough), OUT a folder for shards, training and evaluation (a
second call goes on there), DOCS the folder of the page (docs). It takes some minutes on one core.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dtb import terminal
from dtb.cluster import connected
from dtb.cohort.records import SubjectRecord
from dtb.config import ClusterConfig, Config, SegmentConfig, SplitConfig, TrainConfig, TwinConfig, config_hash, sections
from dtb.errors import UserError
from dtb.evaluate.behaviour_only import RUNS, read_covariates, read_runs
from dtb.evaluate.controls import with_code, write_cohort
from dtb.evaluate.stage import evaluate
from dtb.files import OutputFolder, write_text
from dtb.shards.manifest import CohortDescription
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.trainer import train

NUM_REGIONS = 20
CONFIG = Config(
    name="impostor",
    seed=1,
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
        max_epochs=40,
        patience_epochs=10,
        learning_rate=3e-3,
        weight_decay=1e-3,
        bold_weight=0,
    ),
    cluster=ClusterConfig(num_cpus=1),
)

NAMES = {"hammer": "Emotional Faces", "stroop": "Stroop"}
PUBLISHED = {("hammer", "mean RT r"): 0.90, ("stroop", "mean RT r"): 0.85}
PUBLISHED |= {("hammer", "choice agreement"): 0.94, ("stroop", "choice agreement"): 0.90}

TEXT = """# An impostor

Could a digital twin look personal without any brain? Here is one that has none. In place of the connectome it is given a **code**:
{num_edges} random numbers, drawn once for each person, from which nothing about the person can be known. Everything else is as for any
twin: hypernetwork, recurrent network, press-time likelihood, `dtb train`, `dtb evaluate`. Its people are the {people} participants of the
[Transdiagnostic Connectome Project](https://openneuro.org/datasets/ds005237) whose events are in the public git tree, and it is trained and
tested as in Takahashi et al. 2026 ([10.34133/bmef.0231](https://doi.org/10.34133/bmef.0231)): on the first 196.8 s of each run, and on the
next 196.8 s of the same people.

Brackets hold 95% percentile intervals over 2,000 bootstrap draws of people. Both Stroop runs are taken together.

{table}

**What the certificate says:** {sentence}

{against_paper}

The code lets the network tell the people of its training apart, and so remember how fast and how accurate each of them is. With a
stranger's code the same network knows nothing of them. So figures of this size, for people seen in training, do not show that a
connectome was of use, and `dtb evaluate` refuses the word "personal" for them, whatever they are.

Made by `python scripts/impostor.py TCP OUT` (seed {seed}, one training of at most {epochs} epochs). See also
[what the paper's headline figures show](what-the-paper-shows.md).
"""


def write_shards(root: Path, out: Path) -> int:
    """Write the cohort with codes, and give the number of its people."""
    folder = OutputFolder.claim(out, "ingest", sections(CONFIG, "seed", "ingest"), resume=True)
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
            records.append(with_code(plain, NUM_REGIONS * (NUM_REGIONS - 1) // 2, CONFIG.seed))
        names = tuple(f"code{number}" for number in range(NUM_REGIONS))
        description = CohortDescription(names, tasks.to_plain(), {"control": "codes"}, config_hash(CONFIG))
        write_cohort(folder, records, description, 32)
    return len(participants)


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the figures that the paper has too, and the condition effects."""
    lines = [
        "| task | figure | the paper's twins | impostor | with a stranger's code | own earlier part | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["metric"] in {"mean RT r", "choice agreement", "condition effect r"}:
            published = PUBLISHED.get((row["task"], row["metric"]))
            others = [row["baselines"].get(name) for name in ("stranger_connectome", "own_earlier")]
            cells = [
                NAMES[row["task"]],
                row["metric"],
                "" if published is None else f"{published:.2f}",
                f"**{row['twin']:.3f}** [{row['lower']:.3f}, {row['upper']:.3f}]",
                *("" if value is None else f"{value:.3f}" for value in others),
                str(row["n"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def against_paper(rows: list[dict[str, Any]]) -> str:
    """Say in words where the impostor reaches what the paper reports, and where it falls short."""
    reached, short = [], []
    for row in rows:
        published = PUBLISHED.get((row["task"], row["metric"]))
        if published is None:
            continue
        figure = f"{row['metric']} ({NAMES[row['task']]})"
        if row["twin"] >= published:
            reached.append(figure)
        else:
            inside = row["upper"] >= published
            where = "its interval reaches that" if inside else "even the upper end of its interval is lower"
            short.append(f"{figure}, {row['twin']:.3f} where the paper has {published:.2f}: {where}")
    words = []
    if reached:
        words.append(f"The impostor is as high in {', '.join(reached)}.")
    if short:
        words.append(f"It falls short in {'; '.join(short)}.")
    return " ".join(["**Beside the paper's twins.**", *words])


def write_page(people: int, evaluated: Path, docs: Path) -> None:
    """Write docs/an-impostor.md from an evaluation."""
    figures = json.loads((evaluated / "figures.json").read_text(encoding="utf-8"))
    text = TEXT.format(
        people=people,
        num_edges=NUM_REGIONS * (NUM_REGIONS - 1) // 2,
        table=table(figures["rows"]),
        sentence=figures["certificate"]["sentence"],
        against_paper=against_paper(figures["rows"]),
        seed=CONFIG.seed,
        epochs=CONFIG.train.max_epochs,
    )
    write_text(docs / "an-impostor.md", text)


def main(root: Path, out: Path, docs: Path) -> None:
    """Write the cohort, train, evaluate, and write the page."""
    people = write_shards(root, out / "shards")
    with connected(CONFIG.cluster):
        train(CONFIG, out / "shards", out / "train", resume=True)
    evaluate(CONFIG, out / "shards", out / "train", out / "evaluate", resume=True)
    write_page(people, out / "evaluate", docs)
    terminal.out.print(f"Wrote {docs / 'an-impostor.md'}.")


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) == 4 else "docs"))
    except UserError as error:
        sys.exit(str(error))
