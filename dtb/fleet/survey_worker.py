"""The worker of the first pass of ``dtb intervene``: it simulates people with their own connectomes.

Shape letters: `S` subject, `E` connectome edge, `P` generated parameter, `M` indicator, `D` dose, `K` segment, `V` volume.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.fleet.actors.actor import Work
from dtb.fleet.ensemble_worker import EnsembleWorker, PreparedBatch, parameters_of
from dtb.fleet.target import SearchTarget
from dtb.fleet.twins import SharedTwin
from dtb.intervene.goal import Goal
from dtb.intervene.kinds import INDICATORS
from dtb.intervene.search import simulate_all, slope
from dtb.people.records import Run


class SurveyWorker(EnsembleWorker):
    """The first pass: indicators without any change and, from a sample of people, gradients for the common directions."""

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        search_target: SearchTarget,
        seed: int,
        sample: frozenset[str],
        num_rows: int | None = None,
    ) -> None:
        super().__init__(shared_twins, search_target, seed, num_rows)
        self._sample = sample

    def work(self, keys: Sequence[str]) -> Work:
        """Return the indicators of some people."""
        prepared = self.prepare(keys)
        performances, start, batch = prepared.performances, prepared.start, prepared.batch
        search_target, twin = self._search_target, self._runners[0].twin
        # The spread is not known yet, and the gradient's direction does not depend on it.
        ones_M = torch.ones(len(search_target.indicators), dtype=torch.float64, device=start.budget_S.device)
        before_SM, slope_SE = slope(
            performances, start, Goal(search_target.target, search_target.sign, ones_M, ones_M * 0)
        )
        target = search_target.indicators[search_target.target]
        observed_S = performances[0].observed(target)
        with torch.no_grad():
            parameters = [parameters_of(runner.twin)(batch.connectome_SE) for runner in self._runners]
        excerpt_SM = simulate_all(prepared.excerpts, start, [torch.zeros_like(slope_SE)]).mean((0, 1))

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
            "covariates": pa.array([json.dumps(dict(record.covariates)) for record in prepared.records], pa.string()),
            "halves_apart": pa.array(self._halves_apart(prepared)),
            "slope": sampled(slope_SE),
            "edges": sampled(twin.standardise(batch.connectome_SE)),
            # A list a member: members of another size would generate another number of parameters.
            "parameters": pa.array(
                [list(rows) if rows[0] is not None else None for rows in zip(*map(rows_of, parameters), strict=True)],
                pa.list_(pa.list_(pa.float32())),
            ),
        }
        if search_target.second is not None:
            columns["observed_second"] = pa.array(
                numbers_of(performances[0].observed(search_target.indicators[search_target.second]))
            )
        return Work({"people": pa.table(columns)})

    def _halves_apart(self, prepared: PreparedBatch) -> np.ndarray:
        """Return the difference between people's observed indicators in two halves of their data, (S,); NaN if unknown."""
        target, first = self._search_target.indicators[self._search_target.target], self._runners[0]
        if not INDICATORS[target.kind].has_halves:
            return prepared.performances[0].halves_apart(target)[: len(prepared.records)].double().cpu().numpy()
        names, chosen = first.card.region_names, list(target.regions)
        columns = [names.index(first.card.bold_region_names[region]) for region in chosen]
        scale_R = first.twin.bold_scale_R[chosen].cpu().numpy()

        def series_of(run: Run) -> np.ndarray:
            assert run.bold_VR is not None
            return (run.bold_VR[:, columns].astype(np.float64) / scale_R).mean(axis=1)

        return np.array([self._contrasts.halves_apart(record, target.task, series_of) for record in prepared.records])
