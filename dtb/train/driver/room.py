"""Whether a cluster has room for the workers of a training: on its nodes, not only in sum."""

from __future__ import annotations

import time
from typing import NamedTuple

from dtb.cluster.connection import TRAIN_POOL, places_for, pool_share
from dtb.config import Config
from dtb.errors import ConfigurationError
from dtb.machine.cores import usable_cores
from dtb.terminal import err

SAY_EVERY_SECONDS = 30.0


class Shortage(NamedTuple):
    """What a cluster lacks, and what to do."""

    what: str
    advice: str


def require_room(config: Config) -> None:
    """Refuse to ask a cluster for what it cannot hold: Ray would wait for it for ever.

    A cluster with an address is given `cluster.wait_seconds` to grow, and every half minute it is said what is waited for.

    Raises
    ------
    ConfigurationError
        The workers do not fit; the message says what they need and what the cluster has.
    """
    shortage = shortage_of(config)
    if shortage is None:
        return
    if config.cluster.ray_address is not None:
        from ray.autoscaler.sdk import request_resources

        limit, began = config.cluster.wait_seconds, time.monotonic()
        err.print(f"{shortage.what}. Waiting until it has grown, {limit:g} s at most (cluster.wait_seconds).")
        request_resources(bundles=[resources_of_worker(config)] * fewest_workers(config))
        said = began
        while shortage is not None and time.monotonic() < began + limit:
            time.sleep(1.0)
            shortage = shortage_of(config)
            if shortage is not None and time.monotonic() - said > SAY_EVERY_SECONDS:
                said = time.monotonic()
                err.print(f"{shortage.what}. Waiting for {said - began:.0f} of {limit:g} s.")
        request_resources(bundles=[])  # from here on the workers themselves ask
    if shortage is not None:
        raise ConfigurationError(f"{shortage.what}. {shortage.advice}")


def require_machine(config: Config) -> None:
    """Refuse more workers than this machine can run; a cluster with an address is not checked.

    Raises
    ------
    ConfigurationError
        A private cluster on this machine would be too small.
    """
    if config.cluster.ray_address is not None:
        return
    there: dict[str, float] = {"CPU": config.cluster.num_cpus or usable_cores()}
    if config.train.use_gpu:
        from torch.cuda import device_count

        there["GPU"] = device_count()
    workers, each = fewest_workers(config), resources_of_worker(config)
    for kind, amount in there.items():
        if amount < workers * each[kind]:
            raise ConfigurationError(
                f"train.{'min' if config.train.min_workers else 'num'}_workers needs {workers * each[kind]:g} {kind}, but this machine "
                f"has {amount:g}. {_advice(kind, amount)}"
            )


def shortage_of(config: Config) -> Shortage | None:
    """Return what the cluster lacks for the fewest workers that may train, or None."""
    import ray

    workers, each = fewest_workers(config), resources_of_worker(config)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    asked = f"train.{'min' if config.train.min_workers else 'num'}_workers is {workers}"
    for kind, amount in each.items():
        there = sum(node.get(kind, 0.0) for node in nodes)
        if there < workers * amount:
            what = f"{asked}, which needs {workers * amount:g} {kind}, but the cluster has {there:g}"
            return Shortage(what, _advice(kind, there))
    places = places_for(each)
    if places < workers:
        one = ", ".join(f"{amount:g} {kind}" for kind, amount in each.items() if kind != TRAIN_POOL)
        largest = max(node.get("CPU", 0.0) for node in nodes)
        return Shortage(
            f"{asked} of {one} each, but the cluster's {len(nodes)} node(s) hold {places} of these (the largest has {largest:g} CPU)",
            "A worker is never divided between nodes: lower train.cpus_per_worker or train.num_workers, or use larger nodes.",
        )
    return None


def _advice(kind: str, amount: float) -> str:
    """Return what to do if a resource does not suffice."""
    if kind == "GPU":
        if not amount:
            return "Leave out train.use_gpu, or use a cluster with GPUs."
        return "Lower train.num_workers or train.gpus_per_worker, or use a cluster with more GPUs."
    if kind == TRAIN_POOL:
        return "Leave out cluster.pools, or start nodes for training (docs/clusters.md)."
    return "Lower train.num_workers or train.cpus_per_worker, or use a larger cluster."


def fewest_workers(config: Config) -> int:
    """Return with how many workers a training may begin."""
    return config.train.min_workers or config.train.num_workers


def resources_of_worker(config: Config) -> dict[str, float]:
    """Return the resources of one worker."""
    gpu = {"GPU": config.train.gpus_per_worker} if config.train.use_gpu else {}
    return {"CPU": config.train.cpus_per_worker, **gpu, **pool_share(config.cluster, TRAIN_POOL)}
