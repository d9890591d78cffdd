"""What counts as known of people, and the basis with which it is taken out."""

import numpy as np
import pytest

from dtb.evaluate.scores.covariates import Covariates, basis_with_group, covariate_basis, known_covariates, spline


def people(number: int, **facts) -> list[dict]:
    return [{name: make(who) for name, make in facts.items()} for who in range(number)]


def test_a_covariate_is_known_if_nine_in_ten_have_it_in_training_and_in_testing():
    whole = people(20, age=float, sex=lambda who: "FM"[who % 2], motion=lambda who: 0.1 + who)
    assert known_covariates(whole, whole) == Covariates(("age", "sex", "motion"), ())
    assert known_covariates([*whole[2:], {}, {}], whole) == Covariates(("age", "sex", "motion"), ())
    for training, tested in (([*whole[3:], {}, {}, {}], whole), (whole, [*whole[3:], {}, {}, {}])):
        assert known_covariates(training, tested) == Covariates((), ("age", "sex", "motion"))
    assert known_covariates(whole, []).known == ()


def test_site_is_asked_for_where_there_are_several():
    facts = {"age": float, "sex": lambda who: "F", "motion": float}
    one = people(20, **facts, site=lambda who: "here")
    assert known_covariates(one, one) == Covariates(("age", "sex", "motion"), ())
    two = people(20, **facts, site=lambda who: "ab"[who % 2])
    assert known_covariates(two, one) == Covariates(("age", "sex", "site", "motion"), ())
    some = people(20, **facts, site=lambda who: "ab"[who % 2] if who < 10 else None)
    assert known_covariates(some, some) == Covariates(("age", "sex", "motion"), ("site",))


def test_group_is_taken_out_where_there_are_several_and_stands_beside_itself_left_in():
    facts = {"age": float, "sex": lambda who: "FM"[who % 2], "motion": float}
    one = people(20, **facts, group=lambda who: "control")
    assert known_covariates(one, one).known == ("age", "sex", "motion")
    assert basis_with_group(one, ("age", "sex", "motion")) is None
    two = people(20, **facts, group=lambda who: "control" if who % 4 else "patient")
    known = known_covariates(two, two)
    assert known.in_words == "age, sex, motion and group"
    left_in_SC = basis_with_group(two, known.known)
    np.testing.assert_allclose(left_in_SC, covariate_basis(two, ("age", "sex", "motion")))
    few = people(20, **facts, group=lambda who: "control" if who % 4 else None)
    few[0]["group"] = "patient"
    assert known_covariates(few, few).lacking == ("group",)


def test_the_basis_is_orthonormal_spans_the_mean_and_leaves_out_whom_it_does_not_know():
    rng = np.random.default_rng(0)
    facts = people(
        50, age=lambda who: rng.uniform(18, 65), sex=lambda who: "FM"[who % 2], site=lambda who: "ab"[who % 2]
    )
    facts[7]["age"] = None
    basis_SC = covariate_basis(facts, ("age", "sex", "site"))
    known_S = np.arange(50) != 7
    assert np.isnan(basis_SC[7]).all()
    np.testing.assert_allclose(basis_SC[known_S].T @ basis_SC[known_S], np.eye(5), atol=1e-12)
    # Site says what sex says: the mean, three for age, and one for the two of them.
    age_S = np.array([each["age"] for each in facts])[known_S].astype(float)
    for values_S in (np.ones(49), age_S, np.arange(50)[known_S] % 2):
        rest_S = values_S - basis_SC[known_S] @ (basis_SC[known_S].T @ values_S)
        np.testing.assert_allclose(rest_S, 0, atol=1e-10)


def test_the_spline_is_smooth_and_straight_beyond_its_outer_knots():
    x_S = np.linspace(0, 1, 2001)
    columns_SC = spline(x_S)
    assert columns_SC.shape[1] == 3
    second_SC = np.diff(columns_SC, n=2, axis=0) / (x_S[1] - x_S[0]) ** 2
    outside_S = (x_S[1:-1] < 0.049) | (x_S[1:-1] > 0.951)
    np.testing.assert_allclose(second_SC[outside_S], 0, atol=1e-6)
    assert np.abs(np.diff(second_SC, axis=0)).max() < 0.01 * np.abs(second_SC).max()
    assert np.abs(second_SC[:, 1:]).max() > 1


def test_numbers_of_few_values_are_squared_and_constants_left_out():
    assert spline(np.array([1.0, 2.0, 3.0] * 9)).shape[1] == 2
    assert spline(np.full(20, 0.1)).shape[1] == 0
    assert Covariates(("age",), ("sex", "motion")).lacking_in_words == "sex and motion"
    with pytest.raises(KeyError):
        covariate_basis([{"age": 1.0}], ("height",))
