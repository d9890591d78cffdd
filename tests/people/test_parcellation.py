"""Regions of well-known parcellations are found by the names that pipelines give them, and some of them make a made-up brain."""

import numpy as np
import pytest

from dtb.people.networks import OTHER, network_of
from dtb.people.parcellation import NUM_VERTICES, load_places, places_of, save_places, some_regions, vertices_of

HALFPIPE = (
    "Schaefer2018_17Networks_LH_VisCent_ExStr_12",
    "Schaefer2018_17Networks_RH_TempPar_10",
    "FreeSurfer_Left-Amygdala",
)
XCPD = ("LH_Vis_1", "RH_Default_pCunPCC_2", "LH_SomMot_4", "Cerebellar_Region3")


@pytest.mark.parametrize("names", [HALFPIPE, XCPD])
def test_regions_lie_in_the_hemisphere_that_their_names_say(names):
    for name, place in zip(names, places_of(names), strict=True):
        side = {"L": -1, "R": 1, "C": np.nan}[name.split("_")[0 if name in XCPD else 1 + (name[:4] == "Scha")][0]]
        np.testing.assert_equal(np.sign(place[0]), side)
        assert network_of(name) != OTHER


def test_names_of_another_parcellation_lie_nowhere():
    assert places_of(["V1", "V2", "LH_Vis_1"]) is None
    assert vertices_of(["V1", "V2"]) is None


@pytest.mark.parametrize("number", [100, 400])
def test_each_vertex_belongs_to_a_region_near_it_in_its_own_hemisphere(number):
    from nilearn.datasets import fetch_surf_fsaverage
    from nilearn.surface import load_surf_mesh

    names, place_R3 = some_regions(number + 16)
    region_V, mesh = vertices_of(names), fetch_surf_fsaverage("fsaverage5")
    vertices_V3 = np.concatenate([load_surf_mesh(mesh[f"pial_{side}"]).coordinates for side in ("left", "right")])
    assert len(region_V) == 2 * NUM_VERTICES
    assert 0.05 < (region_V < 0).mean() < 0.12, "the medial wall"
    known_V = region_V >= 0
    assert set(region_V[known_V]) == set(range(number)), "all of the cortex, nothing of the subcortex"
    is_left_R = np.array(["LH" in name for name in names])
    assert (is_left_R[region_V[:NUM_VERTICES]] | ~known_V[:NUM_VERTICES]).all()
    assert not (is_left_R[region_V[NUM_VERTICES:]] & known_V[NUM_VERTICES:]).any()
    apart = np.linalg.norm(vertices_V3[known_V] - place_R3[region_V[known_V]], axis=1)
    assert np.quantile(apart, 0.99) < 40


@pytest.mark.parametrize("number", [8, 12, 60, 116, 216, 417])
def test_so_many_regions_are_of_all_networks_and_of_both_hemispheres(number):
    names, place_R3 = some_regions(number)
    assert len(set(names)) == len(place_R3) == number
    assert len({network_of(name) for name in names}) == 8
    assert number < 20 or 0.4 < (place_R3[:, 0] < 0).mean() < 0.6


def test_what_was_found_of_places_is_read_again_and_else_told_by_the_names(tmp_path):
    assert load_places(tmp_path, ["a", "b"]) is None
    save_places(tmp_path, ["a", "b"], np.array([[1.0, 2.0, 3.5], [np.nan] * 3]))
    np.testing.assert_equal(load_places(tmp_path, ["a", "b"]), [[1.0, 2.0, 3.5], [np.nan] * 3])
    np.testing.assert_equal(load_places(tmp_path, ["LH_Vis_1"])[0, 0] < 0, True), "of another cohort, so not used"
