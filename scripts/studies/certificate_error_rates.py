"""Ask of the certificate how often it is wrong: many ground-truth cohorts in which the connectome carries traits, and as many of each kind
in which it says nothing of its own, a small twin trained on each, and what `dtb evaluate` then says. Writes
docs/certificate-error-rates.md.

    python scripts/studies/certificate_error_rates.py OUT [--kinds carried absent age curved] [--num 20] [--cpus 2] [--docs docs]

OUT keeps what came of every cohort: a second call does only what is missing or was made by other settings, and the page is about all that
OUT has. Cohorts run side by side as Ray tasks of one core each; the time of each is printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from dtb import terminal
from dtb.cluster import connected
from dtb.config import (
    ClusterConfig,
    Config,
    EvaluateConfig,
    SegmentConfig,
    SplitConfig,
    SynthConfig,
    TrainConfig,
    TwinConfig,
    config_hash,
    sections,
)
from dtb.evaluate.planning.power import estimated_connectome, motion_of
from dtb.evaluate.predictors.controls import write_cohort
from dtb.evaluate.stage import evaluate
from dtb.files import write_json, write_text
from dtb.groundtruth.behaviour import decide, events_table, make_decider, make_design
from dtb.groundtruth.population import make_person, make_population
from dtb.groundtruth.synthesise import write_table
from dtb.people.records import Run, SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.manifest import CohortDescription
from dtb.shards.read import open_cohort
from dtb.stages import OutputFolder
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.loop import cosine
from dtb.train.normalise import measure
from dtb.train.plan import make_plan
from dtb.twin.export import save_twin
from dtb.twin.objective import Objective

REST_MINUTES = 16.0
SLOWING = 0.3
"""Log drift for a standard deviation of age, where age acts past the connectome; about what a trait does in the cohorts that carry them."""
KINDS: dict[str, dict[str, Any]] = {
    "carried": {"trait_strength": 1.5},
    "absent": {"trait_strength": 0.0},
    "age": {"trait_strength": 0.0, "age_on_behaviour": SLOWING, "age_law": "linear", "motion_artefact": 2.0},
    "curved": {"trait_strength": 0.0, "age_on_behaviour": SLOWING, "age_law": "curved", "motion_artefact": 2.0},
}
"""Settings of `synth` for each kind of cohort."""
WORDS = {
    "carried": "carry traits",
    "absent": "carry nothing",
    "age": "carry age, which slows people in a line",
    "curved": "carry age, which slows people in a curve",
}
SHOULD_NOT_PASS = {
    "absent": ("connectome", "person"),
    "age": ("partial r",),
    "curved": ("partial r",),
}
"""Which tests are wrong if they pass: by their kind, or by how their metric ends. A twin that reads age from a connectome has use of it."""
PERSONAL = ("yes", "provisional")
"""Verdicts by which a twin is called personal; what one training shows is at most provisional."""


def config_of(kind: str, cohort: int) -> Config:
    """Return the configuration of one cohort; twin and training are those that docs/learning.md recommends,
    for longer: people are fewer."""
    return Config(
        seed=1000 + cohort,
        synth=SynthConfig(num_subjects=150, num_regions=16, num_causal_edges=12, tasks=("hammer",), **KINDS[kind]),
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
        covariates["motion"] = motion_of(person, synth, config.seed, index)
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
    """Make, train and evaluate one cohort, unless that is done; give what is kept of it."""
    torch.set_num_threads(1)
    config, kept = config_of(kind, cohort), out / kind / f"{cohort:03d}"
    made_by, result = config_hash(config), kept / "result.json"
    if result.is_file() and (found := json.loads(result.read_text()))["config_hash"] == made_by:
        return dict(found)
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_shards(config, folder / "shards")
        train_twin(config, folder / "shards", folder / "train")
        # What an interrupted call, or one by other settings, left of this cohort counts for nothing.
        shutil.rmtree(kept, ignore_errors=True)
        evaluate(config, folder / "shards", folder / "train", kept, resume=False)
    certificate = json.loads((kept / "certificate.json").read_text())
    figures = json.loads((kept / "figures.json").read_text())
    rt = next(row for row in figures["rows"] if row["metric"] == "mean RT r")
    partial_rt = next(row for row in figures["rows"] if row["metric"] == "mean RT partial r")
    row = {
        "kind": kind,
        "cohort": cohort,
        "config_hash": made_by,
        "verdict": certificate["verdict"],
        "wrongly_passed": [
            f"{test['metric']}: {test['claim']}"
            for test in certificate["tests"]
            if test["verdict"] == "yes"
            and any(test["kind"] == which or test["metric"].endswith(which) for which in SHOULD_NOT_PASS.get(kind, ()))
        ],
        "twin_r": rt["twin"],
        "twin_partial_r": partial_rt["twin"],
        "ridge_r": rt["baselines"].get("ridge"),
        "n": rt["n"],
        "cpu_seconds": round(time.process_time() - begun, 1),
    }
    write_json(result, row)
    return row


TEXT = """# How often the certificate is wrong

Ground-truth cohorts of {people} people each, {test} of them unseen; connectomes from {minutes:g} minutes of rest; one run of Emotional
Faces; drift-diffusion behaviour. On each a small twin ({hidden} units) was trained once, as [recommended](learning.md), and `dtb evaluate`
wrote its certificate. There are cohorts of four kinds:

- connectomes **carry traits** that make people fast or slow: what a twin should find;
- they **carry nothing** of what people do;
- they **carry age**, site and motion, as real ones do, and **age slows people in a line**, by a way that no connectome is part of;
- the same, where it slows them **in a curve**: least at 35 years, ever more after.

In the last two, whoever reads age from a connectome predicts who is slow (see r), and it is not the person.

| connectomes | cohorts | called personal | not shown | not personal | a wrong test passed | twin r | beyond covariates | ridge r |
|---|---|---|---|---|---|---|---|---|
{rows}

Brackets hold exact (Clopper and Pearson) two-sided 95% intervals of the shares; their upper ends are what so few cohorts can exclude.
"Called personal" counts *yes* and *provisional*, which is all that one training can come to. {errors}

"A wrong test passed" counts certificates with any such single test. Where connectomes carry nothing, these are the tests of the
connectome's use and of what is a person's own, *own minus others* among them. Where they carry age, they are those beyond covariates alone:
there a connectome *is* of use, and its twin nearer to its own person. Tests against the best baseline are not counted: a twin may model
the spread of reaction times better than a baseline does, and know nobody. All p-values are Holm's over all of the certificate's tests.

Where connectomes carry traits, a certificate that is not given is a miss, not an error: it depends on how good the twin is and on the
number of people, and the certificate then says "not shown". r is the mean over cohorts of the correlation of predicted and observed mean
reaction times of unseen people; "beyond covariates", of the twin's partial correlation.

Made by `python scripts/studies/certificate_error_rates.py OUT` (cohort seeds from {first} on; {seconds:.0f} s of one core a cohort).
"""


def share(count: int, total: int) -> str:
    """Return a share with its exact interval."""
    interval = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count}/{total} [{interval.low:.2f}, {interval.high:.2f}]"


def row(kind: str, mine: list[dict[str, Any]]) -> str:
    """Lay one kind of cohort out as a row."""
    verdicts = [each["verdict"] for each in mine]
    wrong = share(sum(bool(each["wrongly_passed"]) for each in mine), len(mine)) if kind in SHOULD_NOT_PASS else ""
    means = [
        np.nanmean([np.nan if each[name] is None else each[name] for each in mine])
        for name in ("twin_r", "twin_partial_r", "ridge_r")
    ]
    cells = [
        WORDS[kind],
        str(len(mine)),
        share(sum(verdict in PERSONAL for verdict in verdicts), len(mine)),
        str(verdicts.count("undecided")),
        str(verdicts.count("no")),
    ]
    return f"| {' | '.join([*cells, wrong, *(f'{mean:.2f}' for mean in means)])} |"


def errors_in_words(found: list[dict[str, Any]]) -> str:
    """Return how often a twin was called personal where it was not."""
    mine = [each for each in found if each["kind"] in SHOULD_NOT_PASS]
    if not mine:
        return ""
    count = sum(each["verdict"] in PERSONAL for each in mine)
    upper = stats.binomtest(count, len(mine)).proportion_ci(0.95, method="exact").high
    return (
        "Where connectomes say nothing of their own, it is the certificate's error. The certificate promises at most 5%; it erred in "
        f"{count} of {len(mine)} such cohorts of all kinds, which rules out no more than rates above {upper:.2f}."
    )


def write_page(out: Path, docs: Path) -> None:
    """Write the page about all cohorts that `out` has."""
    found = [json.loads(path.read_text()) for kind in KINDS for path in sorted((out / kind).glob("*/result.json"))]
    found = [each for each in found if each["config_hash"] == config_hash(config_of(each["kind"], each["cohort"]))]
    example = config_of("carried", 0)
    kinds = [kind for kind in KINDS if any(each["kind"] == kind for each in found)]
    write_text(
        docs / "certificate-error-rates.md",
        TEXT.format(
            people=example.synth.num_subjects,
            test=max(each["n"] for each in found),
            minutes=REST_MINUTES,
            hidden=example.twin.num_hidden,
            rows="\n".join(row(kind, [each for each in found if each["kind"] == kind]) for kind in kinds),
            errors=errors_in_words(found),
            first=example.seed,
            seconds=np.mean([each["cpu_seconds"] for each in found]),
        ),
    )
    terminal.out.print(f"Wrote {docs / 'certificate-error-rates.md'}.")


def main(out: Path, kinds: list[str], num: int, num_cpus: int, docs: Path) -> None:
    """Run what is missing of the cohorts, and write the page."""
    with connected(ClusterConfig(num_cpus=num_cpus)):
        import ray

        remote = ray.remote(num_cpus=1)(one_cohort)
        waiting = [remote.remote(kind, cohort, out) for cohort in range(num) for kind in kinds]
        total = len(waiting)
        while waiting:
            done, waiting = ray.wait(waiting)
            for each in ray.get(done):
                terminal.err.print(
                    f"{total - len(waiting)} of {total}: {each['kind']} {each['cohort']}, {each['verdict']}, r {each['twin_r']:.2f}, "
                    f"{each['cpu_seconds']:.0f} s"
                )
    write_page(out, docs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="which kinds of cohort")
    parser.add_argument("--num", type=int, default=20, help="cohorts of each kind")
    parser.add_argument("--cpus", type=int, default=2, help="cohorts side by side")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the page")
    given = parser.parse_args()
    main(given.out.resolve(), given.kinds, given.num, given.cpus, given.docs)
