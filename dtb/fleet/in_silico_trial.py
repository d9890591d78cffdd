"""``dtb trial``: every person in every arm at every dose, in silico, under a protocol written beforehand.

Tables, one row each as named, in the folders of the same name:

- ``outcomes``: an indicator of a person in an arm at a dose, and whether the search abstains from this person. BOLD contrasts other than
  the target are summarised, task by task, as the root mean square over regions.
- ``status``: a person.

``trial.json`` holds the protocol, its hash and the primary outcome; ``doses.tsv``, ``matrix.tsv`` and ``slopes.tsv`` the other figures.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dtb.cluster.connection import connected
from dtb.config import Config, config_hash, to_plain
from dtb.errors import ConfigurationError, StageError
from dtb.files import write_frame, write_json
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool, say_summary
from dtb.fleet.actors.sizing import bytes_of_search, sized
from dtb.fleet.intervene import survey_people
from dtb.fleet.named_target import make_search_target
from dtb.fleet.posteriors import read_posteriors
from dtb.fleet.target import SearchTarget, Survey
from dtb.fleet.trial_worker import TrialWorker
from dtb.fleet.twins import inputs_of, open_ensemble
from dtb.intervene.arms import ARMS
from dtb.intervene.protocol import Protocol
from dtb.intervene.trial_figures import TrialFigures, analyse, benefit_of
from dtb.stages import StageCall
from dtb.terminal import out

TABLES = ("outcomes",)
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
    for name in protocol.arms:
        if ARMS[name].needs_behaviour and survey.ridge_E is None:
            raise ConfigurationError(
                f"The protocol has the arm {name!r}, which regresses people's behaviour on their connectomes; but fewer than three of the "
                f"training people have this behaviour, or all the same value of it. Leave `{name}` out of `arms`."
            )


@dataclasses.dataclass(frozen=True)
class Registered:
    """What decides a trial's results, and is saved and hashed with them."""

    seed: int
    protocol: Protocol


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
