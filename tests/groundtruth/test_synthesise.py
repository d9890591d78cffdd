"""The ground-truth cohort: what it writes is what its truth says, and can be learnt as far as its noise ceiling allows."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from dtb.config import ClusterConfig, Config, SynthConfig
from dtb.errors import ConfigurationError, OutputInUseError
from dtb.groundtruth.behaviour import decide, expectations, make_decider, make_design
from dtb.groundtruth.population import TRAITS, make_person, make_population, valid_correlation
from dtb.groundtruth.signals import autocorrelated
from dtb.groundtruth.synthesise import synthesise
from dtb.people.records import matrix_from_edges
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from tests.small import SMALL


def test_events_are_read_through_the_shipped_tasks_without_a_row_left_out(small_cohort):
    truth = pd.read_csv(small_cohort / "truth" / "subjects.tsv", sep="\t").set_index("participant_id")
    for task in ("stroop", "hammer"):
        for path in sorted((small_cohort / "bids").glob(f"sub-*/func/*_task-{task}_*_events.tsv")):
            found = read_trials(load_task(task), path)
            assert found.unusable == []
            label = path.name.split("_")[0]
            trials = found.trials
            assert np.nanmean(trials.rt_seconds_J) == pytest.approx(
                truth.loc[label, f"{task}_mean_rt_observed"], abs=1e-4
            )
            right = (trials.response_JA & trials.correct_JA).any(axis=1).mean()
            assert right == pytest.approx(truth.loc[label, f"{task}_accuracy_observed"], abs=1e-6)


def test_scores_are_what_the_causal_edges_of_the_written_connectome_say(small_cohort):
    mechanism = json.loads((small_cohort / "truth" / "mechanism.json").read_text())
    edges_SE = np.load(small_cohort / "truth" / "arrays.npz")["connectomes_SE"]
    truth = pd.read_csv(small_cohort / "truth" / "subjects.tsv", sep="\t")
    for trait in TRAITS:
        rows = mechanism["traits"][trait]
        terms = [row["sign"] * (edges_SE[:, row["edge"]] - row["base"]) / mechanism["step"] for row in rows]
        np.testing.assert_allclose(np.mean(terms, axis=0), truth[f"trait_{trait}"], atol=1e-4)


def test_ceilings_are_those_of_the_written_truth_and_fall_with_what_is_taken_away(small_cohort):
    ceilings = json.loads((small_cohort / "truth" / "ceilings.json").read_text())
    truth = pd.read_csv(small_cohort / "truth" / "subjects.tsv", sep="\t")
    for task in ("stroop", "hammer"):
        for name in ("expected", "from_connectome"):
            r = np.corrcoef(truth[f"{task}_mean_rt_{name}"], truth[f"{task}_mean_rt_observed"])[0, 1]
            suffix = "" if name == "expected" else "_from_connectome"
            assert ceilings[task][f"mean_rt{suffix}"] == pytest.approx(r, abs=1e-3)
        assert 0 < ceilings[task]["bold_contrast_map_own"] < ceilings[task]["bold_contrast_map"]


def test_a_person_depends_on_seed_and_index_alone(small_cohort, tmp_path):
    fewer = dataclasses.replace(SMALL, synth=dataclasses.replace(SMALL.synth, num_subjects=2))
    synthesise(fewer, tmp_path / "fewer", resume=False)
    for path in sorted((tmp_path / "fewer").rglob("sub-0002_*")):
        assert path.read_bytes() == (small_cohort / path.relative_to(tmp_path / "fewer")).read_bytes()


@pytest.mark.cluster
def test_a_cluster_makes_the_same_people(small_cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("dtb.groundtruth.synthesise._FEW", 0)
    config = dataclasses.replace(SMALL, cluster=ClusterConfig(num_cpus=2))
    synthesise(config, tmp_path / "again", resume=False)
    files = sorted(path.relative_to(small_cohort) for path in small_cohort.rglob("*.tsv"))
    assert len(files) > 50
    for path in files:
        assert (tmp_path / "again" / path).read_bytes() == (small_cohort / path).read_bytes()


def test_true_connectomes_are_correlation_matrices():
    config = SynthConfig(num_regions=30)
    population = make_population(config, 3)
    for index in range(5):
        person = make_person(population, config, 3, index)
        assert np.linalg.eigvalsh(person.correlation_RR).min() > 0
        np.testing.assert_allclose(np.diag(person.correlation_RR), 1)
        np.testing.assert_allclose(np.tanh(matrix_from_edges(person.edges_E, 9.0)), person.correlation_RR, atol=1e-7)
    sets = [*population.causal_edges.values(), population.age_edges, population.site_edges]
    assert len(np.unique(np.concatenate(sets))) == 5 * config.num_causal_edges


def test_the_mean_connectome_is_shaped_as_real_ones_are():
    """Strongest at the same place of both hemispheres, then within networks and nearby; mildly negative between what is active in turn."""
    population = make_population(SynthConfig(), 0)
    base_RR = np.tanh(matrix_from_edges(population.base_E, np.nan))
    place_R3, network_R = population.place_R3, population.network_R
    apart_RR = np.linalg.norm(place_R3[:, None] - place_R3, axis=-1)
    same_RR = network_R[:, None] == network_R
    homotopic_RR = np.linalg.norm(place_R3[:, None] - place_R3 * [-1, 1, 1], axis=-1) < 6
    homotopic_RR &= place_R3[:, :1] * place_R3[:, 0] < 0
    far_RR = (apart_RR > 40) & ~homotopic_RR
    groups = (homotopic_RR, same_RR & ~homotopic_RR, ~same_RR & far_RR)
    homotopic, within, far = (np.nanmean(base_RR[which]) for which in groups)
    assert homotopic > 0.4 > within > 0.15
    assert abs(far) < 0.02
    between = base_RR[np.ix_(network_R == "DorsAttn", network_R == "Default")]
    assert np.mean(between) < -0.02


def test_rest_series_have_the_correlation_and_memory_asked_for():
    truth_RR = valid_correlation(np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.0], [-0.3, 0.0, 1.0]]))
    series_VR = autocorrelated(truth_RR, 60_000, 0.8, np.random.default_rng(0))
    np.testing.assert_allclose(np.corrcoef(series_VR.T), truth_RR, atol=0.03)
    lagged = [np.corrcoef(series_VR[:-1, r], series_VR[1:, r])[0, 1] for r in range(3)]
    np.testing.assert_allclose(lagged, np.exp(-0.5), atol=0.02)
    assert series_VR.std() == pytest.approx(1, abs=0.02)


def test_behaviour_follows_the_closed_form_of_the_drift_diffusion_process():
    """Without a deadline that bites, P(error) = 1 / (1 + exp(2 a v)) and mean decision time = a / v tanh(a v) (Bogacz et al. 2006), where a
    walk in steps of h overshoots the boundary by 0.583 sqrt(h) on average (Siegmund 1985)."""
    config = SynthConfig(lapse_rate=0, omission_rate=0)
    population = make_population(config, 0)
    decider = make_decider(make_person(population, config, 0, 0), config, 0, 0)
    decider = dataclasses.replace(decider, drift={"congruent": 3.0}, boundary=0.8, non_decision_seconds=0.3)
    rt_J, correct_J = decide(decider, np.full(20_000, "congruent"), config, np.random.default_rng(1))
    boundary = 0.8 + 0.583 * np.sqrt(0.005)
    assert np.nanmean(rt_J) == pytest.approx(0.3 + boundary / 3 * np.tanh(3 * boundary), abs=0.005)
    assert 1 - correct_J.mean() == pytest.approx(1 / (1 + np.exp(6 * boundary)), abs=0.002)


def test_without_trait_strength_people_differ_only_by_what_no_connectome_shows():
    config = SynthConfig(trait_strength=0)
    population = make_population(config, 0)
    deciders = [make_decider(make_person(population, config, 0, index), config, 0, index) for index in range(3)]
    assert deciders[0].drift == deciders[1].drift == deciders[2].drift


@pytest.mark.parametrize("law", ["linear", "curved"])
def test_age_can_slow_people_past_their_connectomes(law):
    config = SynthConfig(trait_strength=0, age_on_behaviour=0.3, age_law=law)
    population = make_population(config, 0)
    people = [make_person(population, config, 0, index) for index in range(300)]
    deciders = [make_decider(person, config, 0, index) for index, person in enumerate(people)]
    age_z = (np.array([person.age for person in people]) - 41.5) / 13.6
    slowing = -np.log([decider.drift["congruent"] / 2.3 for decider in deciders]) / 0.3
    expected = age_z if law == "linear" else (age_z + age_z**2 - 1) / np.sqrt(1.8)
    np.testing.assert_allclose(slowing, expected, atol=1e-9)
    assert slowing.mean() == pytest.approx(0, abs=0.15)
    assert slowing.std() == pytest.approx(1, abs=0.1)
    # What follows from the connectome alone is the same for everybody.
    habitless = np.array([decider.without_habits().drift["congruent"] for decider in deciders])
    np.testing.assert_allclose(habitless, 2.3)


def test_kernel_ridge_on_estimated_edges_predicts_unseen_mean_reaction_times_below_the_ceiling():
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import KFold, cross_val_predict

    config, seed, num = SynthConfig(), 0, 96
    population, design = make_population(config, seed), make_design("stroop", 0, seed)
    edges, observed, expected = [], [], []
    for index in range(num):
        person = make_person(population, config, seed, index)
        decider = make_decider(person, config, seed, index)
        rng = np.random.default_rng([7, index])
        observed.append(np.nanmean(decide(decider, design.condition_J, config, rng)[0]))
        found = expectations(decider, ("congruent", "incongruent"), config, seed)
        expected.append((54 * found["congruent_rt"] + 24 * found["incongruent_rt"]) / 78)
        series_VR = np.concatenate([autocorrelated(person.correlation_RR, 600, 0.8, rng) for _ in range(2)])
        edges.append(np.arctanh(np.corrcoef(series_VR.T)[np.triu_indices(config.num_regions, 1)]))
    centred = np.array(edges) - np.mean(edges, axis=0)
    rt = np.array(observed) - np.mean(observed)
    predicted = cross_val_predict(KernelRidge(alpha=10.0), centred, rt, cv=KFold(5, shuffle=True, random_state=0))
    ceiling = np.corrcoef(expected, observed)[0, 1]
    assert 0.4 < np.corrcoef(predicted, rt)[0, 1] < ceiling
    assert ceiling > 0.85


def test_a_used_folder_is_refused_and_a_finished_one_is_left_alone(small_cohort):
    with pytest.raises(OutputInUseError, match="--resume"):
        synthesise(SMALL, small_cohort, resume=False)
    before = (small_cohort / "truth" / "arrays.npz").stat().st_mtime_ns
    synthesise(SMALL, small_cohort, resume=True)
    assert (small_cohort / "truth" / "arrays.npz").stat().st_mtime_ns == before


def test_an_unknown_design_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigurationError, match=r"synth\.tasks.*'bart'"):
        synthesise(Config(synth=SynthConfig(tasks=("bart",))), tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


def test_dense_traits_are_carried_by_every_edge_as_strongly_as_sparse_ones():
    sparse, dense = (
        SynthConfig(num_regions=20, num_causal_edges=8, trait_loadings=loadings) for loadings in ("sparse", "dense")
    )
    populations = [make_population(config, 1) for config in (sparse, dense)]
    lengths = [
        [population.step * np.linalg.norm(signs) for signs in population.causal_signs.values()]
        for population in populations
    ]
    np.testing.assert_allclose(lengths[0], lengths[1])
    weights_CE = np.stack(list(populations[1].causal_signs.values()))
    np.testing.assert_allclose(weights_CE @ weights_CE.T, 190 * np.eye(3), atol=1e-9)
    # A trait moves its own score by 1 and no other.
    moved_E = populations[1].base_E + populations[1].step * weights_CE[0]
    np.testing.assert_allclose(list(populations[1].scores(moved_E).values()), [1.0, 0.0, 0.0], atol=1e-9)
