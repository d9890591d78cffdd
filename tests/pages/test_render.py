"""Every page comes from one room: its template and the one style sheet are there, and what is filled in is escaped."""

from __future__ import annotations

import html
import re
from pathlib import Path

import jinja2
import jinja2.meta
import pytest

import dtb
from dtb.evaluate.certificate.certificate import Certificate, CertificateTest
from dtb.evaluate.certificate.page import to_html, to_markdown
from dtb.evaluate.certificate.table import HEADINGS
from dtb.evaluate.scores.statistics import Estimate
from dtb.pages.render import STYLE, TEMPLATES, PageLink, render, with_links

ROOT = Path(dtb.__file__).parent


def test_markup_and_style_stand_in_one_folder_only() -> None:
    elsewhere = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*")
        if path.suffix in {".py", ".html", ".jinja", ".css", ".js"} and TEMPLATES.parent not in path.parents
        if path.suffix == ".css" or re.search(r"<(html|style|body)\b", path.read_text(encoding="utf-8"))
    ]
    assert elsewhere == []
    assert list(TEMPLATES.parent.rglob("*.css")) == [STYLE]


@pytest.mark.parametrize("name", [path.name for path in TEMPLATES.glob("*.jinja") if path.name != "base.html.jinja"])
def test_every_written_page_extends_the_base_and_turns_escaping_off_nowhere(name: str) -> None:
    source = (TEMPLATES / name).read_text(encoding="utf-8")
    assert source.startswith('{% extends "base.html.jinja" %}')
    assert not re.search(r"\|\s*safe|autoescape", source)


def test_what_is_filled_in_is_escaped_and_what_is_missing_is_an_error() -> None:
    source = jinja2.Environment(autoescape=True).parse((TEMPLATES / "quality.html.jinja").read_text(encoding="utf-8"))
    values = dict.fromkeys(jinja2.meta.find_undeclared_variables(source), 0) | {"figures": (), "links": (), "here": ""}
    page = render("quality", **{**values, "reasons": [("<script>alert(1)</script>", 1, "b & c")]})
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "b &amp; c" in page
    assert STYLE.read_text(encoding="utf-8") in page
    with pytest.raises(jinja2.UndefinedError, match="reasons"):
        render("quality", **{name: value for name, value in values.items() if name != "reasons"})


def test_a_row_of_the_certificate_has_the_same_columns_and_cells_wherever_it_is_drawn() -> None:
    gain = Estimate(-0.25, -0.5, -0.1, 30)
    test = CertificateTest("baseline", "a claim", "stroop", "mean RT r", 0.5, "ridge", 0.75, gain, 0.01, "bootstrap")
    certificate = Certificate("undecided", "A sentence.", (test,), ())
    markdown = [
        line for line in to_markdown(certificate, []).split("<details>")[1].splitlines() if line.startswith("| ")
    ]
    in_markdown = [tuple(part.strip() for part in line.strip("|").split("|")) for line in markdown]
    assert in_markdown[0] == HEADINGS
    assert "−0.250 [−0.500, −0.100]" in in_markdown[1]
    page = to_html(certificate, []).split('<div id="tests"')[1].split("</table>")[0]
    text = html.unescape(re.sub(r"<[^>]+>", "|", page))
    told = dict(zip(*in_markdown, strict=True))
    for heading, cell in told.items():
        assert cell in {"", "–"} or f"|{cell}" in text, heading
    columns = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)
    folded = re.findall(r"<dt>([^<]*)</dt>", page)
    assert set(columns) | set(folded) | {heading for heading, cell in told.items() if cell in {"", "–"}} == set(
        HEADINGS
    )
    assert len(columns) <= 7


def test_links_of_a_page_are_changed_afterwards_and_nothing_else_is() -> None:
    certificate = Certificate("undecided", 'A sentence with <nav class="pages">.', (), ())
    page = to_html(certificate, [])
    links = [PageLink("Report & more", "a place/index.html"), PageLink("Certificate", "certificate.html")]
    linked = with_links(page, links, "certificate.html")
    assert '<a href="a%20place/index.html">Report &amp; more</a>' in linked
    assert '<a href="certificate.html" aria-current="page">Certificate</a>' in linked
    assert with_links(linked, [PageLink("Certificate", "certificate.html")], "certificate.html") == page
