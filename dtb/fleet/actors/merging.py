"""Puts the parts of many batches together while others are worked on, so that a hundred thousand people make some hundred files.

Batches are in groups by their order. When everybody of a group is settled, a Ray task merges the group's parts; where that fails, they stay
as they are.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Any

from dtb.fleet.actors.ledger import Ledger, part_name

GROUP = 64
"""Batches; fewer than this are left alone."""
_AT_ONCE = 2


class Merging:
    """The parts of a pool's work.

    Parameters
    ----------
    batches : list of list of str
        All that are handed out.
    ledger : Ledger
    resources : dict of str to float
        Which nodes may do it, as for actors.
    """

    def __init__(self, batches: Sequence[Sequence[str]], ledger: Ledger, resources: dict[str, float]) -> None:
        import ray

        self._ray, self._ledger = ray, ledger
        self._task = ray.remote(num_cpus=0, max_retries=0, resources=resources)(_merge)
        groups = [batches[begin : begin + GROUP] for begin in range(0, len(batches), GROUP)]
        if len(groups) == 1:
            groups = []
        self._group_of = {key: number for number, group in enumerate(groups) for batch in group for key in batch}
        self._left = [sum(map(len, group)) for group in groups]
        self._names: dict[int, list[str]] = collections.defaultdict(list)
        self._ready: collections.deque[list[str]] = collections.deque()
        self._begun: list[Any] = []

    def committed(self, keys: Sequence[str]) -> None:
        """Take note of a part."""
        if self._group_of:
            self._names[self._group_of[keys[0]]].append(part_name(keys))

    def settled(self, people: Iterable[str]) -> None:
        """Take note of people who are not tried again, and merge what can be."""
        if not self._group_of:
            return
        for key in people:
            number = self._group_of[key]
            self._left[number] -= 1
            if not self._left[number]:
                self._ready.append(self._names.pop(number, []))
        if self._ready and self._begun:
            _, self._begun = self._ray.wait(self._begun, num_returns=len(self._begun), timeout=0)
        while self._ready and len(self._begun) < _AT_ONCE:
            self._begun.append(self._task.remote(self._ledger, self._ready.popleft()))

    def finish(self) -> None:
        """Merge the rest, with the parts of those who failed in the end, and wait for it."""
        self._begun += [self._task.remote(self._ledger, names) for names in (*self._ready, *self._names.values())]
        if self._begun:
            self._ray.wait(self._begun, num_returns=len(self._begun))


def _merge(ledger: Ledger, names: list[str]) -> None:
    ledger.merge(names)
