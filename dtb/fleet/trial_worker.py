"""One batch of people in an in-silico trial: what each arm changes, and what the twins do then. Runs in an actor.

Shape letters: `S` subject, `E` connectome edge, `M` indicator, `C` change, `B` member of an ensemble of twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dtb.fleet.actors.actor import Work
from dtb.fleet.ensemble_worker import EnsembleWorker, PreparedBatch
from dtb.fleet.posteriors import Posteriors
from dtb.fleet.search_worker import SearchWorker
from dtb.fleet.target import SearchTarget, Survey
from dtb.fleet.twins import SharedTwin
from dtb.intervene.arms import ARMS
from dtb.intervene.kinds import INDICATORS
from dtb.intervene.protocol import Protocol
from dtb.intervene.search import Found, simulate_all
from dtb.intervene.spaces import Start

_FURTHEST_NORM = 4.0
"""An arm's direction is followed to so many times the norm of the personal change, to match it in off-target effect."""
_BISECTIONS = 8
_SQRT2 = 2.0**0.5
_SCHEMA = pa.schema(
    [
        ("pseudonym", pa.string()),
        ("arm", pa.string()),
        ("dose", pa.float64()),
        ("task", pa.string()),
        ("indicator", pa.string()),
        ("is_target", pa.bool_()),
        ("before", pa.float64()),
        ("after", pa.float64()),
        ("moved", pa.float64()),
        ("moved_searched", pa.float64()),
        ("member_moved", pa.list_(pa.float64())),
        ("scans_apart", pa.float64()),
        ("abstained", pa.bool_()),
    ]
)


class TrialWorker(SearchWorker):
    """Searches each person's own change on some members, and simulates the others in every arm."""

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        search_target: SearchTarget,
        seed: int,
        survey: Survey,
        protocol: Protocol,
        num_rows: int | None = None,
        posteriors: Posteriors | None = None,
    ) -> None:
        num_searched = 1 + len(protocol.search.members)
        super().__init__(
            shared_twins[:num_searched], search_target, seed, survey, num_rows=num_rows, posteriors=posteriors
        )
        self._protocol = protocol
        unsearched = shared_twins[num_searched:]
        self._judges: EnsembleWorker = self
        if unsearched:
            self._judges = EnsembleWorker(unsearched, search_target, seed, num_rows, posteriors, num_searched)

    def work(self, keys: Sequence[str]) -> Work:
        """Return the outcomes of some people in every arm."""
        prepared = self.prepare(keys)
        keys, start = prepared.batch.pseudonyms, prepared.start
        found = self._search(keys, prepared, {})
        failures = self._failures(keys, found, start) | self._not_updated(keys)
        doubts = self._doubts(keys, found)
        arms = [ARMS[name] for name in self._protocol.arms]
        changes = {arm.name: found.change_SE for arm in arms if arm.is_search}
        for name, direction_SE in self._directions(keys, start, arms).items():
            changes[name] = start.along(direction_SE, found.norm_S)
        for arm in arms:
            for direction_SE in self._directions(keys, start, [ARMS[arm.matches]] if arm.matches else []).values():
                changes[arm.name] = self._matched(prepared, found, direction_SE)
        kept = {key: key in doubts for key in keys if key and key not in failures}
        given = [(name, dose) for name in changes for dose in self._protocol.doses]
        in_order = [dose * changes[name] for name, dose in given]
        searched_CSM = simulate_all(prepared.performances, start, in_order).mean(0)
        judged = prepared if self._judges is self else self._judges.prepare(keys)
        before_BSM = simulate_all(judged.performances, start, [torch.zeros_like(found.change_SE)])[:, 0]
        after_CBSM = simulate_all(judged.performances, start, in_order).transpose(0, 1)
        after = dict(
            zip(given, zip(after_CBSM, searched_CSM, self._scans_apart(judged, in_order), strict=True), strict=True)
        )
        # What a sham changes is nothing: it performs as before, from each scan.
        unchanged = (before_BSM, found.before_SM, np.full(len(keys), np.nan))
        blocks = [
            self._outcomes(keys, kept, name, dose, (before_BSM, found.before_SM), after.get((name, dose), unchanged))
            for name in self._protocol.arms
            for dose in self._protocol.doses
        ]
        return Work({"outcomes": pa.concat_tables(blocks)}, failures, self._notes(list(kept), doubts))

    def _matched(self, prepared: PreparedBatch, found: Found, direction_SE: Tensor) -> Tensor:
        """Go in a direction until it moves other indicators as far as the personal change does, in the root mean square of their spreads.

        By bisection of the norm, up to several times that of the personal change; the step is as long as that, or as the valid matrices
        let it be, where nothing else moves as far even then.
        """
        start, goal, nothing = prepared.start, self._survey.goal, torch.zeros_like(found.change_SE)
        wanted_S = goal.off_target(found.after_SM, found.before_SM)
        low_S, high_S = torch.zeros_like(found.norm_S), _FURTHEST_NORM * found.norm_S
        for _ in range(_BISECTIONS):
            middle_S = (low_S + high_S) / 2
            change_SE = torch.where(middle_S[:, None] > 0, start.along(direction_SE, middle_S), nothing)
            (after_SM,) = simulate_all(prepared.performances, start, [change_SE]).mean(0)
            is_less_S = goal.off_target(after_SM, found.before_SM) < wanted_S
            low_S, high_S = torch.where(is_less_S, middle_S, low_S), torch.where(is_less_S, high_S, middle_S)
        return torch.where(low_S[:, None] > 0, start.along(direction_SE, low_S), nothing)

    def _scans_apart(self, judged: PreparedBatch, changes_SE: Sequence[Tensor]) -> np.ndarray:
        """Return by how much more each change moves the target, the wanted way, from a person's first scan than from the second (C, S)."""
        search_target, found = self._search_target, np.full((len(changes_SE), len(judged.start.budget_S)), np.nan)
        scans = [list(record.rest_runs.values())[:2] for record in judged.records]
        two = [place for place, some in enumerate(scans) if len(some) == 2]
        if not two:
            return found
        moved = []
        for number in (0, 1):
            edges_SE = judged.batch.connectome_SE.clone()
            for place in two:
                edges_SE[place] = torch.from_numpy(np.array(scans[place][number])).to(edges_SE)
            start = Start.of(edges_SE, self._runners[0].card.sizes.num_regions, search_target.settings.budget)
            # What leads out of the valid matrices of one scan alone is shortened.
            valid = [start.along(change_SE, _SQRT2 * change_SE.norm(dim=1)) for change_SE in changes_SE]
            before_SM, *after = simulate_all(
                judged.performances, start, [torch.zeros_like(changes_SE[0]), *valid]
            ).mean(0)
            moved.append(
                search_target.sign * torch.stack([(one - before_SM)[:, search_target.target] for one in after])
            )
        apart_CS = ((moved[0] - moved[1]) / self._survey.goal.spread_M[search_target.target]).cpu().numpy()
        found[:, two] = apart_CS[:, two]
        return found

    def _outcomes(
        self,
        keys: Sequence[str],
        kept: dict[str, bool],
        arm: str,
        dose: float,
        before: tuple[Tensor, Tensor],
        after: tuple[Tensor, Tensor, np.ndarray],
    ) -> pa.Table:
        """Return the rows of an arm at a dose; `kept` has, for each person who did not fail, whether the search abstains."""
        search_target, goal, wanted = self._search_target, self._survey.goal, self._search_target.wanted
        (before_BSM, searched_before_SM), (after_BSM, searched_after_SM, apart_S) = before, after
        before_SM, after_SM = before_BSM.mean(0), after_BSM.mean(0)
        moved_BSM = ((after_BSM - before_BSM) / goal.spread_M).cpu().numpy()
        searched = ((searched_after_SM - searched_before_SM) / goal.spread_M).cpu().numpy()
        moved_BSM[..., search_target.target] *= search_target.sign
        searched[:, search_target.target] *= search_target.sign
        moved_SM = moved_BSM.mean(axis=0)
        rows: list[dict[str, Any]] = []
        for place, key in enumerate(keys):
            if key not in kept:
                continue
            aside: dict[int, list[int]] = {}
            for column, one in enumerate(search_target.indicators):
                is_target = column == search_target.target
                if wanted[column] and not is_target:
                    continue
                if INDICATORS[one.kind].is_map and not is_target:
                    aside.setdefault(one.task, []).append(column)
                    continue
                rows.append(
                    {
                        "pseudonym": key,
                        "task": search_target.tasks[one.task].name,
                        "indicator": one.kind,
                        "is_target": is_target,
                        "before": before_SM[place, column].item(),
                        "after": after_SM[place, column].item(),
                        "moved": moved_SM[place, column],
                        "moved_searched": searched[place, column],
                        "member_moved": moved_BSM[:, place, column].tolist(),
                        "scans_apart": apart_S[place] if is_target else np.nan,
                    }
                )
            for task, columns in aside.items():
                rows.append(
                    {
                        "pseudonym": key,
                        "task": search_target.tasks[task].name,
                        "indicator": "bold_map",
                        "is_target": False,
                        "moved": _size(moved_SM[place, columns]),
                        "moved_searched": _size(searched[place, columns]),
                        "member_moved": [_size(values) for values in moved_BSM[:, place, columns]],
                        "scans_apart": np.nan,
                    }
                )
        common = {"arm": arm, "dose": dose}
        return pa.Table.from_pylist(
            [row | common | {"abstained": kept[row["pseudonym"]]} for row in rows], schema=_SCHEMA
        )


def _size(values: np.ndarray) -> float:
    """Return the root mean square of the values that are known; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")
