"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of one language, each with its page's name."""
    found = []
    for page in PAGES:
        for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            found.append((page.name, block.replace("\\\n", " ")))
    return found


def commands() -> list[tuple[str, str]]:
    """Return the lines of all shell blocks in their order, each with its page's name."""
    lines = [(page, line.split(" #")[0].strip()) for page, block in blocks("bash") for line in block.splitlines()]
    return [(page, line) for page, line in lines if line]
