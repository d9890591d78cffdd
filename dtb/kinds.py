"""What comes in kinds is a table of values: indicators, connectomes, layouts of derivatives, predictors, covariates.

Configuration, stages, report and documentation read the table, so that adding a kind means adding one value to it. A name that is not in
the table is refused where it is looked up, with the names that are. Kinds of your own need not lie in this package: the environment
variable `DTB_KINDS` names modules, separated by commas, that are imported before the first look at any table, in every process of a run.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from dtb.errors import ConfigurationError

VARIABLE = "DTB_KINDS"
"""Environment variable that names modules with further kinds."""


class Kind(Protocol):
    """What a table holds: anything with a name, and words that explain it."""

    @property
    def name(self) -> str:
        """What it is called in the configuration and in what is written."""

    @property
    def words(self) -> str:
        """What it is, for people."""


K = TypeVar("K", bound=Kind)


class Kinds(Generic[K]):
    """The known kinds of one thing, by name and in order.

    Parameters
    ----------
    what : str
        What they are kinds of, for messages: ``indicator``.
    kinds : iterable

    Examples
    --------
    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class Fruit:
    ...     name: str
    ...     words: str
    >>> fruits = Kinds("fruit", [Fruit("apple", "grows on trees"), Fruit("melon", "does not")])
    >>> fruits["apple"].words
    'grows on trees'
    >>> fruits["aple"]
    Traceback (most recent call last):
    dtb.errors.ConfigurationError: There is no fruit 'aple'; did you mean `apple`? Known are: apple, melon.
    """

    def __init__(self, what: str, kinds: Iterable[K]) -> None:
        self.what = what
        self._kinds: dict[str, K] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: K) -> K:
        """Add a kind, and return it.

        Raises
        ------
        ValueError
            There is another of that name.
        """
        if self._kinds.setdefault(kind.name, kind) is not kind:
            raise ValueError(f"there is an {self.what} {kind.name!r} already")
        return kind

    def remove(self, name: str) -> None:
        """Forget a kind, as a test does with its own."""
        del self._kinds[name]

    def __getitem__(self, name: str) -> K:
        """Return the kind of a name.

        Raises
        ------
        ConfigurationError
            There is none; the message lists those that there are.
        """
        if name not in self:
            raise ConfigurationError(f"There is no {self.what} {name!r}; {self.advice(name)}.")
        return self._kinds[name]

    def __contains__(self, name: object) -> bool:
        _import_own(os.environ.get(VARIABLE, ""))
        return name in self._kinds

    def __iter__(self) -> Iterator[K]:
        """Yield the kinds in order."""
        _import_own(os.environ.get(VARIABLE, ""))
        return iter(tuple(self._kinds.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """Every known name, in order."""
        return tuple(kind.name for kind in self)

    def advice(self, name: str) -> str:
        """Return which names there are, the one that may be meant first."""
        near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
        meant = f"did you mean `{near[0]}`? Known are" if near else "known are"
        return f"{meant}: {', '.join(self.names)}"


@functools.cache
def _import_own(modules: str) -> None:
    """Import the modules that `DTB_KINDS` names; what they add to tables is then there."""
    for module in filter(None, map(str.strip, modules.split(","))):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigurationError(
                f"The environment variable {VARIABLE} names the module {module!r}, which cannot be imported ({error}). Name modules that "
                "Python finds (PYTHONPATH), separated by commas, or unset it."
            ) from None
