"""What is said of a person, without the label: pseudonyms in its place, and no folders, which may name people too."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from dtb.cohort.job import PersonJob
from dtb.cohort.labels import replacer
from dtb.config import IngestConfig


def without_label(text: str, job: PersonJob, config: IngestConfig) -> str:
    """Return a text with the pseudonym for the person's label, and without folders, which may name people too.

    Numbers are no labels: where a label has digits only, it counts after ``sub-`` and at the beginning of a file's name.
    """
    label = job.files.label
    paths = [*paths_in(job.files), *paths_in(config), *(root / "_" for root in job.derivatives)]
    # By name, the longest first: nothing tells where a folder with a space in its name begins or ends.
    for folder in sorted({str(each) for path in paths for each in path.parents if each.name}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}/", "", text)
    text = re.sub(r"(?<![\w)])(?:/[^\s/:;,]+)+/(?=[^\s/]+)", "", text)
    for name in {path.name for path in paths if re.match(rf"{re.escape(label)}[_.]", path.name)}:
        text = text.replace(name, job.pseudonym + name.removeprefix(label))
    text = replacer({label: job.pseudonym})(text)
    if label.isdecimal():
        return text
    return re.sub(rf"(?<![A-Za-z0-9-]){re.escape(label)}(?![A-Za-z0-9])", job.pseudonym, text)


def paths_in(value: object) -> Iterator[Path]:
    """Yield every path within a dataclass."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from paths_in(each)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from paths_in(getattr(value, field.name))
