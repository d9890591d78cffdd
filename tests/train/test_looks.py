"""Numbers that are not finite are found one batch late, before anything that they break, and before anything is saved."""

from __future__ import annotations

import pytest
import torch

from dtb.errors import StageError
from dtb.train.looks import Looks

GOOD, BAD, ALL_BAD = (torch.tensor(flags) for flags in ([True, True], [True, False], [False, False]))


def test_a_batch_is_looked_at_when_the_next_one_is_launched_and_what_it_broke_is_nobodys_fault():
    told = {}
    looks = Looks(told.update)
    looks.later(["a", "b"], {"loss": GOOD, "gradient": GOOD})
    looks.later(["c", "d"], {"loss": GOOD, "gradient": BAD})
    assert told == {}
    with pytest.raises(StageError, match="The gradient of d is not a finite number"):
        looks.later(["a", "b"], {"loss": ALL_BAD, "gradient": ALL_BAD})
    assert told == {"d": "the gradient is not a finite number"}
    looks.now()
    assert set(told) == {"d"}


def test_nothing_is_left_to_look_at_before_a_checkpoint():
    looks = Looks(lambda _: None)
    looks.later(["a", ""], {"loss": BAD, "gradient": None})
    with pytest.raises(StageError, match="The loss of  is not"):  # of a row without anybody
        looks.now()
    looks.now()


def test_what_broken_numbers_break_is_told_after_them():
    told = {}
    looks = Looks(told.update)
    with pytest.raises(StageError, match="The loss of b"), looks.first():
        looks.later(["a", "b"], {"loss": BAD})
        torch.linalg.cholesky(torch.full((2, 2), torch.nan))  # as weights that are no numbers would
    assert set(told) == {"b"}
    with pytest.raises(ZeroDivisionError), looks.first():
        looks.later(["a", "b"], {"loss": GOOD})
        1 / 0  # noqa: B018
