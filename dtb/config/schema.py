"""Every option of the system, its default, its unit and what it may be: one frozen dataclass a stage, and the only place with defaults.

Values are checked on construction (pydantic), unknown keys are refused with the nearest known one, and `config_hash` names a
configuration by its content, so that an output folder can tell which settings wrote it. The sections stand in files of their own, by
stage; the text under each field is what ``dtb <stage> --help`` prints.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pydantic.dataclasses import dataclass

from dtb.config.cluster_sections import ClusterConfig, LaunchConfig, TrackConfig
from dtb.config.cohort_sections import IngestConfig, InputConfig, PlanConfig, SynthConfig
from dtb.config.fleet_sections import FleetConfig, InterveneConfig, ReportConfig, SimulateConfig, UpdateConfig
from dtb.config.mappings import from_mapping, read_yaml
from dtb.config.section import STRICT_AND_HIDDEN, CountOrZero, Section
from dtb.config.twin_sections import EvaluateConfig, SegmentConfig, SplitConfig, TrainConfig, TwinConfig


@dataclass(frozen=True, kw_only=True, config=STRICT_AND_HIDDEN)
class Config(Section):
    """All sections; a YAML file holds any part of it."""

    name: str = "dtb"
    """What the work is called in the report and in W&B."""
    seed: CountOrZero = 0
    """Seed of everything random."""
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    synth: SynthConfig = dataclasses.field(default_factory=SynthConfig)
    ingest: IngestConfig = dataclasses.field(default_factory=IngestConfig)
    segments: SegmentConfig = dataclasses.field(default_factory=SegmentConfig)
    twin: TwinConfig = dataclasses.field(default_factory=TwinConfig)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)
    update: UpdateConfig = dataclasses.field(default_factory=UpdateConfig)
    simulate: SimulateConfig = dataclasses.field(default_factory=SimulateConfig)
    intervene: InterveneConfig = dataclasses.field(default_factory=InterveneConfig)
    fleet: FleetConfig = dataclasses.field(default_factory=FleetConfig)
    report: ReportConfig = dataclasses.field(default_factory=ReportConfig)
    plan: PlanConfig = dataclasses.field(default_factory=PlanConfig)
    cluster: ClusterConfig = dataclasses.field(default_factory=ClusterConfig)
    launch: LaunchConfig = dataclasses.field(default_factory=LaunchConfig)
    track: TrackConfig = dataclasses.field(default_factory=TrackConfig)


def load_config(path: Path) -> Config:
    """Read a YAML configuration file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigurationError
        The file is absent, is not YAML, or has unknown keys or values that are not allowed.
    """
    values = read_yaml(path, "--config expects a YAML file such as configs/demo.yaml")
    return from_mapping(Config, {} if values is None else values, str(path))


def sections(config: Config, *names: str) -> Config:
    """Return a configuration with the named sections kept and all others at their defaults, so that its hash depends on those alone.

    Parameters
    ----------
    config : Config
    *names : str

    Examples
    --------
    >>> kept = sections(Config(seed=3, name="mine"), "seed")
    >>> kept.seed, kept.name
    (3, 'dtb')
    """
    return Config(**{name: getattr(config, name) for name in names})
