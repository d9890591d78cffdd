"""What a twin is compared with: the table of predictors, their words, and how those are made that are fitted to training data.

The evaluation, the certificate, the report and the documentation read this table.

Shape letters: see `dtb.evaluate.scores.observed`; `E` edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from dtb.evaluate.predictors.baselines import always_correct, group_mean, of_regression, own_earlier
from dtb.evaluate.predictors.predictions import (
    Prediction,
    Summary,
    TrialPrediction,
    mean_over_people,
    no_maps,
    summary_of_prediction,
)
from dtb.evaluate.predictors.regressions import REGRESSIONS, Features, Regression, predict_people
from dtb.evaluate.scores.observed import People
from dtb.kinds import Kinds
from dtb.tasks.taskset import TaskSet


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """What a baseline is fitted to, and whom it is to predict.

    Attributes
    ----------
    training : People
        Training people and the part of their runs that was trained on.
    target : Summary
        What they did.
    people : People
        Whom to predict. Their trials' conditions and right answers, edges and covariates are used, never what they did.
    taskset : TaskSet
    seen : bool
        Whether `people` are among the training people, in another part of their data.
    """

    training: People
    target: Summary
    people: People
    taskset: TaskSet
    seen: bool

    @cached_property
    def features(self) -> Features:
        """What regressions see of people."""
        return Features(self.training, self.people)

    def of_trials(self, prediction: TrialPrediction, maps_STR: np.ndarray | None = None) -> Prediction:
        """Make a prediction of people from one of their trials, and from contrast maps if there are any."""
        maps_STR = no_maps(self.people) if maps_STR is None else maps_STR
        summary = summary_of_prediction(self.people.trials, prediction, len(self.people), self.taskset, maps_STR)
        return Prediction(summary, prediction)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Something that a twin is compared with.

    Attributes
    ----------
    name : str
        As tables and `figures.json` have it.
    words : str
        What it is, for sentences.
    short : str
        The same for headings; the name with spaces if not given.
    predict : function or None
        For a baseline that is fitted to training data: its prediction, or None where it cannot be made (too few people, nothing known).
    told : function or None
        For the twin given other connectomes: these (S, E), from people's own and the mean (E,) over training people.

    Predictors with neither are made elsewhere: networks that are trained anew (`dtb.evaluate.predictors.retrained_kinds`), and what a
    figure derives from the twin.
    """

    name: str
    words: str
    short: str = ""
    predict: Callable[[Given], Prediction | None] | None = None
    told: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    @property
    def heading(self) -> str:
        """What it is called where there is little room."""
        return self.short or self.name.replace("_", " ")


def _group_mean(given: Given) -> Prediction:
    maps_STR = np.broadcast_to(mean_over_people(given.target.maps_STR), given.people.maps_STR.shape)
    return given.of_trials(group_mean(given.training.trials, given.people.trials), maps_STR)


def _own_earlier(given: Given) -> Prediction | None:
    """Take the earlier part itself for the person as a whole: its mean reaction time, its accuracy, its map."""
    if not given.seen:
        return None
    training, people = given.training, given.people
    place = {who: row for row, who in enumerate(people.pseudonyms)}
    row_S = np.array([place.get(who, -1) for who in training.pseudonyms], np.int64)
    earlier = dataclasses.replace(training.trials, person_J=row_S[training.trials.person_J])
    rows = [training.pseudonyms.index(who) for who in people.pseudonyms]
    own = Summary(*(getattr(given.target, field.name)[rows] for field in dataclasses.fields(Summary)))
    return Prediction(own, own_earlier(earlier, people.trials))


def _regression(given: Given, regression: Regression) -> Prediction | None:
    prediction = predict_people(regression, given.features, given.target)
    if prediction is None:
        return None
    trials = of_regression(given.training.trials, given.people.trials, given.target, prediction.summary)
    return dataclasses.replace(prediction, trials=trials)


def _mean_connectome(edges_SE: np.ndarray, mean_E: np.ndarray) -> np.ndarray:
    return np.broadcast_to(mean_E, edges_SE.shape)


PREDICTORS: Kinds[Predictor] = Kinds(
    "predictor",
    [
        Predictor(
            "always_correct",
            "an agent that is always correct",
            predict=lambda given: given.of_trials(always_correct(given.people.trials)),
        ),
        Predictor("group_mean", "the group mean", predict=_group_mean),
        Predictor("own_earlier", "the person's own earlier part", "own earlier part", predict=_own_earlier),
        *(
            Predictor(one.name, one.words, one.short, predict=partial(_regression, regression=one))
            for one in REGRESSIONS
        ),
        Predictor("mean_connectome", "the same twin given the mean connectome", told=_mean_connectome),
        Predictor(
            "stranger_connectome",
            "the same twin given strangers' connectomes",
            "strangers' connectomes",
        ),
        Predictor("additive_input", "one network for all people, with the connectome as a further input"),
        Predictor("subject_code", "this twin trained with a code number in place of each connectome"),
        Predictor(
            "independent_errors", "somebody as often right as the twin, whose errors are independent of the person's"
        ),
    ],
)


def predictor_in_words(name: str) -> str:
    """Return what a predictor is; one that is not known here, as in a table that another installation wrote, is called by its name."""
    return PREDICTORS[name].words if name in PREDICTORS else name


def predictor_heading(name: str) -> str:
    """Return the same where there is little room."""
    return PREDICTORS[name].heading if name in PREDICTORS else name.replace("_", " ")


def baselines(
    training: People, target: Summary, people: People, taskset: TaskSet, *, seen: bool
) -> dict[str, Prediction]:
    """Make the predictions of every baseline that is fitted to training data; see `Given`."""
    given = Given(training, target, people, taskset, seen)
    found = {one.name: one.predict(given) for one in PREDICTORS if one.predict is not None}
    return {name: prediction for name, prediction in found.items() if prediction is not None}
