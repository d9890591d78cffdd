"""Participant labels among the options: what is written or sent of a configuration holds none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, SerializationInfo

from dtb.errors import ConfigurationError

WITHHELD = "(withheld)"
"""What stands in place of a label; no label has parentheses."""
LABELS_TOO = "labels_too"
"""Key of the context in which a configuration is written with its labels: on the user's own terminal."""


class _Label(str):
    """A label that neither `repr` nor a pickle gives away: workers need none, for the driver selects."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(WITHHELD)

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return str, (WITHHELD,)


def _guarded(text: str) -> str:
    return text if is_a_file(text) else _Label(text)


def _said(text: str, info: SerializationInfo) -> str:
    context: Any = info.context or {}
    return str.__str__(text) if is_a_file(text) or LABELS_TOO in context else WITHHELD


ParticipantLabel = Annotated[str, AfterValidator(_guarded), PlainSerializer(_said)]


def is_a_file(text: str) -> bool:
    """Return whether an option names a file of labels and not a label, which has no slash."""
    return "/" in text


def read_labels(given: Iterable[str]) -> tuple[str, ...]:
    """Return the labels that an option names, those within files included.

    Parameters
    ----------
    given : iterable of str
        Labels, and paths of text files with one label a line.

    Raises
    ------
    ConfigurationError
        A file cannot be read, or the labels are those of a configuration that dtb wrote, which has none.
    """
    found: list[str] = []
    for each in given:
        if each == WITHHELD:
            raise ConfigurationError(
                f"ingest.participant_label is {WITHHELD}: files that dtb writes hold no labels. Give the labels again, or the path of a "
                "file with one label a line."
            )
        if not is_a_file(each):
            found.append(each)
            continue
        try:
            lines = Path(each).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"ingest.participant_label: {each} cannot be read ({error}). Expected a text file with one label a line."
            ) from None
        found += [line.strip() for line in lines if line.strip()]
    return tuple(found)
