"""What a twin is compared with: the table of predictors, their words, and how those are made that are fitted to training data.

The evaluation, the certificate, the report and the documentation read this table.

Shape letters: see `dtb.evaluate.scores.observed`; `E` edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property, partial

import numpy as np

from dtb.evaluate.predictors.baselines import always_correct, group_mean, of_regression, own_earlier
from dtb.evaluate.predictors.fitting import Fitted, fitted, from_columns, inner_folds, stacked, to_columns
from dtb.evaluate.predictors.predictions import (
    Prediction,
    Summary,
    TrialPrediction,
    joined,
    mean_over_people,
    no_maps,
    summary_of_prediction,
)
from dtb.evaluate.predictors.reaction_times import log_location_scale, log_speeds
from dtb.evaluate.predictors.regressions import REGRESSIONS
from dtb.evaluate.scores.figure import BLEND
from dtb.evaluate.scores.observed import People
from dtb.kinds import Kinds
from dtb.tasks.taskset import TaskSet

STACK = "stack"
PICKED_IN_FOLDS = "picked_in_folds"


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
    fold_S : (S,) int
        Folds of training people; who is in one is predicted from those in others.
    parts : dict of str to Fitted, optional
        What each regression says, where that is known already.
    """

    training: People
    target: Summary
    people: People
    taskset: TaskSet
    seen: bool
    fold_S: np.ndarray
    parts: Mapping[str, Fitted] | None = None

    @cached_property
    def columns_SY(self) -> np.ndarray:
        """What regressions are fitted to, of training people."""
        speeds = log_speeds(self.training.trials, len(self.training), len(self.taskset.specs))
        return to_columns(self.target, speeds)

    @cached_property
    def regressions(self) -> dict[str, Fitted]:
        """What each regression says, and the stack of all."""
        parts = self.parts or fitted(self.training, self.people, self.columns_SY, self.fold_S)
        stack = stacked(parts, self.columns_SY, self.fold_S)
        return dict(parts) if stack is None else {**parts, STACK: stack}

    @cached_property
    def predictions(self) -> dict[str, Prediction]:
        """What every baseline says that can be made."""
        found = {one.name: one.predict(self) for one in PREDICTORS if one.predict is not None}
        return {name: prediction for name, prediction in found.items() if prediction is not None}

    def of_fold(self, fold: int) -> Given:
        """Return the training people of a fold as those to predict, and the others as training people."""
        rest_S, others_S = self.fold_S == fold, self.fold_S != fold
        parts = {
            name: Fitted(one.left_out_SY[rest_S], one.left_out_SY[others_S])
            for name, one in self.regressions.items()
            if name != STACK
        }
        training, people = self.training.only(others_S), self.training.only(rest_S)
        target = Summary(*(getattr(self.target, field.name)[others_S] for field in dataclasses.fields(Summary)))
        return Given(training, target, people, self.taskset, False, self.fold_S[others_S], parts)

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
    edges_of : function or None
        For the twin given other connectomes: these (S, E), from people's own and the mean (E,) over training people.

    Predictors with neither are made elsewhere: networks that are trained anew (`dtb.evaluate.predictors.retrained_kinds`), and what a
    figure derives from the twin.
    """

    name: str
    words: str
    short: str = ""
    predict: Callable[[Given], Prediction | None] | None = None
    edges_of: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

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


def _regression(given: Given, name: str) -> Prediction | None:
    """Take people from a regression, and trials from the group mean, with each person's own accuracy, speed and evenness."""
    if name not in given.regressions:
        return None
    one, shape = given.regressions[name], given.target.maps_STR.shape[1:]
    (said, speeds), (_, left_out) = (from_columns(values, *shape) for values in (one.said_QY, one.left_out_SY))
    training, trials = given.training.trials, given.people.trials
    shifted = of_regression(training, trials, given.target, said)
    assert shifted.rt_quantiles_JQ is not None
    mean_rt_J, crps_J, quantiles_JQ = log_location_scale(training, left_out, trials, speeds)
    # Where people have too few presses for a scale, they are the group, made slower or faster.
    known_J = np.isfinite(mean_rt_J)
    found = TrialPrediction(
        shifted.outcome_JO,
        np.where(known_J, mean_rt_J, shifted.mean_rt_J),
        np.where(known_J, crps_J, shifted.crps_J),
        np.where(known_J[:, None], quantiles_JQ, shifted.rt_quantiles_JQ),
    )
    return Prediction(said, found)


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
            Predictor(one.name, one.words, one.short, predict=partial(_regression, name=one.name))
            for one in REGRESSIONS
        ),
        Predictor(STACK, "the stack of all regressions", "all regressions", predict=partial(_regression, name=STACK)),
        Predictor(BLEND, "the stack of all regressions, moved towards the twin as far as validation people ask for"),
        Predictor("mean_connectome", "the same twin given the mean connectome", edges_of=_mean_connectome),
        Predictor(
            "stranger_connectome",
            "the same twin given strangers' connectomes",
            "strangers' connectomes",
        ),
        Predictor("additive_input", "one network for all people, with the connectome as a further input"),
        Predictor("subject_code", "this twin trained with a code number in place of each connectome"),
        Predictor(PICKED_IN_FOLDS, "the baseline that each fold's training people picked", "picked in each fold"),
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
    return given_of(training, target, people, taskset, seen=seen).predictions


def given_of(training: People, target: Summary, people: People, taskset: TaskSet, *, seen: bool) -> Given:
    """Lay ready what baselines are fitted to, with folds of training people; see `Given`."""
    return Given(training, target, people, taskset, seen, inner_folds(training))


def left_out_predictions(given: Given) -> dict[str, Prediction]:
    """Predict training people with every baseline, each fold from the people outside of it.

    The weights of the stack, and the spread of reaction times about what a regression says, are learnt from people outside of the fold as
    well, but from what fits said of them that had left out those in their own fold only.

    Returns
    -------
    dict of str to Prediction
        Of all training people, by name; without baselines that cannot be made in every fold.
    """
    folds = np.unique(given.fold_S)
    if len(folds) < 2:
        return {}
    found = [given.of_fold(fold).predictions for fold in folds]
    row_S = np.concatenate([np.flatnonzero(given.fold_S == fold) for fold in folds])
    fold_J = given.fold_S[given.training.trials.person_J]
    row_J = np.concatenate([np.flatnonzero(fold_J == fold) for fold in folds])
    in_all = [name for name in found[0] if all(name in some for some in found)]
    return {name: joined([some[name] for some in found], row_S, row_J) for name in in_all}
