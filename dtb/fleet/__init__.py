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
    "Ledger": ".ledger",
    "PoolSummary": ".actors",
    "SearchTarget": ".target",
    "SharedTwin": ".twins",
    "TwinRunner": ".twins",
    "Work": ".actor",
    "Worker": ".actor",
    "open_shared_twin": ".twins",
    "read_designs": ".designs",
    "run_pool": ".actors",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
