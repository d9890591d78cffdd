"""Every option of the system: `schema` says what there is, `mappings` reads, writes and explains it."""

from dtb.config.cluster_sections import ClusterConfig, LaunchConfig, TrackConfig
from dtb.config.cohort_sections import IngestConfig, InputConfig, PlanConfig, SynthConfig
from dtb.config.fleet_sections import FleetConfig, InterveneConfig, ReportConfig, SimulateConfig, UpdateConfig
from dtb.config.mappings import config_hash, explain, from_mapping, plain_hash, quoted, read_yaml, to_plain, to_yaml
from dtb.config.schema import Config, load_config, sections
from dtb.config.section import Count, CountOrZero, Fraction, NonNegative, OpenFraction, Positive
from dtb.config.twin_sections import EvaluateConfig, SegmentConfig, SplitConfig, TrainConfig, TwinConfig

__all__ = [
    "ClusterConfig",
    "Config",
    "Count",
    "CountOrZero",
    "EvaluateConfig",
    "FleetConfig",
    "Fraction",
    "IngestConfig",
    "InputConfig",
    "InterveneConfig",
    "LaunchConfig",
    "NonNegative",
    "OpenFraction",
    "PlanConfig",
    "Positive",
    "ReportConfig",
    "SegmentConfig",
    "SimulateConfig",
    "SplitConfig",
    "SynthConfig",
    "TrackConfig",
    "TrainConfig",
    "TwinConfig",
    "UpdateConfig",
    "config_hash",
    "explain",
    "from_mapping",
    "load_config",
    "plain_hash",
    "quoted",
    "read_yaml",
    "sections",
    "to_plain",
    "to_yaml",
]
