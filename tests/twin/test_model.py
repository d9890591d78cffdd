"""The twin as a whole: its size, what reaches its loss, and how it begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dtb.config import TwinConfig, load_config
from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.objective import Objective
from tests.twin.conftest import SIZES, make_batch, make_config

CONFIGS = Path(__file__).parents[2] / "configs"
VARIANTS = [
    make_config(),
    make_config(cell="gated", process_noise=0.1),
    make_config(generation="additive"),
    make_config(cell="elman", generation="full", latent_size=0, person_effects=False, press="sigmoid", bold="direct"),
]


def loss_and_gradients(config: TwinConfig, batch: Batch) -> list[torch.Tensor]:
    torch.manual_seed(0)
    objective = Objective(Twin(config, SIZES), 1.0, 1.0)
    losses = objective(batch)
    losses.total.backward()
    gradients = [parameter.grad for parameter in objective.parameters() if parameter.grad is not None]
    return [losses.total.detach(), *gradients]


def test_the_better_models_preset_is_the_default() -> None:
    assert load_config(CONFIGS / "lowrank.yaml").twin == TwinConfig()


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.cell}-{config.generation}")
def test_every_parameter_receives_a_gradient(config: TwinConfig, batch: Batch) -> None:
    for gradient in loss_and_gradients(config, batch)[1:]:
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_a_fresh_twin_presses_at_a_typical_rate_and_stays_bounded(batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    output = twin(batch.connectome_SE, batch.stimulus_SKTI)
    assert output.hidden_SKTN.abs().max() <= 1
    hazard = twin.hazards(output)
    assert 0.2 < hazard.mean() < 0.45


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.cell}-{config.generation}")
def test_masked_values_have_no_influence_on_loss_or_gradient(config: TwinConfig, batch: Batch) -> None:
    absent_edges = torch.zeros_like(batch.connectome_SE, dtype=torch.bool)
    absent_edges[0, [1, 4]] = True
    bold = batch.bold_SKVR.clone()
    bold[1, 0, 3] = torch.nan
    base = dataclasses.replace(
        batch, connectome_SE=batch.connectome_SE.masked_fill(absent_edges, torch.nan), bold_SKVR=bold
    )
    other_bold = bold.clone()
    other_bold[:, :, 0] = 1e30  # not counted
    other_bold[1, 0, 3] = torch.inf
    changed = dataclasses.replace(base, bold_SKVR=other_bold)
    for one, two in zip(loss_and_gradients(config, base), loss_and_gradients(config, changed), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.cell}-{config.generation}")
def test_absent_runs_tasks_and_responses_have_no_influence(config: TwinConfig, batch: Batch) -> None:
    """Person 0 lacks the second run; person 1's presses in theirs are unknown; person 2 has no BOLD there."""
    counted = {name: getattr(batch, name).clone() for name in ("press_SKTA", "at_risk_SKT", "counted_SKT")}
    counted["bold_counted_SKV"] = batch.bold_counted_SKV.clone()
    for person, names in ((0, counted), (1, ("press_SKTA", "at_risk_SKT", "counted_SKT")), (2, ("bold_counted_SKV",))):
        for name in names:
            counted[name][person, 1] = 0
    base = dataclasses.replace(batch, **counted)
    other = {name: getattr(batch, name).clone() for name in ("stimulus_SKTI", "bold_SKVR", "task_SK", "run_SK")}
    other["stimulus_SKTI"][0, 1] = 7.0
    other["bold_SKVR"][0, 1], other["bold_SKVR"][2, 1] = torch.nan, -1e20
    other["task_SK"][0, 1] = other["run_SK"][0, 1] = -1
    if config.press == "sigmoid":
        # Presses in steps that are not counted.
        other["press_SKTA"] = counted["press_SKTA"].clone()
        other["press_SKTA"][1, 1] = True
    changed = dataclasses.replace(base, **other)
    for one, two in zip(loss_and_gradients(config, base), loss_and_gradients(config, changed), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


def test_a_person_without_weight_has_no_influence(batch: Batch) -> None:
    weight_S = batch.weight_S.clone()
    weight_S[2] = 0
    base = dataclasses.replace(batch, weight_S=weight_S)
    connectome_SE, stimulus_SKTI = batch.connectome_SE.clone(), batch.stimulus_SKTI.clone()
    connectome_SE[2], stimulus_SKTI[2] = 3.0, -5.0
    changed = dataclasses.replace(base, connectome_SE=connectome_SE, stimulus_SKTI=stimulus_SKTI)
    for one, two in zip(loss_and_gradients(VARIANTS[0], base), loss_and_gradients(VARIANTS[0], changed), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: f"{config.cell}-{config.generation}")
def test_a_persons_output_is_independent_of_the_batch(config: TwinConfig, batch: Batch) -> None:
    twin = Twin(config, SIZES).train()
    whole = twin(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S)
    alone = twin(batch.connectome_SE[1:2], batch.stimulus_SKTI[1:2, :1, :33], batch.seed_S[1:2])
    torch.testing.assert_close(whole.press_SKTA[1:2, :1, :33], alone.press_SKTA, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("named", ["connectome_SE", "stimulus_SKTI", "seed_S"])
@pytest.mark.parametrize("wrong", ["numpy", "axes", "people"])
def test_what_a_twin_cannot_read_is_refused_by_name(named: str, wrong: str, batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    given = {name: getattr(batch, name) for name in ("connectome_SE", "stimulus_SKTI", "seed_S")}
    change = {
        "numpy": lambda value: value.numpy(),
        "axes": lambda value: value[None],
        "people": lambda value: value[:2],
    }
    given[named] = change[wrong](given[named])
    # Two connectomes are fine; then it is the seeds that do not fit.
    found = "seed_S" if (named, wrong) == ("connectome_SE", "people") else named
    with pytest.raises(
        ValueError, match=f"^{found} (has shape .* this twin reads|is of type ndarray; .* torch tensor)"
    ):
        twin(**given)


def test_volume_times_that_do_not_fit_are_refused_by_name(batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    with pytest.raises(ValueError, match="^volume_seconds_SKV has shape"):
        twin.bold(twin(batch.connectome_SE, batch.stimulus_SKTI), batch.volume_seconds_SKV[0, 0])


def test_wrong_normalisation_is_refused() -> None:
    twin = Twin(make_config(), SIZES)
    with pytest.raises(ValueError, match="edge_mean_E has shape"):
        twin.set_normalisation(torch.zeros(3), torch.ones(3), torch.ones(SIZES.num_bold_regions))


def test_an_edge_that_never_varies_stays_finite(batch: Batch) -> None:
    twin = Twin(make_config(), SIZES)
    scale_E = torch.ones(SIZES.num_edges)
    scale_E[0], scale_E[1] = 0.0, torch.nan
    twin.set_normalisation(torch.full((SIZES.num_edges,), torch.nan), scale_E, torch.zeros(SIZES.num_bold_regions))
    assert torch.isfinite(twin(batch.connectome_SE, batch.stimulus_SKTI).press_SKTA).all()


@pytest.mark.parametrize("shape", [(0, 2, 30), (3, 0, 30), (3, 2, 0)])
def test_empty_batches_give_empty_outputs(shape: tuple[int, int, int]) -> None:
    batch = make_batch()
    people, segments, steps = shape
    twin = Twin(make_config(), SIZES)
    stimulus = torch.zeros(people, segments, steps, SIZES.num_channels)
    output = twin(batch.connectome_SE[:people], stimulus)
    assert output.press_SKTA.shape == (*shape, SIZES.num_alternatives)
    assert twin.bold(output, torch.zeros(people, segments, 4)).shape == (people, segments, 4, SIZES.num_bold_regions)
