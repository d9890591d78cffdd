"""Whether the nodes of a cluster have room for actors, and what to say if they have not."""

from __future__ import annotations

from collections.abc import Collection

from dtb.cluster.connection import places_for
from dtb.cluster.waiting import offered
from dtb.config import FleetConfig
from dtb.errors import ConfigurationError, StageError
from dtb.terminal import err


def num_places(fleet: FleetConfig, mark: dict[str, float], left_nodes: Collection[str] = ()) -> float:
    """Return how many actors the nodes can hold, free or not, without those that were left."""
    return places_for({"CPU": fleet.cpus_per_actor, "GPU": fleet.gpus_per_actor, **mark}, left_nodes)


def require_room(fleet: FleetConfig, mark: dict[str, float], num_actors: int, can_grow: bool) -> None:
    """Refuse actors that need more than the nodes have, free or not."""
    places = num_places(fleet, mark)
    if places == 0 and not can_grow:
        raise ConfigurationError(
            f"No node of the cluster can hold an actor of {_wanted(fleet, mark)}: the cluster has {offered()}. Lower "
            "fleet.cpus_per_actor or fleet.gpus_per_actor, or use a cluster with larger nodes (cluster.ray_address)."
        )
    if places < num_actors:
        err.print(
            f"fleet.num_actors is {num_actors}, but the cluster has room for {places} of {_wanted(fleet, mark)} ({offered()}); "
            "the work goes on with those, and with more when there is room."
        )


def no_room(fleet: FleetConfig, mark: dict[str, float], seconds: float) -> StageError:
    """Return the message that no actor began in this time."""
    return StageError(
        f"No actor of {_wanted(fleet, mark)} could be placed within {seconds:.0f} s. The cluster has {offered()}; part of it is taken "
        "by others, or processes end as they start. Lower fleet.cpus_per_actor or fleet.gpus_per_actor, or wait until there is room; "
        "--resume goes on."
    )


def waiting_for_room(fleet: FleetConfig, mark: dict[str, float], waited: float, limit: float) -> str:
    """Return what is waited for, for how long it was and will be, and who decides that."""
    return (
        f"Waiting for an actor of {_wanted(fleet, mark)} to find room and to start, for {waited:.0f} s; the cluster has {offered()}. "
        f"It is waited {limit:g} s in all (cluster.wait_seconds)."
    )


def _wanted(fleet: FleetConfig, mark: dict[str, float]) -> str:
    where = f" on a node that offers {', '.join(mark)} (cluster.pools)" if mark else ""
    return f"{fleet.cpus_per_actor:g} CPU(s) and {fleet.gpus_per_actor:g} GPU(s){where}"
