"""The scales of connectome and BOLD, and the initial latents, computed in one pass over the training people only, so that no held-out
person influences the input.

Shape letters: `E` connectome edge, `R` BOLD region, `V` volume, `P` training person, `Z` latent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from safetensors import safe_open

from dtb.errors import DamagedOutputError
from dtb.files import readable, written_whole
from dtb.people.covariates import family_numbers
from dtb.people.records import SubjectRecord
from dtb.shards.bold import series, within
from dtb.shards.split import Split
from dtb.tasks.taskset import TaskSet
from dtb.train.initial_latents import FiguresOfPeople
from dtb.train.reader.components import components_of
from dtb.train.reader.edges import EdgeRows
from dtb.train.reader.readers import products
from dtb.train.reader.reading import Reading, read
from dtb.twin.tangent import Tangent, fit_reference

MOST_PEOPLE = 2000
"""The tangent space is found from this many people at most: their connectomes are in memory together."""


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
    reader_EZ : (E, Z) float32 or None
        What connectomes say of latents: ``encoder's input @ reader_EZ``, fitted to training people; None if latents are initialised at
        random.
    read_PZ : (P, Z) float32 or None
        What is said of training people, each by fits to other families.
    own_PZ, own_variance_PZ : (P, Z) float32 or None
        What training people's own figures say of their latents, with mean 0 and variance 1 over people, and the variance of its error;
        NaN where that is not known.
    read_people : tuple of str or None
        Pseudonyms of the rows of the last three.
    readers : list of dict or None
        How each latent is read: see `dtb.train.reader.reading.Reading.summary`.
    tangent_reference_RR : (R, R) float64 or None
        Geometric mean of people's correlation matrices; None where the encoder reads plain edges.
    tangent_mean_E, tangent_scale_E : (E,) float32 or None
        As `edge_mean_E` and `edge_scale_E`, of the tangent edges.
    """

    edge_mean_E: np.ndarray
    edge_scale_E: np.ndarray
    bold_scale_R: np.ndarray
    components_EC: np.ndarray | None = None
    reader_EZ: np.ndarray | None = None
    read_PZ: np.ndarray | None = None
    own_PZ: np.ndarray | None = None
    own_variance_PZ: np.ndarray | None = None
    read_people: tuple[str, ...] | None = None
    readers: list[dict[str, Any]] | None = None
    tangent_reference_RR: np.ndarray | None = None
    tangent_mean_E: np.ndarray | None = None
    tangent_scale_E: np.ndarray | None = None
    bold_mean_R: np.ndarray | None = None


def save(path: Path, normalisation: Normalisation) -> None:
    """Write the scales as safetensors, whole."""
    # safetensors writes the memory as it lies: of an array in another order it would write other numbers.
    arrays = {
        name: np.ascontiguousarray(value)
        for name, value in vars(normalisation).items()
        if isinstance(value, np.ndarray)
    }
    words = {
        name: json.dumps(value)
        for name, value in vars(normalisation).items()
        if value is not None and not isinstance(value, np.ndarray)
    }
    with written_whole(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary, metadata=words)


def load(path: Path) -> Normalisation:
    """Read scales that `save` wrote.

    Raises
    ------
    DamagedOutputError
        They are damaged, or another version of dtb wrote them.
    """
    with readable(path, "Train anew, into another folder."):
        arrays: dict[str, Any] = dict(safetensors.numpy.load_file(path))
        with safe_open(path, framework="numpy") as opened:
            words = {name: json.loads(text) for name, text in (opened.metadata() or {}).items()}
    unknown = sorted({*arrays, *words} - {field.name for field in dataclasses.fields(Normalisation)})
    if unknown:
        raise DamagedOutputError(
            f"{path} has {', '.join(unknown)}, which this version of dtb does not know: another one began the training. Go on with "
            "that one, or train anew in another folder."
        )
    if wrong := [name for name, array in arrays.items() if np.isinf(array).any()]:
        raise DamagedOutputError(
            f"{path} is damaged: {', '.join(wrong)} has infinite values. Train anew, into another folder."
        )
    with readable(path, "Train anew, into another folder."):
        people = words.pop("read_people", None)
        return Normalisation(**arrays, **words, read_people=None if people is None else tuple(people))


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
    """Return the scales over training people and training times, and what latents begin at.

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
        How many principal components of the connectomes to find.
    tangent_reference_RR : (R, R) or None
        From `tangent_reference`, where the encoder reads tangent edges.
    taskset : TaskSet or None
        Their tasks; None to initialise latents at random.
    num_latents : int
        Number of latents initialised by what connectomes say of these people's behaviour and task BOLD.
    bold_of_cohort : bool
        Whether BOLD is measured from its mean over all these people, as with `bold: direct`, or from that of each run's training part.

    Returns
    -------
    Normalisation
    """
    edges, bold = _Moments(num_edges), _Moments(len(bold_regions))
    tangent, read_moments = None, edges
    if tangent_reference_RR is not None:
        tangent, read_moments = Tangent(len(tangent_reference_RR)), _Moments(num_edges)
        tangent.set_reference(torch.from_numpy(tangent_reference_RR))
    columns = np.asarray(bold_regions, dtype=np.int64)
    has_start = taskset is not None and num_latents > 0
    start = _Start(EdgeRows(num_edges), FiguresOfPeople(taskset, split, columns) if taskset and has_start else None)
    for record in records:
        edges.add(record.connectome_E[None])
        read_E = record.connectome_E
        if tangent is not None:
            read_E = tangent(torch.from_numpy(record.connectome_E)[None])[0].numpy()
            read_moments.add(read_E[None])
        if num_components or has_start:
            start.add(record, read_E)
        for run, span in zip(record.runs, split.spans("train", record.runs), strict=True):
            bold_VR = series(run, span, columns, np.zeros(len(columns)) if bold_of_cohort else None)
            if bold_VR is not None and len(columns):
                bold.add(bold_VR[within(run, span)])
    start.edges.standardise_by(read_moments.mean, read_moments.scale())
    product_SM = products(start.edges)
    components_EC = components_of(start.edges, product_SM, num_components) if num_components else None
    found = start.read(product_SM, num_latents)
    return Normalisation(
        edge_mean_E=edges.mean.astype(np.float32),
        edge_scale_E=edges.scale().astype(np.float32),
        bold_scale_R=bold.scale().astype(np.float32),
        bold_mean_R=bold.mean.astype(np.float32) if bold_of_cohort else None,
        components_EC=components_EC,
        tangent_reference_RR=tangent_reference_RR,
        tangent_mean_E=None if tangent is None else read_moments.mean.astype(np.float32),
        tangent_scale_E=None if tangent is None else read_moments.scale().astype(np.float32),
        **({} if found is None else start.result(found)),
    )


@dataclasses.dataclass(eq=False)
class _Start:
    """What latents begin at, while people come in."""

    edges: EdgeRows
    figures: FiguresOfPeople | None
    people: list[str] = dataclasses.field(default_factory=list)
    has: list[bool] = dataclasses.field(default_factory=list)
    facts: list[dict[str, float | str | None]] = dataclasses.field(default_factory=list)

    def add(self, record: SubjectRecord, read_E: np.ndarray) -> None:
        """Add a person, with what the encoder reads of the connectome."""
        self.has.append(record.has_connectome)
        if record.has_connectome:
            self.edges.add(read_E)
        self.people.append(record.pseudonym)
        if self.figures is not None:
            self.facts.append(record.covariates)
            self.figures.add(record)

    def read(self, product_SM: np.ndarray, num_latents: int) -> Reading | None:
        """Read latents from the connectomes of all people so far; None where nothing can be read."""
        if self.figures is None or not self.people:
            return None
        kinds = self.figures.kinds()
        return read(self.edges, product_SM, np.array(self.has), kinds, family_numbers(self.facts), num_latents)

    def result(self, reading: Reading) -> dict[str, Any]:
        """Return what `Normalisation` says of latents."""
        return {
            "reader_EZ": reading.reader_EZ,
            "read_PZ": reading.read_SZ.astype(np.float32),
            "own_PZ": reading.own_SZ.astype(np.float32),
            "own_variance_PZ": reading.own_variance_SZ.astype(np.float32),
            "read_people": tuple(self.people),
            "readers": reading.summary,
        }
