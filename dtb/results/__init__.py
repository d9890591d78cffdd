"""What a stage left in its folder: paths, tables that are read when they are first asked for, and the report's figure of it.

A result is made of a folder, whether or not a stage has just written it: ``EvaluateResult(Path("runs/demo/evaluate")).figures``.
"""

from dtb.lazy import public_names

__all__ = [
    "EvaluateResult",
    "IngestResult",
    "InterveneResult",
    "PlanResult",
    "PoolResult",
    "ReportResult",
    "RunResult",
    "SimulateResult",
    "SweepResult",
    "SynthResult",
    "TrainResult",
    "TrialResult",
    "UpdateResult",
]

_FILES = {
    "EvaluateResult": ".twin",
    "IngestResult": ".cohort",
    "InterveneResult": ".fleet",
    "PlanResult": ".cohort",
    "PoolResult": ".twin",
    "ReportResult": ".run",
    "RunResult": ".run",
    "SimulateResult": ".fleet",
    "SweepResult": ".twin",
    "SynthResult": ".cohort",
    "TrainResult": ".twin",
    "TrialResult": ".fleet",
    "UpdateResult": ".fleet",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
