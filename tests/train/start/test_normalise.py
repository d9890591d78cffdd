"""Scales in one pass are those of all values at once, over training people and times alone."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtb.shards.split import Split
from dtb.train.start.normalise import load, save
from tests.shards.people import make_person
from tests.train.scales import measure

PEOPLE = [make_person(number) for number in range(7)]
NAMES = tuple(person.pseudonym for person in PEOPLE)
BOLD = (1, 4)


def test_scales_are_those_of_all_values_at_once():
    scales = measure(PEOPLE, Split("subjects", NAMES, (), ()), 28, BOLD)
    edges_SE = np.stack([person.connectome_E for person in PEOPLE])
    np.testing.assert_allclose(scales.edge_mean_E, np.nanmean(edges_SE, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scales.edge_scale_E, np.nanstd(edges_SE, 0, ddof=1), rtol=1e-5)
    bold = np.concatenate([person.runs[0].bold_VR[:, BOLD] for person in PEOPLE])
    np.testing.assert_allclose(scales.bold_scale_R, bold.std(0, ddof=1), rtol=1e-5)


def test_only_training_times_are_looked_at():
    split = Split("temporal", NAMES, NAMES, NAMES, train_until=0.5, validation_until=0.6)
    scales = measure(PEOPLE, split, 28, BOLD)
    bold = [person.runs[0].bold_VR[:15, BOLD] for person in PEOPLE]
    bold = np.concatenate([run_VR - run_VR.mean(0) for run_VR in bold])
    np.testing.assert_allclose(scales.bold_scale_R, bold.std(0, ddof=1), rtol=1e-5)
    assert scales.bold_mean_R is None


def test_held_out_volumes_move_no_scale_though_their_mean_was_taken_from_the_whole_run():
    split = Split("temporal", NAMES, NAMES, NAMES, train_until=0.5, validation_until=0.6)
    for bold_of_cohort in (False, True):
        found = []
        for drift in (0.0, 80.0):
            people = []
            for number, person in enumerate(PEOPLE):
                raw_VR = person.runs[0].bold_VR.astype(np.float64) + 100.0 + number
                raw_VR[15:] += drift
                mean_R = raw_VR.mean(0)
                stored = {"bold_VR": (raw_VR - mean_R).astype(np.float32), "bold_mean_R": mean_R.astype(np.float32)}
                runs = (dataclasses.replace(person.runs[0], **stored),)
                people.append(dataclasses.replace(person, runs=runs))
            found.append(measure(people, split, 28, BOLD, bold_of_cohort=bold_of_cohort))
        np.testing.assert_allclose(found[0].bold_scale_R, found[1].bold_scale_R, rtol=1e-4)
        if bold_of_cohort:
            seen = [
                person.runs[0].bold_VR[:15, BOLD].astype(float) + 100 + number for number, person in enumerate(PEOPLE)
            ]
            for scales in found:
                np.testing.assert_allclose(scales.bold_mean_R, np.concatenate(seen).mean(0), rtol=1e-5)
                np.testing.assert_allclose(scales.bold_scale_R, np.concatenate(seen).std(0, ddof=1), rtol=1e-4)


def test_edge_that_nobody_has_and_one_that_does_not_vary_have_scale_one():
    people = [make_person(number) for number in range(3)]
    for person in people:
        person.connectome_E[0], person.connectome_E[1] = np.nan, 0.25
    scales = measure(people, Split("subjects", NAMES, (), ()), 28, ())
    assert scales.edge_scale_E[0] == scales.edge_scale_E[1] == 1
    assert scales.edge_mean_E[0] == 0
    assert scales.edge_mean_E[1] == 0.25


def test_scales_survive_being_written(tmp_path):
    for components in (0, 3):
        scales = measure(PEOPLE, Split("subjects", NAMES, (), ()), 28, BOLD, components, bold_of_cohort=components > 0)
        save(tmp_path / "scales.safetensors", scales)
        found = load(tmp_path / "scales.safetensors")
        for name, array in vars(scales).items():
            np.testing.assert_array_equal(getattr(found, name), array)
