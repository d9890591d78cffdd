"""Kinds that this package does not have, added from a file of their own: for `tests/test_kinds.py`, and as an example.

Importing this file adds them; every process of a run does so where `DTB_KINDS` names it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy import stats

from dtb.cohort.layouts.halfpipe import HALFPIPE
from dtb.cohort.layouts.layout import SeriesPath, Values
from dtb.cohort.layouts.table import LAYOUTS
from dtb.cohort.layouts.xcpd import XCPD
from dtb.config import IngestConfig
from dtb.evaluate.predictors.predictions import Prediction, TrialPrediction
from dtb.evaluate.predictors.retrained_kinds import RETRAINED, EdgesOf, RetrainedKind, TrainingAnew
from dtb.evaluate.predictors.table import PREDICTORS, Given, Predictor
from dtb.intervene.arms import ARMS, Arm
from dtb.intervene.kinds import INDICATORS, Indicator, IndicatorKind
from dtb.intervene.measures import Observed
from dtb.people.connectome_kinds import CONNECTOMES, ConnectomeKind
from dtb.people.covariates import COVARIATES, Covariate
from dtb.twin.export import read_twin
from dtb.twin.model import Twin

NAME = "tests.toy_kinds"
COPIED: list[Path] = []
"""Where the network lies that the toy baseline takes in place of training one."""


def _pressed(did: Observed, _one: Indicator):
    return did.mean(did.used_J, did.shown.batch.trials.response_JA.any(-1).double())


PRESS_SHARE = IndicatorKind(
    name="press_share",
    words="share of trials with a press",
    unit="probability",
    explanation="Probability that anything is pressed, over all trials.",
    weights=lambda shown: shown.mean(shown.of_task_J),
    simulated=lambda does, _one: does.weighted(1.0 - does.presses.omission_probability_J()),
    observed=_pressed,
    is_watched=True,
)
SPEARMAN = ConnectomeKind(
    name="spearman",
    words="Spearman's correlations between the rest signals of regions",
    quantity="rank correlation",
    is_correlation=True,
    estimate=lambda known_VR: np.corrcoef(stats.rankdata(known_VR, axis=0), rowvar=False),
)


def _coin(given: Given) -> Prediction:
    possible_JO = given.people.trials.possible_JO
    outcome_JO = possible_JO / possible_JO.sum(axis=1, keepdims=True)
    nothing = TrialPrediction.none_for(given.people.trials)
    return given.of_trials(TrialPrediction(outcome_JO, nothing.mean_rt_J, nothing.crps_J))


COIN = Predictor("coin", "somebody who throws a coin", predict=_coin)
COPY = Predictor("copied_network", "a network that somebody else trained")


def _copy(_again: TrainingAnew) -> tuple[Twin, EdgesOf]:
    return read_twin(COPIED[-1])[0], lambda record: record.connectome_E


COPYING = RetrainedKind("copy", COPY.name, "a network that somebody else trained", _copy)


def _doubled(file: SeriesPath, regions: tuple[str, ...], derivatives: tuple[Path, ...], config: IngestConfig) -> Values:
    return Values(2.0 * XCPD.read(file, regions, derivatives, config).values_VR)


DOUBLED = dataclasses.replace(XCPD, name="doubled", words="series of XCP-D, doubled", read=_doubled)
LISTS = dataclasses.replace(
    HALFPIPE,
    name="lists",
    words="series in comma-separated lists",
    matches=lambda name, _config: (name.suffix, name.extension) == ("timeseries", ".csv"),
    has_features=False,
)
HANDEDNESS = Covariate(
    "handedness",
    "handedness",
    is_number=False,
    columns=("handedness", "hand"),
    other_columns=("händigkeit",),
    spellings={"l": "left", "links": "left"},
)
SCHOOLING = Covariate("schooling", "years at school", is_number=True, columns=("schooling",), is_in_years=True)

BACKWARDS = Arm(
    "backwards", "the direction that harms the population", lambda given: -ARMS["population"].direction(given)
)

TOYS = (
    (ARMS, BACKWARDS),
    (INDICATORS, PRESS_SHARE),
    (CONNECTOMES, SPEARMAN),
    (LAYOUTS, LISTS),
    (LAYOUTS, DOUBLED),
    (PREDICTORS, COIN),
    (PREDICTORS, COPY),
    (RETRAINED, COPYING),
    (COVARIATES, HANDEDNESS),
    (COVARIATES, SCHOOLING),
)
for _table, _kind in TOYS:
    _table.add(_kind)  # type: ignore[attr-defined]
