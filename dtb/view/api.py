"""Requests and replies of the live twin's HTTP interface, checked and documented by their types.

Numbers are rounded to visible precision, and null if there is none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = float | None
MAX_PEOPLE = 4
Name = Annotated[str, Field(max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EdgeChange(_Strict):
    """Adds to the correlation of two regions."""

    first: Name
    second: Name
    by: Annotated[float, Field(ge=-2, le=2)]


class GainChange(_Strict):
    """Multiplies all correlations of a region."""

    region: Name
    gain: Annotated[float, Field(ge=0, le=3)]


class ChangeRequest(_Strict):
    """A change of people's connectomes."""

    people: Annotated[list[Name], Field(min_length=1, max_length=MAX_PEOPLE)]
    """Pseudonyms."""
    edges: Annotated[list[EdgeChange], Field(max_length=50)] = []
    gains: Annotated[list[GainChange], Field(max_length=50)] = []
    dose: Annotated[float, Field(ge=0, le=2)] = 0.0
    """How much of the change that `dtb intervene` found for each person; 1 is all of it."""


class SceneRequest(ChangeRequest):
    """A block of a task, the people whose twins to simulate, and the change of their connectomes. All get the first person's block."""

    task: Name
    block: Annotated[int, Field(ge=0)] = 0
    """Place among the first person's blocks of the task."""
    bold_region: Name | None = None
    """Whose BOLD to give; the first of the twin's if none is named."""


class Connectome(_Strict):
    """Size of the change of a person's connectome."""

    asked: float
    """Frobenius norm of what was asked, as a share of that of the person's own correlations off the diagonal."""
    made: float
    """The same of the change that was made: the valid correlation matrix near to what was asked."""
    distance_before: float
    """Root mean square over edges of the distance from the training people's mean, in standard deviations between them."""
    distance_after: float
    edges: list[tuple[float, float]]
    """For each edge that was asked for: its correlation before and after."""


class Performer(_Strict):
    """Simulation of one person's twin."""

    person: str
    connectome: Connectome
    figures: dict[str, Number]
    """Expected mean reaction time (`mean_rt`, s), its contrast between conditions (`condition_rt`, s) and share of right answers
    (`accuracy`), over the block."""
    choice: list[list[Number]]
    """For each trial, the probability of each alternative."""
    omission: list[Number]
    """For each trial, the probability of no press."""
    mean_rt: list[Number]
    """For each trial, the expected reaction time in seconds, given a press."""
    density: list[list[Number]]
    """For each trial, the density of a press at each of `rt_seconds`, per second."""
    bold: list[Number]
    """At each of `bold_seconds`, in standard deviations over the training people."""


class Refusal(_Strict):
    """Reason why a request was refused."""

    detail: str | list[dict[str, Any]]
    """In words; or, where a request has the wrong form, each mistake with its place (`loc`) and what is wrong (`msg`)."""


class SceneReply(_Strict):
    """Simulations of the twins."""

    performers: list[Performer]
    rt_seconds: list[float]
    bold_region: str | None
    bold_seconds: list[float]
    """Seconds of the run."""
    seconds: float
    """How long the answer took to compute."""


class BlockTrial(_Strict):
    """One trial, with the person's response."""

    onset: float
    """Seconds of the run."""
    window: float
    condition: str | None
    correct: list[str]
    """Right alternatives; none where withholding is right."""
    choice: list[str]
    """What was pressed: several where the press is known but not which; none for an omission."""
    rt: Number
    usable: bool


class Block(_Strict):
    """One block of a run, as observed."""

    person: str
    task: str
    block: int
    run: str
    start: float
    """Seconds of the run at which the stimuli begin; what lies before `counted_from` warms the twin up."""
    counted_from: float
    end: float
    step: float
    alternatives: list[str]
    channels: list[str]
    stimulus: list[list[float]]
    """For each channel, its mean height in each model step."""
    trials: list[BlockTrial]
    figures: dict[str, Number]
    """What the person did, as in `Performer`."""
    bold_region: str | None
    bold_seconds: list[float]
    bold: list[Number]


class PersonBlocks(_Strict):
    """A person's blocks of a task, each as the seconds of its run that it counts."""

    task: str
    blocks: list[str]


class Person(_Strict):
    """One person, with what can be chosen."""

    person: str
    part: Literal["training", "validation", "test", "none"]
    """Whether the twin was trained on this person."""
    tasks: list[PersonBlocks]
    has_intervention: bool
    absent_regions: list[str]


class Intervention(_Strict):
    """The target of `dtb intervene` in this run."""

    target: str
    direction: str


class RunDescription(_Strict):
    """The people, tasks and regions of a run."""

    name: str
    people: list[str]
    tasks: list[str]
    regions: list[str]
    bold_regions: list[str]
    intervention: Intervention | None
    does_not_fit: str | None
    """That the twin does not fit, in a sentence of the run's certificate; null where it does, or was not evaluated."""
    version: str
    notice: str
