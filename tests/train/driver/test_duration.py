"""The expected duration is what the steps made so far say."""

from __future__ import annotations

from dtb.train.budget import Budget
from dtb.train.driver.duration import ExpectedDuration


def told(budget: Budget, step_seconds, begin: int = 0) -> list[str]:
    now, said = 0.0, []

    def clock() -> float:
        return now

    expected = ExpectedDuration(budget, said.append, clock)
    for made in range(begin + 1, budget.max_steps + 1):
        now += step_seconds(made)
        expected.step(made)
    return said


def test_it_is_told_twice_and_the_first_step_does_not_count():
    # Every twentieth step is followed by a validation of 3 s, which the second estimate holds: 99 steps take 111 s.
    said = told(
        Budget(steps_per_epoch=20, max_steps=1000, patience_steps=1000),
        lambda made: 100.0 if made == 1 else 4.0 if made % 20 == 1 else 1.0,
    )
    assert [line.split(" ")[1] for line in said] == ["991", "900"]
    assert "17 min at most, by 1 s for each of the last 8 (validations not counted)" in said[0]
    assert "17 min at most, by 1.1 s for each of the last 99 (validations included)" in said[1]


def test_after_going_on_it_is_about_what_is_left():
    said = told(Budget(steps_per_epoch=10, max_steps=1000, patience_steps=1000), lambda _: 1.0, begin=900)
    assert said[0].startswith("The 91 steps that are left will take 2 min at most")


def test_a_few_steps_are_not_worth_a_word():
    assert told(Budget(steps_per_epoch=2, max_steps=5, patience_steps=5), lambda _: 1.0) == []


def test_of_a_short_training_it_is_told_once():
    assert len(told(Budget(steps_per_epoch=2, max_steps=60, patience_steps=60), lambda _: 1.0)) == 1
