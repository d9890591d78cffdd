"""What a stage left in its folder: paths, tables that are read when they are first asked for, and the report's figure of it.

A result is made of a folder, whether or not a stage has just written it: ``EvaluateResult(Path("runs/demo/evaluate")).figures``.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd

from dtb.errors import InputDataError
from dtb.files import read_json, readable
from dtb.stages import require_complete

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dtb.shards.read import Cohort
    from dtb.twin.model import Twin

__all__ = [
    "EvaluateResult",
    "IngestResult",
    "InterveneResult",
    "PlanResult",
    "PoolResult",
    "ReportResult",
    "RunResult",
    "SimulateResult",
    "SynthResult",
    "TrainResult",
    "TrialResult",
    "UpdateResult",
]

_QUANTITIES = {"mean_rt": "mean RT (s)", "condition_rt": "effect on RT (s)", "accuracy": "accuracy"}


@dataclasses.dataclass(frozen=True)
class _Result:
    """A finished stage's folder."""

    stage: ClassVar[str]
    folder: Path

    def __post_init__(self) -> None:
        """Refuse a folder that this stage did not finish."""
        require_complete(self.folder, self.stage)

    @property
    def summary(self) -> dict[str, Any]:
        """The stage's own figures, as `stage.json` has them."""
        return require_complete(self.folder, self.stage)

    def _text_table(self, name: str) -> pd.DataFrame:
        with readable(self.folder / name, self._advice):
            return pd.read_csv(self.folder / name, sep="\t", na_values="n/a", dtype={"pseudonym": str})

    def _parquet(self, name: str) -> pd.DataFrame:
        with readable(self.folder / name, self._advice):
            return pd.read_parquet(self.folder / name)

    @property
    def _advice(self) -> str:
        return f"Copy the folder again, or run `dtb {self.stage}` anew."

    def _json(self, name: str) -> Any:
        return read_json(self.folder / name, self._advice)

    def _value(self, name: str, key: str) -> Any:
        with readable(self.folder / name, self._advice):
            return self._json(name)[key]

    def _rows(self, table: str) -> pd.DataFrame:
        """Read a table of the fan-out, which has a file a batch; without any row where nobody has any."""
        files = sorted((self.folder / table).glob("*.parquet"))
        tables = [self._parquet(f"{table}/{file.name}") for file in files]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


@dataclasses.dataclass(frozen=True)
class SynthResult(_Result):
    """A made-up cohort.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "synth"

    @property
    def bids(self) -> Path:
        """The raw BIDS tree."""
        return self.folder / "bids"

    @property
    def derivatives(self) -> Path:
        """The tree with the series: of parcels, or of images where such were asked for."""
        images = self.folder / "derivatives" / "fmriprep"
        return images if images.is_dir() else self.folder / "derivatives" / "xcp_d"

    @property
    def truth(self) -> Path:
        """What is true of the people, for `evaluate_twin`."""
        return self.folder / "truth"

    @cached_property
    def participants(self) -> pd.DataFrame:
        """Table of the people: `participants.tsv`."""
        return self._text_table("bids/participants.tsv")

    @cached_property
    def traits(self) -> pd.DataFrame:
        """True traits of each person, and each task's figures: observed, expected, and expected from the connectome alone."""
        return self._text_table("truth/subjects.tsv")

    @cached_property
    def ceilings(self) -> pd.DataFrame:
        """How well perfect knowledge would predict what was observed (r): a column a task, a row a figure."""
        return pd.DataFrame(self._json("truth/ceilings.json"))


@dataclasses.dataclass(frozen=True)
class IngestResult(_Result):
    """Shards of a cohort.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "ingest"

    @cached_property
    def cohort(self) -> Cohort:
        """The people, to be read one by one."""
        from dtb.shards.read import open_cohort

        return open_cohort(self.folder)

    @property
    def quality_page(self) -> Path:
        """The page that shows how good the data are."""
        return self.folder / "quality.html"

    @cached_property
    def people(self) -> pd.DataFrame:
        """Pseudonym and covariates of each person in the shards."""
        headers = [(who, self.cohort.header(who)["covariates"]) for who in self.cohort.pseudonyms]
        return pd.DataFrame([{"pseudonym": who, **covariates} for who, covariates in headers])

    @cached_property
    def quality(self) -> pd.DataFrame:
        """A row a run: motion, volumes, omissions and what became of it."""
        return self._text_table("quality.tsv")

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """Who was set aside, and why."""
        return self._text_table("quarantine.tsv")

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """Runs and rows of events that are not used, and why."""
        return self._text_table("left_out.tsv")


@dataclasses.dataclass(frozen=True)
class TrainResult(_Result):
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
        from dtb.twin.export import load_twin

        return load_twin(self.twin_folder)[0]

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
        from dtb.report.figures import learning_curves
        from dtb.report.style import figure_of

        epochs, validation = self.epochs["epoch"].to_numpy(), self.epochs["validation_loss"].to_numpy(float)
        best = int(epochs[np.nanargmin(validation)]) if np.isfinite(validation).any() else None
        lines = {"training": self.epochs["train_loss"].to_numpy(float), "validation": validation}
        return figure_of(learning_curves, "loss", epochs, lines, title="Loss", quantity="loss", best_epoch=best)


@dataclasses.dataclass(frozen=True)
class _Certified(_Result):
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
        from dtb.report.figures import predicted_against_observed
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


@dataclasses.dataclass(frozen=True)
class UpdateResult(_Result):
    """What everybody's own data made known of them.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "update"

    @cached_property
    def status(self) -> pd.DataFrame:
        """A row a person: whether a posterior was found, and why not."""
        return self._rows("status")

    @cached_property
    def latents(self) -> pd.DataFrame:
        """A row a person, member and session: mean and covariance of the latent, beside those before any own data."""
        return self._rows("latents")

    def plot(self) -> Figure:
        """Draw how much of the prior's variance is left, against the number of a person's own trials."""
        from dtb.report.figures import variance_left
        from dtb.report.style import figure_of

        last = self.latents.sort_values("session_number").groupby(["pseudonym", "member"])
        trials, left = last["num_trials"].sum().to_numpy(), last["variance_left"].last().to_numpy()
        return figure_of(variance_left, "left", trials, left)


@dataclasses.dataclass(frozen=True)
class SimulateResult(_Result):
    """What everybody's twin did.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "simulate"

    @cached_property
    def status(self) -> pd.DataFrame:
        """A row a person: whether the twin performed, and why not."""
        return self._rows("status")

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Choices and reaction times: a row for each trial and draw."""
        return self._rows("trials")

    @cached_property
    def expected(self) -> pd.DataFrame:
        """Choice probabilities and reaction times of each trial, in closed form."""
        return self._rows("expected")

    @cached_property
    def bold(self) -> pd.DataFrame:
        """Predicted BOLD: a row a volume."""
        return self._rows("bold")

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """Contrasts of predicted BOLD."""
        return self._rows("contrasts")


@dataclasses.dataclass(frozen=True)
class InterveneResult(_Result):
    """What was found to move an indicator of each person's twin.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "intervene"

    @cached_property
    def status(self) -> pd.DataFrame:
        """A row a person: whether the search succeeded, and why not."""
        return self._rows("status")

    @cached_property
    def effects(self) -> pd.DataFrame:
        """A row for each person and indicator: before, after, and after changes of equal norm that others would make."""
        return self._rows("results")

    @cached_property
    def changes(self) -> pd.DataFrame:
        """A row a person: the change of each edge, in correlation units."""
        return self._rows("changes")

    def plot(self) -> Figure:
        """Draw the target indicator of each person's twin before and after, beside a random change of equal norm."""
        from dtb.report.figures import before_and_after
        from dtb.report.interventions import indicator_name
        from dtb.report.style import figure_of, task_colour

        if not len(self.effects):
            raise InputDataError(f"{self.folder}: the search did not succeed for anybody; `status` has the reasons.")
        rows = self.effects[self.effects["is_target"].astype(bool)]
        first = rows.iloc[0]
        return figure_of(
            before_and_after,
            "before-and-after",
            *(rows[column].to_numpy(float) for column in ("before", "after", "random_after")),
            colour=task_colour(0),
            title="Before and after",
            quantity=f"{indicator_name(first)} ({first['unit']})",
        )


@dataclasses.dataclass(frozen=True)
class TrialResult(_Result):
    """An in-silico trial.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "trial"

    @property
    def result(self) -> dict[str, Any]:
        """The primary outcome and the protocol: `trial.json`."""
        return dict(self._json("trial.json"))

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """A row for each person, arm, dose and indicator."""
        return self._rows("outcomes")

    @cached_property
    def doses(self) -> pd.DataFrame:
        """A row for each arm and dose: the mean effect, its interval, responders."""
        return self._text_table("doses.tsv")

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """How far each arm moves each indicator, wanted or not."""
        return self._text_table("matrix.tsv")

    @cached_property
    def slopes(self) -> pd.DataFrame:
        """How each arm's effect grows with the dose."""
        return self._text_table("slopes.tsv")

    def plot(self) -> Figure:
        """Draw how each arm's effect grows with the dose, with its interval."""
        from dtb.report.figures import dose_response
        from dtb.report.style import figure_of, task_colour

        columns = ["dose", "effect", "effect_lower", "effect_upper"]
        arms = {str(arm): rows[columns].to_numpy(float) for arm, rows in self.doses.groupby("arm", sort=False)}
        title = f"Dose and response: {self.result['target']}"
        primary = str(self.result["primary"]["arm"])
        return figure_of(dose_response, "doses", arms, primary=primary, colour=task_colour(0), title=title)


@dataclasses.dataclass(frozen=True)
class ReportResult(_Result):
    """The pages of a run.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "report"

    @property
    def page(self) -> Path:
        """The page to open in a browser."""
        return self.folder / "index.html"


@dataclasses.dataclass(frozen=True)
class PlanResult(_Result):
    """How many people, minutes and trials a claim needs.

    Attributes
    ----------
    folder : Path
    """

    stage: ClassVar[str] = "plan"

    @property
    def sentence(self) -> str:
        """The answer in words."""
        return str(self._value("plan.json", "sentence"))

    @cached_property
    def settings(self) -> pd.DataFrame:
        """A row for each number of people, minutes and trials: power with its interval, and the mean partial r."""
        return pd.DataFrame(self._value("plan.json", "rows"))

    @property
    def picture(self) -> Path:
        """Power against people, as a PNG."""
        return self.folder / "plan.png"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """All stages of a run; each is a result of its own, and refuses a stage that is not finished.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @cached_property
    def synth(self) -> SynthResult:
        """The made-up cohort, where one was made."""
        return SynthResult(self.folder / "cohort")

    @cached_property
    def ingest(self) -> IngestResult:
        """The shards."""
        return IngestResult(self.folder / "shards")

    @cached_property
    def train(self) -> TrainResult:
        """The trained twin."""
        return TrainResult(self.folder / "train")

    @cached_property
    def evaluate(self) -> EvaluateResult:
        """The twin beside held-out data."""
        return EvaluateResult(self.folder / "evaluate")

    @cached_property
    def update(self) -> UpdateResult:
        """What everybody's own data tell, of a run of people who may have no connectome."""
        return UpdateResult(self.folder / "update")

    @cached_property
    def simulate(self) -> SimulateResult:
        """What everybody's twin did."""
        return SimulateResult(self.folder / "simulate")

    @cached_property
    def intervene(self) -> InterveneResult:
        """What was found to move an indicator."""
        return InterveneResult(self.folder / "intervene")

    @cached_property
    def report(self) -> ReportResult:
        """The pages."""
        return ReportResult(self.folder / "report")
