"""``dtb update``: what each person's own trials and volumes say beyond the connectome, as a posterior of the person's latent.

The table ``latents`` has a row for each person, member of the ensemble and session, in the order of sessions: the distribution of the
person's latent given everything up to and including that session. `mean` (Z,) and `covariance` (Z x Z, row by row) are lists;
`prior_mean` and `prior_covariance` are what was known before any own data. ``status`` has a row for each person.

Read it with ``pandas.read_parquet("OUT/latents")``, or by `dtb.fleet.posteriors.Posteriors`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from dtb.cluster.connection import connected
from dtb.config import Config, UpdateConfig, sections
from dtb.errors import ConfigurationError
from dtb.fleet.actors.actor import Work
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool, say_summary
from dtb.fleet.actors.sizing import bytes_of_simulation, sized
from dtb.fleet.twins import SharedTwin, TwinRunner, inputs_of, open_ensemble
from dtb.stages import StageCall
from dtb.terminal import out
from dtb.twin.own_data import OwnData, restricted
from dtb.twin.posterior import Latents, Posterior, condition, prior_of

TABLES = ("latents",)
SCHEMA = pa.schema(
    [
        ("pseudonym", pa.string()),
        ("member", pa.int16()),
        ("session", pa.string()),
        ("session_number", pa.int16()),
        ("has_connectome", pa.bool_()),
        ("num_trials", pa.int32()),
        ("num_volumes", pa.int32()),
        ("mean", pa.list_(pa.float64())),
        ("covariance", pa.list_(pa.float64())),
        ("prior_mean", pa.list_(pa.float64())),
        ("prior_covariance", pa.list_(pa.float64())),
        ("variance_left", pa.float64()),
        ("log_evidence", pa.float64()),
        ("num_steps", pa.int16()),
        ("condition_number", pa.float64()),
    ]
)


def update(config: Config, trained: Path, shards: Path, folder: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Condition everybody's twin on the person's own data.

    Parameters
    ----------
    config : Config
        Sections `seed`, `update`, `fleet` and `cluster`.
    trained, shards : Path
        Output folders of `dtb train` and `dtb ingest`; the cohort may be another than the one that was trained on, and may have people
        without a connectome.
    folder : Path
        Output folder.
    resume : bool
        Go on in a folder that was begun.
    dry_run : bool
        Check the inputs, say what would be done, write nothing.

    Raises
    ------
    ConfigurationError
        A twin has no person effects, or no run is of the tasks or sessions that are named.
    InputDataError
        Twin and cohort, or the members of the ensemble, do not belong together.
    """
    settings = config.update
    shared_twins = open_ensemble(shards, trained, settings.members, "update.members", needs_connectomes=False)
    _require_person_effects(shared_twins)
    _require_tasks(settings, shared_twins[0])
    keys = sorted(shared_twins[0].cohort().pseudonyms)
    ensemble = f"({len(shared_twins)} members each) " if len(shared_twins) > 1 else ""
    plan = (
        f"Would update the twins of {len(keys)} people {ensemble}on "
        f"{_given_in_words(settings)}, on {config.fleet.num_actors} actor(s), and write {', '.join(TABLES)} to {folder}."
    )
    call = StageCall(
        "update",
        folder,
        sections(config, "seed", "update"),
        resume=resume,
        dry_run=dry_run,
        inputs=inputs_of(shared_twins),
    )
    if call.ends_early(lambda: out.print(plan)):
        return
    ledger = Ledger(folder, TABLES)
    with connected(config.cluster):
        claimed = call.claim()
        needed = functools.partial(bytes_of_simulation, shared_twins)
        fleet = sized(config.fleet, folder, needed, len(keys), config.cluster)
        summary = run_pool(
            functools.partial(UpdateWorker, seed=config.seed, settings=settings, num_rows=fleet.subjects_per_batch),
            shared_twins,
            keys,
            ledger,
            fleet,
            description="Updating",
            cluster=config.cluster,
        )
    figures = _figures(ledger)
    if settings.sessions and figures and not figures["num_own"]:
        raise ConfigurationError(
            f"update.sessions: nobody has usable trials or volumes in the sessions {', '.join(settings.sessions)}, so that nothing was "
            f"updated. Labels of sessions are those of `session` in {shards / 'quality.tsv'}; give another output folder."
        )
    claimed.finish({"num_people": len(keys), "num_failed": summary.num_failed, **figures})
    out.print(
        f"Updated: {say_summary(summary)} {_in_words(figures)} The table latents is in {folder}; "
        f"`dtb simulate {shards} {trained} OUT --updated {folder}` lets these twins do the tasks."
    )


def _require_person_effects(shared_twins: Sequence[SharedTwin]) -> None:
    if not all(shared_twin.card.config.person_effects for shared_twin in shared_twins):
        raise ConfigurationError(
            "A twin was trained with `twin.person_effects: false`, as the published model is: a person's own data cannot change it. Train "
            "one with `person_effects: true`."
        )


def _require_tasks(settings: UpdateConfig, shared_twin: SharedTwin) -> None:
    known = [spec.name for spec in shared_twin.taskset.specs]
    unknown = [name for name in settings.tasks if name not in known]
    if unknown:
        raise ConfigurationError(f"update.tasks: the twin has no task {unknown[0]!r}; it has {', '.join(known)}.")


def _given_in_words(settings: UpdateConfig) -> str:
    """Return which of their own data people's twins are updated on."""
    parts = []
    if settings.trials is not None:
        parts.append(f"the first {settings.trials} trials of each task")
    if settings.bold_seconds is not None:
        parts.append(f"the first {settings.bold_seconds:g} s of BOLD")
    words = " and ".join(parts) or "all of their own trials and volumes"
    if settings.tasks:
        words += f" of {', '.join(settings.tasks)}"
    if settings.sessions:
        words += f" in the sessions {', '.join(settings.sessions)}"
    return words if settings.connectome else f"{words}, without their connectomes"


class UpdateWorker:
    """The worker: conditions twins on batches of people, session by session.

    Parameters
    ----------
    shared_twins : sequence of SharedTwin
        One per member of the ensemble.
    seed : int
    settings : UpdateConfig
    num_rows : int or None
        See `dtb.fleet.twins.TwinRunner`.
    """

    def __init__(
        self, shared_twins: Sequence[SharedTwin], seed: int, settings: UpdateConfig, num_rows: int | None = None
    ) -> None:
        self._runners = [TwinRunner(shared_twin, seed, num_rows) for shared_twin in shared_twins]
        self._settings = settings

    def work(self, keys: Sequence[str]) -> Work:
        """Return the posteriors of some people; those whose mode was not found fail."""
        failures: dict[str, str] = {}
        rows = [
            row for member, runner in enumerate(self._runners) for row in self._rows(runner, member, keys, failures)
        ]
        table = pa.Table.from_pylist([row for row in rows if row["pseudonym"] not in failures], SCHEMA)
        return Work({"latents": table}, failures)

    @torch.no_grad()
    def _rows(
        self, runner: TwinRunner, member: int, keys: Sequence[str], failures: dict[str, str]
    ) -> list[dict[str, Any]]:
        settings, twin = self._settings, runner.twin
        records, batch = runner.lay_out(keys, sessions=settings.sessions)
        given = OwnData(trials=settings.trials, bold_seconds=settings.bold_seconds, tasks=tuple(settings.tasks) or None)
        batch = restricted(batch, given, [spec.name for spec in runner.taskset.specs])
        connectome_SE = batch.connectome_SE
        if not settings.connectome:
            connectome_SE = torch.full_like(connectome_SE, torch.nan)
        prior = latents = prior_of(twin, connectome_SE)
        sessions = [sorted({run.session or "" for run in record.runs}) for record in records]
        assert twin.prior is not None
        rows = []
        for number in range(max(1, *map(len, sessions))):
            part = restricted(batch, OwnData(sessions=(number,)))
            if number:
                latents = latents.later(twin.prior.drift_ZZ)
            found = condition(twin, part, latents)
            latents = found.latents
            for place, record in enumerate(records):
                if number >= max(1, len(sessions[place])):
                    continue
                if why := _failure(found, place):
                    failures.setdefault(record.pseudonym, why)
                    continue
                rows.append(
                    {
                        "pseudonym": record.pseudonym,
                        "member": member,
                        "session": sessions[place][number] if sessions[place] else "",
                        "session_number": number,
                        "has_connectome": bool(connectome_SE[place].isfinite().any()),
                        "num_trials": int((part.trials.usable_J & (part.trials.subject_J == place)).sum()),
                        "num_volumes": int(part.bold_counted_SKV[place].sum()),
                        "mean": latents.mean_SZ[place].tolist(),
                        "covariance": latents.covariance_SZZ[place].flatten().tolist(),
                        "prior_mean": prior.mean_SZ[place].tolist(),
                        "prior_covariance": prior.covariance_SZZ[place].flatten().tolist(),
                        "variance_left": variance_left(prior, latents, place),
                        "log_evidence": float(found.log_evidence_S[place]),
                        "num_steps": int(found.num_steps_S[place]),
                        "condition_number": float(found.condition_number_S[place]),
                    }
                )
        return rows


def _failure(found: Posterior, place: int) -> str:
    """Return why a person's posterior cannot be used; empty if it can."""
    if not bool(found.mean_SZ[place].isfinite().all() and found.covariance_SZZ[place].isfinite().all()):
        return "the posterior is not finite: is the connectome far from those the twin was trained on?"
    if not bool(found.converged_S[place]):
        return f"no mode of the posterior was found within {int(found.num_steps_S[place])} steps"
    return ""


def variance_left(prior: Latents, latents: Latents, place: int) -> float:
    """Return the share of the prior's variance that own data leave, as the mean over the prior's principal axes.

    Examples
    --------
    >>> one = Latents(torch.zeros(1, 2), torch.eye(2).double()[None])
    >>> variance_left(one, Latents(torch.ones(1, 2), 0.25 * torch.eye(2).double()[None]), 0)
    0.25
    """
    values_Z, vectors_ZZ = torch.linalg.eigh(prior.covariance_SZZ[place])
    there_Z = values_Z > 1e-12 * values_Z[-1]
    if not there_Z.any():
        return 0.0
    along_Z = (vectors_ZZ.mT @ latents.covariance_SZZ[place] @ vectors_ZZ).diagonal()
    return float((along_Z[there_Z] / values_Z[there_Z]).mean())


def _figures(ledger: Ledger) -> dict[str, Any]:
    """Return figures that summarise an update over people, after each one's last session."""
    columns = ("pseudonym", "member", "session_number", "num_trials", "num_volumes", "has_connectome", "variance_left")
    parts = [part.to_pandas() for part in ledger.parts("latents", columns)]
    if not parts:
        return {}
    rows = pd.concat(parts).sort_values("session_number")
    # All members of an ensemble are updated on the same trials.
    first = rows[rows["member"] == 0].groupby("pseudonym")
    return {
        "num_with_connectome": int(first["has_connectome"].last().sum()),
        "num_sessions": 1 + int(rows["session_number"].max()),
        "num_own": int(rows["num_trials"].sum() + rows["num_volumes"].sum()),
        "median_trials": float(first["num_trials"].sum().median()),
        "median_variance_left": float(rows.groupby(["pseudonym", "member"])["variance_left"].last().median()),
    }


def _in_words(figures: dict[str, Any]) -> str:
    if not figures:
        return ""
    return (
        f"Own data ({figures['median_trials']:g} trials in the median) leave {figures['median_variance_left']:.0%} of the variance "
        f"that people's latents had before; {figures['num_with_connectome']} people have a connectome."
    )
