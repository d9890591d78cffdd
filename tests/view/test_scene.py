"""What is asked of a connectome is done as far as a correlation matrix is left, and a block is performed as in every other stage."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dtb.config import load_config
from dtb.fleet.excerpts import keep_segments
from dtb.fleet.twins import TwinRunner, open_shared_twin, outlines_of
from dtb.intervene.indicators import press_distribution
from dtb.intervene.spaces import Start
from dtb.people.records import Run, SubjectRecord
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Split
from dtb.tasks.taskset import TaskSet
from dtb.twin.edges import edges_of, matrix_of
from dtb.twin.model import Twin
from dtb.twin.sizes import TwinSizes
from dtb.view.scene import ManualChange, edge_place, perform, valid_change
from tests.fleet.world import REGIONS, TASKS, make_trials, make_world
from tests.intervene.matrices import violation

R = len(REGIONS)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return TwinRunner(open_shared_twin(*make_world(tmp_path_factory.mktemp("world"), 3)), seed=0)


@pytest.fixture(scope="module")
def prepared(runner):
    return runner.lay_out(["p0000", "p0001"])[1]


@pytest.fixture(scope="module")
def start(prepared):
    return Start.of(prepared.connectome_SE, R, 1.0)


def _nothing(start):
    return torch.zeros(len(start.budget_S), start.num_edges, dtype=torch.float64)


def test_who_asks_nothing_gets_nothing(start):
    move = valid_change(ManualChange(), start, _nothing(start))
    assert not move.change_SE.any()
    assert move.asked_S.tolist() == move.made_S.tolist() == [0.0, 0.0]


def test_lowered_gains_are_made_exactly_and_spare_absent_regions(start):
    move = valid_change(ManualChange(gains=((2, 0.5), (3, 0.8))), start, _nothing(start))
    own_E = edges_of(start.base_SRR)[0]
    gains_R = torch.ones(R, dtype=torch.float64).index_put((torch.tensor([2, 3]),), torch.tensor([0.5, 0.8]).double())
    rows, columns = torch.triu_indices(R, R, 1)
    torch.testing.assert_close(move.change_SE[0], (gains_R[rows] * gains_R[columns] - 1) * own_E)
    torch.testing.assert_close(move.asked_S, move.made_S)
    of_absent_E = (rows == 3) | (columns == 3)
    assert not move.change_SE[1, of_absent_E].any()


def test_an_edge_that_fits_moves_alone_and_one_that_does_not_takes_others_along_to_a_valid_matrix(start):
    small = valid_change(ManualChange(edges=((7, 2, 0.05),)), start, _nothing(start)).change_SE
    place = edge_place(2, 7, R)
    assert small[0, place] == pytest.approx(0.05)
    assert small[0].count_nonzero() == 1
    move = valid_change(ManualChange(edges=((7, 2, 1.9),)), start, _nothing(start))
    assert 0.1 < move.change_SE[0, place] < 1.9
    assert move.change_SE[0].count_nonzero() > 1
    assert (move.made_S < move.asked_S).all()
    changed_SRR = start.base_SRR + matrix_of(move.change_SE, R, diagonal=0.0)
    assert violation(changed_SRR).max() < 1e-9


def test_a_dose_is_that_share_of_what_was_found(start):
    found_SE = _nothing(start)
    found_SE[:, 5] = 0.04
    torch.testing.assert_close(valid_change(ManualChange(dose=0.5), start, found_SE).change_SE, 0.5 * found_SE)


def test_a_block_is_performed_as_in_the_whole_run(runner):
    place = 1
    whole = runner.lay_out(["p0000"])[1]
    block = keep_segments(whole, [[place]])
    scene = perform(runner.twin, block, whole.connectome_SE, runner.outlines)
    output = runner.twin(whole.connectome_SE, whole.stimulus_SKTI)
    presses = press_distribution(runner.twin, output, whole, runner.outlines)
    mine_J = whole.trials.segment_J == place
    assert mine_J.sum() >= 2
    torch.testing.assert_close(scene.choice_SJA[0], presses.choice_probability_JA()[mine_J])
    torch.testing.assert_close(scene.mean_rt_SJ[0], presses.mean_rt_J()[mine_J])
    torch.testing.assert_close(scene.bold_SVR[0], runner.twin.bold(output, whole.volume_seconds_SKV)[0, place])


def test_density_holds_the_probability_of_a_press(runner, prepared):
    block = keep_segments(runner.lay_out(["p0000"])[1], [[0]])
    scene = perform(runner.twin, block, prepared.connectome_SE, runner.outlines)
    spacing = float(scene.rt_seconds_G[1])
    torch.testing.assert_close(scene.density_SJG.sum(-1) * spacing, 1 - scene.omission_SJ, rtol=0.03, atol=0.003)
    torch.testing.assert_close(scene.choice_SJA.sum(-1) + scene.omission_SJ, torch.ones_like(scene.omission_SJ))


def test_people_see_the_same_block_and_differ_by_their_connectomes_alone(runner, prepared):
    block = keep_segments(runner.lay_out(["p0000"])[1], [[0]])
    twice_SE = prepared.connectome_SE[[0, 1, 0]]
    choice_SJA = perform(runner.twin, block, twice_SE, runner.outlines).choice_SJA
    # Matrix products of other rows of a batch may round differently.
    torch.testing.assert_close(choice_SJA[0], choice_SJA[2], rtol=1e-5, atol=1e-6)
    assert (choice_SJA[0] - choice_SJA[1]).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.on_request
def test_a_person_of_the_papers_size_is_answered_within_a_quarter_of_a_second_of_one_core():
    config = load_config(Path(__file__).parent.parent.parent / "configs" / "paper.yaml")
    trials = torch.Generator().manual_seed(0)
    twin = Twin(config.twin, TwinSizes(num_regions=446, num_channels=9, num_alternatives=3, num_bold_regions=20)).eval()
    assert sum(parameter.numel() for parameter in twin.parameters()) == 54_785_623
    rest_VR = torch.randn(600, 446, generator=trials)
    start = Start.of(torch.corrcoef(rest_VR.T)[*torch.triu_indices(446, 446, 1)].atanh()[None], 446, 1.0)
    spec = TASKS.specs[TASKS.index("stroop")]
    taskset = TaskSet((spec,), "shared")
    run = Run("stroop", "stroop", None, None, make_trials(np.random.default_rng(0), "stroop"), 40.0, None, None)
    record = SubjectRecord("p", start.connectome(_nothing(start))[0].numpy(), {}, (run,))
    maker = BatchMaker(taskset, config.segments, config.twin.step_seconds, [], Split("subjects", ("p",), (), ()))
    block = keep_segments(maker.batch([record], "all"), [[0]])
    block = dataclasses.replace(
        block, stimulus_SKTI=torch.zeros(1, 1, 262, 9), volume_seconds_SKV=torch.arange(26.0)[None, None]
    )
    wanted = ManualChange(edges=((3, 9, 0.5),), gains=((20, 1.5),))

    def answer() -> float:
        began = time.process_time()
        move = valid_change(wanted, start, _nothing(start))
        assert move.made_S < move.asked_S  # so that the way back to the valid matrices is in it
        perform(twin, block, start.connectome(move.change_SE), outlines_of(taskset))
        return time.process_time() - began

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert sorted(answer() for _ in range(6))[2] < 0.25
    finally:
        torch.set_num_threads(threads)
