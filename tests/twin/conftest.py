"""A small made-up batch, the same for every test of the twin."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dtb.config import TwinConfig
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.sizes import TwinSizes

SIZES = TwinSizes(num_regions=6, num_channels=3, num_alternatives=2, num_bold_regions=6)


def make_config(**changes: object) -> TwinConfig:
    """A twin small enough to look at; `changes` as in `TwinConfig`."""
    values: dict[str, object] = {
        "num_hidden": 10,
        "rank": 2,
        "latent_size": 4,
        "encoder_widths": (7,),
        "connectome_components": 5,
        "step_seconds": 0.1,
    }
    return TwinConfig(**(values | changes))  # type: ignore[arg-type]


def make_batch(num_subjects: int = 3, num_segments: int = 2, num_steps: int = 60, seed: int = 0) -> Batch:
    """People with two trials a segment: a press 5 to 9 steps after the first onset, none after the second."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    people, segments, volumes = num_subjects, num_segments, 7
    subject_J = torch.arange(people).repeat_interleave(segments * 2)
    segment_J = torch.arange(segments).repeat_interleave(2).repeat(people)
    num_trials = len(subject_J)
    first_J = torch.arange(num_trials) % 2 == 0
    onset_J = torch.where(first_J, 10.25, 40.0).double()
    rt_J = torch.where(first_J, 0.5 + 0.05 * (torch.arange(num_trials) % 12), torch.nan).double()
    window_J = torch.full((num_trials,), 15.0, dtype=torch.float64)
    response_JA = torch.zeros(num_trials, SIZES.num_alternatives, dtype=torch.bool)
    response_JA[first_J, torch.arange(num_trials)[first_J] // 2 % SIZES.num_alternatives] = True
    press_SKTA = torch.zeros(people, segments, num_steps, SIZES.num_alternatives, dtype=torch.bool)
    at_risk_SKT = torch.zeros(people, segments, num_steps)
    for trial in range(num_trials):
        place = subject_J[trial], segment_J[trial]
        pressed = bool(first_J[trial])
        end = onset_J[trial] + (rt_J[trial] / 0.1 if pressed else window_J[trial])
        for step in range(num_steps):
            at_risk_SKT[place][step] += max(min(step + 1, float(end)) - max(step, float(onset_J[trial])), 0.0)
        if pressed:
            press_SKTA[place][int(end)] = response_JA[trial]
    bold_counted_SKV = torch.ones(people, segments, volumes, dtype=torch.bool)
    bold_counted_SKV[..., 0] = False
    return Batch(
        pseudonyms=[f"p{index}" for index in range(people)],
        seed_S=torch.arange(people) + 100,
        weight_S=torch.full((people,), 1.0 / max(people, 1)),
        connectome_SE=normal(people, SIZES.num_edges),
        run_SK=torch.zeros(people, segments, dtype=torch.int64),
        session_SK=torch.zeros(people, segments, dtype=torch.int64),
        start_seconds_SK=torch.zeros(people, segments, dtype=torch.float64),
        stimulus_SKTI=normal(people, segments, num_steps, SIZES.num_channels),
        task_SK=torch.zeros(people, segments, dtype=torch.int64),
        press_SKTA=press_SKTA,
        at_risk_SKT=at_risk_SKT,
        counted_SKT=torch.arange(num_steps).expand(people, segments, -1) >= 8,
        bold_SKVR=normal(people, segments, volumes, SIZES.num_bold_regions),
        bold_counted_SKV=bold_counted_SKV,
        bold_steps_SKT=torch.ones(people, segments, num_steps, dtype=torch.bool),
        volume_seconds_SKV=(torch.arange(volumes) * 0.85).expand(people, segments, volumes).contiguous(),
        trials=TrialTensors(
            subject_J=subject_J,
            segment_J=segment_J,
            run_J=torch.zeros(num_trials, dtype=torch.int64),
            trial_J=torch.arange(num_trials),
            onset_steps_J=onset_J,
            window_steps_J=window_J,
            rt_seconds_J=rt_J,
            response_JA=response_JA,
            correct_JA=response_JA,
            scored_J=torch.ones(num_trials, dtype=torch.bool),
            usable_J=torch.ones(num_trials, dtype=torch.bool),
            held_out_J=torch.zeros(num_trials, dtype=torch.bool),
            condition_J=first_J.long(),
            task_J=torch.zeros(num_trials, dtype=torch.int64),
        ),
        step_seconds=0.1,
    )


def in_float64(batch: Batch) -> Batch:
    """The same batch with connectomes, stimuli and targets in float64."""
    names = ("weight_S", "connectome_SE", "stimulus_SKTI", "at_risk_SKT", "bold_SKVR", "volume_seconds_SKV")
    return dataclasses.replace(batch, **{name: getattr(batch, name).double() for name in names})


@pytest.fixture
def batch() -> Batch:
    return make_batch()
