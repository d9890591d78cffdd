"""A searched cohort: valid changes within the budget, measured by simulation, the same for a person whoever else is searched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from dtb.config import ClusterConfig, Config, FleetConfig, InterveneConfig, SimulateConfig
from dtb.errors import ConfigurationError, InputDataError
from dtb.fleet.actors.actor import Work
from dtb.fleet.contrasts import Contrasts
from dtb.fleet.intervene import _figures as figures_of
from dtb.fleet.intervene import intervene as intervene_stage
from dtb.fleet.named_target import make_search_target
from dtb.fleet.rankings import rank_networks
from dtb.fleet.search_worker import SearchWorker
from dtb.fleet.simulate import SimulationWorker
from dtb.fleet.support import Support
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.target import SearchTarget
from dtb.fleet.twins import SharedTwin, TwinRunner, open_shared_twin
from dtb.intervene.arms import control_names
from dtb.intervene.constraints import TOLERANCE
from dtb.intervene.goal import make_goal
from dtb.intervene.indicators import Performance
from dtb.intervene.search import DOSES, simulate_all
from dtb.intervene.spaces import Start
from dtb.people.glm import condition_events, design_matrix, run_contrast
from dtb.people.records import matrix_from_edges
from dtb.twin.edges import matrix_of
from tests.fleet.world import REGIONS, make_person, make_world
from tests.intervene.matrices import violation
from tests.people.glm_torch import fit_contrast

KEYS = ["p0000", "p0001", "p0002", "p0003", "p0004"]
SHOWN = Support(num_people=30, r=0.6, p_value=0.001)
SETTINGS = InterveneConfig(budget=0.2, num_steps=8, task="stroop", metric="euclidean")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def shared_twin(world: tuple[Path, Path]) -> SharedTwin:
    return open_shared_twin(*world)


def searcher(
    shared_twin: SharedTwin, settings: InterveneConfig = SETTINGS, num_members: int = 1
) -> tuple[SearchTarget, SearchWorker]:
    search_target, shared_twins = make_search_target(settings, shared_twin), [shared_twin] * num_members
    surveyed = SurveyWorker(shared_twins, search_target, seed=0, sample=frozenset(KEYS[:4])).work(KEYS)
    survey = search_target.survey([surveyed.tables["people"]], ())
    return search_target, SearchWorker(
        shared_twins, search_target, seed=0, survey=dataclasses.replace(survey, support=SHOWN)
    )


@pytest.fixture(scope="module")
def work(shared_twin: SharedTwin) -> Work:
    return searcher(shared_twin)[1].work(KEYS)


def test_every_returned_change_is_valid_and_within_the_budget(shared_twin: SharedTwin, work: Work) -> None:
    _, batch = TwinRunner(shared_twin, 0).lay_out(KEYS)
    start = Start.of(batch.connectome_SE, len(REGIONS), SETTINGS.budget)
    changes = work.tables["changes"].to_pandas().set_index("pseudonym")
    change_SE = torch.from_numpy(np.stack(changes.loc[KEYS, "change_E"].to_list())).double()
    assert violation(start.base_SRR + matrix_of(change_SE, len(REGIONS), diagonal=0.0)).max() < TOLERANCE
    norm_S = 2**0.5 * change_SE.norm(dim=1)
    assert (norm_S <= start.budget_S + TOLERANCE).all()
    results = work.tables["results"].to_pandas()
    np.testing.assert_allclose(norm_S, results[results["is_target"]]["change_norm"], rtol=1e-5)
    rows, columns = np.triu_indices(len(REGIONS), 1)
    assert (change_SE[1, (rows == 3) | (columns == 3)] == 0).all()


def test_after_is_what_a_full_simulation_of_the_changed_connectome_gives(shared_twin: SharedTwin, work: Work) -> None:
    runner, search_target = TwinRunner(shared_twin, 0), make_search_target(SETTINGS, shared_twin)
    records, batch = runner.lay_out(KEYS)
    perform = Performance(
        runner.twin,
        batch,
        Contrasts(runner.taskset).weights(records, batch),
        search_target.tasks,
        search_target.indicators,
    )
    start = Start.of(batch.connectome_SE, len(REGIONS), SETTINGS.budget)
    changes = work.tables["changes"].to_pandas().set_index("pseudonym")
    change_SE = torch.from_numpy(np.stack(changes.loc[KEYS, "change_E"].to_list())).double()
    after = work.tables["results"].to_pandas()["after"].to_numpy().reshape(len(KEYS), -1)
    np.testing.assert_allclose(perform(start.connectome(change_SE)), after, rtol=1e-4, atol=1e-5)


def test_the_target_goes_the_wanted_way_and_beyond_the_controls(work: Work) -> None:
    target = work.tables["results"].to_pandas().query("is_target")
    assert (target["indicator"] == "mean_rt").all()
    assert (target["task"] == "stroop").all()
    moved = target["before"] - target["after"]
    assert (moved > 0).all()
    for name in control_names():
        # The search pays for what it does to other indicators, the controls do not; and in a twin that reads its connectome
        # almost linearly the population's direction is nearly each person's own.
        assert moved.mean() > 0.8 * (target["before"] - target[f"{name}_after"]).mean(), name
    doses = np.stack(target["after_doses"])
    assert doses.shape == (5, len(DOSES))
    np.testing.assert_allclose(doses[:, -1], target["after"])


def test_a_twin_that_reads_the_tangent_space_is_searched_through_it(tmp_path: Path) -> None:
    shared_twin = open_shared_twin(*make_world(tmp_path, connectome_space="tangent"))
    work = searcher(shared_twin)[1].work(KEYS)
    target = work.tables["results"].to_pandas().query("is_target")
    assert (target["before"] > target["after"]).all()
    assert (target["after"] < target["random_after"]).all()
    test_every_returned_change_is_valid_and_within_the_budget(shared_twin, work)


def test_what_is_no_correlation_matrix_is_not_changed_and_other_connectomes_are_not_performed(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    partial = make_world(tmp_path, kind="partial")
    with pytest.raises(InputDataError, match=r"reads connectomes that are partial \(fisher_z\)\. An intervention"):
        make_search_target(SETTINGS, open_shared_twin(*partial))
    with pytest.raises(InputDataError, match=r"are partial \(fisher_z\); the twin in .* was trained on pearson"):
        open_shared_twin(partial[0], world[1])


def test_a_person_is_searched_the_same_alone_and_in_company(shared_twin: SharedTwin, work: Work) -> None:
    alone = searcher(shared_twin)[1].work(["p0002"]).tables["results"].to_pandas()
    together = work.tables["results"].to_pandas().query("pseudonym == 'p0002'")
    for column in ("before", "after", "random_after", "population_after"):
        np.testing.assert_allclose(alone[column], together[column], atol=1e-3 * together["spread"].max())


@pytest.mark.slow
def test_with_batches_of_one_shape_a_person_is_searched_the_same_bit_for_bit_whoever_else_is(
    shared_twin: SharedTwin,
) -> None:
    search_target, worker = searcher(shared_twin)
    padded = SearchWorker([shared_twin], search_target, 0, worker._survey, num_rows=8)
    wanted = None
    # In the same place: the layers of this small twin are narrower than a vector of the processor.
    for runner in (["p0000", "p0001", "p0002"], ["p0004", "p0003", "p0002", "p0000"], ["p0003", "p0000", "p0002"]):
        tables = padded.work(runner).tables
        found = {name: table.filter(pc.equal(table["pseudonym"], "p0002")) for name, table in tables.items()}
        assert set(tables["results"]["pseudonym"].to_pylist()) == set(runner)
        wanted = wanted or found
        for name, table in found.items():
            np.testing.assert_equal(table.to_pylist(), wanted[name].to_pylist(), name)


def test_bold_contrasts_are_those_of_the_linear_model(shared_twin: SharedTwin, work: Work) -> None:
    runner = TwinRunner(shared_twin, 0)
    records, batch = runner.lay_out(KEYS)
    output = runner.twin(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S)
    bold_SKVR = runner.twin.bold(output, batch.volume_seconds_SKV).detach()
    run = records[0].runs[1]
    spec = runner.taskset.specs[runner.taskset.index("stroop")]
    weights_V = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), np.ones(40, dtype=bool))
    mine_K = batch.run_SK[0] == 1
    series_VR = bold_SKVR[0, mine_K][batch.bold_counted_SKV[0, mine_K]].double().numpy()
    expected = weights_V @ series_VR
    results = work.tables["results"].to_pandas()
    found = results.query("pseudonym == 'p0000' and indicator == 'bold_contrast' and task == 'stroop'")
    assert found["region"].tolist() == list(REGIONS[:4])
    # The base is the nearest valid matrix, a little off the person's own.
    np.testing.assert_allclose(found["before"], expected, rtol=1e-3, atol=1e-4)


def test_a_bold_contrast_can_be_the_target(shared_twin: SharedTwin) -> None:
    settings = InterveneConfig(
        indicator="bold_contrast", task="hammer", region="region2", direction="increase", budget=0.2, num_steps=5
    )
    target = searcher(shared_twin, settings)[1].work(KEYS).tables["results"].to_pandas().query("is_target")
    assert (target["region"] == "region2").all()
    assert (target["after"] > target["before"]).all()


def test_a_t_value_is_that_of_the_linear_model_and_can_be_the_target(shared_twin: SharedTwin) -> None:
    settings = InterveneConfig(
        indicator="bold_t", task="stroop", region="region2", direction="increase", budget=0.2, num_steps=4
    )
    search_target, worker = searcher(shared_twin, settings)
    results = worker.work(KEYS).tables["results"].to_pandas()
    target = results.query("is_target").set_index("pseudonym")
    assert (target["after"] > target["before"]).all()
    assert results[results["is_wanted"]]["indicator"].unique().tolist() == ["bold_contrast", "bold_t"]
    prepared = worker.prepare(KEYS)
    runner, spec = worker._runners[0], worker._runners[0].taskset.specs[1]
    output = runner.twin(
        prepared.start.connectome(torch.zeros(1, prepared.start.num_edges)).float(), prepared.batch.stimulus_SKTI
    )
    bold_SKVR = runner.twin.bold(output, prepared.batch.volume_seconds_SKV).double().numpy()
    observed_S = prepared.performances[0].observed(search_target.indicators[search_target.target])
    for place in (0, 2):
        run = prepared.records[place].runs[1]
        design = design_matrix(condition_events(run, spec.conditions), np.arange(40) * 1.0)
        mine_K = prepared.batch.run_SK[place] == 1
        simulated_V = bold_SKVR[place][mine_K][prepared.batch.bold_counted_SKV[place, mine_K]][:, 2]
        assert run.bold_VR is not None
        for series_V, found in (
            (simulated_V, target.loc[KEYS[place], "before"]),
            (run.bold_VR[:, 2], observed_S[place]),
        ):
            fit = fit_contrast(torch.from_numpy(series_V)[:, None].double(), design, spec.contrast)
            matrix = design.to_numpy()
            left_V = series_V - matrix @ np.linalg.lstsq(matrix, series_V, rcond=None)[0]
            weights_V = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), np.ones(40, dtype=bool))
            freedom = 40 - np.linalg.matrix_rank(matrix)
            error = np.sqrt(left_V @ left_V / freedom * (weights_V @ weights_V))
            assert float(found) == pytest.approx(float(fit.effect_R[0]) / error, rel=1e-3)


@pytest.mark.slow
def test_the_probability_of_a_choice_is_its_share_and_can_be_the_target(shared_twin: SharedTwin) -> None:
    settings = dataclasses.replace(
        SETTINGS, indicator="choice", task="hammer", alternative="left", direction="increase"
    )
    search_target, worker = searcher(shared_twin, settings)
    assert search_target.name == "choice of left in hammer"
    target = worker.work(KEYS).tables["results"].to_pandas().query("is_target").set_index("pseudonym")
    assert (target["alternative"] == "left").all()
    assert (target["after"] > target["before"]).all()
    expected = SimulationWorker([shared_twin], 0, SimulateConfig(num_draws=1)).work(KEYS).tables["expected"].to_pandas()
    mine = expected[(expected["task"] == "hammer")].groupby("pseudonym")["choice_probabilities"]
    for key, rows in mine:
        assert target.loc[key, "before"] == pytest.approx(np.stack(rows.to_list())[:, 0].mean(), abs=1e-4)
    prepared = worker.prepare(KEYS)
    trials = prepared.records[2].runs[0].trials
    observed_S = prepared.performances[0].observed(search_target.indicators[search_target.target])
    assert observed_S[2].item() == pytest.approx(trials.response_JA[:, 0].mean())
    second = make_search_target(
        dataclasses.replace(SETTINGS, against="increase choice of right in hammer"), shared_twin
    )
    assert second.name_of(second.second) == "choice of right in hammer"


def test_how_well_a_contrast_is_found_again_comes_of_the_halves_of_its_runs(shared_twin: SharedTwin) -> None:
    settings = InterveneConfig(indicator="bold_contrast", task="stroop", region="region2")
    search_target, spec = make_search_target(settings, shared_twin), shared_twin.taskset.specs[1]
    people = SurveyWorker([shared_twin], search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"]
    apart = []
    for number in range(5):
        run = make_person(number).runs[1]
        assert run.bold_VR is not None
        first, second = (
            run_contrast(run, spec.conditions, spec.contrast, span, np.ones(40, dtype=bool)) @ run.bold_VR[:, 2]
            for span in ((0.0, 20.0), (20.0, np.inf))
        )
        apart.append(first - second)
    np.testing.assert_allclose(people["halves_apart"].to_numpy(), apart, rtol=1e-6)
    assert search_target.survey([people], ()).retest_sd == pytest.approx(np.std(apart, ddof=1) / 2)


@pytest.mark.slow
def test_a_network_is_the_mean_of_its_regions_and_is_not_held_back(shared_twin: SharedTwin) -> None:
    settings = InterveneConfig(indicator="bold_contrast", task="hammer", network="other", direction="increase")
    search_target = make_search_target(dataclasses.replace(settings, num_steps=3, budget=0.2), shared_twin)
    assert search_target.name == "bold_contrast of network other in hammer"
    results = searcher(shared_twin, search_target.settings)[1].work(KEYS).tables["results"].to_pandas()
    target = results.query("is_target").set_index("pseudonym")
    regions = results.query("indicator == 'bold_contrast' and task == 'hammer' and not is_target")
    for column in ("before", "after"):
        np.testing.assert_allclose(target[column], regions.groupby("pseudonym")[column].mean(), rtol=1e-5, atol=1e-6)
    assert (target["after"] > target["before"]).all()
    # What is wanted is the network, and so its regions, in every table alike.
    is_aim = (results["indicator"] == "bold_contrast") & (results["task"] == "hammer")
    assert (results["is_wanted"] == is_aim).all()
    figures = figures_of(
        [pa.Table.from_pandas(results)], search_target, searcher(shared_twin, search_target.settings)[1]._survey
    )
    assert figures is not None
    others = results[~is_aim & results["spread"].notna()]
    moved = ((others["after"] - others["before"]).abs() / others["spread"]).groupby(others["pseudonym"]).median()
    assert figures["off_target_median_moved_in_spreads"]["after"] == pytest.approx(moved.median())
    values_SM = torch.randn(
        9, len(search_target.indicators), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    penalty_M = make_goal(search_target.indicators, search_target.target, 1.0, values_SM).penalty_M
    held = {
        (one.kind, search_target.tasks[one.task].name)
        for one, share in zip(search_target.indicators, penalty_M, strict=True)
        if share
    }
    assert ("bold_contrast", "hammer") not in held
    assert ("bold_contrast", "stroop") in held


def test_rankings_name_the_regions_and_networks_that_change(shared_twin: SharedTwin, work: Work) -> None:
    changes, regions = work.tables["changes"].to_pandas(), work.tables["regions"].to_pandas()
    change_RR = matrix_from_edges(changes.set_index("pseudonym")["change_E"]["p0000"])
    mine = regions[regions["pseudonym"] == "p0000"]
    square_R = (change_RR**2).sum(axis=1)
    assert mine["region"].tolist() == [REGIONS[place] for place in np.argsort(-square_R) if square_R[place]]
    assert mine["share"].sum() == pytest.approx(1)
    first = REGIONS.index(mine["region"].iloc[0])
    assert mine["strength_change"].iloc[0] == pytest.approx(change_RR[first].sum(), rel=1e-4)
    networks = rank_networks(["a"], np.array([[0.3, 0.0, -0.4]]), ["Toy_Net01_01", "Toy_Net01_02", "Toy_Net02_01"])
    assert networks.select(["network", "other", "share"]).to_pylist() == [
        {"network": "Net01", "other": "Net02", "share": pytest.approx(0.64)},
        {"network": "Net01", "other": "Net01", "share": pytest.approx(0.36)},
    ]
    np.testing.assert_allclose(networks["mean_change"], [-0.2, 0.3], rtol=1e-6)


def test_each_change_is_written_as_a_relation_matrix(shared_twin: SharedTwin, tmp_path: Path) -> None:
    search_target, worker = searcher(shared_twin)
    again = SearchWorker([shared_twin], search_target, 0, worker._survey, derivatives=tmp_path)
    changes = again.work(KEYS[:1]).tables["changes"].to_pandas()
    # One for a person: the sidecar is everybody's.
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert path == tmp_path / "sub-p0000" / "func" / "sub-p0000_desc-change_relmat.tsv"
    table = pd.read_csv(path, sep="\t")
    assert list(table.columns) == list(REGIONS)
    np.testing.assert_allclose(table, matrix_from_edges(changes["change_E"][0]), rtol=1e-4, atol=1e-7)


def test_a_budget_in_retest_sd_is_the_norm_of_what_a_second_scan_would_change() -> None:
    edges_SE = torch.tensor([[0.5, 0.0, -0.3]], dtype=torch.float64).atanh()
    start = Start.of(edges_SE, 3, 2.0, torch.tensor([0.1, torch.nan, 0.3]))
    # The edge of unknown reliability counts with the median (the lower of two), and correlations near 1 move less than Fisher z.
    steps = np.array([0.75 * 0.1, 1.0 * 0.1, 0.91 * 0.3])
    assert start.budget_S.item() == pytest.approx(2 * np.sqrt(2 * (steps**2).sum()), rel=1e-6)


def test_a_budget_in_retest_sd_needs_two_rest_runs(shared_twin: SharedTwin) -> None:
    with pytest.raises(ConfigurationError, match="nobody in the cohort has two rest runs"):
        make_search_target(InterveneConfig(budget_unit="retest_sd"), shared_twin)


def test_someone_without_the_task_is_a_failure_with_its_reason(shared_twin: SharedTwin) -> None:
    _, worker = searcher(shared_twin)
    meet = worker._runners[0].lay_out

    def without_stroop(keys, runs=()):  # type: ignore[no-untyped-def]
        records, batch = meet(keys, runs)
        mine_J = (batch.trials.subject_J == 0) & (batch.trials.task_J == 1)
        batch.trials.scored_J[mine_J] = True
        batch.trials.correct_JA[mine_J] = False
        return records, batch

    worker._runners[0].lay_out = without_stroop  # type: ignore[method-assign]
    work = worker.work(["p0000", "p0002"])
    assert "no mean_rt in stroop" in work.failures["p0000"]
    assert set(work.tables["results"]["pseudonym"].to_pylist()) == {"p0002"}


@pytest.mark.slow
def test_an_ensemble_that_disagrees_abstains(shared_twin: SharedTwin) -> None:
    _, worker = searcher(shared_twin, num_members=2)
    worker._runners[1].twin.hypernetwork.head.weight.mul_(-0.02)
    work = worker.work(KEYS[:2])
    results = work.tables["results"].to_pandas().query("is_target").set_index("pseudonym")
    moves = work.tables["changes"].to_pandas().set_index("pseudonym")["member_moves"]
    assert not work.failures
    for key in KEYS[:2]:
        agreeing = (moves[key] > 0).mean()
        assert results.loc[key, "members_agreeing"] == agreeing
        assert results.loc[key, "abstained"] == (agreeing < 1.0) == (key in work.notes)
    assert any("abstained" in note for note in work.notes.values())


@pytest.mark.slow
@pytest.mark.parametrize("knows", [True, False])
def test_a_target_that_the_twin_does_not_know_of_unseen_people_is_abstained_from(
    shared_twin: SharedTwin, knows: bool
) -> None:
    search_target = make_search_target(SETTINGS, shared_twin)
    people = pa.concat_tables(
        [SurveyWorker([shared_twin], search_target, 0, frozenset(KEYS)).work(KEYS).tables["people"] for _ in range(4)]
    ).to_pandas()
    people["pseudonym"] = [f"p{number:04d}" for number in range(20)]
    own_S = np.linspace(0.5, 0.9, 20)
    people["before"] = [
        np.where(np.arange(len(own_M)) == search_target.target, own, own_M)
        for own, own_M in zip(own_S, people["before"], strict=True)
    ]
    people["observed"] = own_S if knows else own_S[np.random.default_rng(2).permutation(20)]
    # Of those whom it was trained on the twin knows everything, and that counts for nothing.
    seen = [f"p{number:04d}" for number in range(4)]
    survey = search_target.survey(
        [pa.Table.from_pandas(people.iloc[half]) for half in (slice(0, 7), slice(7, None))], seen
    )
    assert survey.support.num_people == 16
    work = SearchWorker([shared_twin], search_target, 0, survey).work(KEYS[:2])
    target = work.tables["results"].to_pandas().query("is_target")
    assert (target["abstained"] != knows).all()
    assert set(work.notes) == (set() if knows else set(KEYS[:2]))
    assert all("not seen in training" in note for note in work.notes.values())


def test_the_published_methods_shift_moves_the_weights_and_not_the_connectome(
    shared_twin: SharedTwin, work: Work
) -> None:
    target = work.tables["results"].to_pandas().query("is_target")
    moved = target["before"] - target["paper_weights_after"]
    assert (moved.abs() > 1e-4).all()
    # Along the direction that goes with the indicator over people, the indicator should mostly go too.
    assert moved.mean() > 0


def test_the_published_method_moves_each_member_along_its_own_direction(shared_twin: SharedTwin) -> None:
    """An ensemble of two alike is moved as one of them; and a member that is not moved leaves half of it."""
    search_target, alone = searcher(shared_twin)
    _, twice = searcher(shared_twin, num_members=2)
    shifts = {}
    for name, worker in (("alone", alone), ("twice", twice)):
        prepared = worker.prepare(KEYS)
        before_SM = simulate_all(
            prepared.performances, prepared.start, [torch.zeros(1, prepared.start.num_edges)]
        ).mean((0, 1))
        bias_P = worker._runners[0].twin.hypernetwork.head.bias.clone()
        shifts[name] = (worker._shifted(prepared.performances, prepared.start) - before_SM)[:, search_target.target]
        assert torch.equal(bias_P, worker._runners[0].twin.hypernetwork.head.bias)
    torch.testing.assert_close(shifts["alone"], shifts["twice"])
    (along_P, spread), _ = twice._survey.parameters
    twice._survey = dataclasses.replace(twice._survey, parameters=[(along_P, spread), (0 * along_P, 0.0)])
    prepared = twice.prepare(KEYS)
    half_S = (twice._shifted(prepared.performances, prepared.start) - before_SM)[:, search_target.target]
    torch.testing.assert_close(half_S, 0.5 * shifts["alone"], rtol=1e-3, atol=1e-6)


def test_a_change_says_what_it_is_relative_to(shared_twin: SharedTwin, work: Work) -> None:
    _, batch = TwinRunner(shared_twin, 0).lay_out(KEYS)
    changes = work.tables["changes"].to_pandas().set_index("pseudonym")
    base_SE = np.stack(changes.loc[KEYS, "base_E"].to_list())
    np.testing.assert_allclose(base_SE, batch.connectome_SE.tanh().nan_to_num(), atol=2e-6)


def test_a_singular_matrix_leaves_no_room_for_a_few_edges_and_the_reason_says_so(shared_twin: SharedTwin) -> None:
    _, worker = searcher(shared_twin, dataclasses.replace(SETTINGS, space="sparse", max_edges=5))
    meet = worker._runners[0].lay_out

    def of_a_short_scan(keys, runs=()):  # type: ignore[no-untyped-def]
        records, batch = meet(keys, runs)
        series_VR = np.random.default_rng(0).normal(size=(6, len(REGIONS)))
        short_E = np.arctanh(np.corrcoef(series_VR, rowvar=False)[np.triu_indices(len(REGIONS), 1)])
        batch.connectome_SE[0] = torch.from_numpy(short_E).float()
        return records, batch

    worker._runners[0].lay_out = of_a_short_scan  # type: ignore[method-assign]
    work = worker.work(["p0000", "p0002"])
    assert "is singular (fewer volumes than regions)" in work.failures["p0000"]
    assert "ledoit_wolf" in work.failures["p0000"]
    assert "p0002" not in work.failures


def test_what_people_did_is_measured_like_what_their_twins_do(shared_twin: SharedTwin) -> None:
    runner, search_target = TwinRunner(shared_twin, 0), make_search_target(SETTINGS, shared_twin)
    records, batch = runner.lay_out(KEYS)
    perform = Performance(
        runner.twin,
        batch,
        Contrasts(runner.taskset).weights(records, batch),
        search_target.tasks,
        search_target.indicators,
    )
    trials = records[2].runs[1].trials
    pressed = trials.pressed_J
    values = {
        one.kind: perform.observed(one)[2].item()
        for one in search_target.indicators
        if one.task == 1 and one.regions in {(), (2,)}
    }
    assert values["mean_rt"] == pytest.approx(trials.rt_seconds_J[pressed].mean())
    assert values["accuracy"] == pytest.approx((trials.response_JA & trials.correct_JA).any(1).mean())
    contrast = search_target.tasks[1].contrast
    by_condition = [trials.rt_seconds_J[pressed & (trials.condition_J == place)].mean() for place in (0, 1)]
    assert values["condition_rt"] == pytest.approx(contrast[0] * by_condition[0] + contrast[1] * by_condition[1])
    run, spec = records[2].runs[1], runner.taskset.specs[1]
    weights_V = run_contrast(run, spec.conditions, spec.contrast, (0.0, np.inf), np.ones(40, dtype=bool))
    assert run.bold_VR is not None
    assert values["bold_contrast"] == pytest.approx(weights_V @ run.bold_VR[:, 2], abs=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "nback"}, "was trained on hammer, stroop"),
        ({"indicator": "bold_contrast"}, "give either intervene.region or intervene.network"),
        ({"indicator": "bold_contrast", "region": "amygdala"}, "'amygdala'; .* one of the 4 regions: region0"),
        ({"region": "region0"}, "goes with `bold_contrast` and `bold_t` only"),
        ({"alternative": "left"}, "goes with `choice` only"),
        ({"indicator": "choice", "alternative": "up"}, "expected one of those of hammer: left, right"),
        ({"regions": ("region0",)}, "they go with `space: regions`"),
        (
            {"regions": ("region0", "insula"), "space": "regions"},
            "names insula; the connectome has 10 regions: region0",
        ),
    ],
)
def test_names_that_the_twin_does_not_know_are_refused(
    shared_twin: SharedTwin, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_search_target(InterveneConfig(**wrong), shared_twin)  # type: ignore[arg-type]


@pytest.mark.cluster
def test_the_stage_writes_everyone_and_finishes(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        intervene=SETTINGS, fleet=FleetConfig(num_actors=1, subjects_per_batch=3), cluster=ClusterConfig(num_cpus=2)
    )
    intervene_stage(config, *world, tmp_path / "out", resume=False)
    said = capsys.readouterr().out
    assert "mean_rt in stroop, to decrease: median" in said
    assert "Tables results, changes, regions, networks are in" in said
    results = pd.read_parquet(tmp_path / "out" / "results")
    assert sorted(results["pseudonym"].unique()) == KEYS
    assert pq.read_table(tmp_path / "out" / "changes").num_rows == 5
    intervene_stage(config, *world, tmp_path / "out", resume=True)
    assert "nothing to do" in capsys.readouterr().err


def test_a_search_among_named_regions_leaves_edges_between_the_others(shared_twin: SharedTwin) -> None:
    settings = dataclasses.replace(SETTINGS, space="regions", max_regions=2, regions=("region1", "region5", "region6"))
    _, worker = searcher(shared_twin, settings)
    found = worker.work(KEYS)
    regions = found.tables["regions"].to_pandas().query("rank == 1")
    assert set(regions["region"]) <= set(settings.regions)
    change_SE = np.stack(found.tables["changes"]["change_E"].to_pylist())
    rows, columns = np.triu_indices(len(REGIONS), 1)
    assert (change_SE[:, ~np.isin(rows, [1, 5, 6]) & ~np.isin(columns, [1, 5, 6])] == 0).all()


def test_nobody_is_taken_beyond_the_largest_distance(shared_twin: SharedTwin) -> None:
    free = searcher(shared_twin)[1].work(KEYS).tables["results"].to_pandas().query("is_target")
    bound = float(free["distance_before"].max() + 0.3 * (free["distance_after"] - free["distance_before"]).max())
    held = (
        searcher(shared_twin, dataclasses.replace(SETTINGS, max_distance=bound))[1]
        .work(KEYS)
        .tables["results"]
        .to_pandas()
    )
    held = held.query("is_target")
    assert (free["distance_after"] > bound).any()
    assert (held["distance_after"] <= np.maximum(bound, held["distance_before"])).all()


@pytest.mark.parametrize("knows", [True, False])
def test_a_second_aim_that_the_twin_does_not_know_is_abstained_from_on_the_front(
    shared_twin: SharedTwin, knows: bool
) -> None:
    settings = dataclasses.replace(SETTINGS, against="increase mean_rt in hammer", front_points=2, num_steps=2)
    _, worker = searcher(shared_twin, settings)
    second = dataclasses.replace(SHOWN, p_value=0.01 if knows else 0.5)
    worker._survey = dataclasses.replace(worker._survey, second_support=second)
    work = worker.work(KEYS[:2])
    assert (work.tables["fronts"].to_pandas()["abstained"] != knows).all()
    assert not work.tables["results"].to_pandas()["abstained"].any()
    assert all("abstained from the front: " in note for note in work.notes.values())
    assert set(work.notes) == (set() if knows else set(KEYS[:2]) - set(work.failures))


def test_a_front_goes_from_one_aim_to_the_other(shared_twin: SharedTwin) -> None:
    settings = dataclasses.replace(
        SETTINGS, against="increase mean_rt in hammer", front_points=4, off_target_weight=0.0
    )
    search_target, worker = searcher(shared_twin, settings)
    assert search_target.name_of(search_target.second) == "mean_rt in hammer"
    tables = worker.work(KEYS).tables
    fronts, results = tables["fronts"].to_pandas(), tables["results"].to_pandas()
    for key, mine in fronts.groupby("pseudonym"):
        gain_GC = mine[["target_gain", "second_gain"]].to_numpy()
        assert mine["second_share"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
        assert gain_GC[0, 0] == pytest.approx(gain_GC[:, 0].max(), abs=0.05)
        assert gain_GC[-1, 1] == pytest.approx(gain_GC[:, 1].max(), abs=0.05)
        for point, on_front in zip(gain_GC, mine["on_front"], strict=True):
            assert on_front == (not any((other >= point).all() and (other > point).any() for other in gain_GC))
        own = results[results["pseudonym"] == key].query("task == 'hammer' and indicator == 'mean_rt'").iloc[0]
        moved = (mine["second_after"].iloc[-1] - own["before"]) / own["spread"]
        assert moved == pytest.approx(gain_GC[-1, 1], rel=1e-6)


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("faster", "expected words such as"),
        ("decrease mean_rt in stroop", "is the first aim itself"),
        ("increase bold_contrast of nowhere in stroop", "'nowhere'; .* one of the 4 regions"),
        ("increase accuracy in nback", "was trained on hammer, stroop"),
    ],
)
def test_a_second_aim_that_cannot_be_read_is_refused(shared_twin: SharedTwin, against: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_search_target(dataclasses.replace(SETTINGS, against=against), shared_twin)
