"""How many trials a scan is worth, on curves whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from dtb.evaluate.living.worth import equivalent, worths_of

NUMBERS = np.array([0, 5, 10, 20, 40])


def table(with_N, without_N, num_people=40, spread=0.0):
    rng = np.random.default_rng(0)
    rows = []
    for name, loss_N in (("with", with_N), ("without", without_N)):
        for number, loss in zip(NUMBERS, loss_N, strict=True):
            rows += [
                ("later", "t", "t", str(number), number, name, f"p{who}", None, "mean RT", loss + spread * shift)
                for who, shift in enumerate(rng.normal(size=num_people))
            ]
    names = ["kind", "given", "judged", "amount", "num_given", "predictor", "pseudonym", "family", "figure", "crps"]
    return pd.DataFrame(rows, columns=names)


FALLING = np.array([1.0, 0.8, 0.6, 0.4, 0.3])


@pytest.mark.parametrize(
    ("first", "trials"), [(1.0, 0.0), (1.2, 0.0), (0.9, 2.5), (0.8, 5.0), (0.5, 15.0), (0.35, 30.0), (0.2, 40.0)]
)
def test_a_scan_is_worth_the_trials_that_bring_the_other_curve_as_low(first, trials):
    with_N = np.minimum(first, FALLING)
    with_N[0] = first
    (worth,) = worths_of(table(with_N, FALLING), "with", "without", 100)
    assert worth.trials.value == pytest.approx(trials)
    assert (worth.trials.lower, worth.trials.upper) == pytest.approx((trials, trials))
    assert worth.gains[0].value == pytest.approx(1.0 - first)
    words = {0.0: "no trials", 40.0: "at least 40"}.get(trials, f"worth {trials:.0f} trials [")
    assert words in worth.in_words


def test_a_curve_that_rises_by_chance_counts_as_staying():
    loss_2NS = np.array([[0.5, 0.5, 0.5, 0.5, 0.5], [1.0, 0.6, 0.7, 0.4, 0.3]])[:, :, None]
    assert equivalent(NUMBERS, loss_2NS, np.ones((1, 1))) == pytest.approx([15.0])


def test_what_is_not_clear_has_a_wide_interval():
    (worth,) = worths_of(table(FALLING - 0.1, FALLING, spread=0.5), "with", "without", 500)
    assert worth.trials.lower == 0.0
    assert worth.trials.upper > 5.0


def test_nothing_is_said_where_a_curve_lacks_points():
    some = table(FALLING, FALLING)
    assert worths_of(some[(some["predictor"] == "with") | (some["num_given"] > 0)], "with", "without", 100) == []
