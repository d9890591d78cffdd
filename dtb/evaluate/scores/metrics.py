"""Metrics of predictions: scores of single trials and of single people.

Every score is a plain function of arrays; what is said over people, with its interval, is in `dtb.evaluate.scores.statistics`.

Shape letters: `J` trial, `O` outcome of a trial (each response alternative, and last no press), `A` response alternative,
`W` step within the response window, `S` subject, `R` region or other feature, `M` member of a sample.
"""

from __future__ import annotations

import numpy as np

SMALLEST_PROBABILITY = 1e-6
"""Probabilities are not taken to be smaller in a log-loss, so that one trial cannot outweigh all others."""


def choice_log_loss(outcome_JO: np.ndarray, happened_JO: np.ndarray) -> np.ndarray:
    """Return minus the log probability (nats) of the observed outcomes.

    Parameters
    ----------
    outcome_JO : (J, O) float
        Predicted probabilities; rows of NaN where nothing is predicted.
    happened_JO : (J, O) bool
        Outcomes that agree with what was seen: one, or several where the press is known but not which.

    Returns
    -------
    (J,) float
    """
    probability_J = np.where(happened_JO, outcome_JO, 0.0).sum(axis=1)
    predicted_J = np.isfinite(outcome_JO).all(axis=1) & happened_JO.any(axis=1)
    return np.where(predicted_J, -np.log(np.clip(probability_J, SMALLEST_PROBABILITY, 1.0)), np.nan)


def agreement(outcome_JO: np.ndarray, happened_JO: np.ndarray) -> np.ndarray:
    """Return whether the likeliest outcome was observed: 1, 0, or a share if several are likeliest; NaN without a prediction."""
    predicted_J = np.isfinite(outcome_JO).all(axis=1) & happened_JO.any(axis=1)
    likeliest_JO = likeliest(outcome_JO)
    share_J = (likeliest_JO & happened_JO).sum(axis=1) / likeliest_JO.sum(axis=1)
    return np.where(predicted_J, share_J, np.nan)


def chance_agreement(happened_JO: np.ndarray, num_alternatives_J: np.ndarray, group_J: np.ndarray) -> np.ndarray:
    """Return the agreement of a guess among the task's alternatives: what `accuracy above chance` is measured from.

    A trial without a press counts 0: a guesser always presses. With one alternative there is nothing to guess but whether to press: then a
    guesser presses as often as the person does, in trials that are drawn at random.

    Parameters
    ----------
    happened_JO : (J, O) bool
    num_alternatives_J : (J,) int
    group_J : (J,) int
        Which trials are of one person and task.

    Examples
    --------
    >>> press = np.array([[True, False]] * 9 + [[False, True]])
    >>> round(float(chance_agreement(press, np.ones(10), np.zeros(10, int)).mean()), 3)  # .9 * .9 + .1 * .1
    0.82
    """
    pressed_J = happened_JO[:, :-1].any(axis=1)
    share_G = np.bincount(group_J, pressed_J) / np.maximum(np.bincount(group_J), 1)
    as_often_J = np.where(pressed_J, share_G[group_J], 1 - share_G[group_J])
    return np.where(num_alternatives_J == 1, as_often_J, happened_JO[:, :-1].sum(axis=1) / num_alternatives_J)


def agreement_if_independent(
    said_JO: np.ndarray, happened_JO: np.ndarray, correct_JO: np.ndarray, possible_JO: np.ndarray
) -> float:
    """Return the expected agreement of a predictor and a person with their accuracies but independent errors.

    For p and q the shares in which predictor and person are right, and A alternatives of which one is right, it is
    ``p q + (1 - p) (1 - q) / (A - 1)``; where both leave a trial out, they agree too. An agreement above it says that errors are foreseen.

    Parameters
    ----------
    said_JO, happened_JO, correct_JO, possible_JO : (J, O) bool
        The likeliest outcomes, what happened, what is right and what the task has, in trials with a right answer.

    Returns
    -------
    float
        NaN without a trial.

    Examples
    --------
    >>> right_JO, possible_JO = np.tile([True, False, False], (100, 1)), np.ones((100, 3), bool)
    >>> wrong_JO = np.tile([False, True, False], (100, 1))
    >>> said_JO = np.where(np.arange(100)[:, None] < 80, right_JO, wrong_JO)
    >>> happened_JO = np.where(np.arange(100)[:, None] < 90, right_JO, wrong_JO)
    >>> round(agreement_if_independent(said_JO, happened_JO, right_JO, possible_JO), 9)  # 0.8 * 0.9 + 0.2 * 0.1
    0.74
    """
    last_O = np.arange(possible_JO.shape[1]) == possible_JO.shape[1] - 1
    wrong_JO = possible_JO & ~correct_JO
    classes_CJO = np.stack([correct_JO, wrong_JO & ~last_O, wrong_JO & last_O])
    size_CJ = np.maximum(classes_CJO.sum(axis=2), 1)

    def share(outcomes_JO: np.ndarray) -> np.ndarray:
        return np.asarray((classes_CJO & outcomes_JO).sum(axis=2) / np.maximum(outcomes_JO.sum(axis=1), 1))

    # Trials in which withholding is right and those in which a press is have errors of their own.
    total, withhold_J = 0.0, correct_JO[:, -1]
    for kind_J in (withhold_J, ~withhold_J):
        if kind_J.any():
            said_C, did_C = share(said_JO)[:, kind_J].mean(axis=1), share(happened_JO)[:, kind_J].mean(axis=1)
            total += float((said_C * did_C / size_CJ[:, kind_J].mean(axis=1)).sum() * kind_J.sum())
    return total / len(withhold_J) if len(withhold_J) else float("nan")


def likeliest(outcome_JO: np.ndarray) -> np.ndarray:
    """Return which outcomes (J, O) are likeliest: one, or several that are equally so; all where nothing is predicted."""
    filled_JO = np.where(np.isfinite(outcome_JO).all(axis=1, keepdims=True), outcome_JO, 0.0)
    return np.asarray(filled_JO >= filled_JO.max(axis=1, keepdims=True) - 1e-12)


def crps_of_hazard(hazard_JW: np.ndarray, width_seconds_JW: np.ndarray, rt_seconds_J: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of a press-time distribution, given a press.

    With F the distribution function of the reaction time given a press in the window, CRPS = integral (F(t) - [t >= rt])^2 dt over the
    window (Gneiting & Raftery 2007, JASA, eq. 20). The hazard is constant within each step, so every step's integral has a closed form.

    Parameters
    ----------
    hazard_JW : (J, W) float
        Total hazard per second in each step of the window, over alternatives.
    width_seconds_JW : (J, W) float
        How much of each step lies in the window.
    rt_seconds_J : (J,) float
        Observed reaction time from the window's beginning; NaN without a press.

    Returns
    -------
    (J,) float
        In seconds; NaN without a press. For a prediction that is certain it is the absolute error.
    """
    hazard_JW = np.asarray(hazard_JW, dtype=np.float64)
    width_seconds_JW = np.asarray(width_seconds_JW, dtype=np.float64)
    end_JW = np.cumsum(width_seconds_JW, axis=1)
    begin_JW = end_JW - width_seconds_JW
    spent_JW = np.cumsum(hazard_JW * width_seconds_JW, axis=1)
    survival_JW = np.exp(-(spent_JW - hazard_JW * width_seconds_JW))
    pressed_J = np.maximum(-np.expm1(-spent_JW[:, -1]), 1e-12)[:, None]
    rt_J1 = np.where(np.isfinite(rt_seconds_J), rt_seconds_J, 0.0)[:, None]
    before_JW = np.clip(rt_J1 - begin_JW, 0.0, width_seconds_JW)
    # F(t) = (1 - survival * exp(-hazard (t - begin))) / pressed; before the press its square counts, after it that of F - 1.
    early_JW = _squared_integral(1 / pressed_J, survival_JW / pressed_J, hazard_JW, before_JW)
    survival_at_rt_JW = survival_JW * np.exp(-hazard_JW * before_JW)
    late_JW = _squared_integral(
        1 / pressed_J - 1, survival_at_rt_JW / pressed_J, hazard_JW, width_seconds_JW - before_JW
    )
    # A press after the window's end (a rounding of the events file) adds the time that F spends at 1 before it.
    beyond_J = np.maximum(rt_J1[:, 0] - end_JW[:, -1], 0.0)
    return np.where(np.isfinite(rt_seconds_J), (early_JW + late_JW).sum(axis=1) + beyond_J, np.nan)


def _squared_integral(
    level_J1: np.ndarray, amplitude_JW: np.ndarray, rate_JW: np.ndarray, length_JW: np.ndarray
) -> np.ndarray:
    """Return the integral of (level - amplitude * exp(-rate t))^2 over t from 0 to length."""
    once_JW, twice_JW = _decay_integral(rate_JW, length_JW), _decay_integral(2 * rate_JW, length_JW)
    return level_J1**2 * length_JW - 2 * level_J1 * amplitude_JW * once_JW + amplitude_JW**2 * twice_JW


def _decay_integral(rate_JW: np.ndarray, length_JW: np.ndarray) -> np.ndarray:
    """Return the integral of exp(-rate t) over t from 0 to length; the length if the rate is 0."""
    positive_JW = rate_JW > 0
    return np.where(positive_JW, -np.expm1(-rate_JW * length_JW) / np.where(positive_JW, rate_JW, 1.0), length_JW)


def crps_of_sample(sample_M: np.ndarray, rt_seconds_J: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of a sample's empirical distribution.

    CRPS = mean |x - rt| - mean |x - x'| / 2 over members x, x' of the sample (Gneiting & Raftery 2007, eq. 21).

    Parameters
    ----------
    sample_M : (M,) array
        NaN, an omission, is left out.
    rt_seconds_J : (J,) array
        NaN without a press.

    Returns
    -------
    (J,) float
        NaN without a press, or with an empty sample.
    """
    sample_M = np.sort(sample_M[np.isfinite(sample_M)].astype(np.float64))
    num_members = len(sample_M)
    if num_members == 0:
        return np.full(len(rt_seconds_J), np.nan)
    cumulative_M = np.concatenate([[0.0], np.cumsum(sample_M)])
    rank_J = np.searchsorted(sample_M, np.where(np.isfinite(rt_seconds_J), rt_seconds_J, 0.0))
    below_J, above_J = cumulative_M[rank_J], cumulative_M[-1] - cumulative_M[rank_J]
    distance_J = ((2 * rank_J - num_members) * rt_seconds_J - below_J + above_J) / num_members
    order_M = 2 * np.arange(num_members) - num_members + 1
    return distance_J - (order_M @ sample_M) / num_members**2


def row_correlations(first_SR: np.ndarray, second_SR: np.ndarray) -> np.ndarray:
    """Return the correlation of each person's two rows over the features that both have; NaN for fewer than three."""
    both_SR = np.isfinite(first_SR) & np.isfinite(second_SR)
    count_S = both_SR.sum(axis=1)
    first_SR, second_SR = _centred(first_SR, both_SR), _centred(second_SR, both_SR)
    scale_S = np.sqrt((first_SR**2).sum(axis=1) * (second_SR**2).sum(axis=1))
    defined_S = (count_S >= 3) & (scale_S > 1e-12)
    return np.where(defined_S, (first_SR * second_SR).sum(axis=1) / np.where(defined_S, scale_S, 1.0), np.nan)


def _centred(values_SR: np.ndarray, present_SR: np.ndarray) -> np.ndarray:
    total_S1 = np.where(present_SR, values_SR, 0.0).sum(axis=1, keepdims=True)
    return np.where(present_SR, values_SR - total_S1 / np.maximum(present_SR.sum(axis=1, keepdims=True), 1), 0.0)


def similarity_by_correlation(predicted_SR: np.ndarray, observed_SR: np.ndarray) -> np.ndarray:
    """Return the correlations of every person's predicted features with every person's observed ones; [i, j] is prediction i, person j."""
    return np.stack(
        [row_correlations(np.broadcast_to(row_R, observed_SR.shape), observed_SR) for row_R in predicted_SR]
    )


def similarity_by_distance(predicted_SR: np.ndarray, observed_SR: np.ndarray, scale_R: np.ndarray) -> np.ndarray:
    """Return minus the root mean square difference, in units of `scale_R`, of every prediction and every person."""
    difference_SSR = (predicted_SR[:, None] - observed_SR[None]) / scale_R
    present_SSR = np.isfinite(difference_SSR)
    total_SS = np.where(present_SSR, difference_SSR, 0.0) ** 2
    count_SS = present_SSR.sum(axis=2)
    return np.where(count_SS > 0, -np.sqrt(total_SS.sum(axis=2) / np.maximum(count_SS, 1)), np.nan)


def identification(similarity_SS: np.ndarray) -> np.ndarray:
    """Return for each person whether their own prediction is the nearest of all people's predictions.

    Parameters
    ----------
    similarity_SS : (S, S) array
        Row: whose prediction; column: whom it is compared with.

    Returns
    -------
    (S,) float
        1, 0, or a share where several are equally near (predictions that do not differ identify with the frequency of chance);
        NaN for people without a similarity to their own prediction.
    """
    own_S = np.diag(similarity_SS)
    filled_SS = np.where(np.isfinite(similarity_SS), similarity_SS, -np.inf)
    best_S = filled_SS.max(axis=0)
    num_best_S = (filled_SS >= best_S - 1e-12).sum(axis=0)
    return np.where(np.isfinite(own_S), (own_S >= best_S - 1e-12) / np.maximum(num_best_S, 1), np.nan)


def own_minus_others(similarity_SS: np.ndarray) -> np.ndarray:
    """Return, for each person, the similarity of the own prediction minus the mean similarity of other people's predictions.

    Parameters
    ----------
    similarity_SS : (S, S) array
        Row: whose prediction; column: whom it is compared with.
    """
    own_S = np.diag(similarity_SS)
    others_SS = np.where(np.eye(len(own_S), dtype=bool), np.nan, similarity_SS)
    count_S = np.isfinite(others_SS).sum(axis=0)
    mean_S = np.where(count_S > 0, np.nansum(others_SS, axis=0) / np.maximum(count_S, 1), np.nan)
    return own_S - mean_S
