"""Where windows overlap, what an evaluation says of a trial allows for the trial before, and looks at nothing that the person did."""

import dataclasses

import numpy as np

from tests.evaluate.people import make_people, with_other_answers
from tests.evaluate.test_stage import by_people, performed, untrained


def people_every(seconds: float, window: float):
    records = []
    for record in make_people(3, with_bold=False):
        (run,) = record.runs
        onset_J = 2.0 + seconds * np.arange(run.trials.num_trials)
        trials = dataclasses.replace(
            run.trials,
            onset_seconds_J=onset_J,
            window_seconds_J=np.full(len(onset_J), window),
            pulse_onset_seconds_Q=onset_J,
        )
        records.append(dataclasses.replace(record, runs=(dataclasses.replace(run, trials=trials),)))
    return records


def said_of(records):
    split = dataclasses.replace(by_people(records, 0), test=tuple(record.pseudonym for record in records))
    people, prediction = performed(records, split, untrained())
    return people.trials, prediction.trials


def test_overlap_delays_presses_and_probabilities_stay_whole():
    trials, said = said_of(people_every(1.0, 2.5))
    _, apart = said_of(people_every(4.0, 2.5))
    np.testing.assert_allclose(said.outcome_JO.sum(axis=1), 1, atol=1e-6)
    pressed_J = np.isfinite(trials.rt_J)
    assert np.isfinite(said.crps_J[pressed_J]).all()
    assert (said.crps_J[pressed_J] >= 0).all()
    waits_J = trials.trial_J > 0
    assert said.mean_rt_J[waits_J].mean() > apart.mean_rt_J[waits_J].mean() + 0.05
    assert said.outcome_JO[waits_J, -1].mean() > apart.outcome_JO[waits_J, -1].mean() + 0.02


def test_what_is_said_of_overlapping_trials_does_not_depend_on_the_persons_presses():
    records = people_every(1.0, 2.5)
    _, said = said_of(records)
    _, other = said_of([with_other_answers(record) for record in records])
    np.testing.assert_array_equal(said.mean_rt_J, other.mean_rt_J)
    np.testing.assert_array_equal(said.outcome_JO, other.outcome_JO)
