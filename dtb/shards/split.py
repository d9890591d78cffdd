"""Who trains, who decides when to stop, and who is never seen, decided from people and seed alone and saved with a hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dtb.config import SplitConfig
from dtb.errors import ConfigurationError, DamagedOutputError
from dtb.files import write_json
from dtb.shards.read import Cohort

Part = Literal["train", "validation", "test", "all"]


class Span(NamedTuple):
    """Part of each run.

    Attributes
    ----------
    begin, end : float
        As shares of the run, or in seconds.
    in_seconds : bool
        Which of the two.

    Examples
    --------
    >>> Span(0.25, 0.5).of(400.0), Span(196.8, 393.6, in_seconds=True).of(300.0)
    ((100.0, 200.0), (196.8, 300.0))
    """

    begin: float
    end: float
    in_seconds: bool = False

    def of(self, duration_seconds: float) -> tuple[float, float]:
        """Give where the part begins and ends within a run, in seconds."""
        if self.in_seconds:
            return min(self.begin, duration_seconds), min(self.end, duration_seconds)
        return self.begin * duration_seconds, self.end * duration_seconds


@dataclasses.dataclass(frozen=True)
class Split:
    """A division of a cohort.

    Attributes
    ----------
    kind : {"subjects", "temporal"}
        Whether people or times are divided.
    train, validation, test : tuple of str
        Pseudonyms, sorted; with `temporal` everybody is in all three.
    train_until, validation_until : float
        With `temporal`, the shares of each run, from its beginning, at which training and validation data end; both 1 otherwise.
    in_seconds : bool
        Whether these are seconds and not shares; as long as training and validation take together, testing takes after them.
    """

    kind: Literal["subjects", "temporal"]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    train_until: float = 1.0
    validation_until: float = 1.0
    in_seconds: bool = False

    def people(self, part: Part) -> tuple[str, ...]:
        """Give the pseudonyms of a part; of everybody for ``"all"``."""
        if part == "all":
            return tuple(sorted({*self.train, *self.validation, *self.test}))
        return {"train": self.train, "validation": self.validation, "test": self.test}[part]

    def span(self, part: Part) -> Span:
        """Give where a part begins and ends within each run."""
        if self.kind == "subjects" or part == "all":
            return Span(0.0, 1.0)
        test_until = 2 * self.validation_until if self.in_seconds else 1.0
        ends = {
            "train": (0.0, self.train_until),
            "validation": (self.train_until, self.validation_until),
            "test": (self.validation_until, test_until),
        }
        return Span(*ends[part], self.in_seconds)

    @property
    def split_hash(self) -> str:
        """SHA-256 of all that the split says."""
        return hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Give the split as JSON values."""
        return dataclasses.asdict(self)

    def save(self, path: Path, cohort_hash: str) -> None:
        """Write the split, its hash and that of the cohort it divides, as JSON, whole."""
        write_json(path, {**self.to_plain(), "split_hash": self.split_hash, "cohort_hash": cohort_hash})

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read a split.

        Raises
        ------
        DamagedOutputError
            There is none at `path`, or it was altered since it was written.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            said = found.pop("split_hash")
            found.pop("cohort_hash")
            plain: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
            }
            split = cls(**plain)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedOutputError(f"{path} is no readable split ({error}). Run `dtb train` anew.") from None
        if split.split_hash != said:
            raise DamagedOutputError(
                f"{path} was altered: its hash is not the one it was saved with. Run `dtb train` anew."
            )
        return split


def make_split(cohort: Cohort, config: SplitConfig, seed: int) -> Split:
    """Divide a cohort.

    People are dealt to folds in turn, by site, group, sex and decade of age, and among those alike in an order drawn from `seed`, so that
    each fold has its share of each kind; validation people are dealt from the training people in the same way.

    Parameters
    ----------
    cohort : Cohort
    config : SplitConfig
    seed : int

    Returns
    -------
    Split

    Raises
    ------
    ConfigurationError
        There are too few people for the folds, or too few sites, or `fold` is not one of them.
    """
    people = sorted(cohort.pseudonyms)
    if config.kind == "temporal":
        until = config.train_seconds or config.train_seconds_fraction
        everybody = tuple(people)
        ends = until * (1 - config.validation_fraction), until
        return Split("temporal", everybody, everybody, everybody, *ends, in_seconds=config.train_seconds > 0)
    covariates = {pseudonym: cohort.header(pseudonym)["covariates"] for pseudonym in people}

    def dealt(pseudonyms: list[str], purpose: str) -> list[str]:
        return sorted(pseudonyms, key=lambda who: (*_stratum(covariates[who]), _draw(seed, purpose, who)))

    if config.kind == "sites":
        site = _held_out_site(sorted({str(who.get("site")) for who in covariates.values()}), config.fold)
        test = [who for who in people if str(covariates[who].get("site")) == site]
    else:
        _check_folds(len(people), config)
        test = dealt(people, "fold")[config.fold :: config.num_folds]
    rest = dealt([who for who in people if who not in set(test)], f"validation{config.fold}")
    if len(rest) < 2:
        raise ConfigurationError(
            f"split.fold {config.fold}: {len(rest)} person would be left for training and validation, which need one each. "
            "Hold out another site, or use split.kind: subjects."
        )
    num_validation = min(max(1, round(config.validation_fraction * len(rest))), len(rest) - 1)
    # Evenly spaced places in an order sorted by kind of person: each kind gives its share.
    validation = [rest[(2 * place + 1) * len(rest) // (2 * num_validation)] for place in range(num_validation)]
    train = [who for who in rest if who not in set(validation)]
    return Split("subjects", tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)))


def _stratum(covariates: dict[str, float | str | None]) -> tuple[str, str, str, str]:
    """Say what kind of person somebody is: site, group, sex, decade of age."""
    age = covariates.get("age")
    decade = "unknown" if age is None else f"{int(float(age)) // 10:03d}"
    return str(covariates.get("site")), str(covariates.get("group")), str(covariates.get("sex")), decade


def _held_out_site(sites: list[str], fold: int) -> str:
    if len(sites) < 2:
        raise ConfigurationError(
            f"split.kind: sites holds out one site, but the cohort has only {sites[0] if sites else 'none'}. "
            "Give participants.tsv a column `site`, or use split.kind: subjects."
        )
    if fold >= len(sites):
        raise ConfigurationError(
            f"split.fold is {fold}; with split.kind: sites it may be 0 to {len(sites) - 1}: {', '.join(sites)}."
        )
    return sites[fold]


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


def part_span(split: Split, part: Part, duration_seconds: float) -> tuple[float, float]:
    """Give where a part begins and ends within a run, in seconds.

    Examples
    --------
    >>> split = Split("temporal", ("a",), ("a",), ("a",), train_until=0.25, validation_until=0.5)
    >>> part_span(split, "test", 400.0)
    (200.0, 400.0)
    """
    return split.span(part).of(duration_seconds)
