"""The split into training, validation and test data: people, times, runs or a task, saved with a hash.

`dtb.shards.divide` makes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dtb.errors import DamagedOutputError
from dtb.files import write_json
from dtb.people.records import Run

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
        """Return the begin and end of the part within a run, in seconds."""
        if self.in_seconds:
            return min(self.begin, duration_seconds), min(self.end, duration_seconds)
        return self.begin * duration_seconds, self.end * duration_seconds


_WHOLE, _NOTHING = Span(0.0, 1.0), Span(0.0, 0.0)
SEEN_KINDS = frozenset({"temporal", "runs"})
"""Kinds of split that test people whom training has seen."""


@dataclasses.dataclass(frozen=True)
class Split:
    """The split of a cohort.

    Attributes
    ----------
    kind : {"subjects", "temporal", "runs", "tasks"}
        Whether people, times or runs are divided, or people and tasks.
    train, validation, test : tuple of str
        Pseudonyms, sorted; with `temporal` everybody is in all three, with `runs` everybody who has the runs needed.
    train_until, validation_until : float
        With `temporal` and `runs`, the shares of each training run, from its beginning, at which training and validation data end;
        both 1 otherwise.
    in_seconds : bool
        Whether these are seconds instead of shares; the test data are as long as training and validation data together.
    held_out : str
        With `runs`, the label of the runs that test, or empty for each person's last of each task; with `tasks`, the task that tests; with
        `subjects`, the site whose people test, if it is one site's.
    """

    kind: Literal["subjects", "temporal", "runs", "tasks"]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    train_until: float = 1.0
    validation_until: float = 1.0
    in_seconds: bool = False
    held_out: str = ""

    @property
    def tests_seen_people(self) -> bool:
        """Whether people seen in training are tested."""
        return self.kind in SEEN_KINDS

    def people(self, part: Part) -> tuple[str, ...]:
        """Return the pseudonyms of a part; of everybody for ``"all"``."""
        if part == "all":
            return tuple(sorted({*self.train, *self.validation, *self.test}))
        return {"train": self.train, "validation": self.validation, "test": self.test}[part]

    def spans(self, part: Part, runs: Sequence[Run]) -> tuple[Span, ...]:
        """Return the span of a part within each of a person's runs.

        Parameters
        ----------
        part : {"train", "validation", "test", "all"}
        runs : sequence of Run
            All runs of the person, in the record's order.

        Examples
        --------
        >>> split = Split("temporal", ("a",), ("a",), ("a",), train_until=0.25, validation_until=0.5)
        >>> split.spans("validation", [None, None])
        (Span(begin=0.25, end=0.5, in_seconds=False), Span(begin=0.25, end=0.5, in_seconds=False))
        """
        if self.kind == "subjects" or part == "all":
            return (_WHOLE,) * len(runs)
        if self.kind == "temporal":
            return (self._times(part),) * len(runs)
        trained, tested = (_NOTHING, _WHOLE) if part == "test" else (self._times(part), _NOTHING)
        if self.kind == "tasks" and part != "test":
            trained = _WHOLE
        is_held_out = held_out_runs(self, [(run.task, run.label) for run in runs])
        return tuple(tested if out else trained for out in is_held_out)

    def _times(self, part: Part) -> Span:
        test_until = 2 * self.validation_until if self.in_seconds else 1.0
        ends = {
            "train": (0.0, self.train_until),
            "validation": (self.train_until, self.validation_until),
            "test": (self.validation_until, test_until),
        }
        return Span(*ends[part], self.in_seconds)

    @property
    def split_hash(self) -> str:
        """Return the SHA-256 of the split's content."""
        return hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Return the split as JSON values."""
        plain = dataclasses.asdict(self)
        if not self.held_out:
            # Splits that hold nothing out by name keep the hash they had before any could.
            del plain["held_out"]
        return plain

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
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedOutputError(f"{path} is not a readable split ({error}). Run `dtb train` anew.") from None
        if split.split_hash != said:
            raise DamagedOutputError(
                f"{path} was altered: its hash is not the one it was saved with. Run `dtb train` anew."
            )
        return split


def held_out_in_words(kind: str, held_out: str) -> str:
    """Return in words what is held out of people seen in training.

    Examples
    --------
    >>> held_out_in_words("temporal", ""), held_out_in_words("runs", "stroopPA"), held_out_in_words("runs", "")
    ('the later part of each run', 'the run stroopPA', 'the last run of each task')
    """
    if kind == "temporal":
        return "the later part of each run"
    return f"the run {held_out}" if held_out else "the last run of each task"


def held_out_runs(split: Split, runs: Sequence[tuple[str, str]]) -> list[bool]:
    """Return which runs of a person, each given as task and label, are entirely held out from training.

    Examples
    --------
    >>> runs = [("faces", "facesAP"), ("stroop", "stroopAP"), ("stroop", "stroopPA")]
    >>> held_out_runs(Split("runs", (), (), ()), runs), held_out_runs(Split("tasks", (), (), (), held_out="faces"), runs)
    ([False, False, True], [True, False, False])
    """
    tasks = [task for task, _ in runs]
    if split.kind == "tasks":
        return [task == split.held_out for task in tasks]
    if split.kind == "runs" and split.held_out:
        return [label == split.held_out for _, label in runs]
    if split.kind == "runs":
        return [tasks.count(task) > 1 and task not in tasks[place + 1 :] for place, task in enumerate(tasks)]
    return [False] * len(runs)
