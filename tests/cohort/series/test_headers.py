"""What stands above the columns of a series: names of regions, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from dtb.cohort.series.tabular import read_header_names, read_with_header
from dtb.errors import InputDataError

TABLE = pd.DataFrame(np.random.default_rng(0).standard_normal((20, 3)), columns=["a", "b", "c"])


@pytest.mark.parametrize("index_label", [None, "index", "Unnamed: 0", "volume"])
def test_a_column_that_counts_volumes_is_no_region(tmp_path, index_label):
    path = tmp_path / "sub-1_timeseries.tsv"
    TABLE.to_csv(path, sep="\t", index_label=index_label)
    with pytest.raises(InputDataError, match="column 1 has no name of a region"):
        read_header_names(path)
    with pytest.raises(InputDataError, match="column 1 has no name of a region"):
        read_with_header(path, ("a", "b", "c"), 1.0)


def test_a_table_without_a_header_does_not_lose_its_first_volume(tmp_path):
    path = tmp_path / "sub-1_timeseries.tsv"
    TABLE.to_csv(path, sep="\t", index=False, header=False)
    with pytest.raises(InputDataError, match="has no header"):
        read_header_names(path)


def test_regions_may_be_called_by_whole_numbers(tmp_path):
    path = tmp_path / "sub-1_timeseries.tsv"
    TABLE.to_csv(path, sep="\t", index=False, header=["1", "2", "3"])
    assert read_header_names(path) == ("1", "2", "3")
    np.testing.assert_allclose(read_with_header(path, ("3", "2", "1"), 1.0), TABLE.to_numpy()[:, ::-1])
