"""Whose fault an exception is: the person's whose work raised it, or the actor's that did the work.

Whoever raises an exception on one actor is tried on another, of another node where there is one, as actors of one node may share a fault.
If that succeeds, the first actor is suspected, and found faulty when it has happened twice; if it fails, the first is cleared. An actor on
which several people in a row failed is suspended until these have been tried elsewhere, so that it cannot go through the whole cohort
meanwhile.
"""

from __future__ import annotations

import collections

_SUSPECTS = 3
"""As many people in a row have to fail on an actor before it is suspended."""
_REFUTATIONS = 2
"""As many people who failed on an actor have to succeed elsewhere before it is found faulty."""
_TRIES, _MOST_TRIES = 2, 4
"""As often a person has to fail, on actors that are not faulty, before it is the person's fault: on two nodes, or more often on one."""


class Blame:
    """What is known of people and actors.

    Attributes
    ----------
    failed : dict of str to str
        Reasons of the people whose own fault it is.
    """

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self._tries: dict[str, dict[int, str]] = {}
        self._suspects: collections.defaultdict[int, set[str]] = collections.defaultdict(set)
        self._refutations: collections.Counter[int] = collections.Counter()
        self._faulty: set[int] = set()
        self._working: set[int] = set()

    def works(self, actor: int) -> bool:
        """Whether the last person on this actor succeeded."""
        return actor in self._working

    def is_suspended(self, actor: int) -> bool:
        """Whether the actor has to wait for what becomes of its people elsewhere."""
        return len(self._suspects[actor]) >= _SUSPECTS

    def has_failed_on(self, key: str, actor: int) -> bool:
        """Whether this person's work raised an exception on this actor."""
        return actor in self._tries.get(key, ())

    def has_failed_at(self, key: str, node: str) -> bool:
        """Whether this person's work raised an exception on an actor of this node."""
        return node in self._tries.get(key, {}).values()

    def raised(self, key: str, actor: int, reason: str, node: str = "", *, others: bool = False) -> bool:
        """Note an exception; return whether the person is to be tried again.

        Parameters
        ----------
        key : str
        actor : int
        reason : str
        node : str
            That of the actor.
        others : bool
            Whether the person may be tried on another node than this one.
        """
        self._working.discard(actor)
        tries = self._tries.setdefault(key, {})
        cleared = [other for other, where in tries.items() if not others or where != node]
        for other in cleared:
            self._suspects[other].discard(key)
        if not cleared:
            self._suspects[actor].add(key)
        tries[actor] = node
        sound = [where for other, where in tries.items() if other not in self._faulty]
        if len(sound) < _TRIES or (others and len(set(sound)) == 1 and len(sound) < _MOST_TRIES):
            return True
        self.failed[key] = reason
        return False

    def succeeded(self, key: str, actor: int) -> None:
        """Note a person who is done: the actor works, and those on which the person failed are the less trusted."""
        self._working.add(actor)
        self._suspects[actor].clear()
        for other in self._tries.get(key, ()):
            self._suspects[other].discard(key)
            self._refutations[other] += 1

    def newly_faulty(self, actors: list[int]) -> list[int]:
        """Return which of these actors are found faulty now and were not before."""
        found = [one for one in actors if self._refutations[one] >= _REFUTATIONS and one not in self._faulty]
        self._faulty.update(found)
        return found

    def to_try_again(self) -> list[str]:
        """Return the people who had been found at fault because of actors that turned out faulty, and acquit them."""
        acquitted = [key for key in self.failed if self._tries_on_sound(key) < _TRIES]
        for key in acquitted:
            del self.failed[key]
        return acquitted

    def _tries_on_sound(self, key: str) -> int:
        return sum(actor not in self._faulty for actor in self._tries[key])
