"""Makes docs/images/report.png, the picture of the README, from a report made with `--person-pages 0`:

    python scripts/screenshots.py REPORT/index.html

Needs Debian's `chromium` (or `CHROMIUM=/path/to/it`). Parts of the page are cut out by their anchors and photographed side by side.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "report.png"
COLUMNS = (("reaction-times", "choices"), ("twin", "intervention"))
WIDTH, HEIGHT = 1180, 2050
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def main(page: Path) -> None:
    """Photograph both columns and set them side by side."""
    html = page.read_text(encoding="utf-8")
    photographs = [photograph(only(html, keys, with_header=not number)) for number, keys in enumerate(COLUMNS)]
    whole = Image.new("RGB", (WIDTH * len(photographs), HEIGHT), "white")
    for number, image in enumerate(photographs):
        whole.paste(image, (WIDTH * number, 0))
    whole.resize((whole.width * 2 // 3, whole.height * 2 // 3), Image.Resampling.LANCZOS).quantize(256, kmeans=4).save(
        OUT, optimize=True
    )


def only(html: str, keys: tuple[str, ...], *, with_header: bool) -> str:
    """Keep the named sections of a page, and its header if wanted."""
    sections = dict(re.findall(r'(?s)<section id="([^"]+)"(.*?</section>)', html))
    head = html[: html.index("<header>")]
    header = re.sub(r"(?s)<nav.*?</nav>", "", html[html.index("<header>") : html.index("<main")])
    body = "".join(f'<section id="{key}"{sections[key]}' for key in keys)
    return f"{head}{header if with_header else ''}<main>{body}</main></body></html>"


def photograph(html: str) -> Image.Image:
    """Show a page in headless Chromium, and give what is seen."""
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        page.write_text(html, encoding="utf-8")
        command = [os.environ.get("CHROMIUM", "chromium"), *_OPTIONS.split(), f"--user-data-dir={folder}/profile"]
        command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        with Image.open(picture) as image:
            return image.convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
