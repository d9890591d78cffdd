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
            "Latents",
            "OwnData",
            "Posterior",
            "Twin",
            "TwinSizes",
            "batch_from_arrays",
            "condition",
            "fit",
            "prior_of",
            "remaining",
            "restricted",
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
            "UpdateConfig",
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
        "dtb.results.cohort": (
            "IngestResult",
            "PlanResult",
            "SynthResult",
        ),
        "dtb.results.twin": (
            "EvaluateResult",
            "PoolResult",
            "SweepResult",
            "TrainResult",
        ),
        "dtb.results.fleet": (
            "InterveneResult",
            "SimulateResult",
            "UpdateResult",
            "TrialResult",
        ),
        "dtb.results.run": (
            "ReportResult",
            "RunResult",
        ),
        "dtb.api.cohort": (
            "ingest_cohort",
            "make_cohort",
            "plan_study",
        ),
        "dtb.api.twin": (
            "evaluate_twin",
            "load_twin",
            "pool_evaluations",
            "sweep_twins",
            "train_twin",
        ),
        "dtb.api.fleet": (
            "run_trial",
            "search_interventions",
            "simulate_twins",
            "update_twins",
        ),
        "dtb.api.run": (
            "run_pipeline",
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
    "Latents",
    "OwnData",
    "PlanConfig",
    "PlanResult",
    "PoolResult",
    "Posterior",
    "ReportConfig",
    "ReportResult",
    "RunResult",
    "SegmentConfig",
    "SimulateConfig",
    "SimulateResult",
    "SplitConfig",
    "SweepResult",
    "SynthConfig",
    "SynthResult",
    "TrackConfig",
    "TrainConfig",
    "TrainResult",
    "TrialResult",
    "Twin",
    "TwinConfig",
    "TwinSizes",
    "UpdateConfig",
    "UpdateResult",
    "__version__",
    "batch_from_arrays",
    "condition",
    "evaluate_twin",
    "fit",
    "ingest_cohort",
    "load_config",
    "load_twin",
    "make_cohort",
    "open_cohort",
    "plan_study",
    "pool_evaluations",
    "prior_of",
    "remaining",
    "restricted",
    "run_pipeline",
    "run_trial",
    "search_interventions",
    "simulate_twins",
    "sweep_twins",
    "train_twin",
    "update_twins",
    "write_report",
]

__getattr__, __dir__ = public_names(__name__, _FILES)
