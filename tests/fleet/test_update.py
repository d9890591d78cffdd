"""An update holds each person's posterior once, session after session, whoever else is updated; what performs by it, performs so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from dtb.config import ClusterConfig, Config, FleetConfig, InterveneConfig, SimulateConfig, UpdateConfig
from dtb.errors import ConfigurationError, InputDataError
from dtb.fleet.ensemble_worker import EnsembleWorker
from dtb.fleet.named_target import make_search_target
from dtb.fleet.posteriors import Posteriors, read_posteriors
from dtb.fleet.simulate import SimulationWorker
from dtb.fleet.twins import SharedTwin, TwinRunner, open_shared_twin
from dtb.fleet.update import UpdateWorker, variance_left
from dtb.fleet.update import update as update_stage
from dtb.twin.own_data import OwnData, restricted
from dtb.twin.posterior import Latents, condition, prior_of
from tests.fleet.world import make_world

KEYS = ["p0000", "p0001", "p0002"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def shared_twin(world: tuple[Path, Path]) -> SharedTwin:
    return open_shared_twin(*world)


def rows(shared_twin: SharedTwin, keys: list[str] = KEYS, **settings: object) -> dict[str, dict[str, object]]:
    work = UpdateWorker([shared_twin], seed=3, settings=UpdateConfig(**settings)).work(keys)  # type: ignore[arg-type]
    assert not work.failures
    return {row["pseudonym"]: row for row in work.tables["latents"].to_pylist()}


def posteriors_of(found: dict[str, dict[str, object]]) -> Posteriors:
    latents = {}
    for key, row in found.items():
        mean_Z = np.array(row["mean"])
        latents[key, 0] = mean_Z, np.array(row["covariance"]).reshape(len(mean_Z), len(mean_Z))
    return Posteriors(latents)


def test_a_row_holds_what_the_twin_itself_says(shared_twin: SharedTwin) -> None:
    found = rows(shared_twin)
    runner = TwinRunner(shared_twin, 3)
    _, batch = runner.lay_out(KEYS)
    wanted = condition(runner.twin, batch, prior_of(runner.twin, batch.connectome_SE))
    for place, key in enumerate(KEYS):
        np.testing.assert_allclose(found[key]["mean"], wanted.mean_SZ[place], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found[key]["covariance"], wanted.covariance_SZZ[place].flatten(), rtol=1e-6)
        assert found[key]["num_trials"] == 16
        assert 0 < found[key]["variance_left"] < 1  # type: ignore[operator]


def test_nothing_given_leaves_what_the_connectome_says(shared_twin: SharedTwin) -> None:
    for row in rows(shared_twin, trials=0, bold_seconds=0.0).values():
        assert row["mean"] == row["prior_mean"]
        assert row["covariance"] == row["prior_covariance"]
        assert (row["num_trials"], row["num_volumes"], row["variance_left"]) == (0, 0, pytest.approx(1.0))


@pytest.mark.parametrize("value", [1e30, torch.inf])
def test_a_person_whose_posterior_is_not_finite_is_a_failure_and_nobody_else(
    shared_twin: SharedTwin, value: float
) -> None:
    wanted = rows(shared_twin)
    worker = UpdateWorker([shared_twin], seed=3, settings=UpdateConfig())
    runner = worker._runners[0]
    meet = runner.lay_out

    def poisoned(keys, **given):  # type: ignore[no-untyped-def]
        records, batch = meet(keys, **given)
        batch.connectome_SE[1] = value
        return records, batch

    runner.lay_out = poisoned  # type: ignore[method-assign]
    work = worker.work(KEYS)
    assert set(work.failures) == {"p0001"}
    assert work.failures["p0001"].startswith("the posterior is not finite: is the connectome far from those")
    found = {row["pseudonym"]: row for row in work.tables["latents"].to_pylist()}
    assert set(found) == {"p0000", "p0002"}
    for key, row in found.items():  # as far as single precision and the end of a search tell
        for name in ("mean", "covariance", "log_evidence"):
            np.testing.assert_allclose(row[name], wanted[key][name], rtol=1e-3, atol=1e-4)  # type: ignore[arg-type]


def test_more_trials_leave_less_and_are_counted_by_task(shared_twin: SharedTwin) -> None:
    left = [rows(shared_twin, trials=number, bold_seconds=0.0) for number in (0, 2, 8)]
    for key in KEYS:
        assert [found[key]["num_trials"] for found in left] == [0, 4, 16]
        shares = [float(found[key]["variance_left"]) for found in left]  # type: ignore[arg-type]
        assert shares[0] > shares[1] > shares[2]
    assert rows(shared_twin, tasks=("stroop",))["p0000"]["num_trials"] == 8


def test_without_connectomes_everybody_begins_alike(shared_twin: SharedTwin) -> None:
    found = rows(shared_twin, connectome=False)
    assert len({tuple(row["prior_mean"]) for row in found.values()}) == 1  # type: ignore[arg-type]
    assert not any(row["has_connectome"] for row in found.values())
    assert len({tuple(row["mean"]) for row in found.values()}) == len(KEYS)  # type: ignore[arg-type]


def test_a_person_is_updated_the_same_alone_and_with_others(shared_twin: SharedTwin) -> None:
    together, alone = rows(shared_twin), rows(shared_twin, ["p0002"])
    np.testing.assert_allclose(together["p0002"]["mean"], alone["p0002"]["mean"], atol=1e-3)
    np.testing.assert_allclose(together["p0002"]["covariance"], alone["p0002"]["covariance"], atol=1e-4)


def test_sessions_follow_one_another_with_drift_between_them(
    shared_twin: SharedTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out = TwinRunner.lay_out

    def in_two_sessions(self: TwinRunner, *args: object, **named: object):  # type: ignore[no-untyped-def]
        records, batch = lay_out(self, *args, **named)  # type: ignore[arg-type]
        records = [
            dataclasses.replace(
                record,
                runs=tuple(
                    dataclasses.replace(run, session=f"{number}") for number, run in enumerate(record.runs, start=1)
                ),
            )
            for record in records
        ]
        return records, dataclasses.replace(batch, session_SK=batch.run_SK.clamp_min(0))

    monkeypatch.setattr(TwinRunner, "lay_out", in_two_sessions)
    worker = UpdateWorker([shared_twin], seed=3, settings=UpdateConfig())
    twin = worker._runners[0].twin
    assert twin.prior is not None
    drift_ZZ = 0.02 * torch.eye(twin.config.latent_size)
    twin.prior.set(drift_ZZ=drift_ZZ)
    table = worker.work(KEYS).tables["latents"].to_pandas()
    assert table.groupby("pseudonym")["session"].apply(list).tolist() == [["1", "2"]] * 3
    _, batch = worker._runners[0].lay_out(KEYS)
    first = condition(twin, restricted(batch, OwnData(sessions=(0,))), prior_of(twin, batch.connectome_SE))
    second = condition(twin, restricted(batch, OwnData(sessions=(1,))), first.latents.later(drift_ZZ))
    for place, key in enumerate(KEYS):
        for found, number in ((first, 0), (second, 1)):
            row = table[(table["pseudonym"] == key) & (table["session_number"] == number)].iloc[0]
            np.testing.assert_allclose(row["mean"], found.mean_SZ[place], rtol=1e-6, atol=1e-9)


def test_variance_left_is_of_the_directions_that_there_are() -> None:
    prior = Latents(torch.zeros(1, 3).double(), torch.diag(torch.tensor([4.0, 1.0, 0.0])).double()[None])
    after = Latents(torch.zeros(1, 3).double(), torch.diag(torch.tensor([1.0, 0.5, 0.0])).double()[None])
    assert variance_left(prior, after, 0) == pytest.approx((0.25 + 0.5) / 2)


def test_twins_perform_by_draws_from_the_posterior(shared_twin: SharedTwin) -> None:
    found = rows(shared_twin)
    certain = {key: row | {"covariance": [0.0] * len(row["covariance"])} for key, row in found.items()}  # type: ignore[arg-type]
    settings = SimulateConfig(num_draws=1, num_noise_draws=2)

    def expected(table: dict[str, dict[str, object]]) -> np.ndarray:
        worker = SimulationWorker([shared_twin], 3, settings, posteriors=posteriors_of(table))
        done = worker.work(KEYS).tables["expected"].to_pandas()
        return done.pivot_table("mean_rt", ["pseudonym", "run", "trial"], "noise_draw").to_numpy()

    at_the_mode = expected(certain)
    np.testing.assert_allclose(at_the_mode[:, 0], at_the_mode[:, 1])
    runner = TwinRunner(shared_twin, 3)
    _, batch = runner.lay_out(KEYS)
    latent_SZ = torch.tensor([found[key]["mean"] for key in KEYS], dtype=torch.float32)
    output = runner.twin.perform(runner.twin.hypernetwork.decode(latent_SZ), batch.stimulus_SKTI, batch.seed_S)
    by_connectome = runner.twin(batch.connectome_SE, batch.stimulus_SKTI, batch.seed_S)
    assert not torch.allclose(output.press_SKTA, by_connectome.press_SKTA, atol=1e-4)
    drawn = expected(found)
    assert not np.allclose(drawn[:, 0], drawn[:, 1])
    worker = SimulationWorker([shared_twin], 3, settings, posteriors=posteriors_of({"p0000": found["p0000"]}))
    assert set(worker.work(KEYS).failures) == {"p0001", "p0002"}


def test_a_search_is_over_draws_of_the_persons_own_effect(shared_twin: SharedTwin) -> None:
    found = rows(shared_twin)
    settings = InterveneConfig(latent_draws=3, segments_per_task=0)
    target = make_search_target(settings, shared_twin)
    worker = EnsembleWorker([shared_twin], target, 3, posteriors=posteriors_of(found))
    prepared = worker.prepare(KEYS)
    assert len(prepared.performances) == 3
    with torch.no_grad():
        each = torch.stack([perform(prepared.batch.connectome_SE) for perform in prepared.performances])
    assert (each.std(0)[:, target.target] > 0).all()
    certain = {key: row | {"covariance": [0.0] * len(row["covariance"])} for key, row in found.items()}  # type: ignore[arg-type]
    alone = EnsembleWorker([shared_twin], target, 3, posteriors=posteriors_of(certain)).prepare(KEYS)
    with torch.no_grad():
        same = torch.stack([perform(alone.batch.connectome_SE) for perform in alone.performances])
    torch.testing.assert_close(same[0], same[2], equal_nan=True)


def test_a_twin_without_person_effects_is_refused(tmp_path: Path) -> None:
    shards, trained = make_world(tmp_path, person_effects=False)
    with pytest.raises(ConfigurationError, match="person_effects"):
        update_stage(Config(), trained, shards, tmp_path / "out", resume=False)


def test_an_unknown_task_is_refused(world: tuple[Path, Path], tmp_path: Path) -> None:
    config = Config(update=UpdateConfig(tasks=("nback",)))
    with pytest.raises(ConfigurationError, match="no task 'nback'; it has hammer, stroop"):
        update_stage(config, world[1], world[0], tmp_path / "out", resume=False)


@pytest.mark.cluster
def test_the_stage_writes_each_person_once_and_others_can_perform_by_it(
    world: tuple[Path, Path], shared_twin: SharedTwin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, trained = world
    fleet = FleetConfig(num_actors=1, subjects_per_batch=2)
    config = Config(seed=3, fleet=fleet, cluster=ClusterConfig(num_cpus=1))
    update_stage(config, trained, shards, tmp_path / "out", resume=False)
    assert "of the variance" in " ".join(capsys.readouterr().out.split())
    posteriors, _ = read_posteriors(tmp_path / "out", [shared_twin], "--updated")
    assert len(posteriors.latents) == 5
    wanted = posteriors_of(rows(shared_twin))
    for key in KEYS:
        # The search ends within a thousandth of a standard deviation of the mode, in other batches elsewhere there.
        np.testing.assert_allclose(posteriors.latents[key, 0][0], wanted.latents[key, 0][0], atol=1e-3)
    update_stage(config, trained, shards, tmp_path / "out", resume=True)
    other = make_world(tmp_path / "other", num_people=3)
    with pytest.raises(InputDataError, match="was made with another"):
        read_posteriors(tmp_path / "out", [open_shared_twin(*other)], "--updated")


def test_a_person_without_a_mode_is_a_row_with_the_reason(
    shared_twin: SharedTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtb.twin.posterior._MOST_STEPS", 1)
    work = UpdateWorker([shared_twin], seed=3, settings=UpdateConfig()).work(KEYS)
    assert set(work.failures) == set(KEYS)
    assert "no mode of the posterior" in work.failures["p0000"]
