"""`dtb train`: the driver. It checks everything that can be checked, then runs the workers with Ray Train and reports progress.

If a worker group breaks (a worker or a node is lost), Ray Train starts a new one, which continues from the newest complete checkpoint,
as a driver started with `--resume` does.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dtb.cluster.connection import connected
from dtb.cluster.shared_folder import SharedFolder, marked
from dtb.config import Config, TrainConfig, sections, to_yaml
from dtb.errors import ConfigurationError, FinalError, OutputInUseError, StageError, ToldToEndError, UserError
from dtb.files import read_json, readable, write_json, write_text
from dtb.machine.cores import usable_cores
from dtb.shards.read import open_cohort, require_ingested
from dtb.stages import CONFIG_FILE, StageCall
from dtb.terminal import err
from dtb.terminal import out as console
from dtb.train.at_once import TooManyAtOnceError, more_pieces, rows_of
from dtb.train.checkpoints.checkpoint import CHECKPOINTS, newest_manifest, require_own_checkpoints
from dtb.train.checkpoints.origin import user_key
from dtb.train.driver.clock import ended_if_clock_holds_it
from dtb.train.driver.driver_messages import print_messages
from dtb.train.driver.ending import ending_in_words, ending_of, longer
from dtb.train.driver.room import fewest_workers, require_machine, require_room, shortage_of
from dtb.train.driver.waiting import ended_if_no_room
from dtb.train.engine import accumulation_steps, bucket_size, deepspeed_settings, read_user_settings
from dtb.train.log import METRICS_FILE, read_metrics, read_tracker_id, tell_broken
from dtb.train.plan import Plan, estimated_bytes, make_plan
from dtb.train.quarantine import quarantine, read_quarantine, refuse_if_too_many
from dtb.train.scales import scales_of
from dtb.train.start import normalise
from dtb.train.start.summaries import FEW, Summary, summaries_of
from dtb.train.stopping import has_lost_announced_node, saving_on_termination

SPLIT_FILE = "split.json"
NORMALISATION_FILE = "normalisation.safetensors"
DEEPSPEED_FILE = "deepspeed.json"
_RAY_FOLDER = ".ray-train"

# Read by Ray Train's controller. A lost node's cores are counted for a while after it is gone; the group waits for them in vain.
_RAY_TRAIN = {
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
}


def train(
    config: Config,
    shards: Path,
    out: Path,
    *,
    resume: bool,
    dry_run: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda _: None,
    of_sweep: SharedFolder | None = None,
) -> None:
    """Train a twin on a cohort and export it.

    Parameters
    ----------
    config : Config
    shards : Path
        Output folder of `dtb ingest`.
    out : Path
        Output folder: `config.yaml`, `split.json`, `normalisation.safetensors`, `quarantine.tsv`, `metrics.jsonl`, `notes.log`,
        `checkpoints/` and `twin/`, and `deepspeed.json` if there are DeepSpeed settings. Every node must see it, and `shards`, at the
        same path.
    resume : bool
        Go on from the newest complete checkpoint in `out`.
    dry_run : bool
        Say what would be done and write nothing.
    on_epoch : callable
        Called with the row of each epoch.
    of_sweep : SharedFolder or None
        Output folder of the sweep that this training is a member of: when its driver is told to end, so is this one.

    Raises
    ------
    UserError
        The cohort, the configuration, the cluster's size or the output folder do not allow it.
    StageError
        The workers failed more often than `train.max_failures`.
    ToldToEndError
        SIGTERM came, and a checkpoint was saved.
    """
    require_ingested(shards)
    cohort = open_cohort(shards, verify=dry_run)  # else they are verified as they are read
    plan = make_plan(config, shards, out, cohort)
    config = plan.config
    user = read_user_settings(config.train.deepspeed)
    for num_workers in range(fewest_workers(config), config.train.num_workers + 1):
        deepspeed_settings(config.train, num_workers, user)
    if config.train.gpus_per_worker < 1 < config.train.num_workers and config.train.use_gpu:
        raise ConfigurationError(
            f"train.gpus_per_worker is {config.train.gpus_per_worker:g} with {config.train.num_workers} workers, but two ranks cannot "
            "share a GPU (NCCL refuses). Set train.num_workers 1, as for many small members of a sweep, or a whole GPU each."
        )
    if config.train.min_workers > config.train.num_workers:
        raise ConfigurationError(
            f"train.min_workers is {config.train.min_workers}; it may be at most train.num_workers ({config.train.num_workers})."
        )
    call = StageCall("train", out, _what_matters(config), resume=resume, dry_run=dry_run)
    if call.ends_early(lambda: _describe(plan, user)):
        return
    require_own_checkpoints(out / CHECKPOINTS, user_key())
    summaries = summaries_of(cohort, plan.asked) if len(cohort) <= FEW else None
    with ended_if_clock_holds_it(out), connected(config.cluster):
        # Before the output is taken: a command that is refused leaves nothing behind.
        require_room(config)
        if summaries is None:
            summaries = summaries_of(cohort, plan.asked, config.cluster)
        folder = call.claim()
        _keep(plan, out, user)
        err.print(_budget_in_words(plan))
        with print_messages(out, plan.budget, on_epoch):
            normalisation = _normalisation(plan, summaries, _set_aside_unfit(plan, summaries))
            _run_workers(plan, normalisation, user, of_sweep)
    folder.finish(_summary(plan))


def _what_matters(config: Config) -> Config:
    """Return the configuration without what may change when a training is resumed: machines, and the paths of files."""
    default = TrainConfig()
    free = (
        "num_workers",
        "min_workers",
        "cpus_per_worker",
        "use_gpu",
        "gpus_per_worker",
        "max_failures",
        "threads_per_worker",
        "checkpoint_every_epochs",
        "checkpoint_every_steps",
        "checkpoints_kept",
        "loader_threads",
        "deepspeed",  # what it holds is compared by `_keep`
    )
    same = dataclasses.replace(config.train, **{name: getattr(default, name) for name in free})
    return sections(dataclasses.replace(config, train=same), "seed", "segments", "twin", "split", "train")


def _keep(plan: Plan, out: Path, user: dict[str, Any]) -> None:
    """Write configuration, split and DeepSpeed settings into the output, or check that they are those it was begun with."""
    path = out / SPLIT_FILE
    if path.exists():
        begun = read_json(path, "Give another output folder.")
        with readable(path, "Give another output folder."):
            hashes = begun["cohort_hash"], begun["split_hash"]
        if hashes != (plan.card.cohort_hash, plan.card.split_hash):
            raise OutputInUseError(
                f"{out} was begun on another cohort than {plan.shards} holds now. Give those shards, or another output folder."
            )
        kept = out / DEEPSPEED_FILE
        if (read_json(kept, "Give another output folder.") if kept.exists() else {}) != user:
            raise OutputInUseError(
                f"{out} was begun with other settings of DeepSpeed's than {plan.config.train.deepspeed or 'none'} holds now: "
                f"{f'{kept} has them' if kept.exists() else 'with none'}. Give those as train.deepspeed, or another output folder."
            )
    if user:
        write_json(out / DEEPSPEED_FILE, user)
    plan.split.save(path, cohort_hash=plan.card.cohort_hash)
    write_text(out / CONFIG_FILE, to_yaml(plan.config))


def _set_aside_unfit(plan: Plan, summaries: Mapping[str, Summary]) -> set[str]:
    """Record the people who cannot be trained on."""
    people = sorted({*plan.split.train, *plan.split.validation})
    needs_connectome = not plan.config.twin.person_effects
    reasons = {who: summaries[who].why_unfit(needs_connectome=needs_connectome) for who in people}
    found = {who: reason for who, reason in reasons.items() if reason is not None}
    set_aside = quarantine(plan.out, found)
    for who, reason in found.items():
        err.print(f"{who} is set aside: {reason}.")
    refuse_if_too_many(plan.out, set_aside, len(people), plan.config.train.max_quarantined_fraction)
    return set(found)


def _normalisation(plan: Plan, summaries: Mapping[str, Summary], left_out: set[str]) -> normalise.Normalisation:
    """Return the scales; those that the training was begun with, if any, because components are determined only up to their sign."""
    path = plan.out / NORMALISATION_FILE
    if not path.is_file():
        normalise.save(path, scales_of(plan, summaries, left_out))
    return normalise.load(path)


def _run_workers(
    plan: Plan, normalisation: normalise.Normalisation, user: dict[str, Any], of_sweep: SharedFolder | None
) -> None:
    """Train to the end; after people are set aside, or a node was taken back, `train.max_failures` is counted anew."""
    for name, value in _RAY_TRAIN.items():
        os.environ.setdefault(name, value)
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError, WorkerGroupError

    from dtb.train.driver.failures import own_error
    from dtb.train.ray_trainer import run_on_ray
    from dtb.train.worker import Job

    config, storage = plan.config.train, plan.out / _RAY_FOLDER
    people, pieces = len({*plan.split.train, *plan.split.validation}), accumulation_steps(user)
    while True:
        known = read_quarantine(plan.out)
        with marked(plan.out) as folder:
            try:
                folders = [folder, *([of_sweep] if of_sweep else [])]
                with (
                    saving_on_termination(folder, plan.config.cluster.grace_seconds),
                    ended_if_no_room(plan.config, plan.out),
                ):
                    is_over = run_on_ray(folders, Job(plan, normalisation, user, pieces), storage)
                if is_over:
                    return
                saved = newest_manifest(plan.out / CHECKPOINTS)
                raise ToldToEndError(
                    f"told to end, and {saved[0] if saved else 'nothing'} is saved. Run the same command with --resume to go on from there."
                )
            except WorkerGroupError as error:
                set_aside = read_quarantine(plan.out)
                refuse_if_too_many(plan.out, set_aside, people, config.max_quarantined_fraction)
                if len(set_aside) > len(known) or has_lost_announced_node(folder):
                    continue
                for cause in map(own_error, error.worker_failures.values()):
                    if isinstance(cause, UserError | StageError):
                        raise cause from None
                raise StageError(
                    f"The training workers failed more often than train.max_failures ({config.max_failures}) allows; --resume goes on "
                    f"from the newest checkpoint. The last failure:\n{error}"
                ) from error
            except (TrainingFailedError, RayError) as error:  # the controller's node may be lost, too
                given = getattr(error, "controller_failure", None)
                if isinstance(given, TooManyAtOnceError):
                    pieces = _begin_with_fewer_at_once(plan, pieces, str(given))
                    continue
                if isinstance(given, ConfigurationError | FinalError):  # a worker's, by FailureLog
                    raise given from None
                raise StageError(
                    f"Ray Train's controller failed; --resume goes on from the newest checkpoint.\n{error}"
                ) from error
            finally:
                shutil.rmtree(storage, ignore_errors=True)


def _begin_with_fewer_at_once(plan: Plan, pieces: int, why: str) -> int:
    """Return in how many pieces a rank's share is taken from now on, and say so.

    Raises
    ------
    FinalError
        There is nobody to leave to the next piece.
    """
    workers = fewest_workers(plan.config)
    more = more_pieces(plan.batch_size, workers, pieces, why)
    tell_broken(
        plan.out,
        f"Memory ran out ({why}). Training begins again where the newest checkpoint is, with "
        f"{rows_of(plan.batch_size, workers, more)} people at once on each worker in place of "
        f"{rows_of(plan.batch_size, workers, pieces)}; batches and losses stay the same.",
    )
    return more


def _summary(plan: Plan) -> dict[str, Any]:
    rows = read_metrics(plan.out / METRICS_FILE)
    best = min((row for row in rows if row["validation_loss"] is not None), key=lambda row: row["validation_loss"])
    ending, option = ending_of(rows, plan.budget.max_steps), longer(plan.config.train, len(plan.split.train))
    return {
        "steps": ending.steps,
        "epochs": len(rows),
        "best_epoch": best["epoch"],
        "best_validation_loss": best["validation_loss"],
        # `dtb evaluate` says it of a twin that does not fit, and the report in any case.
        "ending": {
            "kind": ending.kind,
            "steps": ending.steps,
            "longer": option,
            "sentence": ending_in_words(ending, option),
        },
        # `dtb evaluate` logs in the same run.
        "tracker_id": read_tracker_id(plan.out),
    }


def _budget_in_words(plan: Plan) -> str:
    """Return the budget of a training in words."""
    budget, people = plan.budget, len(plan.split.train)
    return (
        f"{people} people in batches of {plan.batch_size} make {budget.steps_per_epoch:,} step{'s' * (budget.steps_per_epoch > 1)} an "
        f"epoch; at most {budget.max_steps:,} steps ({budget.max_epochs:,} epochs), fewer if the validation loss is no better for "
        f"{budget.patience_steps:,}."
    )


def _describe(plan: Plan, user: dict[str, Any]) -> None:
    """Print the plan of a training."""
    config = plan.config
    num_parameters = sum(parameter.numel() for parameter in plan.twin().parameters())
    bucket = bucket_size(deepspeed_settings(config.train, config.train.num_workers, user), num_parameters)
    memory = estimated_bytes(num_parameters, config, plan, bucket)
    people = {part: len(plan.split.people(part)) for part in ("train", "validation", "test")}
    console.print(f"people          {', '.join(f'{count} {part}' for part, count in people.items())}")
    console.print(f"budget          {_budget_in_words(plan)}")
    console.print(f"parameters      {num_parameters:,}")
    parts = ", ".join(f"{name} {size / 2**20:.0f}" for name, size in memory.items())
    console.print(f"memory          about {sum(memory.values()) / 2**20:.0f} MiB a worker ({parts})")
    console.print(
        f"workers         {config.train.num_workers}, each {config.train.cpus_per_worker:g} CPU"
        f"{' and 1 GPU' if config.train.use_gpu else ''}, ZeRO stage {config.train.zero_stage}, {config.train.precision}"
    )
    if config.cluster.ray_address is None:
        cpus = config.cluster.num_cpus or usable_cores()
        console.print(f"cluster         a private one on this machine, {cpus} CPU")
        require_machine(config)
    else:
        with connected(config.cluster):
            import ray

            there = ray.cluster_resources()
            console.print(f"cluster         {there.get('CPU', 0):g} CPU, {there.get('GPU', 0):g} GPU")
            if shortage := shortage_of(config):
                console.print(f"room            {shortage.what}; training would wait for it to grow")
    console.print("dry run         nothing was written")
