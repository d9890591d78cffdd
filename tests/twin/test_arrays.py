"""Plain arrays become the batch that the whole system uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtb.config import TwinConfig
from dtb.twin import Twin, TwinSizes, batch_from_arrays
from dtb.twin.batch import Batch
from dtb.twin.objective import Objective
from dtb.twin.readouts.press import count_trials

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
    with pytest.raises(ValueError, match=r"reaction times must lie|lies outside"):
        make(**changes)


def test_a_trial_that_begins_while_another_waits_for_its_press_is_refused() -> None:
    early = ONSET.copy()
    early[1, 0] = [1.0, 5.0, 1.2]
    with pytest.raises(ValueError, match=r"person 1, segment 0: trial 2 begins at 1.200 s, .*trial 0 \(1.310 s\)"):
        make(onset_seconds_SKJ=early)
    early[1, 0, 2] = 1.31
    assert make(onset_seconds_SKJ=early).at_risk_SKT.max() == pytest.approx(1.0)


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
        ("bold_SKVR", np.zeros((2, 1, 5, 4))),
        ("volume_seconds_V", np.zeros((2, 1, 5))),
    ],
)
def test_arrays_of_other_shapes_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name} has shape .* this twin reads"):
        make(**{name: value})


def test_bold_is_laid_out_with_its_times_and_absent_without() -> None:
    bold = np.ones((2, 1, 5, 4))
    batch = make(bold_SKVR=bold, volume_seconds_V=np.arange(5.0), burn_in_seconds=1.5)
    assert batch.bold_counted_SKV[0, 0].tolist() == [False, False, True, True, True]
    with pytest.raises(ValueError, match="bold_SKVR has shape"):
        make(bold_SKVR=bold[:, :, :, :3], volume_seconds_V=np.arange(5.0))
    assert Objective(make_twin(), 1.0, 1.0)(make(volume_seconds_V=np.arange(5.0))).bold_S.tolist() == [0, 0]


@pytest.mark.parametrize("press", ["hazard", "sigmoid"])
def test_simulated_performances_are_those_of_the_distribution_and_follow_the_seed(press: str) -> None:
    batch = make()
    twin = make_twin(press=press)
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
