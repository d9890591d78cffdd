"""The scales of connectome and BOLD, and the initial latents, of the training people only, so that no held-out person influences the
input.

Shape letters: `E` connectome edge, `R` BOLD region, `V` volume, `P` training person, `Z` latent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
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
from dtb.train.reader.components import components_of
from dtb.train.reader.edges import EdgeRows
from dtb.train.reader.readers import products
from dtb.train.reader.reading import Reading, read
from dtb.train.start.initial_latents import kinds_of_figures
from dtb.train.start.summaries import Moments, Summary
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


def tangent_reference(connectomes: Iterable[np.ndarray], num_regions: int) -> tuple[np.ndarray, str | None]:
    """Return the reference of the tangent space, from the first `MOST_PEOPLE` training people.

    Returns
    -------
    (R, R) float64
    str or None
        A warning, if eigenvalues of people's matrices had to be raised.
    """
    edges_SE = np.stack(list(islice(connectomes, MOST_PEOPLE)))
    reference_RR, num_raised = fit_reference(torch.from_numpy(edges_SE), num_regions)
    warning = None
    if num_raised:
        warning = (
            f"{num_raised} of {len(edges_SE)} training people's correlation matrices are singular, or nearly: too few volumes for "
            f"{num_regions} regions. Their smallest eigenvalues were raised; `ingest.connectome: ledoit_wolf` avoids that."
        )
    return reference_RR.numpy(), warning


def measure(
    people: Iterable[tuple[np.ndarray, Summary]],
    num_edges: int,
    num_bold_regions: int,
    num_components: int = 0,
    tangent_reference_RR: np.ndarray | None = None,
    *,
    num_latents: int = 0,
    bold_of_cohort: bool = False,
) -> Normalisation:
    """Return the scales over training people and training times, and what latents begin at.

    Parameters
    ----------
    people : iterable of ((E,) ndarray, Summary)
        The training people, each once: their connectomes, and what is known of them.
    num_edges, num_bold_regions : int
    num_components : int
        How many principal components of the connectomes to find.
    tangent_reference_RR : (R, R) or None
        From `tangent_reference`, where the encoder reads tangent edges.
    num_latents : int
        Number of latents initialised by what connectomes say of these people's figures; 0 to initialise them at random.
    bold_of_cohort : bool
        Whether BOLD is measured from its mean over all these people, as with `bold: direct`.

    Returns
    -------
    Normalisation
    """
    edges, bold = Moments(num_edges), Moments(num_bold_regions)
    tangent, read_moments = None, edges
    if tangent_reference_RR is not None:
        tangent, read_moments = Tangent(len(tangent_reference_RR)), Moments(num_edges)
        tangent.set_reference(torch.from_numpy(tangent_reference_RR))
    start = _Start(EdgeRows(num_edges))
    for connectome_E, person in people:
        edges.add(connectome_E[None])
        read_E = connectome_E
        if tangent is not None:
            read_E = tangent(torch.from_numpy(connectome_E)[None])[0].numpy()
            read_moments.add(read_E[None])
        if num_components or num_latents:
            start.add(person, read_E)
        bold.merge(person.bold)
    start.edges.standardise_by(read_moments.mean, read_moments.scale())
    product_SM = products(start.edges)
    components_EC = components_of(start.edges, product_SM, num_components) if num_components else None
    found = start.read(product_SM, num_latents) if num_latents else None
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
    people: list[Summary] = dataclasses.field(default_factory=list)

    def add(self, person: Summary, read_E: np.ndarray) -> None:
        """Add a person, with what the encoder reads of the connectome."""
        if person.has_connectome:
            self.edges.add(read_E)
        self.people.append(person)

    def read(self, product_SM: np.ndarray, num_latents: int) -> Reading | None:
        """Read latents from the connectomes of all people so far; None where nothing can be read."""
        figures = [person.figures for person in self.people if person.figures is not None]
        if not figures:
            return None
        has = np.array([person.has_connectome for person in self.people])
        families = family_numbers([person.covariates for person in self.people])
        return read(self.edges, product_SM, has, kinds_of_figures(figures), families, num_latents)

    def result(self, reading: Reading) -> dict[str, Any]:
        """Return what `Normalisation` says of latents."""
        return {
            "reader_EZ": reading.reader_EZ,
            "read_PZ": reading.read_SZ.astype(np.float32),
            "own_PZ": reading.own_SZ.astype(np.float32),
            "own_variance_PZ": reading.own_variance_SZ.astype(np.float32),
            "read_people": tuple(person.pseudonym for person in self.people),
            "readers": reading.summary,
        }
