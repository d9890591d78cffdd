"""A pool of Ray actors that works on batches of people: each actor is built once and returns a status row for each person.

An error in one person's work is caught inside the actor and becomes that person's status. If an actor dies (a signal, a lost node, no
memory), its batch goes to another actor. A batch that has killed several actors is split, and a person who kills an actor alone is set
aside. Only status rows return to the driver; the actors write the results (`dtb.fleet.ledger`), so the driver and the object store hold
few, small objects, however many people there are.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from dtb.cluster import FLEET_POOL, has_gpu, pool_share, show_gauges
from dtb.config import ClusterConfig, FleetConfig
from dtb.errors import ConfigurationError, StageError
from dtb.fleet.ledger import FAILED, OK, Ledger, status_table
from dtb.memory import keep_freed_memory
from dtb.terminal import err, progress

_CRASHES_BEFORE_SPLIT = 2
_STARTS_BEFORE_GIVING_UP = 3
START_TIMEOUT_SECONDS = 300.0
_PRIVATE = ClusterConfig()

StatusRow = tuple[str, str, str, float]


@dataclasses.dataclass(frozen=True)
class Work:
    """The results of one batch.

    Attributes
    ----------
    tables : mapping of str to Table
        Rows of the people who did not fail, by the ledger's table names.
    failures : mapping of str to str
        Why people failed, by key.
    notes : mapping of str to str
        Remarks on people who did not fail, by key.
    """

    tables: Mapping[str, pa.Table]
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Worker(Protocol):
    """What an actor runs: it does the work on a batch of people."""

    def work(self, keys: Sequence[str]) -> Work:
        """Return the results of some people; after an exception each person is tried alone."""


@dataclasses.dataclass(frozen=True)
class PoolSummary:
    """Summary of a pool's work.

    Attributes
    ----------
    num_ok, num_failed, num_skipped : int
        People who were done in this call, failed in it, or were finished before.
    num_crashes : int
        Actors that died.
    seconds : float
        Wall time.
    reasons : dict of str to int
        Reasons of failure, with how often each occurred.
    """

    num_ok: int
    num_failed: int
    num_skipped: int
    num_crashes: int
    seconds: float
    reasons: dict[str, int]


def run_pool(
    make_worker: Callable[[Any], Worker],
    shared: Any,
    keys: Sequence[str],
    ledger: Ledger,
    fleet: FleetConfig,
    *,
    description: str,
    cluster: ClusterConfig = _PRIVATE,
    start_timeout_seconds: float = START_TIMEOUT_SECONDS,
) -> PoolSummary:
    """Run the work on all people whom the ledger does not hold yet; a connection to Ray must exist.

    Parameters
    ----------
    make_worker : callable
        Builds the worker within each actor, from `shared`.
    shared : object
        Put into the object store once, for example the twin's weights.
    keys : sequence of str
        All people, finished or not. Batches are made before finished people are left out, so that a resumed run has the same
        batches as an uninterrupted one.
    ledger : Ledger
    fleet : FleetConfig
        With `subjects_per_batch`, which `dtb.fleet.sizing` decides where the user does not.
    description : str
        Text before the progress bar.
    cluster : ClusterConfig
        On a shared cluster, nodes may still join; on a private one, actors that fit nowhere are refused at once.
    start_timeout_seconds : float
        How long to wait for the first actor.

    Raises
    ------
    ConfigurationError
        No node of the cluster can hold an actor.
    StageError
        Actors cannot be built, or more people than `fleet.max_failed_fraction` failed.
    """
    finished = ledger.finished()
    assert fleet.subjects_per_batch is not None
    batches = batches_of(keys, fleet.subjects_per_batch, finished)
    if not batches:
        return PoolSummary(0, 0, len(finished), 0, 0.0, {})
    driver = _Driver(make_worker, shared, batches, ledger, fleet, description, cluster, start_timeout_seconds)
    summary = driver.run(num_skipped=len(set(keys) & finished))
    ledger.sweep()
    total = summary.num_ok + summary.num_failed
    if summary.num_failed > fleet.max_failed_fraction * total:
        raise StageError(
            f"{summary.num_failed} of {total} people failed, more than fleet.max_failed_fraction allows "
            f"({fleet.max_failed_fraction:g}). {_reasons_in_words(summary.reasons)} Every person's reason is in {ledger.folder}/status; "
            "--resume tries those who failed again."
        )
    return summary


def batches_of(keys: Sequence[str], size: int, finished: set[str]) -> list[list[str]]:
    """Return batches of the people who are not finished, without empty ones.

    Examples
    --------
    >>> batches_of(["a", "b", "c", "d", "e"], 2, {"a", "b", "d"})
    [['c'], ['e']]
    """
    cut = [keys[start : start + size] for start in range(0, len(keys), size)]
    left = [[key for key in batch if key not in finished] for batch in cut]
    return [batch for batch in left if batch]


def say_summary(summary: PoolSummary) -> str:
    """Return a summary in one sentence."""
    done = summary.num_ok + summary.num_failed
    text = f"{summary.num_ok} of {done} people done in {summary.seconds:.1f} s"
    if summary.num_skipped:
        text += f", {summary.num_skipped} were finished before"
    if summary.num_crashes:
        text += f", {summary.num_crashes} actor(s) died and were replaced"
    return f"{text}. {_reasons_in_words(summary.reasons)}".strip()


def _reasons_in_words(reasons: dict[str, int]) -> str:
    """Return the most common reasons of failure in words."""
    if not reasons:
        return ""
    most = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:3]
    return "Failed: " + "; ".join(f"{count} x {reason}" for reason, count in most) + "."


class _Actor:
    """A worker within an actor: catches failures and writes results."""

    def __init__(self, make_worker: Callable[[Any], Worker], shared: Any, ledger: Ledger) -> None:
        if not has_gpu():
            # Each step of a search frees what the next one asks for; given back in between, it costs an actor page faults instead.
            keep_freed_memory()
        self._worker = make_worker(shared)
        self._ledger = ledger

    def ready(self) -> bool:
        """Return once the worker is built."""
        return True

    def do(self, keys: list[str]) -> list[StatusRow]:
        """Work on a batch, write its results, and return the status rows."""
        done = self._attempt(keys) if len(keys) > 1 else None
        parts = [done] if done is not None else [self._alone(key) for key in keys]
        rows = [row for part_rows, _ in parts for row in part_rows]
        tables: dict[str, list[pa.Table]] = collections.defaultdict(list)
        for _, part_tables in parts:
            for name, table in part_tables.items():
                if table.num_rows:
                    tables[name].append(table)
        merged = {name: pa.concat_tables(found).unify_dictionaries() for name, found in tables.items()}
        self._ledger.commit(keys, merged, status_table(rows))
        return rows

    def _attempt(self, keys: list[str]) -> tuple[list[StatusRow], Mapping[str, pa.Table]] | None:
        start = time.perf_counter()
        try:
            work = self._worker.work(keys)
        except Exception:  # noqa: BLE001  whose failure it was is found by working on each person alone
            return None
        each = (time.perf_counter() - start) / len(keys)
        return [_row(key, work, each) for key in keys], work.tables

    def _alone(self, key: str) -> tuple[list[StatusRow], Mapping[str, pa.Table]]:
        start = time.perf_counter()
        try:
            work = self._worker.work([key])
        except Exception as error:  # noqa: BLE001  one person's failure is a row with its reason, never the stage's end
            return [(key, FAILED, _reason(error), time.perf_counter() - start)], {}
        return [_row(key, work, time.perf_counter() - start)], work.tables


def _row(key: str, work: Work, seconds: float) -> StatusRow:
    if key in work.failures:
        return key, FAILED, work.failures[key], seconds
    return key, OK, work.notes.get(key, ""), seconds


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


@dataclasses.dataclass
class _Batch:
    keys: list[str]
    num_crashes: int = 0


@dataclasses.dataclass
class _Slot:
    """One actor and its batches, in order."""

    actor: Any
    starting: Any
    queue: collections.deque[tuple[Any, _Batch]] = dataclasses.field(default_factory=collections.deque)


class _Driver:
    """Distributes batches to actors, and replaces actors that die."""

    def __init__(
        self,
        make_worker: Callable[[Any], Worker],
        shared: Any,
        batches: list[list[str]],
        ledger: Ledger,
        fleet: FleetConfig,
        description: str,
        cluster: ClusterConfig,
        start_timeout_seconds: float,
    ) -> None:
        import ray

        self._ray = ray
        self._pending = collections.deque(_Batch(keys) for keys in batches)
        self._ledger = ledger
        self._fleet = fleet
        self._description = description
        self._start_timeout_seconds = start_timeout_seconds
        self._num_actors = min(fleet.num_actors, len(batches))
        self._mark = pool_share(cluster, FLEET_POOL)
        require_room(fleet, self._mark, self._num_actors, can_grow=cluster.ray_address is not None)
        shared_ref, make_ref = ray.put(shared), ray.put(make_worker)
        # An actor that dies is replaced here and not by Ray, so that it is known which batch it died of.
        remote = ray.remote(
            num_cpus=fleet.cpus_per_actor, num_gpus=fleet.gpus_per_actor, resources=self._mark, max_restarts=0
        )(_Actor)
        self._start_actor: Callable[[], Any] = lambda: remote.remote(make_ref, shared_ref, ledger)
        self._slots: list[_Slot] = []
        self._num_crashes = 0
        self._failed_starts = 0
        self._without_actor_since = time.monotonic()
        self._counts: collections.Counter[str] = collections.Counter()
        self._reasons: collections.Counter[str] = collections.Counter()

    def run(self, num_skipped: int) -> PoolSummary:
        """Run until every batch is done."""
        start = time.monotonic()
        num_people = sum(len(batch.keys) for batch in self._pending)
        with progress() as bar:
            task = bar.add_task(self._description, total=num_people)
            try:
                for _ in range(self._num_actors):
                    self._add_slot()
                while self._pending or any(slot.queue for slot in self._slots):
                    self._hand_out()
                    self._wait()
                    bar.update(task, completed=self._counts.total())
            finally:
                for slot in self._slots:
                    self._ray.kill(slot.actor)
        return PoolSummary(
            num_ok=self._counts[OK],
            num_failed=self._counts[FAILED],
            num_skipped=num_skipped,
            num_crashes=self._num_crashes,
            seconds=time.monotonic() - start,
            reasons=dict(self._reasons),
        )

    def _add_slot(self) -> None:
        actor = self._start_actor()
        self._slots.append(_Slot(actor, actor.ready.remote()))

    def _hand_out(self) -> None:
        """Give each live actor batches up to the limit, one per round, so that the last ones are shared evenly."""
        for depth in range(self._fleet.batches_in_flight_per_actor):
            for slot in self._slots:
                if self._pending and slot.starting is None and len(slot.queue) <= depth:
                    batch = self._pending.popleft()
                    slot.queue.append((slot.actor.do.remote(batch.keys), batch))

    def _wait(self) -> None:
        owners = {slot.starting: slot for slot in self._slots if slot.starting is not None}
        if len(owners) < len(self._slots):
            self._without_actor_since = time.monotonic()
        owners |= {slot.queue[0][0]: slot for slot in self._slots if slot.queue}
        ready, _ = self._ray.wait(list(owners), num_returns=1, timeout=1.0)
        if not ready and time.monotonic() - self._without_actor_since > self._start_timeout_seconds:
            raise no_room(self._fleet, self._mark, self._start_timeout_seconds)
        for ref in ready:
            slot = owners[ref]
            if slot.starting is not None:
                self._finish_start(slot)
            else:
                self._finish_batch(slot)

    def _finish_start(self, slot: _Slot) -> None:
        from ray.exceptions import RayActorError

        try:
            self._ray.get(slot.starting)
        except RayActorError as error:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS_BEFORE_GIVING_UP:
                raise StageError(
                    f"An actor could not be built, {self._failed_starts} times: {_last_line(error)}"
                ) from None
            self._replace(slot)
            return
        slot.starting = None
        self._failed_starts = 0

    def _finish_batch(self, slot: _Slot) -> None:
        from ray.exceptions import RayActorError, RayError

        ref, _ = slot.queue[0]
        try:
            rows = self._ray.get(ref)
        except RayActorError:
            self._num_crashes += 1
            self._take_over(slot)
            return
        except RayError as error:
            raise StageError(
                f"A batch could not be written to {self._ledger.folder}: {_last_line(error)}. What is finished is kept; "
                "--resume goes on."
            ) from error
        slot.queue.popleft()
        self._count(rows)

    def _take_over(self, slot: _Slot) -> None:
        """Replace an actor that died, and find out which batch it died of."""
        # Actors work in order. An answer may be lost with the actor that gave it; then the ledger holds the batch all the same.
        waiting = [batch for _, batch in slot.queue]
        while waiting and (rows := self._ledger.status_of(waiting[0].keys)) is not None:
            self._count([(row["pseudonym"], row["status"], row["reason"], row["seconds"]) for row in rows])
            waiting.pop(0)
        slot.queue.clear()
        self._replace(slot)
        self._pending.extendleft(reversed(waiting[1:]))
        if waiting:
            self._after_crash(waiting[0])

    def _after_crash(self, batch: _Batch) -> None:
        batch.num_crashes += 1
        if batch.num_crashes < _CRASHES_BEFORE_SPLIT:
            self._pending.appendleft(batch)
        elif len(batch.keys) > 1:
            self._pending.extendleft(_Batch([key]) for key in reversed(batch.keys))
        else:
            reason = f"the process that worked on this person died {batch.num_crashes} times (out of memory, or a fault in a library)"
            rows = [(batch.keys[0], FAILED, reason, math.nan)]
            self._ledger.commit(batch.keys, {}, status_table(rows))
            self._count(rows)

    def _replace(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        self._ray.kill(slot.actor)
        err.print("An actor died; it is replaced and its batch is done again.")
        self._add_slot()

    def _count(self, rows: list[StatusRow]) -> None:
        self._counts.update(status for _, status, _, _ in rows)
        self._reasons.update(reason for _, status, reason, _ in rows if status == FAILED)
        show_gauges("fleet", {"people_done": self._counts[OK], "people_failed": self._counts[FAILED]})


def require_room(fleet: FleetConfig, mark: dict[str, float], num_actors: int, can_grow: bool) -> None:
    """Refuse actors that need more than the nodes have, free or not."""
    import ray

    places = 0
    for node in ray.nodes():
        if node["Alive"]:
            have = node["Resources"]
            wants = {"CPU": fleet.cpus_per_actor, "GPU": fleet.gpus_per_actor, **mark}
            limits = [int(have.get(kind, 0.0) / want + 1e-9) for kind, want in wants.items() if want]
            places += min(limits, default=num_actors)
    if places == 0 and not can_grow:
        raise ConfigurationError(
            f"No node of the cluster can hold an actor of {_wanted(fleet, mark)}: the cluster has {_offered(ray)}. Lower "
            "fleet.cpus_per_actor or fleet.gpus_per_actor, or use a cluster with larger nodes (cluster.ray_address)."
        )
    if places < num_actors:
        err.print(
            f"fleet.num_actors is {num_actors}, but the cluster has room for {places} of {_wanted(fleet, mark)} ({_offered(ray)}); "
            "the work goes on with those, and with more when there is room."
        )


def no_room(fleet: FleetConfig, mark: dict[str, float], seconds: float) -> StageError:
    """Return the message that no actor could be placed in this time."""
    import ray

    return StageError(
        f"No actor of {_wanted(fleet, mark)} could be placed within {seconds:.0f} s. The cluster has {_offered(ray)}, part of it taken "
        "by others. Lower fleet.cpus_per_actor or fleet.gpus_per_actor, or wait until there is room; --resume goes on."
    )


def _wanted(fleet: FleetConfig, mark: dict[str, float]) -> str:
    where = f" on a node that offers {', '.join(mark)} (cluster.pools)" if mark else ""
    return f"{fleet.cpus_per_actor:g} CPU(s) and {fleet.gpus_per_actor:g} GPU(s){where}"


def _offered(ray: Any) -> str:
    have = ray.cluster_resources()
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    return f"{have.get('CPU', 0.0):g} CPU(s) and {have.get('GPU', 0.0):g} GPU(s) on {nodes} node(s)"


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
