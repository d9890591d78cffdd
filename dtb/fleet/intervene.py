"""``dtb intervene``: for each person, a change of the connectome that moves one indicator and leaves the others.

There are two passes over the people. The first simulates everybody unchanged: the spread of each indicator between people is the unit
in which off-target changes are penalised, and the mean gradient is the direction that would help the population. The second searches.

Tables, one row each as named, in the folders of the same name:

- ``results``: an indicator of a person, before, after the change and after each control of the same norm.
- ``changes``: a person: the change of the correlations, upper triangle row by row, and the target's value along the search.
- ``regions``, ``networks``: a region, or a pair of networks, that the change touches, ranked within the person.
- ``fronts``: with a second aim, a share of it for a person: the gain of each aim, in spreads between people, and whether no other
  share is better for both.
- ``status``: a person.

Shape letters: `E` connectome edge.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dtb.cluster.connection import connected
from dtb.config import Config, FleetConfig, InterveneConfig, sections
from dtb.errors import StageError
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool, say_summary
from dtb.fleet.actors.sizing import bytes_of_search, sized
from dtb.fleet.derivatives import DERIVATIVES, describe_derivatives, write_relmat_sidecar
from dtb.fleet.named_target import make_search_target
from dtb.fleet.posteriors import read_posteriors
from dtb.fleet.search_worker import CHANGE, MEASURE, SearchWorker
from dtb.fleet.support import seen_in_training
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.target import SearchTarget, Survey
from dtb.fleet.twins import SharedTwin, inputs_of, open_ensemble, seed_of
from dtb.intervene.arms import control_names
from dtb.stages import StageCall
from dtb.terminal import out

TABLES = ("results", "changes", "regions", "networks", "fronts")
REFERENCE = "reference"

_SHORT = 0.99
"""Share of the change's norm below which a control does not count as one of equal norm."""
_PEOPLE_IN_DIRECTION = 256
"""People whose gradients make the population's direction: the mean of so many hardly moves, and each takes one number an edge."""


def intervene(
    config: Config, shards: Path, trained: Path, folder: Path, *, resume: bool, dry_run: bool = False
) -> None:
    """Search a change of the connectome for each person.

    Parameters
    ----------
    config : Config
        Sections `seed`, `intervene`, `fleet` and `cluster`.
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
        The twin has no such indicator, task or region.
    """
    shared_twins = open_ensemble(shards, trained, config.intervene.members, "intervene.members")
    search_target = make_search_target(config.intervene, shared_twins[0])
    keys = sorted(shared_twins[0].cohort().pseudonyms)
    plan = (
        f"Would search, for {len(keys)} people, a change of the connectome that will {config.intervene.direction} {search_target.name}, "
        f"{config.intervene.num_steps} steps each, on {config.fleet.num_actors} actor(s), and write {', '.join(TABLES)} to {folder}."
    )
    settings, inputs = sections(config, "seed", "intervene"), inputs_of(shared_twins)
    posteriors = None
    if config.intervene.updated is not None:
        posteriors, inputs["update"] = read_posteriors(config.intervene.updated, shared_twins, "intervene.updated")
    call = StageCall("intervene", folder, settings, resume=resume, dry_run=dry_run, inputs=inputs)
    if call.ends_early(lambda: out.print(plan)):
        return
    results = Ledger(folder, TABLES)
    derivatives = (folder / DERIVATIVES).resolve() if config.intervene.relmat else None
    with connected(config.cluster):
        claimed = call.claim()
        if derivatives is not None:
            describe_derivatives(derivatives, shared_twins[0].card, shared_twins[0].source)
            write_relmat_sidecar(derivatives / f"{CHANGE}.json", MEASURE)
        needed = functools.partial(bytes_of_search, shared_twins, config.intervene.num_restarts)
        fleet = sized(config.fleet, folder, needed, len(keys), config.cluster)
        survey = survey_people(config, fleet, shared_twins, search_target, keys, folder)
        summary = run_pool(
            functools.partial(
                SearchWorker,
                search_target=search_target,
                seed=config.seed,
                survey=survey,
                derivatives=derivatives,
                num_rows=fleet.subjects_per_batch,
                posteriors=posteriors,
            ),
            shared_twins,
            keys,
            results,
            fleet,
            description="Searching",
            cluster=config.cluster,
        )
    figures = _figures(results.parts("results", _summarised()), search_target, survey)
    if figures is None:
        raise StageError(f"No change was found for anybody; every person's reason is in {folder / 'status'}.")
    claimed.finish({"num_people": len(keys), "num_failed": summary.num_failed, **figures})
    out.print(f"Searched: {say_summary(summary)}")
    out.print(_in_words(figures, search_target, survey, config.intervene))
    tables = [name for name in TABLES if name != "fronts" or search_target.second is not None]
    out.print(f"Tables {', '.join(tables)} are in {folder}.")


def survey_people(
    config: Config,
    fleet: FleetConfig,
    shared_twins: Sequence[SharedTwin],
    search_target: SearchTarget,
    keys: Sequence[str],
    folder: Path,
    num_searched: int | None = None,
) -> Survey:
    """Return what a search needs to know of everybody's unchanged simulation; it is stored in `folder`.

    Only the first `num_searched` twins are simulated, all if not given; people count as unseen if no twin was trained on them.
    """
    ledger = Ledger(folder / REFERENCE, ["people"])
    run_pool(
        functools.partial(
            SurveyWorker,
            search_target=search_target,
            seed=config.seed,
            sample=sample_of(keys, config.seed),
            num_rows=fleet.subjects_per_batch,
        ),
        shared_twins[:num_searched],
        keys,
        ledger,
        fleet,
        description="Performing unchanged",
        cluster=config.cluster,
    )
    return search_target.survey(ledger.parts("people"), seen_in_training(shared_twins))


def sample_of(keys: Sequence[str], seed: int) -> frozenset[str]:
    """Return the people whose gradients make the population's direction."""
    return frozenset(sorted(keys, key=lambda key: seed_of(key, seed, "sample"))[:_PEOPLE_IN_DIRECTION])


def _after() -> tuple[str, ...]:
    """Return the columns of an indicator after the change, and after each control's."""
    return ("after", *(f"{name}_after" for name in control_names()))


def _summarised() -> tuple[str, ...]:
    """Return the columns of the results that are summarised."""
    norms = (f"{name}_norm" for name in control_names())
    return ("pseudonym", "is_target", "is_wanted", "before", *_after(), "change_norm", *norms, "spread", "abstained")


def _figures(parts: Iterable[pa.Table], search_target: SearchTarget, survey: Survey) -> dict[str, Any] | None:
    """Return figures that summarise a search over people; None if there is nobody."""
    targets, asides, after = [], [], _after()
    for part in parts:
        table = part.to_pandas()
        targets.append(table[table["is_target"]].drop(columns=["is_target", "is_wanted"]))
        others = table[~table["is_wanted"] & table["spread"].notna()]
        moved = others[list(after)].sub(others["before"], axis=0).abs().div(others["spread"], axis=0)
        asides.append(moved.groupby(others["pseudonym"]).median())
    if not targets:
        return None
    target, aside = pd.concat(targets, ignore_index=True), pd.concat(asides)
    columns = ("before", *after)
    medians = {column: float(target[column].median()) for column in columns if target[column].notna().any()}
    short = {name: int((target[f"{name}_norm"] < _SHORT * target["change_norm"]).sum()) for name in control_names()}
    return {
        "target": search_target.name,
        "unit": search_target.indicators[search_target.target].unit,
        "num_searched": len(target),
        "support": survey.support.plain(),
        "num_abstained": int(target["abstained"].sum()),
        "median": medians,
        "spread": float(target["spread"].iloc[0]),
        # Of each person the median indicator, of these the median person.
        "off_target_median_moved_in_spreads": {
            column: float(aside[column].median()) for column in after if aside[column].notna().any()
        },
        "num_with_shorter_control": {name: num for name, num in short.items() if num},
    }


def _in_words(
    figures: Mapping[str, Any], search_target: SearchTarget, survey: Survey, settings: InterveneConfig
) -> str:
    median = figures["median"]
    controls = ", ".join(
        f"{name} {median[f'{name}_after']:.4g}" for name in control_names() if f"{name}_after" in median
    )
    text = (
        f"{search_target.name}, to {settings.direction}: median {median['before']:.4g} -> {median['after']:.4g} {figures['unit']} "
        f"(controls of the same norm: {controls}; spread between people: {figures['spread']:.3g})."
    )
    if figures["num_with_shorter_control"]:
        short = ", ".join(f"{name} for {num}" for name, num in figures["num_with_shorter_control"].items())
        text += (
            f" Controls that the valid matrices stopped before that norm, of {figures['num_searched']} people: {short}."
        )
    text += f" What is known of the target: {survey.support.in_words(search_target.name)}."
    if not survey.support.is_shown:
        text += " Do not rely on these changes: the search abstains for everybody."
    elif figures["num_abstained"]:
        text += f" For {figures['num_abstained']} people the ensemble disagrees: abstained."
    if survey.second_support is not None and search_target.second is not None:
        text += f" What is known of the second aim: {survey.second_support.in_words(search_target.name_of(search_target.second))}."
        if not survey.second_support.is_shown:
            text += " Do not rely on the fronts: the search abstains from them."
    aside = figures["off_target_median_moved_in_spreads"]
    if "after" in aside:
        others = ", ".join(
            f"{name} {aside[f'{name}_after']:.2g}" for name in control_names() if f"{name}_after" in aside
        )
        text += f" Other indicators moved by {aside['after']:.2g} spreads in the median ({others})."
    return f"{text} What a model does is a hypothesis, not advice."
