"""Baselines in a world where the best prediction is known: N = 0 is the regression, many trials are the own mean, bands hold their share."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dtb.evaluate.living.baselines import CONNECTOME, GROUP, MANY, MIX, OWN, TRIALS, TRIALS_CONNECTOME
from dtb.evaluate.living.curves import curves, gains
from dtb.evaluate.living.evaluate import Living
from dtb.evaluate.living.questions import Question
from tests.evaluate.living.worlds import READING_RELIABILITY, SCATTER_SECONDS, SPREAD_SECONDS, TASKS, stack_of, world

NUM_TRAINING, NUM_PEOPLE = 200, 200


def living(questions, people=None, amounts=None, **options) -> pd.DataFrame:
    training, names, training_SY = world(NUM_TRAINING, 1, **options)
    unseen, unseen_names, unseen_SY = people or world(NUM_PEOPLE, 2, **options)
    fold_S = np.arange(NUM_TRAINING) % 5
    found = Living(training, names, unseen, unseen_names, TASKS, stack_of(training_SY, unseen_SY), fold_S)
    found.questions = [question for question in found.questions if question in questions]
    found.amounts = found.amounts if amounts is None else lambda _: amounts
    return pd.concat(list(found.tables()), ignore_index=True)


SAME, OTHER = Question("later", 0, 0), Question("other task", 0, 1)


@pytest.fixture(scope="module")
def table():
    return living([SAME, OTHER])


@pytest.fixture(scope="module")
def found(table):
    return curves(table, 100).set_index(["kind", "amount", "predictor", "figure", "metric"])["value"].sort_index()


def said(table, kind, amount, predictor, figure="mean RT"):
    rows = table[(table["kind"] == kind) & (table["amount"] == amount) & (table["figure"] == figure)]
    return rows[rows["predictor"] == predictor].set_index("pseudonym")


def test_without_own_trials_the_mix_is_the_regression_and_the_own_mean_the_group(table):
    for kind in ("later", "other task"):
        for mixed, alone in ((MIX, CONNECTOME), (OWN, GROUP)):
            one, other = said(table, kind, "0", mixed), said(table, kind, "0", alone)
            assert (one["mean"] == other["mean"]).all()
            assert (one["variance"] == other["variance"]).all()
    assert said(table, "later", "0", GROUP)["mean"].nunique() == 1


def test_what_the_connectome_and_the_group_say_does_not_change_with_own_trials(table):
    for name in (GROUP, CONNECTOME):
        means = [said(table, "later", amount, name)["mean"] for amount in ("0", "5", "a run")]
        assert (means[0] == means[1]).all()
        assert (means[0] == means[2]).all()


@pytest.mark.slow
def test_after_many_trials_the_prediction_is_the_own_mean():
    calm = living([SAME], amounts=["a run"], num_trials=200, scatter=0.01)
    for name in (OWN, MIX):
        rows = said(calm, "later", "a run", name)
        assert np.abs(rows["mean"] - rows["observed"]).max() < 0.02


@pytest.mark.parametrize("number", [5, 10, 20, 40])
def test_the_mix_reaches_what_a_gaussian_world_allows(found, number):
    prior = SPREAD_SECONDS**2 * (1 - READING_RELIABILITY)
    seen = 0.97 * number  # some trials are omitted
    left = 1 / (1 / prior + seen / SCATTER_SECONDS**2)
    noise = SCATTER_SECONDS**2 / (0.97 * 60)
    best = 1 - (left + noise) / (SPREAD_SECONDS**2 + noise)
    for name in (MIX, MANY, TRIALS_CONNECTOME):
        assert found["later", str(number), name, "mean RT", "R2"] == pytest.approx(best, abs=0.06)


def test_more_of_a_person_is_never_worse(found):
    for name in (OWN, MIX, MANY, TRIALS, TRIALS_CONNECTOME):
        r = [found["later", amount, name, "mean RT", "R2"] for amount in ("0", "5", "20", "a run")]
        assert r == sorted(r)
    for amount in ("0", "5", "10"):
        assert found["later", amount, MIX, "mean RT", "R2"] > found["later", amount, OWN, "mean RT", "R2"] + 0.03


def test_another_task_tells_as_much_as_tasks_have_in_common(found):
    # The tasks' true means have r = .5, so that without a connectome a quarter of the variance can be said, whatever the number of trials.
    assert found["other task", "a run", OWN, "mean RT", "R2"] == pytest.approx(0.22, abs=0.1)
    assert found["other task", "a run", MIX, "mean RT", "R2"] >= found["other task", "0", MIX, "mean RT", "R2"] - 0.02


def test_bands_hold_their_share(found):
    for amount in ("0", "5", "10", "20", "40", "a run"):
        for name in (GROUP, OWN, CONNECTOME, MIX, MANY, TRIALS, TRIALS_CONNECTOME):
            for figure in ("mean RT", "condition effect"):
                for level in (0.5, 0.8, 0.9):
                    share = found["later", amount, name, figure, f"within {level:.0%}"]
                    # Chance has a part in both samples, of training people and of those who are predicted.
                    error = np.sqrt(level * (1 - level) * (1 / NUM_PEOPLE + 1 / NUM_TRAINING))
                    assert share == pytest.approx(level, abs=4 * error)


@pytest.mark.slow
def test_people_who_change_are_foreseen_to():
    changed = living([SAME], amounts=["a run"], change=0.1)
    within = curves(changed, 100).set_index(["amount", "predictor", "figure", "metric"])["value"]
    for name in (OWN, MIX, MANY, TRIALS):
        assert within["a run", name, "mean RT", "within 90%"] == pytest.approx(0.9, abs=0.07)


def test_single_trials_are_scored_better_the_more_is_known(found):
    for name in (TRIALS, TRIALS_CONNECTOME):
        for metric, sign in (("CRPS", -1), ("log score", 1)):
            values = [
                sign * found["later", amount, name, "reaction times of trials", metric] for amount in ("0", "5", "40")
            ]
            assert values == sorted(values)
    # Nothing is better than the law that the trials come from.
    best = -0.5 * np.log(2 * np.pi * np.e * SCATTER_SECONDS**2)
    reached = found["later", "a run", TRIALS, "reaction times of trials", "log score"]
    assert best - 0.1 < reached < best + 0.03


@pytest.mark.slow
def test_nothing_that_is_judged_is_looked_at():
    people, names, readings_SY = world(40, 3)
    later_J = people.trials.run_J % 2 == 1
    rng = np.random.default_rng(0)
    other_J = np.where(later_J, rng.uniform(2, 3, len(later_J)), people.trials.rt_J)
    happened_JO = people.trials.happened_JO.copy()
    happened_JO[later_J] = np.roll(happened_JO[later_J], 1, axis=1)
    changed = dataclasses.replace(people.trials, rt_J=other_J, happened_JO=happened_JO)
    tables = [
        living([SAME, OTHER], (dataclasses.replace(people, trials=trials), names, readings_SY), ["10"])
        for trials in (people.trials, changed)
    ]
    for figure in ("mean RT", "condition effect", "accuracy"):
        one, other = (each[each["figure"] == figure].reset_index() for each in tables)
        assert (one["observed"] != other["observed"]).mean() > 0.9
        pd.testing.assert_frame_equal(one[["mean", "variance"]], other[["mean", "variance"]])


def test_folds_under_each_other_are_pooled_and_relatives_drawn_together(table):
    rows = table[(table["kind"] == "later") & (table["amount"] == "10") & (table["figure"] == "mean RT")]
    first = rows.assign(fold=0, observed=rows["observed"], mean=rows["mean"])
    second = rows.assign(
        fold=1, observed=rows["observed"] + 5, mean=rows["mean"] - 5, pseudonym=rows["pseudonym"] + "b"
    )
    pooled = curves(pd.concat([first, second]), 100).set_index(["predictor", "metric"])["value"]
    alone = curves(first, 100).set_index(["predictor", "metric"])["value"]
    # A shift between folds is none of the people's.
    assert pooled[MIX, "r"] == pytest.approx(alone[MIX, "r"], abs=1e-9)
    # Relatives who are alike say less than as many strangers.
    mixed = rows[rows["predictor"] == MIX].sort_values("crps")
    related = mixed.assign(family=[f"f{place // 6}" for place in range(len(mixed))])
    widths = [
        crps["upper"] - crps["lower"]
        for each in (mixed, related)
        for crps in [curves(each, 400).set_index("metric").loc["CRPS"]]
    ]
    assert widths[1] > 1.5 * widths[0]
    with pytest.raises(ValueError, match="twice"):
        curves(pd.concat([rows, rows]), 100)


def test_gains_are_paired_and_positive_where_better(table):
    rows = table[(table["kind"] == "later") & (table["amount"] == "5") & (table["figure"] == "mean RT")]
    gap = gains(rows, MIX, 200).set_index(["predictor", "metric"])
    for metric in ("r", "R2", "log score", "CRPS"):
        assert gap.loc[(OWN, metric), "gain"] > 0
        assert gap.loc[(OWN, metric), "lower"] > 0
