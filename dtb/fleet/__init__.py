"""Simulations, interventions and in-silico trials of many people, on a pool of Ray actors."""

from dtb.lazy import public_names

__all__ = [
    "Ledger",
    "PoolSummary",
    "SearchTarget",
    "SharedTwin",
    "TwinRunner",
    "Work",
    "Worker",
    "open_shared_twin",
    "read_designs",
    "run_pool",
]

_FILES = {
    "Ledger": ".actors.ledger",
    "PoolSummary": ".actors.run",
    "SearchTarget": ".target",
    "SharedTwin": ".twins",
    "TwinRunner": ".twins",
    "Work": ".actors.actor",
    "Worker": ".actors.actor",
    "open_shared_twin": ".twins",
    "read_designs": ".designs",
    "run_pool": ".actors.run",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
