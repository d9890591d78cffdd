"""Measure how long the live twin takes to answer, with the machine's load: times mean little on a crowded one.

    python -m scripts.bench.view RUN

For each kind of change, one person or two: what the server computes, from the request to the reply's JSON; and in headless Chromium, where
playwright and a browser are there, from the slider's movement to the figures and charts that follow from it. Processor time, of the server
and of the browser with its helpers, is what of that a busy machine does not blur: OMP_NUM_THREADS=1 makes it that of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from dtb.view import api
from dtb.view.viewer import Viewer
from scripts.live_page import CHROMIUM, OPTIONS, READY, served

REPEATS = 25
_MOVE = """dose => new Promise(done => {
    const slider = document.getElementById("dose"), began = performance.now();
    const watcher = new MutationObserver(() => { watcher.disconnect(); done(performance.now() - began); });
    watcher.observe(document.getElementById("speed"), { childList: true });
    slider.value = dose;
    slider.dispatchEvent(new Event("input"));
})"""


@dataclasses.dataclass(frozen=True)
class Took:
    """Milliseconds of each repeat, and processor time of all of them."""

    each: list[float]
    processor: float

    def cells(self) -> tuple[str, ...]:
        """Return what the table shows."""
        figures = statistics.median(self.each), max(self.each), self.processor / len(self.each)
        return tuple(f"{figure:.0f}" for figure in figures)


def computed(viewer: Viewer, people: list[str], change: dict[str, Any]) -> Took:
    """Time from request to reply."""
    task = next(iter(viewer.person(people[0]).tasks)).task
    request = api.SceneRequest(people=people, task=task, **change)
    viewer.scene(request).model_dump_json()
    each, processor = [], time.process_time()
    for _ in range(REPEATS):
        began = time.perf_counter()
        viewer.scene(request).model_dump_json()
        each.append(1000 * (time.perf_counter() - began))
    return Took(each, 1000 * (time.process_time() - processor))


def seen(run: Path, compared: bool) -> Took:
    """Time from a slider's movement to the charts."""
    from playwright.sync_api import sync_playwright

    with served(run) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        page.wait_for_selector(READY)
        if compared:
            page.select_option("#other", index=2)
            page.wait_for_selector(READY)
        page.evaluate(_MOVE, 0.05)
        before = _processor_seconds()
        each = [float(page.evaluate(_MOVE, 0.05 * (1 + place % 20))) for place in range(1, REPEATS + 1)]
        took = Took(each, 1000 * (_processor_seconds() - before))
        browser.close()
        return took


def _processor_seconds() -> float:
    """Of everything that this process started: the server, the browser and its helpers."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    load = os.getloadavg()[0]
    viewer = Viewer(run)
    description = viewer.description()
    first, second = description.people[:2]
    regions = description.regions
    changes: dict[str, dict[str, Any]] = {
        "none": {},
        "a gain of 0.5": {"gains": [{"region": regions[3], "gain": 0.5}]},
        "a gain of 1.5": {"gains": [{"region": regions[3], "gain": 1.5}]},
        "an edge by 0.3": {"edges": [{"first": regions[3], "second": regions[9], "by": 0.3}]},
    }
    if description.intervention:
        changes["a dose of 0.8"] = {"dose": 0.8}
    table = Table(
        "change",
        "people",
        "median ms",
        "slowest ms",
        "processor ms",
        title=f"{run.name}: {len(regions)} regions, {os.cpu_count()} cores, load {load:.1f}",
    )
    rows = [
        (name, people, computed(viewer, people, change))
        for name, change in changes.items()
        for people in ([first], [first, second])
    ]
    if description.intervention and CHROMIUM:
        rows += [
            ("a dose, in the browser", people, seen(run, len(people) > 1)) for people in ([first], [first, second])
        ]
    for name, people, took in rows:
        table.add_row(name, str(len(people)), *took.cells())
    Console().print(table)


if __name__ == "__main__":
    main()
