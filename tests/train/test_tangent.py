"""The tangent space is fitted to training people alone, goes with the exported twin, and is refused where there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtb.errors import ConfigurationError
from dtb.shards.read import open_cohort
from dtb.train.plan import Plan, make_plan
from dtb.train.scales import measure_scales
from dtb.twin.export import read_twin, save_twin
from tests.shards.people import DESCRIPTION
from tests.train.conftest import small_config, write_cohort

CORRELATIONS = {"kind": "pearson", "scale": "fisher_z"}


def make_cohort_plan(folder, spoil=lambda person: person, connectome=CORRELATIONS) -> Plan:
    shards = write_cohort(folder / "shards", spoil=spoil, connectome=connectome)
    config = small_config()
    config = dataclasses.replace(config, twin=dataclasses.replace(config.twin, connectome_space="tangent"))
    (folder / "out").mkdir()
    return make_plan(config, shards, folder / "out", open_cohort(shards))


def outlier(wanted: str):
    def spoil(person):
        if person.pseudonym != wanted:
            return person
        return dataclasses.replace(person, connectome_E=np.full_like(person.connectome_E, 3.0))

    return spoil


@pytest.mark.slow
def test_an_outlier_among_test_people_changes_nothing_that_is_fitted_and_one_in_training_does(tmp_path):
    (tmp_path / "own").mkdir()
    plan = make_cohort_plan(tmp_path / "own")
    own = vars(measure_scales(plan))
    assert own["tangent_reference_RR"].shape == (8, 8)
    assert own["components_EC"].any()
    for part, is_fitted in (("test", False), ("validation", False), ("train", True)):
        (tmp_path / part).mkdir()
        person = plan.split.people(part)[0]
        spoilt = make_cohort_plan(tmp_path / part, spoil=outlier(person))
        assert spoilt.split.people(part)[0] == person
        found = vars(measure_scales(spoilt))
        same = {name: np.array_equal(found[name], own[name]) for name in own}
        assert all(same.values()) != is_fitted, same
        if is_fitted:
            # BOLD has its own scale, and these few people are too few for readers to begin at.
            apart = {name for name in same if name.startswith(("bold_", "read", "own_", "num_"))}
            assert not any(same[name] for name in same if name not in apart), same


@pytest.mark.slow
def test_exported_twin_reads_connectomes_as_it_did(tmp_path):
    plan = make_cohort_plan(tmp_path)
    normalisation = measure_scales(plan)
    twin = plan.twin(normalisation)
    save_twin(tmp_path / "twin", twin, plan.card)
    found, _ = read_twin(tmp_path / "twin")
    people = [plan.cohort.record(who).connectome_E for who in plan.split.train]
    read_SE = found.encoder_input(torch.from_numpy(np.stack(people)))
    assert torch.equal(read_SE, twin.encoder_input(torch.from_numpy(np.stack(people))))
    present_SE = np.isfinite(np.stack(people))
    for edge in np.flatnonzero(present_SE.all(axis=0)):
        assert read_SE[:, edge].mean().item() == pytest.approx(0, abs=1e-4)
        assert read_SE[:, edge].std().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("connectome", [{"kind": "partial", "scale": "fisher_z"}, DESCRIPTION.connectome])
def test_what_is_no_correlation_matrix_has_no_tangent_space(tmp_path, connectome):
    with pytest.raises(ConfigurationError, match=r"twin\.connectome_space is 'tangent'.*connectome_space: edges"):
        make_cohort_plan(tmp_path, connectome=connectome)
