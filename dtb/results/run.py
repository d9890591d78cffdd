"""What a whole run left: the results of its stages, and the pages about it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from dtb.results.cohort import IngestResult, SynthResult
from dtb.results.fleet import InterveneResult, SimulateResult, UpdateResult
from dtb.results.folder import Result
from dtb.results.twin import EvaluateResult, TrainResult


@dataclasses.dataclass(frozen=True)
class ReportResult(Result):
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
