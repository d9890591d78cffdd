"""The page as people use it, in headless Chromium: load, pick, drag, keyboard, bad input, two viewers at once, and nothing in the console."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from scripts.live_page import CHROMIUM, READY, served
from tests.fleet.world import REGIONS
from tests.pages.accessibility import violations
from tests.view.runs import make_run

pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra `dev`")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: `apt install chromium`, or CHROMIUM=/path/to/it"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """What `dtb view` prints."""
    with served(make_run(tmp_path_factory.mktemp("run"))) as address:
        yield address


@pytest.fixture
def opened(browser, address):
    """Open pages, each for a viewer of its own; at the end nothing may have gone wrong in any of them."""
    contexts, wrong = [], []

    def open_page(before="", refused=(), **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.add_init_script(before)
        page.on("console", lambda message: any(one in message.text for one in refused) or wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: _is_own(request.url, address) or wrong.append(request.url))
        page.goto(address)
        page.wait_for_selector("#speed[data-milliseconds]")
        page.wait_for_selector(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _is_own(url: str, address: str) -> bool:
    return url.startswith((address.split("?", maxsplit=1)[0], "data:", "blob:"))


def _figure(page, row=1, column=-1) -> str:
    return page.locator("#figures tr").nth(row).locator("td").nth(column).inner_text()


def _wait_for_other(page, figure: str) -> str:
    page.wait_for_function(
        "was => [...document.querySelectorAll('#figures tbody tr:first-child td')].at(-1).innerText !== was", arg=figure
    )
    return _figure(page)


def test_a_person_a_task_and_a_block_are_picked_and_the_key_leaves_the_address(opened):
    page = opened()
    assert "token" not in page.url
    assert page.locator("#person option").count() == 3
    assert page.locator("#course .main-svg").count() > 0
    page.select_option("#person", "p0001")
    page.select_option("#task", "stroop")
    page.select_option("#block", "1")
    page.wait_for_function(
        "() => document.querySelector('#title').innerText.startsWith('p0001: stroop, stroopAP: 13 to')"
    )
    assert page.locator("#figures tbody tr").count() == 3
    page.select_option("#trial", "1")
    assert page.locator("#course .trace.bars .point").count() > 0
    assert "Research use only" in page.inner_text("#notice")


def test_dragging_a_slider_moves_the_twin_while_the_hand_is_on_it(opened):
    page = opened()
    own = _figure(page)
    box = page.locator("#dose").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    for share in range(2, 10):
        page.mouse.move(box["x"] + share / 10 * box["width"], middle)
    changed = _wait_for_other(page, own)
    page.mouse.up()
    assert changed != own
    assert float(page.input_value("#dose-number")) > 1.2
    assert "of its size" in page.inner_text("#moved")
    page.click("#reset")
    assert _wait_for_other(page, changed) == own
    assert "nothing is changed" in page.inner_text("#moved")


def test_everything_can_be_done_from_the_keyboard(opened):
    page = opened()
    own = _figure(page)
    page.focus("#add-region")
    page.keyboard.press("Enter")
    page.keyboard.type(REGIONS[4])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    page.wait_for_selector(READY)
    changed = _figure(page)
    assert changed != own
    page.focus("#add-edge")
    page.keyboard.press("Enter")
    for name in (REGIONS[2], REGIONS[7]):
        page.keyboard.type(name)
        page.keyboard.press("Tab")
    page.keyboard.press("End")  # all the way: one step of a slider may move the figure by less than its last digit
    page.wait_for_selector(READY)
    assert " → " in page.inner_text(".came")
    assert _figure(page) != changed
    page.locator(".knob.edge .remove").focus()
    page.keyboard.press("Enter")
    assert page.locator(".knob.edge").count() == 0
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(one => !one.labels?.length && "
        "!one.getAttribute('aria-label') && !one.innerText.trim()).map(one => one.id || one.className)"
    )
    assert unnamed == []


def test_bad_input_is_answered_in_words_and_changes_nothing(opened):
    page = opened()
    own = _figure(page)
    page.fill("#dose-number", "7")
    assert "a number from 0 to 1.5" in page.inner_text("#problem")
    page.wait_for_selector(READY)
    assert page.input_value("#dose") == "0"
    assert "nothing is changed" in page.inner_text("#moved")
    page.fill("#dose-number", "0")
    assert page.is_hidden("#problem")
    page.click("#add-region")
    page.fill(".knob.region .first", "<b>nowhere</b>")
    page.press(".knob.region .first", "Tab")
    page.wait_for_selector(READY)  # and an answer to what was asked before does not take the words away
    assert "There is no region “<b>nowhere</b>”" in page.inner_text("#problem")
    assert page.get_attribute(".knob.region .first", "aria-invalid") == "true"
    page.fill('.knob.region [type="number"]', "0.5")
    assert "nothing is changed" in page.inner_text("#moved")
    assert _figure(page) == own
    page.select_option("#person", "p0002")
    page.wait_for_function("() => document.querySelector('#title').innerText.startsWith('p0002')")
    assert page.is_disabled("#dose")


def test_two_viewers_do_not_disturb_each_other_and_each_sees_what_was_asked_last(opened):
    pages, alone = (opened(), opened()), opened()
    drag = """last => {
        const slider = document.getElementById("dose");
        for (let step = 1; step <= 14; step++) {
            slider.value = (last * step) / 14;
            slider.dispatchEvent(new Event("input"));
        }
    }"""
    for page, last in zip(pages, (0.7, 1.4), strict=True):
        page.evaluate(drag, last)
    for page, dose in zip(pages, ("0.7", "1.4"), strict=True):
        alone.fill("#dose-number", dose)
        for one in (page, alone):
            one.wait_for_selector(READY)
        assert page.input_value("#dose") == dose
        assert (page.inner_text("#moved"), _figure(page)) == (alone.inner_text("#moved"), _figure(alone))
    assert pages[0].inner_text("#moved") != pages[1].inner_text("#moved")


def test_two_people_are_compared_on_the_same_block(opened):
    page = opened()
    page.select_option("#other", "p0001")
    page.wait_for_function("() => document.querySelectorAll('#figures thead th').length === 4")
    assert "p0000 above the diagonal, p0001 below it" in page.inner_text("#matrix-note")
    assert _figure(page, column=1) != _figure(page, column=2)
    page.fill("#dose-number", "1")
    page.wait_for_function("() => document.querySelectorAll('#figures thead th').length === 6")


def _matrix(page) -> list[list[float]]:
    return page.evaluate("() => [...document.getElementById('matrix').data[0].z].map(row => [...row])")


def test_the_connectome_shows_the_change_alone_or_against_the_own_and_is_told_in_words(opened):
    page = opened()
    own = _matrix(page)
    assert own == [list(row) for row in zip(*own, strict=True)]
    assert "Nothing is changed" in page.get_attribute("#matrix", "aria-label")
    assert page.is_disabled("#view")
    page.fill("#dose-number", "1")
    page.wait_for_selector(READY)
    change = _matrix(page)
    assert change[-1][-2] == change[-2][-1] == pytest.approx(0.02, abs=2e-3), "what was found, regions 8 and 9"
    assert max(abs(value) for row in change[:-2] for value in row[:-2]) < 1e-3
    page.select_option("#view", "changed")
    changed = _matrix(page)
    above = [(i, j) for i in range(len(own)) for j in range(i, len(own))]
    assert [changed[i][j] for i, j in above] == [own[i][j] for i, j in above]
    assert changed[-1][-2] - own[-1][-2] == pytest.approx(change[-1][-2], abs=1e-6)
    assert "p0000's own above the diagonal, changed below it" in page.inner_text("#matrix-note")
    assert f"joins {REGIONS[8]} and {REGIONS[9]}" in page.get_attribute("#matrix", "aria-label")
    page.select_option("#other", "p0001")
    page.wait_for_function("() => document.getElementById('matrix-note').innerText.includes('both changed')")
    page.click("#reset")
    page.wait_for_selector(READY)
    assert "change" not in page.inner_text("#matrix-note")


def test_the_words_for_a_chart_follow_the_trial_that_is_picked(opened):
    page = opened()
    assert "in all trials" in page.get_attribute("#rt", "aria-label")
    page.select_option("#trial", "1")
    assert "in trial 2. p0000: mean 0." in page.get_attribute("#rt", "aria-label")
    assert "trial 2 of" in page.get_attribute("#course", "aria-label")


def test_each_alternative_has_a_pattern_of_its_own(opened):
    page = opened()
    page.select_option("#task", "stroop")
    page.wait_for_selector(READY)
    bars = page.evaluate(
        "() => document.getElementById('course').data.filter(one => one.type === 'bar').map(one => [one.name, one.marker.pattern.shape])"
    )
    alternatives = [shape for name, shape in bars if name != "no press"]
    assert len(alternatives) >= 2
    assert len(set(alternatives)) == len(alternatives)
    fills = page.evaluate(
        "() => [...document.querySelectorAll('#course defs pattern rect')].map(one => getComputedStyle(one).fill)"
    )
    assert "rgb(88, 201, 140)" in fills, "on the alternative's own colour: green"


def test_a_block_is_played_trial_by_trial(opened):
    page = opened()
    page.press("#second", "Home")
    page.clock.install(time=0)
    page.clock.pause_at(60_000)
    page.click("#play")
    page.clock.run_for(1500)  # four times as fast: six seconds
    said = page.inner_text("#now")
    assert said.startswith("Trial 2, ")
    assert "Likeliest: p0000" in said
    assert page.locator("#course .shapelayer path").count() == 1
    page.click("#play")
    assert page.inner_text("#play") == "Play"
    assert float(page.input_value("#second")) == pytest.approx(6, abs=0.5), "the slider went along"
    page.press("#second", "Home")
    assert "At 0.0 s" in page.inner_text("#now")


def test_a_click_on_the_connectome_takes_the_edge(opened):
    page = opened()
    cells = page.locator("#matrix .nsewdrag")
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert page.locator(".knob.edge").count() == 1
    names = [page.input_value(f".knob.edge .{which}") for which in ("first", "second")]
    assert len(set(names)) == 2
    assert set(names) < set(REGIONS)


def test_what_is_shown_can_be_taken_along(opened, tmp_path):
    page = opened()
    own = _figure(page)
    page.fill("#dose-number", "1")
    _wait_for_other(page, own)

    def taken(button: str) -> Path:
        with page.expect_download() as download:
            page.click(button)
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    content = json.loads(taken("#save-json").read_text())
    assert content["request"]["dose"] == 1
    assert content["changed"]["performers"][0]["figures"] != content["own"]["performers"][0]["figures"]
    assert "Research use only" in content["notice"]
    rows = list(csv.reader(taken("#save-csv").read_text().splitlines()))
    assert rows[0] == ["person", "connectome", "quantity", "trial", "seconds", "value"]
    assert {row[1] for row in rows[1:]} == {"", "measured", "own", "changed"}
    assert {len(row) for row in rows} == {6}
    told = {row[2]: row[-1] for row in rows[1:] if not row[1]}
    assert json.loads(told["request"]) == content["request"]
    assert "Research use only" in told["notice"]
    assert taken("#brain-png").read_bytes().startswith(b"\x89PNG")
    assert taken("[data-png=rt]").read_bytes().startswith(b"\x89PNG")


def test_the_twins_verdict_and_who_was_never_seen_stand_first(opened):
    page = opened()
    assert page.inner_text("#badge").endswith("not evaluated")
    assert "Nothing can be claimed" in page.inner_text("#verdict")
    groups = page.eval_on_selector_all(
        "#person optgroup", "groups => groups.map(one => [one.label, [...one.children].map(child => child.value)])"
    )
    assert groups == [["Not seen in training", ["p0000"]], ["Seen in training", ["p0001", "p0002"]]]
    assert page.input_value("#person") == "p0000"


def _place_of_picked(page) -> tuple[float, float]:
    """Where the picked region is seen, from where its label stands."""
    left, right, top, width = page.evaluate(
        "() => { const { left, right, top } = document.getElementById('brain-label').style;"
        " return [left, right, top, document.getElementById('brain-canvas').clientWidth]; }"
    )
    x = width - float(right[:-2]) + 8 if left == "auto" else float(left[:-2]) - 8
    return x, float(top[:-2]) + 34


def test_the_brain_is_turned_and_its_regions_are_picked(opened):
    page = opened()
    page.fill("#picked", REGIONS[1])
    page.press("#picked", "Enter")
    assert page.inner_text("#brain-label").startswith(f"{REGIONS[1]}: ")
    page.click("#pick-gain")
    assert page.input_value(".knob.region .first") == REGIONS[1]
    x, y = _place_of_picked(page)
    page.click("#brain-canvas", position={"x": x, "y": y})
    assert page.input_value("#picked") == "", "it was picked, and is not any more"
    page.click("#brain-canvas", position={"x": x, "y": y})
    assert page.input_value("#picked") == REGIONS[1]
    page.click("#pick-edge")
    page.fill("#picked", REGIONS[4])
    page.press("#picked", "Enter")
    assert [page.input_value(f".knob.edge .{which}") for which in ("first", "second")] == [REGIONS[1], REGIONS[4]]
    page.focus("#brain-canvas")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.hash.includes('camera=212.5')")
    page.click("[data-side=above]")
    page.wait_for_function("() => location.hash.includes('camera=-90%7E89.9')")


def test_the_colours_of_the_brain_follow_the_moment_and_words_tell_them(opened):
    page = opened()
    told = []
    for second in ("3", "9"):
        page.fill("#second", second)
        told.append(page.get_attribute("#brain-canvas", "aria-label"))
    assert "BOLD, SD at 3.0 s of 10 regions of p0000" in told[0]
    assert told[0].split("The largest")[1] != told[1].split("The largest")[1]


def test_networks_are_no_colour_where_no_name_tells_any(opened):
    page = opened()
    assert page.eval_on_selector_all("#colour option:not([disabled])", "all => all.map(one => one.value)") == [
        "bold", "measured", "strength",
    ]  # fmt: skip


def test_a_link_brings_the_whole_page_back_and_holds_no_key(opened, address):
    page = opened()
    page.select_option("#task", "stroop")
    page.wait_for_function("() => document.querySelector('#title').innerText.startsWith('p0000: stroop')")
    page.select_option("#other", "p0002")
    page.click("#add-region")
    page.fill(".knob.region .first", REGIONS[4])
    page.press(".knob.region .first", "Tab")
    page.fill('.knob.region [type="number"]', "0.5")
    page.wait_for_selector(READY)
    page.select_option("#view", "changed")
    page.fill("#second", "6")
    page.click("[data-side=right]")
    page.click("#copy-link")
    link = page.url
    assert "token" not in link
    assert address.split("=")[1] not in link
    said = [page.inner_text(one) for one in ("#title", "#moved", "#figures", "#matrix-note", "#now")]
    again = opened()
    again.goto(link)
    again.wait_for_function("() => document.querySelector('#title').innerText.startsWith('p0000: stroop')")
    again.wait_for_function("() => document.querySelectorAll('#figures thead th').length === 6")
    again.wait_for_selector(READY)
    assert [again.inner_text(one) for one in ("#title", "#moved", "#figures", "#matrix-note", "#now")] == said
    again.wait_for_function("(wanted) => location.hash === wanted", arg=page.evaluate("location.hash"))
    again.goto(link.replace("p0002", "p0009"))
    again.wait_for_function("() => document.getElementById('problem').innerText.includes('has not: p0009')")


def test_own_trials_move_and_narrow_what_the_twin_believes(opened, tmp_path):
    page = opened(refused=["422"])
    page.locator("#living").scroll_into_view_if_needed()
    page.wait_for_selector("#living:not([data-waiting]) #belief .main-svg")
    before = page.inner_text("#belief-words")
    assert "after 0 own trials: with the connectome" in before
    assert "(100 % of the variance of the person is left)" in before
    page.press("#given", "End")
    page.wait_for_function("() => document.getElementById('given-number').innerText === '4 of 4'")
    after = page.inner_text("#belief-words")
    (left, _) = (int(one) for one in re.findall(r"(\d+) % of the variance", after))
    assert left < 100
    assert page.evaluate("document.getElementById('narrowing').data[1].x") == [0, 1, 2, 3, 4]
    events = tmp_path / "sub-me_task-hammer_events.tsv"
    events.write_text("onset\tduration\n0\t1\n")
    page.set_input_files("#events", events)
    page.wait_for_function(
        "() => document.getElementById('belief-words').innerText.includes('events.tsv, task hammer: no column')"
    )
    page.click("#forget")
    page.wait_for_function("() => document.getElementById('belief-words').innerText.startsWith('p0000, hammer')")


def test_without_webgl_all_else_goes_on(opened):
    page = opened(
        before="""const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) { return kind === "webgl2" ? null : real.call(this, kind, ...more); };"""
    )
    assert "this browser has no WebGL 2" in page.inner_text("#brain-none")
    own = _figure(page)
    page.fill("#dose-number", "1")
    assert _wait_for_other(page, own) != own


@pytest.mark.parametrize(
    "options", [{"viewport": {"width": 360, "height": 740}}, {"color_scheme": "dark"}], ids=["phone", "dark"]
)
def test_it_fits_a_phone_and_the_dark(opened, options):
    page = opened(**options)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ink, ground = page.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).map(Number))"
    )
    assert _contrast(ink, ground) > 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened, scheme):
    page = opened(color_scheme=scheme)
    page.fill("#dose-number", "1")
    page.click("#add-region")
    page.click("#add-edge")
    page.fill("#picked", REGIONS[4])
    page.press("#picked", "Enter")
    page.locator("#living").scroll_into_view_if_needed()
    page.wait_for_selector("#living:not([data-waiting]) #belief .main-svg")
    page.wait_for_selector(READY)
    assert violations(page) == []


def _contrast(first: list[int], second: list[int]) -> float:
    """Return the contrast ratio of the Web Content Accessibility Guidelines, 2.1."""

    def luminance(colour: list[int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (one / 255 for one in colour)]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_interface_explains_itself_without_network(opened):
    page = opened()
    page.click("text=HTTP interface")
    page.wait_for_selector("[data-path='/api/scene']")
