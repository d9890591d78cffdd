"""The living twin as a predictor: what it is told before, what it says without anything, and that draws stand for the posterior."""

import dataclasses

import numpy as np
import pytest
import torch

from dtb.config import SegmentConfig, TwinConfig
from dtb.evaluate.living.blend import LIVING
from dtb.evaluate.living.questions import Question, order_of, sessions_of
from dtb.evaluate.living.twin import LIVING_ALONE, MOST_DRAWS, TwinPredictor, _rt_moments, draws_of
from dtb.evaluate.predictors.twin import predict
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.observed import collect
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Span, Split
from dtb.twin.model import Twin
from dtb.twin.posterior import Latents
from dtb.twin.readouts.press import PressDistribution
from dtb.twin.sizes import TwinSizes
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people, with_other_answers

CONFIG = TwinConfig(num_hidden=8, rank=2, encoder_widths=(6,), latent_size=3)
SAME, NOWHERE = Question("later", 0, 0), np.zeros(0, np.int64)
PEOPLE = make_people(11, with_bold=False)
SPLIT = Split("subjects", (), (), tuple(record.pseudonym for record in PEOPLE))


def predictor(records=PEOPLE, own=1.0, spread=1.0):
    torch.manual_seed(0)
    twin = Twin(CONFIG, TwinSizes(NUM_REGIONS, STROOP.num_channels, STROOP.num_alternatives, 0)).eval()
    twin.prior.set(covariance_ZZ=own * torch.eye(3), spread_ZZ=spread * torch.eye(3))
    people = collect(records, STROOP, Span(0.0, 1.0), NOWHERE, np.zeros(0))
    maker = BatchMaker(STROOP, SegmentConfig(segment_seconds=60, burn_in_seconds=12), CONFIG.step_seconds, (), SPLIT)
    order = order_of(people.trials, sessions_of(records), 1)
    return twin, maker, people, order, TwinPredictor(twin, maker, records, people, "test", STROOP)


def test_draws_have_the_mean_and_the_covariance_of_the_posterior():
    root_SZZ = torch.randn(4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    latents = Latents(torch.arange(20.0, dtype=torch.float64).view(4, 5), root_SZZ @ root_SZZ.mT)
    draws_DSZ = draws_of(latents).double()
    assert draws_DSZ.shape == (10, 4, 5)
    torch.testing.assert_close(draws_DSZ.mean(0), latents.mean_SZ, atol=1e-5, rtol=1e-5)
    apart_DSZ = draws_DSZ - latents.mean_SZ
    found_SZZ = torch.einsum("dsz,dsy->szy", apart_DSZ, apart_DSZ) / 10
    torch.testing.assert_close(found_SZZ, latents.covariance_SZZ, atol=1e-4, rtol=1e-4)
    many = Latents(torch.zeros(1, 40, dtype=torch.float64), torch.eye(40, dtype=torch.float64)[None])
    assert len(draws_of(many)) == MOST_DRAWS


def test_draws_of_a_person_do_not_depend_on_who_else_is_there():
    latents = Latents(torch.zeros(3, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64).repeat(3, 1, 1))
    together, alone = draws_of(latents), draws_of(latents.take(slice(1, 2)))
    torch.testing.assert_close(together[:, 1], alone[:, 0])


def test_a_twin_that_is_sure_says_what_its_connectome_says_whatever_the_trials():
    twin, maker, people, order, living = predictor(own=1e-10)
    edges = {TWIN: people.edges_SE}
    plain = predict([twin], maker, PEOPLE, people, "test", SPLIT, STROOP, NOWHERE, edges)[TWIN]
    judged_J = order.judged(people.trials, 0)
    for amount in ("0", "5"):
        said = living.say(SAME, amount, order)[LIVING]
        np.testing.assert_allclose(said.outcome_JO[judged_J], plain.trials.outcome_JO[judged_J], atol=1e-5)
        np.testing.assert_allclose(said.crps_J[judged_J], plain.trials.crps_J[judged_J], atol=1e-5)


def test_without_a_connectome_nothing_of_it_comes_in():
    swapped = [
        dataclasses.replace(record, connectome_E=other.connectome_E)
        for record, other in zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True)
    ]
    (*_, order, living), (*_, other) = predictor(), predictor(swapped)
    one, two = living.say(SAME, "0", order), other.say(SAME, "0", order)
    np.testing.assert_array_equal(one[LIVING_ALONE].mean_QY, two[LIVING_ALONE].mean_QY)
    assert np.abs(one[LIVING].mean_QY - two[LIVING].mean_QY).max() > 1e-3
    # Everybody is then the same but for the inks that were shown.
    assert one[LIVING_ALONE].mean_QY[:, 0].std() < 0.01


def test_where_nobody_has_a_connectome_nothing_is_performed_twice():
    records = [dataclasses.replace(each, connectome_E=np.full_like(each.connectome_E, np.nan)) for each in PEOPLE]
    *_, order, living = predictor(records)
    said = living.say(SAME, "5", order)
    assert said[LIVING] is said[LIVING_ALONE]


def test_own_trials_draw_the_prediction_towards_the_person_and_narrow_it():
    *_, people, order, living = predictor()
    observed_S = [
        people.trials.rt_J[order.judged(people.trials, 0) & (people.trials.person_J == who)] for who in range(11)
    ]
    observed_S = np.array([np.nanmean(each) for each in observed_S])
    error, spread = {}, {}
    for amount in ("0", "5", "half a run"):
        said = living.say(SAME, amount, order)[LIVING_ALONE]
        error[amount] = np.abs(said.mean_QY[:, 0] - observed_S).mean()
        spread[amount] = said.variance_QY[:, 0].mean()
    assert error["half a run"] < error["5"] < error["0"]
    assert spread["half a run"] < spread["5"] < spread["0"]


def test_nothing_that_is_judged_is_looked_at():
    # Another press of a later trial cannot change what is said of later trials, nor what a person says of anybody else.
    *_, people, order, living = predictor()
    judged_J = order.judged(people.trials, 0)
    first = int(people.trials.trial_J[judged_J].min())
    changed = []
    for record in PEOPLE:
        run, other = record.runs[0], with_other_answers(record).runs[0]
        later_J = np.arange(run.trials.num_trials) >= first
        trials = dataclasses.replace(
            run.trials,
            rt_seconds_J=np.where(later_J, other.trials.rt_seconds_J, run.trials.rt_seconds_J),
            response_JA=np.where(later_J[:, None], other.trials.response_JA, run.trials.response_JA),
        )
        changed.append(dataclasses.replace(record, runs=(dataclasses.replace(run, trials=trials),)))
    *_, other_order, other_living = predictor(changed)
    one, other = living.say(SAME, "10", order)[LIVING], other_living.say(SAME, "10", other_order)[LIVING]
    np.testing.assert_array_equal(one.mean_QY, other.mean_QY)
    np.testing.assert_array_equal(one.outcome_JO, other.outcome_JO)


def test_moments_of_a_constant_hazard_are_those_of_the_exponential_law():
    rate, steps = 3.0, 2000
    hazard_JWA = torch.full((1, steps, 1), rate, dtype=torch.float64)
    mean_J, variance_J = _rt_moments(PressDistribution(hazard_JWA, torch.ones(1, steps), 0.01))
    assert mean_J[0] == pytest.approx(1 / rate, rel=1e-3)
    assert variance_J[0] == pytest.approx(1 / rate**2, rel=1e-2)
