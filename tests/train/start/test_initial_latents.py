"""Latents begin at what readers say of connectomes, and training keeps the readers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import safetensors.numpy
import torch

from dtb.config import TwinConfig
from dtb.errors import DamagedOutputError
from dtb.shards.split import Split
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.start.initial_latents import behaviour_figures
from dtb.train.start.normalise import load
from dtb.twin import Twin, TwinSizes
from dtb.twin.hypernetwork import LEARNED_SHARE
from tests.shards.people import make_person, make_trials
from tests.train.scales import measure

TASKSET = TaskSet((load_task("hammer"),))


def pressing(person, factor):
    """The person with a press in each of 60 trials of one condition, as much slower as the factor says."""
    rng = np.random.default_rng(int(1000 * factor))
    trials = make_trials(rng, num_trials=60)
    trials.usable_J[:], trials.condition_J[:], trials.response_JA[:], trials.response_JA[:, 0] = True, 0, False, True
    trials.rt_seconds_J[:] = factor * rng.uniform(0.4, 0.6, 60)
    return dataclasses.replace(
        person, runs=(dataclasses.replace(person.runs[0], trials=trials, duration_seconds=250.0),)
    )


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


def test_halves_of_the_trials_share_none_and_leave_none_out():
    person = make_person(1, task="hammer", num_volumes=0)
    person = pressing(person, 1.0)
    split, trials = Split("subjects", ("a",), (), ()), person.runs[0].trials
    whole, *halves = (behaviour_figures(person, TASKSET, split, half) for half in (None, 0, 1))
    changed = np.flatnonzero(trials.pressed_J)[0]
    trials.rt_seconds_J[changed] *= 2.0
    moved = [behaviour_figures(person, TASKSET, split, half)[0] for half in (None, 0, 1)]
    assert np.isfinite([*moved, whole[0]]).all()
    assert moved[0] != whole[0]
    assert sum(after != before[0] for after, before in zip(moved[1:], halves, strict=True)) == 1


@pytest.mark.parametrize("components", [0, 4])
def test_a_twin_begins_at_the_reader_and_learns_beside_it(components):
    sizes = TwinSizes(num_regions=8, num_channels=3, num_alternatives=2, num_bold_regions=2)
    twin = Twin(TwinConfig(connectome_components=components, latent_size=3, encoder_widths=(5,)), sizes)
    zeros, ones = torch.zeros(28), torch.ones(28)
    components_EC = torch.randn(28, components) if components else None
    reader_EZ = torch.randn(28, 3)
    twin.set_normalisation(zeros, ones, torch.ones(2), components_EC, reader_EZ)
    connectome_SE = torch.randn(6, 28)
    torch.testing.assert_close(twin.generate(connectome_SE).latent_SZ, connectome_SE @ reader_EZ)
    # An absent edge says nothing.
    connectome_SE[:, 3] = torch.nan
    known_SE = connectome_SE.nan_to_num(0.0)
    torch.testing.assert_close(twin.generate(connectome_SE).latent_SZ, known_SE @ reader_EZ)
    twin.hypernetwork.encoder.direct.weight.data[0] += 1.0
    moved_SZ = twin.generate(connectome_SE).latent_SZ - known_SE @ reader_EZ
    seen = known_SE if components_EC is None else known_SE @ components_EC
    torch.testing.assert_close(moved_SZ[:, 0], LEARNED_SHARE * seen.sum(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"reader_EZ has shape \(3, 28\); this twin's is \(28, 3\)"):
        twin.set_normalisation(zeros, ones, torch.ones(2), components_EC, reader_EZ.T)


def test_measuring_finds_the_start_only_where_it_is_asked_for():
    people = [make_person(number, task="hammer") for number in range(30)]
    split = Split("subjects", tuple(person.pseudonym for person in people), (), ())
    assert measure(people, split, 28, (), 3).reader_EZ is None
    found = measure(people, split, 28, (), 3, taskset=TASKSET, num_latents=5)
    assert found.reader_EZ is not None
    assert found.reader_EZ.shape == (28, 5)
    assert np.isfinite(found.reader_EZ).all()
    assert found.read_people == tuple(person.pseudonym for person in people)
    assert found.read_PZ.shape == found.own_PZ.shape == (30, 5)


def test_people_without_a_connectome_have_own_scores_and_change_no_reader():
    people = [make_person(number, task="hammer") for number in range(40)]
    people = [pressing(person, 1.0 + 0.05 * number) for number, person in enumerate(people)]
    blank = [dataclasses.replace(one, connectome_E=np.full(28, np.nan, np.float32)) for one in people[30:]]
    split = Split("subjects", tuple(person.pseudonym for person in people), (), ())
    found = measure([*people[:30], *blank], split, 28, (), 3, taskset=TASKSET, num_latents=4)
    alone = measure(people[:30], split, 28, (), 3, taskset=TASKSET, num_latents=4)
    np.testing.assert_array_equal(found.reader_EZ, alone.reader_EZ)
    np.testing.assert_array_equal(found.read_PZ[30:], 0.0)
    assert np.isfinite(found.own_PZ[30:]).any()


def test_scales_of_another_version_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "scales.safetensors"
    safetensors.numpy.save_file(
        {"edge_mean_E": np.zeros(3, np.float32), "regression_CZ": np.zeros((2, 2), np.float32)}, path
    )
    with pytest.raises(DamagedOutputError, match="regression_CZ, which this version of dtb does not know"):
        load(path)
