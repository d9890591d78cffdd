"""The worker of the second pass of ``dtb intervene``: it searches a change for each person, and applies the controls.

Shape letters: `S` subject, `E` connectome edge, `P` generated parameter, `M` indicator, `D` dose, `K` segment, `V` volume.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.fleet.actors.actor import Work
from dtb.fleet.derivatives import write_relmat
from dtb.fleet.ensemble_worker import EnsembleWorker, PreparedBatch, parameters_of
from dtb.fleet.posteriors import NOT_UPDATED, Posteriors
from dtb.fleet.rankings import rank_networks, rank_regions
from dtb.fleet.target import SearchTarget, Survey
from dtb.fleet.twins import SharedTwin, seed_of
from dtb.intervene.arms import Arm, Given, control_names, controls
from dtb.intervene.controls import smooth_gradient
from dtb.intervene.indicators import Performance
from dtb.intervene.search import DOSES, Found, not_dominated, search, simulate_all
from dtb.intervene.spaces import ReferenceCohort, Start
from dtb.twin.edges import edges_of

CHANGE = "desc-change_relmat"
"""How the names of people's changes end, and of the sidecar of all."""
MEASURE = (
    "Change of the correlation of resting-state signals that a search on a model of this person found, relative to the person's own "
    "correlation matrix (where that was none, to the one made of it: column base_E of the table `changes`)"
)

_SHIFT_SPREADS = 2.0
"""How far the published method moves the weights themselves, in standard deviations between people."""
_LEAST_SHARE = 1e-3
"""Share of the budget below which a change counts as none."""

_FRONT = pa.schema(
    [
        ("pseudonym", pa.string()),
        *(
            (name, pa.float64())
            for name in ("second_share", "target_after", "second_after", "target_gain", "second_gain")
        ),
        ("on_front", pa.bool_()),
        ("second_support", pa.float64()),
        ("abstained", pa.bool_()),
    ]
)


class SearchWorker(EnsembleWorker):
    """The second pass: searches a change for each person, and applies the controls."""

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        search_target: SearchTarget,
        seed: int,
        survey: Survey,
        derivatives: Path | None = None,
        num_rows: int | None = None,
        posteriors: Posteriors | None = None,
    ) -> None:
        super().__init__(shared_twins, search_target, seed, num_rows, posteriors)
        self._derivatives = derivatives
        where = next(self._runners[0].twin.parameters()).device
        self._survey = dataclasses.replace(
            survey, goal=survey.goal.to(where), excerpt_goal=survey.excerpt_goal.to(where)
        )
        edges_QE = torch.from_numpy(survey.edges_QE).to(where, torch.float64)
        self._cohort = ReferenceCohort(edges_QE, self._runners[0].twin.edge_scale_E.double())
        self._among_R = None if search_target.among_R is None else torch.from_numpy(search_target.among_R).to(where)

    def work(self, keys: Sequence[str]) -> Work:
        """Return the changes found for some people."""
        prepared = self.prepare(keys)
        keys, start = prepared.batch.pseudonyms, prepared.start
        found = self._search(keys, prepared, self._directions(keys, start, controls()))
        failures = self._failures(keys, found, start) | self._not_updated(keys)
        kept = [place for place, key in enumerate(keys) if key and key not in failures]
        shifted_SM = self._shifted(prepared.performances, start)
        doubts = self._doubts(keys, found)
        tables = self._tables(keys, kept, start, found, shifted_SM, doubts)
        if self._search_target.second is not None:
            tables["fronts"] = self._front(keys, kept, prepared, self._search_target.second, doubts)
        if self._derivatives is not None:
            for place in kept:
                stem = self._derivatives / f"sub-{keys[place]}" / "func" / f"sub-{keys[place]}_{CHANGE}"
                change_E = found.change_SE[place].cpu().numpy()
                write_relmat(stem, change_E, self._runners[0].card.region_names, None, diagonal=0.0)
        return Work(tables, failures, self._notes([keys[place] for place in kept], doubts))

    def _notes(self, keys: Sequence[str], doubts: dict[str, str]) -> dict[str, str]:
        """Return the doubts about the results of people who did not fail."""
        second, support = self._search_target.second, self._survey.second_support
        if second is None or support is None or support.is_shown:
            return {key: doubts[key] for key in keys if key in doubts}
        aside = f"abstained from the front: {support.in_words(self._search_target.name_of(second))}"
        return {key: "; ".join(filter(None, (doubts.get(key), aside))) for key in keys}

    def _search(
        self,
        keys: Sequence[str],
        prepared: PreparedBatch,
        directions: dict[str, Tensor],
        second_share: float | None = None,
    ) -> Found:
        seeds = [seed_of(key, self._seed, "restarts") for key in keys]
        goal = self._survey.excerpt_goal
        if second_share is not None and self._search_target.second is not None:
            goal = goal.against(self._search_target.second, self._search_target.second_sign, second_share)
        return search(
            prepared.performances,
            prepared.start,
            goal,
            self._search_target.settings,
            directions,
            seeds,
            prepared.excerpts,
            self._cohort,
            distance=self._runners[0].twin.distance,
            among_R=self._among_R,
        )

    def _front(
        self, keys: Sequence[str], kept: Sequence[int], prepared: PreparedBatch, second: int, doubts: dict[str, str]
    ) -> pa.Table:
        """Return searches with a growing share of the second aim, and which of them no other beats in both aims."""
        search_target, spread_M, support = self._search_target, self._survey.goal.spread_M, self._survey.second_support
        signs_C, places = (
            torch.tensor([search_target.sign, search_target.second_sign]).to(spread_M),
            [search_target.target, second],
        )
        shares = np.linspace(0.0, 1.0, search_target.settings.front_points)
        found = [self._search(keys, prepared, {}, float(share)) for share in shares]
        after_SGC = torch.stack([one.after_SM[:, places] for one in found], 1)
        gain_SGC = signs_C * (after_SGC - found[0].before_SM[:, None, places]) / spread_M[places]
        rows = [
            {
                "pseudonym": keys[place],
                "second_share": share,
                "target_after": after_SGC[place, number, 0].item(),
                "second_after": after_SGC[place, number, 1].item(),
                "target_gain": gain_SGC[place, number, 0].item(),
                "second_gain": gain_SGC[place, number, 1].item(),
                "on_front": bool(on_front),
                "second_support": None if support is None else support.r,
                "abstained": keys[place] in doubts or support is None or not support.is_shown,
            }
            for place in kept
            for number, (share, on_front) in enumerate(
                zip(shares.tolist(), not_dominated(gain_SGC[place]).tolist(), strict=True)
            )
        ]
        return pa.Table.from_pylist(rows, _FRONT)

    def _directions(self, keys: Sequence[str], start: Start, arms: Sequence[Arm]) -> dict[str, Tensor]:
        """Return the directions of arms that have one; that of a regression is left out if too few people are known."""
        survey, like = self._survey, start.budget_S
        seeds = [seed_of(key, self._seed, "control") for key in keys]
        ridge_E = None
        if survey.ridge_E is not None:
            ridge_E = torch.from_numpy(survey.ridge_E).to(like) / self._runners[0].twin.edge_scale_E.double()
        given = Given(
            start,
            seeds,
            torch.from_numpy(survey.population_E).to(like),
            ridge_E,
            published=lambda: self._published(start, seeds),
        )
        found = {arm.name: arm.direction(given) for arm in arms if arm.direction is not None}
        return {name: direction_SE for name, direction_SE in found.items() if direction_SE is not None}

    def _published(self, start: Start, seeds: Sequence[int]) -> Tensor:
        """Return the published method's gradient: the mean over members, each along its own direction in
        units of its spread over people."""
        sum_SE = start.budget_S.new_zeros(len(start.budget_S), start.num_edges)
        for runner, (along_P, spread) in zip(self._runners, self._survey.parameters, strict=True):
            twin = runner.twin
            unit_P = torch.from_numpy(along_P / (spread or 1.0)).to(start.budget_S)
            sum_SE += smooth_gradient(parameters_of(twin), start, unit_P, twin.edge_scale_E, seeds)
        return sum_SE / len(self._runners)

    def _shifted(self, performances: Sequence[Performance], start: Start) -> Tensor:
        """Return the indicators (S, M) after a shift of the generated weights, each member's along its own direction."""
        found = []
        members = [
            (runner, along)
            for runner, along in zip(self._runners, self._survey.parameters, strict=True)
            for _ in range(self._num_draws)
        ]
        for (runner, (along_P, spread)), perform in zip(members, performances, strict=True):
            bias_P = runner.twin.hypernetwork.head.bias
            own_P = bias_P.clone()
            bias_P.add_(torch.from_numpy(along_P * spread * _SHIFT_SPREADS).to(bias_P))
            try:
                found.append(simulate_all([perform], start, [start.budget_S.new_zeros(1, start.num_edges)])[0, 0])
            finally:
                bias_P.copy_(own_P)
        return torch.stack(found).mean(0)

    def _not_updated(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the people of whom no posterior is known where one is wanted."""
        return {} if self._posteriors is None else {key: NOT_UPDATED for key in keys if not self._posteriors.has(key)}

    @property
    def _agreed_of(self) -> str:
        if self._posteriors is None:
            return "the ensemble's members"
        return f"{len(self._runners) * self._num_draws} draws of what the person's own data leave possible"

    def _agreeing(self, found: Found) -> Tensor:
        return (found.moved_SB > 0).double().mean(1)

    def _doubts(self, keys: Sequence[str], found: Found) -> dict[str, str]:
        """Return the people from whom the search abstains, with the reasons."""
        support = self._survey.support
        if not support.is_shown:
            return dict.fromkeys(keys, f"abstained: {support.in_words(self._search_target.name)}")
        return {
            key: f"abstained: the target moves the wanted way in {share:.0%} of {self._agreed_of}"
            for key, share in zip(keys, self._agreeing(found).tolist(), strict=True)
            if share < self._search_target.settings.min_agreement
        }

    def _failures(self, keys: Sequence[str], found: Found, start: Start) -> dict[str, str]:
        name, target = self._search_target.name, self._search_target.target
        failures = {}
        moved_S = self._search_target.sign * (found.after_SM - found.before_SM)[:, target]
        # A change that is so short was stopped by the valid matrices where it began.
        is_stuck_S = (found.norm_S < _LEAST_SHARE * start.budget_S) & start.is_singular()
        columns = (found.before_SM[:, target], found.norm_S, moved_S, is_stuck_S)
        for key, before, norm, moved, is_stuck in zip(keys, *(values_S.tolist() for values_S in columns), strict=True):
            if not np.isfinite(before):
                failures[key] = (
                    f"no {name}: no run has the trials or volumes for it, or the twin's output is not finite"
                )
            elif is_stuck and self._search_target.settings.space == "sparse":
                failures[key] = (
                    "their correlation matrix is singular (fewer volumes than regions), so that no change of a few edges leaves a "
                    "correlation matrix; ingest the cohort with `ingest.connectome: ledoit_wolf`, or search with `space: edges`"
                )
            elif norm == 0.0:
                failures[key] = f"no change within the budget moves {name} as wanted at this off-target weight"
            elif not moved > 0.0:
                failures[key] = (
                    f"what moves {name} in a few segments does not move it in the whole; raise segments_per_task"
                )
        failures.pop("", None)
        return failures

    def _tables(
        self,
        keys: Sequence[str],
        kept: Sequence[int],
        start: Start,
        found: Found,
        shifted_SM: Tensor,
        doubts: dict[str, str],
    ) -> dict[str, pa.Table]:
        search_target, num_people, num = self._search_target, len(kept), len(self._search_target.indicators)
        rows = torch.tensor(kept, dtype=torch.int64, device=start.budget_S.device)
        nobody_SM = torch.full_like(found.before_SM, torch.nan)

        def spread_out(values_SM: Tensor) -> pa.Array:
            flat = values_SM[rows].reshape(-1).cpu().numpy()
            return pa.array(flat, mask=np.isnan(flat))

        def each_person(values_S: Tensor) -> pa.Array:
            return spread_out(values_S[:, None].expand_as(found.before_SM))

        def each_indicator(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
            return pa.array(list(values) * num_people, kind)

        indicators, wanted = search_target.indicators, search_target.wanted
        after_doses = found.at_doses_SDM[rows].permute(0, 2, 1).reshape(-1, len(DOSES)).cpu().numpy()
        distance_before_S, distance_after_S = self._distances(start, found)
        results = {
            "pseudonym": pa.array([keys[place] for place in kept for _ in range(num)], pa.string()),
            "indicator": each_indicator([one.kind for one in indicators], pa.string()),
            "task": each_indicator([search_target.tasks[one.task].name for one in indicators], pa.string()),
            "domain": each_indicator([search_target.tasks[one.task].domain for one in indicators], pa.string()),
            "region": each_indicator([search_target.where(one) for one in indicators], pa.string()),
            "alternative": each_indicator([search_target.which(one) for one in indicators], pa.string()),
            "unit": each_indicator([one.unit for one in indicators], pa.string()),
            "is_target": each_indicator([place == search_target.target for place in range(num)], pa.bool_()),
            "is_wanted": each_indicator(wanted, pa.bool_()),
            "before": spread_out(found.before_SM),
            "after": spread_out(found.after_SM),
            "after_doses": pa.array(list(after_doses), pa.list_(pa.float64())),
            **{f"{name}_after": spread_out(found.controls_SM.get(name, nobody_SM)) for name in control_names()},
            "paper_weights_after": spread_out(shifted_SM),
            "spread": spread_out(self._survey.goal.spread_M.expand_as(found.before_SM)),
            "retest_sd": each_indicator(
                [self._survey.retest_sd if place == search_target.target else None for place in range(num)],
                pa.float64(),
            ),
            "budget": each_person(start.budget_S),
            "change_norm": each_person(found.norm_S),
            **{
                f"{name}_norm": each_person(found.control_norms_S.get(name, nobody_SM[:, 0]))
                for name in control_names()
            },
            "repair_norm": each_person(start.repair_norm_S),
            "distance_before": each_person(distance_before_S),
            "distance_after": each_person(distance_after_S),
            "members_agreeing": each_person(self._agreeing(found)),
            "support": pa.array([self._survey.support.r] * (num * num_people), pa.float64(), from_pandas=True),
            "abstained": pa.array([keys[place] in doubts for place in kept for _ in range(num)], pa.bool_()),
            "restarts_alike": each_person(found.restarts_alike_S),
        }
        changes = {
            "pseudonym": pa.array([keys[place] for place in kept], pa.string()),
            "change_E": pa.array(list(found.change_SE[rows].float().cpu().numpy()), pa.list_(pa.float32())),
            "base_E": pa.array(
                list(start.masked(edges_of(start.base_SRR))[rows].float().cpu().numpy()), pa.list_(pa.float32())
            ),
            "target_path": pa.array(list(found.target_SG[rows].cpu().numpy()), pa.list_(pa.float64())),
            "member_moves": pa.array(list(found.moved_SB[rows].cpu().numpy()), pa.list_(pa.float64())),
        }
        names = self._runners[0].card.region_names
        regions = {"regions": json.dumps(list(names))}
        kept_keys, kept_SE = [keys[place] for place in kept], found.change_SE[rows].cpu().numpy()
        doses = {"doses": json.dumps(DOSES)}
        return {
            "results": pa.table(results).replace_schema_metadata(doses),
            "changes": pa.table(changes).replace_schema_metadata(regions),
            "regions": rank_regions(kept_keys, kept_SE, names),
            "networks": rank_networks(kept_keys, kept_SE, names),
        }

    def _distances(self, start: Start, found: Found) -> tuple[Tensor, Tensor]:
        """Return the distance of people's connectomes from the training cohort's mean, before and after."""
        twin = self._runners[0].twin
        nothing_SE = torch.zeros_like(found.change_SE)
        before_S, after_S = (twin.distance(start.connectome(change_SE)) for change_SE in (nothing_SE, found.change_SE))
        return before_S, after_S
