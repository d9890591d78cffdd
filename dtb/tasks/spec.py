"""Task specifications: YAML files that say how to read one task's `events.tsv`, without code.

`docs` for whoever writes one: `configs/tasks/stroop.yaml` is the commented example, ``dtb task check`` shows what a specification made of a
file. Cells are compared as text, except that numbers are equal whatever their spelling (``1``, ``1.0``). Only ``n/a`` and the empty cell
mean "absent"; everything else, ``NULL`` and ``NaN`` included, is text like any other.
"""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from dtb.config import from_mapping, read_yaml, to_plain
from dtb.errors import ConfigurationError, TaskError
from dtb.tasks.parts import STRICT, Derived, Name, Stimulus, TrialRows, listed


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
            raise ValueError(f"`contrast` names {listed(unknown)}, which `trials.conditions` does not define")
        if abs(sum(self.contrast.values())) > 1e-9:
            raise ValueError(f"the weights of `contrast` sum to {sum(self.contrast.values()):g}; a contrast sums to 0")
        response, correct = self.trials.response, self.trials.correct
        named = {*(name for name in correct.values.values() if name is not None), *correct.choices}
        if response.from_codes is not None:
            named |= {alternative for alternative in response.from_codes.codes.values() if alternative is not None}
        if named - set(self.alternatives):
            raise ValueError(
                f"{listed(named - set(self.alternatives))} is not among `alternatives`: {listed(self.alternatives)}"
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


def values_named(spec: TaskSpec) -> dict[str, set[str]]:
    """Return the values that a specification names anywhere, by column."""
    trials, found = spec.trials, collections.defaultdict[str, set[str]](set)
    for where in (
        trials.where,
        *trials.conditions.values(),
        trials.correct.withhold,
        *(each.where for each in spec.stimuli),
    ):
        for name, values in where.items():
            found[name] |= set(values)
    for derived in spec.derive.values():
        for name, values in (derived.count_before or {}).items():
            found[name] |= set(values)
        found[str(derived.recode)] |= set(derived.values)
        found[str(derived.select_by)] |= set(derived.columns)
    for stimulus in spec.stimuli:
        found[str(stimulus.column)] |= {*(stimulus.one_hot or ()), *(stimulus.codes or {})}
    found[str(trials.correct.column)] |= set(trials.correct.values)
    if trials.response.from_codes is not None:
        found[trials.response.from_codes.column] |= set(trials.response.from_codes.codes)
    return dict(found)


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


def _distinct(what: str, names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"`{what}` names one thing twice: {listed(names)}")
