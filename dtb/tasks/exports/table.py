"""The table of presentation programs: one line each, from a file each; and the reading of any events file."""

from __future__ import annotations

import json
from pathlib import Path

from dtb.errors import InputDataError
from dtb.kinds import Kinds
from dtb.tasks.exports.eprime import EPRIME_LOG, EPRIME_TABLE
from dtb.tasks.exports.export import Export, Exported, text_of
from dtb.tasks.exports.jspsych import JSPSYCH
from dtb.tasks.exports.psychopy import PSYCHOPY
from dtb.tasks.tables import read_tsv

EXPORTS: Kinds[Export] = Kinds("export", [PSYCHOPY, EPRIME_LOG, EPRIME_TABLE, JSPSYCH])


def read_events(path: Path) -> Exported:
    """Read an `events.tsv`, or what PsychoPy, E-Prime or jsPsych wrote, as events.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Exported

    Raises
    ------
    InputDataError
        The file is none of these, or is broken.
    """
    if path.name.endswith("_events.tsv"):
        return Exported(read_tsv(path))
    text = text_of(path)
    for export in EXPORTS:
        if export.fits(text):
            try:
                return export.read(path, text)
            except (json.JSONDecodeError, RecursionError) as error:
                raise InputDataError(
                    f"{path} seems to be {export.words}, but is not readable ({error}). Export it again."
                ) from None
    if path.suffix == ".tsv":
        return Exported(read_tsv(path))
    programs = ", ".join(export.words for export in EXPORTS)
    raise InputDataError(
        f"{path} is neither an events.tsv nor {programs}. Write a tab-separated table with the columns onset and duration in seconds."
    )
