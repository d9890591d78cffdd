"""Choices of a Stroop task are called after colours and drawn in them: also for who sees red and green alike."""

import itertools
import re

import numpy as np
import pytest

from dtb.view.app import ASSETS

# Machado et al. 2009, IEEE Trans Vis Comput Graph 15, 10.1109/TVCG.2009.113: linear RGB as seen without one kind of cones.
SEEN = {
    "everybody": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def _lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of a colour."""
    value = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.clip(seen @ np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    share = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SEEN)
def test_colours_of_choices_differ_for_every_sight_and_red_and_green_in_lightness(sight):
    (named,) = re.findall(r"const NAMED = \{(.*?)\}", (ASSETS / "charts.js").read_text(encoding="utf-8"))
    colours = dict(re.findall(r'(\w+): "(#\w{6})"', named))
    assert {"red", "green", "blue"} <= set(colours)
    lab = {name: _lab(colour, SEEN[sight]) for name, colour in colours.items()}
    for one, other in itertools.combinations(lab, 2):
        assert np.linalg.norm(lab[one] - lab[other]) > 20, f"{one} and {other}"
    assert abs(lab["red"][0] - lab["green"][0]) > 25
