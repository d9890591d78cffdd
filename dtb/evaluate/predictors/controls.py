"""Control cohorts: the same people, tasks and responses, with connectomes that are not theirs.

A twin that is trained on such a cohort and scores as high as one that is trained on the real one owes nothing to the connectome. *Codes*
put a number that means nothing in each connectome's place, so that people seen in training can be distinguished, and nothing else;
*permuted* deals the real connectomes to other people. Both are trained and evaluated by the ordinary stages.

Shape letters: `E` edge.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from dtb.config import Config, sections
from dtb.people.records import SubjectRecord
from dtb.shards.manifest import SEALED, CohortDescription, Manifest
from dtb.shards.read import Cohort, open_cohort, require_ingested
from dtb.shards.write import ShardWriter
from dtb.stages import OutputFolder

Kind = Literal["codes", "permuted"]
CODE_SPREAD = 0.3
"""Standard deviation of a code's entries, about that of Fisher z between people's edges."""


def with_code(record: SubjectRecord, num_edges: int, seed: int) -> SubjectRecord:
    """Return the same person with a random code in place of the connectome, fixed by pseudonym and seed."""
    digest = hashlib.sha256(f"{seed}/code/{record.pseudonym}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    code_E = rng.normal(0, CODE_SPREAD, num_edges).astype(np.float32)
    return dataclasses.replace(record, connectome_E=code_E, rest_runs={})


def write_control(
    config: Config, shards: Path, out: Path, kind: Kind, *, resume: bool, among: tuple[str, ...] | None = None
) -> Manifest:
    """Write a control cohort beside a real one; `dtb train` and `dtb evaluate` take it like any other.

    Parameters
    ----------
    config : Config
        `seed` and `ingest.subjects_per_shard` are read.
    shards : Path
        Output folder of `dtb ingest`.
    out : Path
        Folder to write into.
    kind : {"codes", "permuted"}
    resume : bool
        Go on in a folder that was begun with the same settings.
    among : tuple of str, optional
        With `permuted`, the people among whom connectomes are dealt, while all others keep the own; everybody if not given.

    Raises
    ------
    UserError
        The cohort cannot be read, or the output folder is in use.
    """
    require_ingested(shards)
    cohort = open_cohort(shards)
    folder = OutputFolder.claim(out, "ingest", sections(config, "seed", "ingest"), resume=resume)
    if folder.is_complete:
        return Manifest.load(out)
    described = cohort.manifest.description
    what = {"codes": "a code number in place of each connectome", "permuted": "connectomes dealt to other people"}[kind]
    description = dataclasses.replace(described, connectome={**described.connectome, "control": what})
    change = _dealt(cohort, among or cohort.pseudonyms, config.seed) if kind == "permuted" else _coded(config.seed)
    return write_cohort(folder, map(change, cohort.records()), description, config.ingest.subjects_per_shard)


def write_cohort(
    folder: OutputFolder, records: Iterable[SubjectRecord], description: CohortDescription, subjects_per_shard: int
) -> Manifest:
    """Write people into a claimed folder and finish it."""
    writer = ShardWriter(folder.path, subjects_per_shard)
    for record in records:
        writer.add(record)
    manifest = writer.finish(description)
    folder.finish({"control": True, "subjects": manifest.counts["subjects"]}, SEALED)
    return manifest


def _coded(seed: int) -> Callable[[SubjectRecord], SubjectRecord]:
    return lambda record: with_code(record, len(record.connectome_E), seed)


def _dealt(cohort: Cohort, among: Iterable[str], seed: int) -> Callable[[SubjectRecord], SubjectRecord]:
    """Return connectomes permuted along one random cycle of people, so that nobody keeps their own."""
    order = np.random.default_rng([seed, 0xDEA1]).permutation(np.array(sorted(among)))
    donor = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))

    def change(record: SubjectRecord) -> SubjectRecord:
        if record.pseudonym not in donor:
            return record
        given = cohort.record(donor[record.pseudonym])
        return dataclasses.replace(record, connectome_E=given.connectome_E, rest_runs=given.rest_runs)

    return change
