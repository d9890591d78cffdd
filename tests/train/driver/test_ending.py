"""A training that ends while it improves says so, whatever its learning rate does; one that had come to its end does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dtb.config import TrainConfig
from dtb.train.budget import fitted
from dtb.train.driver.ending import Ending, ending_in_words, longer
from dtb.train.driver.ending import ending_of as ending_before


def rows_of(time_constant: float, *, schedule: str, num_epochs: int = 40, noise: float = 0.0, rises: float = 0.0):
    """Losses that fall exponentially in the learning that was done, from 3 to 1."""
    rng, done, found = np.random.default_rng(0), 0.0, []
    for epoch in range(num_epochs):
        rate = (1 + math.cos(math.pi * epoch / num_epochs)) / 2 if schedule == "cosine" else 1.0
        done += rate
        share = done / (num_epochs / 2 if schedule == "cosine" else num_epochs)
        loss = 1 + 2 * math.exp(-share / time_constant) + rises * max(share - 0.5, 0) + noise * rng.normal()
        found.append({"step": 5 * (epoch + 1), "lr": rate, "validation_loss": loss})
    return found


def ending_of(rows) -> Ending:
    """Of a training that used up its budget."""
    return ending_before(rows, rows[-1]["step"] if rows else 0)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize(
    ("time_constant", "kind"), [(10.0, "improving"), (1.0, "improving"), (0.4, "improving"), (0.08, "level")]
)
def test_it_is_told_by_what_is_left_to_fall(schedule, time_constant, kind):
    for noise in (0.0, 0.01):
        assert ending_of(rows_of(time_constant, schedule=schedule, noise=noise)).kind == kind


def test_noise_is_no_improvement():
    rng = np.random.default_rng(1)
    kinds = [
        ending_of([{"step": at, "lr": 1.0, "validation_loss": 1 + 0.05 * rng.normal()} for at in range(1, 41)]).kind
        for _ in range(100)
    ]
    assert kinds.count("improving") <= 3


def test_what_rose_again_is_no_improvement():
    assert ending_of(rows_of(0.3, schedule="constant", rises=3.0)).kind == "level"


def test_too_few_validations_tell_nothing():
    two = rows_of(1.0, schedule="cosine")[:2]
    assert ending_of(two).kind == "too short"
    assert ending_of([]).kind == "too short"
    assert "10 steps, with fewer than 4 validations" in ending_in_words(ending_of(two), "--max-steps 1500")


def test_losses_that_are_not_finite_are_passed_over():
    rows = rows_of(1.0, schedule="constant")
    rows[25]["validation_loss"] = None
    assert ending_of(rows).kind == "improving"


def test_the_option_that_was_given_is_the_one_to_change():
    epochs = fitted(TrainConfig(batch_size=5, max_epochs=300), 19)  # 4 steps an epoch
    assert longer(epochs, 19) == "--max-epochs 600"
    assert longer(fitted(TrainConfig(batch_size=5, max_epochs=2), 19), 19) == "--max-epochs 375"
    assert longer(fitted(TrainConfig(max_steps=2), 19), 19) == "--max-steps 1500"
    assert longer(fitted(TrainConfig(), 19), 19) == "--max-steps 3000"


def test_a_finished_training_has_nothing_to_say():
    assert ending_in_words(ending_of(rows_of(0.05, schedule="cosine")), "--max-steps 9") is None


def test_one_that_stopped_of_itself_had_come_to_its_end():
    rows = rows_of(1.0, schedule="cosine")
    assert ending_of(rows).kind == "improving"
    assert ending_before(rows, rows[-1]["step"] + 1).kind == "level"
