"""One person's twin: connectome, reaction times and BOLD, simulated and observed.

The person is the one with the median error of predicted mean reaction times, unless the configuration names somebody.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dtb.errors import ConfigurationError
from dtb.people.connectome_kinds import quantity_of
from dtb.people.records import SubjectRecord, matrix_from_edges
from dtb.report.collected import Collected, Evaluation, Missing, People
from dtb.report.figures import matrices as figures
from dtb.report.maps import Brain, limit_of, region_map
from dtb.report.parts import NOTHING, Panel, Section, Table, number
from dtb.report.performance import behaviour_panels, bold_panels
from dtb.shards.manifest import CohortDescription


def choose_person(found: Collected, wanted: str | None) -> tuple[str | None, str]:
    """Return the person whose twin is shown, with the reason.

    Parameters
    ----------
    found : Collected
    wanted : str or None
        Pseudonym from the configuration.

    Returns
    -------
    pseudonym : str or None
        None if there is nobody to show.
    reason : str
        How the person was chosen, in a sentence.

    Raises
    ------
    ConfigurationError
        There is no person of the wanted pseudonym.
    """
    known = set(found.people.cohort.pseudonyms) if isinstance(found.people, People) else set()
    if wanted is not None:
        if known and wanted not in known:
            raise ConfigurationError(f"report.subject: there is nobody with the pseudonym {wanted!r} in the cohort.")
        return wanted, "The person named in the configuration."
    errors = errors_of_people(found)
    if len(errors):
        return str(errors.index[(len(errors) - 1) // 2]), (
            f"Of {len(errors)} people held out, the one whose error in mean RT is the median."
        )
    if known:
        return min(known), "The first person of the cohort by pseudonym; there is no evaluation to choose by."
    return None, "There is nobody to show."


def errors_of_people(found: Collected) -> pd.Series:
    """Return the mean absolute error of each held-out person's mean reaction times, by pseudonym, smallest first."""
    if not isinstance(found.evaluation, Evaluation):
        return pd.Series(dtype=float)
    subjects = found.evaluation.subjects
    subjects = subjects[subjects["part"] == "test"] if "part" in subjects else subjects
    errors = (subjects["predicted_mean_rt"] - subjects["observed_mean_rt"]).abs()
    return errors.groupby(subjects["pseudonym"]).mean().dropna().sort_values(kind="stable")


def twin_section(
    found: Collected, pseudonym: str | None, why: str, tasks: Mapping[str, str], brain: Brain | None
) -> Section:
    """Return the section on one person's connectome, reaction times and BOLD time courses, simulated and observed."""
    section = Section("twin", "One person's twin")
    if pseudonym is None:
        reasons = [part.reason for part in (found.people, found.simulations) if isinstance(part, Missing)]
        return dataclasses.replace(section, missing=[why, *reasons])
    words = [f"{pseudonym}. {why}"]
    missing: list[str] = []
    panels: list[Panel] = []
    record = None
    if isinstance(found.people, Missing):
        missing.append(f"No connectome can be shown. {found.people.reason}")
    else:
        try:
            record = found.people.cohort.record(pseudonym)
        except (OSError, ValueError) as error:
            missing.append(f"No connectome can be shown: {error}")
    if record is not None and isinstance(found.people, People):
        panels += _connectome_panels(record, found.people.manifest.description, brain)
    if isinstance(found.simulations, Missing):
        missing.append(f"No simulated behaviour can be shown. {found.simulations.reason}")
    else:
        panels += behaviour_panels(found.simulations.trials_of(pseudonym), record, found, tasks, missing)
        if record is not None and isinstance(found.people, People):
            panels += bold_panels(found.simulations, pseudonym, record, found.people, tasks, missing)
    return dataclasses.replace(
        section, words=words, missing=missing, panels=panels, tables=_person_tables(found, pseudonym)
    )


def _connectome_panels(record: SubjectRecord, description: CohortDescription, brain: Brain | None) -> list[Panel]:
    made = description.connectome
    shown_RR = matrix_from_edges(record.connectome_E.astype(float), diagonal=np.nan)
    if made.get("scale") in {None, "fisher_z"}:
        shown_RR, limit = np.tanh(shown_RR), 1.0
        quantity = quantity_of(made)
        what = f"the {quantity} of resting-state signals between regions"
    else:
        limit = float(np.nanmax(np.abs(shown_RR), initial=1e-6))
        quantity = f"connection, {made['scale']}"
        what = f"how regions are connected ({made['scale']}), from matrices that were given"
    absent = int(np.isnan(shown_RR).all(axis=1).sum())
    matrix = Panel(
        figures.matrix(
            "twin-connectome",
            shown_RR,
            regions=description.regions,
            limit=limit,
            title="Connectome",
            quantity=quantity,
        ),
        f"What the twin knows of this person: {what}."
        + (
            f" {absent} regions are absent from this person's data; the twin is told so, and nothing is filled in."
            if absent
            else ""
        ),
    )
    if brain is None:
        return [matrix]
    with np.errstate(invalid="ignore"):
        known_R = np.isfinite(shown_RR).any(axis=0)
        strength_R = np.full(len(known_R), np.nan)
        strength_R[known_R] = np.nanmean(shown_RR[:, known_R], axis=0)
    svg = region_map(
        "twin-strength", strength_R, brain, limit=limit_of(strength_R), title="Strength", quantity=f"mean {quantity}"
    )
    return [matrix, Panel(svg, "The mean over all connections of each region.")]


def _person_tables(found: Collected, pseudonym: str) -> list[Table]:
    if not isinstance(found.evaluation, Evaluation):
        return []
    subjects = found.evaluation.subjects
    own = subjects[subjects["pseudonym"].astype(str) == pseudonym]
    if own.empty:
        return []
    rows = []
    for row in own.to_dict("records"):
        rows.append(
            (
                str(row["task"]),
                str(row.get("part", "")),
                *(
                    number(row.get(f"{source}_{measure}"))
                    for measure in ("mean_rt", "accuracy", "condition_rt")
                    for source in ("observed", "predicted")
                ),
            )
        )
    columns = (
        "task",
        "data",
        "RT, observed (s)",
        "RT, twin (s)",
        "accuracy, observed",
        "accuracy, twin",
        "effect on RT, observed (s)",
        "effect on RT, twin (s)",
    )
    # A task without right answers, or without a contrast, would leave columns of dashes.
    kept = [place for place in range(len(columns)) if place < 2 or any(row[place] != NOTHING for row in rows)]
    shown = [tuple(row[place] for place in kept) for row in rows]
    return [Table("This person in figures", [columns[place] for place in kept], shown, frozenset(range(2, len(kept))))]
