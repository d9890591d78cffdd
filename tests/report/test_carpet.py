"""What the scanner saw is drawn in seconds, with every volume that there was."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dtb.report.carpet import carpet, design_figure

SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg):
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def _image_size(svg):
    (encoded,) = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    return Image.open(io.BytesIO(base64.b64decode(encoded))).size


@pytest.mark.parametrize(("num_volumes", "last"), [(503, 400), (1000, 750)])
def test_the_axis_of_a_carpet_is_in_seconds_and_no_volume_that_nilearn_draws_is_lost(num_volumes, last):
    bold_VR = np.random.default_rng(0).normal(size=(num_volumes, 12))
    svg = carpet("c", bold_VR, 0.8, [f"region{place}" for place in range(12)], title="stroop: carpet")
    ticks = [float(text) for text in _texts(svg) if re.fullmatch(r"[\d.]+", text)]
    assert ticks[0] == 0
    assert ticks[-1] == last, "of so many volumes, 0.8 s apart"
    assert _image_size(svg) == (num_volumes if num_volumes <= 800 else num_volumes // 2, 12)


def test_a_design_matrix_keeps_every_volume():
    design = pd.DataFrame(
        np.random.default_rng(0).normal(size=(503, 4)), columns=["easy", "hard", "drift_1", "constant"]
    )
    assert _image_size(design_figure("d", design, title="stroop: design matrix")) == (4, 503)
