"""People who cannot be trained on, set aside with a reason in `quarantine.tsv`, so that training goes on with the others.

Faults in the data are found before training begins. Faults that only the loss shows are found in training: the person is recorded, the
worker group restarts from the newest checkpoint, and training continues without that person.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dtb.errors import FinalError
from dtb.files import write_table
from dtb.people.records import Run, SubjectRecord

QUARANTINE_FILE = "quarantine.tsv"
_HEADER = ("pseudonym", "reason")


def unfit(record: SubjectRecord, *, needs_connectome: bool = True) -> str | None:
    """Return why a person cannot be trained on, or None.

    Absent edges and absent volumes are NaN and are masked; what is refused is an infinity anywhere, a NaN where a number must be, and, if
    the twin has no person effects, a connectome without any edge.
    """
    if np.isinf(record.connectome_E).any():
        return "the connectome has an infinite edge"
    if needs_connectome and np.isnan(record.connectome_E).all():
        return "the connectome has no edge"
    for run in record.runs:
        reason = _unfit_run(run)
        if reason is not None:
            return f"run {run.label}: {reason}"
    return None


def _unfit_run(run: Run) -> str | None:
    trials = run.trials
    usable_J = trials.usable_J.astype(bool)
    numbers = {
        "the onset of a usable trial": trials.onset_seconds_J[usable_J],
        "the response window of a usable trial": trials.window_seconds_J[usable_J],
        "the reaction time of a press": trials.rt_seconds_J[usable_J & trials.pressed_J],
        "a stimulus": np.concatenate(
            [trials.pulse_onset_seconds_Q, trials.pulse_duration_seconds_Q, trials.pulse_value_Q]
        ),
    }
    for what, values in numbers.items():
        if not np.isfinite(values).all():
            return f"{what} is not a finite number"
    if run.bold_VR is not None and np.isinf(run.bold_VR).any():
        return "the BOLD series has an infinite value"
    return None


def read_quarantine(out: Path) -> dict[str, str]:
    """Read the people set aside, with the reasons."""
    path = out / QUARANTINE_FILE
    if not path.is_file():
        return {}
    rows = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()[1:] if "\t" in line]
    return {row[0]: row[1] for row in rows}


def quarantine(out: Path, found: Mapping[str, str]) -> dict[str, str]:
    """Return all people set aside, with the reasons, after adding these."""
    everybody = {**read_quarantine(out), **found}
    write_table(out / QUARANTINE_FILE, [_HEADER, *sorted(everybody.items())])
    return everybody


def refuse_if_too_many(out: Path, set_aside: Mapping[str, str], num_people: int, max_fraction: float) -> None:
    """Stop if more people are set aside than the configuration allows.

    Raises
    ------
    FinalError
        There are too many; the message gives the numbers and the first reasons.
    """
    if len(set_aside) > max_fraction * num_people:
        listed = "\n".join(f"  {who}: {reason}" for who, reason in sorted(set_aside.items())[:3])
        raise FinalError(
            f"{len(set_aside)} of {num_people} training and validation people cannot be trained on, more than "
            f"train.max_quarantined_fraction {max_fraction:g} allows. All are in {out / QUARANTINE_FILE}; the first:\n{listed}"
        )
