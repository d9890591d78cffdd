"""What each person's own change is compared with: the table of control directions and of arms of an in-silico trial.

A search goes every control direction by the norm of the person's own change. A trial's protocol names arms: the person's own search,
control directions, and what is neither. The protocol, the stages, the report and the documentation read this table. It imports nothing
heavy outside of functions, for the report looks at its words.

Shape letters: `S` subject, `E` connectome edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dtb.kinds import Kinds

if TYPE_CHECKING:
    from torch import Tensor

    from dtb.intervene.spaces import Start


@dataclasses.dataclass(frozen=True)
class Given:
    """What a direction may be made of, for a batch of people.

    Attributes
    ----------
    start : Start
    seeds : sequence of int
        One a person.
    population_E : (E,) Tensor
        Mean over people of the gradient that moves the target the wanted way.
    ridge_E : (E,) Tensor or None
        Weights, on Fisher z, of a ridge regression from connectomes to what people did; None if too few people are known.
    published : function
        Makes the smoothed gradient (S, E) of the published method.
    """

    start: Start
    seeds: Sequence[int]
    population_E: Tensor
    ridge_E: Tensor | None
    published: Callable[[], Tensor]


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm of a trial; one with a direction is a control of every search, too.

    Attributes
    ----------
    name : str
        As a protocol names it, and columns of results begin.
    words : str
        What it is, for the report and the documentation.
    direction : function or None
        The direction (S, E) of people's changes, which go as far as each person's own; None where it cannot be made.
    is_search : bool
        Whether it is each person's own change.
    matches : str
        Name of the arm in whose direction it goes until other indicators are moved as far as by the person's own change.
    is_of_population : bool
        Whether it is one change for all, which a personal one has to beat to be of benefit.
    needs_behaviour : bool
        Whether it cannot be made unless enough training people have the behaviour.
    """

    name: str
    words: str
    direction: Callable[[Given], Tensor | None] | None = None
    is_search: bool = False
    matches: str = ""
    is_of_population: bool = False
    needs_behaviour: bool = False


def _random(given: Given) -> Tensor:
    from dtb.intervene.search import random_directions

    return random_directions(given.seeds, given.start.num_edges).to(given.start.budget_S)


def _population(given: Given) -> Tensor:
    return given.population_E.expand(len(given.seeds), given.start.num_edges)


def _ridge(given: Given) -> Tensor | None:
    from dtb.intervene.controls import correlation_slope

    return None if given.ridge_E is None else correlation_slope(given.start, given.ridge_E)


ARMS: Kinds[Arm] = Kinds(
    "arm",
    [
        Arm("personalised", "the person's own search", is_search=True),
        Arm("random", "random change", _random),
        Arm("population", "direction that helps the population", _population, is_of_population=True),
        Arm("ridge", "ridge regression's direction", _ridge, needs_behaviour=True),
        Arm("paper", "published method's direction", lambda given: given.published()),
        Arm(
            "population_matched",
            "direction that helps the population, as far as other indicators move as by the own search",
            matches="population",
            is_of_population=True,
        ),
        Arm("sham", "no change"),
    ],
)


def controls() -> tuple[Arm, ...]:
    """Return the arms that every search is compared with: directions, gone by the norm of each person's own change."""
    return tuple(arm for arm in ARMS if arm.direction is not None)


def control_names() -> tuple[str, ...]:
    """Return their names, in the order of columns."""
    return tuple(arm.name for arm in controls())
