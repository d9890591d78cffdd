"""The loss: one training step by hand, what it counts, and what it must not see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn import functional

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.objective import Objective
from dtb.twin.readouts.haemodynamics import response
from tests.twin.conftest import SIZES, in_float64, make_batch, make_config

PAPER_LIKE = {
    "connectome_components": 0,
    "cell": "elman",
    "generation": "full",
    "latent_size": 0,
    "person_effects": False,
    "connectome_dropout": 0.0,
}


def written_out_loss(twin: Twin, batch: Batch) -> Tensor:
    """The loss of an Elman twin with full generation, step by step and person by person, as one would first write it."""
    config, total = twin.config, torch.zeros((), dtype=torch.float64)
    encoder, head = twin.hypernetwork.encoder, twin.hypernetwork.head
    for person in range(len(batch.pseudonyms)):
        features = batch.connectome_SE[person]
        for layer in encoder.layers:
            features = functional.mish(layer(features))
        numbers = head(features)
        shapes = twin.hypernetwork.shapes
        pieces = numbers.split([torch.Size(shape).numel() for shape in shapes.values()])
        own = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        nll, num_trials, squared, num_values = 0.0, 0, 0.0, 0
        for segment in range(batch.stimulus_SKTI.shape[1]):
            state = torch.zeros(config.num_hidden, dtype=torch.float64)
            states = []
            for step in range(batch.stimulus_SKTI.shape[2]):
                late = batch.stimulus_SKTI[person, segment, step - 1] if step else torch.zeros(3, dtype=torch.float64)
                drive = (
                    own["input_GI"] @ late + own["input_bias_G"] + own["recurrent_GN"] @ state + own["recurrent_bias_G"]
                )
                state = torch.tanh(drive)
                states.append(state)
                hazards = functional.softplus(
                    (own["readout_ON"] @ state + own["readout_bias_O"])[: SIZES.num_alternatives]
                )
                pressed = batch.press_SKTA[person, segment, step]
                nll = nll + batch.at_risk_SKT[person, segment, step] * hazards.sum() * config.step_seconds
                if pressed.any():
                    nll = nll - hazards[pressed].sum().log()
            num_trials += 2
            for volume, seconds in enumerate(batch.volume_seconds_SKV[person, segment]):
                if not batch.bold_counted_SKV[person, segment, volume]:
                    continue
                lags = seconds - torch.arange(len(states), dtype=torch.float64) * config.step_seconds
                kernel = response(lags, config.step_seconds)
                smoothed = sum(weight * value for weight, value in zip(kernel, states, strict=True))
                predicted = (own["readout_ON"] @ smoothed + own["readout_bias_O"])[SIZES.num_alternatives :]
                squared = squared + (predicted - batch.bold_SKVR[person, segment, volume]).square().sum()
                num_values += SIZES.num_bold_regions
        total = total + batch.weight_S[person] * (2.0 * nll / num_trials + 0.5 * squared / num_values)
    return total


def test_one_training_step_is_that_of_the_loss_written_out() -> None:
    batch = in_float64(make_batch(2, 2, 60))
    batch = dataclasses.replace(batch, weight_S=torch.tensor([0.3, 0.7], dtype=torch.float64))
    torch.manual_seed(0)
    twin = Twin(make_config(**PAPER_LIKE), SIZES).double()
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    steps = []
    for loss_of in (lambda: Objective(twin, 2.0, 0.5)(batch).total, lambda: written_out_loss(twin, batch)):
        twin.load_state_dict(before)
        optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3)
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in twin.parameters() if parameter.grad is not None]
        optimizer.step()
        steps.append([loss.detach(), *gradients, *(parameter.detach().clone() for parameter in twin.parameters())])
    for one, two in zip(*steps, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-10)


def test_the_papers_loss_is_cross_entropy_per_step_and_squared_error_against_the_spline(batch: Batch) -> None:
    twin = Twin(make_config(**PAPER_LIKE, press="sigmoid", bold="direct"), SIZES)
    losses = Objective(twin, 1.0, 1.0)(batch)
    output = twin(batch.connectome_SE, batch.stimulus_SKTI)
    for person in range(3):
        entropies, squares = [], []
        for segment in range(2):
            counted = batch.counted_SKT[person, segment]
            probability = torch.sigmoid(output.press_SKTA[person, segment][counted])
            pressed = batch.press_SKTA[person, segment][counted]
            entropies.append(-torch.where(pressed, probability, 1 - probability).log())
            # Volume 0 is not counted: the spline goes through volumes 1 to 6, at 0.85 to 5.1 s.
            volumes = batch.volume_seconds_SKV[person, segment, 1:].double().numpy()
            ends = (np.arange(60) + 1) * 0.1
            inside = (ends >= volumes[0]) & (ends <= volumes[-1] + 1e-6)
            target = CubicSpline(volumes, batch.bold_SKVR[person, segment, 1:].numpy())(ends[inside])
            predicted = twin.bold_at_steps(output)[person, segment].detach().numpy()[inside]
            squares.append((predicted - target) ** 2)
        assert losses.press_S[person].item() == pytest.approx(torch.cat(entropies).mean().item(), rel=1e-5)
        assert losses.bold_S[person].item() == pytest.approx(np.concatenate(squares).mean(), rel=1e-4)


def test_more_data_of_the_same_kind_does_not_weigh_more(batch: Batch) -> None:
    def doubled(value: Tensor) -> Tensor:
        return torch.cat([value, value], dim=1)

    dense = (
        "stimulus_SKTI",
        "press_SKTA",
        "at_risk_SKT",
        "counted_SKT",
        "bold_SKVR",
        "bold_counted_SKV",
        "volume_seconds_SKV",
    )
    trials = batch.repeat(2).trials
    later_J = torch.arange(len(trials.segment_J)) >= len(batch.trials.segment_J)
    trials = dataclasses.replace(
        trials,
        subject_J=batch.trials.subject_J.repeat(2),
        segment_J=trials.segment_J + batch.task_SK.shape[1] * later_J,
    )
    twice = dataclasses.replace(batch, trials=trials, **{name: doubled(getattr(batch, name)) for name in dense})
    objective = Objective(Twin(make_config(), SIZES), 1.0, 1.0)
    torch.testing.assert_close(objective(twice).total, objective(batch).total)


def test_trials_whose_windows_touch_weigh_as_others_do(batch: Batch) -> None:
    """The second trial, not answered, becomes two with half the window each: as surprising together, and three trials in all."""
    objective = Objective(Twin(make_config(), SIZES), 1.0, 0.0)
    later_J = batch.trials.onset_steps_J == 40.0
    half_J = torch.where(later_J, batch.trials.window_steps_J / 2, batch.trials.window_steps_J)
    both = dataclasses.replace(batch.trials, window_steps_J=half_J)
    rows = {name: torch.cat([value, value[later_J]]) for name, value in vars(both).items()}
    rows["onset_steps_J"][len(later_J) :] += batch.trials.window_steps_J[later_J] / 2
    split = dataclasses.replace(batch, trials=dataclasses.replace(batch.trials, **rows))
    torch.testing.assert_close(3 * objective(split).press_S, 2 * objective(batch).press_S)


def test_a_person_without_presses_or_bold_has_a_loss_of_nought(batch: Batch) -> None:
    press_SKTA, at_risk_SKT = batch.press_SKTA.clone(), batch.at_risk_SKT.clone()
    press_SKTA[0], at_risk_SKT[0] = False, 0.0
    bold_SKVR = batch.bold_SKVR.clone()
    bold_SKVR[1] = torch.nan
    bare = dataclasses.replace(batch, press_SKTA=press_SKTA, at_risk_SKT=at_risk_SKT, bold_SKVR=bold_SKVR)
    losses = Objective(Twin(make_config(), SIZES), 1.0, 1.0)(bare)
    assert losses.press_S[0] == 0
    assert losses.bold_S[1] == 0
    assert (losses.press_S[1:] != 0).all()
    assert losses.bold_S[2] > 0


def test_a_cohort_without_bold_trains_on_presses(batch: Batch) -> None:
    shape = (*batch.bold_SKVR.shape[:2], 0)
    bare = dataclasses.replace(
        batch,
        bold_SKVR=torch.zeros(*shape, SIZES.num_bold_regions),
        bold_counted_SKV=torch.zeros(shape, dtype=torch.bool),
        volume_seconds_SKV=torch.zeros(shape),
    )
    objective = Objective(Twin(make_config(), SIZES), 1.0, 1.0)
    losses = objective(bare)
    losses.total.backward()
    assert losses.bold_S.tolist() == [0, 0, 0]
    torch.testing.assert_close(losses.total, losses.press_S.mean())


def test_bold_is_scored_in_units_of_its_scale(batch: Batch) -> None:
    objective = Objective(Twin(make_config(), SIZES), 1.0, 1.0)
    plain = objective(batch).bold_S
    zeros, ones = torch.zeros(SIZES.num_edges), torch.ones(SIZES.num_edges)
    objective.twin.set_normalisation(zeros, ones, torch.full((SIZES.num_bold_regions,), 50.0))
    scaled = objective(dataclasses.replace(batch, bold_SKVR=batch.bold_SKVR * 50.0)).bold_S
    torch.testing.assert_close(plain, scaled)


def test_training_lowers_the_loss(batch: Batch) -> None:
    torch.manual_seed(0)
    objective = Objective(Twin(make_config(), SIZES), 1.0, 0.0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    history = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective(batch).total
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0] - 0.3
