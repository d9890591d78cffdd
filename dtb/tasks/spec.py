"""Task specifications: YAML files that say how to read one task's `events.tsv`, without code.

`docs` for whoever writes one: `configs/tasks/stroop.yaml` is the commented example, ``dtb task check`` shows what a specification made of a
file. Cells are compared as text, except that numbers are equal whatever their spelling (``1``, ``1.0``). Only ``n/a`` and the empty cell
mean "absent"; everything else, ``NULL`` and ``NaN`` included, is text like any other.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from dtb.config import Positive, from_mapping, read_yaml, to_plain
from dtb.errors import ConfigurationError, TaskError

_STRICT = ConfigDict(extra="forbid")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

ABSENT = ""
"""What an absent cell is, after `plain_text`."""


def plain_text(cell: Any) -> str:
    """Return a cell, or a value in a specification, in the one spelling in which they are compared.

    Examples
    --------
    >>> plain_text("1.0"), plain_text(1), plain_text("n/a"), plain_text("NULL")
    ('1', '1', '', 'NULL')
    """
    if isinstance(cell, bool):
        raise ValueError(f"YAML reads this as {cell}; put the word in quotes")
    text = format(cell, "g") if isinstance(cell, float) else str(cell)
    if not text or text.strip() == "n/a":  # a space alone is a key like any other
        return ABSENT
    if _NUMBER.fullmatch(text):
        number = float(text)
        return str(int(number)) if number.is_integer() else repr(number)
    return text


Value = Annotated[str, BeforeValidator(plain_text)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Where = dict[str, tuple[Value, ...]]
"""Rows in which every named column has one of its listed values."""
Unit = Literal["s", "ms"]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Time:
    """A time or a length of time: the sum of some columns and a constant."""

    columns: dict[str, Unit] = dataclasses.field(default_factory=dict)
    """Columns to add up, each with its unit, `s` or `ms`."""
    seconds: float = 0.0
    """Seconds to add."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FromCodes:
    """The response is written in a column."""

    column: str
    codes: dict[Value, str | None]
    """Alternative that each value stands for; null where it means "no press"."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FromAccuracy:
    """No column has the response, one has the accuracy: a correct press is the correct alternative, an error one of the others."""

    column: str
    correct: tuple[Value, ...]
    """Values that mean "correct"."""
    error: tuple[Value, ...]
    """Values that mean "error, or no press"."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Response:
    """Which alternative was pressed; exactly one of the two."""

    from_codes: FromCodes | None = None
    from_accuracy: FromAccuracy | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Response:
        _exactly_one(self, "from_codes", "from_accuracy")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Mapping:
    """The mapping is counterbalanced over people and written nowhere: it is learnt, for each run, from presses and their accuracy."""

    by: tuple[str, ...]
    """Columns that decide, through the unknown mapping, which alternative is correct."""
    accuracy: FromAccuracy
    min_agreement: Annotated[float, Field(gt=0.5, le=1)] = 0.9
    """Share of the presses that must agree on what is correct; below it the trials count as having no right answer, and stimuli
    that tell the mapping are not shown."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TaskSpec:
    """One task.

    Attributes
    ----------
    name : str
        What the task is called in configurations and results.
    domain : {"affective", "cognitive"}
    matches : tuple of str
        BIDS task labels that it reads, in capitals or not; shell patterns such as ``stroop*`` are allowed.
    alternatives : tuple of str
        What a person can press.
    strip_spaces : bool
        Whether spaces around cells are ignored.
    clock_offset_seconds : float
        Added to every onset, where the events' clock did not start with the first volume.
    derive : dict
        Columns to make from others, by name, in order.
    trials : TrialRows
    stimuli : tuple of Stimulus
    contrast : dict
        Weight of each condition in the task's contrast of interest; the weights sum to 0.
    stimuli_depend_on_responses : bool
        Whether what is shown, or when, depends on what the person did before, as a staircase does: then the stimuli say something of the
        person, and so does whoever sees them.
    description : str
        Where the design comes from.
    """

    name: Name
    domain: Literal["affective", "cognitive"]
    matches: Annotated[tuple[str, ...], Field(min_length=1)]
    alternatives: Annotated[tuple[Name, ...], Field(min_length=1)]
    trials: TrialRows
    stimuli: Annotated[tuple[Stimulus, ...], Field(min_length=1)]
    contrast: dict[Name, float] = dataclasses.field(default_factory=dict)
    strip_spaces: bool = False
    clock_offset_seconds: float = 0.0
    derive: dict[str, Derived] = dataclasses.field(default_factory=dict)
    stimuli_depend_on_responses: bool = False
    description: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(self.trials.conditions)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the stimulus channels, in order of first mention."""
        return tuple(dict.fromkeys(channel for stimulus in self.stimuli for channel in stimulus.channels))

    def fits_label(self, label: str) -> bool:
        """Whether the task reads runs of this BIDS task label, in capitals or not.

        Examples
        --------
        >>> load_task("stroop").fits_label("stroopAP"), load_task("stroop").fits_label("Stroop")
        (True, True)
        """
        return any(fnmatch.fnmatchcase(label.casefold(), pattern.casefold()) for pattern in self.matches)

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        _distinct("alternatives", self.alternatives)
        unknown = set(self.contrast) - set(self.conditions)
        if unknown:
            raise ValueError(f"`contrast` names {_listed(unknown)}, which `trials.conditions` does not define")
        if abs(sum(self.contrast.values())) > 1e-9:
            raise ValueError(f"the weights of `contrast` sum to {sum(self.contrast.values()):g}; a contrast sums to 0")
        response, correct = self.trials.response, self.trials.correct
        named = {*(name for name in correct.values.values() if name is not None), *correct.choices}
        if response.from_codes is not None:
            named |= {alternative for alternative in response.from_codes.codes.values() if alternative is not None}
        if named - set(self.alternatives):
            raise ValueError(
                f"{_listed(named - set(self.alternatives))} is not among `alternatives`: {_listed(self.alternatives)}"
            )
        if response.from_accuracy is not None and correct.column is None and correct.match is None:
            raise ValueError(
                "`response.from_accuracy` needs to know what is correct: give `correct.column` or `correct.match`"
            )
        if correct.mapping is not None and len(self.alternatives) != 2:
            raise ValueError("`correct.mapping` can be learnt from accuracy with two alternatives only")
        for name, derived in self.derive.items():
            if derived.mapping_of is not None:
                by = correct.mapping.by if correct.mapping is not None else ()
                if len(derived.mapping_of) != len(by):
                    raise ValueError(
                        f"`derive.{name}.mapping_of` needs one column for each of `trials.correct.mapping.by`: {len(by)}"
                    )
        return self


def columns_needed(spec: TaskSpec, *, responses: bool = True) -> tuple[str, ...]:
    """Return the columns that an events file must have for `spec`, without derived ones; columns of responses on request."""
    trials = spec.trials
    names = [*trials.where, *trials.onset.columns, *trials.window.columns, *trials.correct.withhold]
    for condition in trials.conditions.values():
        names += condition
    names += [name for name in (trials.correct.column, trials.correct.match) if name is not None]
    names += trials.correct.choices.values()
    if trials.correct.mapping is not None:
        names += trials.correct.mapping.by
    if responses:
        names += response_columns(spec)
    for stimulus in spec.stimuli:
        names += [*stimulus.where, *stimulus.onset.columns, *stimulus.duration.columns]
        names += [stimulus.column] if stimulus.column is not None else []
    for derived in spec.derive.values():
        names += derived.sources
    return tuple(dict.fromkeys(name for name in names if name not in spec.derive))


def response_columns(spec: TaskSpec) -> tuple[str, ...]:
    """Return the columns of responses, derived ones included."""
    trials = spec.trials
    names = [trials.reaction_time.column]
    for source in (trials.response.from_codes, trials.response.from_accuracy):
        names += [source.column] if source is not None else []
    if trials.correct.mapping is not None:
        names.append(trials.correct.mapping.accuracy.column)
    return tuple(names)


def shipped_tasks() -> list[str]:
    """Return the task specifications that come with the package."""
    return sorted(path.stem for path in _shipped_folder().glob("*.yaml"))


def load_task(name_or_path: str | Path) -> TaskSpec:
    """Read a task specification.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped one, or the path of a YAML file (it ends in ``.yaml`` or ``.yml``).

    Raises
    ------
    TaskError
        There is no such specification, or it cannot be used; the message names the key.
    """
    text = str(name_or_path)
    is_path = text.endswith((".yaml", ".yml"))
    path = Path(text) if is_path else _shipped_folder() / f"{text}.yaml"
    if not path.is_file():
        known = "" if is_path else f" Shipped ones: {', '.join(shipped_tasks())}; or give the path of a YAML file."
        raise TaskError(f"There is no task specification {text!r}.{known}")
    try:
        values = read_yaml(path, "a task specification is a YAML file")
    except ConfigurationError as error:
        raise TaskError(str(error)) from None
    return task_from_mapping(values, str(path))


def task_from_mapping(values: Any, source: str) -> TaskSpec:
    """Return a specification from nested mappings, as `dtb.config.to_plain` gives it; `source` names it in messages."""
    try:
        return from_mapping(TaskSpec, values, source)
    except ConfigurationError as error:
        raise TaskError(str(error)) from None


def task_to_plain(spec: TaskSpec) -> dict[str, Any]:
    """Return a specification as nested mappings that `task_from_mapping` reads back."""
    return dict(to_plain(spec))


def _shipped_folder() -> Path:
    return Path(__file__).parent.parent / "configs" / "tasks"


def _exactly_one(owner: Any, *names: str) -> None:
    given = [name for name in names if getattr(owner, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {_listed(names)}; found {_listed(given) or 'none'}")


def _distinct(what: str, names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"`{what}` names one thing twice: {_listed(names)}")


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in (names if isinstance(names, tuple) else sorted(names)))
