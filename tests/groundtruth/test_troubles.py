"""What makes real cohorts hard is in the ground truth when asked for: motion in the signal, absent runs, age and site, and unparcellated images."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series.read import read_region_names, read_series
from dtb.config import Config, IngestConfig, SynthConfig
from dtb.errors import ConfigurationError
from dtb.groundtruth.images import atlas_path
from dtb.groundtruth.population import TRAITS, make_person, make_population
from dtb.groundtruth.signals import artefact, autocorrelated, displacement
from dtb.groundtruth.synthesise import synthesise
from tests.cohort.test_ingest import TASKS
from tests.small import SMALL


def test_movers_look_more_connected_everywhere_alike():
    """A common artefact of variance v takes each correlation r to (r + v) / (1 + v)."""
    config = SynthConfig(motion_artefact=2.0, jerks_per_minute=1.0)
    true_RR = np.array([[1.0, 0.5, -0.3, 0.1], [0.5, 1.0, 0.0, 0.2], [-0.3, 0.0, 1.0, -0.1], [0.1, 0.2, -0.1, 1.0]])
    rng = np.random.default_rng(0)
    moved_V = displacement(0.3, 60_000, config, rng)
    added_V = artefact(moved_V, config)
    seen_RR = np.corrcoef((autocorrelated(true_RR, 60_000, 0.8, rng) + added_V[:, None]).T)
    variance = added_V.var()
    assert variance > 0.5
    np.testing.assert_allclose(seen_RR, (true_RR + variance) / (1 + variance), atol=0.02)
    assert added_V[np.argmax(moved_V)] < -moved_V.max()


def test_motion_is_a_confound_of_the_connectome_only_if_asked_for():
    config = SynthConfig(num_regions=12, num_causal_edges=4, num_sites=1)
    population = make_population(config, 0)
    seen = {0.0: [], 3.0: []}
    levels = np.exp(np.random.default_rng(1).normal(-1.9, 0.4, 60))
    for index, level in enumerate(levels):
        person = make_person(population, config, 0, index)
        for height, means in seen.items():
            rng = np.random.default_rng([2, index])
            series_VR = autocorrelated(person.correlation_RR, 400, 0.8, rng)
            moved_V = displacement(level, 400, config, rng)
            series_VR += artefact(moved_V, dataclasses.replace(config, motion_artefact=height))[:, None]
            means.append(np.corrcoef(series_VR.T)[np.triu_indices(12, 1)].mean())
    assert abs(np.corrcoef(levels, seen[0.0])[0, 1]) < 0.35
    assert np.corrcoef(levels, seen[3.0])[0, 1] > 0.6


def test_traits_follow_age_and_site_as_far_as_asked_for():
    config = SynthConfig(num_regions=20, num_causal_edges=8, age_effect=0.6, site_effect=0.0, num_sites=3)
    for effect in (0.0, 0.6):
        config = dataclasses.replace(config, age_effect=effect)
        population = make_population(config, 0)
        people = [make_person(population, config, 0, index) for index in range(300)]
        ages = np.array([person.age for person in people])
        assert 18 <= ages.min() < 22
        assert 61 < ages.max() <= 65
        r = [np.corrcoef(ages, [person.scores[trait] for person in people])[0, 1] for trait in TRAITS]
        # Scores are read from finite samples of the true connectome, which takes a little of the correlation away.
        np.testing.assert_allclose(r, effect, atol=0.15)  # with 300 people, 2.6 standard errors
    with pytest.raises(ConfigurationError, match="the youngest first"):
        make_population(dataclasses.replace(config, age_years=(60.0, 20.0)), 0)


def test_absent_runs_are_absent_everywhere_and_people_without_rest_are_set_aside(tmp_path):
    synth = dataclasses.replace(
        SMALL.synth, num_subjects=24, num_regions=10, num_causal_edges=4, rest_seconds=130.0, runs_per_task=2
    )
    synth = dataclasses.replace(synth, missing_rest_fraction=0.3, missing_run_fraction=0.5)
    out = tmp_path / "cohort"
    synthesise(dataclasses.replace(SMALL, synth=synth), out, resume=False)
    truth = pd.read_csv(out / "truth" / "subjects.tsv", sep="\t").set_index("participant_id")
    config = IngestConfig()
    derivatives = (out / "derivatives" / "xcp_d",)
    people = index_people(out / "bids", derivatives, config, TASKS)
    made = sum(len(person.events) for person in people)
    assert 30 < made < 66  # of 96
    without_rest = [person for person in people if not person.rest]
    assert 2 <= len(without_rest) <= 13
    regions = tuple(json.loads((out / "truth" / "mechanism.json").read_text())["regions"])
    read = read_person(PersonJob(without_rest[0], "p", no_covariates()), regions, TASKS, config)
    assert (read.record, read.reason) == (None, "no resting-state series")
    for person in people:
        for place, task in enumerate(("stroop", "hammer")):
            runs = sum(events.task_index == place for events in person.events)
            assert np.isfinite(truth.loc[f"sub-{person.label}", f"{task}_mean_rt_observed"]) == (runs > 0)
            assert np.isfinite(truth.loc[f"sub-{person.label}", f"{task}_mean_rt_expected"])


def test_images_give_the_connectome_of_the_parcellated_series_up_to_the_voxels_noise(small_cohort, tmp_path):
    synth = dataclasses.replace(SMALL.synth, volumes=True, num_subjects=2)
    out = tmp_path / "cohort"
    synthesise(dataclasses.replace(SMALL, synth=synth), out, resume=False)
    images = IngestConfig(layout="fmriprep", atlas=atlas_path(out, synth), confounds="24p")
    trees = {
        "images": (out / "bids", (out / "derivatives" / "fmriprep",), images),
        "parcels": (small_cohort / "bids", (small_cohort / "derivatives" / "xcp_d",), IngestConfig()),
    }
    series, edges, motion = {}, {}, {}
    for kind, (bids, derivatives, config) in trees.items():
        person = index_people(bids, derivatives, config, TASKS)[0]
        regions = read_region_names(person.rest[0], derivatives, config)
        record = read_person(PersonJob(person, "p", no_covariates(), derivatives), regions, TASKS, config).record
        edges[kind], motion[kind] = record.connectome_E, record.covariates["motion"]
        assert [run.task for run in record.runs] == ["hammer", "stroop"]
        series[kind] = read_series(person.rest[0], regions, config, derivatives).values_VR
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(series["images"].T, series["parcels"].T, strict=True)]
    assert min(each) > 0.75
    assert np.corrcoef(edges["images"], edges["parcels"])[0, 1] > 0.97
    np.testing.assert_allclose(edges["images"], edges["parcels"], atol=0.12)
    assert motion["images"] == pytest.approx(motion["parcels"], abs=1e-4)
    again = tmp_path / "again"
    synthesise(dataclasses.replace(SMALL, synth=synth), again, resume=False)
    for path in sorted(out.rglob("*desc-*")):
        assert path.read_bytes() == (again / path.relative_to(out)).read_bytes()


def test_a_dry_run_says_who_and_how_much_and_writes_nothing(tmp_path, capsys):
    config = Config(synth=SynthConfig(num_subjects=4000, missing_rest_fraction=0.02))
    synthesise(config, tmp_path / "out", resume=False, dry_run=True)
    said = capsys.readouterr().out
    assert "4000 people" in said
    assert "about 7.8 GB" in said
    assert "2% without rest" in said
    assert not (tmp_path / "out").exists()
