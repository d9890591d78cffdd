"""Baselines that are trained anew, by the settings of the twin in question and on Ray as that was.

Twins for which training people were dealt one another's connectomes: what they reach with held-out people's own is the distribution of a
figure under the hypothesis that connectomes say nothing of the people. A network that all people share, with the connectome as a further
input: what generated weights add. And a twin that gets a code number in place of each connectome: what can be gained
by recognising the people of the training.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dtb.config import Config, load_config, sections
from dtb.errors import ConfigurationError
from dtb.evaluate.inputs import EvaluationInputs
from dtb.evaluate.predictors.controls import write_control
from dtb.evaluate.predictors.predictions import Prediction
from dtb.evaluate.predictors.retrained_kinds import RETRAINED, EdgesOf, TrainingAnew
from dtb.evaluate.scores.evidence import Evidence
from dtb.evaluate.scores.figure import TWIN, Figure, beside_permuted
from dtb.evaluate.scores.figures import all_figures
from dtb.shards.manifest import Manifest
from dtb.stages import CONFIG_FILE, progress_of_stage
from dtb.twin.export import read_twin
from dtb.twin.model import Twin


def permuted_twins(
    config: Config, shards: Path, trained: Path, training_people: tuple[str, ...], out: Path
) -> Iterator[Twin]:
    """Train, or go on training, one twin for each permutation, and give each when it is done.

    Parameters
    ----------
    config : Config
        `seed`, `evaluate` and `cluster` are read; how to train is taken from `trained`.
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    training_people : tuple of str
        Among whom connectomes are dealt; everybody else keeps the own.
    out : Path
        Takes a folder for each permutation.

    Raises
    ------
    UserError
        The settings of the training cannot be read, or the cluster has no room for it.
    """
    settings = load_config(trained / CONFIG_FILE)
    with _cluster(config):
        for number in range(config.evaluate.num_permuted):
            dealt = dataclasses.replace(sections(settings, "ingest"), seed=config.seed + 1 + number)
            deal = partial(write_control, dealt, shards, kind="permuted", among=training_people)
            yield _trained_anew(config, settings, out / str(number), deal)


def require_possible(config: Config, task: EvaluationInputs) -> None:
    """Raise unless the baselines that are to be trained anew can be.

    Raises
    ------
    ConfigurationError
        Codes are asked for where people are tested who were not seen in training, or permuted connectomes where such are.
    """
    if config.evaluate.num_permuted and task.split.tests_seen_people:
        raise ConfigurationError(
            f"evaluate.num_permuted is {config.evaluate.num_permuted}, but this twin is tested on the people of its training. A twin that "
            "was trained on connectomes dealt among them would meet each of these as somebody else's, and do worse than one that knows "
            "nothing: what it reaches is no chance level. Leave it at 0 (for seen people there is evaluate.retrained: codes), or train "
            "with split.kind: subjects, sites or tasks."
        )
    needing = [name for name in config.evaluate.retrained if RETRAINED[name].needs_seen_people]
    if needing and not task.split.tests_seen_people:
        names = " and ".join(needing)
        raise ConfigurationError(
            f"evaluate.retrained names {names}, but this twin is tested on people whom training has not seen, of whom no code says "
            f"anything. Leave {names} out, or train with split.kind: temporal or runs."
        )


def retrained_baselines(config: Config, shards: Path, trained: Path, out: Path) -> Iterator[Retrained]:
    """Train, or go on training, each baseline that is a network, and give each when it is done; see `permuted_twins`."""
    settings = load_config(trained / CONFIG_FILE)
    with _cluster(config):
        for name in config.evaluate.retrained:
            kind = RETRAINED[name]
            train_anew = partial(_trained_anew_in, config, out / name)
            yield Retrained(kind.predictor, *kind.make(TrainingAnew(config, settings, shards, train_anew)))


class Retrained(NamedTuple):
    """A baseline that was trained anew.

    Attributes
    ----------
    name : str
    twin : Twin
    edges_of : function
        Returns the edges (E,) that it gets in place of a person's connectome.
    """

    name: str
    twin: Twin
    edges_of: EdgesOf


def _cluster(config: Config) -> AbstractContextManager[None]:
    # Ray is needed only here.
    from dtb.cluster.connection import connected

    return connected(config.cluster)


def _trained_anew_in(config: Config, out: Path, settings: Config, shards: Path | Callable[..., Manifest]) -> Twin:
    return _trained_anew(config, settings, out, shards)


def _trained_anew(config: Config, settings: Config, out: Path, shards: Path | Callable[..., Manifest]) -> Twin:
    """Train by `settings` on shards, or on a control cohort that is written for it and removed after it, unless that is done already."""
    # DeepSpeed is needed only here.
    from dtb.train.trainer import train

    control, again = out / "shards", out / "train"
    progress = progress_of_stage(again)
    if progress != "done":
        if not isinstance(shards, Path):
            shards(out=control, resume=control.exists())
        settings = dataclasses.replace(settings, cluster=config.cluster)
        train(settings, shards if isinstance(shards, Path) else control, again, resume=progress == "begun")
        # A control is as large as the real cohort; what is left to do needs the twin alone.
        shutil.rmtree(control, ignore_errors=True)
    return read_twin(again / "twin")[0]


def with_permuted(
    figures: list[Figure], evidence: Evidence, permuted: list[Prediction], alone: Prediction | None = None
) -> list[Figure]:
    """Put beside each figure what the retrained twins reach.

    Parameters
    ----------
    figures : list of Figure
        Made from `evidence`.
    evidence : Evidence
    permuted : list of Prediction
        What each retrained twin says of the same people.
    alone : Prediction, optional
        What the twin says without the other members of its ensemble, for the retrained ones have none; needed where there are members.
    """
    scores: dict[tuple[str, str], list[np.ndarray]] = {}
    for prediction in [evidence.predictions[TWIN] if alone is None else alone, *permuted]:
        again = dataclasses.replace(
            evidence,
            predictions={**evidence.predictions, TWIN: prediction},
            weights_BS=evidence.weights_BS[:1],
            from_rest_runs=None,
            strangers=None,
        )
        for figure in all_figures(again):
            scores.setdefault((figure.task, figure.metric), []).append(figure.scores[TWIN])
    found = []
    for figure in figures:
        mine_S, *theirs = scores.get((figure.task, figure.metric), [figure.scores[TWIN]])
        found.append(beside_permuted(figure, mine_S, theirs))
    return found
