"""What is given always comes before what is judged, and what is judged is the same for every number of trials."""

import dataclasses

import numpy as np
import pytest

from dtb.evaluate.living.questions import Question, order_of, questions_of
from tests.evaluate.living.worlds import NUM_TASKS, TASKS, world


def _orders(**options):
    people, sessions, _ = world(6, 0, num_trials=120, **options)
    return people.trials, *(
        order_of(people.trials, sessions, NUM_TASKS, kind=kind) for kind in ("later", "next session")
    )


@pytest.mark.parametrize(("runs", "sessions"), [(1, 1), (2, 1), (3, 1), (2, 2)])
def test_given_trials_come_before_judged_ones_whatever_their_number(runs, sessions):
    trials, later, _ = _orders(runs=runs, sessions=sessions)
    judged_J = later.judged(trials, 0)
    for amount in later.amounts(0, np.ones(6, bool)):
        given_J = later.given(trials, 0, later.count(amount, 0))
        assert not (given_J & judged_J).any()
        for person in range(6):
            mine_J = trials.person_J == person
            when_J = trials.run_J * 1000 + trials.trial_J
            assert (given_J & mine_J).sum() == later.count(amount, 0)[person]
            assert when_J[mine_J & given_J].max(initial=-1) < when_J[mine_J & judged_J].min()


def test_of_one_run_half_is_given_and_of_several_the_first_ones_are():
    trials, later, _ = _orders(runs=1)
    assert later.amounts(0, np.ones(6, bool)) == ["0", "5", "10", "20", "40", "half a run"]
    assert (later.count("half a run", 0) == 60).all()
    assert (later.num_judged_ST[:, 0] == 60).all()
    trials, later, _ = _orders(runs=3)
    assert later.amounts(0, np.ones(6, bool)) == ["0", "5", "10", "20", "40"]  # which is a run
    assert np.unique(trials.run_J[later.judged(trials, 0)]).tolist() == [1, 2]


def test_with_two_sessions_the_second_is_judged_from_the_first():
    trials, later, again = _orders(runs=2, sessions=2)
    assert questions_of(later, again, TASKS)[-2:] == [Question("next session", 0, 0), Question("next session", 1, 1)]
    assert np.unique(trials.run_J[again.judged(trials, 0)]).tolist() == [2, 3]
    assert np.unique(trials.run_J[again.given(trials, 0, again.count("all", 0))]).tolist() == [0, 1]
    # Within a session nothing of the other is looked at.
    assert np.unique(trials.run_J[later.judged(trials, 0)]).tolist() == [1]
    *_, nothing = _orders(runs=2)
    assert nothing.num_judged_ST.max() == 0


def test_somebody_with_few_judged_trials_is_not_judged():
    people, sessions, _ = world(6, 0, num_trials=120, runs=2)
    few_J = (people.trials.person_J != 2) | (people.trials.run_J % 2 == 0) | (people.trials.trial_J < 4)
    trials = people.trials.only(few_J)
    order = order_of(trials, sessions, NUM_TASKS)
    assert np.unique(trials.person_J[order.judged(trials, 0)]).tolist() == [0, 1, 3, 4, 5]


def test_rows_may_be_in_any_order():
    people, sessions, _ = world(4, 0, num_trials=40)
    shuffled = np.random.default_rng(0).permutation(len(people.trials))
    values = [getattr(people.trials, field.name)[shuffled] for field in dataclasses.fields(people.trials)]
    straight = order_of(people.trials, sessions, NUM_TASKS)
    mixed = order_of(type(people.trials)(*values), sessions, NUM_TASKS)
    assert (mixed.place_J == straight.place_J[shuffled]).all()
