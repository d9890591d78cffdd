"""The one spelling in which cells of an events file, and values in a specification, are compared.

Numbers are equal whatever their spelling (``1``, ``1.0``). Only ``n/a`` and the empty cell mean "absent"; everything else, ``NULL`` and
``NaN`` included, is text like any other.
"""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

ABSENT = ""
"""What an absent cell is, after `plain_text`."""


def plain_text(cell: Any) -> str:
    """Return a cell, or a value in a specification, in the one spelling in which they are compared.

    Examples
    --------
    >>> plain_text("1.0"), plain_text(1), plain_text("n/a"), plain_text("NULL")
    ('1', '1', '', 'NULL')
    """
    if isinstance(cell, bool):
        raise ValueError(f"YAML reads this as {cell}; put the word in quotes")
    text = format(cell, "g") if isinstance(cell, float) else str(cell)
    if not text or text.strip() == "n/a":  # a space alone is a key like any other
        return ABSENT
    if _NUMBER.fullmatch(text):
        number = float(text)
        return str(int(number)) if number.is_integer() else repr(number)
    return text
