"""Matrices that others computed come out as they were put in, whatever file holds them, or are refused with one clear error."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.bids.selection import read_selection
from dtb.cohort.connectomes.matrices import find_matrices, read_matrix, read_matrix_regions
from dtb.cohort.ingest import ingest
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.config import ClusterConfig, Config, IngestConfig
from dtb.errors import InputDataError
from dtb.people.records import edges_from_matrix
from dtb.shards.read import open_cohort
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

NAMES = tuple(f"LH_Vis_{number}" for number in range(1, 7))
TASKS = TaskSet((load_task("stroop"), load_task("hammer")))
COUNTS = IngestConfig(connectome="precomputed")
PLAIN = dataclasses.replace(COUNTS, matrix_transform="none")


def counts(seed: int = 0, regions: int = 6) -> np.ndarray:
    half = np.triu(np.random.default_rng(seed).integers(1, 5000, (regions, regions)).astype(float), 1)
    return half + half.T


def write_relmat(path: Path, matrix: np.ndarray, names=NAMES, **options) -> Path:
    """Write as XCP-D does."""
    pd.DataFrame(matrix, index=names, columns=names).to_csv(path, sep="\t", index_label="Node", na_rep="n/a", **options)
    return path


def write_dense(path: Path, matrix: np.ndarray) -> Path:
    """Write as BEP017 has it."""
    np.savetxt(path, matrix, delimiter="\t")
    return path


def write_qsirecon(path: Path, matrix: np.ndarray, names=NAMES) -> Path:
    """Write as QSIRecon's BuildConnectome does, several measures of several atlases."""
    other = counts(9, 4)
    variables = {
        "atlas_4S156_region_ids": np.arange(1, len(names) + 1),
        "atlas_4S156_region_labels": np.array(names, dtype=object),
        "atlas_4S156_radius2_count_connectivity": matrix,
        "atlas_4S156_radius2_meanlength_connectivity": matrix * 3,
        "atlas_AAL_region_labels": np.array(["a", "b", "c", "d"], dtype=object),
        "atlas_AAL_radius2_count_connectivity": other,
        "command": "tck2connectome",
    }
    savemat(path, variables, long_field_names=True)
    return path


def write_dsi_studio(path: Path, matrix: np.ndarray, names=NAMES) -> Path:
    text = "\n".join(names) + "\n"
    savemat(path, {"connectivity": matrix, "name": np.frombuffer(text.encode(), np.uint8)[None], "atlas": "4S156"})
    return path


def write_mat73(path: Path, matrix: np.ndarray, names=NAMES) -> Path:
    """Write as MATLAB 7.3 does: HDF5 after a header, arrays transposed, cells as references to arrays of characters."""
    with h5py.File(path, "w", userblock_size=512) as stream:
        stream["sc_connectivity"] = matrix.T
        cells = [stream.create_dataset(f"#refs#/{place}", data=np.array([[ord(c)] for c in name], np.uint16))
                 for place, name in enumerate(names)]  # fmt: skip
        stream["sc_region_labels"] = np.array([[cell.ref] for cell in cells], dtype=h5py.ref_dtype)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")
    return path


WAYS = {
    "relmat": (write_relmat, "sub-1_relmat.tsv", COUNTS),
    "qsirecon": (
        write_qsirecon,
        "sub-1_connectivity.mat",
        dataclasses.replace(COUNTS, matrix_key="atlas_4S156_radius2_count_connectivity"),
    ),
    "dsi studio": (write_dsi_studio, "sub-1.connectivity.mat", COUNTS),
    "mat 7.3": (write_mat73, "sub-1_connectivity.mat", COUNTS),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_matrix_is_read_by_name_from_whatever_file_holds_it(way, tmp_path):
    write, name, config = WAYS[way]
    path = write(tmp_path / name, counts())
    assert read_matrix_regions(path, config) == NAMES
    np.testing.assert_allclose(read_matrix(path, NAMES, config), np.log1p(edges_from_matrix(counts())), rtol=1e-12)
    order = [3, 0, 5, 1, 4]
    write(path, counts()[np.ix_(order, order)], [NAMES[place] for place in order])
    found_E = read_matrix(path, NAMES, config)
    expected_RR = counts()
    expected_RR[2] = expected_RR[:, 2] = np.nan
    np.testing.assert_allclose(found_E, np.log1p(edges_from_matrix(expected_RR)), rtol=1e-12)


def test_a_table_without_names_needs_a_table_of_names_and_its_size(tmp_path):
    path = write_dense(tmp_path / "sub-1_relmat.dense.tsv", counts())
    np.testing.assert_allclose(read_matrix(path, NAMES, PLAIN), edges_from_matrix(counts()))
    with pytest.raises(InputDataError, match=r"does not name its 6 regions; .*ingest\.region_labels"):
        read_matrix_regions(path, COUNTS)
    labels = tmp_path / "labels.tsv"
    labels.write_text("".join(f"{place + 1}\t{name}\n" for place, name in enumerate(NAMES)))
    assert read_matrix_regions(path, dataclasses.replace(COUNTS, region_labels=labels)) == NAMES
    with pytest.raises(InputDataError, match="has 6 regions and does not name them; the cohort has 5"):
        read_matrix(path, NAMES[:5], COUNTS)


def test_correlations_become_fisher_z_whether_their_diagonal_is_there_or_not(tmp_path):
    correlation_RR = np.corrcoef(np.random.default_rng(0).standard_normal((6, 40)))
    expected_E = np.arctanh(edges_from_matrix(correlation_RR))
    config = dataclasses.replace(COUNTS, matrix_transform="fisher_z")
    for diagonal in (1.0, 0.999, 0.0, np.nan):
        np.fill_diagonal(correlation_RR, diagonal)
        path = write_relmat(tmp_path / "sub-1_relmat.tsv", correlation_RR)
        np.testing.assert_allclose(read_matrix(path, NAMES, config), expected_E, atol=1e-12)


@pytest.mark.parametrize("diagonal", [np.inf, 8.4, 1.2])
def test_what_is_fisher_z_already_or_a_covariance_is_not_transformed_once_more(tmp_path, diagonal):
    z_RR = np.arctanh(0.9 * np.corrcoef(np.random.default_rng(0).standard_normal((6, 40))))
    np.fill_diagonal(z_RR, diagonal)
    path = write_relmat(tmp_path / "sub-1_relmat.tsv", z_RR)
    with pytest.raises(InputDataError, match="on its diagonal; correlations have 1 there.*matrix_transform: none"):
        read_matrix(path, NAMES, dataclasses.replace(COUNTS, matrix_transform="fisher_z"))
    np.testing.assert_allclose(read_matrix(path, NAMES, PLAIN), edges_from_matrix(z_RR), atol=1e-12)


@pytest.mark.parametrize("triangle", [np.triu, np.tril])
def test_half_a_matrix_is_taken_as_the_whole(triangle, tmp_path):
    path = write_dense(tmp_path / "sub-1_relmat.dense.tsv", triangle(counts()))
    np.testing.assert_allclose(read_matrix(path, NAMES, PLAIN), edges_from_matrix(counts()))


def test_a_region_without_any_entry_is_absent_and_a_single_missing_entry_is_one_edge(tmp_path):
    matrix_RR = counts()
    matrix_RR[2] = matrix_RR[:, 2] = 0.0
    matrix_RR[4] = matrix_RR[:, 4] = np.nan
    matrix_RR[0, 1] = matrix_RR[1, 0] = np.nan
    matrix_RR[0, 3] = matrix_RR[3, 0] = 0.0
    found_E = read_matrix(write_relmat(tmp_path / "sub-1_relmat.tsv", matrix_RR), NAMES, COUNTS)
    rows, columns = np.triu_indices(6, 1)
    lost = np.isin(rows, (2, 4)) | np.isin(columns, (2, 4)) | ((rows == 0) & (columns == 1))
    np.testing.assert_array_equal(np.isnan(found_E), lost)
    assert found_E[(rows == 0) & (columns == 3)] == 0


def spoilt(place: tuple[int, int], value: float) -> np.ndarray:
    matrix_RR = counts()
    matrix_RR[place] = value
    return matrix_RR


@pytest.mark.parametrize(
    ("matrix", "config", "words"),
    [
        (spoilt((1, 3), 7.0), COUNTS, "is not symmetric: row 2, column 4 is 7"),
        (spoilt((1, 3), np.nan), COUNTS, "is not symmetric: row 2, column 4 is nan"),
        (spoilt((1, 3), np.inf), COUNTS, "infinite"),
        (-counts(), COUNTS, r"has the value -\d+, which is not a number of streamlines.*matrix_transform: fisher_z"),
        (counts(), dataclasses.replace(COUNTS, matrix_transform="fisher_z"), r"has the value \d+; correlations lie .*log1p"),
        (counts()[:5], COUNTS, "line 1 has 6 values; expected 5"),
        (counts()[:, :5], COUNTS, "line 1 has 5 values; expected 6"),
    ],
)  # fmt: skip
def test_what_is_no_connectome_is_refused_with_its_place(matrix, config, words, tmp_path):
    path = write_dense(tmp_path / "sub-1_relmat.dense.tsv", matrix)
    with pytest.raises(InputDataError, match=words):
        read_matrix(path, NAMES, config)


def test_tables_that_say_two_things_are_refused(tmp_path):
    path = write_relmat(tmp_path / "sub-1_relmat.tsv", counts())
    text = path.read_text()
    for spoil, words in (
        (text.replace("\nLH_Vis_2", "\nLH_Vis_9"), "names of its rows are not those of its columns"),
        (text.replace("LH_Vis_2", "LH_Vis_1"), "'LH_Vis_1' occurs twice"),
        (text.replace("LH_Vis_2", "RH_Vis_2"), "has the region 'RH_Vis_2', which the cohort's first matrix lacks"),
        (text.rsplit("\t", 1)[0] + "\tmany\n", "line 7 has 'many', which is not a number"),
        ("", "is empty"),
    ):
        path.write_text(spoil)
        with pytest.raises(InputDataError, match=words):
            read_matrix(path, NAMES, COUNTS)


def test_which_matrix_of_several_has_to_be_said_and_be_there(tmp_path):
    path = write_qsirecon(tmp_path / "sub-1_connectivity.mat", counts())
    with pytest.raises(InputDataError, match=r"has 3 square matrices \(atlas_4S156_radius2_count.*ingest\.matrix_key"):
        read_matrix(path, NAMES, COUNTS)
    with pytest.raises(InputDataError, match=r"has no matrix 'sift' \(ingest\.matrix_key\); it has atlas_4S156"):
        read_matrix(path, NAMES, dataclasses.replace(COUNTS, matrix_key="sift"))
    savemat(path, {"text": "nothing here"})
    with pytest.raises(InputDataError, match="no square matrix of numbers"):
        read_matrix(path, NAMES, COUNTS)
    savemat(path, {"a": counts() + 1j})
    with pytest.raises(InputDataError, match="no real numbers"):
        read_matrix(path, NAMES, COUNTS)


def test_a_matrix_that_asks_for_too_much_memory_is_refused_before_it_is_read(tmp_path):
    small = dataclasses.replace(COUNTS, max_memory_gib=1e-6)
    big = counts(regions=200)
    for path in (
        write_dense(tmp_path / "sub-1_relmat.dense.tsv", big),
        write_dsi_studio(tmp_path / "sub-1_connectivity.mat", big),
        write_mat73(tmp_path / "sub-2_connectivity.mat", big),
    ):
        with pytest.raises(InputDataError, match=r"ingest\.max_memory_gib"):
            read_matrix(path, NAMES, small)


def test_files_are_found_in_any_folder_and_of_tasks_rest_alone(tmp_path):
    tree = tmp_path / "qsirecon" / "sub-01"
    wanted = [
        tree / "ses-1" / "dwi" / "sub-01_ses-1_run-01_space-T1w_connectivity.mat",
        tree / "ses-2" / "dwi" / "sub-01_ses-2_space-T1w_connectivity.mat",
        tree / "func" / "sub-01_task-rest_seg-4S156Parcels_stat-pearsoncorrelation_relmat.tsv",
    ]
    others = [
        tree / "func" / "sub-01_task-stroop_seg-4S156Parcels_stat-pearsoncorrelation_relmat.tsv",
        tree / "func" / "sub-01_task-rest_timeseries.tsv",
        tmp_path / "qsirecon" / "sub-012" / "dwi" / "sub-012_connectivity.mat",
    ]
    for path in wanted + others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    trees = (tmp_path / "absent", tmp_path / "qsirecon")
    everything = read_selection(COUNTS)
    found, combined = find_matrices(trees, "01", COUNTS, everything)
    assert not combined
    assert {file.path for file in found} == set(wanted)
    assert [file.run for file in found] == ["ses-1_run-1", "ses-2", "task-rest"]
    filtered = dataclasses.replace(COUNTS, bids_filter_file=tmp_path / "filter.json")
    filtered.bids_filter_file.write_text(
        '{"bold": {"session": "2", "direction": "AP"}}'
    )  # a direction tells no structural matrix
    for chosen in (dataclasses.replace(COUNTS, session_label=("ses-2",)), filtered):
        assert [file.run for file in find_matrices(trees, "01", COUNTS, read_selection(chosen))[0]] == ["ses-2"]
    only, _ = find_matrices(trees, "01", dataclasses.replace(COUNTS, matrix_files="*ses-2*.mat"), everything)
    assert [file.path for file in only] == [wanted[1]]
    (tree / "func" / "sub-01_task-rest_seg-Tian_relmat.tsv").touch()
    with pytest.raises(InputDataError, match=r"are matrices of the same run; .*ingest\.matrix_files"):
        find_matrices(trees, "01", COUNTS, everything)


def test_a_matrix_of_runs_put_together_stands_back_for_those_of_the_runs(tmp_path):
    func = tmp_path / "xcp_d" / "sub-01" / "func"
    func.mkdir(parents=True)
    for run in ("_dir-AP_run-1", "_dir-PA_run-1", ""):
        (func / f"sub-01_task-rest{run}_seg-Toy_stat-pearsoncorrelation_relmat.tsv").touch()
    everything = read_selection(COUNTS)
    found, combined = find_matrices((tmp_path / "xcp_d",), "01", COUNTS, everything)
    assert [file.run for file in found] == ["task-rest_dir-AP_run-1", "task-rest_dir-PA_run-1"]
    assert [path.name for path in combined] == ["sub-01_task-rest_seg-Toy_stat-pearsoncorrelation_relmat.tsv"]
    scanned = {(("task", "rest"),)}
    (
        func / "sub-01_task-rest_seg-Toy_stat-pearsoncorrelation_desc-300volumes_relmat.tsv"
    ).touch()  # --create-matrices 300 all
    assert len(find_matrices((tmp_path / "xcp_d",), "01", COUNTS, everything)[1]) == 2
    with pytest.raises(InputDataError, match="are matrices of the same run"):
        find_matrices((tmp_path / "xcp_d",), "01", COUNTS, everything, scanned)
    next(func.glob("*desc-300volumes*")).unlink()
    assert len(find_matrices((tmp_path / "xcp_d",), "01", COUNTS, everything, scanned)[0]) == 3
    for path in func.glob("*_run-*"):
        path.unlink()
    found, combined = find_matrices((tmp_path / "xcp_d",), "01", COUNTS, everything)
    assert ([file.run for file in found], combined) == (["task-rest"], ())


def assert_read_or_refused(path: Path, regions: tuple[str, ...], config: IngestConfig) -> None:
    refusal, num_edges = None, len(regions) * (len(regions) - 1) // 2
    edges_E = np.zeros(num_edges)
    try:
        edges_E = read_matrix(path, regions, config)
    except InputDataError as error:
        refusal = str(error)
    assert refusal is None or path.name in refusal
    assert edges_E.shape == (num_edges,)
    assert not np.isinf(edges_E).any()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damaged_files_end_in_an_error_or_in_the_numbers_they_hold(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    way = data.draw(st.sampled_from(["relmat", "mat 7.3"]))
    write, name, config = WAYS[way]
    path = write(folder / name, counts())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        # What MATLAB 7.3's file begins with stays, by which it is known.
        at = data.draw(st.integers(600 if way == "mat 7.3" else 0, max(len(content) - 1, 600)))
        if how == "flip" and at < len(content):
            content[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del content[at : at + data.draw(st.integers(1, len(content) + 1))]
        else:
            content[at:at] = data.draw(st.binary(max_size=6))
    path.write_bytes(content)
    assert_read_or_refused(path, NAMES, config)


@pytest.mark.parametrize(
    ("place", "value"), [(145, 14), (172, 17), (192, 255), (193, 2), (0, 0), (124, 9), (128, 200), (300, 1)]
)
def test_a_damaged_matlab_file_that_crashes_its_reader_is_refused(place, value, tmp_path):
    path = write_dsi_studio(tmp_path / "sub-1.connectivity.mat", counts())
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)
    assert_read_or_refused(path, NAMES, COUNTS)
    if place in {145, 172, 192, 193}:
        with pytest.raises(InputDataError, match="is not a readable MATLAB file: it crashed the process that read it"):
            read_matrix(path, NAMES, COUNTS)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from(["1", "0", "-3", "n/a", "", "x", "1e400", "é", "inf"]), max_size=5), max_size=6),
    st.sampled_from(["log1p", "fisher_z", "none"]),
)
def test_any_table_is_a_connectome_or_a_clear_error(tmp_path_factory, rows, transform):
    path = tmp_path_factory.mktemp("tables") / "sub-1_relmat.tsv"
    path.write_text("\n".join("\t".join(row) for row in rows))
    config = dataclasses.replace(COUNTS, matrix_transform=transform)
    assert_read_or_refused(path, ("x", "é", "1"), config)


@pytest.fixture
def structural(small_cohort, tmp_path) -> tuple[Path, Path, IngestConfig]:
    """The small cohort, and a tree with matrices of two sessions, one person's as of QSIRecon; one file is cut, and both of one person."""
    names = tuple(json.loads((small_cohort / "truth" / "mechanism.json").read_text())["regions"])
    tree = tmp_path / "qsirecon"
    for number in range(1, 7):
        for session in ("1", "2"):
            folder = tree / f"sub-{number:04d}" / f"ses-{session}" / "dwi"
            folder.mkdir(parents=True)
            stem, matrix = f"sub-{number:04d}_ses-{session}_space-T1w", counts(10 * number + int(session), 20)
            if number == 1:
                path = write_qsirecon(folder / f"{stem}_connectivity.mat", matrix, names)
            else:
                path = write_relmat(folder / f"{stem}_relmat.tsv", matrix, names)
            if number == 4 or (number, session) == (3, "1"):
                path.write_bytes(path.read_bytes()[:300])
    settings = dataclasses.replace(COUNTS, matrix_key="atlas_4S156_radius2_count_connectivity", rest_runs="separate")
    return small_cohort, tree, settings


def expected_edges(number: int, *sessions: int) -> np.ndarray:
    each = [np.log1p(edges_from_matrix(counts(10 * number + session, 20))) for session in sessions]
    return np.mean(each, axis=0)


@pytest.mark.slow
def test_structural_connectomes_are_read_with_task_bold_and_without(structural):
    cohort, tree, config = structural
    for trees, has_bold in (((cohort / "derivatives" / "xcp_d", tree), True), ((tree,), False)):
        people = index_people(cohort / "bids", trees, config, TASKS)
        regions = read_matrix_regions(people[0].matrices[0].path, config)
        reads = [read_person(PersonJob(person, f"p{place}", no_covariates(), trees), regions, TASKS, config)
                 for place, person in enumerate(people)]  # fmt: skip
        for number, read in enumerate(reads, 1):
            if number == 4:
                assert read.record is None
                assert "no connectivity matrix could be read" in read.reason
                continue
            sessions = (2,) if number == 3 else (1, 2)
            np.testing.assert_allclose(read.record.connectome_E, expected_edges(number, *sessions), rtol=1e-5)
            assert list(read.record.rest_runs) == [f"ses-{session}" for session in sessions]
            assert read.record.covariates["rest_seconds"] is None
            assert all((run.bold_VR is not None) == has_bold for run in read.record.runs)
        assert [each.run.split("_")[1] for each in reads[2].left_out] == ["ses-1"]
        assert reads[0].rest_KE.shape == (2, 190)


def test_no_matrix_at_all_is_refused(structural):
    cohort, tree, config = structural
    other = dataclasses.replace(config, matrix_files="*.csv")
    with pytest.raises(InputDataError, match=r"No connectivity matrix of any of 6 people .* looked for \*\.csv"):
        index_people(cohort / "bids", (tree,), other, TASKS)


@pytest.mark.cluster
def test_a_cohort_of_structural_connectomes_is_ingested(structural, tmp_path, capsys):
    cohort, tree, settings = structural
    config = Config(ingest=settings, cluster=ClusterConfig(num_cpus=1))
    ingest(config, cohort / "bids", (tree,), tmp_path / "shards", resume=False, dry_run=True)
    assert "6 of them with a matrix (12 files), 20 regions" in " ".join(capsys.readouterr().out.split())
    ingest(config, cohort / "bids", (tree,), tmp_path / "shards", resume=False)
    found = open_cohort(tmp_path / "shards")
    assert found.manifest.description.connectome == {
        "kind": "precomputed",
        "matrix": "atlas_4S156_radius2_count_connectivity",
        "scale": "log of 1 + value",
        "runs": "mean of runs; each kept too",
    }
    assert found.manifest.counts["subjects"] == 5
    assert (tmp_path / "shards" / "reliability.safetensors").is_file()
