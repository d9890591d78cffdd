"""What axe-core finds of a page: rules of WCAG 2.2, levels A and AA, and of good practice."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

AXE = Path(__file__).parent / "axe" / "axe.min.js"
_RUN = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => `${id} (${help}): ${nodes.slice(0, 3).map(one => one.html.slice(0, 160)).join(" | ")}`);
}"""


@functools.cache
def _source() -> str:
    return AXE.read_text(encoding="utf-8")


def violations(page: Any) -> list[str]:
    """Return what axe-core finds wrong on a page of playwright, with the first elements of each kind; nothing where all is well."""
    page.evaluate(_source())
    return list(page.evaluate(_RUN))
