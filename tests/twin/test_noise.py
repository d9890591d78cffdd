"""A person's randomness is theirs: the same whatever surrounds it."""

from __future__ import annotations

import pytest
import torch

from dtb.twin import Twin
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.noise import dropout_mask, performance_seeds, process_noise
from dtb.twin.outputs import Simulation
from tests.twin.conftest import SIZES, make_config


def test_draws_depend_on_the_seed_alone() -> None:
    seeds = torch.tensor([5, 2**62, 6])
    together = dropout_mask(seeds, 101, 0.3)
    for index, seed in enumerate(seeds):
        assert torch.equal(dropout_mask(seed[None], 101, 0.3)[0], together[index])
    assert not torch.equal(together[0], together[2])


@pytest.mark.parametrize("one", [0, 5, 2**62])
def test_seeds_that_agree_in_their_lower_half_share_nothing(one: int) -> None:
    seeds = torch.tensor([one, one ^ 2**32, one ^ 2**61])
    for drawn in (dropout_mask(seeds, 1000, 0.5), process_noise(seeds, 1, 100, 10).flatten(1)):
        assert (torch.corrcoef(drawn) - torch.eye(3)).abs().max() < 0.15
    # Their streams and segments are apart too.
    noise = process_noise(seeds, 3, 100, 10).flatten(0, 1).flatten(1)
    assert (torch.corrcoef(noise) - torch.eye(9)).abs().max() < 0.15


def test_two_of_many_people_do_not_share_their_draws() -> None:
    """With 32 bits to tell streams apart, these two of the first 200,000 seeds had the same noise."""
    first, second = process_noise(torch.tensor([18085, 126391]), 1, 100, 10).flatten(1)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("hidden", [1, 5, 16])
def test_more_segments_and_steps_only_append(hidden: int) -> None:
    seeds = torch.tensor([3, 4])
    longer = process_noise(seeds, 4, 37, hidden)
    torch.testing.assert_close(process_noise(seeds[1:], 2, 11, hidden), longer[1:, :2, :11], rtol=0, atol=0)


def test_noise_is_standard_normal_and_dropout_keeps_the_mean() -> None:
    noise = process_noise(torch.arange(4), 4, 200, 32)
    assert abs(noise.mean()) < 0.02
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    correlation = torch.corrcoef(noise.flatten(2).flatten(0, 1))
    assert (correlation - torch.eye(16)).abs().max() < 0.07
    mask = dropout_mask(torch.arange(50), 4000, 0.25)
    assert mask.mean().item() == pytest.approx(1, abs=0.01)
    assert mask.unique().tolist() == pytest.approx([0, 4 / 3])


def test_process_noise_makes_an_ensemble_and_no_seed_makes_none(batch: Batch) -> None:
    twin = Twin(make_config(process_noise=0.1), SIZES).eval()
    first, again, other, quiet = (
        twin(batch.connectome_SE, batch.stimulus_SKTI, seed_S).press_SKTA
        for seed_S in (batch.seed_S, batch.seed_S, batch.seed_S + 1, None)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, quiet)


@pytest.mark.slow
@pytest.mark.parametrize("press", ["hazard", "sigmoid"])
def test_each_draw_of_a_simulation_has_noise_of_its_own(press: str, batch: Batch) -> None:
    """Each is the performance with its own seeds: no two alike, a person's the same in whatever runner, and BOLD their mean."""
    twin = Twin(make_config(process_noise=0.5, press=press, person_effects=False), SIZES).eval()

    def simulate(num_subjects: int, num_draws: int, seed: int = 3) -> Simulation:
        kept_J = batch.trials.subject_J < num_subjects
        trials = TrialTensors(**{name: value[kept_J] for name, value in vars(batch.trials).items()})
        people = (batch.connectome_SE[:num_subjects], batch.stimulus_SKTI[:num_subjects], trials)
        seconds = batch.volume_seconds_SKV[:num_subjects]
        return twin.simulate(*people, num_draws=num_draws, seed=seed, volume_seconds_SKV=seconds)

    found, fewer = simulate(3, 20), simulate(3, 4)
    assert len(torch.unique(found.choice_DJ + found.rt_seconds_DJ.nan_to_num(), dim=0)) > 10
    assert found.bold_SKVR is not None
    assert fewer.bold_SKVR is not None
    assert torch.equal(found.rt_seconds_DJ.nan_to_num(), simulate(3, 20).rt_seconds_DJ.nan_to_num())
    assert not torch.equal(found.rt_seconds_DJ.nan_to_num(), simulate(3, 20, seed=4).rt_seconds_DJ.nan_to_num())
    outputs = [twin(batch.connectome_SE, batch.stimulus_SKTI, performance_seeds(3, draw, 3)) for draw in range(4)]
    mean_SKVR = torch.stack([twin.bold(output, batch.volume_seconds_SKV) for output in outputs]).mean(0)
    torch.testing.assert_close(fewer.bold_SKVR, mean_SKVR)
    torch.testing.assert_close(simulate(2, 4).bold_SKVR, fewer.bold_SKVR[:2])
    if press == "sigmoid":
        assert torch.equal(simulate(2, 4).choice_DJ, fewer.choice_DJ[:, batch.trials.subject_J < 2])


def test_dropout_acts_in_training_alone(batch: Batch) -> None:
    twin = Twin(make_config(connectome_dropout=0.5), SIZES)
    latents = [
        twin.train(training)(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S).latent_SZ
        for training in (True, False)
    ]
    quiet = twin(batch.connectome_SE, batch.stimulus_SKTI).latent_SZ
    assert not torch.equal(latents[0], latents[1])
    assert torch.equal(latents[1], quiet)
