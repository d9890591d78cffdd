"""``dtb pool``: combines the folds of one cohort, so that everybody is an unseen person once, or once per seed.

Each fold's evaluation keeps what its figures were computed from, person by person. Pooled, means are taken over all people, and
correlations after each fold's own mean and, of predictions, spread are taken out: the folds' twins and regressions were fitted to
different people, and what differs between them says nothing of a person. What people of one fold did has taught the twins of others, and
the other way round; p-values allow for that (`dtb.evaluate.scores.permutations.wider_where_shared`).

Where there are several seeds, each with all folds, a figure is the mean over them of what it is for each, in each bootstrap draw: people's
mean predictions would be those of an ensemble, which nobody trained. How far the seeds' own figures lie apart is said.

Shape letters: `S` subject, `N` seed, `X` observed or predictor, `C` column of a basis of covariates.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb import terminal
from dtb.config import Config, sections
from dtb.errors import DamagedOutputError, InputDataError
from dtb.evaluate.certificate.fit import Circumstances, together
from dtb.evaluate.certificate.provenance import what_was_tested
from dtb.evaluate.certificate.wording import SEEDS_FOR_A_CLAIM
from dtb.evaluate.concluding import FIGURES_FILE, conclude
from dtb.evaluate.living import stage as living
from dtb.evaluate.predictors.table import PICKED_IN_FOLDS
from dtb.evaluate.scores.covariates import GROUP_LEFT_IN, Covariates, basis_with_group, covariate_basis
from dtb.evaluate.scores.figure import TWIN, Figure, beside_permuted, make_figure
from dtb.evaluate.scores.folds import (
    residuals_in_folds,
    shared_of,
    standardised_in_folds,
    with_fold_means,
    without_fold_means,
)
from dtb.evaluate.scores.picked import with_best
from dtb.evaluate.scores.statistics import (
    STREAM,
    OverTrainings,
    PartialCorrelation,
    Statistic,
    draw_weights,
)
from dtb.evaluate.scores.tables import (
    ADDED,
    ALONE,
    PARTIAL,
    PERMUTED_PREFIX,
    PICKED,
    SCORE_PREFIX,
    STATISTICS,
    blocks_of_table,
)
from dtb.evaluate.stage import COVARIATES_FILE, SCORES_FILE, STRANGERS_FILE
from dtb.files import written_whole
from dtb.people.covariates import COVARIATES, family_numbers
from dtb.shards.split import SEEN_KINDS, Split
from dtb.stages import StageCall, require_complete

FOLD_NOTE = "each fold's mean taken out, and the spread of its predictions"


def pool(config: Config, evaluated: tuple[Path, ...], out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Pool the evaluations of several folds, of one seed or several.

    Parameters
    ----------
    config : Config
        `seed` and `evaluate` are read.
    evaluated : tuple of Path
        Output folders of `dtb evaluate`, of one cohort, with different people held out in those of one seed.
    out : Path
        Folder to write into.
    resume : bool
        Accept a folder that an interrupted call with the same settings left.
    dry_run : bool
        Check the inputs and say what would be done, without doing it.

    Raises
    ------
    UserError
        A folder cannot be used, they are of different cohorts or hold out different kinds of thing, a person is in two of one seed or not
        in all seeds, or the output folder is in use.
    """
    scores, splits, ceilings, facts, circumstances, strangers = _read(evaluated)
    people, split = tuple(sorted(scores["pseudonym"].unique())), _pooled_split(evaluated, splits)
    planned = f"Would pool {len(evaluated)} evaluations of {len(people)} people and write to {out}."
    call = StageCall("pool", out, sections(config, "seed", "evaluate"), resume=resume, dry_run=dry_run)
    if call.ends_early(lambda: terminal.out.print(planned)):
        return
    folder = call.claim()
    weights_BS = draw_weights(
        len(people), config.evaluate.num_bootstrap, STREAM, family_numbers(facts[who] for who in people)
    )
    covariates = _pooled_covariates(splits)
    basis_SC = covariate_basis([facts[who] for who in people], covariates.known) if covariates.known else None
    left_in_SC = basis_with_group([facts[who] for who in people], covariates.known)
    figures = pooled_figures(
        scores,
        people,
        weights_BS,
        config.evaluate.confidence,
        ceilings,
        basis_SC,
        strangers,
        left_in_SC,
        shared_of(splits, len(people)),
    )
    with written_whole(out / SCORES_FILE) as temporary:
        scores.to_parquet(temporary, index=False)
    described: dict[str, Any] = {"kind": split.kind, "held_out": split.held_out, "num_folds": len(evaluated)}
    described |= {"num_test": len(people), "covariates": dataclasses.asdict(covariates)}
    adaptive = {task for each in splits for task in each["stimuli_depend_on_responses"]}
    described["stimuli_depend_on_responses"] = sorted(adaptive)
    seeds = sorted({int(each.get("seed", 0)) for each in splits})
    described["seeds"] = seeds
    described["edge_reliability"] = splits[0].get("edge_reliability")
    described |= {"cohort_hash": splits[0]["cohort_hash"], "split_hashes": [each["split_hash"] for each in splits]}
    split = dataclasses.replace(split, test=people)
    known = [facts[who] for who in people]
    conclude(
        folder,
        config,
        figures,
        split,
        weights_BS,
        described,
        known,
        circumstances,
        living.pooled(evaluated),
        living.pooled_bold(evaluated),
    )
    if len(seeds) < SEEDS_FOR_A_CLAIM:
        terminal.err.print(
            f"{len(seeds)} {'seed is' if len(seeds) == 1 else 'seeds are'} pooled; another could come out otherwise. Train with at least "
            f"{SEEDS_FOR_A_CLAIM} (--seed) and pool all their evaluations before you claim anything."
        )


def pooled_figures(
    scores: pd.DataFrame,
    people: tuple[str, ...],
    weights_BS: np.ndarray,
    confidence: float,
    ceilings: Mapping[tuple[str, str], Mapping[str, float]],
    basis_SC: np.ndarray | None = None,
    strangers: pd.DataFrame | None = None,
    group_left_in_SC: np.ndarray | None = None,
    shared: float = 0.0,
) -> list[Figure]:
    """Return every figure, from the folds' scores.

    Parameters
    ----------
    scores : DataFrame
        Rows of `dtb.evaluate.scores.tables.scores_table`, with columns ``fold``, another in each evaluation, and ``seed``.
    people : tuple of str
        Everybody, in the order of the draws' columns.
    weights_BS : (B, S)
    confidence : float
    ceilings : mapping of (task, metric) to mapping
        The figures' ceilings, as in `Figure`.
    basis_SC : (S, C), optional
        What covariates can explain in everybody; without it there are no partial figures. Each fold has a mean of its own beside it.
    strangers : DataFrame, optional
        Rows of `dtb.evaluate.scores.tables.strangers_table`, with the same two columns.
    group_left_in_SC : (S, C), optional
        What covariates can explain without the group, for the figures that leave it in.
    shared : float
        As in `Figure`.
    """
    found = []
    losses = {} if strangers is None else dict(list(strangers.groupby(["task", "metric"])))
    seeds = sorted(scores["seed"].unique())
    predictors = [column for column in scores.columns if column.startswith(SCORE_PREFIX)]
    permuted = [column for column in scores.columns if column.startswith(PERMUTED_PREFIX)]
    for (task, metric), rows in scores.groupby(["task", "metric"], sort=False):
        first = rows.iloc[0]
        is_partial = first["statistic"] == PARTIAL
        taken_out_SC = group_left_in_SC if str(metric).endswith(GROUP_LEFT_IN) else basis_SC
        if is_partial and taken_out_SC is None:
            continue
        each = rows[["observed", *predictors, ADDED, ALONE, *permuted]].to_numpy(dtype=np.float64)
        if first["statistic"] == "r":
            fold_S = rows["fold"].to_numpy()
            said = standardised_in_folds(each[:, 1:], fold_S)
            each = np.concatenate([without_fold_means(each[:, :1], fold_S), said], axis=1)
        table = pd.DataFrame(each, index=pd.MultiIndex.from_frame(rows[["seed", "pseudonym"]]))
        everybody = pd.MultiIndex.from_product([seeds, people])
        values_NSX = table.reindex(everybody).to_numpy(copy=True).reshape(len(seeds), len(people), -1)
        alone: list[Statistic] = []
        for place, seed in enumerate(seeds):
            if is_partial and taken_out_SC is not None:
                fold_of = rows[rows["seed"] == seed].set_index("pseudonym")["fold"]
                fold_S = fold_of.reindex(list(people)).to_numpy()
                with_means_SC = with_fold_means(taken_out_SC, fold_S)
                alone.append(PartialCorrelation(with_means_SC))
                values_NSX[place, :, 1:] = residuals_in_folds(values_NSX[place, :, 1:], with_means_SC, fold_S)
            else:
                alone.append(STATISTICS[first["statistic"]])
        added, alone_at = 1 + len(predictors), 2 + len(predictors)
        notes = [first["note"], FOLD_NOTE if first["statistic"] in {"r", PARTIAL} else ""]
        notes.append(_apart(alone, values_NSX, 1 + predictors.index(f"{SCORE_PREFIX}{TWIN}")))
        added_NS = values_NSX[..., added]
        scores_X = {
            name.removeprefix(SCORE_PREFIX): values_NSX[..., place + 1] for place, name in enumerate(predictors)
        }
        figure = make_figure(
            str(task),
            str(metric),
            first["unit"],
            OverTrainings(tuple(alone)),
            values_NSX[..., 0],
            scores_X,
            weights_BS,
            confidence,
            higher_is_better=bool(first["higher_is_better"]),
            note="; ".join(filter(None, notes)),
            ceilings=ceilings.get((str(task), str(metric))),
            added_S=added_NS if np.isfinite(added_NS).any() else None,
            leverage=float(rows["leverage"].mean()),
        )
        if figure is not None and (task, metric) in losses:
            figure = dataclasses.replace(figure, loss_blocks=blocks_of_table(losses[task, metric], people))
        if figure is not None:
            figure = dataclasses.replace(figure, shared=shared)
            figure = _beside_picked(figure, rows, everybody, weights_BS, confidence)
            found.append(_beside_permuted(figure, values_NSX[..., alone_at:]))
    return found


def _beside_picked(
    figure: Figure, rows: pd.DataFrame, everybody: pd.MultiIndex, weights_BS: np.ndarray, confidence: float
) -> Figure:
    """Compare the twin with the baseline that each fold's training people picked, where all have picked one."""
    if PICKED not in rows or rows[PICKED].isna().any():
        return figure
    name_of = pd.Series(rows[PICKED].to_numpy(), index=pd.MultiIndex.from_frame(rows[["seed", "pseudonym"]]))
    name_NS = name_of.reindex(everybody).to_numpy().reshape(figure.observed_S.shape)
    names = sorted(rows[PICKED].unique())
    if not set(names) <= set(figure.scores):
        return figure
    if len(names) > 1:
        score_NS = np.select([name_NS == name for name in names], [figure.scores[name] for name in names], np.nan)
        one = np.ones((1, figure.observed_S.shape[-1]))
        value = float(figure.statistic(figure.observed_S, score_NS, one)[0])
        figure = dataclasses.replace(
            figure,
            scores={**figure.scores, PICKED_IN_FOLDS: score_NS},
            baselines={**figure.baselines, PICKED_IN_FOLDS: value},
        )
    return with_best(figure, names[0] if len(names) == 1 else PICKED_IN_FOLDS, weights_BS, confidence)


def _beside_permuted(figure: Figure, values_NSX: np.ndarray) -> Figure:
    """Put beside a figure what twins alone reach, the first on own and the others on permuted connectomes, where all folds have them."""
    known_NS = np.isfinite(figure.scores[TWIN])
    alone_NS, *theirs = (values_NSX[..., place] for place in range(values_NSX.shape[-1]))
    in_all = [score_NS for score_NS in theirs if np.isfinite(score_NS[known_NS]).all()]
    return beside_permuted(figure, alone_NS, in_all) if np.isfinite(alone_NS[known_NS]).all() else figure


def _apart(alone: Sequence[Statistic], values_NSX: np.ndarray, twin: int) -> str:
    """Return what each of several seeds reaches alone; nothing for one seed."""
    if len(alone) < 2:
        return ""
    one = np.ones((1, values_NSX.shape[1]))
    reached = [
        float(statistic(values_SX[:, 0], values_SX[:, twin], one)[0])
        for statistic, values_SX in zip(alone, values_NSX, strict=True)
    ]
    return f"{len(alone)} seeds, mean over them; alone {min(reached):.3f} to {max(reached):.3f}"


def _pooled_split(evaluated: tuple[Path, ...], splits: list[dict[str, Any]]) -> Split:
    """Return what the evaluations held out, without the people; all have to be of one kind, and of one task."""
    first = splits[0]
    for folder, split in zip(evaluated, splits, strict=True):
        is_alike = split["kind"] == first["kind"] and bool(split["held_out"]) == bool(first["held_out"])
        if not is_alike or (split["kind"] == "tasks" and split["held_out"] != first["held_out"]):
            raise InputDataError(
                f"{folder} was tested on {what_was_tested(split)}; {evaluated[0]} on {what_was_tested(first)}. What is pooled has to have "
                "held out the same kind of thing: pool each kind by itself."
            )
    return Split(first["kind"], (), (), (), held_out=", ".join(sorted({split["held_out"] for split in splits})))


def _pooled_covariates(splits: list[dict[str, Any]]) -> Covariates:
    """Return the covariates that are known in all evaluations, and those that are lacking in any."""
    known, lacking = ([split["covariates"][name] for split in splits] for name in ("known", "lacking"))
    return Covariates(
        tuple(name for name in known[0] if all(name in some for some in known)),
        tuple(name for name in COVARIATES.names if any(name in some for some in lacking)),
    )


def mean_ceilings(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the mean of each ceiling over the evaluations that have it, by task and metric, from their figures' rows.

    Examples
    --------
    >>> mean_ceilings([{"task": "t", "metric": "m", "ceilings": {"halves": value}} for value in (0.5, 0.7)])
    {('t', 'm'): {'halves': 0.6}}
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        for name, value in row.get("ceilings", {}).items():
            found.setdefault((row["task"], row["metric"]), {}).setdefault(name, []).append(value)
    return {key: {name: float(np.mean(values)) for name, values in each.items()} for key, each in found.items()}


def _read(
    evaluated: tuple[Path, ...],
) -> tuple[
    pd.DataFrame,
    list[dict[str, Any]],
    dict[tuple[str, str], dict[str, float]],
    dict[str, dict[str, Any]],
    Circumstances,
    pd.DataFrame,
]:
    if len(evaluated) < 2:
        raise InputDataError("Pooling needs the folders of at least two evaluations; give one a fold.")
    tables: list[pd.DataFrame] = []
    matrices: list[pd.DataFrame] = []
    splits: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {}
    circumstances: list[Circumstances] = []
    for fold, folder in enumerate(evaluated):
        require_complete(folder, "evaluate")
        try:
            figures = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))
            split = figures["split"]
            rows += figures["rows"]
            circumstances.append(Circumstances(**figures.get("fit", {}).get("circumstances", {})))
            table = pd.read_parquet(folder / SCORES_FILE)
            losses = pd.read_parquet(folder / STRANGERS_FILE)
            cohort_hash, kind = split["cohort_hash"], split["kind"]
            _ = (
                split["covariates"],
                split["stimuli_depend_on_responses"],
                split["held_out"],
                table["leverage"],
                table[ALONE],
            )
            people = pd.read_parquet(folder / COVARIATES_FILE).set_index("pseudonym").astype(object)
            known = people.where(people.notna(), None).to_dict(orient="index")
            facts |= {str(who): {str(name): value for name, value in each.items()} for who, each in known.items()}
        except (OSError, ValueError, KeyError) as error:
            raise DamagedOutputError(f"{folder} cannot be read ({error}). Run `dtb evaluate` anew.") from None
        if kind in SEEN_KINDS:
            raise InputDataError(
                f"{folder} is about people who were seen in training; only folds over people are pooled."
            )
        if splits and cohort_hash != splits[0]["cohort_hash"]:
            raise InputDataError(
                f"{folder} is about another cohort than {evaluated[0]}; only folds of one cohort are pooled."
            )
        tables.append(table.assign(fold=fold, seed=int(split.get("seed", 0))))
        matrices.append(losses.assign(fold=fold, seed=int(split.get("seed", 0))))
        splits.append(split)
    scores = pd.concat(tables, ignore_index=True)
    people_of: dict[int, set[str]] = {}
    for seed in sorted({int(split.get("seed", 0)) for split in splits}):
        folds_of = scores[scores["seed"] == seed].groupby("pseudonym")["fold"].nunique()
        if (folds_of > 1).any():
            raise InputDataError(
                f"{int((folds_of > 1).sum())} people are in more than one of the evaluations with seed {seed}, for example "
                f"{folds_of.idxmax()}; give each fold of a seed once, all with the same num_folds."
            )
        people_of[seed] = set(folds_of.index)
    everybody = set().union(*people_of.values())
    for seed, some in people_of.items():
        if some != everybody:
            raise InputDataError(
                f"{len(everybody - some)} people of other seeds are in no evaluation with seed {seed}, for example "
                f"{min(everybody - some)}; give all folds of every seed."
            )
    return scores, splits, mean_ceilings(rows), facts, together(circumstances), pd.concat(matrices, ignore_index=True)
