"""Ask of the certificate how often it is wrong: many ground-truth cohorts in which the connectome carries traits, and as many in which it
does not, a small twin trained on each, and what `dtb evaluate` then says. Writes docs/certificate-error-rates.md.

    python scripts/certificate_error_rates.py OUT [NUM_COHORTS [NUM_CPUS [DOCS]]]

OUT keeps every cohort's figures and certificate (a second call goes on there). Cohorts run side by side as Ray tasks of one core each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from dtb import terminal
from dtb.cluster import connected
from dtb.cohort.behaviour import decide, events_table, make_decider, make_design
from dtb.cohort.population import make_person, make_population
from dtb.cohort.records import Run, SubjectRecord
from dtb.cohort.synth import write_table
from dtb.config import (
    ClusterConfig,
    Config,
    EvaluateConfig,
    SegmentConfig,
    SplitConfig,
    SynthConfig,
    TrainConfig,
    TwinConfig,
    sections,
)
from dtb.evaluate.controls import write_cohort
from dtb.evaluate.power import estimated_connectome
from dtb.evaluate.stage import evaluate
from dtb.files import OutputFolder, write_text
from dtb.shards.batches import BatchMaker
from dtb.shards.manifest import CohortDescription
from dtb.shards.read import open_cohort
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.loop import cosine
from dtb.train.normalise import measure
from dtb.train.plan import make_plan
from dtb.twin.export import save_twin
from dtb.twin.objective import Objective

REST_MINUTES = 16.0
KINDS = {"carried": 1.5, "absent": 0.0}
"""How strong the traits are that connectomes carry."""


def config_of(kind: str, cohort: int) -> Config:
    """Give the configuration of one cohort; twin and training are those that docs/learning.md recommends, for longer: people are fewer."""
    return Config(
        seed=1000 + cohort,
        synth=SynthConfig(
            num_subjects=150, num_regions=16, num_causal_edges=12, tasks=("hammer",), trait_strength=KINDS[kind]
        ),
        split=SplitConfig(num_folds=3),
        segments=SegmentConfig(segment_seconds=60, burn_in_seconds=4),
        twin=TwinConfig(
            num_hidden=24, rank=3, latent_size=6, encoder_widths=(16,), connectome_dropout=0.0, step_seconds=0.1
        ),
        train=TrainConfig(batch_size=8, learning_rate=0.008, weight_decay=0.1, max_epochs=36, patience_epochs=12),
        evaluate=EvaluateConfig(num_bootstrap=1000),
    )


def write_shards(config: Config, out: Path) -> None:
    """Write one cohort, without BOLD, as shards."""
    folder = OutputFolder.claim(out, "ingest", sections(config, "seed", "synth"), resume=False)
    synth, spec = config.synth, load_task("hammer")
    population, design = make_population(synth, config.seed), make_design("hammer", 0, config.seed)
    records = []
    for index in range(synth.num_subjects):
        person = make_person(population, synth, config.seed, index)
        decider = make_decider(person, synth, config.seed, index)
        rt_J, correct_J = decide(decider, design.condition_J, synth, np.random.default_rng([config.seed, 7, index]))
        with tempfile.TemporaryDirectory() as place:
            events = Path(place) / "events.tsv"
            write_table(events, events_table(design, rt_J, correct_J, synth.repetition_time))
            trials = read_trials(spec, events).trials
        edges_E = estimated_connectome(person, REST_MINUTES, synth, config.seed, index)
        covariates: dict[str, float | str | None] = {"age": person.age, "sex": person.sex, "site": str(person.site)}
        run = Run("hammer", "hammerAP", None, "1", trials, design.end_seconds, None, None)
        records.append(SubjectRecord(f"p{person.label}", edges_E, covariates, (run,)))
    taskset = TaskSet((spec,)).to_plain()
    description = CohortDescription(tuple(population.region_names), taskset, {"kind": "pearson"}, folder.config_hash)
    write_cohort(folder, records, description, 32)


def train_twin(config: Config, shards: Path, out: Path) -> None:
    """Train a twin in this process as `dtb train` does, early stopping included, and export it."""
    cohort = open_cohort(shards)
    plan = make_plan(config, shards, out, cohort)
    folder = OutputFolder.claim(out, "train", sections(config, "seed", "twin", "split", "segments"), resume=False)
    plan.split.save(out / "split.json", cohort.manifest.cohort_hash)
    taskset = TaskSet.from_plain(plan.card.taskset)
    maker = BatchMaker(taskset, config.segments, config.twin.step_seconds, (), plan.split)
    people = {record.pseudonym: record for record in cohort.records(plan.split.people("all"))}
    components, num_latents = config.twin.connectome_components, config.twin.latent_size
    training = (people[who] for who in plan.split.train)
    twin = plan.twin(
        measure(
            training, plan.split, plan.card.sizes.num_edges, (), components, taskset=taskset, num_latents=num_latents
        )
    )
    settings = config.train
    objective = Objective(twin, settings.press_weight, 0.0)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best, kept, waited = np.inf, twin.state_dict(), 0
    for epoch in range(settings.max_epochs):
        objective.train()
        shares = list(plan.stream("train").shares(epoch, 0, 1))
        for step, share in enumerate(shares):
            done = epoch + step / len(shares)
            optimiser.param_groups[0]["lr"] = cosine(settings.learning_rate, done, settings.max_epochs)
            batch = maker.batch([people[who] for who in share.pseudonyms], "train", config.seed, epoch)
            optimiser.zero_grad()
            (objective(batch).total / len(share.pseudonyms)).backward()
            torch.nn.utils.clip_grad_norm_(twin.parameters(), settings.gradient_clipping)
            optimiser.step()
        objective.eval()
        with torch.no_grad():
            validation = maker.batch([people[who] for who in plan.split.validation], "validation")
            loss = float(objective(validation).total)
        if loss < best:
            best, waited = loss, 0
            kept = {name: tensor.clone() for name, tensor in twin.state_dict().items()}
        elif (waited := waited + 1) == settings.patience_epochs:
            break
    twin.load_state_dict(kept)
    save_twin(out / "twin", twin, plan.card)
    folder.finish({"epochs": epoch + 1})


def one_cohort(kind: str, cohort: int, out: Path) -> dict[str, Any]:
    """Make, train and evaluate one cohort; give what is kept of it."""
    torch.set_num_threads(1)
    kept = out / kind / f"{cohort:03d}"
    if not (kept / "stage.json").is_file() or not json.loads((kept / "stage.json").read_text())["complete"]:
        config = config_of(kind, cohort)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_shards(config, folder / "shards")
            train_twin(config, folder / "shards", folder / "train")
            evaluate(config, folder / "shards", folder / "train", kept, resume=kept.exists())
    certificate = json.loads((kept / "certificate.json").read_text())
    figures = json.loads((kept / "figures.json").read_text())
    rt = next(row for row in figures["rows"] if row["metric"] == "mean RT r")
    return {
        "kind": kind,
        "verdict": certificate["verdict"],
        "any_personal_test": any(
            test["verdict"] == "yes" for test in certificate["tests"] if test["kind"] in {"connectome", "person"}
        ),
        "twin_r": rt["twin"],
        "ridge_r": rt["baselines"].get("ridge"),
        "n": rt["n"],
    }


TEXT = """# How often the certificate is wrong

{num} ground-truth cohorts in which connectomes carry the traits that make people fast or slow, and {num} in which they carry nothing:
{people} people each, {test} of them unseen; connectomes from {minutes:g} minutes of rest; one run of Emotional Faces; drift-diffusion
behaviour. On each cohort a small twin ({hidden} units) was trained as [recommended](learning.md), and `dtb evaluate` wrote its certificate.

| connectomes | cohorts | called personal | not shown | not personal | any test passed that should not | twin r | ridge r |
|---|---|---|---|---|---|---|---|
{rows}

Brackets hold exact 95% intervals of the shares. Where the connectome carries nothing, "called personal" is the certificate's error; it
promises at most 5%. "Any test passed" counts single tests of a certificate, whose p-values are Holm's over the page: the twin is called
personal only where one of each kind passes (use of the connectome, and gain beyond covariates). Where it carries traits, a certificate
that is not given is a miss, not an error: it depends on how good the twin is and on the number of people, and the certificate then says
"not shown". r is the mean over cohorts of the correlation of predicted and observed mean reaction times of unseen people.

Made by `python scripts/certificate_error_rates.py OUT {num}` (cohort seeds {first} to {last}).
"""


def share(count: int, total: int) -> str:
    """Give a share with its exact interval."""
    interval = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count}/{total} [{interval.low:.2f}, {interval.high:.2f}]"


def row(kind: str, found: list[dict[str, Any]]) -> str:
    """Lay one kind of cohort out as a row."""
    mine = [each for each in found if each["kind"] == kind]
    verdicts = [each["verdict"] for each in mine]
    wrong = share(sum(each["any_personal_test"] for each in mine), len(mine)) if kind == "absent" else ""
    means = [
        np.nanmean([np.nan if each[name] is None else each[name] for each in mine]) for name in ("twin_r", "ridge_r")
    ]
    name = {"carried": "carry traits", "absent": "carry nothing"}[kind]
    cells = [
        name,
        str(len(mine)),
        share(verdicts.count("yes"), len(mine)),
        str(verdicts.count("undecided")),
        str(verdicts.count("no")),
    ]
    return f"| {' | '.join([*cells, wrong, *(f'{mean:.2f}' for mean in means)])} |"


def main(out: Path, num_cohorts: int, num_cpus: int, docs: Path) -> None:
    """Run all cohorts and write the page."""
    with connected(ClusterConfig(num_cpus=num_cpus)):
        import ray

        remote = ray.remote(num_cpus=1)(one_cohort)
        waiting = [remote.remote(kind, cohort, out) for cohort in range(num_cohorts) for kind in KINDS]
        found = []
        while waiting:
            done, waiting = ray.wait(waiting)
            found += ray.get(done)
            terminal.err.print(f"{len(found)} of {2 * num_cohorts}: {found[-1]}")
    example = config_of("carried", 0)
    write_text(
        docs / "certificate-error-rates.md",
        TEXT.format(
            num=num_cohorts,
            people=example.synth.num_subjects,
            test=max(each["n"] for each in found),
            minutes=REST_MINUTES,
            hidden=example.twin.num_hidden,
            rows="\n".join(row(kind, found) for kind in KINDS),
            first=config_of("carried", 0).seed,
            last=config_of("carried", num_cohorts - 1).seed,
        ),
    )
    terminal.out.print(f"Wrote {docs / 'certificate-error-rates.md'}.")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    given = [*sys.argv[2:], *("20", "2", "docs")[len(sys.argv) - 2 :]]
    main(Path(sys.argv[1]).resolve(), int(given[0]), int(given[1]), Path(given[2]))
