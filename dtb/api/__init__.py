"""The stages for Python: each a function that does what its subcommand does and returns what it left, as a result with tables.

    import dtb

    cohort = dtb.make_cohort("cohort", dtb.SynthConfig(num_subjects=24))
    shards = dtb.ingest_cohort(cohort.bids, cohort.derivatives, "shards")
    trained = dtb.train_twin(shards.folder, "trained", dtb.TrainConfig(max_epochs=20))
    dtb.evaluate_twin(shards.folder, trained.folder, "evaluated").plot()

A stage takes its own section of the configuration, or a whole `Config` where it is to read others too (`seed`, `cluster`, `twin`). What
may be set is in `dtb.config`. They start Ray as the commands do: a private cluster for as long as the stage takes, if
`cluster.ray_address` names none. The names differ from the packages' (`dtb.train` is one), so that neither hides the other.
"""

from dtb.lazy import public_names

__all__ = [
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
    "sweep_twins",
    "train_twin",
    "update_twins",
    "write_report",
]

_FILES = {
    "evaluate_twin": ".twin",
    "ingest_cohort": ".cohort",
    "load_twin": ".twin",
    "make_cohort": ".cohort",
    "plan_study": ".cohort",
    "pool_evaluations": ".twin",
    "run_pipeline": ".run",
    "run_trial": ".fleet",
    "search_interventions": ".fleet",
    "simulate_twins": ".fleet",
    "sweep_twins": ".twin",
    "train_twin": ".twin",
    "update_twins": ".fleet",
    "write_report": ".run",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
