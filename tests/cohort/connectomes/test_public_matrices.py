"""Matrices as CONN, giga_connectome and pandas write them: the values that were put in, under their own names, or a sentence."""

import dataclasses

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from dtb.cohort.bids.selection import read_selection
from dtb.cohort.connectomes.matrices import are_fisher_z_twice, find_matrices, read_matrix, read_matrix_regions
from dtb.config import IngestConfig
from dtb.errors import AmbiguousFilesError, InputDataError
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


def labelled(folder, config: IngestConfig = CORRELATIONS, **options) -> IngestConfig:
    path = folder / "labels.tsv"
    path.write_text("".join(f"{place + 1}\t{name}\n" for place, name in enumerate(NAMES)))
    return dataclasses.replace(config, region_labels=path, **options)


@pytest.mark.parametrize("separator", [",", ";", " ", "\t"])
@pytest.mark.parametrize("ending", ["csv", "txt"])
def test_tables_with_other_separators_are_read(tmp_path, separator, ending):
    """MRtrix writes commas, MATLAB's `save -ascii` spaces: `--matrix-files '*.csv'` found a value a line."""
    path = tmp_path / f"sub-1_connectome.{ending}"
    np.savetxt(path, correlations(), delimiter=separator)
    config = labelled(tmp_path)
    assert read_matrix_regions(path, config) == NAMES
    np.testing.assert_allclose(np.tanh(read_matrix(path, NAMES, config)), edges_from_matrix(correlations()), rtol=1e-6)


@pytest.mark.parametrize("kind", ["float64", "float32", "float16"])
def test_arrays_of_numpy_are_read_and_run_no_code(tmp_path, kind):
    path = tmp_path / "sub-1_connectome.npy"
    np.save(path, correlations().astype(kind))
    config = labelled(tmp_path)
    np.testing.assert_allclose(np.tanh(read_matrix(path, NAMES, config)), edges_from_matrix(correlations()), atol=1e-3)
    np.save(path, np.array([[object()] * 5] * 5), allow_pickle=True)
    with pytest.raises(InputDataError, match="not a readable array of NumPy"):
        read_matrix(path, NAMES, config)
    np.save(path, correlations()[0])
    with pytest.raises(InputDataError, match=r"the shape \(5,\); a connectome is square"):
        read_matrix(path, NAMES, config)


def test_correlations_are_no_numbers_of_streamlines(tmp_path):
    """log(1 + r) of absolute correlations, by the default of `ingest.matrix_transform`, was taken without a word."""
    path = tmp_path / "sub-1_connectome.csv"
    np.savetxt(path, np.abs(correlations()), delimiter=",")
    with pytest.raises(InputDataError, match="1 on its diagonal and nothing beyond 1.*matrix_transform: fisher_z"):
        read_matrix(path, NAMES, labelled(tmp_path, matrix_transform="log1p"))
    np.savetxt(path, np.abs(correlations()) - np.eye(5), delimiter=",")
    assert np.isfinite(read_matrix(path, NAMES, labelled(tmp_path, matrix_transform="log1p"))).all()


def test_fisher_z_in_the_place_of_correlations_are_noticed():
    """With 1 or nothing on the diagonal nothing else tells them, as long as none is beyond 1."""
    rng = np.random.default_rng(0)
    networks = rng.standard_normal((100, 8)) @ rng.standard_normal((8, 200))
    series = networks + 1.6 * rng.standard_normal((100, 200))
    correlation_E = edges_from_matrix(np.corrcoef(series))
    assert 0.8 < np.arctanh(correlation_E).max() < 1
    assert not are_fisher_z_twice(np.arctanh(correlation_E))
    assert are_fisher_z_twice(np.arctanh(np.arctanh(correlation_E)))
    strongest_E = np.where(correlation_E > np.quantile(correlation_E, 0.8), correlation_E, 0)
    assert not are_fisher_z_twice(np.arctanh(strongest_E))  # thresholded, and of no other scale
    assert not are_fisher_z_twice(np.full(10, np.nan))


def test_a_matrix_of_another_person_is_not_read(tmp_path):
    """The folder decided: a copy of another person's matrix was this one's, or half of the mean."""
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / "sub-01_task-rest_run-1_relmat.tsv").touch()
    everything = read_selection(CORRELATIONS)
    assert len(find_matrices((tmp_path,), "01", CORRELATIONS, everything)[0]) == 1
    (folder / "sub-02_task-rest_run-2_relmat.tsv").touch()
    with pytest.raises(AmbiguousFilesError, match="sub-02_.* lies in the folder sub-01"):
        find_matrices((tmp_path,), "01", CORRELATIONS, everything)


def test_a_matrix_that_was_not_fetched_is_called_so(tmp_path):
    """It was passed over, and the mean was one of fewer runs."""
    path = tmp_path / "sub-01" / "sub-01_task-rest_relmat.tsv"
    path.parent.mkdir()
    path.symlink_to(".git/annex/objects/gone")
    ((found,), _) = find_matrices((tmp_path,), "01", CORRELATIONS, read_selection(CORRELATIONS))
    with pytest.raises(InputDataError, match="is a link to a file that is not there .not fetched"):
        read_matrix(found.path, NAMES, CORRELATIONS)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputDataError, match="is not a file; expected a connectivity matrix"):
        read_matrix(path, NAMES, CORRELATIONS)
