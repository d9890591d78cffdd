"""A person's randomness is theirs: the same whatever surrounds it."""

from __future__ import annotations

import pytest
import torch

from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.noise import dropout_mask, process_noise
from tests.twin.conftest import SIZES, make_config


def test_draws_depend_on_the_seed_alone() -> None:
    seeds = torch.tensor([5, 2**62, 6])
    together = dropout_mask(seeds, 101, 0.3)
    for index, seed in enumerate(seeds):
        assert torch.equal(dropout_mask(seed[None], 101, 0.3)[0], together[index])
    assert not torch.equal(together[0], together[2])


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


def test_dropout_acts_in_training_alone(batch: Batch) -> None:
    twin = Twin(make_config(connectome_dropout=0.5), SIZES)
    latents = [
        twin.train(training)(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S).latent_SZ
        for training in (True, False)
    ]
    quiet = twin(batch.connectome_SE, batch.stimulus_SKTI).latent_SZ
    assert not torch.equal(latents[0], latents[1])
    assert torch.equal(latents[1], quiet)
