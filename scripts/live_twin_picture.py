"""Makes docs/images/live-twin.png from a finished run:

    python scripts/live_twin_picture.py RUN

Needs playwright, of the extra `dev`, and Debian's `chromium` (or `CHROMIUM=/path/to/it`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "live-twin.png"
WIDTH, HEIGHT = 1400, 1420


def main(run: Path) -> None:
    """Compare two people at a dose of 0.8 and with one edge changed, and photograph the page."""
    command = [sys.executable, "-m", "dtb", "view", str(run), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http\S+", server.stdout.readline())
            assert address is not None
            photograph(address[0])
        finally:
            server.terminate()


def photograph(address: str) -> None:
    """Use the page as a person would, and keep what is seen."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.wait_for_selector("#speed[data-milliseconds]")
        page.select_option("#other", index=5)
        page.fill("#dose-number", "0.8")
        page.click("#add-edge")
        names = page.eval_on_selector_all("#regions option", "options => options.map(one => one.value)")
        for place, name in (("first", names[3]), ("second", names[9])):
            page.fill(f".knob.edge .{place}", name)
            page.press(f".knob.edge .{place}", "Tab")
        page.fill('.knob.edge [type="number"]', "0.4")
        page.wait_for_selector("body:not([data-waiting])")
        page.evaluate("() => document.activeElement.blur()")
        picture = Path(folder) / "page.png"
        page.screenshot(path=picture)
        browser.close()
        with Image.open(picture) as image:
            image.convert("RGB").quantize(256, kmeans=4).save(OUT, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
