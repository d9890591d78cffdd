"""What connectomes say of unseen people through a twin's latents, before any training, beside the regressions that a twin is compared with.

    python scripts/studies/reader_study.py OUT [--kinds demo groundtruth] [--loadings sparse dense] [--seeds 11 12 13 14 15]

Cohorts are made in memory: `demo` has 160 people, all of whom are unseen once in five folds; `groundtruth` has 1,000, three sites, motion
and missing runs, and one fold. In each, the readers are fitted to the training part as `dtb train` fits them, 15% of the people who are not
tested being put aside for validation; a least-squares regression of each figure on what is read of training people then gives figures of
unseen people from their latents. The regressions, and their stack, have the validation people too. Settings of the readers were chosen on
cohorts of other seeds (101 to 103). What is made is kept in OUT, one file a cohort, so that an interrupted study goes on.

Shape letters: `S` training person, `Q` unseen person, `T` task, `Z` latent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from made_up_people import divided, made_up_people

from dtb.config import SynthConfig
from dtb.evaluate.predictors.fitting import from_columns
from dtb.evaluate.predictors.predictions import Summary, summary_of_people
from dtb.evaluate.predictors.table import STACK, given_of
from dtb.evaluate.scores.observed import People, collect
from dtb.people.records import SubjectRecord
from dtb.shards.split import Span, Split
from dtb.tasks.taskset import TaskSet
from dtb.train.start.normalise import measure
from dtb.train.start.summaries import Asked, summarise

KINDS: dict[str, tuple[dict[str, Any], int, int]] = {
    "demo": ({"num_subjects": 160}, 5, 8),
    "groundtruth": (
        {
            "num_subjects": 1000,
            "num_sites": 3,
            "motion_mm": 0.15,
            "jerks_per_minute": 0.5,
            "motion_artefact": 2.0,
            "missing_rest_fraction": 0.02,
            "missing_run_fraction": 0.05,
        },
        1,
        16,
    ),
}
"""Of each kind of cohort: how it differs from the default, how many folds are looked at, and the size of the latent."""
FIGURES = ("mean_rt_ST", "condition_rt_ST", "accuracy_ST")
READER = "reader"
NUM_COMPONENTS, NUM_REGIONS = 64, 60
TARGET = 0.02


def study_cohort(kind: str, loadings: Any, seed: int) -> dict[str, Any]:
    """Return the correlations of each predictor of a cohort, (folds, figures, tasks) by name, and what the readers say of themselves."""
    changes, num_folds, num_latents = KINDS[kind]
    begun = time.process_time()
    people, taskset = made_up_people(SynthConfig(num_regions=NUM_REGIONS, trait_loadings=loadings, **changes), seed)
    made = time.process_time()
    found: dict[str, list[np.ndarray]] = {}
    readers = []
    for fold in range(num_folds):
        split = divided(people, seed, fold)
        unseen = of(people, split.test, taskset)
        observed = summary_of_people(unseen, taskset)
        reading, said = read_figures(people, split, taskset, unseen, num_latents)
        readers.append(reading)
        predicted = {READER: said, **regressed(people, split, taskset, unseen)}
        for name, summary in predicted.items():
            found.setdefault(name, []).append(correlations(summary, observed))
    seconds = {"making": made - begun, "reading and regressing": time.process_time() - made}
    return {"r": {name: np.array(r).tolist() for name, r in found.items()}, "readers": readers, "seconds": seconds}


def of(people: list[SubjectRecord], pseudonyms: tuple[str, ...], taskset: TaskSet) -> People:
    """Gather what some people did, without BOLD."""
    wanted = set(pseudonyms)
    some = [person for person in people if person.pseudonym in wanted]
    return collect(some, taskset, Span(0.0, 1.0), np.zeros(0, np.int64), np.zeros(0))


def read_figures(
    people: list[SubjectRecord], split: Split, taskset: TaskSet, unseen: People, num_latents: int
) -> tuple[list[dict[str, Any]], Summary]:
    """Return what the readers say of themselves, and figures of unseen people from their latents."""
    training = of(people, split.train, taskset)
    wanted = set(split.train)
    records = [person for person in people if person.pseudonym in wanted]
    num_edges = len(people[0].connectome_E)
    asked = Asked(split, tuple(range(NUM_REGIONS)), False, taskset.to_plain())
    known = ((person.connectome_E, summarise(person, asked)) for person in records)
    scales = measure(known, num_edges, NUM_REGIONS, NUM_COMPONENTS, num_latents=num_latents)
    assert scales.reader_EZ is not None
    assert scales.read_PZ is not None
    assert scales.readers is not None
    latents_QZ = np.nan_to_num((unseen.edges_SE - scales.edge_mean_E) / scales.edge_scale_E) @ scales.reader_EZ
    did, said = summary_of_people(training, taskset), {}
    for name in FIGURES:
        did_ST = getattr(did, name)
        said[name] = np.stack(
            [regress(scales.read_PZ, did_S, latents_QZ) for did_S in did_ST.T],
            axis=1,
        )
    return scales.readers, Summary(*said.values(), maps_STR=unseen.maps_STR)


def regress(read_SZ: np.ndarray, did_S: np.ndarray, latents_QZ: np.ndarray) -> np.ndarray:
    """Return the least-squares prediction (Q,) of a figure from the latents of which connectomes say something."""
    known_S, used_Z = np.isfinite(did_S), read_SZ.std(axis=0) > 0
    centre_Z, mean = read_SZ[known_S].mean(axis=0)[used_Z], did_S[known_S].mean()
    weight_Z = np.linalg.lstsq(read_SZ[known_S][:, used_Z] - centre_Z, did_S[known_S] - mean, rcond=None)[0]
    return np.asarray(mean + (latents_QZ[:, used_Z] - centre_Z) @ weight_Z)


def regressed(people: list[SubjectRecord], split: Split, taskset: TaskSet, unseen: People) -> dict[str, Summary]:
    """Return what the regressions and their stack, fitted to training and validation people, say of unseen people."""
    training = of(people, (*split.train, *split.validation), taskset)
    given = given_of(training, summary_of_people(training, taskset), unseen, taskset, seen=False)
    return {name: from_columns(fitted.said_QY, len(taskset.specs), 0)[0] for name, fitted in given.regressions.items()}


def correlations(said: Summary, observed: Summary) -> np.ndarray:
    """Return the correlation over unseen people of each figure and task."""
    found = np.full((len(FIGURES), observed.mean_rt_ST.shape[1]), np.nan)
    for row, name in enumerate(FIGURES):
        for task, (one_Q, other_Q) in enumerate(zip(getattr(said, name).T, getattr(observed, name).T, strict=True)):
            known_Q = np.isfinite(one_Q) & np.isfinite(other_Q)
            if known_Q.sum() > 2 and np.ptp(one_Q[known_Q]) > 0:
                found[row, task] = np.corrcoef(one_Q[known_Q], other_Q[known_Q])[0, 1]
    return found


def print_table(out: Path) -> None:
    """Print, of every cohort that was made, the mean over folds and tasks of each predictor's correlations."""
    singles = ("ridge", "kernel_ridge", "cpm", "latents_quadratic")
    columns = (READER, *singles, STACK)
    for row, figure in enumerate(FIGURES):
        print(f"\n{figure.removesuffix('_ST')}, r over unseen people, mean over tasks and folds")
        print("| cohort | " + " | ".join(columns) + " | reader minus best of all | minus best single |")
        print("|---|" + "---|" * (len(columns) + 2))
        all_r = []
        for path in sorted(out.glob("*.json")):
            found = json.loads(path.read_text())["r"]
            r = np.array([np.nanmean(np.array(found[name])[:, row]) for name in columns])
            all_r.append(r)
            gaps = r[0] - r[1:].max(), r[0] - r[1:-1].max()
            cells = [f"{value:.3f}" for value in r] + [f"{gap:+.3f}" for gap in gaps]
            print(f"| {path.stem} | " + " | ".join(cells) + " |")
        if all_r:
            r_CP = np.array(all_r)
            gaps = r_CP[:, 0] - r_CP[:, 1:].max(axis=1)
            print("| mean | " + " | ".join(f"{value:.3f}" for value in r_CP.mean(axis=0)) + " | | |")
            print(
                f"worst {gaps.min():+.3f}; not below by more than {TARGET} in {np.sum(gaps >= -TARGET)} of {len(gaps)}"
            )


def main() -> None:
    """Make the cohorts that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--loadings", nargs="+", default=["sparse", "dense"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13, 14, 15])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for kind, loadings, seed in itertools.product(options.kinds, options.loadings, options.seeds):
        path = options.out / f"{kind}-{loadings}-{seed}.json"
        if not path.exists():
            path.write_text(json.dumps(study_cohort(kind, loadings, seed)))
            print(path.stem, flush=True)
    print_table(options.out)


if __name__ == "__main__":
    main()
