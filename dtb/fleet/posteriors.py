"""Latents that ``dtb update`` wrote, for simulations and searches that are to know people by their own data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtb.errors import InputDataError
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.twins import SharedTwin, inputs_of, seed_of
from dtb.stages import read_stage, require_complete
from dtb.twin.posterior import Latents

NOT_UPDATED = "not in the table of updated latents: `dtb update` failed for this person, or was done without them"


@dataclasses.dataclass(frozen=True, eq=False)
class Posteriors:
    """Everybody's latents after their last session.

    Attributes
    ----------
    latents : mapping of (str, int) to (ndarray, ndarray)
        Mean (Z,) and covariance (Z, Z), by pseudonym and member of the ensemble.
    """

    latents: Mapping[tuple[str, int], tuple[np.ndarray, np.ndarray]]

    def has(self, key: str) -> bool:
        """Whether a person was updated."""
        return (key, 0) in self.latents

    def of(self, keys: Sequence[str], member: int, like: Tensor) -> Latents:
        """Return the latents of some people by one member; those of nobody (padding) are 0.

        Parameters
        ----------
        keys : sequence of str
        member : int
        like : Tensor
            On the device where the latents are wanted.
        """
        size = len(next(iter(self.latents.values()))[0])
        nothing = np.zeros(size), np.zeros((size, size))
        means, covariances = zip(*(self.latents.get((key, member), nothing) for key in keys), strict=True)
        mean_SZ, covariance_SZZ = (torch.from_numpy(np.stack(values)) for values in (means, covariances))
        return Latents(mean_SZ.to(like.device), covariance_SZZ.to(like.device))


def latent_seeds(pseudonyms: Sequence[str], seed: int) -> Tensor:
    """Return the seeds (S,) of people's draws, which depend on seed and pseudonym alone."""
    return torch.tensor([seed_of(key, seed, "latents") for key in pseudonyms], dtype=torch.int64)


def read_posteriors(folder: Path, shared_twins: Sequence[SharedTwin], option: str) -> tuple[Posteriors, str]:
    """Return the latents of an update by the same twins on the same cohort, and the update's hash.

    Parameters
    ----------
    folder : Path
        Output folder of `dtb update`.
    shared_twins : sequence of SharedTwin
        The twins that are to perform.
    option : str
        What names the folder, for messages.

    Raises
    ------
    InputDataError
        It is the update of other twins or of another cohort.
    DamagedOutputError
        It is not complete.
    """
    require_complete(folder, "update")
    state = read_stage(folder)
    made_with, wanted = state.get("inputs", {}), inputs_of(shared_twins)
    if made_with != wanted:
        differing = sorted(name for name in {*made_with, *wanted} if made_with.get(name) != wanted.get(name))
        raise InputDataError(
            f"{option}: {folder} was made with another {', '.join(differing)} than is given here. Run `dtb update` with these twins "
            "(`--members` as well) on these shards."
        )
    found: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
    last: dict[tuple[str, int], int] = {}
    columns = ("pseudonym", "member", "session_number", "mean", "covariance")
    for part in Ledger(folder, ("latents",)).parts("latents", columns):
        for row in part.to_pylist():
            place = row["pseudonym"], row["member"]
            if row["session_number"] >= last.get(place, -1):
                last[place] = row["session_number"]
                mean_Z = np.array(row["mean"])
                found[place] = mean_Z, np.array(row["covariance"]).reshape(len(mean_Z), len(mean_Z))
    return Posteriors(found), str(state["config_hash"])
