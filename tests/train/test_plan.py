"""What a training decides before it begins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dtb.config import SegmentConfig
from dtb.errors import ConfigurationError
from dtb.shards.read import open_cohort
from dtb.train.plan import Plan, estimated_bytes, make_plan
from dtb.train.scales import measure_scales
from tests.train.conftest import small_config, write_cohort

BY_STEP = {"press": "sigmoid", "bold": "direct", "person_effects": False}
"""The paper's losses."""


def plan_with(shards, out, *regions: str) -> Plan:
    config = small_config()
    twin = dataclasses.replace(config.twin, bold_regions=regions)
    return make_plan(dataclasses.replace(config, twin=twin), shards, out, open_cohort(shards))


def test_bold_of_the_regions_asked_for_is_what_is_learnt_in_that_order(shards, tmp_path):
    every, chosen = plan_with(shards, tmp_path), plan_with(shards, tmp_path, "region5", "region2")
    assert every.card.sizes.num_bold_regions == 8
    assert chosen.card.sizes.num_bold_regions == 2
    assert chosen.card.bold_region_names == ("region5", "region2")
    whole, part = (
        next(iter(plan.feeds(0, 1, 1)["train"].batches(0)))[1][0].bold_SKVR.numpy() for plan in (every, chosen)
    )
    np.testing.assert_array_equal(part, whole[..., [5, 2]])


def test_the_papers_targets_are_laid_out_for_training_in_standard_units_of_all_people(shards, tmp_path):
    config, cohort = small_config(), open_cohort(shards)
    config = dataclasses.replace(config, twin=dataclasses.replace(config.twin, **BY_STEP))
    plan = make_plan(config, shards, tmp_path, cohort)
    scales = measure_scales(plan)
    batch = next(iter(plan.feeds(0, 1, 1, scales.bold_mean_R)["train"].batches(0)))[1][0]
    usual = next(iter(plan_with(shards, tmp_path).feeds(0, 1, 1)["train"].batches(0)))[1][0]
    assert batch.task_SK.shape[1] < usual.task_SK.shape[1]  # no room is kept for response windows
    runs = {person.pseudonym: person.runs[0] for person in cohort.records(plan.split.train)}
    raw = {who: run.bold_VR + run.bold_mean_R for who, run in runs.items()}
    np.testing.assert_allclose(scales.bold_mean_R, np.concatenate(list(raw.values())).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(scales.bold_scale_R, np.concatenate(list(raw.values())).std(axis=0, ddof=1), rtol=1e-5)
    second_R = raw[batch.pseudonyms[0]][1] - scales.bold_mean_R
    np.testing.assert_allclose(batch.bold_SKVR[0, 0, 1].numpy(), second_R, atol=1e-5)


def test_shards_that_do_not_say_the_level_of_bold_are_refused_where_it_counts(tmp_path):
    def without_level(person):
        return dataclasses.replace(
            person, runs=tuple(dataclasses.replace(run, bold_mean_R=None) for run in person.runs)
        )

    shards = write_cohort(tmp_path / "shards", spoil=without_level)
    config = small_config()
    make_plan(config, shards, tmp_path, open_cohort(shards))
    direct = dataclasses.replace(config, twin=dataclasses.replace(config.twin, **BY_STEP))
    with pytest.raises(ConfigurationError, match=r"level of each run's BOLD.*`dtb ingest` anew"):
        make_plan(direct, shards, tmp_path, open_cohort(shards))


def test_a_region_that_the_cohort_lacks_is_refused_with_the_nearest(shards, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no BOLD of 'regoin5' \(1 of 2 .*did you mean 'region5'"):
        plan_with(shards, tmp_path, "regoin5", "region2")


@pytest.mark.parametrize(
    ("zero_stage", "precision", "each"),
    [(0, "float32", 8), (1, "float32", 12 / 2), (3, "float32", 12 / 2), (1, "bf16", 12 / 2)],
)
def test_a_dry_run_tells_the_optimizer_bytes_that_deepspeed_takes(shards, tmp_path, zero_stage, precision, each):
    config = small_config(num_workers=2, zero_stage=zero_stage, precision=precision)
    plan = make_plan(config, shards, tmp_path, open_cohort(shards))
    # As `scripts/bench/train.py` counts them in DeepSpeed's engines.
    found = estimated_bytes(1000, config, plan, bucket_size=700)
    assert found["optimizer"] == 1000 * each
    assert found["bucket"] == (0 if zero_stage == 0 else 700 * (2 if precision == "bf16" else 4))


def test_the_memory_of_segments_longer_than_the_runs_is_that_of_the_runs(shards, tmp_path):
    def memory(seconds):
        config = dataclasses.replace(small_config(), segments=SegmentConfig(segment_seconds=seconds, burn_in_seconds=4))
        return estimated_bytes(1000, config, make_plan(config, shards, tmp_path, open_cohort(shards)), bucket_size=0)

    assert memory(1e5) == memory(1e4)
    assert memory(20)["responses"] > 0
    assert memory(1e5)["responses"] > 1.5 * memory(20)["responses"]  # volumes times steps
