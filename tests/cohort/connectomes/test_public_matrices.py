"""Matrices as CONN, giga_connectome and pandas write them: the values that were put in, under their own names, or a sentence."""

import dataclasses

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from dtb.cohort.connectomes.matrices import read_matrix, read_matrix_regions
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.people.records import edges_from_matrix

NAMES = tuple(f"atlas.FP{number} (Frontal Pole)" for number in range(5))
AS_THEY_ARE = IngestConfig(connectome="precomputed", matrix_transform="none")
CORRELATIONS = dataclasses.replace(AS_THEY_ARE, matrix_transform="fisher_z")


def correlations() -> np.ndarray:
    return np.corrcoef(np.random.default_rng(0).standard_normal((5, 60)))


def write_conn(path, z_RR: np.ndarray, targets: tuple[str, ...], newer: bool):
    """Write as CONN's `resultsROI_Subject001_Condition001.mat`: a row for each source, a column for each target."""
    if not newer:
        cells = {"names": np.array(NAMES, dtype=object)[None], "names2": np.array(targets, dtype=object)[None]}
        savemat(path, {"Z": z_RR, **cells, "xyz": np.zeros((1, 5)), "SE": np.ones((1, 5)), "DOF": np.ones((1, 1))})
        return path
    with h5py.File(path, "w") as stream:
        stream["Z"] = z_RR.T
        for key, names in (("names", NAMES), ("names2", targets)):
            cells = [stream.create_dataset(f"#refs#/{key}{place}", data=np.array([[ord(c)] for c in name], np.uint16))
                     for place, name in enumerate(names)]  # fmt: skip
            stream[key] = np.array([[cell.ref] for cell in cells], dtype=h5py.ref_dtype)
    return path


@pytest.mark.parametrize("newer", [False, True], ids=["mat 5", "mat 7.3"])
@pytest.mark.parametrize("more", [(), ("atlas.Ver45", "networks.DMN")], ids=["square", "more targets than sources"])
def test_conns_matrix_is_read_by_name_and_its_fisher_z_are_not_transformed_again(tmp_path, newer, more):
    with np.errstate(divide="ignore"):
        z_RR = np.arctanh(correlations())
    np.fill_diagonal(z_RR, np.nan)
    wide = np.column_stack([z_RR, np.random.default_rng(1).standard_normal((5, len(more)))])
    path = write_conn(tmp_path / "sub-1_task-rest_connectivity.mat", wide, NAMES + more, newer)
    assert read_matrix_regions(path, AS_THEY_ARE) == NAMES
    np.testing.assert_allclose(read_matrix(path, NAMES, AS_THEY_ARE), edges_from_matrix(z_RR))
    with pytest.raises(InputDataError, match="Z are Fisher z already.*matrix_transform: none"):
        read_matrix(path, NAMES, CORRELATIONS)


def test_conns_matrix_of_gppi_is_refused(tmp_path):
    """NITRC's forum of CONN, message 41059: the two directions of task-related connectivity differ."""
    path = write_conn(tmp_path / "connectivity.mat", np.random.default_rng(0).standard_normal((5, 5)), NAMES, False)
    with pytest.raises(InputDataError, match="is not symmetric.*A directed matrix cannot be read"):
        read_matrix(path, NAMES, AS_THEY_ARE)


@pytest.mark.parametrize("index", [False, True], ids=["giga_connectome", "pandas with its index"])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_of_rows_and_columns_are_no_values(tmp_path, index, first):
    """giga_connectome#80: a header 0, 1, 2, ... over a matrix; with an index the whole would be square and symmetric, and one too large."""
    path = tmp_path / "sub-1_task-rest_seg-Toy_meas-PearsonCorrelation_desc-denoiseSimple_relmat.tsv"
    numbers = np.arange(5) + first
    pd.DataFrame(correlations(), index=numbers, columns=numbers).to_csv(path, sep="\t", index=index)
    labels = tmp_path / "labels.tsv"
    labels.write_text("".join(f"{place + 1}\t{name}\n" for place, name in enumerate(NAMES)))
    config = dataclasses.replace(CORRELATIONS, region_labels=labels)
    assert read_matrix_regions(path, config) == NAMES
    np.testing.assert_allclose(np.tanh(read_matrix(path, NAMES, config)), edges_from_matrix(correlations()), rtol=1e-6)
    with pytest.raises(InputDataError, match="does not name its 5 regions"):
        read_matrix_regions(path, CORRELATIONS)
