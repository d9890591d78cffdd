"""`dtb run`: all stages, one after the other, each in its own folder of one run folder.

A stage whose folder is complete is passed over and one that was interrupted goes on, so a second call resumes where the first
stopped. The stages know nothing of one another: each is the same function that its own subcommand calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from dtb.cluster.connection import connected, require_variables
from dtb.config import Config
from dtb.errors import ConfigurationError, OutputInUseError, UserError
from dtb.stages import STAGE_FILE, progress_of_stage, read_stage, seconds_of_stage
from dtb.terminal import err, headed, out

# The folder of each stage within a run folder, in the order of the stages.
FOLDERS = {
    "synth": "cohort",
    "ingest": "shards",
    **{stage: stage for stage in ("train", "evaluate", "update", "simulate", "intervene", "report")},
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One stage of a run: its name, its folder, and the call that does it."""

    stage: str
    folder: Path
    call: Callable[..., None]
    """Takes `resume` and `dry_run`."""


def steps_of(config: Config, run: Path) -> list[Step]:
    """List what `dtb run` does, in order.

    Parameters
    ----------
    config : Config
        Without `input.bids` and `input.shards`, a ground-truth cohort is made first. With `ingest.without_connectome: keep`, twins are
        updated by people's own data, and nothing is done that needs everybody's connectome.
    run : Path
        The run folder.

    Raises
    ------
    ConfigurationError
        A BIDS tree is given without a derivative tree to read its series from, or beside shards; or the cohort to be made is one of images.
    """
    if config.input.shards is not None and (config.input.bids is not None or config.input.derivatives):
        raise ConfigurationError(
            "input.shards and input.bids are both given: the first are read as they are, the second would be ingested. Leave one out."
        )
    if config.input.shards is None and not config.ingest.tasks:
        raise ConfigurationError(
            "ingest.tasks names no task: `dtb run` needs tasks. Make shards of connectomes alone with `dtb ingest`; docs/your-data.md says "
            "what they are good for."
        )
    by_own_data = config.ingest.keeps_people_without_connectome
    if config.input.bids is not None and not config.input.derivatives and not by_own_data:
        raise ConfigurationError(
            "input.derivatives is empty: `dtb run` needs at least one derivative tree with the parcellated series of "
            f"{config.input.bids}. Add `--input.derivatives DIR`; of behaviour alone, `--ingest.without-connectome keep`."
        )
    cohort, shards, trained = (run / FOLDERS[stage] for stage in ("synth", "ingest", "train"))
    bids = config.input.bids or cohort / "bids"
    is_made_up = config.input.bids is None and config.input.shards is None
    derivatives = (cohort / "derivatives" / "xcp_d",) if is_made_up else config.input.derivatives
    if is_made_up and config.synth.volumes:
        raise ConfigurationError(
            "synth.volumes: `dtb run` makes a cohort of parcellated series. Make one of images with `dtb synth OUT --volumes`, and give it "
            "as --input.bids and --input.derivatives, with the atlas that `dtb synth` names."
        )
    truth = cohort / "truth" if is_made_up else None
    had = config.input.shards
    steps = [
        Step("ingest", shards, partial(_ingest, config, bids, derivatives, shards))
        if had is None
        else Step("ingest", shards, partial(_use_existing_shards, config, had, shards)),
        Step("train", trained, partial(_train, config, shards, trained)),
        Step("evaluate", run / "evaluate", partial(_evaluate, config, shards, trained, run / "evaluate", truth=truth)),
        # People who may have no connectome are known by what they did.
        *(
            [Step("update", run / "update", partial(_update, config, trained, shards, run / "update"))]
            if by_own_data
            else [
                Step("simulate", run / "simulate", partial(_simulate, config, shards, trained, run / "simulate")),
                Step("intervene", run / "intervene", partial(_intervene, config, shards, trained, run / "intervene")),
            ]
        ),
        Step("report", run / "report", partial(_report, config, run, run / "report")),
    ]
    if is_made_up:
        steps.insert(0, Step("synth", cohort, partial(_synth, config, cohort)))
    return steps


# Each stage is imported when it is its turn: together they take seconds, and a look at what would be done needs the first alone.


def _synth(*given: Any, **options: Any) -> None:
    from dtb.groundtruth.synthesise import synthesise

    synthesise(*given, **options)


def _ingest(*given: Any, **options: Any) -> None:
    from dtb.cohort.ingest import ingest

    ingest(*given, **options)


def _use_existing_shards(*given: Any, **options: Any) -> None:
    from dtb.shards.existing import use_existing_shards

    use_existing_shards(*given, **options)


def _train(*given: Any, **options: Any) -> None:
    from dtb.train.trainer import train

    train(*given, **options)


def _evaluate(*given: Any, **options: Any) -> None:
    from dtb.evaluate.stage import evaluate

    evaluate(*given, **options)


def _update(*given: Any, **options: Any) -> None:
    from dtb.fleet.update import update

    update(*given, **options)


def _simulate(*given: Any, **options: Any) -> None:
    from dtb.fleet.simulate import simulate

    simulate(*given, **options)


def _intervene(*given: Any, **options: Any) -> None:
    from dtb.fleet.intervene import intervene

    intervene(*given, **options)


def _report(*given: Any, **options: Any) -> None:
    from dtb.report.stage import report

    report(*given, **options)


def run_all(
    config: Config, run: Path, *, resume: bool, dry_run: bool, stages: Collection[str] = tuple(FOLDERS)
) -> None:
    """Do every stage that is not done yet.

    Parameters
    ----------
    config : Config
    run : Path
        Run folder; each stage writes a folder of its own name in it.
    resume : bool
        Go on in a run folder that is in use.
    dry_run : bool
        Say what would be done, check what can be checked, and write nothing.
    stages : collection of str
        Which stages to do, if not all. What others left in the run folder is then no reason to refuse it.

    Raises
    ------
    UserError
        The run folder is in use and `resume` is off, this machine cannot hold the training's workers, or a stage refuses what it is given.
    """
    from dtb.train.driver.room import require_machine

    steps = [step for step in steps_of(config, run) if step.stage in stages]
    left = [step for step in steps if progress_of_stage(step.folder) != "done"]
    if dry_run:
        _print_steps(steps, run)
    is_used = run.exists() and any(run.iterdir())
    if set(stages) != set(FOLDERS):
        is_used = any(progress_of_stage(step.folder) == "begun" for step in steps)
    if is_used and not resume:
        raise OutputInUseError(
            f"{run} is not empty. Add --resume to go on where it stopped, or give another folder; nothing was changed."
        )
    if any(step.stage == "train" for step in left):
        require_machine(config)
    require_variables(config.launch.secrets)
    if dry_run:
        _check(left)
        return
    with connected(config.cluster):
        for number, step in enumerate(steps, 1):
            state = progress_of_stage(step.folder)
            done = " (done)" if state == "done" else ""
            err.print(headed(f"{number}/{len(steps)} dtb {step.stage}", f"-> {step.folder}{done}", "bold"))
            step.call(resume=state != "to do")
    if "report" not in stages:
        return
    from dtb.report.collect import read_headline, read_verdict

    verdict = read_verdict(run)
    out.print(verdict.in_a_line, style="bold")
    if (misfit := read_headline(run)) is not None:
        out.print(misfit, style="bold red")
    out.print(f"Next, in {run}: {verdict.command}  # {verdict.step}")
    out.print(f"Report: {(run / 'report' / 'index.html').resolve()}")


def _print_steps(steps: list[Step], run: Path) -> None:
    """Print the stages, and how long each took: here, or else in the newest finished run beside this one."""
    from dtb.train.driver.duration import in_words

    timed = _timed_run(run)
    for number, step in enumerate(steps, 1):
        state = progress_of_stage(step.folder)
        here = seconds_of_stage(step.folder)
        there = None if timed is None or state == "done" else seconds_of_stage(timed / FOLDERS[step.stage])
        took = f" in {in_words(here)}" if here is not None else ""
        took += f"; took {in_words(there)} in {timed}" if there is not None else ""
        out.print(f"{number}. dtb {step.stage:<10} -> {step.folder}  ({state}{took})")
    if timed is not None:
        people, made = (read_stage(timed / FOLDERS[stage])["summary"] for stage in ("ingest", "train"))
        out.print(
            f"There, {people.get('subjects', '?')} people were read, and training made {made.get('steps', '?')} steps: its time grows with "
            "these, that of other stages with the people."
        )
    elif any(progress_of_stage(step.folder) != "done" for step in steps):
        out.print(
            f"How long it takes is not known: no finished run in {run.absolute().parent} tells it. Training estimates its own after "
            "its first steps, and `dtb watch` does at any time."
        )


def _timed_run(run: Path) -> Path | None:
    """Return the newest finished run beside or around this one that says how long its training took; None without one."""
    found = []
    place, trained = run.absolute().parent, f"{FOLDERS['train']}/{STAGE_FILE}"
    for path in (*place.glob(trained), *place.glob(f"*/{trained}")):  # a run may lie within another
        other = path.parent.parent
        with contextlib.suppress(UserError, OSError):  # what is damaged there is no matter here
            is_whole = all(
                progress_of_stage(other / FOLDERS[stage]) == "done" for stage in ("ingest", "train", "report")
            )
            if is_whole and other != run.absolute() and seconds_of_stage(path.parent) is not None:
                found.append((path.stat().st_mtime, other))
    return max(found)[1] if found else None


def _check(left: list[Step]) -> None:
    """Check the inputs of the first stage that is not done, and print which later stages have no inputs yet."""
    if left:
        first, *later = left
        err.print(f"dtb {first.stage} --dry-run", style="bold")
        first.call(resume=progress_of_stage(first.folder) != "to do", dry_run=True)
        if later:
            names = ", ".join(step.stage for step in later)
            out.print(f"What {names} would read is not there yet, and is checked when they begin.")
    out.print("Nothing was written.")
