"""The living twin as a predictor: the posterior of a person's latent after some trials, and what networks drawn from it do in later ones.

What is predicted is the mean over draws, of trials (a mixture of their distributions) and of figures. A figure's variance is that over
draws plus that of so many trials. Draws of a posterior are placed so that their mean and covariance are exactly the posterior's.

Shape letters: see `dtb.twin.batch` and `dtb.evaluate.scores.observed`; `D` draw, `Y` figure, `W` step of a response window.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from dtb.evaluate.living.baselines import Said
from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.own_figures import FIGURES
from dtb.evaluate.living.questions import Order, Question
from dtb.evaluate.predictors.predictions import TrialPrediction, no_maps, summary_of_prediction
from dtb.evaluate.predictors.twin import within_task
from dtb.evaluate.scores.metrics import crps_of_hazard
from dtb.evaluate.scores.observed import ObservedTrials, People
from dtb.machine.cores import usable_cores
from dtb.people.records import SubjectRecord
from dtb.shards.batches import BatchMaker, person_seed
from dtb.shards.split import Part
from dtb.tasks.taskset import TaskSet
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.model import Twin
from dtb.twin.noise import latent_noise
from dtb.twin.own_data import only
from dtb.twin.posterior import Latents, condition, prior_of
from dtb.twin.readouts.press import PressDistribution, windows

LIVING_ALONE = "living_twin_no_connectome"
TWINS = {LIVING: "the living twin", LIVING_ALONE: "the living twin without a connectome"}
"""By name, in words."""
PEOPLE_AT_ONCE = 8
DRAWS_AT_ONCE = 8
MOST_DRAWS = 32


@dataclasses.dataclass(frozen=True, eq=False)
class _Chunk:
    """Some people laid out for the twin.

    Attributes
    ----------
    batch : Batch
    row_S : (S,) int
        Their rows among all people.
    row_J : (J,) int
        Row of each of the batch's trials among all observed ones; -1 for one that is not there.
    """

    batch: Batch
    row_S: np.ndarray
    row_J: np.ndarray


class TwinPredictor:
    """A twin that is conditioned on people's first trials and predicts later ones.

    Parameters
    ----------
    twin : Twin
        With person effects.
    maker : BatchMaker
    records : sequence of SubjectRecord
        In the order of `people`.
    people : People
    part : {"train", "validation", "test", "all"}
        The part of their runs that `people` were collected from.
    taskset : TaskSet
    advance : function
        Called with the number of people after each part of each point of a curve.
    names : sequence of str
        Which of `TWINS` are asked.
    """

    def __init__(
        self,
        twin: Twin,
        maker: BatchMaker,
        records: Sequence[SubjectRecord],
        people: People,
        part: Part,
        taskset: TaskSet,
        advance: Callable[[int], None] = lambda _: None,
        names: Sequence[str] = tuple(TWINS),
    ) -> None:
        self._twin, self._people, self._taskset, self._advance = twin, people, taskset, advance
        self._names = names
        trials = people.trials
        keys = zip(trials.person_J.tolist(), trials.run_J.tolist(), trials.trial_J.tolist(), strict=True)
        place = {key: row for row, key in enumerate(keys)}
        self._chunks = []
        for begin in range(0, len(records), PEOPLE_AT_ONCE):
            some = records[begin : begin + PEOPLE_AT_ONCE]
            batch, row_S = maker.batch(some, part), np.arange(begin, begin + len(some))
            table = batch.trials
            of_J = zip(
                row_S[table.subject_J.numpy()].tolist(), table.run_J.tolist(), table.trial_J.tolist(), strict=True
            )
            self._chunks.append(_Chunk(batch, row_S, np.array([place.get(key, -1) for key in of_J], np.int64)))
        self._has_connectomes = any(not bool(chunk.batch.connectome_SE.isnan().all()) for chunk in self._chunks)
        self._posteriors: dict[tuple[int, str, bytes], Latents] = {}
        self._said: dict[tuple[str, bytes, bytes, bool], Said] = {}

    def say(self, question: Question, amount: str, order: Order) -> dict[str, Said]:
        """Return what the twin says, with people's connectomes and without; see `dtb.evaluate.living.evaluate.SayMore`."""
        given_J = order.given(self._people.trials, question.given, order.count(amount, question.given))
        judged_J = order.judged(self._people.trials, question.judged)
        is_later = question.kind == "next session"
        found = {}
        for name in self._names:
            # No trials of one task are those of another, and a whole run may be as many as 40 trials.
            known = name if self._has_connectomes else LIVING_ALONE
            key = (known, given_J.tobytes(), judged_J.tobytes(), is_later)
            if key not in self._said:
                self._said[key] = self._performed(known, given_J, judged_J, question.judged, is_later)
            else:
                self._advance(len(self._people))
            found[name] = self._said[key]
        return found

    def _performed(self, name: str, given_J: np.ndarray, judged_J: np.ndarray, task: int, is_later: bool) -> Said:
        """Return what is said of judged trials after given ones; `is_later` where they are of another session."""
        said = _nothing_of(self._people)

        def perform(number: int) -> None:
            latents = self._latents(number, name, given_J)
            if is_later:
                assert self._twin.prior is not None
                latents = latents.later(self._twin.prior.drift_ZZ)
            self._perform(self._chunks[number], latents, judged_J, task, said)
            self._advance(len(self._chunks[number].row_S))

        # Chunks are many small products, in which threads of PyTorch's own would wait for one another.
        with ThreadPoolExecutor(usable_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(perform, range(len(self._chunks))))
        return said

    def _latents(self, number: int, name: str, given_J: np.ndarray) -> Latents:
        """Return the posterior of the people of a chunk."""
        key = (number, name, given_J.tobytes())
        if key not in self._posteriors:
            chunk = self._chunks[number]
            connectome_SE = chunk.batch.connectome_SE
            prior = prior_of(self._twin, connectome_SE if name == LIVING else torch.full_like(connectome_SE, torch.nan))
            here_J = torch.from_numpy((chunk.row_J >= 0) & given_J[chunk.row_J])
            if here_J.any():
                given = only(chunk.batch, here_J, torch.zeros_like(chunk.batch.bold_counted_SKV))
                self._posteriors[key] = condition(self._twin, given, prior).latents
            else:
                self._posteriors[key] = prior
        return self._posteriors[key]

    def _perform(self, chunk: _Chunk, latents: Latents, judged_J: np.ndarray, task: int, said: Said) -> None:
        """Write what is said of a chunk's people into its rows of `said`."""
        here_J = (chunk.row_J >= 0) & judged_J[chunk.row_J]
        if not here_J.any():
            return
        assert said.crps_J is not None
        assert said.log_score_J is not None
        assert said.outcome_JO is not None
        members = _members(self._twin, latents, chunk.batch, torch.from_numpy(here_J))
        row_J = chunk.row_J[here_J]
        kept_J = np.zeros(len(self._people.trials), bool)
        kept_J[row_J] = True
        # Rows of the batch in the order of the observed trials.
        order = torch.from_numpy(np.argsort(row_J))
        members = [member.of_rows(order) for member in members]
        some = self._people.trials.only(kept_J)
        mixture = PressDistribution.mean_of(members)
        said.crps_J[kept_J], said.log_score_J[kept_J] = _trial_scores(mixture, some.rt_J)
        said.outcome_JO[kept_J] = _outcomes(mixture, some)
        mean_SY, variance_SY = self._figures(members, some, task)
        said.mean_QY[chunk.row_S], said.variance_QY[chunk.row_S] = mean_SY[chunk.row_S], variance_SY[chunk.row_S]

    def _figures(
        self, members: Sequence[PressDistribution], trials: ObservedTrials, task: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (S, Y) of figures over draws, the noise of so many trials included."""
        drawn_DSY = np.stack([self._figures_of(member, trials, task) for member in members])
        moments = [_rt_moments(member) for member in members]
        spread_J = np.mean([variance_J for _, variance_J in moments], axis=0)
        press_J = np.mean([member.press_probability_J().numpy() for member in members], axis=0)
        mean_SY = drawn_DSY.mean(axis=0)
        noise_SY = _noise(trials, spread_J, press_J, mean_SY[:, FIGURES.index("accuracy")], self._taskset, task)
        return mean_SY, drawn_DSY.var(axis=0) + noise_SY

    def _figures_of(self, member: PressDistribution, trials: ObservedTrials, task: int) -> np.ndarray:
        nothing_J = np.full(len(trials), np.nan)
        prediction = TrialPrediction(_outcomes(member, trials), member.mean_rt_J().numpy(), nothing_J)
        people = self._people
        summary = summary_of_prediction(trials, prediction, len(people), self._taskset, no_maps(people))
        columns = (summary.mean_rt_ST, summary.condition_rt_ST, summary.accuracy_ST)
        return np.stack([values_ST[:, task] for values_ST in columns], axis=1)


def _nothing_of(people: People) -> Said:
    """Return an answer that says nothing yet."""
    mean_QY, variance_QY = (np.full((len(people), len(FIGURES)), np.nan) for _ in range(2))
    crps_J, log_score_J = (np.full(len(people.trials), np.nan) for _ in range(2))
    return Said(mean_QY, variance_QY, crps_J, log_score_J, np.full(people.trials.happened_JO.shape, np.nan))


def draws_of(latents: Latents) -> Tensor:
    """Return draws (D, S, Z) of people's latents whose mean and covariance are those of the distribution, two a dimension.

    They lie on both sides of the mean in orthogonal directions that are turned at random, the same for everybody: two people of whom the
    same is known get the same draws. With more latents than half of `MOST_DRAWS`, so many directions are drawn, and the covariance is that
    of the distribution on average.
    """
    num_latents = latents.mean_SZ.shape[1]
    number = min(num_latents, MOST_DRAWS // 2)
    noise_1ZZ = latent_noise(torch.zeros(1, dtype=torch.int64), num_latents, num_latents)
    turned_ZD = torch.linalg.qr(noise_1ZZ[0].mT)[0][:, :number]
    values_SZ, vectors_SZZ = torch.linalg.eigh(latents.covariance_SZZ)
    root_SZZ = (vectors_SZZ * values_SZ.clamp_min(0.0).sqrt()[:, None]) @ vectors_SZZ.mT
    step_DSZ = math.sqrt(num_latents) * (root_SZZ @ turned_ZD.to(root_SZZ)).permute(2, 0, 1)
    return torch.cat([latents.mean_SZ + step_DSZ, latents.mean_SZ - step_DSZ]).float()


@torch.no_grad()
def _members(twin: Twin, latents: Latents, batch: Batch, judged_J: Tensor) -> list[PressDistribution]:
    """Return the distributions of judged trials under each draw of people's latents."""
    table = TrialTensors(**{name: value[judged_J] for name, value in vars(batch.trials).items()})
    segment_k, place_J = torch.unique(table.segment_J, return_inverse=True)
    table = dataclasses.replace(table, segment_J=place_J)
    draws_DSZ = draws_of(latents)
    # The clipped stimulus ends with the last judged window.
    last = int((table.onset_steps_J + table.window_steps_J).max().ceil())
    stimulus_SkTI = batch.stimulus_SKTI[:, segment_k, :last]
    found = []
    for some_d in torch.arange(len(draws_DSZ)).split(DRAWS_AT_ONCE):
        noise_S = None
        if twin.config.process_noise > 0:
            noise_S = torch.tensor([person_seed(who, 0, draw) for draw in some_d.tolist() for who in batch.pseudonyms])
        generated = twin.hypernetwork.decode(draws_DSZ[some_d].flatten(0, 1))
        output = twin.perform(generated, stimulus_SkTI.repeat(len(some_d), 1, 1, 1), noise_S)
        for hazard_SKTA in twin.hazards(output).double().split(len(batch)):
            given = windows(hazard_SKTA, table)
            found.append(PressDistribution.of(*given, table, twin.config.step_seconds))
    return found


def _trial_scores(mixture: PressDistribution, rt_J: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return CRPS and log density of reaction times given a press; NaN without one."""
    crps_J = crps_of_hazard(mixture.hazard_JWA.sum(-1).numpy(), mixture.covered_JW.numpy() * mixture.step_seconds, rt_J)
    pressed_J = np.isfinite(rt_J)
    density_J = mixture.density_JA(torch.from_numpy(np.where(pressed_J, rt_J, 0.0))).sum(1)
    given_J = density_J / mixture.press_probability_J().clamp_min(1e-12)
    return crps_J, np.where(pressed_J, given_J.clamp_min(1e-6).log().numpy(), np.nan)


def _outcomes(distribution: PressDistribution, trials: ObservedTrials) -> np.ndarray:
    """Return the probabilities of outcomes (J, O)."""
    parts = [distribution.choice_probability_JA(), distribution.omission_probability_J()[:, None]]
    return within_task(torch.cat(parts, dim=1).numpy(), trials.possible_JO)


def _rt_moments(distribution: PressDistribution) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance (J,) of the reaction time given a press, each press at the middle of its step."""
    hazard_JW = distribution.hazard_JWA.sum(-1).numpy()
    width_JW = distribution.covered_JW.numpy() * distribution.step_seconds
    spent_JW = np.cumsum(hazard_JW * width_JW, axis=1)
    survival_JW = np.exp(-np.concatenate([np.zeros_like(spent_JW[:, :1]), spent_JW], axis=1))
    mass_JW = -np.diff(survival_JW, axis=1)
    mass_JW = mass_JW / np.maximum(mass_JW.sum(axis=1, keepdims=True), 1e-300)
    middle_JW = np.cumsum(width_JW, axis=1) - width_JW / 2
    mean_J = (mass_JW * middle_JW).sum(axis=1)
    square_J = (mass_JW * (middle_JW**2 + width_JW**2 / 12)).sum(axis=1)
    return mean_J, np.maximum(square_J - mean_J**2, 0.0)


def _noise(
    trials: ObservedTrials,
    spread_J: np.ndarray,
    press_J: np.ndarray,
    accuracy_S: np.ndarray,
    taskset: TaskSet,
    task: int,
) -> np.ndarray:
    """Return the variance (S, Y) that so many trials add to figures."""
    num_people, spec = len(accuracy_S), taskset.specs[task]

    def of_mean(here_J: np.ndarray) -> np.ndarray:
        who_J = trials.person_J[here_J]
        presses_S = np.bincount(who_J, weights=press_J[here_J], minlength=num_people)
        total_S = np.bincount(who_J, weights=(press_J * spread_J)[here_J], minlength=num_people)
        return total_S / np.where(presses_S > 0, presses_S, np.nan) ** 2

    weights = {spec.conditions.index(name): weight for name, weight in spec.contrast.items() if weight}
    effect_S = np.zeros(num_people) if weights else np.full(num_people, np.nan)
    for condition_number, weight in weights.items():
        effect_S += weight**2 * of_mean(trials.condition_J == condition_number)
    scored_S = np.bincount(trials.person_J[trials.scored_J], minlength=num_people)
    right_S = accuracy_S * (1 - accuracy_S) / np.where(scored_S > 0, scored_S, np.nan)
    return np.stack([of_mean(np.ones(len(trials), bool)), effect_S, right_S], axis=1)
