"""A map of the brain shows each region where it lies, in the shade of its number, and tells both."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from dtb.people.parcellation import some_regions
from dtb.report.maps import LEVELS, brain_of, limit_of, map_parts, region_map
from dtb.report.surface import MEDIAL, OUTSIDE, view

NAMES, PLACES = some_regions(116)


@pytest.fixture(scope="module")
def brain():
    return brain_of(NAMES, PLACES)


def test_every_region_is_seen_from_some_side_or_beneath_and_all_that_a_map_refers_to_is_on_the_page(brain):
    value_R = np.arange(116.0) - 50
    value_R[3] = np.nan
    svg = region_map("f", value_R, brain, limit=50.0, title="t & u", quantity="q")
    root = ElementTree.fromstring(svg)
    told = {title.text for title in root.iter("{http://www.w3.org/2000/svg}title")}
    assert len(told) == 116
    assert {"LH Vis 1: −50.00", "LH Vis 4: no value", "CAU-lh: +65.00"} <= told
    parts = str(map_parts(brain))
    assert set(re.findall(r'href="#([^"]+)"', svg)) <= set(re.findall(r' id="([^"]+)"', parts))
    shades = {one.attrib["class"] for one in root.iter() if "class" in one.attrib}
    assert {f"v-{LEVELS}", "v0", f"v{LEVELS}", "none"} <= shades
    assert "t &amp; u: q of 115 regions" in svg
    assert "The largest: CAU-lh: +65.00" in svg


def test_regions_are_seen_where_they_lie(brain):
    """In the picture of a hemisphere, a region's middle is near where its centre in millimetres is seen."""
    for name in (*OUTSIDE, *MEDIAL):
        side = view(name)
        seen_R2 = side.places(PLACES)
        apart = []
        for region, path in brain.paths[name].items():
            assert NAMES[region].split("_")[1] == {"l": "LH", "r": "RH"}[name[0]]
            points = np.array(re.findall(r"([\d.]+),([\d.]+)", path), dtype=float)
            assert (points <= np.array(side.size) + 2).all()
            apart.append(np.linalg.norm(points.mean(axis=0) - seen_R2[region]))
        assert np.median(apart) < 35, "pixels, of 400"


def test_where_borders_are_not_known_each_point_belongs_to_the_nearest_region():
    brain = brain_of(("a", "b", "c"), np.array([[-50.0, -60.0, 20.0], [50.0, 20.0, 10.0], [np.nan] * 3]))
    assert set(brain.paths["left"]) == {0}
    assert set(brain.paths["right"]) == {1}
    assert brain_of(("a", "b"), None) is None
    assert brain_of(("a", "b"), np.full((2, 3), np.nan)) is None


def test_one_region_in_fifty_is_stronger_than_the_strongest_shade():
    assert limit_of(np.arange(-50.0, 51.0)) == pytest.approx(49.0, abs=0.6)
    assert limit_of(np.full(3, np.nan)) == limit_of(np.zeros(3)) == 1.0
