"""The split of a cohort, which depends only on the people and the seed, not on their data."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

from dtb import terminal
from dtb.config import SplitConfig
from dtb.errors import ConfigurationError
from dtb.shards.read import Cohort
from dtb.shards.split import Split, held_out_runs

Facts = dict[str, float | str | None]


def make_split(cohort: Cohort, config: SplitConfig, seed: int) -> Split:
    """Return the split of a cohort.

    People are assigned to folds in turn, sorted by site, group, sex and decade of age and, within these, in an order drawn from `seed`, so
    that each fold has its share of each kind. Validation people are chosen from the training people in the same way.

    Relatives go together, wherever people are divided: what a connectome says of somebody, a twin sister's in training says as well.

    Parameters
    ----------
    cohort : Cohort
    config : SplitConfig
    seed : int
        For a configuration without a seed of its own.

    Returns
    -------
    Split

    Raises
    ------
    ConfigurationError
        There are too few people or sites for the folds, or `fold` is not one of them; or nobody has the site, runs or task to hold out,
        or anything beside them; or `held_out` does not fit `kind`.
    """
    seed = seed if config.seed is None else config.seed
    people = sorted(cohort.pseudonyms)
    if config.held_out and config.kind in {"subjects", "temporal"}:
        raise ConfigurationError(
            f"split.held_out is {config.held_out!r}, but split.kind: {config.kind} holds nothing out by name. Leave it empty, or set "
            "split.kind to `sites`, `runs` or `tasks`."
        )
    if config.kind == "temporal":
        until = config.train_seconds or config.train_seconds_fraction
        everybody = tuple(people)
        ends = until * (1 - config.validation_fraction), until
        return Split("temporal", everybody, everybody, everybody, *ends, in_seconds=config.train_seconds > 0)
    if config.kind == "runs":
        return _by_runs(cohort, people, config)
    covariates = {pseudonym: cohort.header(pseudonym)["covariates"] for pseudonym in people}

    held_out = ""

    def dealt(pseudonyms: list[str], purpose: str) -> list[list[str]]:
        """Return families in the order in which they are dealt: the large ones first, and those alike beside one another."""
        return sorted(
            _families(pseudonyms, covariates),
            key=lambda some: (-len(some), *_stratum(covariates[some[0]]), _draw(seed, purpose, some[0])),
        )

    if config.kind == "sites":
        site_of = {who: str(site) for who in people if (site := covariates[who].get("site")) is not None}
        held_out = _held_out_site(sorted(set(site_of.values())), config)
        test = [who for who, site in site_of.items() if site == held_out]
        elsewhere = _relatives(test, [who for who in people if who not in set(test)], covariates)
        if elsewhere:
            terminal.err.print(
                f"{len(elsewhere)} people of other sites are left out: relatives of theirs are at the site {held_out}, which is held out."
            )
            site_of = {who: site for who, site in site_of.items() if who not in elsewhere}
        without = sum(covariates[who].get("site") is None for who in people)
        if without:
            # They may be of the site that is held out.
            terminal.err.print(
                f"{without} of {len(people)} people have no site and are left out: whether training may see them cannot be known. Give "
                "them one in the column `site` of participants.tsv."
            )
        people = sorted(site_of)
    else:
        _check_folds(len(_families(people, covariates)), config)
        test = [who for some in dealt(people, "fold")[config.fold :: config.num_folds] for who in some]
    rest = dealt([who for who in people if who not in set(test)], f"validation{config.fold}")
    if len(rest) < 2:
        raise ConfigurationError(
            f"split.fold {config.fold}: {sum(map(len, rest))} people, relatives together, would be left for training and validation, which "
            "need one each. "
            "Hold out another site, or use split.kind: subjects."
        )
    num_validation = min(max(1, round(config.validation_fraction * len(rest))), len(rest) - 1)
    # Evenly spaced places in an order sorted by kind of person: each kind gives its share.
    places = {(2 * place + 1) * len(rest) // (2 * num_validation) for place in range(num_validation)}
    validation = [who for place in sorted(places) for who in rest[place]]
    train = [who for place, some in enumerate(rest) if place not in places for who in some]
    if config.kind == "tasks":
        return _by_tasks(cohort, train, validation, test, config.held_out)
    return Split("subjects", tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)), held_out=held_out)


def _families(pseudonyms: Iterable[str], covariates: dict[str, Facts]) -> list[list[str]]:
    """Return people by family, each in alphabetical order; who has no known family is alone."""
    found: dict[str, list[str]] = {}
    for who in sorted(pseudonyms):
        family = covariates[who].get("family")
        found.setdefault(f"alone {who}" if family is None else f"family {family}", []).append(who)
    return list(found.values())


def _relatives(some: list[str], others: list[str], covariates: dict[str, Facts]) -> set[str]:
    """Return which of the others are relatives of some."""
    families = {covariates[who].get("family") for who in some} - {None}
    return {who for who in others if covariates[who].get("family") in families}


def _runs_of(cohort: Cohort, pseudonym: str) -> list[tuple[str, str]]:
    return [(run["task"], run["label"]) for run in cohort.header(pseudonym)["runs"]]


def _by_runs(cohort: Cohort, people: list[str], config: SplitConfig) -> Split:
    """Return the split by runs: everybody with another run trains, everybody with another run of the same task is tested."""
    runs_of = {who: _runs_of(cohort, who) for who in people}
    empty = Split("runs", (), (), (), 1 - config.validation_fraction, 1.0, held_out=config.held_out)
    train, test = [], []
    for who, runs in runs_of.items():
        is_out = held_out_runs(empty, runs)
        out, kept = (
            {task for (task, _), is_one in zip(runs, is_out, strict=True) if is_one == wanted}
            for wanted in (True, False)
        )
        train += [who] if kept else []
        test += [who] if out & kept else []
    if not test:
        labels = ", ".join(sorted({label for runs in runs_of.values() for _, label in runs})) or "none"
        raise ConfigurationError(
            f"split.held_out is {config.held_out!r}, and nobody has such a run and another of the same task to train on. The cohort's "
            f"runs have the labels {labels}. Name one of them, leave held_out empty for each person's last run of a task, or use "
            "split.kind: temporal."
        )
    return dataclasses.replace(empty, train=tuple(train), validation=tuple(train), test=tuple(test))


def _by_tasks(cohort: Cohort, train: list[str], validation: list[str], test: list[str], held_out: str) -> Split:
    """Return the split by tasks: the held-out task is never trained on, and is tested in unseen people."""
    tasks_of = {who: {task for task, _ in _runs_of(cohort, who)} for who in (*train, *validation, *test)}
    train, validation = ([who for who in some if tasks_of[who] - {held_out}] for some in (train, validation))
    test = [who for who in test if held_out in tasks_of[who]]
    if not train or not validation or not test:
        known = ", ".join(sorted(set().union(*tasks_of.values()))) or "none"
        raise ConfigurationError(
            f"split.held_out is {held_out!r}; with split.kind: tasks it names the task to hold out; training and validation need people "
            f"with another task, testing people with this one. The cohort's tasks are {known}."
        )
    return Split("tasks", tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)), held_out=held_out)


def _stratum(covariates: dict[str, float | str | None]) -> tuple[str, str, str, str]:
    """Return a person's stratum: site, group, sex, decade of age."""
    age = covariates.get("age")
    decade = "unknown" if age is None else f"{int(float(age)) // 10:03d}"
    return str(covariates.get("site")), str(covariates.get("group")), str(covariates.get("sex")), decade


def _held_out_site(sites: list[str], config: SplitConfig) -> str:
    if len(sites) < 2:
        raise ConfigurationError(
            f"split.kind: sites holds out one site, but the cohort has only {sites[0] if sites else 'none'}. "
            "Give participants.tsv a column `site`, or use split.kind: subjects."
        )
    if config.held_out:
        if config.held_out not in sites:
            raise ConfigurationError(
                f"split.held_out is {config.held_out!r}; with split.kind: sites it names the site to hold out. The cohort's sites are "
                f"{', '.join(sites)}."
            )
        return config.held_out
    if config.fold >= len(sites):
        raise ConfigurationError(
            f"split.fold is {config.fold}; with split.kind: sites it may be 0 to {len(sites) - 1}: {', '.join(sites)}."
        )
    return sites[config.fold]


def _check_folds(num_people: int, config: SplitConfig) -> None:
    if config.fold >= config.num_folds:
        raise ConfigurationError(
            f"split.fold is {config.fold}; with split.num_folds {config.num_folds} it may be 0 to {config.num_folds - 1}."
        )
    if num_people < max(config.num_folds, 3):
        raise ConfigurationError(
            f"split.num_folds is {config.num_folds}, but the cohort has {num_people} people, and training, validation and "
            "test need one each. Use fewer folds, or split.kind: temporal."
        )


def _draw(seed: int, purpose: str, pseudonym: str) -> bytes:
    return hashlib.sha256(f"{seed}/{purpose}/{pseudonym}".encode()).digest()
