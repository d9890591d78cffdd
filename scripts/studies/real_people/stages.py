"""Pope et al. 2025: a drug against placebo in first-episode psychosis, two scans three months apart; connectomes alone."""

from __future__ import annotations

import numpy as np
from latents import distances, scans_of
from parts import Figure, Work, bootstrap, figure

from dtb.people.reliability import RELIABILITY_FILE
from dtb.shards.read import open_cohort

NUM_LATENTS = 8
NUM_PERMUTATIONS = 10_000
SMALLER = "Nothing: no twin can be trained, because there is no behaviour. The latents are the first components of baseline connectomes."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    work.dtb("ingest", "bids", "shards", "--derivatives", "xcp_d", "--rest-runs", "separate", "--tasks")
    assert (work.folder / "shards" / RELIABILITY_FILE).exists()
    scans = scans_of(work.folder / "shards")
    sessions = [
        {who: some[f"ses-{number}_task-rest"] for who, some in scans.items() if f"ses-{number}_task-rest" in some}
        for number in (1, 2)
    ]
    found = {}
    apart = distances(*sessions, by_correlation=True)
    for name, values_S in apart.items():
        found[f"connectomes after three months: {name}"] = bootstrap(values_S, trained=False)
    both = [who for who in sessions[0] if who in sessions[1]]
    early_SZ, late_SZ = components(
        np.stack(list(sessions[0].values())), *(np.stack([one[who] for who in both]) for one in sessions)
    )
    moved_SZ = late_SZ - early_SZ
    near_SS = np.sqrt(((early_SZ[:, None] - late_SZ[None]) ** 2).mean(axis=2))
    own_S, others_SS = np.diagonal(near_SS), np.where(np.eye(len(both), dtype=bool), np.nan, near_SS)
    found["latents after three months: own"] = bootstrap(own_S, trained=False)
    found["latents after three months: others"] = bootstrap(np.nanmean(others_SS, axis=1), trained=False)
    found["latents after three months: nearest"] = bootstrap(
        (own_S < np.nanmin(others_SS, axis=1)).astype(float), trained=False
    )
    arm_S = arms(work, both)
    known_S = arm_S != "unknown"
    drug_S = arm_S[known_S] == "medication"
    drifts = {"connectomes (1 - r)": apart["own"], "latents": own_S}
    for name, drift_S in drifts.items():
        one = bootstrap(drift_S[known_S], trained=False, group_S=drug_S)
        p = permuted(
            lambda drug_S, values_S=drift_S[known_S]: abs(values_S[drug_S].mean() - values_S[~drug_S].mean()), drug_S
        )
        found[f"drift of {name}, drug minus placebo"] = {**one, "p": p, "num_drug": int(drug_S.sum())}
    moved_SZ = moved_SZ[known_S]
    p = permuted(lambda drug_S: float(np.square(moved_SZ[drug_S].mean(0) - moved_SZ[~drug_S].mean(0)).sum()), drug_S)
    found["direction of the drift of latents, drug against placebo, p"] = figure(
        p, None, None, len(drug_S), trained=False
    )
    return found


def components(all_SE: np.ndarray, *scans: np.ndarray) -> list[np.ndarray]:
    """Return the first components of scans, in standard deviations over everybody's first scan, which they are fitted to."""
    known_E = np.isfinite(all_SE).all(axis=0)
    mean_E, scale_E = all_SE[:, known_E].mean(axis=0), all_SE[:, known_E].std(axis=0)
    _, _, axes_ZE = np.linalg.svd((all_SE[:, known_E] - mean_E) / scale_E, full_matrices=False)
    read = [((one[:, known_E] - mean_E) / scale_E) @ axes_ZE[:NUM_LATENTS].T for one in (all_SE, *scans)]
    return [one / read[0].std(axis=0) for one in read[1:]]


def arms(work: Work, people: list[str]) -> np.ndarray:
    """Return the arm of each person, `unknown` where it is not published."""
    cohort = open_cohort(work.folder / "shards", verify=False)
    return np.array([str(who.covariates.get("group") or "unknown") for who in cohort.records(people)])


def permuted(statistic, drug_S: np.ndarray) -> float:
    """Return p of a statistic that is large where the arms differ, over deals of the arms."""
    rng, seen = np.random.default_rng(0), statistic(drug_S)
    drawn = [statistic(rng.permutation(drug_S)) for _ in range(NUM_PERMUTATIONS)]
    return float((1 + np.sum(np.array(drawn) >= seen - 1e-12)) / (1 + NUM_PERMUTATIONS))
