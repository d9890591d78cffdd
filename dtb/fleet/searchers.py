"""The workers of ``dtb intervene``: the first pass measures people as they are, the second searches.

Shape letters: `S` subject, `E` connectome edge, `P` generated parameter, `M` indicator, `D` dose, `K` segment, `V` volume.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.cohort.records import SubjectRecord
from dtb.fleet.aim import Aim, Survey
from dtb.fleet.contrasts import Contrasts
from dtb.fleet.derivatives import write_relmat
from dtb.fleet.excerpts import excerpt
from dtb.fleet.pool import Work
from dtb.fleet.rankings import rank_networks, rank_regions
from dtb.fleet.twins import Company, Troupe, seed_of
from dtb.intervene.controls import correlation_slope, smooth_gradient
from dtb.intervene.indicators import Performance
from dtb.intervene.search import DOSES, Found, Goal, not_dominated, random_directions, search, slope
from dtb.intervene.spaces import Cohort, Start
from dtb.twin.batch import Batch
from dtb.twin.model import Twin

CONTROLS = ("random", "population", "ridge", "paper")
"""Directions gone by the norm of each person's own change: random; the mean gradient over people; the weights of a ridge regression on what
people did; the smoothed gradient of the published method."""

_MEASURE = "Change of the correlation of resting-state signals that a search on a model of this person found"

_SHIFT_SPREADS = 2.0
"""How far the published method moves the weights themselves, in standard deviations between people."""


_FRONT = pa.schema(
    [
        ("pseudonym", pa.string()),
        *(
            (name, pa.float64())
            for name in ("second_share", "target_after", "second_after", "target_gain", "second_gain")
        ),
        ("on_front", pa.bool_()),
    ]
)


@dataclasses.dataclass(frozen=True, eq=False)
class Meeting:
    """Some people within an actor.

    Attributes
    ----------
    batch : Batch
    start : Start
    performances : list of Performance
        Everything that they perform, one a member of the ensemble.
    rehearsals : list of Performance
        What they perform at every step of a search.
    """

    batch: Batch
    start: Start
    performances: list[Performance]
    rehearsals: list[Performance]

    def rehearsal_suffices(self, target: int) -> bool:
        """Whether nobody's target needs more than the rehearsals show."""
        nothing_SE = self.start.budget_S.new_zeros(len(self.start.budget_S), self.start.num_edges)
        with torch.no_grad():
            given_SE = self.start.connectome(nothing_SE)
            whole_S, part_S = (
                perform(given_SE)[:, target].isfinite() for perform in (self.performances[0], self.rehearsals[0])
            )
        return not bool((whole_S & ~part_S).any())


class _Performers:
    """What both passes do first: let people perform as a function of their connectomes."""

    def __init__(self, troupes: Sequence[Troupe], aim: Aim, seed: int) -> None:
        self._companies = [Company(troupe, seed) for troupe in troupes]
        self._aim = aim
        self._seed = seed
        self._contrasts = Contrasts(self._companies[0].taskset)

    def _meet(self, keys: Sequence[str]) -> Meeting:
        aim, first = self._aim, self._companies[0]
        performances, rehearsals = [], []
        for company in self._companies:
            records, batch = company.meet(keys)
            performances.append(self._performance(company, records, batch))
            # A linear model of a few minutes says too little of the whole run's contrast to search for one.
            if aim.settings.segments_per_task and aim.settings.indicator != "bold_contrast":
                part = excerpt(batch, aim.settings.segments_per_task)
                rehearsals.append(self._performance(company, records, part))
        retest_sd_E = None if aim.retest_sd_E is None else torch.from_numpy(aim.retest_sd_E)
        start = Start.of(batch.connectome_SE, first.card.sizes.num_regions, aim.settings.budget, retest_sd_E)
        return Meeting(batch, start, performances, rehearsals or performances)

    def _performance(self, company: Company, records: Sequence[SubjectRecord], batch: Batch) -> Performance:
        contrast_SKV = self._contrasts.weights(records, batch)
        return Performance(company.twin, batch, contrast_SKV, self._aim.tasks, self._aim.indicators)


class Surveyor(_Performers):
    """The first pass: indicators without any change; and from a sample of people what common directions are made of."""

    def __init__(self, troupes: Sequence[Troupe], aim: Aim, seed: int, sample: frozenset[str]) -> None:
        super().__init__(troupes, aim, seed)
        self._sample = sample

    def work(self, keys: Sequence[str]) -> Work:
        """Measure people."""
        met = self._meet(keys)
        performances, start, batch = met.performances, met.start, met.batch
        aim, twin = self._aim, self._companies[0].twin
        # The spread is not known yet, and the gradient's direction does not depend on it.
        ones_M = torch.ones(len(aim.indicators), dtype=torch.float64, device=start.budget_S.device)
        before_SM, slope_SE = slope(performances, start, Goal(aim.target, aim.sign, ones_M, ones_M * 0))
        target = aim.indicators[aim.target]
        observed_S = performances[0].observed(target)
        with torch.no_grad():
            parameters_SP = parameters_of(twin)(batch.connectome_SE)
            nothing_SE = torch.zeros_like(slope_SE)
            rehearsed = [rehearse(start.connectome(nothing_SE)) for rehearse in met.rehearsals]
        rehearsed_SM = torch.stack(rehearsed).mean(0)

        def sampled(values: Tensor) -> pa.Array:
            rows = values.float().cpu().numpy()
            chosen = [row if key in self._sample else None for key, row in zip(keys, rows, strict=True)]
            return pa.array(chosen, pa.list_(pa.float32()))

        columns = {
            "pseudonym": pa.array(keys, pa.string()),
            "before": pa.array(list(before_SM.cpu().numpy()), pa.list_(pa.float64())),
            "rehearsed": pa.array(list(rehearsed_SM.double().cpu().numpy()), pa.list_(pa.float64())),
            "observed": pa.array(observed_S.double().cpu().numpy()),
            "halves_apart": pa.array(performances[0].halves_apart(target).double().cpu().numpy()),
            "slope": sampled(slope_SE),
            "edges": sampled(twin.standardise(batch.connectome_SE)),
            "parameters": sampled(parameters_SP),
        }
        return Work({"people": pa.table(columns)})


class Searcher(_Performers):
    """The second pass: searches, and goes in the controls' directions."""

    def __init__(
        self, troupes: Sequence[Troupe], aim: Aim, seed: int, survey: Survey, derivatives: Path | None = None
    ) -> None:
        super().__init__(troupes, aim, seed)
        self._derivatives = derivatives
        where = next(self._companies[0].twin.parameters()).device
        self._survey = dataclasses.replace(
            survey, goal=survey.goal.to(where), rehearsal_goal=survey.rehearsal_goal.to(where)
        )

    def work(self, keys: Sequence[str]) -> Work:
        """Search changes for people."""
        met = self._meet(keys)
        start = met.start
        found = self._search(keys, met, self._controls(keys, start))
        failures = self._failures(keys, found)
        kept = [place for place, key in enumerate(keys) if key not in failures]
        shifted_SM = self._shifted(met.performances[0], start)
        doubts = self._doubts(keys, found)
        tables = self._tables(keys, kept, start, found, shifted_SM, doubts)
        if self._aim.second is not None:
            tables["fronts"] = self._front(keys, kept, met, self._aim.second)
        if self._derivatives is not None:
            for place in kept:
                stem = self._derivatives / f"sub-{keys[place]}" / "func" / f"sub-{keys[place]}_desc-change_relmat"
                change_E = found.change_SE[place].cpu().numpy()
                write_relmat(stem, change_E, self._companies[0].card.region_names, _MEASURE, diagonal=0.0)
        return Work(tables, failures, {key: doubt for key, doubt in doubts.items() if key not in failures})

    def _search(
        self, keys: Sequence[str], met: Meeting, directions: dict[str, Tensor], second_share: float | None = None
    ) -> Found:
        seeds = [seed_of(key, self._seed, "restarts") for key in keys]
        stages, goal = met.rehearsals, self._survey.rehearsal_goal
        wanted = [place for place in (self._aim.target, self._aim.second) if place is not None]
        if not all(met.rehearsal_suffices(place) for place in wanted):
            stages, goal = met.performances, self._survey.goal
        if second_share is not None and self._aim.second is not None:
            goal = goal.against(self._aim.second, self._aim.second_sign, second_share)
        like, twin = met.start.budget_S, self._companies[0].twin
        cohort = Cohort(torch.from_numpy(self._survey.edges_QE).to(like), twin.edge_scale_E.to(like))
        return search(met.performances, met.start, goal, self._aim.settings, directions, seeds, stages, cohort)

    def _front(self, keys: Sequence[str], kept: Sequence[int], met: Meeting, second: int) -> pa.Table:
        """Search again with the second aim at a growing share, and say which of the results no other betters in both."""
        aim, spread_M = self._aim, self._survey.goal.spread_M
        signs_C, places = torch.tensor([aim.sign, aim.second_sign]).to(spread_M), [aim.target, second]
        shares = np.linspace(0.0, 1.0, aim.settings.front_points)
        found = [self._search(keys, met, {}, float(share)) for share in shares]
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
            }
            for place in kept
            for number, (share, on_front) in enumerate(
                zip(shares.tolist(), not_dominated(gain_SGC[place]).tolist(), strict=True)
            )
        ]
        return pa.Table.from_pylist(rows, _FRONT)

    def _controls(self, keys: Sequence[str], start: Start) -> dict[str, Tensor]:
        given, twin = self._survey, self._companies[0].twin
        like = start.budget_S
        seeds = [seed_of(key, self._seed, "control") for key in keys]
        along_P = torch.from_numpy(given.parameters_P).to(like)
        found = {
            "random": random_directions(seeds, start.num_edges).to(like),
            "population": torch.from_numpy(given.population_E).to(like).expand(len(keys), start.num_edges),
            "paper": smooth_gradient(parameters_of(twin), start, along_P, twin.edge_scale_E, seeds),
        }
        if given.ridge_E is not None:
            weights_E = torch.from_numpy(given.ridge_E).to(like) / twin.edge_scale_E.double()
            found["ridge"] = correlation_slope(start, weights_E)
        return found

    def _shifted(self, performance: Performance, start: Start) -> Tensor:
        """Give the indicators (S, M) after moving the generated weights themselves, as the published method does."""
        shift_P = torch.from_numpy(self._survey.parameters_P * self._survey.parameters_spread * _SHIFT_SPREADS)
        twin = copy.deepcopy(self._companies[0].twin)
        nothing_SE = start.budget_S.new_zeros(len(start.budget_S), start.num_edges)
        with torch.no_grad():
            twin.hypernetwork.head.bias.add_(shift_P.to(twin.hypernetwork.head.bias))
            return performance.by(twin)(start.connectome(nothing_SE)).double()

    def _agreeing(self, found: Found) -> Tensor:
        return (found.moved_SB > 0).double().mean(1)

    def _doubts(self, keys: Sequence[str], found: Found) -> dict[str, str]:
        """Say why the search abstains from whom."""
        support = self._survey.support
        if not support.is_shown:
            return dict.fromkeys(keys, f"abstained: {support.in_words(self._aim.name)}")
        return {
            key: f"abstained: the target moves the wanted way in {share:.0%} of the ensemble's members"
            for key, share in zip(keys, self._agreeing(found).tolist(), strict=True)
            if share < self._aim.settings.min_agreement
        }

    def _failures(self, keys: Sequence[str], found: Found) -> dict[str, str]:
        name, target = self._aim.name, self._aim.target
        failures = {}
        moved_S = self._aim.sign * (found.after_SM - found.before_SM)[:, target]
        people = zip(keys, found.before_SM[:, target].tolist(), found.norm_S.tolist(), moved_S.tolist(), strict=True)
        for key, before, norm, moved in people:
            if not np.isfinite(before):
                failures[key] = (
                    f"no {name}: no run has the trials or volumes for it, or the twin's output is not finite"
                )
            elif norm == 0.0:
                failures[key] = f"no change within the budget moves {name} as wanted at this off-target weight"
            elif not moved > 0.0:
                failures[key] = (
                    f"what moves {name} in a few segments does not move it in the whole; raise segments_per_task"
                )
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
        aim, num_people, num = self._aim, len(kept), len(self._aim.indicators)
        rows = torch.tensor(kept, dtype=torch.int64, device=start.budget_S.device)
        nobody_SM = torch.full_like(found.before_SM, torch.nan)

        def spread_out(values_SM: Tensor) -> pa.Array:
            flat = values_SM[rows].reshape(-1).cpu().numpy()
            return pa.array(flat, mask=np.isnan(flat))

        def each_person(values_S: Tensor) -> pa.Array:
            return spread_out(values_S[:, None].expand_as(found.before_SM))

        def each_indicator(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
            return pa.array(list(values) * num_people, kind)

        indicators = aim.indicators
        after_doses = found.at_doses_SDM[rows].permute(0, 2, 1).reshape(-1, len(DOSES)).cpu().numpy()
        distance_before_S, distance_after_S = self._distances(start, found)
        results = {
            "pseudonym": pa.array([keys[place] for place in kept for _ in range(num)], pa.string()),
            "indicator": each_indicator([one.kind for one in indicators], pa.string()),
            "task": each_indicator([aim.tasks[one.task].name for one in indicators], pa.string()),
            "domain": each_indicator([aim.tasks[one.task].domain for one in indicators], pa.string()),
            "region": each_indicator([aim.where(one) for one in indicators], pa.string()),
            "unit": each_indicator([one.unit for one in indicators], pa.string()),
            "is_target": each_indicator([place == aim.target for place in range(num)], pa.bool_()),
            "before": spread_out(found.before_SM),
            "after": spread_out(found.after_SM),
            "after_doses": pa.array(list(after_doses), pa.list_(pa.float64())),
            **{f"{name}_after": spread_out(found.controls_SM.get(name, nobody_SM)) for name in CONTROLS},
            "paper_weights_after": spread_out(shifted_SM),
            "spread": spread_out(self._survey.goal.spread_M.expand_as(found.before_SM)),
            "retest_sd": each_indicator(
                [self._survey.retest_sd if place == aim.target else None for place in range(num)], pa.float64()
            ),
            "budget": each_person(start.budget_S),
            "change_norm": each_person(found.norm_S),
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
            "target_path": pa.array(list(found.target_SG[rows].cpu().numpy()), pa.list_(pa.float64())),
            "member_moves": pa.array(list(found.moved_SB[rows].cpu().numpy()), pa.list_(pa.float64())),
        }
        names = self._companies[0].card.region_names
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
        """Say how far people's connectomes lie from the training cohort's mean, before and after."""
        twin = self._companies[0].twin
        nothing_SE = torch.zeros_like(found.change_SE)
        before_S, after_S = (twin.distance(start.connectome(change_SE)) for change_SE in (nothing_SE, found.change_SE))
        return before_S, after_S


def parameters_of(twin: Twin) -> Callable[[Tensor], Tensor]:
    """Give the function from connectomes (S, E) to all generated parameters side by side, (S, P)."""
    network = twin.hypernetwork

    def generate(connectome_SE: Tensor) -> Tensor:
        features = network.encoder(twin.encoder_input(connectome_SE.to(twin.edge_mean_E.dtype)), None)
        generated_SP: Tensor = network.head(features)
        return generated_SP

    return generate
