"""Go/no-go: omissions, commissions and d' of people, observed and predicted."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from dtb.evaluate.predictors.predictions import Prediction, TrialPrediction, summary_of_people, summary_of_prediction
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.figures import all_figures
from dtb.evaluate.scores.observed import collect
from dtb.evaluate.scores.pressing_figures import pressing
from dtb.shards.split import Span
from dtb.tasks.spec import task_from_mapping
from dtb.tasks.taskset import TaskSet
from tests.evaluate.people import NUM_REGIONS, make_people
from tests.evaluate.scores.test_figures import evidence  # noqa: F401 (a fixture)

GRADCPT = TaskSet(
    (
        task_from_mapping(
            {
                "name": "stroop", "domain": "cognitive", "matches": ["stroop"], "alternatives": ["press"],
                "trials": {
                    "window": {"seconds": 2}, "reaction_time": {"column": "rt"},
                    "response": {"from_codes": {"column": "key", "codes": {"1": "press"}}},
                },
                "stimuli": [{"channels": ["seen"], "constant": 1, "duration": {"seconds": 1}}],
            },
            "here",
        ),
    )
)  # fmt: skip


def go_nogo_people(num_people: int):
    """People who press in all but 3 of 24 go trials, and by mistake in as many of 6 others as their number says."""
    people = []
    for number, record in enumerate(make_people(num_people)):
        (run,) = record.runs
        place = np.arange(30)
        go_J, press_J = place < 24, (place < 21) | (place >= 30 - number % 6)
        trials = dataclasses.replace(
            run.trials, correct_JA=go_J[:, None], response_JA=press_J[:, None],
            rt_seconds_J=np.where(press_J, 0.5, np.nan), condition_J=np.full(30, -1, np.int16),
        )  # fmt: skip
        people.append(dataclasses.replace(record, runs=(dataclasses.replace(run, trials=trials),)))
    return collect(people, GRADCPT, Span(0, 1), np.arange(NUM_REGIONS), np.ones(NUM_REGIONS))


def test_presses_that_should_not_be_are_figures_of_their_own(evidence):  # noqa: F811
    people = go_nogo_people(12)
    trials, alarms_S = people.trials, np.arange(12) % 6
    found = pressing(trials, np.where(trials.happened_JO[:, -1], 0.0, 1.0), 12, 0)
    np.testing.assert_allclose(found["omissions"], 3 / 24)
    np.testing.assert_allclose(found["commissions"], alarms_S / 6)
    np.testing.assert_allclose(found["d'"], norm.ppf(21.5 / 25) - norm.ppf((alarms_S + 0.5) / 7))
    # A twin that expects half of each person's mistakes knows who makes them.
    outcome_JO = trials.happened_JO.astype(float)
    alarm_J = trials.correct_JO[:, -1] & ~trials.happened_JO[:, -1]
    outcome_JO[alarm_J] = 0.5
    said = TrialPrediction(outcome_JO, np.where(np.isfinite(trials.rt_J), 0.5, np.nan), np.zeros(len(trials)))
    prediction = Prediction(summary_of_prediction(trials, said, 12, GRADCPT, people.maps_STR), said)
    mine = dataclasses.replace(
        evidence,
        taskset=GRADCPT,
        people=people,
        observed=summary_of_people(people, GRADCPT),
        predictions={TWIN: prediction},
    )
    figures = {figure.metric: figure for figure in all_figures(mine)}
    assert figures["commissions r"].twin.value == pytest.approx(1)
    assert figures["d' r"].twin.value > 0.98
    press = (21 + alarms_S) / 30
    chance = (press**2 + (1 - press) ** 2).mean()
    agreed = 1 - (alarms_S / 2 / 30).mean()
    assert figures["accuracy above chance"].twin.value == pytest.approx(agreed - chance)
    assert "d' r" not in {figure.metric for figure in all_figures(evidence)}
