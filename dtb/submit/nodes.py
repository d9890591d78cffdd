"""The number of nodes that a run needs, for training and, separately, for the fan-out over people."""

from __future__ import annotations

import dataclasses
import math

from dtb.config import Config
from dtb.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Nodes:
    """Numbers of nodes.

    Attributes
    ----------
    train : int
        For `train.num_workers`.
    train_at_least : int
        For `train.min_workers`, the least with which training goes on.
    fleet : int
        For `fleet.num_actors`.
    """

    train: int
    train_at_least: int
    fleet: int


def count_nodes(config: Config) -> Nodes:
    """Return the number of nodes for the workers and actors.

    Raises
    ------
    ConfigurationError
        A single worker or actor is larger than a node.

    Examples
    --------
    >>> from dtb.config import FleetConfig, LaunchConfig, TrainConfig
    >>> wanted = Config(
    ...     train=TrainConfig(num_workers=8, min_workers=4, use_gpu=True),
    ...     fleet=FleetConfig(num_actors=32, gpus_per_actor=0.25),
    ...     launch=LaunchConfig(node_gpus=4, node_cpus=16),
    ... )
    >>> count_nodes(wanted)
    Nodes(train=2, train_at_least=1, fleet=2)
    """
    train, fleet = config.train, config.fleet
    gpus = train.gpus_per_worker * train.use_gpu
    workers = _on_one(config, "train.cpus_per_worker", train.cpus_per_worker, "train.use_gpu", gpus)
    actors = _on_one(config, "fleet.cpus_per_actor", fleet.cpus_per_actor, "fleet.gpus_per_actor", fleet.gpus_per_actor)
    return Nodes(
        train=math.ceil(train.num_workers / workers),
        train_at_least=math.ceil((train.min_workers or train.num_workers) / workers),
        fleet=math.ceil(fleet.num_actors / actors),
    )


def _on_one(config: Config, cpu_option: str, cpus: float, gpu_option: str, gpus: float) -> int:
    """Return how many workers of a size fit on one node."""
    launch = config.launch
    limits = []
    for option, wanted, node_option, offered in (
        (cpu_option, cpus, "launch.node_cpus", launch.node_cpus),
        (gpu_option, gpus, "launch.node_gpus", launch.node_gpus),
    ):
        if wanted > offered:
            raise ConfigurationError(
                f"{option} asks for {wanted:g}, but a node has {offered} ({node_option}). Give it more, or lower the other."
            )
        if wanted:
            limits.append(int(offered / wanted + 1e-9))
    return max(1, min(limits, default=launch.node_cpus))
