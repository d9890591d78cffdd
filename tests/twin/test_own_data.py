"""What is given of people's own data and what remains make up the whole, and each trial counts as it does in the likelihood."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtb.config import TwinConfig
from dtb.twin import OwnData, Twin, TwinSizes, batch_from_arrays, remaining, restricted
from dtb.twin.batch import Batch
from dtb.twin.objective import bold_term, press_term
from dtb.twin.readouts.press import PressDistribution, windows

SIZES = TwinSizes(num_regions=4, num_channels=2, num_alternatives=2, num_bold_regions=3)
TASKS = ("stroop", "hammer")


def make_twin() -> Twin:
    torch.manual_seed(0)
    config = TwinConfig(num_hidden=6, latent_size=2, rank=2, step_seconds=0.1, connectome_components=0)
    return Twin(config, SIZES).double().eval()


def make_batch(window_seconds: float = 1.5, seed: int = 0) -> Batch:
    """Two people with four segments of six trials each, two of each task; the first two are of the first session."""
    rng = np.random.default_rng(seed)
    people, segments, trials, steps = 2, 4, 6, 160
    onset = 1.0 + 2.0 * np.arange(trials) + rng.uniform(0, 0.1, (people, segments, trials))
    rt = rng.uniform(0.2, window_seconds - 0.01, onset.shape)
    choice = rng.integers(-1, 2, onset.shape)
    batch = batch_from_arrays(
        make_twin(),
        rng.normal(size=(people, 6)),
        rng.normal(size=(people, segments, steps, 2)),
        onset_seconds_SKJ=onset,
        window_seconds=window_seconds,
        choice_SKJ=choice,
        rt_seconds_SKJ=rt,
        bold_SKVR=rng.normal(size=(people, segments, 17, 3)),
        volume_seconds=0.8 * np.arange(17),
    )
    task_SK = torch.tensor([[0, 1, 0, 1]] * people)
    return dataclasses.replace(
        batch,
        task_SK=task_SK,
        session_SK=torch.tensor([[0, 0, 1, 1]] * people),
        stimulus_SKTI=batch.stimulus_SKTI.double(),
        trials=dataclasses.replace(batch.trials, task_J=task_SK[batch.trials.subject_J, batch.trials.segment_J]),
    )


@pytest.mark.parametrize("window_seconds", [1.5, 3.2])
@pytest.mark.parametrize(
    "own",
    [
        OwnData(trials=5),
        OwnData(trials=0, bold_seconds=20.0),
        OwnData(tasks=("hammer",)),
        OwnData(sessions=(0,), trials=7, bold_seconds=5.0),
        OwnData(),
    ],
)
def test_what_is_given_and_what_remains_are_the_whole(own: OwnData, window_seconds: float) -> None:
    """Windows of 3.2 s overlap: onsets are 2 s apart."""
    batch, twin = make_batch(window_seconds), make_twin()
    given, rest = restricted(batch, own, TASKS), remaining(batch, own, TASKS)
    torch.testing.assert_close(given.at_risk_SKT + rest.at_risk_SKT, batch.at_risk_SKT, atol=1e-5, rtol=0)
    assert torch.equal(given.press_SKTA | rest.press_SKTA, batch.press_SKTA)
    assert not (given.press_SKTA & rest.press_SKTA).any()
    assert torch.equal(given.bold_counted_SKV ^ rest.bold_counted_SKV, batch.bold_counted_SKV)
    assert torch.equal(given.trials.usable_J ^ rest.trials.usable_J, batch.trials.usable_J)
    output = twin(batch.connectome_SE.double(), batch.stimulus_SKTI)
    for term in (
        lambda part: press_term(twin, output.press_SKTA, part),
        lambda part: bold_term(twin, twin.bold(output, batch.volume_seconds_SKV.double()), part),
    ):
        whole, one, other = term(batch), term(given), term(rest)
        torch.testing.assert_close(one.sum_SK + other.sum_SK, whole.sum_SK, atol=1e-5, rtol=1e-5)
        assert torch.equal(one.count_SK + other.count_SK, whole.count_SK)


def test_the_first_trials_carry_their_own_likelihood_and_no_other() -> None:
    batch, twin = make_batch(), make_twin()
    given = restricted(batch, OwnData(trials=8, tasks=("stroop",)), TASKS)
    output = twin(batch.connectome_SE.double(), batch.stimulus_SKTI)
    nll = press_term(twin, output.press_SKTA, given).sum_SK.sum(1)
    distribution = PressDistribution.of(*windows(twin.hazards(output), batch.trials), batch.trials, 0.1)
    log_likelihood_J = distribution.log_likelihood_J(batch.trials.rt_seconds_J, batch.trials.response_JA)
    # Stroop has segments 0 and 2 of six trials: all of the one, the first two of the other.
    trials = batch.trials
    place_J = trials.segment_J * 6 + trials.trial_J % 6
    mine_J = (trials.segment_J == 0) | ((trials.segment_J == 2) & (place_J - 12 < 2))
    for person in range(2):
        chosen_J = mine_J & (trials.subject_J == person)
        assert int(chosen_J.sum()) == 8
        assert nll[person].item() == pytest.approx(-log_likelihood_J[chosen_J].sum().item(), rel=1e-6)
    assert torch.equal(given.trials.usable_J, mine_J)


def test_sessions_come_before_runs_in_time() -> None:
    batch = make_batch()
    later_first = dataclasses.replace(batch, session_SK=1 - batch.session_SK)
    given = restricted(later_first, OwnData(trials=3, bold_seconds=13.6), TASKS)
    assert given.trials.usable_J.sum() == 2 * 2 * 3
    assert set(batch.trials.segment_J[given.trials.usable_J].tolist()) == {2, 3}
    # A segment has 17 volumes of 0.8 s.
    assert given.bold_counted_SKV.sum((0, 2)).tolist() == [0, 0, 34, 0]


def test_unusable_trials_are_passed_over() -> None:
    batch = make_batch()
    trials = batch.trials
    unusable_J = trials.trial_J % 6 == 0
    batch = dataclasses.replace(batch, trials=dataclasses.replace(trials, usable_J=~unusable_J))
    given = restricted(batch, OwnData(trials=2), TASKS)
    assert set((trials.trial_J % 6)[given.trials.usable_J].tolist()) == {1, 2}


def test_what_cannot_be_given_is_refused() -> None:
    with pytest.raises(ValueError, match="`trials` is -1"):
        OwnData(trials=-1)
    with pytest.raises(ValueError, match=r"task 'flanker' is not among the batch's tasks \(stroop, hammer\)"):
        restricted(make_batch(), OwnData(tasks=("flanker",)), TASKS)
