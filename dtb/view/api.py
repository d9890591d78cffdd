"""Requests and replies of the live twin's HTTP interface, checked and documented by their types.

Numbers are rounded to visible precision, and null if there is none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = float | None
MAX_PEOPLE = 4
MAX_EVENTS = 300_000
"""Characters of an events file."""
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


class LivingRequest(_Strict):
    """A person of the run, or an events file of one's own, and how many of its first trials to give to the twin."""

    task: Name
    person: Name | None = None
    events: Annotated[str, Field(max_length=MAX_EVENTS)] | None = None
    """Tab-separated values with a header, as in BIDS; read with the task's file."""
    trials: Annotated[int, Field(ge=0, le=10_000)] = 0

    @model_validator(mode="after")
    def _is_of_one(self) -> LivingRequest:
        if (self.person is None) == (self.events is None):
            raise ValueError("name a person, or give events")
        return self


class Belief(_Strict):
    """What the twin believes of a person's later trials: a normal distribution of each expected figure."""

    mean: dict[str, Number]
    """By kind, as in `Performer.figures`."""
    sd: dict[str, Number]
    variance_left: float
    """The share of the variance of the person's latents before any trial that is left."""


class LivingReply(_Strict):
    """What the first trials of a person's earlier half say of the later half."""

    given: int
    most: int
    """Usable trials of the earlier half."""
    later: int
    """Trials of the later half that are spoken of."""
    rt: list[Number]
    """Reaction times of all trials of the earlier half, in seconds; null without a press."""
    did: dict[str, Number]
    """What the person did in these later trials."""
    with_connectome: Belief | None
    """Null where there is no connectome."""
    without: Belief
    unusable: list[str] = []
    """Rows of a given events file that cannot be used, and why; the first few."""


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
    bold_map: list[list[Number]]
    """The same of every region with BOLD, a row each, in the order of the run's `bold_regions`."""


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
    bold_map: list[list[Number]]
    """As in `Performer`."""


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


class Verdict(_Strict):
    """What may be claimed of the run's twin, as its report and certificate open with."""

    key: str
    badge: str
    mark: str
    sentence: str


class RunDescription(_Strict):
    """The people, tasks and regions of a run."""

    name: str
    people: list[str]
    unseen: list[str]
    """Those of them whom the training has not seen; the page shows the first of them first."""
    tasks: list[str]
    regions: list[str]
    networks: list[str]
    """The network of each region, read from its name."""
    places: list[tuple[float, float, float] | None]
    """Where each region lies: millimetres in MNI space."""
    has_cortex: bool
    """Whether `/api/cortex` has the regions of the cortex."""
    bold_regions: list[str]
    intervention: Intervention | None
    verdict: Verdict
    is_living: bool
    """Whether the twin can be updated on own trials: `/api/living`."""
    does_not_fit: str | None
    """That the twin does not fit, in a sentence of the run's certificate; null where it does, or was not evaluated."""
    version: str
    notice: str
