"""Digital twin brains: generative models of single people, trained on connectomes, behaviour and BOLD.

For a notebook, `import dtb` offers every stage as a function (`dtb.api`: `make_cohort`, `ingest_cohort`, `train_twin`, `evaluate_twin` and
others), what they return (`dtb.results`), their settings (`dtb.config`), and the twin itself for arrays (`dtb.twin`: `Twin`,
`batch_from_arrays`, `fit`). Each name is read when it is first used: importing dtb imports neither torch nor Ray.

The rooms, in the order in which a person's data crosses them: ``tasks``, ``cohort``, ``shards``, ``train``, ``twin``,
``evaluate``, ``intervene``, ``fleet``, ``report``. The twin itself is pure PyTorch and needs none of the others.
"""

from dtb.lazy import public_names
from dtb.version import __version__

_FILES = {
    name: file
    for file, names in {
        "dtb.twin": (
            "Batch",
            "Fit",
            "Twin",
            "TwinSizes",
            "batch_from_arrays",
            "fit",
        ),
        "dtb.config": (
            "ClusterConfig",
            "Config",
            "EvaluateConfig",
            "FleetConfig",
            "IngestConfig",
            "InputConfig",
            "InterveneConfig",
            "PlanConfig",
            "ReportConfig",
            "SegmentConfig",
            "SimulateConfig",
            "SplitConfig",
            "SynthConfig",
            "TrackConfig",
            "TrainConfig",
            "TwinConfig",
            "load_config",
        ),
        "dtb.shards.read": (
            "Cohort",
            "open_cohort",
        ),
        "dtb.results": (
            "EvaluateResult",
            "IngestResult",
            "InterveneResult",
            "PlanResult",
            "PoolResult",
            "ReportResult",
            "RunResult",
            "SimulateResult",
            "SynthResult",
            "TrainResult",
            "TrialResult",
        ),
        "dtb.api": (
            "evaluate_twin",
            "ingest_cohort",
            "load_twin",
            "make_cohort",
            "plan_study",
            "pool_evaluations",
            "run_pipeline",
            "run_trial",
            "search_interventions",
            "simulate_twins",
            "train_twin",
            "write_report",
        ),
    }.items()
    for name in names
}

__all__ = [
    "Batch",
    "ClusterConfig",
    "Cohort",
    "Config",
    "EvaluateConfig",
    "EvaluateResult",
    "Fit",
    "FleetConfig",
    "IngestConfig",
    "IngestResult",
    "InputConfig",
    "InterveneConfig",
    "InterveneResult",
    "PlanConfig",
    "PlanResult",
    "PoolResult",
    "ReportConfig",
    "ReportResult",
    "RunResult",
    "SegmentConfig",
    "SimulateConfig",
    "SimulateResult",
    "SplitConfig",
    "SynthConfig",
    "SynthResult",
    "TrackConfig",
    "TrainConfig",
    "TrainResult",
    "TrialResult",
    "Twin",
    "TwinConfig",
    "TwinSizes",
    "__version__",
    "batch_from_arrays",
    "evaluate_twin",
    "fit",
    "ingest_cohort",
    "load_config",
    "load_twin",
    "make_cohort",
    "open_cohort",
    "plan_study",
    "pool_evaluations",
    "run_pipeline",
    "run_trial",
    "search_interventions",
    "simulate_twins",
    "train_twin",
    "write_report",
]

__getattr__, __dir__ = public_names(__name__, _FILES)
