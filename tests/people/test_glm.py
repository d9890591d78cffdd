"""The general linear model: nilearn's, differentiable, the same for observed and predicted series, and exact on noiseless ones."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from nilearn.glm.contrasts import compute_contrast
from nilearn.glm.first_level import run_glm

from dtb.people.glm import condition_events, contrast_weights, design_matrix, run_contrast
from tests.evaluate.people import STROOP, make_person
from tests.people.glm_torch import fit_contrast

SPEC = STROOP.specs[0]
RUN = make_person(1).runs[0]
SECONDS_V = np.arange(160) * 0.8
ALL_V = np.ones(160, bool)


@pytest.fixture(scope="module")
def design() -> pd.DataFrame:
    return design_matrix(condition_events(RUN, SPEC.conditions), SECONDS_V)


def test_the_design_is_the_papers(design):
    assert {"congruent", "incongruent", "congruent_derivative", "incongruent_derivative", "constant"} <= set(
        design.columns
    )
    # The paper says eight; the runs of its cohort have 492 or 493 volumes, which are too short for the eighth.
    for num_volumes, num_drifts in ((513, 8), (493, 7), (492, 7)):
        long = design_matrix(condition_events(RUN, SPEC.conditions), np.arange(num_volumes) * 0.8)
        assert sum(str(column).startswith("drift") for column in long.columns) == num_drifts


def test_effect_and_t_are_nilearns(design):
    series_VR = np.random.default_rng(0).normal(size=(160, 5)) * 3 + 100
    labels, results = run_glm(series_VR, design.to_numpy(), noise_model="ols")
    weights = np.array([SPEC.contrast.get(str(column), 0.0) for column in design.columns])
    expected = compute_contrast(labels, results, weights, stat_type="t")
    found = fit_contrast(torch.from_numpy(series_VR), design, SPEC.contrast)
    np.testing.assert_allclose(found.effect_R.numpy(), expected.effect_size().ravel(), rtol=1e-5)
    np.testing.assert_allclose(found.t_R.numpy(), expected.stat().ravel(), rtol=1e-5)
    single = fit_contrast(torch.from_numpy(series_VR).float(), design, SPEC.contrast)
    np.testing.assert_allclose(single.t_R.numpy(), expected.stat().ravel(), rtol=1e-5)
    assert found.degrees_of_freedom == 160 - design.shape[1]
    rows = contrast_weights(design, SPEC.contrast)
    np.testing.assert_allclose(rows @ series_VR, expected.effect_size().ravel(), rtol=1e-8)


def test_gradients_are_those_of_finite_differences(design):
    series = torch.randn(2, 160, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: fit_contrast(y, design, SPEC.contrast)[:2], (series,), atol=1e-6)


def test_a_noiseless_response_gives_its_own_size(design):
    series_VR = design[["incongruent", "congruent", "constant"]].to_numpy() @ np.array(
        [[2.0, 1.0], [0.5, 1.0], [7.0, -3.0]]
    )
    weights_V = run_contrast(RUN, SPEC.conditions, SPEC.contrast, (0, 128), ALL_V)
    np.testing.assert_allclose(weights_V @ series_VR, [1.5, 0.0], atol=1e-9)


def test_volumes_outside_the_span_or_absent_do_not_count():
    usable_V = ALL_V.copy()
    usable_V[100] = False
    weights_V = run_contrast(RUN, SPEC.conditions, SPEC.contrast, (40.0, 100.0), usable_V)
    assert weights_V[100] == 0
    assert (weights_V[SECONDS_V < 40] == 0).all()
    assert (weights_V[SECONDS_V >= 100] == 0).all()
    assert np.count_nonzero(weights_V) > 60


def test_a_contrast_that_the_run_cannot_tell_has_no_weights(design):
    trials = RUN.trials
    one_condition = dataclasses.replace(
        RUN, trials=dataclasses.replace(trials, condition_J=np.zeros_like(trials.condition_J))
    )
    assert run_contrast(one_condition, SPEC.conditions, SPEC.contrast, (0, 128), ALL_V) is None
    assert contrast_weights(design.assign(congruent=design["incongruent"]), SPEC.contrast) is None
    assert run_contrast(RUN, SPEC.conditions, SPEC.contrast, (0, 4), ALL_V) is None
    with pytest.raises(ValueError, match="no column congruent"):
        fit_contrast(torch.zeros(160, 1), design.drop(columns="congruent"), SPEC.contrast)
    with pytest.raises(ValueError, match="volumes to spare"):
        fit_contrast(torch.zeros(5, 1), design.iloc[:5], SPEC.contrast)


def test_trials_of_no_condition_are_events_of_their_own():
    trials = RUN.trials
    condition_J = trials.condition_J.copy()
    condition_J[:3] = -1
    events = condition_events(
        dataclasses.replace(RUN, trials=dataclasses.replace(trials, condition_J=condition_J)), SPEC.conditions
    )
    assert list(events["trial_type"][:4]) == ["no_condition"] * 3 + ["incongruent"]
    assert (events["duration"] == 2.0).all()
