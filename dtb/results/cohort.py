"""What the stages that make or read people left: a made-up cohort, shards, a plan."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from dtb.config import read_yaml
from dtb.files import readable
from dtb.results.folder import Result
from dtb.stages import CONFIG_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dtb.shards.read import Cohort


@dataclasses.dataclass(frozen=True)
class SynthResult(Result):
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
class IngestResult(Result):
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
class PlanResult(Result):
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

    def plot(self) -> Figure:
        """Draw power against people, for each length of rest and each number of trials, with 95% intervals."""
        from dtb.evaluate.planning.plan import draw

        with readable(self.folder / CONFIG_FILE, self._advice):
            power = float(read_yaml(self.folder / CONFIG_FILE, self._advice)["plan"]["power"])
        return draw(self._value("plan.json", "rows"), power)
