"""A small cohort with an untrained twin, as the stages before would have left them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dtb.config import Config, SegmentConfig, TwinConfig
from dtb.people.records import Run, SubjectRecord
from dtb.shards.manifest import CohortDescription
from dtb.shards.split import Split
from dtb.shards.write import ShardWriter
from dtb.stages import OutputFolder
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials
from dtb.twin.export import TwinCard, save_twin
from dtb.twin.model import Twin
from dtb.twin.sizes import TwinSizes

TASKS = TaskSet((load_task("hammer"), load_task("stroop")))
REGIONS = tuple(f"region{number}" for number in range(10))
SEGMENTS = SegmentConfig(segment_seconds=20.0, burn_in_seconds=5.0)


def make_trials(rng: np.random.Generator, task: str, num_trials: int = 8) -> Trials:
    spec = TASKS.specs[TASKS.index(task)]
    onset_J = 1.0 + 4.0 * np.arange(num_trials)
    alternatives = np.eye(len(spec.alternatives), dtype=bool)
    response_JA = alternatives[rng.integers(len(alternatives), size=num_trials)]
    rt_J = rng.uniform(0.3, 1.5, num_trials)
    rt_J[0], response_JA[0] = np.nan, False
    return Trials(
        onset_seconds_J=onset_J,
        window_seconds_J=np.full(num_trials, 2.0),
        rt_seconds_J=rt_J,
        response_JA=response_JA,
        correct_JA=alternatives[rng.integers(len(alternatives), size=num_trials)],
        scored_J=np.ones(num_trials, bool),
        usable_J=np.ones(num_trials, bool),
        condition_J=(np.arange(num_trials) % 2).astype(np.int16),
        pulse_channel_Q=rng.integers(0, len(spec.channels), num_trials).astype(np.int16),
        pulse_onset_seconds_Q=onset_J,
        pulse_duration_seconds_Q=np.full(num_trials, 1.0),
        pulse_value_Q=rng.random(num_trials).astype(np.float32),
    )


def make_person(number: int, volumes: int = 40, absent: int | None = None) -> SubjectRecord:
    rng = np.random.default_rng(number)
    connectome_RR = np.corrcoef(rng.normal(size=(60, len(REGIONS))), rowvar=False)
    if absent is not None:
        connectome_RR[absent] = connectome_RR[:, absent] = np.nan
    edges_E = np.arctanh(connectome_RR[np.triu_indices(len(REGIONS), 1)]).astype(np.float32)
    runs = []
    for task in ("hammer", "stroop"):
        bold_VR = rng.normal(size=(volumes, len(REGIONS))).astype(np.float32) if volumes else None
        runs.append(Run(task, f"{task}AP", None, None, make_trials(rng, task), 40.0, bold_VR, 1.0 if volumes else None))
    return SubjectRecord(f"p{number:04d}", edges_E, {"site": "one"}, tuple(runs))


def make_world(
    folder: Path, num_people: int = 5, volumes: int = 40, kind: str = "pearson", **twin: object
) -> tuple[Path, Path]:
    """Write SHARDS and TRAINED below `folder`, and give both paths."""
    shards, trained = folder / "shards", folder / "trained"
    claimed = OutputFolder.claim(shards, "ingest", Config(), resume=False)
    writer = ShardWriter(shards, 4)
    for number in range(num_people):
        writer.add(make_person(number, volumes, absent=3 if number == 1 else None))
    connectome = {"kind": kind, "scale": "fisher_z"}
    manifest = writer.finish(CohortDescription(REGIONS, TASKS.to_plain(), connectome, "0" * 64))
    claimed.finish({})
    claimed = OutputFolder.claim(trained, "train", Config(), resume=False)
    bold_regions = REGIONS[:4] if volumes else ()
    config = TwinConfig(num_hidden=8, rank=2, connectome_components=0, encoder_widths=(12,), latent_size=4, **twin)  # type: ignore[arg-type]
    sizes = TwinSizes(len(REGIONS), TASKS.num_channels, TASKS.num_alternatives, len(bold_regions))
    torch.manual_seed(0)
    model = Twin(config, sizes)
    with torch.no_grad():
        # An untrained twin hardly depends on the connectome; a search needs something to find.
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    split = Split("subjects", *(tuple(manifest.pseudonyms),) * 3)
    split.save(trained / "split.json", manifest.cohort_hash)
    card = TwinCard(
        config=config,
        sizes=sizes,
        taskset=TASKS.to_plain(),
        region_names=REGIONS,
        bold_region_names=bold_regions,
        connectome=connectome,
        cohort_hash=manifest.cohort_hash,
        split_hash=split.split_hash,
        seed=0,
        segments=SEGMENTS,
    )
    save_twin(trained / "twin", model, card)
    claimed.finish({})
    return shards, trained
