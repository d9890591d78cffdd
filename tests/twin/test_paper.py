"""`configs/paper.yaml` is the published model: its size, its layers, its network, its training step and its settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn import functional

from dtb.config import Config, load_config
from dtb.people.records import Run, SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Split
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from dtb.tasks.trials import Trials
from dtb.train.engine import deepspeed_settings
from dtb.twin import Twin, TwinSizes
from dtb.twin.batch import Batch
from dtb.twin.noise import dropout_mask
from dtb.twin.objective import Objective
from dtb.twin.readouts.interpolation import target_at_steps
from tests.twin.conftest import SIZES, in_float64, make_batch

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def paper() -> Config:
    return load_config(CONFIGS / "paper.yaml")


def small(paper: Config, **changes: object) -> Twin:
    """The preset with fewer units and regions, in float64."""
    torch.manual_seed(0)
    config = dataclasses.replace(paper.twin, num_hidden=10, encoder_widths=(7, 7), **changes)
    twin = Twin(config, SIZES).double()
    twin.set_normalisation(torch.full((15,), 0.2), torch.full((15,), 0.3), torch.linspace(0.5, 2.0, 6))
    return twin


def test_it_has_the_papers_layers_and_number_of_parameters(paper: Config) -> None:
    taskset = TaskSet(tuple(load_task(name) for name in paper.ingest.tasks), paper.ingest.channel_layout)
    with torch.device("meta"):
        twin = Twin(paper.twin, TwinSizes(446, taskset.num_channels, taskset.num_alternatives, num_bold_regions=20))
        assert Twin(paper.twin).sizes == twin.sizes
    assert sum(parameter.numel() for parameter in twin.parameters()) == 54_785_623
    layers = [*twin.hypernetwork.encoder.layers, twin.hypernetwork.head]
    assert [tuple(layer.weight.shape) for layer in layers] == [(200, 99_235), (200, 200), (173_623, 200)]
    assert sum(parameter.numel() for layer in layers for parameter in layer.parameters()) == 54_785_623


def test_its_settings_are_the_papers(paper: Config) -> None:
    step = paper.twin.step_seconds
    assert round(paper.segments.segment_seconds / step) == 262
    assert paper.segments.burn_in_seconds == 0
    assert step == pytest.approx(0.8 / 10)
    assert (paper.twin.connectome_dropout, paper.twin.stimulus_delay_steps) == (0.1, 1)
    assert (paper.train.batch_size, paper.train.max_epochs) == (50, 800)
    assert (paper.split.kind, paper.split.train_seconds) == ("temporal", 196.8)
    assert (paper.train.press_weight, paper.train.bold_weight) == (1.0, 1.0)
    settings = deepspeed_settings(paper.train, 1, {})
    # AdamW without weight decay is Adam; there is no schedule and no clipping.
    params = {"lr": 1e-6, "weight_decay": 0.0, "torch_adam": True, "fused": True}
    assert settings["optimizer"]["params"] == params
    assert settings["gradient_clipping"] == 0
    assert "scheduler" not in settings


@pytest.mark.parametrize(("task", "window"), [("stroop", 8.25), ("hammer", 2.0)])
def test_its_segments_of_262_steps_count_every_step_for_presses_and_bold(
    paper: Config, task: str, window: float
) -> None:
    """With a run as long as the cohort's, windows as long as its trials, and its split: 196.8 s, of which the later part validates."""
    onset_J = np.arange(0.5, 390.0, window)
    number = len(onset_J)
    taskset = TaskSet(tuple(load_task(name) for name in paper.ingest.tasks), paper.ingest.channel_layout)
    response_JA = np.eye(len(load_task(task).alternatives), dtype=bool)[np.zeros(number, int)]
    none = np.zeros(0)
    pulses = (none.astype(np.int16), none, none, none.astype(np.float32))
    always_J = np.ones(number, bool)
    trials = Trials(
        onset_J,
        np.full(number, window),
        np.full(number, 0.75 * window),
        response_JA,
        response_JA,
        always_J,
        always_J,
        np.zeros(number, np.int16),
        *pulses,
    )
    volumes = np.random.default_rng(0).normal(size=(492, 2)).astype(np.float32)
    record = SubjectRecord(
        "p", np.zeros(1, np.float32), {}, (Run(task, task, None, None, trials, 393.6, volumes, 0.8),)
    )
    share = paper.split.validation_fraction * paper.split.train_seconds
    ends = (paper.split.train_seconds - share, paper.split.train_seconds)
    split = Split("temporal", ("p",), ("p",), ("p",), *ends, in_seconds=True)
    maker = BatchMaker(taskset, paper.segments, paper.twin.step_seconds, (0, 1), split, loss_of=paper.twin)
    batch = maker.batch([record], "train")
    assert maker.num_steps == 262
    assert batch.task_SK.shape[1] == 8
    assert batch.counted_SKT[0, :7].all()
    assert batch.bold_steps_SKT[0, :7].all()
    assert int(batch.counted_SKT[0, 7].sum()) == int(batch.bold_steps_SKT[0, 7].sum()) == round((ends[0] / 0.08) % 262)
    pressed_J = onset_J + 0.75 * window
    assert int(batch.press_SKTA.any(-1).sum()) == int((pressed_J < ends[0]).sum())
    target = target_at_steps(batch.bold_SKVR, batch.bold_counted_SKV, batch.volume_seconds_SKV, 262, 0.08)[1]
    assert target[0, :7].all()


def test_the_encoder_reads_fisher_z_as_it_is_and_nothing_of_absent_edges(paper: Config) -> None:
    twin = small(paper)
    edges = torch.linspace(-1, 1, 15, dtype=torch.float64)[None].clone()
    edges[0, 4] = torch.nan
    expected = edges.clone()
    expected[0, 4] = 0.0
    assert torch.equal(twin.encoder_input(edges), expected)
    with pytest.raises(ValueError, match="needs `connectome_components: 0`"):
        dataclasses.replace(paper.twin, connectome_components=5)


def test_forward_is_torchs_rnn_with_the_generated_weights_person_by_person(paper: Config) -> None:
    batch, twin = in_float64(make_batch(3, 2, 60)), small(paper).eval()
    generated = twin.generate(batch.connectome_SE)
    output = twin(batch.connectome_SE, batch.stimulus_SKTI)
    late = torch.cat([torch.zeros_like(batch.stimulus_SKTI[:, :, :1]), batch.stimulus_SKTI[:, :, :-1]], dim=2)
    assert generated.recurrence.full_SGN is not None
    for person in range(3):
        network = torch.nn.RNN(SIZES.num_channels, 10, batch_first=True, dtype=torch.float64)
        network.load_state_dict(
            {
                "weight_ih_l0": generated.input_SGI[person],
                "weight_hh_l0": generated.recurrence.full_SGN[person],
                "bias_ih_l0": generated.bias_SG[person],
                "bias_hh_l0": torch.zeros(10),
            }
        )
        states = network(late[person])[0]
        torch.testing.assert_close(output.hidden_SKTN[person], states, rtol=0, atol=1e-6)
        outputs = states @ generated.readout_SON[person].T + generated.readout_bias_SO[person]
        torch.testing.assert_close(output.press_SKTA[person], outputs[..., :2], rtol=0, atol=1e-6)
        torch.testing.assert_close(twin.bold_at_steps(output)[person], outputs[..., 2:], rtol=0, atol=1e-6)


def written_out_loss(twin: Twin, batch: Batch, masks_SE: Tensor) -> Tensor:
    """The paper's loss person by person and step by step, as one would first write it."""
    total = torch.zeros((), dtype=torch.float64)
    people, segments, steps, _ = batch.stimulus_SKTI.shape
    actions, regions = SIZES.num_alternatives, SIZES.num_bold_regions
    for person in range(people):
        features = batch.connectome_SE[person] * masks_SE[person]
        for layer in twin.hypernetwork.encoder.layers:
            features = functional.mish(layer(features))
        shapes = {"input": (10, 3), "bias_ih": (10,), "recurrent": (10, 10), "bias_hh": (10,)}
        shapes |= {"readout": (actions + regions, 10), "readout_bias": (actions + regions,)}
        pieces = twin.hypernetwork.head(features).split([int(np.prod(shape)) for shape in shapes.values()])
        own = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        entropies, squares = [], []
        for segment in range(segments):
            # Volume 0 is not counted in this batch.
            seconds = batch.volume_seconds_SKV[person, segment, 1:].numpy()
            series = (batch.bold_SKVR[person, segment, 1:] / twin.bold_scale_R).numpy()
            spline = CubicSpline(seconds, series)
            state = torch.zeros(10, dtype=torch.float64)
            for step in range(steps):
                stimulus = batch.stimulus_SKTI[person, segment, step - 1] if step else torch.zeros(3).double()
                state = torch.tanh(own["input"] @ stimulus + own["bias_ih"] + own["recurrent"] @ state + own["bias_hh"])
                output = own["readout"] @ state + own["readout_bias"]
                if batch.counted_SKT[person, segment, step]:
                    probability = torch.sigmoid(output[:actions])
                    pressed = batch.press_SKTA[person, segment, step].double()
                    entropies.append(-(pressed * probability.log() + (1 - pressed) * (1 - probability).log()))
                end = (step + 1) * twin.config.step_seconds
                if seconds[0] <= end <= seconds[-1]:
                    squares.append((output[actions:] - torch.from_numpy(spline(end))).square())
        total = total + batch.weight_S[person] * (torch.cat(entropies).mean() + torch.cat(squares).mean())
    return total


def test_one_training_step_is_that_of_the_loss_written_out(paper: Config) -> None:
    batch = in_float64(make_batch(2, 2, 60))
    twin = small(paper).train()
    # Volumes between the ends of steps: whether one at the very end of a step is inside is a matter of rounding.
    seconds = batch.volume_seconds_SKV + 0.011
    batch = dataclasses.replace(batch, volume_seconds_SKV=seconds)
    masks_SE = dropout_mask(batch.seed_S, 15, 0.1).double()
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    steps = []
    objective = Objective(twin, paper.train.press_weight, paper.train.bold_weight)
    for loss_of in (lambda: objective(batch).total, lambda: written_out_loss(twin, batch, masks_SE)):
        twin.load_state_dict(before)
        optimizer = torch.optim.Adam(twin.parameters(), lr=paper.train.learning_rate)
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in twin.parameters() if parameter.grad is not None]
        optimizer.step()
        steps.append([loss.detach(), *gradients, *(parameter.detach().clone() for parameter in twin.parameters())])
    assert len(steps[0]) == 1 + 2 * 6
    for one, two in zip(*steps, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
