"""The data of a report: the parts of a run as plain tables or, for each part that cannot be shown, the reason in words.

Large tables are read for one person at a time, when a page needs them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset

from dtb.evaluate.certificate.wording import headline_of
from dtb.files import readable
from dtb.shards.manifest import Manifest
from dtb.shards.read import Cohort

OPTIONAL = ("synth", "trial")  # what a run is whole without


@dataclasses.dataclass(frozen=True)
class Missing:
    """Something that cannot be shown, with the reason in a sentence."""

    reason: str


@dataclasses.dataclass(frozen=True)
class StageState:
    """The state of one stage.

    Attributes
    ----------
    name : str
    state : str
        ``done``, ``interrupted``, ``absent`` or ``damaged``.
    reason : str
        In a sentence, why it is not done; empty if it is.
    version, config_hash : str
        Empty where unknown.
    summary : dict
        The stage's own figures.
    settings : dict
        The configuration that it was run with, as saved beside its output.
    versions : dict of str to str
        Versions of Python and the main packages and, from a repository, the commit; empty if the stage did not save them.
    """

    name: str
    state: str
    reason: str = ""
    version: str = ""
    config_hash: str = ""
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class People:
    """Who is in the cohort, and who was set aside.

    Attributes
    ----------
    manifest : Manifest
    cohort : Cohort
        To read single people from.
    covariates : DataFrame
        One row per person: pseudonym and covariates of `participants.tsv`.
    runs : DataFrame
        One row a run: pseudonym, task, label, session, run, duration_seconds, repetition_time.
    set_aside : DataFrame
        Rows of quarantine.tsv, as text.
    left_out : DataFrame
        Rows of left_out.tsv: runs and rows of events that were not used, as text.
    quality : DataFrame
        Rows of quality.tsv, one a run that is used; empty if there is no such file.
    """

    manifest: Manifest
    cohort: Cohort
    covariates: pd.DataFrame
    runs: pd.DataFrame
    set_aside: pd.DataFrame
    left_out: pd.DataFrame
    quality: pd.DataFrame


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Held-out figures: `figures.json`, `certificate.json`, `subjects.parquet`, `bold_map.parquet` (empty without BOLD) and
    `living.parquet` (empty for a twin that own trials do not update)."""

    figures: dict[str, Any]
    certificate: dict[str, Any]
    subjects: pd.DataFrame
    bold_map: pd.DataFrame
    living: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

    @property
    def headline(self) -> str | None:
        """Return the sentence that the twin does not fit; None if it fits."""
        return headline_of(self.certificate)


@dataclasses.dataclass(frozen=True, eq=False)
class Interventions:
    """`results` has one row for each person and indicator, `status` one a person; changes are read for one person at a time."""

    results: pd.DataFrame
    status: pd.DataFrame
    folder: Path

    def change_of(self, pseudonym: str) -> np.ndarray | None:
        """Read one person's change (E,) in correlation units; None if there is none."""
        return read_change(self.folder, pseudonym)

    def base_of(self, pseudonym: str) -> np.ndarray | None:
        """Read the correlations (E,) that one person's change is relative to; None if it is not known."""
        found, _ = _rows_of(self.folder / "changes", pseudonym)
        return None if found.empty or "base_E" not in found else np.asarray(found["base_E"].iloc[0], dtype=float)

    def front_of(self, pseudonym: str) -> pd.DataFrame:
        """Read one person's front between two aims, a row per share of the second; no rows without a second aim."""
        return _rows_of(self.folder / "fronts", pseudonym)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Simulations:
    """`status` has one row a person; trials and BOLD are read for one person at a time, for they may be large."""

    status: pd.DataFrame
    folder: Path

    def trials_of(self, pseudonym: str) -> pd.DataFrame:
        """Read one person's simulated trials, a row per draw, of all members of an ensemble."""
        return _rows_of(self.folder / "trials", pseudonym)[0]

    def bold_of(self, pseudonym: str) -> tuple[pd.DataFrame, list[str]]:
        """Read one person's predicted BOLD, a row per volume, and the names of the regions in each row.

        `bold` is the mean over simulations (noise draws, members of an ensemble), and `spread` their standard deviation, 0 if there
        is only one.
        """
        rows, metadata = _rows_of(self.folder / "bold", pseudonym)
        if len(rows):
            groups = rows.groupby(["task", "run", "volume", "seconds"], observed=True)["bold"]
            rows = groups.agg(list).reset_index(name="each")
            rows["bold"] = [np.mean(each, axis=0) for each in rows["each"]]
            rows["spread"] = [np.std(each, axis=0, ddof=min(len(each) - 1, 1)) for each in rows.pop("each")]
        return rows, json.loads(metadata.get(b"regions", b"[]"))


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """An in-silico trial: `trial.json`, and the tables as `dtb.intervene.trial_figures.TrialFigures` has them."""

    result: dict[str, Any]
    doses: pd.DataFrame
    matrix: pd.DataFrame
    slopes: pd.DataFrame


@dataclasses.dataclass(frozen=True, eq=False)
class Collected:
    """All data of the page.

    `untrained` has a row, with the reason, for everybody whom training set aside. `places_R3` (R, 3) has the
    regions' positions in millimetres; None if unknown.
    """

    stages: dict[str, StageState]
    people: People | Missing
    split: dict[str, Any] | Missing
    learning: pd.DataFrame | Missing
    evaluation: Evaluation | Missing
    simulations: Simulations | Missing
    interventions: Interventions | Missing
    trial: Trial | Missing
    untrained: pd.DataFrame | Missing
    places_R3: np.ndarray | None = None


def read_change(folder: Path, pseudonym: str) -> np.ndarray | None:
    """Read the change (E,) that `dtb intervene` wrote into `folder` for one person, in correlation units; None if there is none."""
    found, _ = _rows_of(folder / "changes", pseudonym)
    return None if found.empty else np.asarray(found["change_E"].iloc[0], dtype=float)


def _rows_of(folder: Path, pseudonym: str) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    """Read one person's rows and the table's metadata; no rows where there is no such table."""
    files = sorted(map(str, folder.glob("*.parquet")))
    if not files:
        return pd.DataFrame(), {}
    with readable(folder, "Run `dtb simulate` anew."):
        data = pyarrow.dataset.dataset(files, format="parquet")
        rows = data.to_table(filter=pyarrow.dataset.field("pseudonym") == pseudonym).to_pandas()
    return rows, dict(data.schema.metadata or {})
