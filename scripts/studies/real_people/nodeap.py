"""NODEAP: up to seven rest connectomes and three sessions of choices a person, network-targeted cTBS against sham."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
from latents import distances, read_by, scans_of, unseen_of
from parts import HERE, Figure, Work, bootstrap, figure, usual_figures

from dtb.evaluate.inputs import open_inputs
from dtb.evaluate.predictors.predictions import summary_of_people
from dtb.evaluate.predictors.twin import predict
from dtb.evaluate.scores.observed import collect
from dtb.files import write_json
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Span

FOLDS, STEPS = (0,), 150
SMALLER = "One of three folds (12 unseen people) and 150 steps."
PROTOCOL = HERE / "nodeap_protocol.yaml"


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    matrices = ["--connectome", "precomputed", "--matrix-transform", "fisher_z", "--rest-runs", "separate"]
    spec = work.specs / "nodeap_choice.yaml"
    work.dtb("ingest", "bids", "shards", "--derivatives", "xcp_d", *matrices, "--tasks", spec)
    behaviour = ["--segments.burn-in-seconds", "8"]
    pooled = work.folds(FOLDS, "--max-steps", str(STEPS), *behaviour, num_folds=3)
    found = usual_figures(pooled) | identity(work)
    said = predicted_before(work)
    work.more["protocol_sha256"] = hashlib.sha256(PROTOCOL.read_bytes()).hexdigest()
    return found | compared(work, said)


def identity(work: Work) -> dict[str, Figure]:
    """Return how far apart the connectomes and the twins of two sessions are: the first day of the first and of the second session."""
    first, second = "ses-S1D1_task-rest", "ses-S2D1_task-rest"
    scans = scans_of(work.folder / "shards")

    def both(some: dict[str, dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        return [
            {who: each[name] for who, each in some.items() if {first, second} <= {*each}} for name in (first, second)
        ]

    parts = {"connectomes": [distances(*both(scans), by_correlation=True)], "twins": []}
    for fold in FOLDS:
        trained = work.folder / f"train{fold}"
        read = read_by(trained, {who: scans[who] for who in unseen_of(trained)})
        parts["twins"].append(distances(*both(read), by_correlation=False))
    found = {}
    for what, some in parts.items():
        for name in ("own", "others", "nearest"):
            values_S = np.concatenate([one[name] for one in some])
            found[f"two sessions, {what}: {name}"] = bootstrap(values_S, trained=what == "twins")
    return found


def predicted_before(work: Work) -> pd.DataFrame:
    """Return what the protocol's twins say of each unseen person under sham and under cTBS, written down before any outcome is read.

    The protocol's hash and everything that is predicted stand in `trial.json`; who looks at outcomes later finds them unchanged.
    """
    file = work.folder / "trial.json"
    protocol = hashlib.sha256(PROTOCOL.read_bytes()).hexdigest()
    if file.exists():
        written = json.loads(file.read_text())
        if written["protocol_sha256"] != protocol:
            raise SystemExit(
                f"{file} was made under another protocol: predictions cannot be changed after outcomes were looked at."
            )
        return pd.DataFrame(written["said"])
    orders = orders_of(work)
    rows = []
    for fold in FOLDS:
        task = open_inputs(work.folder / "shards", work.folder / f"train{fold}", ())
        nowhere = np.zeros(0, np.int64)
        records = list(task.cohort.records(task.split.test))
        people = collect(records, task.taskset, Span(0.0, 1.0), nowhere, np.zeros(0))
        edges = {
            order: np.stack([day2_scan(record, orders[record.pseudonym], order) for record in records]).astype(
                np.float32
            )
            for order in ("SS", "SC")
        }
        maker = BatchMaker(task.taskset, task.card.segments, task.card.config.step_seconds, [], task.split)
        said = predict([task.twin], maker, records, people, "test", task.split, task.taskset, nowhere, edges)
        for row, record in enumerate(records):
            gap = [float(said[order].summary.mean_rt_ST[row, 0]) for order in ("SS", "SC")]
            if np.isfinite(edges["SS"][row]).any() and np.isfinite(edges["SC"][row]).any():
                rows.append({"pseudonym": record.pseudonym, "sham": gap[0], "ctbs": gap[1]})
    write_json(file, {"protocol_sha256": protocol, "said": rows})
    return pd.DataFrame(rows)


def compared(work: Work, said: pd.DataFrame) -> dict[str, Figure]:
    """Return what happened under cTBS beside what was predicted."""
    orders = orders_of(work)
    task = open_inputs(work.folder / "shards", work.folder / f"train{FOLDS[0]}", ())
    records = list(task.cohort.records(tuple(said["pseudonym"])))
    nowhere = np.zeros(0, np.int64)
    happened = {order: [] for order in ("SS", "SC")}
    for record in records:
        sessions = orders[record.pseudonym]
        for order, values in happened.items():
            runs = tuple(run for run in record.runs if run.session == f"{sessions.get(order, '')}D2")
            one = collect([dataclasses.replace(record, runs=runs)], task.taskset, Span(0.0, 1.0), nowhere, np.zeros(0))
            values.append(float(summary_of_people(one, task.taskset).mean_rt_ST[0, 0]) if runs else np.nan)
    observed_S = np.array(happened["SC"]) - np.array(happened["SS"])
    predicted_S = (said["ctbs"] - said["sham"]).to_numpy(float)
    known_S = np.isfinite(observed_S) & np.isfinite(predicted_S)
    observed_S, predicted_S = observed_S[known_S], predicted_S[known_S]
    found = {
        "trial: observed change of mean RT under cTBS, s": bootstrap(observed_S, trained=False),
        "trial: predicted change of mean RT under cTBS, s": bootstrap(predicted_S, trained=True),
    }
    varies = predicted_S.std() > 1e-9
    r = float(np.corrcoef(observed_S, predicted_S)[0, 1]) if varies else 0.0
    rng = np.random.default_rng(0)
    drawn_B = [np.corrcoef(observed_S, rng.permutation(predicted_S))[0, 1] if varies else 0.0 for _ in range(10_000)]
    p = float((1 + np.sum(np.array(drawn_B) >= r - 1e-12)) / 10_001)
    rows = [rng.integers(len(observed_S), size=len(observed_S)) for _ in range(2000)]
    drawn_B = [np.corrcoef(observed_S[row], predicted_S[row])[0, 1] for row in rows] if varies else [0.0]
    lower, upper = np.nanquantile(drawn_B, [0.025, 0.975])
    found["trial: r of predicted with observed change"] = {
        **figure(r, float(lower), float(upper), len(observed_S)),
        "p": p,
    }
    same = np.sign(observed_S) == np.sign(predicted_S)
    found["trial: people whose change has the predicted sign"] = bootstrap(same.astype(float), trained=True)
    return found


def day2_scan(record, sessions: dict[str, str], order: str) -> np.ndarray:
    """Return the scan of the second day of the session with this order of TMS; NaN where there is none."""
    name = f"ses-{sessions.get(order, '')}D2_task-rest"
    return record.rest_runs.get(name, np.full_like(record.connectome_E, np.nan))


def orders_of(work: Work) -> dict[str, dict[str, str]]:
    """Return for each pseudonym which session (S1, S2, S3) had which order of TMS; the arms alone, no outcome."""
    file = f"{work.folder / 'shards'}.identities.tsv"
    known = pd.read_csv(file, sep="\t", comment="#").set_index("participant_id")["pseudonym"]
    people = pd.read_csv(work.folder / "bids" / "participants.tsv", sep="\t").set_index("participant_id")["tms_order"]
    return {
        pseudonym: {order: f"S{place + 1}" for place, order in enumerate(people[label].split("-"))}
        for label, pseudonym in known.items()
    }
