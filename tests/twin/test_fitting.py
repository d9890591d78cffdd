"""`fit` learns what is there to learn, stops when it should, and leaves the twin as it was at its best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtb.config import TwinConfig
from dtb.twin import Batch, Twin, TwinSizes, batch_from_arrays, fit, standardise_by
from dtb.twin.objective import Objective


def paper_shaped(num_people: int, num_features: int = 30, seed: int = 0) -> tuple[Twin, Batch]:
    """Return data as the paper's authors lay theirs out.

    Features of a connectome that are no pairs of regions, a dense array of presses, and BOLD that was interpolated to the ends of the model
    steps. When people press, and how strongly BOLD answers, depends on the first feature.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    config = TwinConfig(
        num_hidden=12,
        step_seconds=0.08,
        press="sigmoid",
        bold="direct",
        connectome_components=8,
        latent_size=2,
        person_effects=False,
    )
    twin = Twin(config, TwinSizes(0, 3, 3, 2, num_features=num_features))
    connectome = rng.normal(size=(num_people, num_features))
    stimulus, press = np.zeros((num_people, 1, 131, 3)), np.zeros((num_people, 1, 131, 3))
    bold = 0.1 * rng.normal(size=(num_people, 1, 131, 2))
    for person in range(num_people):
        for onset in range(5, 110, 25):
            side = rng.integers(3)
            stimulus[person, 0, onset : onset + 12, side] = 1
            press[person, 0, onset + 8 + int(np.clip(2 * connectome[person, 0], -5, 5)), side] = 1
            bold[person, 0, onset + 5 : onset + 20, 0] += 1 + 0.5 * connectome[person, 0]
    ends = (np.arange(131) + 1) * 0.08
    return twin, batch_from_arrays(twin, connectome, stimulus, press_SKTA=press, bold_SKVR=bold, volume_seconds=ends)


def loss(twin: Twin, batch: Batch) -> float:
    with torch.no_grad():
        return float(Objective(twin, 1.0, 1.0)(batch).total)


def test_a_twin_of_the_papers_kind_learns_and_keeps_its_best_epoch() -> None:
    twin, batch = paper_shaped(36)
    training, validation, unseen = batch[:20], batch[20:28], batch[28:]
    standardise_by(twin, training)
    before = loss(twin.eval(), unseen)
    found = fit(twin, training, validation, max_epochs=8, patience=4, people_per_step=10, learning_rate=1e-2)
    assert not twin.training
    assert loss(twin, unseen) < 0.8 * before
    assert found.validation_losses[found.best_epoch] == min(found.validation_losses)
    assert loss(twin, validation) == pytest.approx(min(found.validation_losses), rel=1e-5)
    assert len(found.training_losses) == len(found.validation_losses) <= 8


def test_it_stops_once_others_gain_nothing_and_is_repeatable() -> None:
    twin, batch = paper_shaped(12)
    state = {name: value.clone() for name, value in twin.state_dict().items()}
    # A learning rate at which each epoch is worse than the start.
    found = fit(twin, batch[:8], batch[8:], max_epochs=50, patience=3, learning_rate=3.0)
    assert len(found.validation_losses) == found.best_epoch + 1 + 3 < 50
    twin.load_state_dict(state)
    assert fit(twin, batch[:8], batch[8:], max_epochs=50, patience=3, learning_rate=3.0) == found
    twin.load_state_dict(state)
    assert fit(twin, batch[:8], batch[8:], max_epochs=50, patience=3, learning_rate=3.0, seed=1) != found


def test_data_that_give_no_finite_loss_are_said_to() -> None:
    twin, batch = paper_shaped(4)
    batch.stimulus_SKTI[0] = torch.inf
    with pytest.raises(ValueError, match="loss of epoch 0 is not finite"):
        fit(twin, batch[:2], batch[2:], max_epochs=1)


@pytest.mark.parametrize("space", ["edges", "tangent"])
def test_standardised_connectomes_have_mean_0_and_deviation_1_over_those_who_have_the_edge(space: str) -> None:
    rng = np.random.default_rng(0)
    twin = Twin(
        TwinConfig(num_hidden=4, connectome_space=space, connectome_components=3),  # type: ignore[arg-type]
        TwinSizes(4, 1, 1, 2),
    )
    connectome = 0.3 * rng.normal(size=(30, 6)) + np.arange(6) * 0.05
    connectome[:10, [0, 1, 2]] = np.nan  # ten people lack the first region
    bold = 7 * rng.normal(size=(30, 1, 40, 2))
    bold[:, :, :20] = 1e6  # in the burn-in
    batch = batch_from_arrays(
        twin,
        connectome,
        np.zeros((30, 1, 10, 1)),
        bold_SKVR=bold,
        volume_seconds=np.arange(40.0),
        burn_in_seconds=20,
    )
    standardise_by(twin, batch)
    read_SE = twin.encoder_input(batch.connectome_SE)
    known_SE = batch.connectome_SE.isfinite() if space == "edges" else torch.ones(30, 6, dtype=torch.bool)
    if space == "tangent":
        known_SE[:10, :3] = False
    for edge in range(6):
        values = read_SE[known_SE[:, edge], edge]
        assert values.mean().item() == pytest.approx(0, abs=1e-5)
        assert values.std().item() == pytest.approx(1, rel=1e-4)
    assert twin.bold_scale_R.numpy() == pytest.approx(bold[:, :, 20:].std((0, 1, 2)), rel=0.01)
    scores_SC = read_SE @ twin.hypernetwork.encoder.components_EC
    assert scores_SC.T.cov().fill_diagonal_(0).abs().max() < 1e-3
