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
from dtb.fleet.posteriors import Posteriors, latent_seeds
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
        Simulations of all runs: one per member of the ensemble or, of people who were updated, one per member and draw of their latents.
    excerpts : list of Performance
        Simulations of the excerpts that a search uses at every step.
    """

    records: list[SubjectRecord]
    batch: Batch
    start: Start
    performances: list[Performance]
    excerpts: list[Performance]


class EnsembleWorker:
    """Simulates people as a function of their connectomes, for both passes.

    Parameters
    ----------
    shared_twins : sequence of SharedTwin
        One per member of the ensemble.
    search_target : SearchTarget
    seed : int
    num_rows : int or None
        See `dtb.fleet.twins.TwinRunner`.
    posteriors : Posteriors or None
        What own data made known of people.
    first_member : int
        Place of the first of `shared_twins` among the members that were updated.
    """

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        search_target: SearchTarget,
        seed: int,
        num_rows: int | None = None,
        posteriors: Posteriors | None = None,
        first_member: int = 0,
    ) -> None:
        self._posteriors, self._first_member = posteriors, first_member
        self._runners = [TwinRunner(shared_twin, seed, num_rows) for shared_twin in shared_twins]
        self._search_target = search_target
        self._seed = seed
        self._contrasts = Contrasts(self._runners[0].taskset)
        self._sought = [place for place in (search_target.target, search_target.second) if place is not None]

    def prepare(self, keys: Sequence[str]) -> PreparedBatch:
        """Lay people out, ready to perform."""
        search_target, first = self._search_target, self._runners[0]
        performances, excerpts = [], []
        # A linear model of a few minutes says too little of the whole run's contrast to search for one.
        in_excerpts = bool(search_target.settings.segments_per_task) and not any(
            search_target.indicators[place].regions for place in self._sought
        )
        for member, runner in enumerate(self._runners, start=self._first_member):
            records, batch = runner.lay_out(keys)
            for effect_SZ in self._effects(runner, member, batch):
                performances.append(self._performance(runner, records, batch, effect_SZ))
                if in_excerpts:
                    excerpts.append(self._excerpt(runner, records, batch, performances[-1], effect_SZ))
        retest_sd_E = None if search_target.retest_sd_E is None else torch.from_numpy(search_target.retest_sd_E)
        start = Start.of(batch.connectome_SE, first.card.sizes.num_regions, search_target.settings.budget, retest_sd_E)
        return PreparedBatch(records, batch, start, performances, excerpts or performances)

    @property
    def _num_draws(self) -> int:
        return 1 if self._posteriors is None else self._search_target.settings.latent_draws

    @torch.no_grad()
    def _effects(self, runner: TwinRunner, member: int, batch: Batch) -> list[Tensor | None]:
        """Return draws of people's own effects (S, Z), beside what is read from their connectomes; None without their own data."""
        if self._posteriors is None:
            return [None]
        latents = self._posteriors.of(batch.pseudonyms, member, batch.connectome_SE)
        seed_S = latent_seeds(batch.pseudonyms, self._seed)
        drawn_SDZ = latents.draw(self._num_draws, seed_S.to(batch.seed_S.device))
        read_SZ = runner.twin.generate(batch.connectome_SE).latent_SZ
        return list((drawn_SDZ - read_SZ[:, None]).unbind(1)) if read_SZ is not None else [None]

    def _excerpt(
        self,
        runner: TwinRunner,
        records: Sequence[SubjectRecord],
        batch: Batch,
        whole: Performance,
        effect_SZ: Tensor | None,
    ) -> Performance:
        """Return excerpts in which the target is defined; all segments for people whose excerpts do not suffice."""
        num = self._search_target.settings.segments_per_task
        part = self._performance(runner, records, excerpt(batch, num), effect_SZ)
        lacking_S = torch.stack([whole.has(place) & ~part.has(place) for place in self._sought]).any(0)
        if not lacking_S.any():
            return part
        return self._performance(runner, records, excerpt(batch, num, lacking_S.cpu().numpy()), effect_SZ)

    def _performance(
        self, runner: TwinRunner, records: Sequence[SubjectRecord], batch: Batch, effect_SZ: Tensor | None
    ) -> Performance:
        contrast_SKV, indicators = self._contrasts.weights(records, batch), self._search_target.indicators
        has_t = any(INDICATORS[one.kind].needs_basis for one in indicators)
        basis_SKVP = self._contrasts.basis(records, batch) if has_t else None
        tasks = self._search_target.tasks
        return Performance(runner.twin, batch, contrast_SKV, tasks, indicators, basis_SKVP, effect_SZ)


def parameters_of(twin: Twin) -> Callable[[Tensor], Tensor]:
    """Return the function from connectomes (S, E) to all generated parameters, concatenated (S, P)."""
    network = twin.hypernetwork

    def generate(connectome_SE: Tensor) -> Tensor:
        features = network.encoder(twin.encoder_input(connectome_SE.to(twin.edge_mean_E.dtype)), None)
        generated_SP: Tensor = network.head(features)
        return generated_SP

    return generate
