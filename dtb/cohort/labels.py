"""Texts without participant labels: whatever is written, and whatever is printed where it may be kept, names people by pseudonym."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_LONG = 5
"""A label as long as this is replaced wherever it stands; a shorter one could be part of any word or number."""


def labels_in(roots: Iterable[Path]) -> set[str]:
    """Return the participant labels of trees, by the names of their folders; a tree that cannot be listed has none."""
    found = set()
    for root in roots:
        try:
            found |= {path.name.removeprefix("sub-") for path in root.iterdir() if path.name.startswith("sub-")}
        except OSError:
            continue
    return found


def replacer(pseudonyms: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that puts pseudonyms for all labels in a text.

    Parameters
    ----------
    pseudonyms : mapping of str to str
        By label.

    Examples
    --------
    >>> without = replacer({"01": "f3", "NDAR7": "9c"})
    >>> without("sub-01, row 01: sub-NDAR7_bold and xNDAR71")
    'f3, row 01: 9c_bold and x9c1'
    """
    long = sorted((label for label in pseudonyms if len(label) >= _LONG), key=len, reverse=True)
    anywhere = {label.lower(): pseudonyms[label] for label in long}
    lengths = sorted({len(label) for label in anywhere}, reverse=True)

    def after_sub(match: re.Match[str]) -> str:
        return pseudonyms.get(match[1], match[0])

    def within(match: re.Match[str]) -> str:
        word, begin, parts = match[0], 0, []
        low = word.lower()
        while begin < len(word):
            for length in lengths:
                label = low[begin : begin + length]
                if len(label) == length and label in anywhere and not _is_within_a_number(low, begin, length):
                    parts.append(anywhere[label])
                    begin += length
                    break
            else:
                parts.append(word[begin])
                begin += 1
        return "".join(parts)

    def without(text: str) -> str:
        text = re.sub(r"(?<![A-Za-z0-9])sub-([A-Za-z0-9]+)", after_sub, text)
        return re.sub(r"[A-Za-z0-9]+(?:\.[0-9]+)?", within, text) if anywhere else text

    return without


def _is_within_a_number(word: str, begin: int, length: int) -> bool:
    """Return whether a label of digits only is part of a longer number here."""
    if not word[begin : begin + length].isdecimal():
        return False
    around = word[begin - 1 : begin] + word[begin + length : begin + length + 1]
    return any(each.isdecimal() or each == "." for each in around)
