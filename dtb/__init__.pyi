"""What `import dtb` offers, for type checkers and editors; `__init__.py` reads each name when it is first used."""

from dtb.api.cohort import ingest_cohort as ingest_cohort
from dtb.api.cohort import make_cohort as make_cohort
from dtb.api.cohort import plan_study as plan_study
from dtb.api.fleet import run_trial as run_trial
from dtb.api.fleet import search_interventions as search_interventions
from dtb.api.fleet import simulate_twins as simulate_twins
from dtb.api.fleet import update_twins as update_twins
from dtb.api.run import run_pipeline as run_pipeline
from dtb.api.run import write_report as write_report
from dtb.api.twin import evaluate_twin as evaluate_twin
from dtb.api.twin import load_twin as load_twin
from dtb.api.twin import pool_evaluations as pool_evaluations
from dtb.api.twin import sweep_twins as sweep_twins
from dtb.api.twin import train_twin as train_twin
from dtb.config import (
    ClusterConfig as ClusterConfig,
)
from dtb.config import (
    Config as Config,
)
from dtb.config import (
    EvaluateConfig as EvaluateConfig,
)
from dtb.config import (
    FleetConfig as FleetConfig,
)
from dtb.config import (
    IngestConfig as IngestConfig,
)
from dtb.config import (
    InputConfig as InputConfig,
)
from dtb.config import (
    InterveneConfig as InterveneConfig,
)
from dtb.config import (
    PlanConfig as PlanConfig,
)
from dtb.config import (
    ReportConfig as ReportConfig,
)
from dtb.config import (
    SegmentConfig as SegmentConfig,
)
from dtb.config import (
    SimulateConfig as SimulateConfig,
)
from dtb.config import (
    SplitConfig as SplitConfig,
)
from dtb.config import (
    SynthConfig as SynthConfig,
)
from dtb.config import (
    TrackConfig as TrackConfig,
)
from dtb.config import (
    TrainConfig as TrainConfig,
)
from dtb.config import (
    TwinConfig as TwinConfig,
)
from dtb.config import (
    UpdateConfig as UpdateConfig,
)
from dtb.config import (
    load_config as load_config,
)
from dtb.results.cohort import IngestResult as IngestResult
from dtb.results.cohort import PlanResult as PlanResult
from dtb.results.cohort import SynthResult as SynthResult
from dtb.results.fleet import InterveneResult as InterveneResult
from dtb.results.fleet import SimulateResult as SimulateResult
from dtb.results.fleet import TrialResult as TrialResult
from dtb.results.fleet import UpdateResult as UpdateResult
from dtb.results.run import ReportResult as ReportResult
from dtb.results.run import RunResult as RunResult
from dtb.results.twin import EvaluateResult as EvaluateResult
from dtb.results.twin import PoolResult as PoolResult
from dtb.results.twin import SweepResult as SweepResult
from dtb.results.twin import TrainResult as TrainResult
from dtb.shards.read import Cohort as Cohort
from dtb.shards.read import open_cohort as open_cohort
from dtb.twin import (
    Batch as Batch,
)
from dtb.twin import (
    Fit as Fit,
)
from dtb.twin import (
    Latents as Latents,
)
from dtb.twin import (
    OwnData as OwnData,
)
from dtb.twin import (
    Posterior as Posterior,
)
from dtb.twin import (
    Twin as Twin,
)
from dtb.twin import (
    TwinSizes as TwinSizes,
)
from dtb.twin import (
    batch_from_arrays as batch_from_arrays,
)
from dtb.twin import (
    condition as condition,
)
from dtb.twin import (
    fit as fit,
)
from dtb.twin import (
    prior_of as prior_of,
)
from dtb.twin import (
    remaining as remaining,
)
from dtb.twin import (
    restricted as restricted,
)
from dtb.version import __version__ as __version__
