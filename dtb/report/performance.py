"""One person's runs, simulated and observed: reaction times, correct responses and BOLD.

The uncertainty is that of the twin's sessions. Each draw of all trials is a possible session of it: if the twin were the person, the
observed session would look like one of them. How far twins err about people they have not seen stands on the person's page, and in a row of
the certificate.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dtb.people.records import SubjectRecord
from dtb.report import comparisons
from dtb.report.collected import Collected, People, Simulations
from dtb.report.maps import plain_region
from dtb.report.parts import Panel, colour_of, conditions_of, number


def behaviour_panels(
    trials: pd.DataFrame, record: SubjectRecord | None, found: Collected, tasks: Mapping[str, str], missing: list[str]
) -> list[Panel]:
    """Return panels of each task's reaction times, and of the share of correct responses by condition."""
    if trials.empty:
        missing.append("The simulation holds no trials of this person.")
        return []
    panels = []
    for index, (task, rows) in enumerate(_by_task(trials, tasks)):
        observed, simulated, session = reaction_times(rows)
        omitted = f"{np.isnan(simulated).mean():.0%} of the simulated trials and {np.isnan(observed).mean():.0%} of the observed ones"
        svg = comparisons.rt_distribution(
            f"twin-rt-{index}",
            observed,
            simulated,
            session.to_numpy(),
            colour=colour_of(task, tasks),
            title=f"{task}: reaction times",
        )
        words = (
            f"Bars: the person; line: the twin in the same trials; nine in ten of its {session.nunique()} sessions lie in the band "
            f"from end to end (of sessions, not of people). {omitted} have no press."
        )
        choices = _choice_panels(f"twin-choice-{index}", task, rows, session, record, found, tasks)
        panels += [Panel(svg, words, new_row=bool(index and choices)), *choices]
    return panels


def reaction_times(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, pd.Series]:
    """Return one person's reaction times in a task, observed once a trial and simulated, and the session of each simulated trial.

    Parameters
    ----------
    rows : pandas.DataFrame
        The person's rows of the table `trials` that `dtb simulate` writes.

    Returns
    -------
    observed, simulated : (n,), (m,) float
        Seconds; NaN for no press.
    session : (m,) pandas.Series of int
    """
    each_trial = [column for column in ("label", "run", "trial") if column in rows]
    session = rows.groupby([name for name in ("member", "noise_draw", "draw") if name in rows]).ngroup()
    observed = rows.drop_duplicates(each_trial)["observed_rt"].to_numpy(float)
    return observed, rows["rt"].to_numpy(float), session


def _choice_panels(
    name: str,
    task: str,
    rows: pd.DataFrame,
    session: pd.Series,
    record: SubjectRecord | None,
    found: Collected,
    tasks: Mapping[str, str],
) -> list[Panel]:
    """Return panels of the share of correct responses, if trials have conditions and correct responses."""
    if record is None or "correct" not in rows or not isinstance(found.people, People):
        return []
    conditions = conditions_of(found.people, task)
    observed = _right_answers(record, task, conditions)
    scored = rows[rows["correct"].notna() & rows["condition"].isin(list(observed))]
    if scored.empty:
        return []
    shares = scored["correct"].astype(float).groupby([scored["condition"].astype(str), session[scored.index]]).mean()
    simulated = {name: shares.loc[[name]].to_numpy(float) for name in observed if name in shares.index}
    svg = comparisons.right_answers(
        name,
        {condition: observed[condition] for condition in simulated},
        simulated,
        colour=colour_of(task, tasks),
        title=f"{task}: choices",
    )
    caption = "Bars span the middle nine in ten of the twin's sessions; in brackets, the person's trials."
    return [Panel(svg, caption)]


def _right_answers(record: SubjectRecord, task: str, conditions: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Return the observed share of correct responses, and the number of trials, by condition."""
    found: dict[str, list[bool]] = {}
    for run in record.runs:
        if run.task != task:
            continue
        trials = run.trials
        right_J = trials.right_J
        for place in np.flatnonzero(trials.usable_J & trials.scored_J & (trials.condition_J >= 0)):
            if trials.condition_J[place] < len(conditions):
                found.setdefault(str(conditions[trials.condition_J[place]]), []).append(bool(right_J[place]))
    return {name: (float(np.mean(right)), len(right)) for name, right in found.items()}


def bold_panels(
    simulations: Simulations,
    pseudonym: str,
    record: SubjectRecord,
    people: People,
    tasks: Mapping[str, str],
    missing: list[str],
) -> list[Panel]:
    """Return panels of each task's BOLD, in the region with the median correlation."""
    if all(run.bold_VR is None for run in record.runs):
        missing.append("This person has no task BOLD, so there is no time course to compare.")
        return []
    bold, names = simulations.bold_of(pseudonym)
    if bold.empty:
        missing.append("The simulation holds no BOLD of this person.")
        return []
    place = {name: index for index, name in enumerate(people.manifest.description.regions)}
    columns = [place[name] for name in names]
    panels = []
    for index, (task, rows) in enumerate(_by_task(bold, tasks)):
        run = record.runs[int(rows["run"].iloc[0])]
        if run.bold_VR is None or run.repetition_time is None:
            continue
        volumes = rows[rows["run"] == rows["run"].iloc[0]].sort_values("seconds")
        seconds_V = volumes["seconds"].to_numpy(float)
        predicted_VR, spread_VR = (
            np.stack([np.asarray(row, dtype=float) for row in volumes[name]]) for name in ("bold", "spread")
        )
        observed_VR = run.bold_VR[run.volumes_at(seconds_V)][:, columns].astype(float)
        correlation_R = np.array([_correlation(*pair) for pair in zip(observed_VR.T, predicted_VR.T, strict=True)])
        known = np.flatnonzero(np.isfinite(correlation_R))
        if not len(known):
            missing.append(f"In {task} no region of this person has both observed and predicted BOLD that varies.")
            continue
        region = int(known[np.argsort(correlation_R[known])[len(known) // 2]])
        spread_V = spread_VR[:, region] if spread_VR[:, region].any() else None
        svg = comparisons.time_course(
            f"twin-bold-{index}",
            seconds_V,
            observed_VR[:, region],
            predicted_VR[:, region],
            spread_V,
            colour=colour_of(task, tasks),
            title=f"{task}: BOLD of {plain_region(names[region])}",
        )
        band = (
            "its error in this run (1.64 root mean squares either way)"
            if spread_V is None
            else "how its sessions differ (1.64 SD either way)"
        )
        caption = (
            f"Of {len(known)} regions the one whose r of observed with predicted BOLD is the median, {number(correlation_R[region], 2)} "
            f"({number(correlation_R[known].min(), 2)} to {number(correlation_R[known].max(), 2)}). The band is {band}."
        )
        panels.append(Panel(svg, caption, new_row=index == 0))
    return panels


def _by_task(table: pd.DataFrame, tasks: Mapping[str, str]) -> list[tuple[str, pd.DataFrame]]:
    """Return a table's rows by task, in the order of the tasks."""
    named = table["task"].astype(str)
    order = [*(task for task in tasks if (named == task).any()), *sorted(set(named) - set(tasks))]
    return [(task, table[named == task]) for task in order]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or one[known].std() == 0 or other[known].std() == 0:
        return float("nan")
    return float(np.corrcoef(one[known], other[known])[0, 1])
