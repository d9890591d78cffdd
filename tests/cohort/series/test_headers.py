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


@pytest.mark.parametrize("label", ["Frame", "time_s", "TR"])
@pytest.mark.parametrize("step", [1, 0.72])
def test_a_column_that_counts_volumes_is_no_region_whatever_it_is_called(tmp_path, label, step):
    path = tmp_path / "sub-1_timeseries.tsv"
    table = TABLE.copy()
    table.insert(1, label, np.round(np.arange(20) * step, 3))
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputDataError, match=f"column 2, '{label}', grows by {step:g} from volume to volume"):
        read_with_header(path, ("a", label, "b", "c"), 1.0)
    table.assign(**{label: 3.0}).to_csv(path, sep="\t", index=False)  # a constant is an absent region
    assert read_with_header(path, ("a", label, "b", "c"), 1.0).shape == (20, 4)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda text: text.replace(".", ","), "volume 1, column 1 has .*a decimal point, not a comma"),
        (lambda text: text.replace("\t", ";"), "one column, 'a;b;c'.*by tabs"),
        (lambda text: text.replace("\t", ","), "one column, 'a,b,c'.*by tabs"),
        (lambda text: text.replace("a\tb\tc", '"a"\t"b"\t"c"'), "quotation marks.*quote = FALSE"),
        (lambda text: text.replace("\n", "\r"), "carriage returns alone"),
        (lambda text: "", "is empty; expected a header"),
        (lambda text: text + "NA\tNA\tNA\n", "volume 21, column 1 has 'NA'.*write n/a"),
        (lambda text: text + "1\t2\n", "volume 21 has 2 cells, the first one 3"),
        (lambda text: text.encode("utf-16"), "not UTF-8 text.*Save it as UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_of_by_volume_and_what_to_write(tmp_path, changed, said):
    path = tmp_path / "sub-1_timeseries.tsv"
    text = changed(TABLE.to_csv(sep="\t", index=False))
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputDataError, match=said):
        read_with_header(path, read_header_names(path), 1.0)
