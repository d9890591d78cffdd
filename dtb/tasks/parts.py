"""What a task specification is made of: times, derived columns, responses, what is correct, trials and stimuli."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from dtb.config import Positive
from dtb.tasks.plain_text import plain_text

STRICT = ConfigDict(extra="forbid")

Value = Annotated[str, BeforeValidator(plain_text)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Where = dict[str, tuple[Value, ...]]
"""Rows in which every named column has one of its listed values."""
Unit = Literal["s", "ms"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Time:
    """A time or a length of time: the sum of some columns and a constant."""

    columns: dict[str, Unit] = dataclasses.field(default_factory=dict)
    """Columns to add up, each with its unit, `s` or `ms`."""
    seconds: float = 0.0
    """Seconds to add."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Derived:
    """A column made from others; exactly one of the ways. Those above it in the file may be used."""

    recode: str | None = None
    """Column whose values are looked up in `values`; a value that is not listed becomes absent."""
    values: dict[Value, Value] = dataclasses.field(default_factory=dict)
    select_by: str | None = None
    """Column whose value says, through `columns`, which column to take the value from."""
    columns: dict[Value, str] = dataclasses.field(default_factory=dict)
    same: tuple[str, str] | None = None
    """Two columns: `same` where their values are equal, `different` where not."""
    count_before: Where | None = None
    """How many earlier rows fit; with `within`, only those with the same value there."""
    within: str | None = None
    """Column that says which rows belong together, for `count_before`."""
    mapping_of: tuple[str, ...] | None = None
    """Columns to look up in the mapping that `trials.correct.mapping` learns, in place of its `by`: which alternative they stand for.
    For use in `stimuli`, so that a twin is told what its person was told; of what could not be learnt nothing is shown."""

    @model_validator(mode="after")
    def _one_way(self) -> Derived:
        _exactly_one(self, "recode", "select_by", "same", "count_before", "mapping_of")
        if (self.recode is None) == bool(self.values) or (self.select_by is None) == bool(self.columns):
            raise ValueError("`recode` needs `values`, and `select_by` needs `columns`")
        if self.within is not None and self.count_before is None:
            raise ValueError("`within` goes with `count_before`")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Columns that this one is made from."""
        if self.same is not None or self.mapping_of is not None:
            return self.same or self.mapping_of or ()
        if self.count_before is not None:
            return (*self.count_before, *([self.within] if self.within is not None else []))
        return (str(self.recode or self.select_by), *self.columns.values())


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReactionTime:
    """The reaction time: counted from the trial's onset."""

    column: str
    unit: Unit = "s"
    omitted: tuple[Value, ...] = ("n/a",)
    """Values that mean "no press"."""
    invalid: Literal["omit", "drop", "error"] = "drop"
    """What to do with a reaction time that is not positive: take it for an omission, leave the trial out, or refuse the file."""
    late: Literal["omit", "drop", "error"] = "drop"
    """What to do with a reaction time after the response window."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FromCodes:
    """The response is written in a column."""

    column: str
    codes: dict[Value, str | None]
    """Alternative that each value stands for; null where it means "no press"."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FromAccuracy:
    """No column has the response, one has the accuracy: a correct press is the correct alternative, an error one of the others."""

    column: str
    correct: tuple[Value, ...]
    """Values that mean "correct"."""
    error: tuple[Value, ...]
    """Values that mean "error, or no press"."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Response:
    """Which alternative was pressed; exactly one of the two."""

    from_codes: FromCodes | None = None
    from_accuracy: FromAccuracy | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Response:
        _exactly_one(self, "from_codes", "from_accuracy")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mapping:
    """The mapping is counterbalanced over people and written nowhere: it is learnt, for each run, from presses and their accuracy."""

    by: tuple[str, ...]
    """Columns that decide, through the unknown mapping, which alternative is correct."""
    accuracy: FromAccuracy
    min_agreement: Annotated[float, Field(gt=0.5, le=1)] = 0.9
    """Share of the presses that must agree on what is correct; below it the trials count as having no right answer, and stimuli
    that tell the mapping are not shown."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Correct:
    """Which alternative is correct; at most one of the three ways, and none for a task without right answers."""

    column: str | None = None
    """Column whose value says, through `values`, which alternative is correct."""
    values: dict[Value, str | None] = dataclasses.field(default_factory=dict)
    """Alternative that each value stands for; null for trials without a right answer. A value that is not listed makes a trial unusable."""
    match: str | None = None
    """Column with a reference; correct is the alternative whose column, in `choices`, has the same value."""
    choices: dict[str, str] = dataclasses.field(default_factory=dict)
    mapping: Mapping | None = None
    withhold: Where = dataclasses.field(default_factory=dict)
    """Rows in which withholding is correct, whatever the rest says."""

    @model_validator(mode="after")
    def _one_way(self) -> Correct:
        if sum(way is not None for way in (self.column, self.match, self.mapping)) > 1:
            raise ValueError("give at most one of `column`, `match` and `mapping`")
        if (self.column is None) == bool(self.values) or (self.match is None) == bool(self.choices):
            raise ValueError("`column` needs `values`, and `match` needs `choices`")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrialRows:
    """Which rows are trials, and how to read them."""

    where: Where = dataclasses.field(default_factory=dict)
    """Rows that are trials; all if empty."""
    onset: Time = Time(columns={"onset": "s"})
    """When the stimulus appeared from which the reaction time counts."""
    window: Time
    """How long a press is possible. It may reach beyond the next trial's onset: a press belongs to the trial in whose row it is."""
    until_next_onset: bool = False
    """Whether no window reaches beyond the next trial's onset, as in a task that goes on when the person has pressed."""
    reaction_time: ReactionTime
    response: Response
    correct: Correct = Correct()
    conditions: dict[Name, Where] = dataclasses.field(default_factory=dict)
    """Conditions by name; a trial belongs to the first that fits, or to none."""


Level = float | tuple[float, float]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stimulus:
    """Pulses on stimulus channels, one or more a row; exactly one of the ways to set their height."""

    channels: tuple[Name, ...]
    where: Where = dataclasses.field(default_factory=dict)
    """Rows that show it; all if empty. It need not be a trial's row."""
    onset: Time = Time(columns={"onset": "s"})
    duration: Time
    constant: float | None = None
    """The same height always, on every channel."""
    one_hot: tuple[Value, ...] | None = None
    """Values of `column`: the first sets the first channel to 1, and so on."""
    codes: dict[Value, tuple[Level, ...]] | None = None
    """For each value of `column`, the height on each channel: a number, or `[low, high]` for one drawn evenly from the range, the same
    whenever the file is read."""
    divide_by: Positive | None = None
    """The number in `column`, divided by this, is the height."""
    column: str | None = None
    optional: bool = False
    """Whether a row in which the onset is absent simply does not show it; otherwise such a row is reported."""

    @model_validator(mode="after")
    def _one_way(self) -> Stimulus:
        _exactly_one(self, "constant", "one_hot", "codes", "divide_by")
        if (self.column is None) != (self.constant is not None):
            raise ValueError("`column` goes with `one_hot`, `codes` and `divide_by`, and with nothing else")
        if self.one_hot is not None and len(self.one_hot) != len(self.channels):
            raise ValueError(f"`one_hot` has {len(self.one_hot)} values for {len(self.channels)} channels")
        for value, levels in (self.codes or {}).items():
            if len(levels) != len(self.channels):
                raise ValueError(
                    f"`codes` gives {len(levels)} heights for {value!r}; there are {len(self.channels)} channels"
                )
        return self


def _exactly_one(owner: Any, *names: str) -> None:
    given = [name for name in names if getattr(owner, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {listed(names)}; found {listed(given) or 'none'}")


def listed(names: Any) -> str:
    """Return names as a message lists them."""
    return ", ".join(f"`{name}`" for name in (names if isinstance(names, tuple) else sorted(names)))
