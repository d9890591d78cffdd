"""What a cohort's events say without any brain data: the figures that a digital twin has to exceed before its connectome counts.

Made for the cohort of the reference paper (Takahashi, Soda, Tomita & Yamashita 2026, BME Frontiers, 10.34133/bmef.0231), whose events and
covariates are open (OpenNeuro ds005237): the paper's headline figures, with predictors that know no connectome.

Shape letters: `S` subject.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from sklearn.model_selection import KFold

from dtb.errors import InputDataError
from dtb.evaluate.predictors.fitting import regressions
from dtb.evaluate.predictors.predictions import Summary, summary_of_people
from dtb.evaluate.scores.observed import People, collect
from dtb.evaluate.scores.statistics import (
    Estimate,
    Statistic,
    correlation,
    draw_weights,
    estimate,
    explained_variance,
    mean_of,
)
from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Span
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from dtb.tasks.tables import read_tsv
from dtb.tasks.taskset import TaskSet

HALF_SECONDS = 196.8
"""The paper trains on the first 196.8 s of each run and tests on the next."""

RUNS = {
    "Emotional Faces": ("hammer", "hammerAP"),
    "Stroop AP": ("stroop", "stroopAP"),
    "Stroop PA": ("stroop", "stroopPA"),
}
"""Task specification and BIDS task label of each run."""

NUM_DRAWS = 10_000
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Finding:
    """One figure, and what the paper reports for its twins.

    Attributes
    ----------
    question : str
        Key of the paper's claim that it bears on.
    run : str
        Which run or runs.
    predictor : str
        What predicts what, in words.
    metric : str
    figure : Estimate
    published : float or None
        The paper's figure for its twins, where it gives one.
    """

    question: str
    run: str
    predictor: str
    metric: str
    figure: Estimate
    published: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class RunHalves:
    """People in one run: its first half, its second half, and both.

    Attributes
    ----------
    people : People
        With the trials of the second half.
    first, second, whole : Summary
    above_chance_S : (S,) bool
        Whether the person was right more often, over the whole run, than by guessing.
    """

    people: People
    first: Summary
    second: Summary
    whole: Summary
    above_chance_S: np.ndarray


def read_runs(root: Path, run: str) -> dict[str, Run]:
    """Read every participant's events of one run.

    Parameters
    ----------
    root : Path
        BIDS tree.
    run : str
        One of `RUNS`.

    Returns
    -------
    dict of str to Run
        By participant, for example ``sub-NDARINVAG388HJL``. The run ends after the paper's two halves.

    Raises
    ------
    InputDataError
        There is no such run in the tree, or a file in it cannot be read.
    """
    task, label = RUNS[run]
    spec = load_task(task)
    files = sorted(root.glob(f"sub-*/func/sub-*_task-{label}_run-*_events.tsv"))
    if not files:
        raise InputDataError(
            f"{root} has no sub-*/func/*_task-{label}_run-*_events.tsv; give the tree of OpenNeuro ds005237."
        )
    return {
        file.name.split("_")[0]: Run(
            task, label, None, None, read_trials(spec, file).trials, 2 * HALF_SECONDS, None, None
        )
        for file in files
    }


def read_halves(root: Path, run: str) -> RunHalves:
    """Read one run of everybody and sum up its halves; parameters and errors as in `read_runs`."""
    taskset = TaskSet((load_task(RUNS[run][0]),))
    covariates = read_covariates(root)
    records = [
        SubjectRecord(participant, np.zeros(0, np.float32), covariates.get(participant, {}), (performed,))
        for participant, performed in read_runs(root, run).items()
    ]

    def part(span: Span) -> People:
        return collect(records, taskset, span, np.zeros(0, np.int64), np.zeros(0))

    second, whole = part(Span(0.5, 1.0)), summary_of_people(part(Span(0.0, 1.0)), taskset)
    return RunHalves(
        second,
        summary_of_people(part(Span(0.0, 0.5)), taskset),
        summary_of_people(second, taskset),
        whole,
        whole.accuracy_ST[:, 0] > 1 / taskset.num_alternatives,
    )


def read_covariates(root: Path) -> dict[str, dict[str, float | str | None]]:
    """Read age, sex and site of each participant."""
    columns = read_tsv(root / "participants.tsv").columns
    found: dict[str, dict[str, float | str | None]] = {}
    for row, participant in enumerate(columns["participant_id"]):
        age = columns["age"][row]
        found[participant] = {
            "age": None if age in {"", "n/a"} else float(age),
            "sex": columns["sex"][row],
            "site": columns["Site"][row],
        }
    return found


def findings(halves: dict[str, RunHalves], seed: int = 0) -> list[Finding]:
    """Compute every figure from the halves of each run."""
    found = []
    published_rt = {"Emotional Faces": 0.90, "Stroop AP": 0.85}
    published_agreement = {"Emotional Faces": 0.94, "Stroop AP": 0.90}
    for run, half in halves.items():
        found += _within_run(run, half, published_rt.get(run), published_agreement.get(run), seed)
    found += _between_runs(halves, seed)
    return found


def _within_run(
    run: str, half: RunHalves, published_rt: float | None, published_agreement: float | None, seed: int
) -> list[Finding]:
    first_S, second_S = half.first.mean_rt_ST[:, 0], half.second.mean_rt_ST[:, 0]
    able_S = np.where(half.above_chance_S, second_S, np.nan)
    own = "own mean RT of the first half"
    demographic_S = demographic_prediction(half)
    age_S = np.array(
        [np.nan if (age := who.get("age")) is None else age for who in half.people.covariates], dtype=float
    )
    return [
        Finding("rt", run, own, "r", _estimate(correlation, second_S, first_S, seed), published_rt),
        Finding("rt", run, f"{own}, people above chance", "r", _estimate(correlation, able_S, first_S, seed)),
        Finding("rt", run, own, "R2", _estimate(explained_variance, second_S, first_S, seed)),
        Finding(
            "choice",
            run,
            "an agent that is always correct",
            "agreement",
            _estimate(mean_of, second_S, half.second.accuracy_ST[:, 0], seed),
            published_agreement,
        ),
        Finding("unseen", run, "age", "r", _estimate(correlation, half.whole.mean_rt_ST[:, 0], age_S, seed)),
        Finding(
            "unseen",
            run,
            "age, sex and site, ridge regression, ten-fold over people",
            "r",
            _estimate(correlation, half.whole.mean_rt_ST[:, 0], demographic_S, seed),
        ),
        Finding(
            "effect",
            run,
            "own condition effect of the first half",
            "r",
            _estimate(correlation, half.second.condition_rt_ST[:, 0], half.first.condition_rt_ST[:, 0], seed),
        ),
    ]


def _between_runs(halves: dict[str, RunHalves], seed: int) -> list[Finding]:
    first, second = _matched(halves["Stroop AP"], halves["Stroop PA"])
    able_S = halves["Stroop AP"].above_chance_S[first] & halves["Stroop PA"].above_chance_S[second]

    def column(run: str, figure: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(getattr(halves[run].whole, figure)[rows, 0])

    effect_S = column("Stroop PA", "condition_rt_ST", second)
    between_tasks = []
    for run in ("Stroop AP", "Stroop PA"):
        faces, stroop = _matched(halves["Emotional Faces"], halves[run])
        speed = (column(run, "mean_rt_ST", stroop), column("Emotional Faces", "mean_rt_ST", faces))
        name = f"Emotional Faces with {run}"
        between_tasks.append(
            Finding("retest", name, "mean RT in the other task", "r", _estimate(correlation, *speed, seed))
        )
    return [
        Finding(
            "retest",
            "Stroop AP to PA",
            "mean RT in the other run",
            "r",
            _estimate(
                correlation, column("Stroop PA", "mean_rt_ST", second), column("Stroop AP", "mean_rt_ST", first), seed
            ),
        ),
        *(
            Finding(
                "retest",
                "Stroop AP to PA",
                f"Stroop effect in the other run{whom}",
                "r",
                _estimate(correlation, some_S, column("Stroop AP", "condition_rt_ST", first), seed),
            )
            for whom, some_S in (("", effect_S), (", people above chance in both", np.where(able_S, effect_S, np.nan)))
        ),
        *between_tasks,
    ]


def demographic_prediction(half: RunHalves, num_folds: int = 10) -> np.ndarray:
    """Predict each person's mean reaction time (S,) from age, sex and site, by a ridge regression on the other folds' people."""
    predicted_S = np.full(len(half.people), np.nan)
    for fit, rest in KFold(num_folds, shuffle=True, random_state=0).split(predicted_S):
        fold = regressions(_some(half.people, fit), _some_summary(half.whole, fit), _some(half.people, rest))
        predicted_S[rest] = fold["demographics_motion"].summary.mean_rt_ST[:, 0]
    return predicted_S


def _some(people: People, rows: np.ndarray) -> People:
    """Take some people's covariates; their trials stay out, for nothing here may read them."""
    return dataclasses.replace(
        people,
        pseudonyms=tuple(people.pseudonyms[row] for row in rows),
        edges_SE=people.edges_SE[rows],
        covariates=[people.covariates[row] for row in rows],
        maps_STR=people.maps_STR[rows],
    )


def _some_summary(summary: Summary, rows: np.ndarray) -> Summary:
    return Summary(
        summary.mean_rt_ST[rows], summary.condition_rt_ST[rows], summary.accuracy_ST[rows], summary.maps_STR[rows]
    )


def _matched(one: RunHalves, other: RunHalves) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the people that two runs share, in the same order."""
    _, rows, other_rows = np.intersect1d(one.people.pseudonyms, other.people.pseudonyms, return_indices=True)
    return rows, other_rows


def _estimate(statistic: Statistic, observed_S: np.ndarray, predicted_S: np.ndarray, seed: int) -> Estimate:
    return estimate(statistic, observed_S, predicted_S, draw_weights(len(observed_S), NUM_DRAWS, seed), CONFIDENCE)
