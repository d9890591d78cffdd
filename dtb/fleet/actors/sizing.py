"""The number of people in a batch of an actor: as many as its device holds, the same for all of a stage's work.

The number is chosen once and kept in the output folder, so that a resumed stage has the same batches on any machine.

Shape letters: see `dtb.twin.batch`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dtb.cluster.connection import FLEET_POOL, pool_share
from dtb.cluster.waiting import has_come
from dtb.config import ClusterConfig, FleetConfig
from dtb.errors import DamagedOutputError
from dtb.files import write_json
from dtb.fleet.actors.room import no_room, require_room, waiting_for_room
from dtb.fleet.twins import SharedTwin
from dtb.intervene.search import AT_ONCE
from dtb.machine.gpu import bytes_of_share
from dtb.people.records import Run, SubjectRecord
from dtb.twin.recurrence.cells import num_rows

BATCHES_FILE = "batches.json"
MOST_ON_CPU, MOST_ON_GPU = 8, 256
"""On a CPU more people at once are no faster: their states leave the caches."""
_SHARE = 0.5
"""Of the memory that an actor's share of its device has; the rest is for what other people need more of."""
_LOOKED_AT = 8
_FLOAT, _DOUBLE = 4, 8
_MATRICES = 24
"""Connectomes and matrices of a person that exist at once while a change is made valid."""


def sized(
    fleet: FleetConfig, folder: Path, bytes_a_person: Callable[[], float], num_people: int, cluster: ClusterConfig
) -> FleetConfig:
    """Return the configuration with the number of people per batch, chosen if it is not given; a connection to Ray must exist.

    Parameters
    ----------
    fleet : FleetConfig
    folder : Path
        Output folder, which keeps the number.
    bytes_a_person : callable
        Returns the memory that one person needs; called only if the number is not known, because it reads some people.
    num_people : int
        Every actor should get two batches at least.
    cluster : ClusterConfig

    Returns
    -------
    FleetConfig
        With `subjects_per_batch`.

    Raises
    ------
    DamagedOutputError
        The number in the folder cannot be read.
    ConfigurationError, StageError
        No actor can be placed.
    """
    if fleet.subjects_per_batch is not None:
        return fleet
    kept = folder / BATCHES_FILE
    if kept.is_file():
        return dataclasses.replace(fleet, subjects_per_batch=_read(kept))
    mark = pool_share(cluster, FLEET_POOL)
    room, most = _room_on_gpu(fleet, mark, cluster), MOST_ON_GPU
    if room is None:
        room, most = _room_on_cpu(fleet, mark), MOST_ON_CPU
    number = fitting(room, most, bytes_a_person(), num_people, fleet.num_actors)
    write_json(kept, {"subjects_per_batch": number})
    return dataclasses.replace(fleet, subjects_per_batch=number)


def fitting(room: float, most: int, bytes_a_person: float, num_people: int, num_actors: int) -> int:
    """Return how many people fit into half of the room (bytes), at most `most`, and few enough that every actor gets two batches.

    Examples
    --------
    >>> fitting(room=8e9, most=256, bytes_a_person=1e8, num_people=1000, num_actors=2)
    40
    >>> fitting(room=8e9, most=256, bytes_a_person=1e8, num_people=30, num_actors=2)
    7
    """
    return max(1, min(most, int(_SHARE * room / bytes_a_person), num_people // (2 * num_actors)))


def _read(kept: Path) -> int:
    try:
        number = json.loads(kept.read_text(encoding="utf-8"))["subjects_per_batch"]
    except (ValueError, KeyError, TypeError):
        number = None
    if not isinstance(number, int) or number < 1:
        raise DamagedOutputError(
            f"{kept} does not say how many people were taken at once. Give their number with --fleet.subjects-per-batch, or begin anew."
        )
    return number


def _room_on_gpu(fleet: FleetConfig, mark: dict[str, float], cluster: ClusterConfig) -> float | None:
    """Return the memory of the first free GPU; None if actors have none."""
    if not fleet.gpus_per_actor:
        return None
    import ray

    require_room(fleet, mark, num_actors=1, can_grow=cluster.ray_address is not None)
    asked = ray.remote(num_cpus=fleet.cpus_per_actor, num_gpus=fleet.gpus_per_actor, resources=mark)(_gpu_bytes)
    answer = asked.remote()
    if not has_come(answer, cluster, lambda waited: waiting_for_room(fleet, mark, waited, cluster.wait_seconds)):
        raise no_room(fleet, mark, cluster.wait_seconds)
    total: int | None = ray.get(answer)
    return None if total is None else bytes_of_share(total, fleet.gpus_per_actor)


def _gpu_bytes() -> int | None:
    """Return the memory of an actor's GPU; None if PyTorch cannot use it, as the actors there will say."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def _room_on_cpu(fleet: FleetConfig, mark: dict[str, float]) -> float:
    """Return an actor's share of the memory of the smallest node that can hold one."""
    import ray

    nodes: list[dict[str, Any]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": max(fleet.cpus_per_actor, 0.01), "memory": 1.0, **mark}
    able = [node for node in nodes if all(node.get(kind, 0.0) >= want for kind, want in wanted.items())]
    shares = [node["memory"] * min(1.0, wanted["CPU"] / node["CPU"]) for node in able]
    return min(shares, default=float(MOST_ON_CPU << 30))


def bytes_of_simulation(shared_twins: Sequence[SharedTwin], designs: tuple[Run, ...] = ()) -> float:
    """Return the memory that a person's simulation needs, in their own runs or in designs; members are simulated one after another."""
    return _bytes_of_performance(shared_twins, designs)


def bytes_of_search(shared_twins: Sequence[SharedTwin], num_restarts: int) -> float:
    """Return the memory that a person's search needs: a gradient over all restarts at once, and their projections to valid matrices."""
    regions = shared_twins[0].card.sizes.num_regions
    perform = _bytes_of_performance(shared_twins)
    return perform * max(2.0 * num_restarts, AT_ONCE) + num_restarts * _MATRICES * regions**2 * _DOUBLE


def _bytes_of_performance(shared_twins: Sequence[SharedTwin], designs: tuple[Run, ...] = ()) -> float:
    """Return the memory of a simulation: the largest over some people, taken evenly from the cohort, and over members."""
    cohort = shared_twins[0].cohort()
    people = sorted(cohort.pseudonyms)
    looked_at = people[:: math.ceil(len(people) / _LOOKED_AT)]
    records = [dataclasses.replace(record, runs=designs) if designs else record for record in cohort.records(looked_at)]
    return max(_bytes_of_member(shared_twin, records) for shared_twin in shared_twins)


def _bytes_of_member(shared_twin: SharedTwin, records: Sequence[SubjectRecord]) -> float:
    """Return the memory of a member without gradients: inputs, states and readouts of all steps."""
    num_segments, num_steps = shared_twin.batch_maker().batch(records, part="all").stimulus_SKTI.shape[1:3]
    config, sizes = shared_twin.card.config, shared_twin.card.sizes
    rows = num_rows(config.cell, config.num_hidden)
    a_step = 3 * sizes.num_channels + 3 * rows + 3 * config.num_hidden + 4 * sizes.num_outputs
    windows = 8 * sizes.num_alternatives  # hazards within response windows, in double precision
    return num_segments * num_steps * (a_step * _FLOAT + windows * _DOUBLE) + 4.0 * sizes.num_edges * _FLOAT
