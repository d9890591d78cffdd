"""The page and the picture of the architecture say what the code is now."""

import re
from xml.etree import ElementTree

import pytest

from scripts import draw_architecture
from tests.docs.pages import ROOT

AGAIN = "run `python scripts/draw_architecture.py` and commit what it writes"


@pytest.fixture(scope="module")
def picture():
    return draw_architecture.picture()


def test_the_picture_is_what_the_code_makes_now(picture):
    assert draw_architecture.PICTURE.read_text(encoding="utf-8") == picture, AGAIN


def test_the_page_is_what_the_code_makes_now():
    text = draw_architecture.PAGE.read_text(encoding="utf-8")
    assert draw_architecture.page(text) == text, AGAIN


def test_every_import_in_the_picture_goes_to_a_room_above(picture):
    marks = re.findall(r"<circle [^>]*><title>(\w+) imports (\w+)</title>", picture)
    names = re.findall(r'<text x="\d+" y="\d+">(\w+)</text>', picture)
    assert len(marks) > 40
    assert all(names.index(imported) < names.index(importer) for importer, imported in marks)


def test_nothing_in_the_picture_lies_outside_it(picture):
    root = ElementTree.fromstring(picture)
    _, _, width, height = map(float, root.get("viewBox").split())
    for element in root.iter():
        if element.tag.endswith("circle"):
            assert 0 < float(element.get("cx")) < width
            assert 0 < float(element.get("cy")) < height
        elif element.tag.endswith("rect"):
            assert float(element.get("x")) + float(element.get("width")) <= width
        elif element.tag.endswith("text") and element.get("x"):
            assert float(element.get("x")) + 8 * len(element.text) < width, element.text


def test_every_room_is_in_the_table():
    text = draw_architecture.PAGE.read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "dtb").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE))
