"""File names as BIDS makes them: `sub-01_task-rest_run-1_timeseries.tsv` says what it holds."""

from __future__ import annotations

import dataclasses

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
    def run_key(self) -> tuple[tuple[str, str], ...]:
        """What tells one run of a person from another, whatever was derived from it: ``run-1`` and ``run-01`` do not, nor do echoes."""
        values = [(key, self.entities[key]) for key in RUN_ENTITIES if key in self.entities]
        return tuple((key, str(int(value)) if key == "run" and value.isdecimal() else value) for key, value in values)

    @property
    def run_label(self) -> str:
        """`run_key` as text: ``ses-1_task-rest_run-2``; empty if the name has none of these."""
        return "_".join(f"{key}-{value}" for key, value in self.run_key)
