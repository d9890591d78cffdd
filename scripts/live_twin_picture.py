"""Makes docs/images/live-twin.png from a finished run:

    python -m scripts.live_twin_picture RUN

Needs playwright, of the extra `dev`, and Debian's `chromium` (or `CHROMIUM=/path/to/it`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from scripts.live_page import CHROMIUM, OPTIONS, READY, served

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "live-twin.png"
WIDTH, HEIGHT = 1400, 1260


def main(run: Path) -> None:
    """Change a person's connectome by a dose and a region, look at a moment in a trial, and photograph the page."""
    with served(run) as address, sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.wait_for_selector(READY)
        page.fill("#dose-number", "0.8")
        page.wait_for_selector(READY)
        page.evaluate("() => document.activeElement.blur()")
        picture = Path(folder) / "page.png"
        page.screenshot(path=picture)
        browser.close()
        with Image.open(picture) as image:
            image.convert("RGB").quantize(256, kmeans=4).save(OUT, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
