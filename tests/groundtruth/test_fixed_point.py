"""Numbers are printed as Python prints them, to the last digit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dtb.groundtruth.fixed_point import fixed_point

numbers = st.one_of(
    st.floats(-1e9, 1e9), st.floats(-2, 2), st.sampled_from([0.0, -0.0, -4.9e-5, 0.99995, 9.99995, 1e9])
)


@given(arrays.arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=numbers))
def test_every_number_comes_back_within_half_a_unit_of_the_last_place(values_VC):
    lines = fixed_point(values_VC).decode().splitlines()
    cells = [line.split("\t") for line in lines]
    assert np.shape(cells) == values_VC.shape
    for cell, value in zip(np.ravel(cells), values_VC.ravel(), strict=True):
        assert cell == f"{np.rint(value * 1e4) / 1e4 + 0.0:.4f}"


def test_what_is_no_number_is_not_printed():
    with pytest.raises(AssertionError, match="not finite"):
        fixed_point(np.array([[np.nan]]))
