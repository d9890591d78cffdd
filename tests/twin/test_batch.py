"""A batch can be taken apart: each part is what its people alone would make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtb.config import TwinConfig
from dtb.twin import Batch, Twin, TwinSizes, batch_from_arrays
from dtb.twin.objective import Objective

RNG = np.random.default_rng(1)
PEOPLE = 5
ARRAYS = {
    "connectome_SE": RNG.normal(size=(PEOPLE, 6)),
    "stimulus_SKTI": RNG.normal(size=(PEOPLE, 2, 60, 2)),
    # The first person has four trials, the next three, and so on.
    "onset_seconds_SKJ": np.where(np.arange(4) < 4 - np.arange(PEOPLE)[:, None, None], 0.5 + np.arange(4.0), np.nan)
    * np.ones((PEOPLE, 2, 1)),
    "choice_SKJ": RNG.integers(-1, 2, (PEOPLE, 2, 4)),
    "rt_seconds_SKJ": RNG.uniform(0.1, 0.9, (PEOPLE, 2, 4)),
    "bold_SKVR": RNG.normal(size=(PEOPLE, 2, 6, 3)),
}


def twin() -> Twin:
    torch.manual_seed(0)
    return Twin(TwinConfig(num_hidden=5, step_seconds=0.1), TwinSizes(4, 2, 2, 3)).eval()


def of(people: list[int]) -> Batch:
    given = {name: array[people] for name, array in ARRAYS.items()}
    return batch_from_arrays(twin(), **given, window_seconds=1.0, volume_seconds=np.arange(6) * 0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "people"),
    [
        (3, [3]),
        (-1, [4]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        ([4, 0, 0], [4, 0, 0]),
        (np.array([2, 1]), [2, 1]),
        (torch.tensor([2, 1]), [2, 1]),
        (np.array([True, False, False, True, False]), [0, 3]),
    ],
)
def test_a_part_of_a_batch_is_the_batch_of_those_people(index: object, people: list[int]) -> None:
    part, alone = of(list(range(PEOPLE)))[index], of(people)  # type: ignore[index]
    assert part.pseudonyms == [str(who) for who in people]
    assert part.seed_S.tolist() == people
    for left, right in ((part, alone), (part.trials, alone.trials)):
        for name, value in vars(left).items():
            if isinstance(value, torch.Tensor) and name != "seed_S":
                torch.testing.assert_close(value, getattr(right, name), equal_nan=True, msg=name)
    objective = Objective(twin(), 1.0, 1.0)
    assert objective(part).total.item() == pytest.approx(objective(alone).total.item(), rel=1e-5)


def test_padding_carries_no_weight_in_a_part_either() -> None:
    batch = of(list(range(PEOPLE)))
    batch.weight_S[:] = torch.tensor([0.5, 0.0, 0.25, 0.0, 0.25])
    assert batch[[1, 2, 4]].weight_S.tolist() == [0.0, 0.5, 0.5]
    assert batch[[1, 3]].weight_S.tolist() == [0.0, 0.0]


def test_people_are_gone_through_one_by_one_and_nobody_beyond_the_last_is_there() -> None:
    batch = of(list(range(PEOPLE)))
    assert [one.pseudonyms[0] for one in batch] == ["0", "1", "2", "3", "4"]
    assert len(batch[[]]) == 0
    assert len(batch[[]].trials.subject_J) == 0
    for wrong in (5, [0, 5]):
        with pytest.raises(IndexError):
            batch[wrong]
