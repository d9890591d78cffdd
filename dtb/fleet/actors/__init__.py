"""Ray actors and who drives them: batches, back-pressure, blame, and a ledger that a second call goes on with."""

from dtb.lazy import public_names

__all__ = ["Ledger", "PoolSummary", "Work", "Worker", "run_pool"]

_FILES = {"Ledger": ".ledger", "PoolSummary": ".run", "Work": ".actor", "Worker": ".actor", "run_pool": ".run"}
__getattr__, __dir__ = public_names(__name__, _FILES)
