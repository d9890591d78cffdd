"""Plain arrays become the batch that the whole system uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtb.config import TwinConfig
from dtb.tasks.encode import encode_segment
from dtb.twin import Twin, TwinSizes, batch_from_arrays
from dtb.twin.batch import Batch
from dtb.twin.objective import Objective
from dtb.twin.readouts.press_loss import count_trials
from tests.tasks.test_encode import TASKS, make_trials

ONSET = np.array([[[1.05, 4.0, np.nan]], [[1.0, 3.0, 5.0]]])
CHOICE = np.array([[[1, -1, 0]], [[0, 1, 0]]])
RT = np.array([[[0.5, np.nan, np.nan]], [[0.31, 0.4, 1.0]]])


def make_twin(**changes: object) -> Twin:
    return Twin(TwinConfig(num_hidden=6, step_seconds=0.1, **changes), TwinSizes(4, 3, 2, 4))  # type: ignore[arg-type]


def make(**changes: object) -> Batch:
    given: dict[str, object] = {
        "connectome_SE": np.zeros((2, 6)),
        "stimulus_SKTI": np.zeros((2, 1, 80, 3)),
        "onset_seconds_SKJ": ONSET,
        "window_seconds": 1.5,
        "choice_SKJ": CHOICE,
        "rt_seconds_SKJ": RT,
    }
    return batch_from_arrays(make_twin(), **(given | changes))  # type: ignore[arg-type]


def assert_same(one: Batch, other: Batch) -> None:
    for left, right in ((one, other), (one.trials, other.trials)):
        for name, value in vars(left).items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(
                    value, getattr(right, name), equal_nan=True, msg=lambda text, name=name: f"{name}: {text}"
                )


def test_presses_and_exposure_lie_where_they_happened() -> None:
    batch = make()
    assert batch.press_SKTA.nonzero().tolist() == [[0, 0, 15, 1], [1, 0, 13, 0], [1, 0, 34, 1], [1, 0, 60, 0]]
    assert (batch.at_risk_SKT.sum((1, 2)) * 0.1).tolist() == pytest.approx([0.5 + 1.5, 0.31 + 0.4 + 1.0])
    assert count_trials(batch.trials, batch.at_risk_SKT).sum(1).tolist() == [2, 3]
    assert len(batch.trials.subject_J) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"rt_seconds_SKJ": RT + 2.0},
        {"rt_seconds_SKJ": -RT},
        {"choice_SKJ": CHOICE + 1},
        {"onset_seconds_SKJ": ONSET + 7.0},
    ],
)
def test_presses_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"reaction times must lie|lies outside|choices lie below 2"):
        make(**changes)


def test_overlapping_windows_are_laid_out_as_those_of_events_files_are() -> None:
    """A press after the next onset is its own trial's, and no moment is at risk twice."""
    onset, rt = np.array([1.0, 2.0, 3.1, 4.4, 5.0]), np.array([1.3, 0.9, np.nan, 0.7, 1.05])
    window = 1.6
    shape = (2, 1, 5)
    batch = make(
        onset_seconds_SKJ=np.broadcast_to(onset, shape),
        window_seconds=window,
        choice_SKJ=np.broadcast_to(np.where(np.isfinite(rt), 1, -1), shape),
        rt_seconds_SKJ=np.broadcast_to(rt, shape),
        correct_SKJ=None,
    )
    _, press_TA, at_risk_T = encode_segment(
        make_trials(onset, np.full(5, window), rt, num_alternatives=1), 0, TASKS, 0.0, 80, 0.1, 0.0, 100.0
    )
    for person in (0, 1):
        np.testing.assert_allclose(batch.at_risk_SKT[person, 0], at_risk_T, atol=1e-6)
        np.testing.assert_array_equal(batch.press_SKTA[person, 0, :, 1], press_TA[:, 0])
    assert batch.at_risk_SKT.max() <= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connectome_SE", np.zeros((2, 4, 4))),
        ("connectome_SE", np.zeros((3, 6))),
        ("stimulus_SKTI", np.zeros((2, 1, 80, 2))),
        ("onset_seconds_SKJ", ONSET[0]),
        ("choice_SKJ", CHOICE[:, :, :2]),
        ("rt_seconds_SKJ", 0.5),
        ("correct_SKJ", CHOICE[:1]),
        ("volume_seconds", np.zeros((2, 5))),
        ("volume_seconds", np.zeros((2, 2, 5))),
        ("press_SKTA", np.zeros((2, 1, 79, 2))),
    ],
)
def test_arrays_of_other_shapes_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name}\w* has shape .* this twin reads"):
        make(**{name: value})


def test_bold_is_laid_out_with_its_times_and_absent_without() -> None:
    bold = np.ones((2, 1, 5, 4))
    batch = make(bold_SKVR=bold, volume_seconds=np.arange(5.0), burn_in_seconds=1.5)
    assert batch.bold_counted_SKV[0, 0].tolist() == [False, False, True, True, True]
    with pytest.raises(ValueError, match="bold_SKVR has shape"):
        make(bold_SKVR=bold[:, :, :, :3], volume_seconds=np.arange(5.0))
    with pytest.raises(ValueError, match="bold_SKVR needs volume_seconds"):
        make(bold_SKVR=bold)
    with pytest.raises(ValueError, match="volume_seconds must rise"):
        make(bold_SKVR=bold, volume_seconds=np.zeros(5))
    assert Objective(make_twin(), 1.0, 1.0)(make(volume_seconds=np.arange(5.0))).bold_S.tolist() == [0, 0]


def test_volume_times_may_differ_from_segment_to_segment() -> None:
    seconds = np.stack([np.arange(5) * 0.8, np.arange(5) * 0.8 + 0.3])[:, None]
    batch = make(bold_SKVR=np.ones((2, 1, 5, 4)), volume_seconds=seconds, burn_in_seconds=0.2)
    assert batch.volume_seconds_SKV.numpy() == pytest.approx(seconds)
    assert batch.bold_counted_SKV[:, 0, 0].tolist() == [False, True]


def dense(*presses: tuple[int, int, int]) -> np.ndarray:
    press_SKTA = np.zeros((2, 1, 80, 2))
    for person, step, alternative in presses:
        press_SKTA[person, 0, step, alternative] = 1
    return press_SKTA


WITHOUT_ANSWERS = {"choice_SKJ": None, "rt_seconds_SKJ": None}
WITHOUT_TRIALS = {**WITHOUT_ANSWERS, "onset_seconds_SKJ": None, "window_seconds": None}


def test_dense_presses_within_trials_are_what_choices_and_reaction_times_at_the_steps_middles_are() -> None:
    rt = np.array([[[0.5, np.nan, np.nan]], [[0.35, 0.45, 1.05]]])  # 1.05 + 0.5 lies in the middle of step 15
    presses = dense((0, 15, 1), (1, 13, 0), (1, 34, 1), (1, 60, 0))
    assert_same(make(**WITHOUT_ANSWERS, press_SKTA=presses), make(rt_seconds_SKJ=rt))
    onset = ONSET.copy()
    onset[0, 0, 0] = 1.53  # the press lies in the step in which the stimulus appears, after it
    assert make(**WITHOUT_ANSWERS, press_SKTA=presses, onset_seconds_SKJ=onset).trials.rt_seconds_J[0] == pytest.approx(
        0.035
    )


def test_a_dense_press_that_belongs_to_no_trial_is_refused() -> None:
    presses = dense((0, 15, 1), (0, 17, 1), (1, 30, 0), (1, 28, 0))
    with pytest.raises(ValueError, match=r"person 0, segment 0: the press in step 17 \(1.700 s\) .* 2 presses"):
        make(**WITHOUT_ANSWERS, press_SKTA=presses)


def test_dense_presses_alone_are_possible_all_the_time_and_score_as_a_point_process() -> None:
    batch = make(**WITHOUT_TRIALS, press_SKTA=dense((0, 15, 1), (0, 16, 0), (0, 16, 1)))
    assert (batch.at_risk_SKT == 1).all()
    assert batch.press_SKTA.nonzero().tolist() == [[0, 0, 15, 1], [0, 0, 16, 0], [0, 0, 16, 1]]
    assert batch.trials.subject_J.tolist() == [0, 0, 0, 1]
    assert batch.trials.rt_seconds_J.numpy() == pytest.approx([1.55, 0.1, np.nan, np.nan], nan_ok=True)
    twin = make_twin()
    losses = Objective(twin, 1.0, 1.0)(batch)
    with torch.no_grad():
        hazard_TA = twin.hazards(twin(batch.connectome_SE, batch.stimulus_SKTI))[0, 0].double()
    # A press at two alternatives at once agrees with either.
    expected = 0.1 * hazard_TA.sum() - hazard_TA[15, 1].log() - hazard_TA[16].sum().log()
    assert losses.press_S[0].item() == pytest.approx(expected.item() / 3, rel=1e-5)


def test_several_alternatives_may_be_pressed_at_once() -> None:
    both = np.stack([CHOICE == 0, CHOICE == 1], -1).astype(int)
    assert_same(make(choice_SKJ=both), make())
    both[1, 0, 0] = 1
    batch = make(choice_SKJ=both)
    assert batch.press_SKTA[1, 0, 13].tolist() == [True, True]
    assert batch.trials.response_JA[2].tolist() == [True, True]
    with pytest.raises(ValueError, match="other than 0 and 1"):
        make(choice_SKJ=both * 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_seconds": None}, "onset_seconds_SKJ and window_seconds belong together"),
        ({"rt_seconds_SKJ": None}, "choice_SKJ and rt_seconds_SKJ belong together"),
        ({"press_SKTA": dense()}, "choice_SKJ and press_SKTA both"),
        ({"onset_seconds_SKJ": None, "window_seconds": None}, "choice_SKJ needs trials"),
        (WITHOUT_ANSWERS, "the trials have no answers"),
        ({**WITHOUT_TRIALS, "press_SKTA": dense() + 0.5}, "press_SKTA holds values other than 0 and 1"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize("press", ["hazard", "sigmoid"])
def test_bold_alone_is_learnt_without_any_presses(press: str) -> None:
    bold = {"bold_SKVR": np.ones((2, 1, 5, 4)), "volume_seconds": np.arange(5.0)}
    twin = make_twin(press=press, person_effects=False)
    losses = Objective(twin, 1.0, 1.0)(make(**WITHOUT_TRIALS, **bold))
    assert losses.press_S.tolist() == [0, 0]
    assert losses.total.item() == pytest.approx(losses.bold_S.mean().item())
    without = Twin(twin.config, TwinSizes(4, 3, 0, 4))
    batch = batch_from_arrays(without, np.zeros((2, 6)), np.zeros((2, 1, 80, 3)), **bold)  # type: ignore[arg-type]
    total = Objective(without, 1.0, 1.0)(batch).total
    total.backward()
    assert total.item() > 0


def test_a_connectome_may_be_any_number_of_features() -> None:
    twin = Twin(TwinConfig(num_hidden=6, step_seconds=0.1), TwinSizes(0, 3, 2, 0, num_features=11))
    batch = batch_from_arrays(twin, np.ones((2, 11)), np.zeros((2, 1, 80, 3)), press_SKTA=dense((0, 3, 1)))
    assert torch.isfinite(Objective(twin, 1.0, 0.0)(batch).total)
    with pytest.raises(ValueError, match=r"connectome_SE has shape \(2, 6\); .*11 features"):
        batch_from_arrays(twin, np.ones((2, 6)), np.zeros((2, 1, 80, 3)))
    for regions, features in ((4, 11), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="give one of the two"):
            TwinSizes(regions, 3, 2, 0, num_features=features)
    with pytest.raises(ValueError, match="needs whole matrices"):
        Twin(TwinConfig(connectome_space="tangent"), twin.sizes)


@pytest.mark.parametrize("press", ["hazard", "sigmoid"])
def test_simulated_performances_are_those_of_the_distribution_and_follow_the_seed(press: str) -> None:
    batch = make()
    twin = make_twin(press=press, person_effects=False)
    seconds = torch.arange(5).expand(2, 1, 5) * 1.5
    first, again, other = (
        twin.simulate(
            batch.connectome_SE, batch.stimulus_SKTI, batch.trials, num_draws=7, seed=seed, volume_seconds_SKV=seconds
        )
        for seed in (1, 1, 2)
    )
    assert first.choice_DJ.shape == (7, 5)
    assert first.bold_SKVR is not None
    assert first.bold_SKVR.shape == (2, 1, 5, 4)
    assert torch.equal(first.choice_DJ, again.choice_DJ)
    assert torch.equal(torch.isnan(first.rt_seconds_DJ), first.choice_DJ == -1)
    if press == "hazard":
        assert not torch.equal(first.rt_seconds_DJ.nan_to_num(), other.rt_seconds_DJ.nan_to_num())
