"""Latents begin at what a regression reads from connectomes, and training keeps the regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtb.config import TwinConfig
from dtb.shards.split import Split
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.initial_latents import behaviour_figures, latent_directions
from dtb.train.normalise import measure
from dtb.twin import Twin, TwinSizes
from dtb.twin.hypernetwork import LEARNED_SHARE
from tests.shards.people import make_person

TASKSET = TaskSet((load_task("hammer"),))


def world(num_people: int, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two traits, each a direction of 30 components, behind six figures of which two share a large error that no connectome shows."""
    rng = np.random.default_rng(3)
    scores_SC = rng.standard_normal((num_people, 30)) * np.linspace(1.0, 0.3, 30)
    traits_S2 = scores_SC @ rng.standard_normal((30, 2))
    traits_S2 /= traits_S2.std(0)
    figures_SY = signal * traits_S2 @ rng.standard_normal((2, 6)) + 0.8 * rng.standard_normal((num_people, 6))
    figures_SY[:, :2] += 2.0 * rng.standard_normal((num_people, 1))
    return scores_SC, traits_S2, figures_SY


def test_latents_are_the_traits_behind_the_figures_for_unseen_people():
    scores_SC, traits_S2, figures_SY = world(900)
    directions_CZ = latent_directions(scores_SC[:300], figures_SY[:300], 5)
    latents_SZ = scores_SC[300:] @ directions_CZ
    for trait_S in traits_S2[300:].T:
        explained_S = latents_SZ[:, :2] @ np.linalg.lstsq(latents_SZ[:, :2], trait_S, rcond=None)[0]
        assert np.corrcoef(explained_S, trait_S)[0, 1] > 0.97
    # Beyond the two traits there is nothing to know.
    assert (latents_SZ[:, :2].std(0) > 0.5).all()
    assert (latents_SZ[:, 2:].std(0) < 0.2).all()


def test_where_connectomes_say_nothing_latents_begin_at_next_to_nothing():
    scores_SC, _, figures_SY = world(300, signal=0.0)
    assert (scores_SC @ latent_directions(scores_SC, figures_SY, 4)).std(0).max() < 0.2


def test_on_null_data_the_sizes_are_zero():
    """Axes and weights that were fitted to the same people claimed .27 to .35."""
    sizes = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores_SC, figures_SY = rng.standard_normal((120, 40)), rng.standard_normal((120, 12))
        sizes.append((scores_SC @ latent_directions(scores_SC, figures_SY, 4)).std(axis=0).max())
    assert np.sum(np.array(sizes) > 0) <= 4


def test_what_sisters_share_gives_no_size():
    """Twins alike in brain and behaviour predict each other across folds that divide them, though brains say nothing of behaviour."""
    sizes, family_S = {"together": 0, "divided": 0}, np.repeat(np.arange(60), 2)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scores_SC, figures_SY = (rng.standard_normal((60, 40))[family_S], rng.standard_normal((60, 6))[family_S])
        for name, numbers in (("together", family_S), ("divided", None)):
            directions_CZ = latent_directions(scores_SC, figures_SY, 3, numbers)
            sizes[name] += bool((scores_SC @ directions_CZ).std(axis=0).max() > 0)
    assert sizes["together"] <= 3
    assert sizes["divided"] == 10


def test_absent_figures_and_people_do_not_break_it():
    scores_SC, traits_S2, figures_SY = world(300)
    figures_SY[::3, 2] = np.nan
    figures_SY[10:, 3] = np.nan
    figures_SY[:, 4] = 1.0
    latents_SZ = scores_SC @ latent_directions(scores_SC, figures_SY, 3)
    assert np.isfinite(latents_SZ).all()
    assert max(abs(np.corrcoef(latents_SZ[:, 0], trait_S)[0, 1]) for trait_S in traits_S2.T) > 0.7
    assert latent_directions(scores_SC, np.full((300, 6), np.nan), 3) is None
    assert latent_directions(scores_SC[:8], figures_SY[:8], 3) is None


def test_figures_are_those_of_the_training_part_alone():
    person = make_person(1, task="hammer", num_volumes=0)
    whole = behaviour_figures(person, TASKSET, Split("subjects", ("a",), (), ()))
    half = Split("temporal", ("a",), ("a",), ("a",), train_until=0.5, validation_until=0.6)
    trials = person.runs[0].trials
    late_J = trials.onset_seconds_J >= 0.5 * person.runs[0].duration_seconds
    assert late_J.any()
    early = behaviour_figures(person, TASKSET, half)
    assert not np.array_equal(early, whole, equal_nan=True)
    trials.rt_seconds_J[late_J] *= 3.0
    trials.response_JA[late_J] = ~trials.response_JA[late_J]
    np.testing.assert_array_equal(behaviour_figures(person, TASKSET, half), early)


def test_a_twin_begins_at_the_regression_and_learns_beside_it():
    sizes = TwinSizes(num_regions=8, num_channels=3, num_alternatives=2, num_bold_regions=2)
    twin = Twin(TwinConfig(connectome_components=4, latent_size=3, encoder_widths=(5,)), sizes)
    zeros, ones, components_EC = torch.zeros(28), torch.ones(28), torch.randn(28, 4)
    regression_CZ = torch.randn(4, 3)
    twin.set_normalisation(zeros, ones, torch.ones(2), components_EC, regression_CZ)
    connectome_SE = torch.randn(6, 28)
    torch.testing.assert_close(twin.generate(connectome_SE).latent_SZ, connectome_SE @ components_EC @ regression_CZ)
    twin.hypernetwork.encoder.direct.weight.data[0] += 1.0
    moved_SZ = twin.generate(connectome_SE).latent_SZ - connectome_SE @ components_EC @ regression_CZ
    torch.testing.assert_close(
        moved_SZ[:, 0], LEARNED_SHARE * (connectome_SE @ components_EC).sum(1), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ValueError, match=r"regression_CZ has shape \(3, 4\); this twin's is \(4, 3\)"):
        twin.set_normalisation(zeros, ones, torch.ones(2), components_EC, regression_CZ.T)


def test_measuring_finds_the_start_only_where_it_is_asked_for():
    people = [make_person(number, task="hammer") for number in range(30)]
    split = Split("subjects", tuple(person.pseudonym for person in people), (), ())
    assert measure(people, split, 28, (), 3).regression_CZ is None
    found = measure(people, split, 28, (), 3, taskset=TASKSET, num_latents=5).regression_CZ
    assert found is not None
    assert found.shape == (3, 5)
    assert np.isfinite(found).all()
