"""What a training waits for while its workers have no room: said every half minute, until a limit that the configuration names.

A cluster may have what workers need, and others may be using it; or a node was lost, and nothing stands in for it. Ray Train itself waits
without a word and without an end.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dtb.config import Config
from dtb.terminal import err
from dtb.train.driver.room import SAY_EVERY_SECONDS, fewest_workers, resources_of_worker
from dtb.train.driver.watcher import Watcher, watched
from dtb.train.log import read_begun

_LOOK_SECONDS = 2.0
_FORGIVEN_SECONDS = 20.0
"""Ray Train asks anew after a while, and in between nothing is asked for."""


@contextlib.contextmanager
def ended_if_no_room(config: Config, out: Path) -> Iterator[None]:
    """Print what the workers of the block wait for, and end it when they have waited `cluster.wait_seconds`.

    In another thread than the main one it is said, and not ended.

    Parameters
    ----------
    config : Config
    out : Path
        Output folder of the training.

    Raises
    ------
    StageError
        There was no room in that time.
    """
    before = read_begun(out)
    with watched(functools.partial(_watch, config, lambda: read_begun(out) not in (None, before))):
        yield


@contextlib.contextmanager
def ended_if_no_member_has_room(config: Config) -> Iterator[None]:
    """Do the same for the members of a sweep, each with workers as this configuration has them, while none has its own.

    Raises
    ------
    StageError
        No member had room in that time.
    """
    with watched(functools.partial(_watch, config, lambda: _has_places(config, "CREATED"))):
        yield


def _watch(config: Config, goes_on: Callable[[], bool], watcher: Watcher) -> None:
    limit = config.cluster.wait_seconds
    since: float | None = None
    seen, said = -math.inf, 0.0
    while not watcher.is_over_after(_LOOK_SECONDS):
        now = time.monotonic()
        if goes_on():
            since = None
            continue
        if _has_places(config, "PENDING", "RESCHEDULING"):
            seen = now
        if now - seen > _FORGIVEN_SECONDS:
            since = None
            continue
        if since is None:
            since = said = now
        if now - since > limit:
            watcher.give_up(
                f"There was no room for {_wanted(config)} within {limit:g} s (cluster.wait_seconds): {_offered()}. Wait until others have "
                "ended, or ask for less; --resume goes on from the newest checkpoint."
            )
            return
        if now - said > SAY_EVERY_SECONDS:
            said = now
            err.print(
                f"Waiting for room for {_wanted(config)} for {now - since:.0f} s: {_offered()}. It is waited {limit:g} s in all "
                "(cluster.wait_seconds)."
            )


def _has_places(config: Config, *states: str) -> bool:
    """Whether places as this training's workers need them are in one of Ray's states: asked for and not had, or had."""
    from ray.util import placement_group_table

    each = resources_of_worker(config)
    return any(
        group["state"] in states and each in group["bundles"].values() for group in placement_group_table().values()
    )


def _wanted(config: Config) -> str:
    one = ", ".join(f"{amount:g} {kind}" for kind, amount in resources_of_worker(config).items())
    return f"{fewest_workers(config)} worker(s) of {one} each"


def _offered() -> str:
    import ray

    have, free = ray.cluster_resources(), ray.available_resources()
    kinds = [kind for kind in ("CPU", "GPU") if have.get(kind)]
    parts = [f"{have[kind]:g} {kind}, of which {free.get(kind, 0.0):g} are free" for kind in kinds]
    return f"the cluster has {' and '.join(parts) or 'neither CPU nor GPU'}"
