"""What was done with the twins of many people: updated, simulated, searched, put through an in-silico trial."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from dtb.errors import InputDataError
from dtb.results.folder import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class UpdateResult(Result):
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
        from dtb.report.figures.changes import variance_left
        from dtb.report.style import figure_of

        last = self.latents.sort_values("session_number").groupby(["pseudonym", "member"])
        trials, left = last["num_trials"].sum().to_numpy(), last["variance_left"].last().to_numpy()
        return figure_of(variance_left, "left", trials, left)


@dataclasses.dataclass(frozen=True)
class SimulateResult(Result):
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

    def plot(self, pseudonym: str | None = None, task: str | None = None) -> Figure:
        """Draw one person's reaction times in a task: observed as bars, the twin's as a line, with the band of its sessions.

        Parameters
        ----------
        pseudonym, task : str, optional
            The first that are there if not given.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputDataError
            No trials of such a person in such a task were simulated.
        """
        from dtb.report.comparisons import rt_distribution
        from dtb.report.performance import reaction_times
        from dtb.report.style import figure_of, task_colour

        rows, tasks = self.trials, list(dict.fromkeys(self.trials["task"].astype(str)))
        rows = rows[(rows["pseudonym"] == pseudonym) | (pseudonym is None)]
        rows = rows[(rows["task"] == task) | (task is None)]
        if rows.empty:
            raise InputDataError(
                f"{self.folder} has no simulated trials of {pseudonym or 'anybody'} in {task or 'any task'}: tasks are "
                f"{', '.join(tasks) or 'none'}; the column `pseudonym` of `trials` says who was simulated."
            )
        who, what = str(rows["pseudonym"].iloc[0]), str(rows["task"].iloc[0])
        observed, simulated, session = reaction_times(rows[(rows["pseudonym"] == who) & (rows["task"] == what)])
        return figure_of(
            rt_distribution,
            "reaction-times",
            observed,
            simulated,
            session.to_numpy(),
            colour=task_colour(tasks.index(what)),
            title=f"{what}: reaction times",
        )


@dataclasses.dataclass(frozen=True)
class InterveneResult(Result):
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
        from dtb.report.figures.changes import before_and_after
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
class TrialResult(Result):
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
        from dtb.report.figures.changes import dose_response
        from dtb.report.style import figure_of, task_colour

        columns = ["dose", "effect", "effect_lower", "effect_upper"]
        arms = {str(arm): rows[columns].to_numpy(float) for arm, rows in self.doses.groupby("arm", sort=False)}
        title = f"Dose and response: {self.result['target']}"
        primary = str(self.result["primary"]["arm"])
        return figure_of(dose_response, "doses", arms, primary=primary, colour=task_colour(0), title=title)
