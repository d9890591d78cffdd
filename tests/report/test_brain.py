"""Edges on a brain: those that are strongest, on the regions' own places; and where the places come from."""

from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest

from dtb.cohort.series.region_centres import find_places, region_places
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.people.cortex import regions_of_vertices
from dtb.people.parcellation import no_places_in_words, places_in, places_of
from dtb.report.brain import edges_on_ring, strongest
from dtb.report.maps import brain_of, edge_map

NAMES = ("LH_one", "LH_two", "RH_three")
# Corners of the atlas below and their millimetres: 2 mm voxels, the first at (-40, -20, 0).
CENTRES = np.array([[-38.0, -18.0, 2.0], [-18.0, -18.0, 2.0], [22.0, -18.0, 2.0]])


@pytest.fixture
def atlas(tmp_path):
    labels = np.zeros((40, 20, 20), dtype=np.int16)
    for number, first in ((3, 0), (7, 10), (20, 30)):  # 3 x 3 x 3 voxels, whose middle is one voxel in
        labels[first : first + 3, :3, :3] = number
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-40.0, -20.0, 0.0)
    path = tmp_path / "atlas-Mine_dseg.nii.gz"
    nibabel.Nifti1Image(labels, affine).to_filename(path)
    return path


def test_the_strongest_edges_are_kept_with_their_sign_and_no_edge_of_zero():
    value_RR = np.zeros((4, 4))
    value_RR[0, 1] = value_RR[1, 0] = -0.9
    value_RR[2, 3] = value_RR[3, 2] = 0.5
    value_RR[0, 3] = value_RR[3, 0] = 0.1
    kept_RR = strongest(value_RR, 2)
    assert np.isfinite(kept_RR).sum() == 4
    assert (kept_RR[0, 1], kept_RR[3, 2]) == (-0.9, 0.5)
    assert np.isfinite(strongest(value_RR, 6)).sum() == 6


@pytest.mark.parametrize("has_places", [False, True])
def test_growing_and_shrinking_edges_differ_in_colour_and_are_told_in_words(has_places):
    value_RR = np.full((3, 3), np.nan)
    value_RR[0, 1] = value_RR[1, 0] = 0.2
    value_RR[1, 2] = value_RR[2, 1] = -0.1
    if has_places:
        svg = edge_map("f", value_RR, brain_of(NAMES, CENTRES), limit=0.2, title="t", quantity="change of r")
        named = "LH one with LH two: +0.200; LH two with RH three: −0.100"
    else:
        svg = edges_on_ring("f", value_RR, NAMES, limit=0.2, title="t", quantity="change of r")
        named = "LH_one with LH_two +0.2; LH_two with RH_three -0.1"
    root = ElementTree.fromstring(svg)
    label = root.attrib["aria-label"]
    assert "2 connections" in label
    assert "1 above zero, 1 below" in label
    assert named in label
    assert ("glass brain" in label) == has_places
    assert all(
        word in svg for word in (('class="more"', 'class="less"') if has_places else ("var(--more", "var(--less"))
    )
    identifiers = [one.attrib["id"] for one in root.iter() if "id" in one.attrib]
    assert len(identifiers) == len(set(identifiers))


def test_centres_come_from_the_atlas_in_the_order_of_its_numbers_or_by_name(atlas):
    np.testing.assert_allclose(region_places(atlas, NAMES), CENTRES)
    atlas.with_name("atlas-Mine_dseg.tsv").write_text("index\tname\n3\tRH_three\n7\tLH_one\n20\tLH_two\n")
    np.testing.assert_allclose(region_places(atlas, NAMES), CENTRES[[1, 2, 0]])
    with_absent = region_places(atlas, ("LH_two", "elsewhere"))
    np.testing.assert_allclose(with_absent, [CENTRES[2], [np.nan] * 3])


def test_the_atlas_that_a_pipeline_left_in_its_tree_is_found_without_being_told(atlas, tmp_path):
    folder = tmp_path / "xcp_d" / "atlases" / "atlas-Mine"
    folder.mkdir(parents=True)
    atlas.rename(folder / "atlas-Mine_space-MNI152NLin6Asym_res-2_dseg.nii.gz")
    (folder / "atlas-Mine_dseg.tsv").write_text("index\tlabel\n3\tRH_three\n7\tLH_one\n20\tLH_two\n")
    (folder / "atlas-Other_dseg.tsv").write_text("index\tlabel\n3\tone\n7\ttwo\n")
    np.testing.assert_allclose(find_places(NAMES, [tmp_path / "xcp_d"], IngestConfig()), CENTRES[[1, 2, 0]])
    assert find_places(("a", "b", "c"), [tmp_path / "xcp_d"], IngestConfig()) is None


def test_centres_come_from_a_table_as_published_with_an_atlas(tmp_path):
    table = tmp_path / "centroids.csv"
    table.write_text("ROI Label,ROI Name,R,A,S\n1,LH_two,1,2,3\n2,LH_one,4,5,6\n3,RH_three,7,8,9\n")
    np.testing.assert_array_equal(region_places(table, NAMES), [[4, 5, 6], [1, 2, 3], [7, 8, 9]])


def test_what_says_nothing_of_places_is_refused_by_name(atlas, tmp_path):
    (tmp_path / "a.csv").write_text("name,volume\nLH_one,3\n")
    (tmp_path / "a.dlabel.nii").write_bytes(b"")
    for path, reason in (
        (tmp_path / "none.nii.gz", "is not a file"),
        (tmp_path / "a.csv", "has the columns name, volume; expected"),
        (tmp_path / "a.dlabel.nii", "says nothing of places in millimetres"),
    ):
        with pytest.raises(InputDataError, match=reason):
            region_places(path, NAMES)
    with pytest.raises(InputDataError, match=r"has 3 regions, none of them named as one of the cohort's 4"):
        region_places(atlas, (*NAMES, "fourth"))


def test_regions_in_the_order_of_a_parcellation_that_comes_with_dtb_need_no_file():
    names = [f"Sch200_{number:03d}" for number in range(1, 201)]
    assert places_of(names) is None
    assert "or Schaefer200, if they are that atlas's 200 regions" in no_places_in_words(names)
    assert "Schaefer" not in no_places_in_words(names[:-1])
    found_R3 = region_places(Path("/anywhere/Schaefer200"), names)
    np.testing.assert_array_equal(found_R3, list(places_in("Schaefer200").values()))
    assert (found_R3[:100, 0] < 0).all()
    assert (found_R3[100:, 0] > 0).all()
    with pytest.raises(
        InputDataError, match="Schaefer200 has 200 regions, none of them named as one of the cohort's 199"
    ):
        region_places(Path("Schaefer200"), names[:-1])
    own_V, by_name_V = (regions_of_vertices(each, found_R3) for each in (names, list(places_in("Schaefer200"))))
    np.testing.assert_array_equal(own_V, by_name_V)  # with the atlas's own borders
    assert len(np.unique(own_V)) == 201
