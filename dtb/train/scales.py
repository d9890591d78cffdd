"""The scales of a training and what its latents begin at: found once, and kept beside the shards for the next of the same people.

A sweep's members, and whoever trains again, read what the first has found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping

from dtb.errors import UserError
from dtb.terminal import err
from dtb.train.plan import Plan
from dtb.train.start import normalise
from dtb.train.start.summaries import FOLDER, Summary, summaries_of
from dtb.version import __version__


def scales_of(plan: Plan, summaries: Mapping[str, Summary], left_out: Collection[str] = ()) -> normalise.Normalisation:
    """Return what `measure_scales` does; from beside the shards, if another training of the same people asked for the same.

    Parameters
    ----------
    plan : Plan
    summaries : dict of str to Summary
        What is known of everybody: to have read it has verified the shards.
    left_out : collection of str
    """
    path = plan.shards / FOLDER / f"scales-{_key(plan, left_out)}.safetensors"
    with contextlib.suppress(UserError):  # whatever is wrong with it, it can be made anew
        if path.is_file():
            return normalise.load(path)
    found = measure_scales(plan, summaries, left_out)
    with contextlib.suppress(OSError):  # where nobody may write, they are found anew each time
        path.parent.mkdir(exist_ok=True)
        normalise.save(path, found)
    return found


def measure_scales(
    plan: Plan, summaries: Mapping[str, Summary] | None = None, left_out: Collection[str] = ()
) -> normalise.Normalisation:
    """Return the scales and the initial latents of a training, from its training people without those left out.

    Validation people have no part in them, for they judge: when training stops, how wide bands are that hold people, and how much of a
    twin and how much of a regression to take. What is known of everybody is found first, if it is not given.
    """
    found = summaries_of(plan.cohort, plan.asked) if summaries is None else summaries
    people = _people(plan, left_out)
    reference_RR = None
    if plan.config.twin.connectome_space == "tangent":
        connectomes = map(plan.cohort.connectome, people)
        reference_RR, warning = normalise.tangent_reference(connectomes, plan.card.sizes.num_regions)
        if warning is not None:
            err.print(f"Warning: {warning}")
    return normalise.measure(
        ((plan.cohort.connectome(who), found[who]) for who in people),
        plan.card.sizes.num_edges,
        len(plan.bold_regions),
        plan.config.twin.connectome_components,
        reference_RR,
        num_latents=_num_latents(plan),
        bold_of_cohort=plan.asked.bold_of_cohort,
    )


def _people(plan: Plan, left_out: Collection[str]) -> list[str]:
    return [who for who in plan.split.train if who not in left_out]


def _num_latents(plan: Plan) -> int:
    return plan.config.twin.latent_size if plan.asked.taskset is not None else 0


def _key(plan: Plan, left_out: Collection[str]) -> str:
    """Return a name for all that scales depend on, and for the version that finds them."""
    twin = plan.config.twin
    plain = [
        __version__,
        plan.card.cohort_hash,
        plan.asked.key,
        _people(plan, left_out),
        twin.connectome_space,
        twin.connectome_components,
        _num_latents(plan),
    ]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:32]
