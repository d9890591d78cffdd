"""What is known of everybody before a training: the same from shards, from beside them and by workers, and never of other shards."""

from __future__ import annotations

import dataclasses
import os
import shutil

import numpy as np
import pytest

from dtb.errors import DamagedOutputError
from dtb.shards.read import Cohort, open_cohort
from dtb.train.plan import make_plan
from dtb.train.scales import measure_scales, scales_of
from dtb.train.start import normalise, summaries
from dtb.train.start.summaries import FOLDER, Moments, summaries_of
from tests.train.conftest import small_config, write_cohort
from tests.train.test_faults import with_nan


@pytest.fixture
def plan(tmp_path):
    shards = write_cohort(
        tmp_path / "shards", num_people=10, spoil=lambda who: with_nan(who) if who.pseudonym == "p0001" else who
    )
    return make_plan(small_config(), shards, tmp_path / "out", open_cohort(shards, verify=False))


def assert_same(found, others):
    assert found.keys() == others.keys()
    for person, other in zip(found.values(), others.values(), strict=True):
        for name in ("pseudonym", "reason", "has_connectome", "covariates"):
            assert getattr(person, name) == getattr(other, name)
        assert (person.figures is None) == (other.figures is None)
        for owner in ("bold", "figures"):
            for name, value in vars(getattr(person, owner) or Moments(0)).items():
                np.testing.assert_array_equal(value, getattr(getattr(other, owner) or Moments(0), name))


def test_what_is_kept_beside_the_shards_is_what_was_found_and_is_read_in_their_place(plan, monkeypatch):
    found = summaries_of(plan.cohort, plan.asked)
    assert [who for who, person in found.items() if person.reason] == ["p0001"]
    assert len(list((plan.shards / FOLDER).iterdir())) == len(plan.cohort.manifest.shards)
    scales = measure_scales(plan, found, {"p0001"})
    monkeypatch.setattr(Cohort, "record", None)  # nobody is read a second time
    assert_same(summaries_of(plan.cohort, plan.asked), found)
    again = measure_scales(plan, None, {"p0001"})
    for name, array in vars(scales).items():
        np.testing.assert_array_equal(getattr(again, name), array, err_msg=name)
    # Who is in which fold is not asked; which times of a run are training data is.
    other = dataclasses.replace(plan.asked, split=dataclasses.replace(plan.asked.split, train=("p0000",)))
    assert_same(summaries_of(plan.cohort, other), found)
    times = dataclasses.replace(plan.asked.split, kind="temporal", train_until=0.5)
    with pytest.raises(TypeError):
        summaries_of(plan.cohort, dataclasses.replace(plan.asked, split=times))


@pytest.mark.parametrize("before", [False, True])
def test_a_shard_that_was_altered_is_refused_whatever_is_kept_of_it(plan, before):
    if before:
        summaries_of(plan.cohort, plan.asked)
    path = plan.shards / plan.cohort.manifest.shards[0].name
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-700] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as whoever hides it would
    with pytest.raises(DamagedOutputError, match=r"was altered: its SHA-256 is not the manifest's"):
        summaries_of(plan.cohort, plan.asked)


def test_what_was_kept_of_other_shards_or_damaged_is_found_anew(plan):
    found = summaries_of(plan.cohort, plan.asked)
    for path in (plan.shards / FOLDER).iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    assert_same(summaries_of(plan.cohort, plan.asked), found)
    first, *_ = (plan.shards / FOLDER).iterdir()
    assert first.stat().st_size > 9  # whole again


def test_scales_are_found_once_for_the_same_people_and_settings_and_anew_for_others(plan, monkeypatch):
    found = summaries_of(plan.cohort, plan.asked)
    scales = scales_of(plan, found, {"p0001"})
    (kept,) = (plan.shards / FOLDER).glob("scales-*")
    others = [(plan, {"p0001", next(who for who in plan.split.train if who != "p0001")})]
    for change in ({"connectome_components": 2}, {"latent_size": 3}, {"connectome_space": "tangent"}):
        twin = dataclasses.replace(plan.config.twin, **change)
        others.append((dataclasses.replace(plan, config=dataclasses.replace(plan.config, twin=twin)), {"p0001"}))
    times = dataclasses.replace(plan.split, kind="temporal", train_until=0.5)
    others.append((dataclasses.replace(plan, split=times), {"p0001"}))
    with monkeypatch.context() as once:
        once.setattr(Cohort, "connectome", None)  # no connectome is read a second time
        again = scales_of(plan, found, {"p0001"})
        for name, array in vars(scales).items():
            np.testing.assert_array_equal(getattr(again, name), array, err_msg=name)
        for other in others:
            with pytest.raises(TypeError):
                scales_of(other[0], found, other[1])
    kept.write_bytes(kept.read_bytes()[:-9])
    scales_of(plan, found, {"p0001"})
    np.testing.assert_array_equal(normalise.load(kept).edge_mean_E, scales.edge_mean_E)


def test_scales_are_found_where_nobody_may_write_beside_the_shards(plan):
    found = summaries_of(plan.cohort, plan.asked)
    shutil.rmtree(plan.shards / FOLDER)
    (plan.shards / FOLDER).touch()
    assert np.isfinite(scales_of(plan, found, {"p0001"}).edge_mean_E).all()


@pytest.mark.cluster
def test_workers_say_the_same_and_a_damaged_shard_in_one_sentence(plan, monkeypatch):
    monkeypatch.setattr(summaries, "FEW", 0)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(summaries, "_of_shard", None)  # here
        there = summaries_of(plan.cohort, plan.asked, plan.config.cluster)
    assert len(list((plan.shards / FOLDER).iterdir())) == len(plan.cohort.manifest.shards)
    shutil.rmtree(plan.shards / FOLDER)
    assert_same(dict(sorted(there.items())), summaries_of(plan.cohort, plan.asked))
    (plan.shards / plan.cohort.manifest.shards[0].name).write_bytes(b"")
    with pytest.raises(DamagedOutputError, match="altered"):
        summaries_of(plan.cohort, plan.asked, plan.config.cluster)


def test_a_connectome_alone_is_that_of_the_record(plan):
    for who in plan.cohort.pseudonyms:
        np.testing.assert_array_equal(plan.cohort.connectome(who), plan.cohort.record(who).connectome_E)
