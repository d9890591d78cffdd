"""The baselines that `evaluate.retrained` may name: networks that are trained anew by the settings of the twin in question.

This file imports nothing heavy outside of functions, for the configuration looks at the names in its table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dtb.config import Config, sections
from dtb.kinds import Kinds

if TYPE_CHECKING:
    import numpy as np

    from dtb.people.records import SubjectRecord
    from dtb.shards.manifest import Manifest
    from dtb.twin.model import Twin

EdgesOf = Callable[["SubjectRecord"], "np.ndarray"]
"""Returns the edges (E,) that a network gets in place of a person's connectome."""


@dataclasses.dataclass(frozen=True)
class TrainingAnew:
    """What a network is trained anew from.

    Attributes
    ----------
    config : Config
        Of the evaluation.
    settings : Config
        Of the twin's training.
    shards : Path
        The cohort.
    train : function
        Trains, or goes on training, by settings, on shards or on a cohort that the function given writes (`write_control`); returns the
        twin.
    """

    config: Config
    settings: Config
    shards: Path
    train: Callable[[Config, Path | Callable[..., Manifest]], Twin]


@dataclasses.dataclass(frozen=True)
class RetrainedKind:
    """One kind of network that is trained anew.

    Attributes
    ----------
    name : str
        As `evaluate.retrained` names it.
    predictor : str
        Name of its entry in `dtb.evaluate.predictors.table.PREDICTORS`, under which its figures stand.
    words : str
        What it is, where the certificate says that it was not tested against.
    make : function
        Trains it; returns the network and the function from a person to its edges.
    needs_seen_people : bool
        Whether it can say something of people of the training only.
    """

    name: str
    predictor: str
    words: str
    make: Callable[[TrainingAnew], tuple[Twin, EdgesOf]]
    needs_seen_people: bool = False


def _additive(again: TrainingAnew) -> tuple[Twin, EdgesOf]:
    shared = dataclasses.replace(again.settings.twin, generation="additive")
    twin = again.train(dataclasses.replace(again.settings, twin=shared), again.shards)
    return twin, lambda record: record.connectome_E


def _codes(again: TrainingAnew) -> tuple[Twin, EdgesOf]:
    from dtb.evaluate.predictors.controls import with_code, write_control

    seed = again.config.seed
    coded = dataclasses.replace(sections(again.settings, "ingest"), seed=seed)
    twin = again.train(again.settings, partial(write_control, coded, again.shards, kind="codes"))
    return twin, lambda record: with_code(record, len(record.connectome_E), seed).connectome_E


RETRAINED: Kinds[RetrainedKind] = Kinds(
    "baseline to train anew",
    [
        RetrainedKind(
            name="additive",
            predictor="additive_input",
            words="one network for all people with the connectome as a further input",
            make=_additive,
        ),
        RetrainedKind(
            name="codes",
            predictor="subject_code",
            words="a code number in place of each connectome",
            make=_codes,
            needs_seen_people=True,
        ),
    ],
)
