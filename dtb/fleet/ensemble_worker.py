"""The base of both workers of ``dtb intervene``: simulation as a function of the connectome, by every member of an ensemble.

Shape letters: `S` subject, `E` connectome edge, `P` generated parameter, `M` indicator, `D` dose, `K` segment, `V` volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dtb.fleet.contrasts import Contrasts
from dtb.fleet.excerpts import excerpt
from dtb.fleet.target import SearchTarget
from dtb.fleet.twins import SharedTwin, TwinRunner
from dtb.intervene.indicators import Performance
from dtb.intervene.kinds import INDICATORS
from dtb.intervene.spaces import Start
from dtb.people.records import SubjectRecord
from dtb.twin.batch import Batch
from dtb.twin.model import Twin


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedBatch:
    """Some people within an actor.

    Attributes
    ----------
    records : list of SubjectRecord
    batch : Batch
    start : Start
    performances : list of Performance
        Simulations of all runs, one per member of the ensemble.
    excerpts : list of Performance
        Simulations of the excerpts that a search uses at every step.
    """

    records: list[SubjectRecord]
    batch: Batch
    start: Start
    performances: list[Performance]
    excerpts: list[Performance]


class EnsembleWorker:
    """Simulates people as a function of their connectomes, for both passes; for `num_rows` see `dtb.fleet.twins.TwinRunner`."""

    def __init__(
        self, shared_twins: Sequence[SharedTwin], search_target: SearchTarget, seed: int, num_rows: int | None = None
    ) -> None:
        self._runners = [TwinRunner(shared_twin, seed, num_rows) for shared_twin in shared_twins]
        self._search_target = search_target
        self._seed = seed
        self._contrasts = Contrasts(self._runners[0].taskset)
        self._sought = [place for place in (search_target.target, search_target.second) if place is not None]

    def prepare(self, keys: Sequence[str]) -> PreparedBatch:
        """Lay people out, ready to perform."""
        search_target, first = self._search_target, self._runners[0]
        performances, excerpts = [], []
        for runner in self._runners:
            records, batch = runner.lay_out(keys)
            performances.append(self._performance(runner, records, batch))
            # A linear model of a few minutes says too little of the whole run's contrast to search for one.
            if search_target.settings.segments_per_task and not any(
                search_target.indicators[place].regions for place in self._sought
            ):
                excerpts.append(self._excerpt(runner, records, batch, performances[-1]))
        retest_sd_E = None if search_target.retest_sd_E is None else torch.from_numpy(search_target.retest_sd_E)
        start = Start.of(batch.connectome_SE, first.card.sizes.num_regions, search_target.settings.budget, retest_sd_E)
        return PreparedBatch(records, batch, start, performances, excerpts or performances)

    def _excerpt(
        self, runner: TwinRunner, records: Sequence[SubjectRecord], batch: Batch, whole: Performance
    ) -> Performance:
        """Return excerpts in which the target is defined; all segments for people whose excerpts do not suffice."""
        num = self._search_target.settings.segments_per_task
        part = self._performance(runner, records, excerpt(batch, num))
        lacking_S = torch.stack([whole.has(place) & ~part.has(place) for place in self._sought]).any(0)
        if not lacking_S.any():
            return part
        return self._performance(runner, records, excerpt(batch, num, lacking_S.cpu().numpy()))

    def _performance(self, runner: TwinRunner, records: Sequence[SubjectRecord], batch: Batch) -> Performance:
        contrast_SKV, indicators = self._contrasts.weights(records, batch), self._search_target.indicators
        has_t = any(INDICATORS[one.kind].needs_basis for one in indicators)
        basis_SKVP = self._contrasts.basis(records, batch) if has_t else None
        return Performance(runner.twin, batch, contrast_SKV, self._search_target.tasks, indicators, basis_SKVP)


def parameters_of(twin: Twin) -> Callable[[Tensor], Tensor]:
    """Return the function from connectomes (S, E) to all generated parameters, concatenated (S, P)."""
    network = twin.hypernetwork

    def generate(connectome_SE: Tensor) -> Tensor:
        features = network.encoder(twin.encoder_input(connectome_SE.to(twin.edge_mean_E.dtype)), None)
        generated_SP: Tensor = network.head(features)
        return generated_SP

    return generate
