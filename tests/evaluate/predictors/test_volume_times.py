"""Predictions come back to the volumes that they are of, and contrasts use the same ones, whenever a run's first volume was."""

import dataclasses

import numpy as np
import pytest

from dtb.config import SegmentConfig
from dtb.evaluate.predictors.twin import run_series
from dtb.fleet.contrasts import _runs_of
from dtb.shards.batches import BatchMaker
from dtb.shards.split import Split
from tests.evaluate.people import STROOP, make_person


@pytest.mark.parametrize("first_seconds", [0.0, 0.4, 0.73, 3.6])
def test_each_volume_comes_back_to_its_place(first_seconds):
    record = make_person(1)
    (run, *_) = record.runs
    run = dataclasses.replace(
        run, first_volume_seconds=first_seconds, duration_seconds=run.duration_seconds + first_seconds
    )
    record = dataclasses.replace(record, runs=(run,))
    regions = range(run.bold_VR.shape[1])
    split = Split("subjects", (record.pseudonym,), (record.pseudonym,), (record.pseudonym,))
    maker = BatchMaker(STROOP, SegmentConfig(segment_seconds=30, burn_in_seconds=10), 0.1, regions, split)
    batch = maker.batch([record], part="all")
    series = run_series(batch.bold_SKVR[0].numpy(), batch, 0, record)
    np.testing.assert_allclose(series[0], run.bold_VR, atol=1e-6)
    ((number, usable_V, pieces),) = _runs_of(record, batch, 0)
    assert number == 0
    assert usable_V.all()
    assert sorted(np.concatenate([places for _, _, places in pieces]).tolist()) == list(range(len(run.bold_VR)))
