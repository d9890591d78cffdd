"""A pool of Ray actors that works on batches of people: each actor is built once and returns a status row for each person.

An exception in one person's work is caught inside the actor, and the person is tried on another: who fails on two is a row with the
reason, and an actor whose people succeed elsewhere is replaced. If an actor dies (a signal, a lost node, no memory), its batch goes to
another. A batch that has killed several actors is split, and a person who kills an actor alone is set aside. Only status rows return to
the driver; the actors write the results (`dtb.fleet.actors.ledger`), so the driver and the object store hold few, small objects, however
many people there are.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from dtb.cluster.shared_folder import SECONDS_TO_APPEAR, marked
from dtb.config import ClusterConfig, FleetConfig
from dtb.errors import StageError
from dtb.fleet.actors.actor import Worker
from dtb.fleet.actors.driver import Driver
from dtb.fleet.actors.ledger import Ledger

_PRIVATE = ClusterConfig()


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
        With `subjects_per_batch`, which `dtb.fleet.actors.sizing` decides where the user does not.
    description : str
        Text before the progress bar.
    cluster : ClusterConfig
        On a shared cluster, nodes may still join; on a private one, actors that fit nowhere are refused at once.

    Raises
    ------
    ConfigurationError
        No node of the cluster can hold an actor, or none sees the output folder.
    StageError
        Actors cannot be built, more people than `fleet.max_failed_fraction` failed, or somebody's results are not in the folder.
    """
    finished = ledger.finished()
    assert fleet.subjects_per_batch is not None
    batches = batches_of(keys, fleet.subjects_per_batch, finished)
    if not batches:
        return PoolSummary(0, 0, len(finished), 0, 0.0, {})
    with marked(ledger.folder) as folder:
        driver = Driver(make_worker, shared, batches, ledger, fleet, description, cluster, folder)
        driver.run()
    failed = driver.failed
    summary = PoolSummary(
        num_ok=driver.num_ok,
        num_failed=len(failed),
        num_skipped=len(set(keys) & finished),
        num_crashes=driver.num_crashes,
        seconds=driver.seconds,
        reasons=dict(collections.Counter(failed.values())),
    )
    ledger.sweep()
    total = summary.num_ok + summary.num_failed
    if summary.num_failed > fleet.max_failed_fraction * total:
        raise StageError(
            f"{summary.num_failed} of {total} people failed, more than fleet.max_failed_fraction allows "
            f"({fleet.max_failed_fraction:g}). {_reasons_in_words(summary.reasons)} Every person's reason is in {ledger.folder}/status; "
            "--resume tries those who failed again."
        )
    _require_written(ledger, set(keys) - set(failed))
    return summary


def _require_written(ledger: Ledger, people: set[str]) -> None:
    """Refuse to call a stage complete that has less in its folder than its actors said they wrote."""
    until = time.monotonic() + SECONDS_TO_APPEAR
    while (lost := sorted(people - ledger.done())) and time.monotonic() < until:
        time.sleep(1.0)
    if lost:
        raise StageError(
            f"{len(lost)} of {len(people)} people were done, but their results are not in {ledger.folder} (for example {lost[0]}). "
            "Is it on a disk that all nodes share, and does nothing else write there? --resume does them again."
        )


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
