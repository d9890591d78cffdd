"""Censored volumes stand at their own places in time, whichever column of XCP-D's outliers.tsv marks them."""

import numpy as np
import pandas as pd
import pytest

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.bids.names import BidsName
from dtb.cohort.series.read import ZERO_VOLUMES, read_series
from dtb.cohort.series.tabular import on_the_clock
from dtb.config import IngestConfig
from dtb.errors import InputDataError

NUM_VOLUMES = 40
VALUES_VR = np.random.default_rng(0).standard_normal((NUM_VOLUMES, 2))


def marked(*places: int) -> np.ndarray:
    marks_V = np.zeros(NUM_VOLUMES, int)
    marks_V[list(places)] = 1
    return marks_V


MOTION, BETWEEN = marked(5, 9, 30), marked(6, 7, 8)
ALL = MOTION | BETWEEN


def write(tmp_path, **columns):
    path = tmp_path / "sub-1_task-rest_outliers.tsv"
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False)
    return path


def restored(path, missing_V: np.ndarray) -> np.ndarray:
    return on_the_clock(VALUES_VR[missing_V == 0], path, path.with_name("run_timeseries.tsv"))


def on_own_places(marks_V: np.ndarray) -> np.ndarray:
    return np.where(marks_V[:, None] == 1, np.nan, VALUES_VR)


@pytest.mark.parametrize(
    ("columns", "taken_out", "missing"),
    [
        ({"framewise_displacement": MOTION}, MOTION, MOTION),
        ({"framewise_displacement": MOTION, "censor_between": BETWEEN, "denoising": ALL}, ALL, ALL),
        ({"framewise_displacement": MOTION, "denoising": ALL}, ALL, ALL),
        ({"framewise_displacement_hash-0a1b": MOTION, "denoising_hash-0a1b": ALL}, ALL, ALL),
        ({"denoising": ALL}, ALL, ALL),
        # A series that is interpolated, and so whole: what was made up is no measurement.
        ({"framewise_displacement": MOTION, "denoising": ALL}, marked(), ALL),
        # Only some of the marks were applied to the series; the others are left out here.
        ({"framewise_displacement": MOTION, "denoising": ALL}, MOTION, ALL),
        (
            {"framewise_displacement": MOTION, "dvars": marked(2), "denoising": MOTION | marked(2), "interpolation": ALL | marked(2)},
            MOTION | marked(2),
            ALL | marked(2),
        ),
        ({"framewise_displacement": MOTION, "exact_20": 1 - marked(*range(12, 32))}, MOTION, MOTION),
    ],
)  # fmt: skip
def test_volumes_stand_at_their_own_places(tmp_path, columns, taken_out, missing):
    np.testing.assert_array_equal(restored(write(tmp_path, **columns), taken_out), on_own_places(missing))


def test_a_series_of_another_length_is_refused_with_what_each_column_keeps(tmp_path):
    path = write(tmp_path, framewise_displacement=MOTION, denoising=ALL)
    with pytest.raises(InputDataError, match=r"has 39 volumes.*framewise_displacement 37, denoising 34"):
        restored(path, marked(0))


def test_marks_that_are_none_are_refused(tmp_path):
    path = write(tmp_path, framewise_displacement=np.linspace(0, 1, NUM_VOLUMES))
    with pytest.raises(InputDataError, match="expected 0 and 1"):
        restored(path, MOTION)
    with pytest.raises(InputDataError, match="no column that marks"):
        restored(write(tmp_path, exact_20=MOTION), MOTION)


def test_marks_may_be_true_and_false_as_pandas_writes_them(tmp_path):
    path = write(tmp_path, framewise_displacement=MOTION.astype(bool), denoising=ALL.astype(bool))
    np.testing.assert_array_equal(restored(path, ALL), on_own_places(ALL))


def test_words_are_no_marks(tmp_path):
    with pytest.raises(InputDataError, match="has high in the column denoising"):
        restored(write(tmp_path, denoising=["high", *["0"] * (NUM_VOLUMES - 1)]), marked(0))


def test_volumes_that_are_zero_everywhere_are_missing_and_a_zero_is_a_value(tmp_path):
    path = tmp_path / "sub-1_task-rest_seg-Toy_timeseries.tsv"
    values_VR = np.where(ALL[:, None] == 1, 0.0, VALUES_VR)
    values_VR[0, 0] = 0.0
    pd.DataFrame(values_VR, columns=["a", "b"]).to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text('{"RepetitionTime": 2}')
    name = BidsName({"sub": "1", "task": "rest", "seg": "Toy"}, "timeseries", ".tsv")
    found = read_series(SeriesFile(path, name), ("a", "b"), IngestConfig())
    np.testing.assert_array_equal(found.kept_V, ALL == 0)
    np.testing.assert_allclose(found.values_VR[ALL == 0], values_VR[ALL == 0])
    assert ZERO_VOLUMES in found.notices
