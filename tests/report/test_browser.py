"""The pages as people read them, in headless Chromium: on a phone, in the dark, on paper, with the keyboard, without network."""

import dataclasses

import numpy as np
import pytest

from dtb.cohort.quality import PersonQuality, RunQuality
from dtb.cohort.quality_page import SetAside, write_quality_page
from dtb.config import Config, IngestConfig, ReportConfig
from dtb.evaluate.certificate.certificate import Certificate, Reached
from dtb.evaluate.certificate.certificate import CertificateTest as Asked
from dtb.evaluate.certificate.page import to_html
from dtb.evaluate.predictors.table import PREDICTORS
from dtb.evaluate.scores.statistics import Estimate
from dtb.people.parcellation import save_places
from dtb.report.stage import report
from scripts.live_page import CHROMIUM
from tests.pages.accessibility import violations
from tests.report.runs import REGIONS, make_run

pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra `dev`")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: `apt install chromium`, or CHROMIUM=/path/to/it"),
]
PHONE = {"width": 390, "height": 844}
UNFOLD = "() => document.querySelectorAll('details').forEach(each => each.open = true)"

# Every text that is shown, whose colour differs from what lies behind it by less than WCAG 2.2 asks at level AA.
FAINT = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const numbers = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * x + .7152 * y + .0722 * z;
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = numbers(getComputedStyle(element).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return numbers("Canvas");
    };
    const faint = [];
    for (const element of document.body.querySelectorAll("*")) {
        const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
        const style = getComputedStyle(element), box = element.getBoundingClientRect();
        if (!text || !box.width || style.visibility !== "visible") continue;
        const [a, b] = [light(numbers(element.ownerSVGElement ? style.fill : style.color)), light(behind(element))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.6 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) faint.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
    }
    return faint;
}"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The files of every page that a run leaves to be read."""
    run = make_run(tmp_path_factory.mktemp("run")).path
    save_places(
        run / "shards",
        REGIONS,
        np.array([[40 - 80 * (place % 2), 15 * place - 90, 30 - place] for place in range(len(REGIONS))]),
    )
    test = Asked(
        "baseline",
        "a claim",
        "stroop",
        "mean RT r",
        0.5,
        "ridge",
        0.4,
        Estimate(0.1, 0.05, 0.15, 30),
        0.01,
        "bootstrap",
    )
    tests = tuple(dataclasses.replace(test, verdict=verdict) for verdict in ("yes", "no", "undecided"))
    figures = (Reached("stroop", "mean RT r", dict.fromkeys(PREDICTORS.names, 0.123)),)
    certificate = run / "evaluate" / "certificate.html"
    certificate.write_text(
        to_html(Certificate("undecided", "A sentence.", tests, ("maps",), figures=figures), ["A note."]),
        encoding="utf-8",
    )
    looked_at = RunQuality(
        *("stroop", "a-long-label-of-stroop", "ses-01", "2", 96, 80, 0.1, np.nan, np.nan, 0.5, 0.5, "at chance"),
        *(0.7, 0.01, 60, 0.9),
        num_presses=80,
        lost={"response_time: a negative reaction time": 16},
    )
    quality = [("p1", PersonQuality(0.1, 600.0, 1.0, 1.0, (looked_at,)))]
    why = "the rest series sub-0001_ses-01_task-rest_space-MNI152NLin2009cAsym_seg-4S456Parcels_timeseries.tsv is empty"
    aside = [SetAside("q1", why, "a rest series is empty")]
    write_quality_page(run / "shards", quality, aside, 0, 0, np.array([0.5]), np.array([1.0, 0.5]), IngestConfig())
    report(Config(name="fake", report=ReportConfig(person_pages=1)), run, run / "report", resume=False)
    person = next((run / "report" / "people").glob("*.html"))
    return [run / "report" / "index.html", person, run / "report" / "certificate.html", run / "report" / "quality.html"]


@pytest.fixture
def opened(browser):
    """Open a page; at the end nothing may have been asked of a network, and nothing said in the console."""
    contexts, wrong = [], []

    def open_page(path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def test_no_page_and_no_table_on_it_is_scrolled_sideways(opened, places):
    scrolled = "() => [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"
    for path in places:
        page = opened(path)
        for is_open in (False, True):
            if is_open:
                page.evaluate(UNFOLD)
            for width in (320, 390, 700, 768, 1110, 1440, 1920):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (path, width)
                assert page.evaluate(scrolled) == [], (path, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_every_text_stands_out_from_its_ground(opened, places, scheme):
    for path in places:
        page = opened(path, viewport=PHONE, color_scheme=scheme)
        page.evaluate(UNFOLD)
        assert page.evaluate(FAINT) == [], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(opened, places, scheme):
    for path in places:
        page = opened(path, viewport={"width": 1440, "height": 900}, color_scheme=scheme)
        page.evaluate(UNFOLD)
        assert violations(page) == [], path


@pytest.mark.parametrize("size", [PHONE, {"width": 1440, "height": 900}, {"width": 1920, "height": 1080}])
def test_the_first_screen_has_verdict_picture_brain_and_next_step(opened, places, size):
    page = opened(places[0], viewport=size)
    for what in (".badge", "#verdict", ".who", "#first-picture", "#first-brain", ".next .command"):
        box = page.locator(what).bounding_box()
        assert box is not None, what
        assert box["y"] + box["height"] <= size["height"], what
        assert box["x"] + box["width"] <= size["width"], what
    assert page.locator(".questions details[open]").count() == 0
    assert page.evaluate("() => document.documentElement.scrollHeight") < 3 * size["height"]


def test_a_link_to_what_is_folded_opens_it_and_the_contents_stay_in_sight(opened, places):
    page = opened(places[0], viewport={"width": 1440, "height": 900})
    page.click('.contents a[href="#people-question"]')
    page.wait_for_function("() => document.querySelector('#people-question').getBoundingClientRect().height > 100")
    assert page.locator(".questions details[open]").count() == 1
    page.mouse.wheel(0, 900)
    page.wait_for_function("() => scrollY > 300")
    box = page.locator(".contents").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 200


def test_what_is_pointed_at_tells_its_value_and_people_lead_to_their_pages(opened, places):
    page = opened(places[0], viewport={"width": 1440, "height": 900})
    told = page.evaluate(
        """() => {
            const box = document.querySelector("#first-picture-twin-0").getBoundingClientRect();
            const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            return at.closest("g:has(> title)").querySelector("title").textContent;
        }"""
    )
    assert told.startswith("stroop, twin: 0.610")
    page.evaluate(UNFOLD)
    page.locator('#reaction-times svg a[href^="people/"]').first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/people/*.html")
    page.locator(".pages a", has_text="Report").click()
    page.wait_for_url("**/index.html")


def test_the_keyboard_skips_to_the_content_and_reaches_every_table(opened, places):
    page = opened(places[0], viewport={"width": 700, "height": 844})
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.evaluate(UNFOLD)
    tables = page.locator(".scroll")
    assert tables.count() == page.locator('.scroll[tabindex="0"][role="region"][aria-label]').count() > 3
    page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = false)")
    page.locator("details.question summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.question[open]").count() == 1


def test_on_a_phone_a_row_of_a_wide_table_is_a_card_and_the_questions_are_one_tap_away(opened, places):
    page = opened(places[0], viewport=PHONE)
    page.evaluate(UNFOLD)
    outside = """() => [...document.querySelectorAll("table.stacked td:not(.absent)")].filter(cell => {
        const box = cell.getBoundingClientRect();
        return !box.width || box.left < 0 || box.right > innerWidth;
    }).map(cell => cell.innerText)"""
    assert page.locator("table.stacked").count() >= 3
    assert page.evaluate(outside) == []
    asked = page.locator('#personal td[data-column="asked"]').first
    assert page.evaluate("cell => getComputedStyle(cell, '::before').content", asked.element_handle()) == '"asked "'
    page.locator("#methods").scroll_into_view_if_needed()
    page.click(".to-contents")
    page.wait_for_function(
        "() => location.hash === '#questions' && document.querySelector('#questions').getBoundingClientRect().top > -9"
    )


def test_on_paper_everything_is_open_and_dark_on_white_without_what_only_a_screen_needs(opened, places, tmp_path):
    page = opened(places[0], color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").first.is_visible()
    for key in ("#training", "#own-data", "#intervention", "#people", "#methods"):
        assert page.evaluate("key => document.querySelector(key).getBoundingClientRect().height", key) > 0, key
    page.evaluate(UNFOLD)
    assert page.evaluate(FAINT) == []
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    size = page.evaluate("() => parseFloat(getComputedStyle(document.body).fontSize)")
    for aside in (".who", "footer p", "figcaption", "td", ".research"):
        assert page.evaluate("(at) => parseFloat(getComputedStyle(document.querySelector(at)).fontSize)", aside) < size
    # A heading stays with what follows it; a section's last note does not hold on to the next section.
    assert page.evaluate("() => getComputedStyle(document.querySelector('.opening')).breakAfter") == "avoid"
    assert page.evaluate("() => getComputedStyle(document.querySelector('section > .note')).breakAfter") == "auto"
    assert page.pdf(path=tmp_path / "page.pdf", format="A4")[:5] == b"%PDF-"
