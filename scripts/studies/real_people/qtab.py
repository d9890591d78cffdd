"""QTAB: 194 adolescents in families, a movie for rest and an emotional conflict task; families stay together."""

from __future__ import annotations

import numpy as np
from parts import NUM_DRAWS, Figure, Work, figure, usual_figures
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.preprocessing import StandardScaler

from dtb.evaluate.scores.statistics import STREAM, correlation, draw_weights, estimate
from dtb.people.covariates import family_numbers
from dtb.shards.read import open_cohort

FOLDS, STEPS = (0,), 150
SMALLER = "One of three folds (66 unseen people) and 150 steps."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    work.expand()
    spec = work.specs / "emotionalconflict.yaml"
    work.dtb("ingest", "bids", "shards", "--derivatives", "xcp_d", "--tasks", spec, "--rest-task", "partlycloudy")
    pooled = work.folds(FOLDS, "--max-steps", str(STEPS), "--segments.burn-in-seconds", "8", num_folds=3)
    return usual_figures(pooled) | readings(work)


def readings(work: Work) -> dict[str, Figure]:
    """Return what kernel ridge regression reads of everybody's connectome about age, sex and log reaction times, families left out.

    Sex is 0 for girls and 1 for boys.
    """
    records = list(open_cohort(work.folder / "shards", verify=False).records())
    edges_SE = StandardScaler().fit_transform(np.stack([np.nan_to_num(record.connectome_E) for record in records]))
    # Coordinates in the span of all people keep every distance; ages and reaction times have no part in them.
    values_S, vectors_SS = np.linalg.eigh(edges_SE @ edges_SE.T / edges_SE.shape[1])
    read_SS = vectors_SS * np.sqrt(values_S.clip(0))
    rts = [np.concatenate([run.trials.rt_seconds_J for run in record.runs]) for record in records]
    targets = {
        "age": np.array([float(record.covariates["age"]) for record in records]),
        "sex": np.array([float(record.covariates["sex"] == "M") for record in records]),
        "log RT": np.array([np.nanmean(np.log(rt_J[rt_J > 0])) for rt_J in rts]),
    }
    family_S = family_numbers([record.covariates for record in records])
    found = {}
    for name, target_S in targets.items():
        said_S = np.full(len(target_S), np.nan)
        for others, rest in GroupKFold(5).split(read_SS, groups=family_S):
            search = GridSearchCV(KernelRidge(kernel="rbf", gamma=1.0), {"alpha": [0.1, 1.0, 10.0]}, cv=GroupKFold(5))
            centre = target_S[others].mean()
            search.fit(read_SS[others], target_S[others] - centre, groups=family_S[others])
            said_S[rest] = centre + search.predict(read_SS[rest])
        weights_BS = draw_weights(len(target_S), NUM_DRAWS, STREAM, family_S)
        one = estimate(correlation, target_S, said_S, weights_BS, 0.95)
        found[f"kernel ridge, families left out: {name}, r"] = figure(
            one.value, one.lower, one.upper, one.num_people, trained=False
        )
    return found
