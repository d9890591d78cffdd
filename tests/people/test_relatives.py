"""People who are as alike as twins are noticed, unless they are known to be relatives."""

import numpy as np

from dtb.people.covariates import family_numbers, labels
from dtb.people.relatives import alike_pairs


def test_twins_are_noticed_and_strangers_and_known_relatives_are_not():
    rng = np.random.default_rng(0)
    edges_SE = rng.normal(size=(60, 10)) @ rng.normal(size=(10, 780)) * 0.1 + rng.normal(size=(60, 780))
    assert len(alike_pairs(edges_SE, np.arange(60))) == 0
    edges_SE[41] = 0.8 * edges_SE[7] + 0.6 * edges_SE[41]
    edges_SE[3, :9] = np.nan
    assert alike_pairs(edges_SE, np.arange(60)).tolist() == [[7, 41]]
    # Nobody is like a person without a connectome, and two such people are not alike.
    some_SE = np.full((100, 780), np.nan)
    some_SE[np.arange(60) + 20] = edges_SE
    assert alike_pairs(some_SE, np.arange(100)).tolist() == [[27, 61]]
    assert len(alike_pairs(np.zeros((60, 0)), np.arange(60))) == 0
    facts = [{"family": "f" if place in (7, 41) else None} for place in range(60)]
    assert len(alike_pairs(edges_SE, family_numbers(facts))) == 0


def test_people_are_not_counted_by_family():
    assert "family" not in labels()
