"""An inline SVG follows the page's theme, keeps text as text, and lets nothing from the data become markup."""

from xml.etree import ElementTree

import pytest

from dtb.report.style import INK, canvas, task_colour, to_svg

HOSTILE = '</text><script>alert(1)</script> $x$ & "#010101" id="a" url(#b)'


def _drawn(title: str, name: str = "figure") -> str:
    with canvas() as (figure, axes):
        axes.set_title(title)
        axes.plot([0, 1], [0, 1], color=task_colour(1), marker="o")
        return to_svg(figure, name, f"alternative of {title}")


def test_text_of_the_data_stays_text_word_for_word():
    root = ElementTree.fromstring(_drawn(HOSTILE))
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert HOSTILE in texts
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    assert root.attrib["aria-label"] == f"alternative of {HOSTILE}"


def test_colours_are_variables_of_the_page_with_a_fallback():
    svg = _drawn("title")
    assert "var(--task-1, #c2500a)" in svg
    assert "var(--ink, #1b1f24)" in svg
    assert INK not in svg
    assert task_colour(1) not in svg


def test_two_figures_share_no_identifier_and_every_reference_has_its_target():
    identifiers = []
    for name in ("first", "second"):
        root = ElementTree.fromstring(_drawn("same", name))
        own = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        for element in root.iter():
            for key, value in element.attrib.items():
                if key.endswith("href") and value.startswith("#"):
                    assert value[1:] in own
                if value.startswith("url(#"):
                    assert value[5:-1] in own
        identifiers.append(set(own))
    assert identifiers[0]
    assert not identifiers[0] & identifiers[1]


def test_a_figure_is_the_same_bytes_every_time():
    assert _drawn("title") == _drawn("title")


def test_a_name_that_could_leave_its_attribute_is_refused():
    with pytest.raises(ValueError, match="identifier"):
        _drawn("title", 'a"><script>')
