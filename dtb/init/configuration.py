"""The configuration of a data set as a commented YAML file, and what is missing before it can be run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dtb.cohort.layouts.table import LAYOUTS
from dtb.config import IngestConfig
from dtb.init.survey import Survey

FEWEST_FOR_STRANGERS = 40
"""People with whom others can be held out: with fewer, too few are left to learn from and to test."""
_SMALL: dict[str, dict[str, Any]] = {
    "twin": {"num_hidden": 32, "rank": 2, "latent_size": 4, "encoder_widths": [16], "connectome_dropout": 0.3},
    "train": {"batch_size": 8, "learning_rate": 0.005, "weight_decay": 0.1, "max_steps": 400, "patience_steps": 60},
}
_LARGE: dict[str, dict[str, Any]] = {
    "twin": {"num_hidden": 32, "rank": 3, "latent_size": 8, "encoder_widths": [32], "connectome_dropout": 0.0},
    "train": {"learning_rate": 0.006, "weight_decay": 0.1},
}


@dataclasses.dataclass(frozen=True)
class Answers:
    """What was answered, or taken from the tree.

    Attributes
    ----------
    name : str
    tasks : tuple of str
        Names of shipped specifications and paths of others.
    rest_task : str
    held_out : {"people", "later"}
    """

    name: str
    tasks: tuple[str, ...]
    rest_task: str
    held_out: str


def values_of(survey: Survey, answers: Answers) -> dict[str, dict[str, Any] | str]:
    """Return the sections of a configuration."""
    sizes = _SMALL if survey.people < FEWEST_FOR_STRANGERS else _LARGE
    ingest: dict[str, Any] = {"tasks": list(answers.tasks)}
    if answers.rest_task != "rest":
        ingest["rest_task"] = answers.rest_task
    if survey.layout and not survey.matrices:
        ingest["layout"] = survey.layout
    if survey.features:
        ingest["halfpipe_feature"] = feature_of(survey)
    if len(survey.parcellations) > 1:
        ingest["parcellation"] = survey.parcellations[0]
    if len(survey.spaces) > 1:
        ingest["space"] = survey.spaces[0]
    if survey.matrices:
        are_correlations = any("pearson" in name.lower() for name in survey.matrices)
        ingest |= {"connectome": "precomputed", "matrix_transform": "fisher_z" if are_correlations else "log1p"}
    has_bold = has_task_bold(survey)
    return {
        "name": answers.name,
        "input": {"bids": str(survey.bids), "derivatives": [str(root) for root in survey.derivatives]},
        "ingest": ingest,
        "segments": {} if has_bold else {"burn_in_seconds": 8},
        "split": {"kind": "subjects" if answers.held_out == "people" else "temporal"},
        "twin": sizes["twin"],
        "train": sizes["train"] | ({} if has_bold else {"bold_weight": 0}),
    }


def feature_of(survey: Survey) -> str:
    """Return which of HALFpipe's features to read: the usual one if it is there."""
    usual = IngestConfig().halfpipe_feature
    return usual if usual in survey.features else survey.features[0]


def has_task_bold(survey: Survey) -> bool:
    """Return whether there are series of runs with events."""
    return any(label in survey.series for label in survey.events)


def what_is_missing(survey: Survey) -> list[str]:
    """Return what keeps the configuration from being run, or what would be better, each with what to do."""
    missing = []
    if not survey.events:
        missing.append(
            f"Events: no *_task-*_events.tsv in {survey.bids}. A twin learns from them; exports become them with `dtb task draft`."
        )
    if not survey.derivatives:
        looked = f" ({', '.join(map(str, survey.unused))} hold none)" if survey.unused else ""
        missing.append(
            f"Rest: no derivative tree with series or connectivity matrices{looked}. Run XCP-D, HALFpipe or fMRIPrep, and give the folder "
            "with --derivatives."
        )
    layout = LAYOUTS[survey.layout] if survey.layout and not survey.matrices else None
    if layout is not None and layout.needs_atlas:
        missing.append(
            "Atlas: images are averaged over the parcels of one. Give its path as `atlas` in the section `ingest`."
        )
    if layout is not None and layout.needs_region_table and not survey.has_atlas_names:
        missing.append(
            f"Names of regions: series of the layout {layout.name} have none. Give a table of them as `region_labels` in the section "
            "`ingest`."
        )
    return missing


def remarks(survey: Survey) -> list[str]:
    """Return what was chosen and could be otherwise."""
    said = []
    if survey.rest_label != "rest" and survey.derivatives and not survey.matrices:
        said.append(f"No run is called rest: {survey.rest_label} stands for it (`ingest.rest_task`).")
    several = [("parcellations", "parcellation", survey.parcellations), ("spaces", "space", survey.spaces)]
    chosen = [(what, key, values, values[0]) for what, key, values in several if len(values) > 1]
    if len(survey.features) > 1:
        chosen.append(("HALFpipe features", "halfpipe_feature", survey.features, feature_of(survey)))
    for what, key, values, choice in chosen:
        said.append(f"Several {what}: {', '.join(values)}; `ingest.{key}` chooses {choice}.")
    if survey.derivatives and not has_task_bold(survey):
        said.append("No series of the task runs: the twin learns choices and reaction times, and no BOLD.")
    if survey.people < FEWEST_FOR_STRANGERS:
        said.append(
            f"{survey.people} people are few: the later part of each run is held out, and nothing can be claimed about differences between "
            "people (docs/certificate.md)."
        )
    if not survey.has_participants:
        said.append("No participants.tsv: age, sex and site are unknown, and cannot be taken out of figures.")
    return said


def to_yaml(values: dict[str, dict[str, Any] | str], missing: Sequence[str]) -> str:
    """Return the text of the configuration's file."""
    lines = [
        "# Written by `dtb init`. `dtb run --print-config` shows every setting; docs/your-data.md explains them.",
        "#",
        "#   dtb run THIS_FILE",
    ]
    lines += ["#", "# Missing:", *(f"#   {text}" for text in missing)] if missing else []
    for section, content in values.items():
        if not content:
            continue
        lines += ["", f"{section}: {_scalar(content)}"] if isinstance(content, str) else ["", f"{section}:"]
        if isinstance(content, dict):
            lines += [f"  {key}: {_scalar(value)}" for key, value in content.items()]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.strip().removesuffix("\n...")


def name_of(bids: Path) -> str:
    """Return what to call the work: the folder's name, or that of the one above if it is called as all raw trees are."""
    folder = bids.resolve()
    name = folder.parent.name if folder.name.lower() in ("bids", "rawdata", "raw", "data") else folder.name
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name) or "study"
