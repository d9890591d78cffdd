"""Hands batches out to actors and replaces those that die, are at fault (`dtb.fleet.actors.blame`) or lie on a node that is."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

from dtb.cluster.connection import FLEET_POOL, pool_share, show_gauges
from dtb.cluster.shared_folder import SharedFolder
from dtb.config import ClusterConfig, FleetConfig
from dtb.errors import StageError
from dtb.fleet.actors.actor import Actor, Attempt, StatusRow, Worker
from dtb.fleet.actors.blame import Blame
from dtb.fleet.actors.ledger import FAILED, OK, Ledger, status_table
from dtb.fleet.actors.merging import Merging
from dtb.fleet.actors.room import no_room, num_places, require_room, waiting_for_room
from dtb.terminal import err, progress

_CRASHES_BEFORE_SPLIT = 2
_STARTS_BEFORE_GIVING_UP = 3
_FAULTS_OF_NODE = 2
_SECONDS_TO_START = 60.0
"""So long an actor that starts is taken for one that may work on another node."""
_FEWEST_FAILURES = 20
"""So many people have to fail, and more than the configuration allows, before the others are not tried."""
_SAY_EVERY_SECONDS = 30.0
_IDLE_SECONDS = 10.0
_ACTORS_AT_ONCE, _GATHER_SECONDS = 4, 0.1
"""Of many actors a quarter is answered at once, if so many are ready soon. To ask Ray costs the driver as much as a batch does otherwise,
and each actor has a further batch meanwhile."""
_CALL_SECONDS = 1.0
"""So many batches are handed out in one call that it lasts about so long: a call costs the driver half a millisecond, whatever it holds."""
_CALLS_TO_SHARE = 4
"""As many calls are left for each actor at least, where a call holds several batches."""
_LOW_ON_MEMORY = "running low on memory"
"""So Ray's monitor says of an actor that it killed."""


@dataclasses.dataclass
class _Batch:
    keys: list[str]
    num_crashes: int = 0


@dataclasses.dataclass(eq=False)
class _Slot:
    """One actor and the batches of each call, in order."""

    number: int
    actor: Any
    starting: Any
    since: float = dataclasses.field(default_factory=time.monotonic)
    node: str = ""
    host: str = ""
    queue: collections.deque[tuple[Any, list[_Batch]]] = dataclasses.field(default_factory=collections.deque)


class Driver:
    """Distributes batches to actors, and replaces actors that die or are at fault.

    Parameters
    ----------
    make_worker, shared, ledger, fleet, description, cluster
        See `dtb.fleet.actors.run.run_pool`.
    batches : list of list of str
    folder : SharedFolder
        The ledger's folder, which every node must see.

    Attributes
    ----------
    num_ok, num_crashes : int
        People who are done, and actors that died.
    seconds : float
        Wall time.
    """

    def __init__(
        self,
        make_worker: Callable[[Any], Worker],
        shared: Any,
        batches: list[list[str]],
        ledger: Ledger,
        fleet: FleetConfig,
        description: str,
        cluster: ClusterConfig,
        folder: SharedFolder,
    ) -> None:
        import ray

        self.num_ok = self.num_crashes = 0
        self.seconds = 0.0
        self._ray = ray
        self._num_people = sum(map(len, batches))
        self._pending = collections.deque(_Batch(keys) for keys in batches)
        self._ledger, self._folder = ledger, folder
        self._fleet, self._cluster, self._description = fleet, cluster, description
        self._num_actors = min(fleet.num_actors, len(batches))
        self._mark = pool_share(cluster, FLEET_POOL)
        require_room(fleet, self._mark, self._num_actors, can_grow=cluster.ray_address is not None)
        self._shared, self._make_worker = ray.put(shared), ray.put(make_worker)
        # An actor that dies is replaced here and not by Ray, so that it is known which batch it died of.
        self._actors: Any = ray.remote(
            num_cpus=fleet.cpus_per_actor, num_gpus=fleet.gpus_per_actor, resources=self._mark, max_restarts=0
        )(Actor)
        self._merging = Merging(batches, ledger, self._mark)
        self._slots: list[_Slot] = []
        self._numbers = itertools.count(1)
        self._blame = Blame()
        self._reported: dict[str, str] = {}
        self._faults: collections.Counter[str] = collections.Counter()
        self._left_nodes: list[str] = []
        self._failed_starts = 0
        self._seconds_a_person = math.inf
        self._without_actor_since = self._said_at = self._idle_since = time.monotonic()

    @property
    def failed(self) -> dict[str, str]:
        """Return the reasons of those who failed."""
        return self._reported | self._blame.failed

    def run(self) -> None:
        """Work until every batch is done, or so many people have failed that the stage will not be complete.

        Raises
        ------
        StageError
            No actor can work anywhere.
        """
        start = time.monotonic()
        with progress() as bar:
            task = bar.add_task(self._description, total=self._num_people)
            try:
                for _ in range(self._num_actors):
                    self._add_slot()
                while (self._pending or any(slot.queue for slot in self._slots)) and not self._is_hopeless():
                    self._hand_out()
                    if not self._replace_an_idle_one():
                        self._wait()
                    bar.update(task, completed=self.num_ok + len(self.failed))
            finally:
                for slot in self._slots:
                    self._ray.kill(slot.actor)
                self._write_blame()
                self.seconds = time.monotonic() - start
        self._merging.finish()

    def _is_hopeless(self) -> bool:
        return len(self.failed) > max(_FEWEST_FAILURES, self._fleet.max_failed_fraction * self._num_people)

    def _write_blame(self) -> None:
        """Write the reasons of those who raised exceptions; who was reported, or died, has a row already."""
        raised = sorted(self._blame.failed)
        if raised:
            rows = [(key, FAILED, self._blame.failed[key], math.nan) for key in raised]
            self._ledger.commit(raised, {}, status_table(rows))

    def _add_slot(self) -> None:
        number = next(self._numbers)
        elsewhere = {"ray.io/node-id": f"!in({','.join(self._left_nodes)})"} if self._left_nodes else {}
        actor = self._actors.options(label_selector=elsewhere).remote(
            self._make_worker, self._shared, self._ledger, self._folder, _name(number)
        )
        self._slots.append(_Slot(number, actor, actor.start.remote()))

    def _replace_an_idle_one(self) -> bool:
        """Replace an actor where none may have what is left: a new one finds out whether those before or the people are at fault."""
        now = time.monotonic()
        started = [slot for slot in self._slots if slot.starting is None]
        if not started or any(slot.queue for slot in started):
            self._idle_since = now
        elif len(started) == len(self._slots) or now - self._idle_since > _IDLE_SECONDS:
            # The room of the old one may be what an actor that is still to start waits for.
            self._replace(started[0])
            return True
        return False

    def _hand_out(self) -> None:
        """Hand each actor calls up to the limit, one per round, so that the last ones are shared evenly."""
        for depth in range(self._fleet.batches_in_flight_per_actor):
            for slot in self._slots:
                if slot.starting is None and not self._blame.is_suspended(slot.number) and len(slot.queue) <= depth:
                    taken = (self._next_for(slot) for _ in range(self._batches_a_call()))
                    if batches := [batch for batch in taken if batch is not None]:
                        slot.queue.append((slot.actor.do.remote([batch.keys for batch in batches]), batches))

    def _batches_a_call(self) -> int:
        people = len(self._pending[0].keys) if self._pending else 1
        calls_left = _CALLS_TO_SHARE * len(self._slots)
        return max(1, min(int(_CALL_SECONDS / (self._seconds_a_person * people)), len(self._pending) // calls_left))

    def _next_for(self, slot: _Slot) -> _Batch | None:
        """Take the first batch that this actor may have: nobody who failed on it or its node, unless it is the only one and works."""
        may_retry = len(self._slots) == 1 and self._blame.works(slot.number)
        for place, batch in enumerate(self._pending):
            if may_retry or not any(self._failed_with(key, slot) for key in batch.keys):
                del self._pending[place]
                return batch
        return None

    def _failed_with(self, key: str, slot: _Slot) -> bool:
        return self._blame.has_failed_on(key, slot.number) or (
            self._blame.has_failed_at(key, slot.node) and self._has_others_than(slot.node)
        )

    def _has_others_than(self, node: str) -> bool:
        """Whether an actor works on another node than this one, or may be about to."""
        now = time.monotonic()
        return any(
            slot.node != node if slot.starting is None else now - slot.since < _SECONDS_TO_START for slot in self._slots
        )

    def _wait(self) -> None:
        owners = {slot.starting: slot for slot in self._slots if slot.starting is not None}
        now = time.monotonic()
        if len(owners) < len(self._slots):
            self._without_actor_since = self._said_at = now
        owners |= {slot.queue[0][0]: slot for slot in self._slots if slot.queue}
        ready: list[Any] = []
        if (several := len(owners) // _ACTORS_AT_ONCE) > 1:
            ready, _ = self._ray.wait(list(owners), num_returns=several, timeout=_GATHER_SECONDS)
        if not ready:
            ready, _ = self._ray.wait(list(owners), num_returns=1, timeout=1.0)
        answers = self._answers(ready)
        waited = now - self._without_actor_since
        if not ready and waited > self._cluster.wait_seconds:
            raise no_room(self._fleet, self._mark, self._cluster.wait_seconds)
        if not ready and now - self._said_at > _SAY_EVERY_SECONDS:
            self._said_at = now
            err.print(waiting_for_room(self._fleet, self._mark, waited, self._cluster.wait_seconds))
        for ref in ready:
            slot = owners[ref]
            if slot not in self._slots:  # replaced, with its batches, because of what another one did
                continue
            if slot.starting is not None:
                self._finish_start(slot)
            else:
                self._finish_call(slot, answers.get(ref))

    def _answers(self, refs: list[Any]) -> dict[Any, Any]:
        """Return what several actors answered, fetched in one call; nothing where one of them brings an exception."""
        from ray.exceptions import RayError

        try:
            return dict(zip(refs, self._ray.get(refs), strict=True))
        except RayError:
            return {}

    def _finish_start(self, slot: _Slot) -> None:
        from ray.exceptions import RayError

        try:
            slot.node, slot.host, error = self._ray.get(slot.starting)
        except RayError as problem:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS_BEFORE_GIVING_UP:
                raise StageError(
                    f"An actor could not be built, {self._failed_starts} times: {_last_line(problem)}"
                ) from None
            self._replace(slot)
            return
        slot.starting = None
        if not error and not self._folder.was_seen_by(_name(slot.number)):
            error = (
                f"what it writes to {self._folder.folder} does not appear here. Give an output folder on a file system that all nodes "
                "of the cluster share, at the same path"
            )
        if error:
            self._replace_faulty(slot, f"An actor could not be built on node {slot.host}: {error}.")
        else:
            self._failed_starts = 0

    def _finish_call(self, slot: _Slot, answer: list[Attempt] | None) -> None:
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError

        ref, batches = slot.queue[0]
        try:
            attempts = answer or self._ray.get(ref)
        except (RayActorError, OutOfMemoryError) as error:
            self.num_crashes += 1
            self._take_over(slot, is_memory=isinstance(error, OutOfMemoryError) or _LOW_ON_MEMORY in str(error))
            return
        except RayError as error:
            raise StageError(
                f"A batch could not be written to {self._ledger.folder}: {_last_line(error)}. What is finished is kept; "
                "--resume goes on."
            ) from error
        slot.queue.popleft()
        for batch, attempt in zip(batches, attempts, strict=True):
            self._finish_batch(slot, batch, attempt)
        for number in self._blame.newly_faulty([other.number for other in self._slots]):
            faulty = next(other for other in self._slots if other.number == number)
            self._replace_faulty(
                faulty,
                f"People who failed on an actor of node {faulty.host} succeed elsewhere; they are not counted as failed.",
            )
            self._pending.extendleft(_Batch([key]) for key in self._blame.to_try_again())

    def _finish_batch(self, slot: _Slot, batch: _Batch, attempt: Attempt) -> None:
        if attempt.rows:
            self._merging.committed(batch.keys)
            self._seconds_a_person = max(sum(seconds for *_, seconds in attempt.rows) / len(attempt.rows), 1e-6)
        self._count(slot.number, attempt.rows)
        others = bool(attempt.raised) and self._has_others_than(slot.node)
        for key, reason in attempt.raised.items():
            if self._blame.raised(key, slot.number, reason, slot.node, others=others):
                # First of all, so that an actor that is at fault is found early, and so is a stage that cannot be completed.
                self._pending.appendleft(_Batch([key], batch.num_crashes))

    def _count(self, actor: int, rows: list[StatusRow]) -> None:
        self._merging.settled(row[0] for row in rows)
        for key, status, reason, _ in rows:
            if status == OK:
                self.num_ok += 1
                self._blame.succeeded(key, actor)
            else:
                self._reported[key] = reason
        show_gauges("fleet", {"people_done": self.num_ok, "people_failed": len(self.failed)})

    def _take_over(self, slot: _Slot, *, is_memory: bool) -> None:
        """Replace an actor that died, and find out which batch it died of."""
        # Actors work in order. An answer may be lost with the actor that gave it; then the ledger holds the batch all the same.
        waiting = [batch for _, batches in slot.queue for batch in batches]
        while waiting and (rows := self._ledger.status_of(waiting[0].keys)) is not None:
            self._merging.committed(waiting[0].keys)
            self._count(slot.number, [(row["pseudonym"], row["status"], row["reason"], row["seconds"]) for row in rows])
            settled = {row["pseudonym"] for row in rows}
            self._pending.extend(_Batch([key]) for key in waiting.pop(0).keys if key not in settled)
        slot.queue.clear()
        err.print("An actor died; it is replaced and its batch is done again.")
        self._replace(slot)
        self._pending.extendleft(reversed(waiting[1:]))
        if waiting:
            self._after_crash(waiting[0], is_memory=is_memory)

    def _after_crash(self, batch: _Batch, *, is_memory: bool) -> None:
        batch.num_crashes += 1
        if len(batch.keys) > 1 and (is_memory or batch.num_crashes >= _CRASHES_BEFORE_SPLIT):
            self._pending.extendleft(_Batch([key]) for key in reversed(batch.keys))
        elif batch.num_crashes < _CRASHES_BEFORE_SPLIT:
            self._pending.appendleft(batch)
        else:
            why = "the machine's memory ran out" if is_memory else "out of memory, or a fault in a library"
            reason = f"the process that worked on this person died {batch.num_crashes} times ({why})"
            rows = [(batch.keys[0], FAILED, reason, math.nan)]
            self._ledger.commit(batch.keys, {}, status_table(rows))
            self._reported[batch.keys[0]] = reason
            self._merging.committed(batch.keys)
            self._merging.settled(batch.keys)
            show_gauges("fleet", {"people_failed": len(self.failed)})

    def _replace_faulty(self, slot: _Slot, why: str) -> None:
        """Replace an actor that is at fault, on another node if it is the second one there."""
        self._faults[slot.node] += 1
        if self._faults[slot.node] < _FAULTS_OF_NODE:
            err.print(f"{why} The actor is replaced.")
            self._replace(slot)
            return
        self._left_nodes.append(slot.node)
        if not num_places(self._fleet, self._mark, self._left_nodes) and self._cluster.ray_address is None:
            raise StageError(f"{why} No other node is left. What is finished is kept; --resume goes on.")
        err.print(
            f"{why} It is the {_FAULTS_OF_NODE}nd time on node {slot.host}, which is left; its work goes to others."
        )
        for other in [one for one in self._slots if one.node == slot.node]:
            self._replace(other)

    def _replace(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        self._ray.kill(slot.actor)
        self._pending.extendleft(batch for _, batches in reversed(slot.queue) for batch in reversed(batches))
        self._add_slot()


def _name(number: int) -> str:
    return f"actor-{number}"


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
