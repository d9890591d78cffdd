"""A cohort of eight small people who perform a task, and settings with which a training takes seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dtb.config import ClusterConfig, Config, SegmentConfig, SplitConfig, TrackConfig, TrainConfig, TwinConfig
from dtb.stages import OutputFolder
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from tests.shards.people import DESCRIPTION, write_people


def write_cohort(
    folder: Path,
    num_people: int = 8,
    connectome: dict[str, str] = DESCRIPTION.connectome,
    regions: tuple[str, ...] = DESCRIPTION.regions,
    **kwargs,
) -> Path:
    stage = OutputFolder.claim(folder, "ingest", Config(), resume=False)
    taskset = TaskSet((load_task("hammer"),)).to_plain()
    write_people(
        folder,
        num_people,
        task="hammer",
        description=dataclasses.replace(DESCRIPTION, taskset=taskset, connectome=connectome, regions=regions),
        **kwargs,
    )
    stage.finish({})
    return folder


def small_config(**train) -> Config:
    values = {
        "num_workers": 1,
        "batch_size": 4,
        "max_epochs": 3,
        "checkpoint_every_epochs": 1,
        "max_failures": 0,
    } | train
    return Config(
        segments=SegmentConfig(segment_seconds=20, burn_in_seconds=4),
        twin=TwinConfig(num_hidden=8, encoder_widths=(12,), latent_size=4, rank=2, step_seconds=0.2),
        split=SplitConfig(num_folds=4, validation_fraction=0.3),
        train=TrainConfig(**values),
        cluster=ClusterConfig(num_cpus=2),
        track=TrackConfig(wandb="off"),
    )


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort") / "shards")
