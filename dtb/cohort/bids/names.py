"""Parsing of BIDS file names, such as `sub-01_task-rest_run-1_timeseries.tsv`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from pathlib import Path

RunKey = tuple[tuple[str, str], ...]
"""What tells one run of a person from another: pairs of entity and value."""
RUN_ENTITIES = ("ses", "task", "acq", "ce", "dir", "rec", "run")


@dataclasses.dataclass(frozen=True)
class BidsName:
    """A parsed file name.

    Attributes
    ----------
    entities : dict
        Values by short key, for example ``{"sub": "01", "task": "rest"}``.
    suffix : str
        What stands after the last underscore, without extension: ``events``.
    extension : str
        From the first period on: ``.tsv.gz``.
    """

    entities: dict[str, str]
    suffix: str
    extension: str

    @property
    def run_key(self) -> RunKey:
        """What tells one run of a person from another, whatever was derived from it: ``run-1`` and ``run-01`` do not, nor do echoes."""
        values = [(key, self.entities[key]) for key in RUN_ENTITIES if key in self.entities]
        return tuple((key, str(int(value)) if key == "run" and value.isdecimal() else value) for key, value in values)

    @property
    def run_label(self) -> str:
        """`run_key` as text: ``ses-1_task-rest_run-2``; empty if the name has none of these."""
        return "_".join(f"{key}-{value}" for key, value in self.run_key)


def combined_runs(keys: Iterable[RunKey], scanned: Collection[RunKey] = ()) -> list[RunKey]:
    """Return which of a person's runs are concatenations of others.

    XCP-D names the concatenation of runs as them without ``run-`` and ``dir-`` (``--combine-runs``, the default of its modes abcd and
    hbcd); others write what is no number after ``run-``, which BIDS has for one run.

    Parameters
    ----------
    keys : iterable of RunKey
        Runs of one person that there is a series (or a matrix) of.
    scanned : collection of RunKey
        Runs that the raw tree has a file of, which are no combination.

    Examples
    --------
    >>> first, second = (("task", "rest"), ("run", "1")), (("task", "rest"), ("run", "2"))
    >>> combined_runs([first, second, (("task", "rest"),)])
    [(('task', 'rest'),)]
    >>> combined_runs([first, second, (("task", "rest"), ("run", "all"))])
    [(('task', 'rest'), ('run', 'all'))]
    >>> combined_runs([(("task", "rest"),), (("task", "faces"), ("run", "1"))])
    []

    Beside a second run alone, a name without a number is that of the first:

    >>> combined_runs([(("task", "rest"),), second])
    []
    """
    known = list(keys)
    found = []
    for key in known:
        entities = dict(key)
        if key in scanned:
            continue
        if not entities.get("run", "1").isdecimal():
            del entities["run"]
        parts = [part for other in known if other != key and _is_part(part := dict(other), entities)]
        if len(parts) > 1 or any(part.get("run", "1") == "1" for part in parts):
            found.append(key)
    return found


def _is_part(part: dict[str, str], whole: dict[str, str]) -> bool:
    """Return whether a run differs from another only in that it says more: which run, or which direction, it is."""
    more = set(part) - set(whole)
    return (
        bool(more)
        and more <= {"run", "dir"}
        and part.get("run", "1").isdecimal()
        and all(part.get(key) == value for key, value in whole.items())
    )


def sidecar_of(path: Path) -> Path:
    """Return the path of a file's JSON sidecar, if it has one."""
    return path.with_name(path.name.split(".")[0] + ".json")
