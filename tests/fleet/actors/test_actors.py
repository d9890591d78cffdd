"""The pool finishes everyone it can, whatever dies, and says why it could not finish the others."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dtb.cluster.connection import prepare_environment
from dtb.config import ClusterConfig, FleetConfig
from dtb.errors import ConfigurationError, StageError
from dtb.fleet.actors.driver import Driver
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import batches_of, run_pool
from dtb.fleet.actors.sizing import sized
from tests.fleet.placed import Placed, Threaded
from tests.fleet.workers import Allocating, Erasing, Misbehaving, Poisoned, Unbuildable

pytestmark = pytest.mark.own_ray
FLEET = FleetConfig(num_actors=2, cpus_per_actor=0.5, subjects_per_batch=3, max_failed_fraction=0.5)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    prepare_environment()
    import ray

    root = str(Path(__file__).resolve().parents[3])
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        resources={"dtb_train": 1},
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": root, "RAY_AUTH_MODE": "token"}},
        logging_level="WARNING",
    )
    yield
    ray.shutdown()


def run(  # type: ignore[no-untyped-def]
    folder: Path,
    keys: list[str],
    fleet: FleetConfig = FLEET,
    seconds: float = 0.0,
    make: type[Misbehaving] = Misbehaving,
):
    notes = folder / "notes"
    notes.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder / "out", ["values"])
    worker = functools.partial(make, notes=notes, seconds=seconds)
    return run_pool(worker, 2.0, keys, ledger, fleet, description="test"), ledger


def found(ledger: Ledger) -> dict[str, float]:
    rows = ledger.read("values").to_pydict()
    assert len(set(rows["pseudonym"])) == len(rows["pseudonym"])
    return dict(zip(rows["pseudonym"], rows["value"], strict=True))


def people(num: int) -> list[str]:
    return [f"p{number:03d}" for number in range(num)]


def test_batches_do_not_shift_when_some_are_finished() -> None:
    whole = batches_of(people(10), 3, set())
    assert [batch for batch in whole if batch[0] != "p003"] == batches_of(people(10), 3, {"p003", "p004", "p005"})


@pytest.mark.cluster
def test_many_batches_make_few_files_whoever_fails(cluster: None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("dtb.fleet.actors.merging.GROUP", 4)
    summary, ledger = run(tmp_path, [*people(27), "report1", *people(30)[27:]])
    assert (summary.num_ok, summary.num_failed) == (30, 1)
    assert set(found(ledger)) == set(people(30))
    assert len(list((ledger.folder / "values").iterdir())) == len(list((ledger.folder / "status").iterdir())) == 3


@pytest.mark.cluster
def test_quick_batches_share_calls_and_whoever_misbehaves_in_one_costs_nobody(
    cluster: None, tmp_path: Path, monkeypatch
) -> None:
    sizes: list[int] = []
    many = Driver._batches_a_call
    monkeypatch.setattr(Driver, "_batches_a_call", lambda driver: sizes.append(many(driver)) or sizes[-1])
    keys = [
        *people(50),
        "once1",
        *people(100)[50:],
        "raise1",
        "always1",
        *people(150)[100:],
        "report1",
        *people(200)[150:],
    ]
    summary, ledger = run(tmp_path, keys)
    assert max(sizes) > 2
    assert sizes[0] == sizes[-1] == 1, "nothing is known yet, and the last ones are shared"
    assert sorted(found(ledger)) == ["once1", *people(200)]
    assert (summary.num_ok, summary.num_failed) == (201, 3)
    rows = {row["pseudonym"]: row["status"] for row in ledger.read("status").to_pylist()}
    assert {key for key, status in rows.items() if status == "failed"} == {"always1", "raise1", "report1"}


@pytest.mark.cluster
def test_everyone_is_done_once(cluster: None, tmp_path: Path) -> None:
    summary, ledger = run(tmp_path, people(10))
    assert summary.num_ok == 10
    assert sorted(found(ledger)) == people(10)
    again, _ = run(tmp_path, people(10))
    assert (again.num_ok, again.num_skipped) == (0, 10)


@pytest.mark.cluster
def test_an_actor_keeps_the_memory_that_a_step_frees_for_the_next(cluster: None, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    run_pool(Allocating, None, people(1), ledger, FLEET, description="test")
    # 64 MiB are 16,384 pages, each a fault if the block was given back in between.
    assert ledger.read("values")["value"].to_pylist()[0] < 1000


@pytest.mark.cluster
@pytest.mark.parametrize(("cores", "threads"), [(0.5, 1), (2, 2)])
def test_an_actor_has_as_many_threads_as_cores(cluster: None, tmp_path: Path, cores: float, threads: int) -> None:
    ledger = Ledger(tmp_path, ["values"])
    fleet = FleetConfig(num_actors=1, cpus_per_actor=cores, subjects_per_batch=1)
    run_pool(Threaded, None, people(1), ledger, fleet, description="test")
    assert ledger.read("values")["value"].to_pylist() == [threads]


@pytest.mark.cluster
def test_an_actor_uses_a_gpu_only_if_one_was_reserved_for_it(cluster: None, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    run_pool(Placed, None, people(1), ledger, FleetConfig(subjects_per_batch=1), description="test")
    assert ledger.read("values")["value"].to_pylist() == ["cpu"]


@pytest.mark.cluster
@pytest.mark.skipif(torch.cuda.is_available(), reason="its GPU multiplies")
def test_a_reserved_gpu_that_cannot_multiply_is_no_reason_to_take_the_cpu(
    cluster: None, tmp_path: Path, capsys
) -> None:
    """Ray was told of a GPU, as on a node whose driver or whose PyTorch is broken."""
    ledger = Ledger(tmp_path, ["values"])
    on_gpu = FleetConfig(num_actors=1, gpus_per_actor=0.5, subjects_per_batch=1)
    with pytest.raises(StageError, match=r"the GPU that was reserved cannot be used \(.*No other node is left"):
        run_pool(Placed, None, people(2), ledger, on_gpu, description="test")
    assert not list(tmp_path.glob("values/*"))


@pytest.mark.cluster
def test_one_person_who_fails_is_a_row_and_costs_nobody_else(cluster: None, tmp_path: Path) -> None:
    keys = [*people(4), "raise1", "report1"]
    summary, ledger = run(tmp_path, keys)
    assert (summary.num_ok, summary.num_failed) == (4, 2)
    assert sorted(found(ledger)) == people(4)
    reasons = {
        row["pseudonym"]: row["reason"] for row in ledger.read("status").to_pylist() if row["status"] == "failed"
    }
    assert reasons == {"raise1": "RuntimeError: raise1 cannot be simulated", "report1": "not finite"}


@pytest.mark.cluster
def test_too_many_failures_end_the_stage_with_their_reasons_kept(cluster: None, tmp_path: Path) -> None:
    keys = ["p1", "report1", "report2"]
    with pytest.raises(StageError, match="2 of 3 people failed.*2 x not finite"):
        run(tmp_path, keys)
    assert Ledger(tmp_path / "out", ["values"]).read("status").num_rows == 3


@pytest.mark.cluster
def test_sigkill_of_an_actor_changes_no_result(cluster: None, tmp_path: Path) -> None:
    keys = [*people(5), "once1", *[f"q{number}" for number in range(3)]]
    summary, ledger = run(tmp_path / "disturbed", keys)
    assert summary.num_crashes == 1
    assert summary.num_ok == 9
    notes = tmp_path / "undisturbed" / "notes"
    notes.mkdir(parents=True)
    (notes / "once1.log").write_text("before\n")
    _, undisturbed = run(tmp_path / "undisturbed", keys)
    assert found(ledger) == found(undisturbed)
    names = [sorted(path.name for path in (one.folder / "values").iterdir()) for one in (ledger, undisturbed)]
    assert names[0] == names[1]
    for name in names[0]:
        assert (ledger.folder / "values" / name).read_bytes() == (undisturbed.folder / "values" / name).read_bytes()


@pytest.mark.cluster
def test_a_person_who_kills_every_actor_is_set_aside(cluster: None, tmp_path: Path) -> None:
    summary, ledger = run(tmp_path, [*people(4), "always1"])
    assert (summary.num_ok, summary.num_failed) == (4, 1)
    assert sorted(found(ledger)) == people(4)
    assert "died 2 times" in next(iter(summary.reasons))


@pytest.mark.cluster
def test_actors_that_fit_nowhere_are_refused(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No node .* 64 CPU"):
        run(tmp_path, people(2), FleetConfig(cpus_per_actor=64, subjects_per_batch=1))


@pytest.mark.cluster
def test_fewer_actors_than_asked_for_do_the_work(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, _ = run(tmp_path, people(12), FleetConfig(num_actors=4, cpus_per_actor=1, subjects_per_batch=2))
    assert summary.num_ok == 12
    assert "room for 2" in capsys.readouterr().err


@pytest.mark.cluster
def test_no_room_because_others_work_is_said_and_ends_in_words(
    cluster: None, tmp_path: Path, monkeypatch, capsys
) -> None:
    import ray

    monkeypatch.setattr("dtb.fleet.actors.driver._SAY_EVERY_SECONDS", 1.5)
    monkeypatch.setattr("dtb.cluster.waiting.SAY_EVERY_SECONDS", 1.5)

    @ray.remote(num_cpus=2)
    class Other:
        def ready(self) -> None: ...

    other = Other.remote()
    ray.get(other.ready.remote())
    make = functools.partial(Misbehaving, notes=tmp_path)
    with pytest.raises(StageError, match="could be placed within 5 s"):
        run_pool(
            make,
            1.0,
            ["p"],
            Ledger(tmp_path, ["values"]),
            FLEET,
            description="test",
            cluster=ClusterConfig(wait_seconds=5.0),
        )
    waits = r"Waiting for an actor of .* to find room and to start, for \d s; the cluster has 2 CPU\(s\).*It is waited 5 s in all"
    assert re.search(waits, " ".join(capsys.readouterr().err.split()))
    on_gpu = FleetConfig(num_actors=1, cpus_per_actor=1, gpus_per_actor=0.5)
    with pytest.raises(StageError, match="could be placed within 5 s"):
        sized(on_gpu, tmp_path, lambda: 1.0, 10, ClusterConfig(wait_seconds=5.0))
    assert re.search(waits, " ".join(capsys.readouterr().err.split())), "nor is a GPU's memory waited for in silence"
    ray.kill(other)


@pytest.mark.cluster
def test_nodes_of_the_training_pool_are_left_alone(cluster: None, tmp_path: Path) -> None:
    make = functools.partial(Misbehaving, notes=tmp_path)
    pools = ClusterConfig(pools=True)
    with pytest.raises(ConfigurationError, match=r"on a node that offers dtb_fleet \(cluster\.pools\)"):
        run_pool(make, 1.0, ["p"], Ledger(tmp_path, ["values"]), FLEET, description="test", cluster=pools)


@pytest.mark.cluster
def test_a_worker_that_cannot_be_built_ends_in_words(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no such twin"):
        run_pool(lambda _: Unbuildable(), 1.0, ["p"], Ledger(tmp_path, ["values"]), FLEET, description="test")


@pytest.mark.cluster
@pytest.mark.parametrize("num_actors", [1, 2])
def test_an_actor_that_always_raises_costs_nobody(cluster: None, tmp_path: Path, num_actors: int) -> None:
    keys = [*people(24), "bad"]
    fleet = FleetConfig(num_actors=num_actors, cpus_per_actor=0.5, subjects_per_batch=1, max_failed_fraction=0.5)
    ledger = Ledger(tmp_path / "out", ["values"])
    make = functools.partial(Poisoned, notes=tmp_path)
    summary = run_pool(make, 2.0, keys, ledger, fleet, description="test")
    assert (summary.num_ok, summary.num_failed) == (24, 1)
    assert summary.reasons == {"ValueError: bad cannot be simulated": 1}
    status = ledger.read("status").to_pylist()
    assert sorted(row["pseudonym"] for row in status) == sorted(keys)


@pytest.mark.cluster
def test_a_stage_that_can_no_longer_be_complete_ends_early(cluster: None, tmp_path: Path) -> None:
    keys = [f"raise{number}" for number in range(400)]
    with pytest.raises(StageError, match="cannot be simulated"):
        run(tmp_path, keys, FleetConfig(num_actors=2, cpus_per_actor=0.5, subjects_per_batch=8, max_failed_fraction=0))
    assert len(list((tmp_path / "notes").glob("raise*"))) < 100


@pytest.mark.cluster
def test_tables_that_are_lost_end_the_stage_and_resume_makes_them_again(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dtb.fleet.actors.run.SECONDS_TO_APPEAR", 0.0)
    keys = [*people(3), "erase1", "p004", "p005"]
    fleet = dataclasses.replace(FLEET, num_actors=1)
    with pytest.raises(StageError, match=r"3 of 6 people were done, but their results are not in .*p000"):
        run(tmp_path, keys, fleet, make=Erasing)
    assert len(list((tmp_path / "out" / "status").iterdir())) == 2, "everybody is called done there"
    summary, ledger = run(tmp_path, keys, fleet, make=Erasing)
    assert "Results of 3 people who were done are not in" in " ".join(capsys.readouterr().err.split())
    assert (summary.num_ok, summary.num_skipped) == (3, 3)
    assert sorted(found(ledger)) == sorted(keys)


@pytest.mark.cluster
def test_sigkill_of_the_driver_loses_nothing_finished(cluster: None, tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import functools
        from pathlib import Path
        from dtb.cluster.connection import connected
        from dtb.config import ClusterConfig
        from tests.fleet.actors.test_actors import FLEET, people, run
        with connected(ClusterConfig(num_cpus=2)):
            run(Path({str(tmp_path)!r}), people(12), seconds=0.4)
        """
    )
    root = str(Path(__file__).resolve().parents[3])
    driver = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": root}, start_new_session=True
    )
    status = tmp_path / "out" / "status"
    deadline = time.monotonic() + 60
    while len(list(status.glob("part-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # Actors of a dead driver end a moment later; what they finish until then counts.
    time.sleep(3.0)
    before = {path.name: path.stat().st_mtime_ns for path in status.glob("part-*")}
    assert len(before) >= 2
    _, ledger = run(tmp_path, people(12))
    assert sorted(found(ledger)) == people(12)
    after = {path.name: path.stat().st_mtime_ns for path in status.glob("part-*")}
    assert {name: after[name] for name in before} == before


@pytest.mark.cluster
@pytest.mark.slow
def test_loss_of_a_node_loses_no_work(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import threading, time
        from pathlib import Path
        from dtb.cluster.connection import prepare_environment, without_idle_processes
        prepare_environment()
        light = without_idle_processes()
        light.__enter__()
        import ray
        from ray.cluster_utils import Cluster
        from dtb.config import ClusterConfig, FleetConfig
        from tests.fleet.actors.test_actors import found, people, run
        cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1, "object_store_memory": 80 * 2**20}})
        second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        folder = Path({str(tmp_path)!r})
        def take_away():
            status, at_work = folder / "out" / "status", folder / "notes" / f"node-{{second.node_id}}"
            while len(list(status.glob("part-*"))) < 2 or not at_work.exists():
                time.sleep(0.05)
            cluster.remove_node(second, allow_graceful=False)
        threading.Thread(target=take_away, daemon=True).start()
        fleet = FleetConfig(num_actors=2, cpus_per_actor=1, subjects_per_batch=2)
        summary, ledger = run(folder, people(24), fleet, seconds=0.3)
        assert sorted(found(ledger)) == people(24)
        assert summary.num_ok == 24, summary
        assert summary.num_crashes >= 1, summary
        _, undisturbed = run(folder / "undisturbed", people(24), fleet)
        assert found(ledger) == found(undisturbed)
        ray.shutdown()
        cluster.shutdown()
        """
    )
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.cluster
def test_a_node_whose_actors_fail_everybody_is_left_and_named(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import functools
        from pathlib import Path
        from dtb.cluster.connection import prepare_environment, without_idle_processes
        prepare_environment()
        light = without_idle_processes()
        light.__enter__()
        import ray
        from ray.cluster_utils import Cluster
        from dtb.config import FleetConfig
        from dtb.fleet.actors import driver
        from dtb.fleet.actors.run import run_pool
        from dtb.fleet.actors.ledger import Ledger
        from tests.fleet.actors.test_actors import people
        from tests.fleet.workers import Poisoned
        cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1, "object_store_memory": 80 * 2**20}})
        second = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        folder = Path({str(tmp_path)!r})
        driver._FEWEST_FAILURES = 3  # that two actors of one node fail somebody says nothing of the person
        (folder / "poisoned-node").write_text(second.node_id)
        make = functools.partial(Poisoned, notes=folder, by_node=True, late=2.0)
        fleet = FleetConfig(num_actors=3, cpus_per_actor=1, subjects_per_batch=2, max_failed_fraction=0)
        summary = run_pool(make, 1.0, people(80), Ledger(folder / "out", ["values"]), fleet, description="test")
        assert summary.num_ok == 80, summary
        ray.shutdown()
        cluster.shutdown()
        """
    )
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "which is left; its work goes to others" in " ".join(done.stderr.split())
