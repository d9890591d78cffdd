"""Twins retrained where training people have one another's connectomes: what training finds where there is nothing to be found.

Each permutation is a training of its own, by the settings of the twin in question, on Ray as that was. What these twins reach with
held-out people's own connectomes is the distribution of a figure under the hypothesis that connectomes say nothing of the people.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dtb.config import Config, load_config, sections
from dtb.evaluate.controls import write_control
from dtb.evaluate.evidence import Evidence
from dtb.evaluate.figure import TWIN, Figure, number_or_none
from dtb.evaluate.figures import all_figures
from dtb.evaluate.predictions import Prediction
from dtb.files import CONFIG_FILE, STAGE_FILE, read_stage
from dtb.twin.export import load_twin
from dtb.twin.model import Twin


def retrained_twins(
    config: Config, shards: Path, trained: Path, training_people: tuple[str, ...], out: Path
) -> Iterator[Twin]:
    """Train, or go on training, one twin for each permutation, and give each when it is done.

    Parameters
    ----------
    config : Config
        `seed`, `evaluate` and `cluster` are read; how to train is taken from `trained`.
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    training_people : tuple of str
        Among whom connectomes are dealt; everybody else keeps the own.
    out : Path
        Takes a folder for each permutation.

    Raises
    ------
    UserError
        The settings of the training cannot be read, or the cluster has no room for it.
    """
    # Ray and DeepSpeed are needed only here.
    from dtb.cluster import connected
    from dtb.train.trainer import train

    settings = dataclasses.replace(load_config(trained / CONFIG_FILE), cluster=config.cluster)
    with connected(config.cluster):
        for number in range(config.evaluate.num_permuted):
            control, again = out / str(number) / "shards", out / str(number) / "train"
            begun = (again / STAGE_FILE).exists()
            if not begun or not read_stage(again)["complete"]:
                dealt = dataclasses.replace(sections(settings, "ingest"), seed=config.seed + 1 + number)
                write_control(dealt, shards, control, "permuted", among=training_people, resume=control.exists())
                train(settings, control, again, resume=begun)
                # As large as the real cohort; what is left to do needs the twin alone.
                shutil.rmtree(control)
            yield load_twin(again / "twin")[0]


def with_permuted(figures: list[Figure], evidence: Evidence, permuted: list[Prediction]) -> list[Figure]:
    """Put beside each figure what the retrained twins reach.

    Parameters
    ----------
    figures : list of Figure
        Made from `evidence`.
    evidence : Evidence
    permuted : list of Prediction
        What each retrained twin says of the same people.
    """
    reached: dict[tuple[str, str], list[float]] = {}
    for prediction in permuted:
        again = dataclasses.replace(
            evidence,
            predictions={**evidence.predictions, TWIN: prediction},
            weights_BS=evidence.weights_BS[:1],
            from_rest_runs=None,
        )
        for figure in all_figures(again):
            reached.setdefault((figure.task, figure.metric), []).append(figure.twin.value)
    return [_beside(figure, np.array(reached.get((figure.task, figure.metric), []))) for figure in figures]


def _beside(figure: Figure, values_P: np.ndarray) -> Figure:
    values_P = values_P[np.isfinite(values_P)]
    if not len(values_P) or number_or_none(figure.twin.value) is None:
        return figure
    as_good = values_P >= figure.twin.value if figure.higher_is_better else values_P <= figure.twin.value
    best = values_P.max() if figure.higher_is_better else values_P.min()
    p = (1 + int(as_good.sum())) / (1 + len(values_P))
    words = (
        f"{len(values_P)} retrained on permuted connectomes: mean {values_P.mean():.3f}, best {best:.3f}, p = {p:.3f}"
    )
    note = "; ".join(filter(None, [figure.note, words]))
    return dataclasses.replace(figure, note=note, permuted=tuple(values_P.tolist()), permuted_p=p)
