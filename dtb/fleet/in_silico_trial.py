"""``dtb trial``: every person in every arm at every dose, in silico, under a protocol written beforehand.

Tables, one row each as named, in the folders of the same name:

- ``outcomes``: an indicator of a person in an arm at a dose, and whether the search abstains from this person. BOLD contrasts other than
  the target are summarised, task by task, as the root mean square over regions.
- ``status``: a person.

``trial.json`` holds the protocol, its hash and the primary outcome; ``doses.tsv``, ``matrix.tsv`` and ``slopes.tsv`` the other figures.

Shape letters: `S` subject, `E` connectome edge, `M` indicator.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dtb.cluster.connection import connected
from dtb.config import Config, config_hash, to_plain
from dtb.errors import ConfigurationError, StageError
from dtb.files import write_frame, write_json
from dtb.fleet.actors.actor import Work
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool, say_summary
from dtb.fleet.actors.sizing import bytes_of_search, sized
from dtb.fleet.ensemble_worker import EnsembleWorker, PreparedBatch
from dtb.fleet.intervene import survey_people
from dtb.fleet.named_target import make_search_target
from dtb.fleet.posteriors import Posteriors, read_posteriors
from dtb.fleet.search_worker import SearchWorker
from dtb.fleet.target import SearchTarget, Survey
from dtb.fleet.twins import SharedTwin, inputs_of, open_ensemble
from dtb.intervene.kinds import INDICATORS
from dtb.intervene.protocol import Protocol
from dtb.intervene.search import Found, simulate_all
from dtb.intervene.spaces import Start
from dtb.intervene.trial_figures import TrialFigures, analyse, benefit_of
from dtb.stages import StageCall
from dtb.terminal import out

TABLES = ("outcomes",)


def trial(
    config: Config,
    protocol: Protocol,
    shards: Path,
    trained: Path,
    folder: Path,
    *,
    resume: bool,
    dry_run: bool = False,
) -> None:
    """Run a trial.

    Parameters
    ----------
    config : Config
        Sections `seed`, `fleet` and `cluster`.
    protocol : Protocol
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    folder : Path
        Output folder.
    resume : bool
        Go on in a folder that was begun.
    dry_run : bool
        Check the inputs, say what would be done, write nothing.

    Raises
    ------
    ConfigurationError
        The twin has no such indicator, task or region, or an arm cannot be made of this cohort.
    """
    further = (*protocol.search.members, *protocol.unsearched)
    shared_twins = open_ensemble(shards, trained, further, "search.members and unsearched")
    num_searched = 1 + len(protocol.search.members)
    search_target = make_search_target(protocol.search, shared_twins[0])
    keys = sorted(shared_twins[0].cohort().pseudonyms)
    plan = (
        f"Would put {len(keys)} people through {len(protocol.arms)} arms ({', '.join(protocol.arms)}) at {len(protocol.doses)} "
        f"doses, to {protocol.search.direction} {search_target.name}, and write to {folder}. Protocol {config_hash(protocol)[:12]}."
    )
    registered, inputs = Registered(config.seed, protocol), inputs_of(shared_twins)
    posteriors = None
    if protocol.search.updated is not None:
        posteriors, inputs["update"] = read_posteriors(protocol.search.updated, shared_twins, "search.updated")
    call = StageCall("trial", folder, registered, resume=resume, dry_run=dry_run, inputs=inputs)
    if call.ends_early(lambda: out.print(plan)):
        return
    ledger = Ledger(folder, TABLES)
    with connected(config.cluster):
        claimed = call.claim()
        needed = functools.partial(bytes_of_search, shared_twins, protocol.search.num_restarts)
        fleet = sized(config.fleet, folder, needed, len(keys), config.cluster)
        survey = survey_people(config, fleet, shared_twins, search_target, keys, folder, num_searched)
        require_arms(protocol, survey)
        summary = run_pool(
            functools.partial(
                TrialWorker,
                search_target=search_target,
                seed=config.seed,
                survey=survey,
                protocol=protocol,
                num_rows=fleet.subjects_per_batch,
                posteriors=posteriors,
            ),
            shared_twins,
            keys,
            ledger,
            fleet,
            description="Trying",
            cluster=config.cluster,
        )
    parts = list(ledger.parts("outcomes", _ANALYSED))
    outcomes = pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame()
    if not len(outcomes):
        raise StageError(f"Nobody went through the trial; every person's reason is in {folder / 'status'}.")
    in_retest_sd = float(survey.goal.spread_M[search_target.target]) / survey.retest_sd if survey.retest_sd else None
    figures = analyse(outcomes, protocol, config.seed, in_retest_sd)
    if not figures.primary["num_people"]:
        raise StageError(
            f"Nobody has {search_target.name} in both {protocol.primary!r} and {protocol.comparator!r}: see {folder / 'outcomes'}."
        )
    num_abstained = int(outcomes.groupby("pseudonym")["abstained"].any().sum())
    benefit = benefit_of(outcomes, protocol, config.seed)
    result = _write(folder, figures, protocol, search_target, survey, num_abstained, benefit)
    claimed.finish({"num_people": len(keys), "num_failed": summary.num_failed, **result})
    out.print(f"Tried: {say_summary(summary)}")
    out.print(_in_words(figures, protocol, search_target, survey, num_abstained))
    if benefit is not None:
        out.print(benefit["sentence"])


def require_arms(protocol: Protocol, survey: Survey) -> None:
    """Refuse a protocol with an arm that cannot be made.

    Raises
    ------
    ConfigurationError
        An arm cannot be made; the message names it.
    """
    if "ridge" in protocol.arms and survey.ridge_E is None:
        raise ConfigurationError(
            "The protocol has the arm 'ridge', which regresses people's behaviour on their connectomes; but fewer than three of the "
            "training people have this behaviour, or all the same value of it. Leave `ridge` out of `arms`."
        )


@dataclasses.dataclass(frozen=True)
class Registered:
    """What decides a trial's results, and is saved and hashed with them."""

    seed: int
    protocol: Protocol


class TrialWorker(SearchWorker):
    """Searches each person's own change on some members, and simulates the others in every arm."""

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        search_target: SearchTarget,
        seed: int,
        survey: Survey,
        protocol: Protocol,
        num_rows: int | None = None,
        posteriors: Posteriors | None = None,
    ) -> None:
        num_searched = 1 + len(protocol.search.members)
        super().__init__(
            shared_twins[:num_searched], search_target, seed, survey, num_rows=num_rows, posteriors=posteriors
        )
        self._protocol = protocol
        unsearched = shared_twins[num_searched:]
        self._judges: EnsembleWorker = self
        if unsearched:
            self._judges = EnsembleWorker(unsearched, search_target, seed, num_rows, posteriors, num_searched)

    def work(self, keys: Sequence[str]) -> Work:
        """Return the outcomes of some people in every arm."""
        prepared = self.prepare(keys)
        keys, start = prepared.batch.pseudonyms, prepared.start
        found = self._search(keys, prepared, {})
        failures = self._failures(keys, found, start) | self._not_updated(keys)
        doubts = self._doubts(keys, found)
        changes = {"personalised": found.change_SE} if "personalised" in self._protocol.arms else {}
        for arm, direction_SE in self._controls(keys, start, self._protocol.arms).items():
            changes[arm] = start.along(direction_SE, found.norm_S)
        if "population_matched" in self._protocol.arms:
            (direction_SE,) = self._controls(keys, start, ["population"]).values()
            changes["population_matched"] = self._matched(prepared, found, direction_SE)
        kept = {key: key in doubts for key in keys if key and key not in failures}
        given = [(arm, dose) for arm in changes for dose in self._protocol.doses]
        in_order = [dose * changes[arm] for arm, dose in given]
        searched_CSM = simulate_all(prepared.performances, start, in_order).mean(0)
        judged = prepared if self._judges is self else self._judges.prepare(keys)
        before_BSM = simulate_all(judged.performances, start, [torch.zeros_like(found.change_SE)])[:, 0]
        after_CBSM = simulate_all(judged.performances, start, in_order).transpose(0, 1)
        after = dict(
            zip(given, zip(after_CBSM, searched_CSM, self._scans_apart(judged, in_order), strict=True), strict=True)
        )
        # What a sham changes is nothing: it performs as before, from each scan.
        unchanged = (before_BSM, found.before_SM, np.full(len(keys), np.nan))
        blocks = [
            self._outcomes(keys, kept, arm, dose, (before_BSM, found.before_SM), after.get((arm, dose), unchanged))
            for arm in self._protocol.arms
            for dose in self._protocol.doses
        ]
        return Work({"outcomes": pa.concat_tables(blocks)}, failures, self._notes(list(kept), doubts))

    def _matched(self, prepared: PreparedBatch, found: Found, direction_SE: Tensor) -> Tensor:
        """Go in a direction until it moves other indicators as far as the personal change does, in the root mean square of their spreads.

        By bisection of the norm, up to several times that of the personal change; the step is as long as that, or as the valid matrices
        let it be, where nothing else moves as far even then.
        """
        start, goal, nothing = prepared.start, self._survey.goal, torch.zeros_like(found.change_SE)
        wanted_S = goal.off_target(found.after_SM, found.before_SM)
        low_S, high_S = torch.zeros_like(found.norm_S), _FURTHEST_NORM * found.norm_S
        for _ in range(_BISECTIONS):
            middle_S = (low_S + high_S) / 2
            change_SE = torch.where(middle_S[:, None] > 0, start.along(direction_SE, middle_S), nothing)
            (after_SM,) = simulate_all(prepared.performances, start, [change_SE]).mean(0)
            is_less_S = goal.off_target(after_SM, found.before_SM) < wanted_S
            low_S, high_S = torch.where(is_less_S, middle_S, low_S), torch.where(is_less_S, high_S, middle_S)
        return torch.where(low_S[:, None] > 0, start.along(direction_SE, low_S), nothing)

    def _scans_apart(self, judged: PreparedBatch, changes_SE: Sequence[Tensor]) -> np.ndarray:
        """Return by how much more each change moves the target, the wanted way, from a person's first scan than from the second (C, S)."""
        search_target, found = self._search_target, np.full((len(changes_SE), len(judged.start.budget_S)), np.nan)
        scans = [list(record.rest_runs.values())[:2] for record in judged.records]
        two = [place for place, some in enumerate(scans) if len(some) == 2]
        if not two:
            return found
        moved = []
        for number in (0, 1):
            edges_SE = judged.batch.connectome_SE.clone()
            for place in two:
                edges_SE[place] = torch.from_numpy(np.array(scans[place][number])).to(edges_SE)
            start = Start.of(edges_SE, self._runners[0].card.sizes.num_regions, search_target.settings.budget)
            # What leads out of the valid matrices of one scan alone is shortened.
            valid = [start.along(change_SE, _SQRT2 * change_SE.norm(dim=1)) for change_SE in changes_SE]
            before_SM, *after = simulate_all(
                judged.performances, start, [torch.zeros_like(changes_SE[0]), *valid]
            ).mean(0)
            moved.append(
                search_target.sign * torch.stack([(one - before_SM)[:, search_target.target] for one in after])
            )
        apart_CS = ((moved[0] - moved[1]) / self._survey.goal.spread_M[search_target.target]).cpu().numpy()
        found[:, two] = apart_CS[:, two]
        return found

    def _outcomes(
        self,
        keys: Sequence[str],
        kept: dict[str, bool],
        arm: str,
        dose: float,
        before: tuple[Tensor, Tensor],
        after: tuple[Tensor, Tensor, np.ndarray],
    ) -> pa.Table:
        """Return the rows of an arm at a dose; `kept` has, for each person who did not fail, whether the search abstains."""
        search_target, goal, wanted = self._search_target, self._survey.goal, self._search_target.wanted
        (before_BSM, searched_before_SM), (after_BSM, searched_after_SM, apart_S) = before, after
        before_SM, after_SM = before_BSM.mean(0), after_BSM.mean(0)
        moved_BSM = ((after_BSM - before_BSM) / goal.spread_M).cpu().numpy()
        searched = ((searched_after_SM - searched_before_SM) / goal.spread_M).cpu().numpy()
        moved_BSM[..., search_target.target] *= search_target.sign
        searched[:, search_target.target] *= search_target.sign
        moved_SM = moved_BSM.mean(axis=0)
        rows: list[dict[str, Any]] = []
        for place, key in enumerate(keys):
            if key not in kept:
                continue
            aside: dict[int, list[int]] = {}
            for column, one in enumerate(search_target.indicators):
                is_target = column == search_target.target
                if wanted[column] and not is_target:
                    continue
                if INDICATORS[one.kind].is_map and not is_target:
                    aside.setdefault(one.task, []).append(column)
                    continue
                rows.append(
                    {
                        "pseudonym": key,
                        "task": search_target.tasks[one.task].name,
                        "indicator": one.kind,
                        "is_target": is_target,
                        "before": before_SM[place, column].item(),
                        "after": after_SM[place, column].item(),
                        "moved": moved_SM[place, column],
                        "moved_searched": searched[place, column],
                        "member_moved": moved_BSM[:, place, column].tolist(),
                        "scans_apart": apart_S[place] if is_target else np.nan,
                    }
                )
            for task, columns in aside.items():
                rows.append(
                    {
                        "pseudonym": key,
                        "task": search_target.tasks[task].name,
                        "indicator": "bold_map",
                        "is_target": False,
                        "moved": _size(moved_SM[place, columns]),
                        "moved_searched": _size(searched[place, columns]),
                        "member_moved": [_size(values) for values in moved_BSM[:, place, columns]],
                        "scans_apart": np.nan,
                    }
                )
        common = {"arm": arm, "dose": dose}
        return pa.Table.from_pylist(
            [row | common | {"abstained": kept[row["pseudonym"]]} for row in rows], schema=_SCHEMA
        )


def _size(values: np.ndarray) -> float:
    """Return the root mean square of the values that are known; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


_ANALYSED = (
    "pseudonym",
    "arm",
    "dose",
    "task",
    "indicator",
    "is_target",
    "moved",
    "moved_searched",
    "member_moved",
    "scans_apart",
    "abstained",
)
_FURTHEST_NORM = 4.0
"""The population's direction is followed to so many times the norm of the personal change, to match it in off-target effect."""
_BISECTIONS = 8
_SQRT2 = 2.0**0.5
_SCHEMA = pa.schema(
    [
        ("pseudonym", pa.string()),
        ("arm", pa.string()),
        ("dose", pa.float64()),
        ("task", pa.string()),
        ("indicator", pa.string()),
        ("is_target", pa.bool_()),
        ("before", pa.float64()),
        ("after", pa.float64()),
        ("moved", pa.float64()),
        ("moved_searched", pa.float64()),
        ("member_moved", pa.list_(pa.float64())),
        ("scans_apart", pa.float64()),
        ("abstained", pa.bool_()),
    ]
)


def _write(
    folder: Path,
    figures: TrialFigures,
    protocol: Protocol,
    search_target: SearchTarget,
    survey: Survey,
    num_abstained: int,
    benefit: dict[str, Any] | None,
) -> dict[str, Any]:
    for name in ("doses", "matrix", "slopes"):
        write_frame(folder / f"{name}.tsv", getattr(figures, name))
    spread = float(survey.goal.spread_M[search_target.target])
    result = {
        "num_abstained": num_abstained,
        "protocol_hash": config_hash(protocol),
        "target": search_target.name,
        "spread": spread,
        "spread_in_retest_sd": spread / survey.retest_sd if survey.retest_sd else None,
        "support": survey.support.plain(),
        "primary": figures.primary,
        "benefit": benefit,
    }
    write_json(folder / "trial.json", {**result, "protocol": to_plain(protocol)})
    return result


def _in_words(
    figures: TrialFigures, protocol: Protocol, search_target: SearchTarget, survey: Survey, num_abstained: int
) -> str:
    one, doubt = figures.primary, ""
    if not survey.support.is_shown:
        doubt = f"Do not rely on this trial, the search abstains for everybody: {survey.support.in_words(search_target.name)}. "
    elif num_abstained:
        doubt = f"For {num_abstained} people the ensemble disagrees about the personal change: the search abstains from them. "
    full = figures.doses[figures.doses["dose"] == 1.0].to_dict("records")
    incomplete = f" ({one['num_incomplete']} without a figure in both arms left out)" if one["num_incomplete"] else ""
    arms = "; ".join(
        f"{row['arm']} {row['effect']:.2f} [{row['effect_lower']:.2f}, {row['effect_upper']:.2f}], {row['responders']:.0%} respond"
        for row in full
    )
    return doubt + (
        f"{protocol.title} (protocol {config_hash(protocol)[:12]}), to {protocol.search.direction} {search_target.name}; effects in "
        f"spreads between people at the full dose: {arms}. Primary: {one['arm']} against {one['comparator']} {one['difference']:.2f} "
        f"[{one['difference_lower']:.2f}, {one['difference_upper']:.2f}], p = {one['p_value']:.2g} by sign flips over {one['num_people']} "
        f"people{incomplete}. What is known of the target: {survey.support.in_words(search_target.name)}. It is a trial of models, not of "
        "people."
    )
