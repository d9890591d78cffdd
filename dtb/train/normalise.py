"""The scales of connectome and BOLD, and the initial latents, computed in one pass over the training people only, so that no held-out
person influences the input.

Shape letters: `E` connectome edge, `R` BOLD region, `V` volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from dtb.files import written_whole
from dtb.people.covariates import family_numbers
from dtb.people.records import SubjectRecord
from dtb.shards.bold import series, within
from dtb.shards.split import Split
from dtb.tasks.taskset import TaskSet
from dtb.train.contrast_maps import contrast_maps, map_figures
from dtb.train.initial_latents import behaviour_figures, latent_directions, strongest
from dtb.twin.components import principal_components
from dtb.twin.tangent import Tangent, fit_reference

MOST_PEOPLE = 2000
"""Principal components and the tangent space are found from this many people at most: their connectomes are in memory together."""


@dataclasses.dataclass(frozen=True, eq=False)
class Normalisation:
    """Means and scales by which the twin standardises its inputs and BOLD.

    Attributes
    ----------
    edge_mean_E, edge_scale_E : (E,) float32
        Mean and standard deviation of each edge (Fisher z) over the people in whom it is present; 0 and 1 where it is in nobody or
        does not vary.
    bold_scale_R : (R,) float32
        Standard deviation of each BOLD region over all training volumes; 1 where there is none.
    bold_mean_R : (R,) float32 or None
        Mean of each BOLD region over all training volumes, in the scanner's units; None if each run is measured from its own mean.
    components_EC : (E, C) float32 or None
        Principal components of the encoder's input; None if not requested.
    regression_CZ : (C, Z) float32 or None
        Initial regressions of the latents; None if they are initialised at random.
    tangent_reference_RR : (R, R) float64 or None
        Geometric mean of people's correlation matrices; None where the encoder reads plain edges.
    tangent_mean_E, tangent_scale_E : (E,) float32 or None
        As `edge_mean_E` and `edge_scale_E`, of the tangent edges.
    """

    edge_mean_E: np.ndarray
    edge_scale_E: np.ndarray
    bold_scale_R: np.ndarray
    components_EC: np.ndarray | None = None
    regression_CZ: np.ndarray | None = None
    tangent_reference_RR: np.ndarray | None = None
    tangent_mean_E: np.ndarray | None = None
    tangent_scale_E: np.ndarray | None = None
    bold_mean_R: np.ndarray | None = None


def save(path: Path, normalisation: Normalisation) -> None:
    """Write the scales as safetensors, whole."""
    # safetensors writes the memory as it lies: of an array in another order it would write other numbers.
    arrays = {name: np.ascontiguousarray(array) for name, array in vars(normalisation).items() if array is not None}
    with written_whole(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary)


def load(path: Path) -> Normalisation:
    """Read scales that `save` wrote."""
    return Normalisation(**safetensors.numpy.load_file(path))


class _Moments:
    """Count, mean and sum of squared deviations of each column, merged block by block (Chan, Golub & LeVeque 1983)."""

    def __init__(self, size: int) -> None:
        self.count = np.zeros(size)
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)

    def add(self, rows: np.ndarray) -> None:
        """Add rows of values; NaN are absent."""
        present = np.isfinite(rows)
        count = present.sum(axis=0)
        total = self.count + count
        values = np.where(present, rows, 0.0).astype(np.float64)
        mean = values.sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(present, values - mean, 0.0) ** 2).sum(axis=0)
        shift = np.where(count > 0, mean - self.mean, 0.0)
        self.mean += shift * count / np.maximum(total, 1)
        self.squares += squares + shift**2 * self.count * count / np.maximum(total, 1)
        self.count = total

    def scale(self) -> np.ndarray:
        """Return standard deviations; 1 where there are fewer than two values or no spread."""
        variance = self.squares / np.maximum(self.count - 1, 1)
        return np.where((self.count > 1) & (variance > 1e-12), np.sqrt(variance), 1.0)


def tangent_reference(records: Iterable[SubjectRecord], num_regions: int) -> tuple[np.ndarray, str | None]:
    """Return the reference of the tangent space, from the first `MOST_PEOPLE` training people.

    Returns
    -------
    (R, R) float64
    str or None
        A warning, if eigenvalues of people's matrices had to be raised.
    """
    edges_SE = np.stack([record.connectome_E for record in islice(records, MOST_PEOPLE)])
    reference_RR, num_raised = fit_reference(torch.from_numpy(edges_SE), num_regions)
    warning = None
    if num_raised:
        warning = (
            f"{num_raised} of {len(edges_SE)} training people's correlation matrices are singular, or nearly: too few volumes for "
            f"{num_regions} regions. Their smallest eigenvalues were raised; `ingest.connectome: ledoit_wolf` avoids that."
        )
    return reference_RR.numpy(), warning


def measure(
    records: Iterable[SubjectRecord],
    split: Split,
    num_edges: int,
    bold_regions: Sequence[int],
    num_components: int = 0,
    tangent_reference_RR: np.ndarray | None = None,
    *,
    taskset: TaskSet | None = None,
    num_latents: int = 0,
    bold_of_cohort: bool = False,
) -> Normalisation:
    """Return the scales over training people and training times.

    Parameters
    ----------
    records : iterable of SubjectRecord
        The training people, each once.
    split : Split
        Says which times of a run are training data.
    num_edges : int
    bold_regions : sequence of int
        Columns of the runs' BOLD that are targets.
    num_components : int
        How many principal components of the connectomes to find, from the first `MOST_PEOPLE` people.
    tangent_reference_RR : (R, R) or None
        From `tangent_reference`, where the encoder reads tangent edges.
    taskset : TaskSet or None
        Their tasks; None to initialise latents at random.
    num_latents : int
        Number of latents initialised by regressions of these people's behaviour and task BOLD on the components.
    bold_of_cohort : bool
        Whether BOLD is measured from its mean over all these people, as with `bold: direct`, or from that of each run's training part.

    Returns
    -------
    Normalisation
    """
    edges, bold = _Moments(num_edges), _Moments(len(bold_regions))
    tangent, read = None, edges
    if tangent_reference_RR is not None:
        tangent, read = Tangent(len(tangent_reference_RR)), _Moments(num_edges)
        tangent.set_reference(torch.from_numpy(tangent_reference_RR))
    columns = np.asarray(bold_regions, dtype=np.int64)
    kept: list[np.ndarray] = []
    figures: list[np.ndarray] = []
    maps: list[list[np.ndarray]] = []
    facts: list[dict[str, float | str | None]] = []
    for record in records:
        edges.add(record.connectome_E[None])
        read_E = record.connectome_E
        if tangent is not None:
            read_E = tangent(torch.from_numpy(record.connectome_E)[None])[0].numpy()
            read.add(read_E[None])
        if num_components and len(kept) < MOST_PEOPLE:
            kept.append(read_E)
            if taskset is not None:
                facts.append(record.covariates)
                figures.append(behaviour_figures(record, taskset, split))
                maps.append(contrast_maps(record, taskset, split, columns))
        for run, span in zip(record.runs, split.spans("train", record.runs), strict=True):
            bold_VR = series(run, span, columns, np.zeros(len(columns)) if bold_of_cohort else None)
            if bold_VR is not None and len(columns):
                bold.add(bold_VR[within(run, span)])
    components_EC = regression_CZ = None
    if num_components:
        standard_SE = (np.array(kept, np.float32).reshape(-1, num_edges) - read.mean) / read.scale()
        standard_SE = np.nan_to_num(standard_SE)
        components_EC = principal_components(torch.from_numpy(standard_SE), num_components).numpy().astype(np.float32)
        if figures and num_latents:
            scores_SC = standard_SE @ components_EC
            brain = [map_figures(np.array(maps_SR)) for maps_SR in zip(*maps, strict=True)]
            found = [
                latent_directions(scores_SC, figures_SY, num_latents, family_numbers(facts))
                for figures_SY in (np.array(figures), np.concatenate(brain, axis=1) if brain else None)
                if figures_SY is not None
            ]
            found_CZ = strongest(scores_SC, found, num_latents)
            regression_CZ = None if found_CZ is None else found_CZ.astype(np.float32)
    return Normalisation(
        edge_mean_E=edges.mean.astype(np.float32),
        edge_scale_E=edges.scale().astype(np.float32),
        bold_scale_R=bold.scale().astype(np.float32),
        bold_mean_R=bold.mean.astype(np.float32) if bold_of_cohort else None,
        components_EC=components_EC,
        regression_CZ=regression_CZ,
        tangent_reference_RR=tangent_reference_RR,
        tangent_mean_E=None if tangent is None else read.mean.astype(np.float32),
        tangent_scale_E=None if tangent is None else read.scale().astype(np.float32),
    )
