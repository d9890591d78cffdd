"""The worker of the first pass of ``dtb intervene``: it measures people as they are.

Shape letters: `S` subject, `E` connectome edge, `P` generated parameter, `M` indicator, `D` dose, `K` segment, `V` volume.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.fleet.actors import Work
from dtb.fleet.ensemble_worker import EnsembleWorker, PreparedBatch, parameters_of
from dtb.fleet.target import SearchTarget
from dtb.fleet.twins import SharedTwin
from dtb.intervene.kinds import INDICATORS
from dtb.intervene.search import (
    Goal,
    perform_all,
    slope,
)
from dtb.people.records import Run


class SurveyWorker(EnsembleWorker):
    """The first pass: indicators without any change; and from a sample of people what common directions are made of."""

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        aim: SearchTarget,
        seed: int,
        sample: frozenset[str],
        num_rows: int | None = None,
    ) -> None:
        super().__init__(shared_twins, aim, seed, num_rows)
        self._sample = sample

    def work(self, keys: Sequence[str]) -> Work:
        """Measure people."""
        met = self._prepare(keys)
        performances, start, batch = met.performances, met.start, met.batch
        aim, twin = self._search_target, self._runners[0].twin
        # The spread is not known yet, and the gradient's direction does not depend on it.
        ones_M = torch.ones(len(aim.indicators), dtype=torch.float64, device=start.budget_S.device)
        before_SM, slope_SE = slope(performances, start, Goal(aim.target, aim.sign, ones_M, ones_M * 0))
        target = aim.indicators[aim.target]
        observed_S = performances[0].observed(target)
        with torch.no_grad():
            parameters = [parameters_of(runner.twin)(batch.connectome_SE) for runner in self._runners]
        excerpt_SM = perform_all(met.excerpts, start, [torch.zeros_like(slope_SE)]).mean((0, 1))

        def rows_of(values: Tensor) -> list[np.ndarray | None]:
            rows = values[: len(keys)].float().cpu().numpy()
            return [row if key in self._sample else None for key, row in zip(keys, rows, strict=True)]

        def numbers_of(values: Tensor) -> np.ndarray:
            return values[: len(keys)].double().cpu().numpy()

        def sampled(values: Tensor) -> pa.Array:
            return pa.array(rows_of(values), pa.list_(pa.float32()))

        columns = {
            "pseudonym": pa.array(keys, pa.string()),
            "before": pa.array(list(numbers_of(before_SM)), pa.list_(pa.float64())),
            "before_excerpt": pa.array(list(numbers_of(excerpt_SM)), pa.list_(pa.float64())),
            "observed": pa.array(numbers_of(observed_S)),
            "halves_apart": pa.array(self._halves_apart(met)),
            "slope": sampled(slope_SE),
            "edges": sampled(twin.standardise(batch.connectome_SE)),
            # A list a member: members of another size would generate another number of parameters.
            "parameters": pa.array(
                [list(rows) if rows[0] is not None else None for rows in zip(*map(rows_of, parameters), strict=True)],
                pa.list_(pa.list_(pa.float32())),
            ),
        }
        if aim.second is not None:
            columns["observed_second"] = pa.array(numbers_of(performances[0].observed(aim.indicators[aim.second])))
        return Work({"people": pa.table(columns)})

    def _halves_apart(self, met: PreparedBatch) -> np.ndarray:
        """Return how far apart people's own figures are in two halves of what they did, (S,); NaN where it cannot be told."""
        target, first = self._search_target.indicators[self._search_target.target], self._runners[0]
        if not INDICATORS[target.kind].has_halves:
            return met.performances[0].halves_apart(target)[: len(met.records)].double().cpu().numpy()
        names, chosen = first.card.region_names, list(target.regions)
        columns = [names.index(first.card.bold_region_names[region]) for region in chosen]
        scale_R = first.twin.bold_scale_R[chosen].cpu().numpy()

        def series_of(run: Run) -> np.ndarray:
            assert run.bold_VR is not None
            return (run.bold_VR[:, columns].astype(np.float64) / scale_R).mean(axis=1)

        return np.array([self._contrasts.halves_apart(record, target.task, series_of) for record in met.records])
