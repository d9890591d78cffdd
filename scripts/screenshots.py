"""Makes docs/images/report.png, the picture of the README: the first screen of a report.

    python -m scripts.screenshots REPORT/index.html

Needs playwright, of the extra `dev`, and Debian's `chromium` (or `CHROMIUM=/path/to/it`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from scripts.live_page import CHROMIUM, OPTIONS

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "report.png"
WIDTH, SHARPNESS = 1440, 1.25
_END = "() => document.querySelector('.questions').getBoundingClientRect().bottom + 12"


def main(report: Path) -> None:
    """Photograph the page from its top to the last of the questions, which are folded."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SHARPNESS)
        page.goto(report.resolve().as_uri())
        picture = Path(folder) / "page.png"
        page.screenshot(
            path=picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": page.evaluate(_END)}, full_page=True
        )
        browser.close()
        with Image.open(picture) as image:
            image.convert("RGB").quantize(256, kmeans=4).save(OUT, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
