"""A simulated cohort holds every trial, every draw and every volume once, and does not depend on who was simulated together."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from dtb.config import Config, SimulateConfig
from dtb.errors import ConfigurationError, InputDataError, OutputInUseError, UserError
from dtb.fleet.derivatives import describe_derivatives
from dtb.fleet.designs import read_designs
from dtb.fleet.performance_tables import QUANTILES, TABLES
from dtb.fleet.simulate import SimulationWorker
from dtb.fleet.simulate import simulate as simulate_stage
from dtb.fleet.twins import SharedTwin, TwinRunner, inputs_of, open_ensemble, open_shared_twin, seed_of
from dtb.intervene.indicators import press_distribution
from dtb.people.glm import condition_events, design_matrix
from dtb.shards.manifest import CohortDescription
from dtb.shards.write import ShardWriter
from dtb.stages import OutputFolder
from dtb.tasks.taskset import TaskSet
from dtb.twin.export import read_twin, save_twin
from tests.fleet.world import REGIONS, TASKS, make_person, make_world
from tests.people.glm_torch import fit_contrast


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def shared_twin(world: tuple[Path, Path]) -> SharedTwin:
    return open_shared_twin(*world)


KEYS = ["p0000", "p0001", "p0002"]


def test_every_trial_is_there_as_often_as_it_was_drawn(shared_twin: SharedTwin) -> None:
    trials = (
        SimulationWorker([shared_twin], seed=3, settings=SimulateConfig(num_draws=5))
        .work(KEYS)
        .tables["trials"]
        .to_pandas()
    )
    assert len(trials) == 3 * 2 * 8 * 5
    assert (trials.groupby(["pseudonym", "run", "trial"])["draw"].nunique() == 5).all()
    pressed = trials[trials["rt"].notna()]
    assert pressed["choice"].notna().all()
    assert trials.loc[trials["rt"].isna(), "choice"].isna().all()
    assert pressed["rt"].between(0, 2.0).all()
    assert set(pressed.loc[pressed["task"] == "hammer", "choice"]) <= {"left", "right"}
    own = make_person(2).runs[1].trials
    found = trials[(trials["pseudonym"] == "p0002") & (trials["run"] == 1) & (trials["draw"] == 0)].sort_values("trial")
    np.testing.assert_allclose(found["observed_rt"], own.rt_seconds_J, rtol=1e-6)
    np.testing.assert_allclose(found["onset"], own.onset_seconds_J)
    assert found["observed_choice"].isna().tolist() == (~own.pressed_J).tolist()


def test_draws_follow_the_distribution_in_closed_form(shared_twin: SharedTwin) -> None:
    tables = SimulationWorker([shared_twin], seed=3, settings=SimulateConfig(num_draws=4000)).work(["p0000"]).tables
    trials, expected = tables["trials"].to_pandas(), tables["expected"].to_pandas()
    assert json.loads(tables["expected"].schema.metadata[b"quantiles"]) == list(QUANTILES)
    for (run, trial), drawn in trials.groupby(["run", "trial"]):
        wanted = expected[(expected["run"] == run) & (expected["trial"] == trial)].iloc[0]
        rt = drawn["rt"].dropna()
        assert rt.mean() == pytest.approx(wanted["mean_rt"], abs=float(5 * rt.std() / len(rt) ** 0.5))
        assert drawn["rt"].isna().mean() == pytest.approx(wanted["omission_probability"], abs=0.04)
        assert rt.median() == pytest.approx(wanted["rt_quantiles"][2], abs=0.1)
        assert sum(wanted["choice_probabilities"]) + wanted["omission_probability"] == pytest.approx(1.0, abs=1e-4)


def test_a_person_performs_the_same_alone_and_in_company(shared_twin: SharedTwin) -> None:
    simulator = SimulationWorker([shared_twin], seed=3, settings=SimulateConfig(num_draws=5))
    together, alone = simulator.work(KEYS).tables, simulator.work(["p0002"]).tables
    for name in TABLES:
        mine = together[name].to_pandas()
        mine = mine[mine["pseudonym"] == "p0002"].reset_index(drop=True)
        others = alone[name].to_pandas()
        for column in mine.columns:
            if column in {"bold", "rt_quantiles", "choice_probabilities", "correlations"}:
                np.testing.assert_allclose(np.stack(mine[column]), np.stack(others[column]), atol=1e-5)
            elif mine[column].dtype.kind == "f":
                np.testing.assert_allclose(mine[column], others[column], atol=1e-5)
            else:
                assert mine[column].tolist() == others[column].tolist() or mine[column].isna().any()
    again = SimulationWorker([shared_twin], seed=3, settings=SimulateConfig(num_draws=5)).work(["p0002"]).tables
    assert all(again[name].equals(alone[name]) for name in alone)


def test_with_batches_of_one_shape_a_person_performs_the_same_bit_for_bit_whoever_else_does(
    shared_twin: SharedTwin,
) -> None:
    simulator = SimulationWorker([shared_twin], seed=3, settings=SimulateConfig(num_draws=5), num_rows=8)
    # In the same place: the layers of this small twin are narrower than a vector of the processor.
    together, others = (simulator.work(keys).tables for keys in (["p0004", "p0003", "p0002", "p0000"], KEYS))
    for name in others:
        mine, again = (found[name].filter(pc.equal(found[name]["pseudonym"], "p0002")) for found in (together, others))
        np.testing.assert_equal(mine.to_pylist(), again.to_pylist(), name)


def test_volumes_lie_where_the_run_had_them(shared_twin: SharedTwin) -> None:
    table = SimulationWorker([shared_twin], seed=0, settings=SimulateConfig(num_draws=1)).work(KEYS).tables["bold"]
    assert json.loads(table.schema.metadata[b"regions"]) == list(REGIONS[:4])
    bold = table.to_pandas()
    assert len(bold) == 3 * 2 * 40
    np.testing.assert_allclose(bold["seconds"], bold["volume"], atol=1e-4)
    runner = TwinRunner(shared_twin, 0)
    _, batch = runner.lay_out(["p0001"])
    output = runner.twin(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S)
    direct = runner.twin.bold(output, batch.volume_seconds_SKV)[0, batch.run_SK[0] == 1]
    direct = direct[batch.bold_counted_SKV[0, batch.run_SK[0] == 1]] * runner.twin.bold_scale_R
    found = bold[(bold["pseudonym"] == "p0001") & (bold["run"] == 1)]
    np.testing.assert_allclose(np.stack(found["bold"]), direct.detach().numpy(), atol=1e-5)


def test_a_person_whose_twin_is_not_finite_is_a_failure_and_nobody_else(shared_twin: SharedTwin) -> None:
    simulator = SimulationWorker([shared_twin], seed=0, settings=SimulateConfig(num_draws=2))
    runner = simulator._runners[0]
    meet = runner.lay_out

    def poisoned(keys, runs):  # type: ignore[no-untyped-def]
        records, batch = meet(keys, runs)
        batch.connectome_SE[1] = torch.inf
        return records, batch

    runner.lay_out = poisoned  # type: ignore[method-assign]
    work = simulator.work(KEYS)
    assert set(work.failures) == {"p0001"}
    for table in work.tables.values():
        assert set(table["pseudonym"].to_pylist()) == {"p0000", "p0002"}


def test_slots_that_a_task_does_not_use_are_never_pressed(shared_twin: SharedTwin) -> None:
    runner = TwinRunner(shared_twin, 0)
    _, batch = runner.lay_out(KEYS)
    output = runner.twin(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S)
    choice_JA = press_distribution(runner.twin, output, batch, runner.outlines).choice_probability_JA()
    hammer = batch.trials.task_J == runner.taskset.index("hammer")
    assert (choice_JA[hammer, 2] == 0).all()
    assert (choice_JA[~hammer, 2] > 0).all()


def test_contrasts_equal_the_linear_model_fitted_to_the_simulated_series(shared_twin: SharedTwin) -> None:
    tables = SimulationWorker([shared_twin], seed=0, settings=SimulateConfig(num_draws=1)).work(KEYS).tables
    bold, contrasts = tables["bold"].to_pandas(), tables["contrasts"].to_pandas()
    assert len(contrasts) == 3 * 2 * 4
    record = make_person(2)
    for number, run in enumerate(record.runs):
        spec = shared_twin.taskset.specs[shared_twin.taskset.index(run.task)]
        rows = bold[(bold["pseudonym"] == "p0002") & (bold["run"] == number)]
        design = design_matrix(condition_events(run, spec.conditions), np.arange(40) * 1.0)
        found = contrasts[(contrasts["pseudonym"] == "p0002") & (contrasts["task"] == run.task)]
        for column, series_VR in (("effect", np.stack(rows["bold"])), ("observed_effect", run.bold_VR[:, :4])):
            fit = fit_contrast(torch.from_numpy(series_VR).double(), design, spec.contrast)
            np.testing.assert_allclose(found[column], fit.effect_R, rtol=1e-4, atol=1e-5)


def test_simulated_connectomes_are_correlations_of_the_simulated_series(shared_twin: SharedTwin) -> None:
    tables = SimulationWorker([shared_twin], seed=0, settings=SimulateConfig(num_draws=1)).work(KEYS).tables
    bold, found = tables["bold"].to_pandas(), tables["connectomes"].to_pandas()
    rows = bold[bold["pseudonym"] == "p0001"]
    parts = [np.stack(run["bold"]) - np.stack(run["bold"]).mean(axis=0) for _, run in rows.groupby("run")]
    wanted = np.corrcoef(np.concatenate(parts), rowvar=False)[np.triu_indices(4, 1)]
    mine = found[found["pseudonym"] == "p0001"].iloc[0]
    np.testing.assert_allclose(mine["correlations"], wanted, atol=1e-5)
    assert mine["num_volumes"] == 80


def test_members_and_noise_perform_apart_and_the_first_as_if_alone(tmp_path: Path) -> None:
    noisy = open_shared_twin(*make_world(tmp_path, num_people=2, process_noise=0.3))
    quiet = open_shared_twin(*make_world(tmp_path / "other", num_people=2))
    alone = SimulationWorker([noisy], seed=1, settings=SimulateConfig(num_draws=2)).work(["p0000"]).tables
    both = SimulationWorker([noisy, quiet], seed=1, settings=SimulateConfig(num_draws=2, num_noise_draws=3))
    tables = both.work(["p0000"]).tables
    for name, table in tables.items():
        frame = table.to_pandas()
        assert set(zip(frame["member"], frame["noise_draw"], strict=True)) == {
            (m, n) for m in (0, 1) for n in (0, 1, 2)
        }
        first = table.filter((pc.field("member") == 0) & (pc.field("noise_draw") == 0))
        assert first.unify_dictionaries().to_pylist() == alone[name].to_pylist()
    expected = tables["expected"].to_pandas().pivot_table("mean_rt", ["run", "trial"], ["member", "noise_draw"])
    assert (expected[0].std(axis=1) > 0).all()
    np.testing.assert_allclose(expected[1].std(axis=1), 0, atol=1e-6)


def test_noise_draws_of_a_twin_without_noise_are_refused(world: tuple[Path, Path], tmp_path: Path) -> None:
    config = Config(simulate=SimulateConfig(num_noise_draws=2))
    with pytest.raises(ConfigurationError, match="num_noise_draws is 2"):
        simulate_stage(config, *world, tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


DESIGN = "onset\tduration\ttrial_type\tstimulus_color\tstimulus_text\n" + "".join(
    f"{2 + 3 * trial}\t3\t{'con1' if trial % 2 else 'inc1'}\tred\t{'red' if trial % 2 else 'blue'}\n"
    for trial in range(6)
)


def test_a_design_that_nobody_performed_is_simulated_for_everybody(shared_twin: SharedTwin, tmp_path: Path) -> None:
    path = tmp_path / "task-stroopFast_events.tsv"
    path.write_text(DESIGN)
    designs = read_designs([path], shared_twin.taskset, len(REGIONS), 0.5)
    settings = SimulateConfig(num_draws=2)
    tables = SimulationWorker([shared_twin], seed=0, settings=settings, designs=designs).work(KEYS).tables
    trials = tables["trials"].to_pandas()
    assert len(trials) == 3 * 6 * 2
    assert trials["observed_rt"].isna().all()
    assert trials["observed_choice"].isna().all()
    assert trials["correct"].notna().all()
    assert set(trials["condition"]) == {"congruent", "incongruent"}
    assert tables["bold"].num_rows == 3 * 20 / 0.5
    assert tables["contrasts"]["observed_effect"].null_count == tables["contrasts"].num_rows == 3 * 4


def test_a_design_is_simulated_for_people_of_whom_there_are_connectomes_alone(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    _, trained = world
    shards, path = tmp_path / "shards", tmp_path / "task-stroopFast_events.tsv"
    path.write_text(DESIGN)
    claimed = OutputFolder.claim(shards, "ingest", Config(), resume=False)
    writer = ShardWriter(shards, 4)
    for number in range(3):
        writer.add(dataclasses.replace(make_person(number, absent=3 if number == 1 else None), runs=()))
    connectome = {"kind": "pearson", "scale": "fisher_z"}
    writer.finish(CohortDescription(REGIONS, TaskSet(()).to_plain(), connectome, "0" * 64))
    claimed.finish({})
    tables = []
    for people in (shards, world[0]):
        twin = open_shared_twin(people, trained)
        designs = read_designs([path], twin.taskset, len(REGIONS), 0.5)
        tables.append(SimulationWorker([twin], seed=0, settings=SimulateConfig(), designs=designs).work(KEYS).tables)
    alone, whole = (each["trials"].to_pandas() for each in tables)
    pd.testing.assert_frame_equal(alone, whole)


def test_people_without_a_connectome_have_no_twin(world: tuple[Path, Path], tmp_path: Path) -> None:
    _, trained = world
    claimed = OutputFolder.claim(tmp_path / "shards", "ingest", Config(), resume=False)
    writer = ShardWriter(tmp_path / "shards", 4)
    absent_E = np.full_like(make_person(0).connectome_E, np.nan)
    writer.add(dataclasses.replace(make_person(0), connectome_E=absent_E))
    writer.add(make_person(1))
    writer.finish(CohortDescription(REGIONS, TASKS.to_plain(), {"kind": "pearson", "scale": "fisher_z"}, "0" * 64))
    claimed.finish({})
    with pytest.raises(InputDataError, match="1 of 2 people in these shards have no connectome"):
        open_shared_twin(tmp_path / "shards", trained)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("stroop.tsv", DESIGN, "no task label in its name"),
        ("task-nback_events.tsv", DESIGN, "'nback'; expected a task that the twin was trained on: hammer"),
        ("task-stroop_events.tsv", DESIGN.replace("stimulus_color", "ink"), "no column 'stimulus_color'"),
        ("task-stroop_events.tsv", DESIGN.replace("\tblue\n", "\tpink\n", 1), "line 2: .*'pink'"),
    ],
)
def test_a_design_that_no_twin_could_be_shown_is_refused(
    shared_twin: SharedTwin, tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_designs([path], shared_twin.taskset, len(REGIONS), 1.0)


@pytest.mark.slow
def test_derivatives_hold_what_the_tables_hold_and_pass_the_bids_validator(
    shared_twin: SharedTwin, tmp_path: Path
) -> None:
    source = {"Name": "A cohort", "License": "CC0", "DatasetDOI": "doi:10.18112/openneuro.ds005237.v1.1.3"}
    describe_derivatives(tmp_path, shared_twin.card, source)
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert described["SourceDatasets"][0]["DOI"] == source["DatasetDOI"]
    assert (described["Name"], described["License"]) == ("Digital twins of A cohort", "CC0")
    settings = SimulateConfig(num_draws=2)
    tables = SimulationWorker([shared_twin], seed=0, settings=settings, derivatives=tmp_path).work(KEYS).tables
    func = tmp_path / "sub-p0001" / "func"
    events = pd.read_csv(func / "sub-p0001_task-stroopAP_desc-sim_events.tsv", sep="\t")
    trials = tables["trials"].to_pandas()
    trials = trials[(trials["pseudonym"] == "p0001") & (trials["task"] == "stroop")]
    np.testing.assert_allclose(events["response_time"].sum(), trials["rt"].sum(), rtol=1e-5)
    assert len(events) == 8 * 2
    assert events["onset"].is_monotonic_increasing
    bold = tables["bold"].to_pandas()
    bold = bold[(bold["pseudonym"] == "p0001") & (bold["task"] == "stroop")]
    series = pd.read_csv(func / "sub-p0001_task-stroopAP_desc-sim_timeseries.tsv", sep="\t")
    assert list(series.columns) == list(REGIONS[:4])
    np.testing.assert_allclose(series, np.stack(bold["bold"]), rtol=1e-4, atol=1e-6)
    relmat = pd.read_csv(func / "sub-p0001_desc-sim_relmat.tsv", sep="\t").to_numpy()
    np.testing.assert_allclose(relmat, relmat.T)
    np.testing.assert_allclose(relmat.diagonal(), 1)
    validator = Path(sys.executable).parent / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed (pip install -e .[dev])")

    def validated(folder: Path) -> tuple[dict[str, set[str]], set[str]]:
        """Return the errors, with the files of each, and whose files were looked at."""
        said = subprocess.run([validator, "--json", folder], capture_output=True, text=True, timeout=120, check=False)
        found = json.loads(said.stdout)
        errors: dict[str, set[str]] = {}
        for issue in found["issues"]["issues"]:
            if issue["severity"] == "error":
                errors.setdefault(issue["code"], set()).add(Path(issue.get("location", "")).name)
        return errors, set(found["summary"]["subjects"])

    assert validated(tmp_path)[0] == {}
    # The files that are left out for their names are looked at under the name that the standard has for events.
    renamed = tmp_path.parent / "renamed"
    shutil.copytree(
        tmp_path,
        renamed,
        ignore=lambda _, names: [name for name in names if "_timeseries" in name or "_relmat" in name],
    )
    (renamed / ".bidsignore").unlink()
    for path in sorted(renamed.rglob("*_desc-sim_events.*")):
        path.rename(path.with_name(path.name.replace("_desc-sim", "")))
    assert validated(renamed) == ({}, set(KEYS))
    broken = renamed / "sub-p0001" / "func" / "sub-p0001_task-stroopAP_events.tsv"
    broken.write_text(broken.read_text().replace("onset\t", "begin\t"))
    assert broken.name in set().union(*validated(renamed)[0].values())
    # Without the list of names that the standard does not know, nothing is wrong but those names.
    (tmp_path / ".bidsignore").unlink()
    errors, _ = validated(tmp_path)
    assert set(errors) == {"NOT_INCLUDED", "ENTITY_NOT_IN_RULE"}
    assert all(re.search("_(timeseries|relmat|desc-sim_events)", name) for names in errors.values() for name in names)


def test_without_task_bold_there_is_no_bold_table(tmp_path: Path) -> None:
    shared_twin = open_shared_twin(*make_world(tmp_path, num_people=2, volumes=0))
    assert (
        "bold"
        not in SimulationWorker([shared_twin], seed=0, settings=SimulateConfig(num_draws=1)).work(["p0000"]).tables
    )


def test_a_cohort_of_other_regions_is_refused(world: tuple[Path, Path], tmp_path: Path) -> None:
    shards, trained = world
    card = json.loads((trained / "twin" / "twin.json").read_text())
    card["region_names"][0] = "elsewhere"
    other = tmp_path / "trained"
    (other / "twin").mkdir(parents=True)
    for name in ("stage.json", "split.json", "twin/twin.safetensors"):
        (other / name).write_bytes((trained / name).read_bytes())
    (other / "twin" / "twin.json").write_text(json.dumps(card))
    with pytest.raises(InputDataError, match="10 regions that are not the 10"):
        open_shared_twin(shards, other)


def test_seeds_depend_on_person_seed_and_purpose() -> None:
    seeds = {seed_of(who, seed, why) for who in "ab" for seed in (0, 1) for why in ("draws", "control")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_another_twin_does_not_go_on_with_what_one_began(world: tuple[Path, Path], tmp_path: Path) -> None:
    shards, trained = world
    other = tmp_path / "trained"
    shutil.copytree(trained, other)
    twin, card = read_twin(other / "twin")
    with torch.no_grad():
        next(twin.parameters()).mul_(1.5)
    save_twin(other / "twin", twin, card)
    begun = inputs_of([open_shared_twin(*world)])
    OutputFolder.claim(tmp_path / "out", "simulate", Config(), resume=False, inputs=begun)
    with pytest.raises(OutputInUseError, match=r"begun with another input than is given now: twin\. Results"):
        simulate_stage(Config(), shards, other, tmp_path / "out", resume=True)
    ensemble = inputs_of(open_ensemble(shards, trained, [other], "simulate.members"))
    assert set(ensemble) == {"cohort", "split", "twin", "split of member 2", "twin of member 2"}
    assert ensemble["twin"] == begun["twin"] != ensemble["twin of member 2"]
    with pytest.raises(ConfigurationError, match=r"simulate\.members: .* is in the ensemble already"):
        open_ensemble(shards, trained, [other, trained / ".." / trained.name], "simulate.members")
    with pytest.raises(
        InputDataError, match=r"simulate\.members: there is no folder trained-7 .*dtb train .*shards trained-7 --config"
    ):
        open_ensemble(shards, trained, [Path("trained-7")], "simulate.members")


def test_a_dry_run_writes_nothing(world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate_stage(Config(), *world, tmp_path / "out", resume=False, dry_run=True)
    assert not (tmp_path / "out").exists()
    assert "5 people" in capsys.readouterr().out


@pytest.mark.cluster
def test_the_stage_resumes_where_it_stopped_bit_for_bit(world: tuple[Path, Path], tmp_path: Path) -> None:
    from dtb.config import ClusterConfig, FleetConfig

    config = Config(
        simulate=SimulateConfig(num_draws=2),
        fleet=FleetConfig(num_actors=2, subjects_per_batch=2),
        cluster=ClusterConfig(num_cpus=2),
    )
    simulate_stage(config, *world, tmp_path / "whole", resume=False)
    cut = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    _, *lost = sorted((cut / "status").iterdir())
    for path in (path for part in lost for path in cut.glob(f"*/{part.name}")):
        path.unlink()
    state = json.loads((cut / "stage.json").read_text())
    (cut / "stage.json").write_text(json.dumps(state | {"complete": False}))
    kept = {path: path.stat().st_mtime_ns for path in (cut / "status").iterdir()}
    other_fleet = dataclasses.replace(config, fleet=dataclasses.replace(config.fleet, num_actors=1))
    simulate_stage(other_fleet, *world, cut, resume=True)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    for path in (tmp_path / "whole").glob("*/part-*.parquet"):
        mine = cut / path.relative_to(tmp_path / "whole")
        columns = [name for name in pq.read_schema(path).names if name != "seconds" or path.parent.name == "bold"]
        assert pq.read_table(mine, columns=columns).equals(pq.read_table(path, columns=columns))
