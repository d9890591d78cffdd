"""What a twin knows of unseen people beyond their age and site, and of whom that is asked."""

from __future__ import annotations

import types

import numpy as np
import pytest
from scipy.stats import pearsonr
from scipy.stats import t as student

from dtb.fleet.support import seen_in_training, support_of
from dtb.shards.split import Split


def test_without_covariates_it_is_pearsons() -> None:
    rng = np.random.default_rng(0)
    said_S = rng.normal(size=40)
    did_S = 0.5 * said_S + rng.normal(size=40)
    found = support_of(said_S, did_S, [{}] * 40)
    expected = pearsonr(said_S, did_S, alternative="greater")
    assert (found.r, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.taken_out == ()


def test_sexes_are_taken_out_as_by_regressions_of_both() -> None:
    rng = np.random.default_rng(1)
    sex_S = np.arange(50) % 2
    said_S = rng.normal(size=50) + 2 * sex_S
    did_S = rng.normal(size=50) + 2 * sex_S
    found = support_of(said_S, did_S, [{"sex": "MF"[one]} for one in sex_S])
    rest = [values_S - np.array([values_S[sex_S == one].mean() for one in sex_S]) for values_S in (said_S, did_S)]
    r = np.corrcoef(*rest)[0, 1]
    assert found.r == pytest.approx(r)
    assert found.p_value == pytest.approx(student.sf(r * np.sqrt(47 / (1 - r**2)), 47))
    assert found.taken_out == ("sex",)
    assert not found.is_shown
    assert pearsonr(said_S, did_S).pvalue < 0.001


@pytest.mark.slow
def test_a_twin_that_knows_nothing_but_age_has_support_no_more_often_than_chance() -> None:
    """The level: of 200 cohorts in which brains say age alone, about one in twenty is searched; by plain r, nearly all."""
    rng = np.random.default_rng(2)
    shown, plain = 0, 0
    for _ in range(200):
        age_S = rng.uniform(8, 80, 60)
        # Reaction times fall in childhood and rise in age, and the twin reads just that from the brain.
        curve_S = ((age_S - 30) / 20) ** 2
        said_S, did_S = (curve_S + rng.normal(0, 0.7, 60) for _ in range(2))
        found = support_of(said_S, did_S, [{"age": float(age)} for age in age_S])
        shown += found.is_shown
        plain += pearsonr(said_S, did_S, alternative="greater").pvalue < 0.05
    assert shown <= 20
    assert plain > 190


def test_what_is_known_beyond_age_is_shown() -> None:
    rng = np.random.default_rng(3)
    age_S, trait_S = rng.uniform(20, 80, 80), rng.normal(size=80)
    said_S, did_S = (trait_S + 0.05 * age_S + rng.normal(0, 0.7, 80) for _ in range(2))
    found = support_of(said_S, did_S, [{"age": float(age)} for age in age_S])
    assert found.is_shown
    assert "beyond age (p" in found.in_words("mean_rt in stroop")
    # A twin that is a function of age and of nothing else has no figure left, and the search abstains.
    nothing = support_of(0.01 * age_S, did_S, [{"age": float(age)} for age in age_S])
    assert not nothing.is_shown
    assert nothing.plain()["r"] is None


def test_who_decided_when_a_training_ended_is_not_unseen() -> None:
    twins = [
        types.SimpleNamespace(split=Split("subjects", ("a",), ("b",), ("c", "d"))),
        types.SimpleNamespace(split=Split("subjects", ("a",), ("c",), ("b", "d"))),
    ]
    assert seen_in_training(twins) == {"a", "b", "c"}  # type: ignore[arg-type]
