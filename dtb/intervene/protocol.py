"""The protocol of an in-silico trial, which is fixed before anything is simulated.

Every person gets every arm at every dose, so that all comparisons are paired. A search finds what moves the twins that it is made on,
whether or not other twins of the same person agree. So changes are searched on some members of an ensemble, and effects
are measured on others.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from dtb.config import InterveneConfig, NonNegative, OpenFraction, from_mapping, read_yaml
from dtb.config.kind_names import OneOf
from dtb.intervene.arms import ARMS

_ArmName = Annotated[str, OneOf("dtb.intervene.arms:ARMS")]
MIN_UNSEARCHED = 2
"""With one alone, how far members disagree could not be told."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Protocol:
    """The plan and the analysis of a trial; read from YAML, and identified by its hash in every result."""

    title: str
    """What the trial is about."""
    search: InterveneConfig = dataclasses.field(default_factory=InterveneConfig)
    """The indicator, the budget and the search, as in `dtb intervene`; searched are the twin and `search.members`."""
    unsearched: tuple[Path, ...] = ()
    """Trained folders of further members of the ensemble: effects are measured on them, and nothing is searched on them."""
    arms: Annotated[tuple[_ArmName, ...], Field(min_length=2)] = (
        "personalised",
        "population",
        "population_matched",
        "random",
        "sham",
    )
    """`personalised`: each person's own search. The others go as far as that one: in the mean gradient's direction, at random, along a
    ridge regression's weights, along the published method's gradient; `population_matched` goes in the mean gradient's direction until
    other indicators are moved as far as by the person's own change; `sham` changes nothing."""
    doses: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the full change."""
    primary: _ArmName = "personalised"
    """The arm that the primary outcome is about, at the full dose."""
    comparator: _ArmName = "population"
    """What it is compared with."""
    responder_spreads: NonNegative = 0.2
    """A responder's target moves the wanted way by at least this, in spreads between people,"""
    max_off_target_spreads: NonNegative = 0.5
    """and no other indicator by more than this."""
    confidence: OpenFraction = 0.95
    """Coverage of the intervals, by bootstrap over people, members and a person's two scans."""
    num_draws: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap draws, and sign flips of the primary test."""

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if list(self.doses) != sorted(set(self.doses)) or self.doses[-1] != 1.0:
            raise ValueError("`doses` must grow and end with 1, the full change")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError("`arms` names one arm twice")
        if self.primary == self.comparator or not {self.primary, self.comparator} <= set(self.arms):
            raise ValueError("`primary` and `comparator` must be two different ones of `arms`")
        is_searched = any(ARMS[name].is_search for name in self.arms)
        if is_searched and not self.search.members:
            raise ValueError(
                "`search.members` names no further twin: one alone is searched, and what moves one twin need not move another of the same "
                "person. Train at least one more (`dtb train --seed 1`) and name its folder"
            )
        if is_searched and len(self.unsearched) < MIN_UNSEARCHED:
            raise ValueError(
                f"`unsearched` names {len(self.unsearched)} unsearched twins: effects are measured on at least {MIN_UNSEARCHED}. "
                "Train them (`dtb train --seed 2`, `--seed 3`) and name their folders"
            )
        return self


def load_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Parameters
    ----------
    path : Path
        YAML file.

    Raises
    ------
    ConfigurationError
        The file is absent, is not YAML, or has unknown keys or values that are not allowed.
    """
    values = read_yaml(path, "a trial needs a protocol such as configs/trials/stroop_speed.yaml")
    return from_mapping(Protocol, {} if values is None else values, str(path))
