"""People without a connectome are trained on as others are, some of them or all, and measured afterwards."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtb.errors import ConfigurationError
from dtb.shards.read import open_cohort
from dtb.train.plan import Plan, make_plan
from dtb.train.quarantine import unfit
from dtb.train.scales import measure_scales
from dtb.train.start.measure_people import measure_people, save_effects
from dtb.twin import prior_of
from dtb.twin.objective import Objective
from tests.shards.people import DESCRIPTION
from tests.train.conftest import small_config, write_cohort


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A process group of this process alone."""
    store = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def without(share: float):
    def spoil(person):
        if int(person.pseudonym[1:]) % 10 < 10 * share:
            return dataclasses.replace(person, connectome_E=np.full_like(person.connectome_E, np.nan))
        return person

    return spoil


def behaviour_alone(person):
    runs = tuple(dataclasses.replace(run, bold_VR=None, repetition_time=None, bold_mean_R=None) for run in person.runs)
    return dataclasses.replace(person, connectome_E=np.zeros(0, np.float32), runs=runs)


def trained(plan: Plan):
    """Twin and effects after a few steps, without an engine."""
    torch.manual_seed(0)
    scales = measure_scales(plan)
    twin, effects = plan.twin(scales), plan.person_effects(scales)
    objective = Objective(twin, 1.0, 1.0, effects=effects).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    losses = []
    for epoch in range(6):
        for _, (batch,) in plan.feeds(0, 1, 1, scales.bold_mean_R)["train"].batches(epoch):
            optimizer.zero_grad()
            total = objective(batch).total
            total.backward()
            optimizer.step()
            losses.append(total.item())
    return scales, twin, effects, losses


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_some_or_all_have_none(alone, tmp_path, share):
    shards = write_cohort(tmp_path / "shards", num_people=24, spoil=without(share))
    plan = make_plan(small_config(), shards, tmp_path / "out", open_cohort(shards))
    scales, twin, effects, losses = trained(plan)
    assert losses[-1] < losses[0]
    measure_people(twin, effects, plan, scales, 0, 1)
    found = {name: value for name, value in twin.prior.named_buffers() if name != "drift_ZZ"}
    assert all(torch.isfinite(value).all() for value in found.values())
    assert (torch.linalg.eigvalsh(twin.prior.covariance_ZZ) > 0).all()
    nobody_SE = torch.full((1, 28), torch.nan)
    prior = prior_of(twin, nobody_SE)
    torch.testing.assert_close(prior.mean_SZ[0], twin.prior.mean_Z.double())
    (tmp_path / "out").mkdir()
    save_effects(tmp_path / "out" / "effects.safetensors", effects)


def test_a_cohort_of_behaviour_alone(alone, tmp_path):
    description = dataclasses.replace(DESCRIPTION, regions=())
    shards = write_cohort(tmp_path / "shards", num_people=24, spoil=behaviour_alone, regions=())
    assert open_cohort(shards).manifest.description.regions == description.regions
    plan = make_plan(small_config(), shards, tmp_path / "out", open_cohort(shards))
    assert plan.card.sizes.num_edges == plan.card.sizes.num_bold_regions == 0
    scales, twin, effects, losses = trained(plan)
    assert losses[-1] < losses[0]
    measure_people(twin, effects, plan, scales, 0, 1)
    assert torch.isfinite(twin.prior.covariance_ZZ).all()
    batch = next(iter(plan.feeds(0, 1, 1)["validation"].batches(0)))[1][0]
    found = twin.eval().condition(batch.connectome_SE, batch)
    assert (torch.logdet(found.covariance_SZZ) < torch.logdet(prior_of(twin, batch.connectome_SE).covariance_SZZ)).all()


def test_the_published_model_needs_a_connectome_of_everybody(tmp_path):
    shards = write_cohort(tmp_path / "shards", num_people=8, spoil=without(0.4))
    config = small_config()
    plain = dataclasses.replace(config, twin=dataclasses.replace(config.twin, person_effects=False))
    with pytest.raises(ConfigurationError, match=r"4 of 8 people .* have no connectome.*`person_effects: false`"):
        make_plan(plain, shards, tmp_path / "out", open_cohort(shards))
    tangent = dataclasses.replace(config, twin=dataclasses.replace(config.twin, connectome_space="tangent"))
    with pytest.raises(ConfigurationError, match="`connectome_space` has to be `edges`"):
        make_plan(tangent, shards, tmp_path / "out", open_cohort(shards))
    record = open_cohort(shards).record("p0000")
    assert unfit(record) == "the connectome has no edge"
    assert unfit(record, needs_connectome=False) is None
