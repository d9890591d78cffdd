"""After training: how people differ beyond their connectomes, measured by all ranks together and kept with the twin.

Shape letters: `S` person, `P` training person, `Z` latent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch

from dtb.files import written_whole
from dtb.train.plan import Plan
from dtb.train.start.normalise import Normalisation
from dtb.twin.model import Twin
from dtb.twin.person_effects import PersonEffects
from dtb.twin.person_prior import MOST_PEOPLE, Known, measure_prior

EFFECTS_FILE = "person_effects.safetensors"
_AT_ONCE = 4
Part = TypeVar("Part")


def save_effects(path: Path, effects: PersonEffects) -> None:
    """Write what training found of each training person's own effect: mean and standard deviation, and the pseudonyms of the rows."""
    tensors = {"mean_PZ": effects.centred_PZ().detach(), "scale_PZ": effects.log_scale_PZ.detach().exp()}
    with written_whole(path) as temporary:
        safetensors.torch.save_file(
            {name: tensor.float().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"pseudonyms": json.dumps(effects.pseudonyms)},
        )


def measure_people(
    twin: Twin, effects: PersonEffects, plan: Plan, normalisation: Normalisation, rank: int, world_size: int
) -> None:
    """Set the twin's distribution of people from training people's data; every rank calls it with the same twin, and has the same result.

    Parameters
    ----------
    twin : Twin
        With its final weights.
    effects : PersonEffects
        With the final values of its table.
    plan : Plan
    normalisation : Normalisation
    rank, world_size : int
    """
    there = [who for who in plan.split.train if who not in plan.left_out]
    chosen = there[:: -(-len(there) // MOST_PEOPLE)]
    people = _Chosen(twin, effects, plan, normalisation, chosen[rank::world_size])
    measure_prior(twin, people, effects.covariance_ZZ().detach().double(), _of_all_ranks)


class _Chosen:
    """Some training people, a few at a time: their data, what their connectomes say, and their latents as training found them."""

    def __init__(
        self, twin: Twin, effects: PersonEffects, plan: Plan, normalisation: Normalisation, pseudonyms: list[str]
    ) -> None:
        self._twin, self._effects, self._plan, self._pseudonyms = twin, effects, plan, pseudonyms
        self._maker = plan.maker(normalisation.bold_mean_R)

    def __iter__(self) -> Iterator[Known]:
        for begin in range(0, len(self._pseudonyms), _AT_ONCE):
            some = self._pseudonyms[begin : begin + _AT_ONCE]
            batch = self._maker.batch([self._plan.cohort.record(who) for who in some], part="train")
            row_S = self._effects.rows_of(some)
            edges_SE = self._twin.encoder_input(batch.connectome_SE)
            read_SZ = self._twin.hypernetwork.encoder(edges_SE, None, self._effects.read_PZ[row_S]).double()
            yield batch, read_SZ, read_SZ + self._effects.centred_PZ()[row_S].double()


def _of_all_ranks(own: list[Part]) -> list[Part]:
    """Return what all ranks have, in one order on each."""
    gathered: list[list[Part]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, own)
    return [part for rank in gathered for part in rank]
