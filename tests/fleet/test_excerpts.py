"""An excerpt is the same people doing a part of the same, and what is simulated of that part is unchanged."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dtb.config import InterveneConfig
from dtb.fleet.contrasts import Contrasts
from dtb.fleet.excerpts import excerpt
from dtb.fleet.named_target import make_search_target
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.twins import SharedTwin, TwinRunner, open_shared_twin
from dtb.intervene.indicators import press_distribution
from tests.fleet.world import make_world

KEYS = ["p0000", "p0001", "p0002"]


@pytest.fixture(scope="module")
def shared_twin(tmp_path_factory: pytest.TempPathFactory) -> SharedTwin:
    return open_shared_twin(*make_world(tmp_path_factory.mktemp("world"), num_people=3))


def test_each_task_keeps_so_many_segments_with_all_their_trials(shared_twin: SharedTwin) -> None:
    _, batch = TwinRunner(shared_twin, 0).lay_out(KEYS)
    part = excerpt(batch, 2)
    for subject in range(3):
        for task in (0, 1):
            assert int((part.task_SK[subject] == task).sum()) == min(2, int((batch.task_SK[subject] == task).sum()))
    whole = {
        (int(s), int(r), int(j))
        for s, r, j in zip(batch.trials.subject_J, batch.trials.run_J, batch.trials.trial_J, strict=True)
    }
    kept = {
        (int(s), int(r), int(j))
        for s, r, j in zip(part.trials.subject_J, part.trials.run_J, part.trials.trial_J, strict=True)
    }
    assert kept < whole
    onset = part.start_seconds_SK[part.trials.subject_J, part.trials.segment_J] + 0.08 * part.trials.onset_steps_J
    torch.testing.assert_close(onset, 1.0 + 4.0 * part.trials.trial_J.double())


def test_a_large_enough_excerpt_is_everything(shared_twin: SharedTwin) -> None:
    _, batch = TwinRunner(shared_twin, 0).lay_out(KEYS)
    part = excerpt(batch, 100)
    for field in dataclasses.fields(batch):
        mine, theirs = getattr(part, field.name), getattr(batch, field.name)
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine.nan_to_num(), theirs.nan_to_num()), field.name


def test_trials_are_performed_as_in_the_whole(shared_twin: SharedTwin) -> None:
    runner = TwinRunner(shared_twin, 0)
    _, batch = runner.lay_out(KEYS)
    found = []
    for one in (batch, excerpt(batch, 1)):
        output = runner.twin(one.connectome_SE, one.stimulus_SKTI, one.seed_S)
        mean_rt_J = press_distribution(runner.twin, output, one, runner.outlines).mean_rt_J()
        rows = zip(one.trials.subject_J, one.trials.run_J, one.trials.trial_J, mean_rt_J, strict=True)
        found.append({(int(s), int(r), int(j)): float(rt) for s, r, j, rt in rows})
    assert found[1]
    assert all(found[0][key] == pytest.approx(value, abs=1e-5) for key, value in found[1].items())


def test_contrasts_of_an_excerpt_use_its_volumes_only(shared_twin: SharedTwin) -> None:
    runner = TwinRunner(shared_twin, 0)
    records, batch = runner.lay_out(KEYS)
    part = excerpt(batch, 1)
    weights_SKV = Contrasts(runner.taskset).weights(records, part)
    assert (weights_SKV[~part.bold_counted_SKV] == 0).all()
    # A contrast does not see a constant.
    torch.testing.assert_close(weights_SKV.sum(2), torch.zeros(weights_SKV.shape[:2]), atol=1e-5, rtol=0)


def test_whoever_needs_more_than_the_excerpt_gets_everything_and_nobody_else_does(shared_twin: SharedTwin) -> None:
    search_target = make_search_target(
        InterveneConfig(task="stroop", indicator="condition_rt", segments_per_task=1), shared_twin
    )
    worker = SurveyWorker([shared_twin], search_target, 0, frozenset())
    usual = worker.prepare(KEYS).excerpts[0]._once[0]
    meet = worker._runners[0].lay_out

    def with_rare_condition(keys, runs=()):  # type: ignore[no-untyped-def]
        """The second person meets one of the two conditions in the first segment of the task only."""
        records, batch = meet(keys, runs)
        trials = batch.trials
        mine_J = (trials.subject_J == 1) & (trials.task_J == 1)
        first = int(trials.segment_J[mine_J].min())
        trials.condition_J[mine_J] = (trials.segment_J[mine_J] == first).long() * (trials.trial_J[mine_J] % 2)
        return records, batch

    worker._runners[0].lay_out = with_rare_condition  # type: ignore[method-assign]
    prepared = worker.prepare(KEYS)
    assert prepared.excerpts[0].has(search_target.target).all()
    given, whole = prepared.excerpts[0]._once[0], prepared.batch
    assert int((given.task_SK[1] >= 0).sum()) == int((whole.task_SK[1] >= 0).sum())
    for other in (0, 2):
        assert int((given.task_SK[other] >= 0).sum()) == int((usual.task_SK[other] >= 0).sum())
