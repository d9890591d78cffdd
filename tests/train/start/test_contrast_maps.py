"""What is particular to people's brain responses reaches the latents that training begins at."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.people.glm import run_contrast
from dtb.people.records import Run, SubjectRecord
from dtb.shards.split import Split
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.train.start.contrast_maps import contrast_maps, map_figures
from dtb.train.start.normalise import load, save
from tests.shards.people import make_trials
from tests.train.scales import measure

SPEC = load_task("hammer")
TASKSET = TaskSet((SPEC,))
NUM_REGIONS, COLUMNS = 8, np.arange(6)


def make_people(num_people: int) -> tuple[list[SubjectRecord], np.ndarray]:
    """People of whom one edge says how strongly four regions answer the task's contrast, and nothing how they behave."""
    rng = np.random.default_rng(5)
    trials = make_trials(rng, num_trials=15)
    trials.condition_J[:] = np.arange(15) % 2
    trials.usable_J[:] = True
    run = Run("hammer", "hammer", None, None, trials, 64.0, np.zeros((64, NUM_REGIONS), np.float32), 1.0)
    weights_V = run_contrast(run, SPEC.conditions, SPEC.contrast, (0.0, np.inf), np.ones(64, bool))
    assert weights_V is not None
    answer_V = weights_V / (weights_V @ weights_V)
    people, traits = [], rng.standard_normal(num_people)
    for number, trait in enumerate(traits):
        edges_E = 0.3 * rng.standard_normal(28).astype(np.float32)
        edges_E[3] += trait
        bold_VR = 0.5 * rng.standard_normal((64, NUM_REGIONS))
        bold_VR[:, :4] += (1.0 + trait) * answer_V[:, None]
        own = dataclasses.replace(run, bold_VR=bold_VR.astype(np.float32))
        people.append(SubjectRecord(f"p{number:03d}", edges_E, {}, (own,)))
    return people, traits


def test_a_trait_that_shows_in_bold_alone_is_a_latent_for_unseen_people(tmp_path) -> None:
    people, traits_S = make_people(120)
    split = Split("subjects", tuple(person.pseudonym for person in people[:80]), (), ())
    found = measure(people[:80], split, 28, COLUMNS.tolist(), 28, taskset=TASKSET, num_latents=3)
    save(tmp_path / "scales.safetensors", found)
    # What the workers read is what was found, whatever order it had in memory.
    read = load(tmp_path / "scales.safetensors")
    np.testing.assert_array_equal(read.reader_EZ, found.reader_EZ)
    assert read.readers == found.readers
    assert read.read_people == split.train
    assert read.reader_EZ is not None
    assert read.readers[0]["figures"] == "task BOLD"
    # Half a run says nearly what the other does: a trait that moves four regions of six by 1 is hard to miss.
    assert 0 < read.own_variance_PZ[:, 0].mean() < 0.5
    unseen_SE = (np.stack([person.connectome_E for person in people[80:]]) - read.edge_mean_E) / read.edge_scale_E
    latents_SZ = unseen_SE @ read.reader_EZ
    assert abs(np.corrcoef(latents_SZ[:, 0], traits_S[80:])[0, 1]) > 0.9


def test_maps_are_those_of_the_training_part_and_absent_regions_stay_absent() -> None:
    (person, *_), _ = make_people(1)
    half = Split("temporal", ("p000",), ("p000",), ("p000",), train_until=0.5, validation_until=0.6)
    (early_R,) = contrast_maps(person, TASKSET, half, COLUMNS)
    bold_VR = person.runs[0].bold_VR
    assert bold_VR is not None
    bold_VR[32:] = 7.0
    np.testing.assert_array_equal(contrast_maps(person, TASKSET, half, COLUMNS)[0], early_R)
    bold_VR[:, 2] = np.nan
    assert np.isnan(contrast_maps(person, TASKSET, half, COLUMNS)[0]).tolist() == [place == 2 for place in COLUMNS]


def test_people_without_a_map_have_no_figures_and_change_nobody_elses() -> None:
    maps_SR = np.random.default_rng(0).standard_normal((30, 5))
    absent_SR = np.insert(maps_SR, 4, np.nan, axis=0)
    figures_SY = map_figures(absent_SR)[0]
    assert np.isnan(figures_SY[4]).all()
    np.testing.assert_allclose(np.delete(figures_SY, 4, axis=0), map_figures(maps_SR)[0])
    assert map_figures(np.full((3, 5), np.nan))[0].shape == (3, 0)


def test_the_sign_of_a_component_is_that_of_the_region_that_weighs_most_in_it() -> None:
    rng = np.random.default_rng(1)
    strength_S = rng.standard_normal(40)
    for weights_R in (np.array([0.2, -0.9, 0.1]), np.array([-0.2, 0.9, 0.1])):
        maps_SR = strength_S[:, None] * weights_R + 0.01 * rng.standard_normal((40, 3))
        first_S = map_figures(maps_SR)[0][:, 0]
        assert np.corrcoef(first_S, maps_SR[:, 1])[0, 1] > 0.99
        np.testing.assert_allclose(map_figures(maps_SR[::-1])[0][::-1, 0], first_S)
