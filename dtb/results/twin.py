"""What training and evaluation left: a twin, its figures and its certificate."""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd

from dtb.errors import InputDataError
from dtb.files import readable
from dtb.results.folder import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dtb.twin.model import Twin

_QUANTITIES = {"mean_rt": "mean RT (s)", "condition_rt": "effect on RT (s)", "accuracy": "accuracy"}


@dataclasses.dataclass(frozen=True)
class TrainResult(Result):
    """A trained twin.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "train"

    @property
    def twin_folder(self) -> Path:
        """The exported twin: safetensors and JSON."""
        return self.folder / "twin"

    def load_twin(self) -> Twin:
        """Read the twin, in evaluation mode."""
        from dtb.twin.export import read_twin

        return read_twin(self.twin_folder)[0]

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """A row an epoch: losses, learning rate, throughput."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
        with readable(self.folder / "metrics.jsonl", self._advice):
            table = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
            # A training that was interrupted writes an epoch again when it goes on: the later line counts.
            return table.drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)

    @property
    def split(self) -> dict[str, Any]:
        """Who trains, validates and is held out: `split.json`."""
        return dict(self._json("split.json"))

    def plot(self) -> Figure:
        """Draw training and validation loss over epochs, the epoch that was kept marked."""
        from dtb.report.figures.evaluation import learning_curves
        from dtb.report.style import figure_of

        epochs, validation = self.epochs["epoch"].to_numpy(), self.epochs["validation_loss"].to_numpy(float)
        best = int(epochs[np.nanargmin(validation)]) if np.isfinite(validation).any() else None
        lines = {"training": self.epochs["train_loss"].to_numpy(float), "validation": validation}
        return figure_of(learning_curves, "loss", epochs, lines, title="Loss", quantity="loss", best_epoch=best)


@dataclasses.dataclass(frozen=True)
class SweepResult(Result):
    """Trainings of several folds, seeds and settings.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "sweep"

    @cached_property
    def members(self) -> pd.DataFrame:
        """A row a member: its fold, seed and settings, and how it came out."""
        return self._text_table("sweep.tsv")

    def trained(self, member: str) -> TrainResult:
        """Return a member's training, by its name in `members`."""
        return TrainResult(self.folder / "members" / member)


@dataclasses.dataclass(frozen=True)
class _Certified(Result):
    @cached_property
    def figures(self) -> pd.DataFrame:
        """A row a task and metric: the twin's figure, its interval, its baselines and its ceiling."""
        return pd.DataFrame(self._value("figures.json", "rows"))

    @property
    def claim(self) -> str:
        """What may be claimed, in a sentence."""
        return str(self._value("figures.json", "claim"))

    @property
    def verdict(self) -> str:
        """The certificate's verdict, in a sentence."""
        return str(self._value("certificate.json", "sentence"))

    @cached_property
    def tests(self) -> pd.DataFrame:
        """The certificate's tests, a row each."""
        return pd.DataFrame(self._value("certificate.json", "tests"))

    @cached_property
    def living(self) -> pd.DataFrame:
        """How well people are predicted after so many of their own trials: a row for each curve, point, figure, metric and predictor.

        Raises
        ------
        InputDataError
            Such curves were not made: the twin has no person effects, or was tested on people it has seen.
        """
        return self._of_living("living.parquet")

    @cached_property
    def living_people(self) -> pd.DataFrame:
        """What was said of each person after so many own trials, as a distribution, and what happened; raises as `living` does."""
        return self._of_living("living_people.parquet")

    @cached_property
    def living_bold(self) -> pd.DataFrame:
        """How near later maps are to what is said after so many minutes of task BOLD: a row for each task, number of minutes,
        predictor and metric; raises as `living` does, and where no BOLD is predicted.
        """
        return self._of_living("living_bold.parquet")

    def _of_living(self, name: str) -> pd.DataFrame:
        if not (self.folder / name).is_file():
            raise InputDataError(
                f"{self.folder} has no {name}: curves over own data are made of twins with `person_effects: true` that are tested on "
                "people they have not seen."
            )
        return pd.read_parquet(self.folder / name)

    @property
    def certificate_page(self) -> Path:
        """The certificate as a page."""
        return self.folder / "certificate.html"


@dataclasses.dataclass(frozen=True)
class EvaluateResult(_Certified):
    """A twin beside held-out data and baselines.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "evaluate"

    @cached_property
    def subjects(self) -> pd.DataFrame:
        """A row for each person and task: observed, predicted by the twin, predicted by each baseline."""
        return self._parquet("subjects.parquet")

    @cached_property
    def bold_map(self) -> pd.DataFrame:
        """Mean contrast maps, observed and predicted: a row for each task and region."""
        return self._parquet("bold_map.parquet")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """What each figure was computed from: a row for each figure and person."""
        return self._parquet("scores.parquet")

    def plot(
        self, task: str | None = None, quantity: Literal["mean_rt", "condition_rt", "accuracy"] = "mean_rt"
    ) -> Figure:
        """Draw predicted against observed values of held-out people, one point a person, the group mean in grey.

        Parameters
        ----------
        task : str, optional
            The first if not given.
        quantity : str
            ``mean_rt``, ``condition_rt`` or ``accuracy``.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputDataError
            The evaluation has no such task or quantity.
        """
        from dtb.report.figures.evaluation import predicted_against_observed
        from dtb.report.style import figure_of, task_colour

        tasks = list(dict.fromkeys(self.subjects["task"]))
        chosen = tasks[0] if task is None else task
        if chosen not in tasks or quantity not in _QUANTITIES:
            raise InputDataError(
                f"There is no {quantity} of the task {chosen!r} to draw: tasks are {', '.join(tasks)}; quantities are "
                f"{', '.join(_QUANTITIES)}."
            )
        rows = self.subjects[self.subjects["task"] == chosen]
        group = f"group_mean_{quantity}"
        return figure_of(
            predicted_against_observed,
            "predicted",
            rows[f"observed_{quantity}"].to_numpy(float),
            rows[f"predicted_{quantity}"].to_numpy(float),
            colour=task_colour(tasks.index(chosen)),
            title=chosen,
            quantity=_QUANTITIES[quantity],
            baselines={"group mean": rows[group].to_numpy(float)} if group in rows else None,
        )


@dataclasses.dataclass(frozen=True)
class PoolResult(_Certified):
    """The folds of one cohort together.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "pool"
