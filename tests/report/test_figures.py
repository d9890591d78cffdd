"""Each figure shows the numbers that it was given: as marks in the right places, and in its alternative text."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from dtb.report import figures
from dtb.report.style import task_colour

SVG = "{http://www.w3.org/2000/svg}"


def _root(svg):
    return ElementTree.fromstring(str(svg))


def _marks(root, colour="--task-0"):
    """Places (x, y) of the marks of one colour, in drawing order; y grows upwards."""
    return np.array(
        [
            (float(use.attrib["x"]), -float(use.attrib["y"]))
            for use in root.iter(f"{SVG}use")
            if f"fill: var({colour}" in use.attrib.get("style", "")
        ]
    )


def test_points_lie_where_the_numbers_say():
    rng = np.random.default_rng(0)
    observed, predicted = rng.normal(size=9), rng.normal(size=9)
    observed[4] = np.nan
    svg = figures.predicted_against_observed(
        "f", observed, predicted, colour=task_colour(0), title="t", quantity="mean RT (s)"
    )
    known = np.isfinite(observed)
    places = _marks(_root(svg))
    assert len(places) == 8
    slope_x = np.polyfit(observed[known], places[:, 0], 1)
    slope_y = np.polyfit(predicted[known], places[:, 1], 1)
    np.testing.assert_allclose(np.polyval(slope_x, observed[known]), places[:, 0], atol=1e-3)
    np.testing.assert_allclose(np.polyval(slope_y, predicted[known]), places[:, 1], atol=1e-3)
    assert slope_x[0] == pytest.approx(slope_y[0], rel=1e-3), (
        "both axes have one scale, so the identity line is at 45 degrees"
    )
    assert "for 8 people" in _root(svg).attrib["aria-label"]


def test_a_baseline_that_says_nothing_of_somebody_leaves_the_picture_whole():
    observed = np.array([0.5, 0.6, 0.7])
    svg = figures.predicted_against_observed(
        "f",
        observed,
        observed,
        colour=task_colour(0),
        title="t",
        quantity="mean RT (s)",
        baselines={"own earlier": np.array([0.5, np.nan, 0.8])},
    )
    assert "could not be drawn" not in str(svg)
    assert "for 3 people" in _root(svg).attrib["aria-label"]


def test_an_estimate_stands_in_its_interval_above_its_baselines_by_name():
    svg = figures.estimates(
        "f", 0.5, (0.25, 0.75), {"group mean": 0.25, "a & b": 0.75}, colour=task_colour(0), title="t", quantity="r"
    )
    root = _root(svg)
    texts = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert {"twin", "group mean", "a & b"} <= set(texts)
    across = {}
    for group in root.iter(f"{SVG}g"):
        if group.attrib.get("id") in {"f-twin", "f-baseline-1", "f-baseline-2"}:
            across[group.attrib["id"]] = float(next(group.iter(f"{SVG}use")).attrib["x"])
    assert across["f-twin"] == pytest.approx((across["f-baseline-1"] + across["f-baseline-2"]) / 2)
    assert across["f-baseline-1"] < across["f-baseline-2"]
    assert "Twin 0.5 (interval 0.25 to 0.75); baselines: group mean 0.25, a & b 0.75." in root.attrib["aria-label"]


def test_the_kept_epoch_and_both_ends_of_each_curve_are_said():
    svg = figures.learning_curves(
        "f",
        np.arange(4),
        {"training": np.array([4.0, 3, 2, 1]), "validation": np.array([4.0, 2, 3, 3.5])},
        title="Loss",
        quantity="loss",
        best_epoch=1,
    )
    assert "training from 4 to 1; validation from 4 to 3.5" in _root(svg).attrib["aria-label"]
    assert "kept: 1" in "".join(_root(svg).itertext())


def test_a_matrix_carries_every_cell_and_counts_absent_regions():
    matrix = np.full((5, 5), 0.5)
    matrix[2] = matrix[:, 2] = np.nan
    root = _root(figures.matrix("f", matrix, limit=1.0, title="Connectome", quantity="correlation"))
    image = next(root.iter(f"{SVG}image"))
    assert image.attrib["href"].startswith("data:image/png;base64,")
    assert image.attrib["width"] == "5"
    assert "1 regions are absent" in root.attrib["aria-label"]


def test_of_many_people_sixty_are_drawn_and_the_example_is_among_them():
    before = np.linspace(1, 2, 500)
    svg = figures.before_and_after(
        "f", before, before - 0.5, None, colour=task_colour(0), title="t", quantity="RT (s)", example=123
    )
    root = _root(svg)
    assert 60 <= len(_marks(root)) <= 62  # with the mark in the legend
    assert "example" in "".join(root.itertext())
    assert "500 people, medians: 1.5 before, 1 after" in root.attrib["aria-label"]


def _places(root, names):
    """Horizontal places of the marks with these identifiers."""
    groups = {group.attrib.get("id"): group for group in root.iter(f"{SVG}g")}
    return [float(next(groups[f"f-{name}"].iter(f"{SVG}use")).attrib["x"]) for name in names]


def test_a_person_and_their_twin_stand_among_everybody_where_their_values_are():
    everybody = np.array([0.0, 1.0, 2.0])
    svg = figures.standing("f", everybody, 0.5, 1.5, colour=task_colour(0), title="t", quantity="RT (s)")
    observed, predicted = _places(_root(svg), ("observed", "predicted"))
    places = sorted({x for x, _ in _marks(_root(svg), "--quiet")})
    ends = [x for x in places if any(abs(x - y) > 1 for y in places)]
    scale = (predicted - observed) / 1.0
    assert scale > 0
    assert any(x == pytest.approx(observed - 0.5 * scale, abs=0.01) for x in ends)
    assert any(x == pytest.approx(predicted + 0.5 * scale, abs=0.01) for x in ends)
    assert "this person 0.5, their twin 1.5; 3 people 0 to 2." in _root(svg).attrib["aria-label"]


def test_each_way_of_changing_something_has_its_points_and_its_median():
    changes = {"the search": np.array([-3.0, -2.0, -1.0]), "random <change>": np.array([0.0, np.nan, 2.0])}
    root = _root(figures.effects("f", changes, colour=task_colour(0), title="t", quantity="change (s)"))
    drawn = {
        group.attrib["id"]: len(list(group.iter(f"{SVG}use")))
        for group in root.iter(f"{SVG}g")
        if "f-change" in group.attrib.get("id", "")
    }
    assert drawn == {"f-change-0": 3, "f-change-1": 2}
    assert "the search -2, random <change> 1." in root.attrib["aria-label"]


def test_a_ceiling_is_drawn_at_its_value_and_said():
    svg = figures.estimates(
        "f", 0.5, None, {"ridge": 1.0}, colour=task_colour(0), title="t", quantity="r", ceiling=0.75
    )
    root = _root(svg)
    twin, ridge = _places(root, ("twin", "baseline-1"))
    line = next(group for group in root.iter(f"{SVG}g") if group.attrib.get("id") == "f-ceiling")
    across = float(next(line.iter(f"{SVG}path")).attrib["d"].split()[1])
    assert across == pytest.approx((twin + ridge) / 2, abs=0.01)
    assert root.attrib["aria-label"].endswith("Ceiling 0.75.")


def test_a_matrix_stands_network_by_network_and_counts_from_one_where_names_tell_none():
    regions = ["Toy_B_1", "Toy_A_1", "Toy_B_2", "Toy_A_2"]
    same_RR = np.array([[one[4] == other[4] for other in regions] for one in regions], dtype=float)
    root = _root(figures.matrix("f", same_RR, regions=regions, limit=1.0, title="t", quantity="r"))
    texts = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert texts.count("A") == texts.count("B") == 2
    assert "networks in order: A, B" in root.attrib["aria-label"]
    encoded = next(root.iter(f"{SVG}image")).attrib["href"].split(",")[1]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")).sum(axis=2)
    assert (drawn[:2, :2] == drawn[0, 0]).all(), "the two regions of a network stand side by side"
    assert (drawn[:2, 2:] == drawn[0, 2]).all()
    assert drawn[0, 0] != drawn[0, 2]
    unnamed = _root(figures.matrix("f", np.eye(4), limit=1.0, title="t", quantity="r"))
    assert {"1", "4"} <= {"".join(element.itertext()) for element in unnamed.iter(f"{SVG}text")}
    assert "0" not in {"".join(element.itertext()) for element in unnamed.iter(f"{SVG}text")}


def test_chance_is_drawn_at_its_value_and_said():
    svg = figures.estimates("f", 0.5, None, {"ridge": 1.0}, colour=task_colour(0), title="t", quantity="r", chance=0.75)
    root = _root(svg)
    twin, ridge = _places(root, ("twin", "baseline-1"))
    line = next(group for group in root.iter(f"{SVG}g") if group.attrib.get("id") == "f-chance")
    assert float(next(line.iter(f"{SVG}path")).attrib["d"].split()[1]) == pytest.approx((twin + ridge) / 2, abs=0.01)
    assert root.attrib["aria-label"].endswith("Chance 0.75.")
