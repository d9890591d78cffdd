"""The living twin of the page: what a person's first trials, one after the other, say of the trials that come later.

The earlier half of a person's usable trials of a task may be given; the later half is what the twin speaks of, the same for any number
given, so that what it says can be laid beside what the person did. A person is somebody of the run, or an events file of one's own that
is read with the task's file as `dtb ingest` does, held in memory alone.

Shape letters: see `dtb.twin.batch`; `D` draw, `Z` latent, `M` indicator.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtb.errors import InputDataError, TaskError, UserError
from dtb.fleet.excerpts import keep_segments
from dtb.fleet.twins import TwinRunner, generator_of
from dtb.fleet.update import variance_left
from dtb.intervene.indicators import Performance, list_indicators, press_distribution
from dtb.intervene.kinds import Indicator
from dtb.people.records import Run
from dtb.tasks.read import read_trials
from dtb.tasks.spec import TaskSpec
from dtb.tasks.trials import Trials
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.own_data import OwnData, restricted
from dtb.twin.posterior import Latents, condition, prior_of
from dtb.view import api, replies

LONGEST_SECONDS, MOST_TRIALS, FEWEST_TRIALS = 3600.0, 1000, 4
"""Of an events file that is given: how long its run may be, and how many trials it may and must have."""
_NUM_DRAWS, _DRAWS_AT_ONCE = 32, 8
_MOST_SEGMENTS = 12
"""Of the later half, spread evenly: more would say the same and take longer."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnTrials:
    """A person's trials of one task, divided into an earlier and a later half.

    Attributes
    ----------
    batch : Batch
        Of one person.
    task : int
    num_given : int
        Usable trials of the earlier half.
    rt_J : (J,) float
        Their reaction times, in their order; NaN without a press.
    later : Batch
        Segments of the later half, with its trials alone.
    num_later : int
    """

    batch: Batch
    task: int
    num_given: int
    rt_J: Tensor
    later: Batch
    num_later: int


def divided(batch: Batch, task: int, names: tuple[str, ...]) -> OwnTrials:
    """Divide a person's usable trials of a task.

    Raises
    ------
    InputDataError
        There are fewer than `FEWEST_TRIALS`.
    """

    def first(number: int | None) -> Tensor:
        return restricted(batch, OwnData(trials=number, tasks=(names[task],)), names).trials.usable_J

    every_J = first(None)
    number = int(every_J.sum())
    if number < FEWEST_TRIALS:
        raise InputDataError(
            f"{number} usable trials of {names[task]}: a half to learn from and a half to speak of need {FEWEST_TRIALS}."
        )
    early_J = first(number // 2)
    late_J = every_J & ~early_J
    places = torch.unique(batch.trials.segment_J[late_J]).tolist()
    spread = np.unique(np.linspace(0, len(places) - 1, min(len(places), _MOST_SEGMENTS)).round().astype(int))
    late = dataclasses.replace(batch, trials=_only(batch.trials, late_J))
    order = np.lexsort([batch.trials.trial_J[early_J].numpy(), batch.trials.run_J[early_J].numpy()])
    rt_J = batch.trials.rt_seconds_J[early_J][torch.from_numpy(order)]
    kept = keep_segments(late, [[places[place] for place in spread]])
    return OwnTrials(batch, task, number // 2, rt_J, kept, len(kept.trials.task_J))


def _only(trials: TrialTensors, which_J: Tensor) -> TrialTensors:
    return TrialTensors(**{field.name: getattr(trials, field.name)[which_J] for field in dataclasses.fields(trials)})


@torch.no_grad()
def learnt(runner: TwinRunner, own: OwnTrials, number: int) -> api.LivingReply:
    """Return what the twin believes of the later half after the first `number` trials, with the person's connectome and without.

    Raises
    ------
    InputDataError
        There are fewer trials to give.
    """
    if number > own.num_given:
        raise InputDataError(f"{own.num_given} trials may be given, and {number} were asked for.")
    names = tuple(spec.name for spec in runner.taskset.specs)
    given = restricted(own.batch, OwnData(trials=number, bold_seconds=0.0, tasks=(names[own.task],)), names)
    known_SE = own.batch.connectome_SE
    beliefs = {
        key: None if connectome_SE is None else _believed(runner, own, given, connectome_SE)
        for key, connectome_SE in (
            ("connectome", None if known_SE.isnan().all() else known_SE),
            ("nothing", torch.full_like(known_SE, torch.nan)),
        )
    }
    indicators = _indicators(runner, own)
    performance = _performance(runner, own.later, indicators, None)
    did_M = torch.stack([performance.observed(one)[0] for one in indicators])
    assert beliefs["nothing"] is not None
    return api.LivingReply(
        given=number,
        most=own.num_given,
        later=own.num_later,
        rt=replies.plain(own.rt_J),
        did=replies.figures(indicators, did_M),
        with_connectome=beliefs["connectome"],
        without=beliefs["nothing"],
    )


def _believed(runner: TwinRunner, own: OwnTrials, given: Batch, connectome_SE: Tensor) -> api.Belief:
    prior = prior_of(runner.twin, connectome_SE)
    latents = condition(runner.twin, given, prior).latents if bool(given.trials.usable_J.any()) else prior
    indicators = _indicators(runner, own)
    values_DM = _performed(runner, own, latents)
    return api.Belief(
        mean=replies.figures(indicators, values_DM.mean(0)),
        sd=replies.figures(indicators, values_DM.std(0)),
        variance_left=round(variance_left(prior, latents, 0), 4),
    )


def _indicators(runner: TwinRunner, own: OwnTrials) -> list[Indicator]:
    return [one for one in list_indicators(runner.outlines, 0) if one.task == own.task]


def _performed(runner: TwinRunner, own: OwnTrials, latents: Latents) -> Tensor:
    """Return the expected figures (D, M) of the later half under draws of the person's latents: the same draws for every number given."""
    seed = torch.randint(0, 2**62, (1,), generator=generator_of("", runner.seed, "living"))
    draws_DZ = latents.draw(_NUM_DRAWS, seed)[0]
    indicators = _indicators(runner, own)
    # An own effect is what is added to the reading of a connectome, whichever that is.
    any_SE = torch.nan_to_num(own.later.connectome_SE)
    read_SZ = runner.twin.generate(any_SE).latent_SZ
    assert read_SZ is not None
    found = []
    for some_DZ in draws_DZ.split(_DRAWS_AT_ONCE):
        batch = own.later.repeat(len(some_DZ))
        performance = _performance(runner, batch, indicators, some_DZ - read_SZ)
        output, batch = performance.perform(any_SE.repeat(len(some_DZ), 1))
        found.append(performance.measure(output, press_distribution(runner.twin, output, batch, runner.outlines)))
    return torch.cat(found).double()


def _performance(
    runner: TwinRunner, batch: Batch, indicators: list[Indicator], effect_SZ: Tensor | None
) -> Performance:
    nothing_SKV = torch.zeros_like(batch.volume_seconds_SKV)
    return Performance(runner.twin, batch, nothing_SKV, runner.outlines, indicators, effect_SZ=effect_SZ)


def read_events(spec: TaskSpec, text: str) -> tuple[Run, list[str]]:
    """Read an events file that was given as text, as `dtb ingest` does.

    Parameters
    ----------
    spec : TaskSpec
    text : str
        Tab-separated values with a header, as in BIDS.

    Returns
    -------
    run : Run
        Without BOLD.
    unusable : list of str
        Rows that cannot be used, and why.

    Raises
    ------
    TaskError
        The file cannot be read with the task's file, or is longer than is taken here.
    """
    with tempfile.TemporaryDirectory(prefix="dtb-view-") as folder:
        path = Path(folder) / "events.tsv"
        path.write_text(text, encoding="utf-8")
        try:
            read = read_trials(spec, path)
        except UserError as error:
            raise TaskError(str(error).replace(f"{folder}/", "")) from None
    trials: Trials = read.trials.without(read.trials.onset_seconds_J < 0)
    usable_J, end = trials.usable_J, trials.end_seconds
    if end > LONGEST_SECONDS or int(usable_J.sum()) > MOST_TRIALS:
        raise TaskError(
            f"events.tsv, task {spec.name}: {int(usable_J.sum())} trials over {end:.0f} s; here a run may have {MOST_TRIALS} trials and "
            f"last {LONGEST_SECONDS:.0f} s. Are its times in milliseconds? Then the task's file has to say so."
        )
    unusable = [f"row {row.row}: {row.reason}" for row in read.unusable]
    return Run(spec.name, spec.name, None, None, trials, end, None, None), unusable
