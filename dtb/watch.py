"""`dtb watch`: how a training is getting on, read from its files alone: on any machine that sees them, and after a crash too."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from dtb.config import read_yaml
from dtb.errors import InputDataError
from dtb.files import readable
from dtb.fleet.actors.ledger import STATUS
from dtb.pipeline import FOLDERS, progress_of_stage
from dtb.stages import CONFIG_FILE, STAGE_FILE, read_stage
from dtb.terminal import headed, out
from dtb.train.checkpoints.checkpoint import CHECKPOINTS, newest_manifest
from dtb.train.driver.duration import in_words
from dtb.train.log import ALIVE_FILE, METRICS_FILE, read_metrics
from dtb.train.quarantine import QUARANTINE_FILE, read_quarantine
from dtb.train.worker import is_slow

REFRESH_SECONDS = 2.0
SILENT_SECONDS = 30.0
"""A training whose driver has not touched its file for so long is not running."""
_CURVE_WIDTH = 60
_BLOCKS = "▁▂▃▄▅▆▇█"
_EPOCHS_TIMED = 10
_NUM_LISTED = 3


@dataclasses.dataclass(frozen=True)
class Look:
    """What the files of a training say at one moment.

    Attributes
    ----------
    folder : Path
    rows : list of dict
        Of `metrics.jsonl`, one an epoch.
    max_steps, patience_steps : int or None
        None as long as a training chooses them.
    is_complete : bool
    is_written : bool
        Whether its driver is alive.
    set_aside : dict
        Who is not trained on, and why.
    checkpoint : str or None
        The newest one with a manifest.
    """

    folder: Path
    rows: list[dict[str, Any]]
    max_steps: int | None
    patience_steps: int | None
    is_complete: bool
    is_written: bool
    set_aside: dict[str, str]
    checkpoint: str | None

    @classmethod
    def at(cls, folder: Path) -> Look:
        """Read the files of a training folder."""
        is_complete = bool(read_stage(folder)["complete"])
        # Not through `load_config`: another version of dtb may have written it, with options that this one does not know.
        with readable(folder / CONFIG_FILE, "Copy the folder again."):
            config = dict(read_yaml(folder / CONFIG_FILE, "`dtb train` wrote one there")["train"])
        checkpoint = newest_manifest(folder / CHECKPOINTS)
        return cls(
            folder=folder,
            rows=read_metrics(folder / METRICS_FILE),
            max_steps=config.get("max_steps"),
            patience_steps=config.get("patience_steps"),
            is_complete=is_complete,
            is_written=not is_complete and _age_seconds(folder / ALIVE_FILE) < SILENT_SECONDS,
            set_aside=read_quarantine(folder),
            checkpoint=checkpoint and checkpoint[0],
        )


def watch(run: Path, *, once: bool = False) -> None:
    """Show a training until it is finished or is no longer being written.

    Parameters
    ----------
    run : Path
        Folder that `dtb run` or `dtb train` writes.
    once : bool
        Print its state once. So it is without a terminal, too.

    Raises
    ------
    InputDataError
        There is no training.
    """
    folder = find_training(run)
    look = Look.at(folder)
    if once or not out.is_terminal:
        out.print(as_text(look))
        return
    with Live(as_text(look), console=out, auto_refresh=False) as live:
        try:
            while look.is_written:
                time.sleep(REFRESH_SECONDS)
                look = Look.at(folder)
                live.update(as_text(look), refresh=True)
        except KeyboardInterrupt:
            return  # watching leaves nothing unfinished


def find_training(run: Path) -> Path:
    """Return the training folder of a run, or `run` itself if it is one.

    Raises
    ------
    InputDataError
        There is none.
    """
    for folder in (run / "train", run):
        if (folder / STAGE_FILE).is_file() and read_stage(folder)["stage"] == "train":
            return folder.resolve()
    stages = ", ".join(f"{stage} {state}" for stage, state in _stages(run) if state != "to do")
    raise InputDataError(
        f"{run} has no training to watch: no {STAGE_FILE} of `dtb train` in it or in its folder `train`."
        + (f" Its stages so far: {stages}." if stages else " Give the folder that `dtb run` or `dtb train` writes.")
    )


def as_text(look: Look) -> RenderableType:
    """Lay out what is known, for a terminal of 80 columns."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(look):
        facts.add_row(name, value)
    parts: list[RenderableType] = [headed(str(look.folder), f" {_state(look)}", "bold"), ""]
    if look.rows:
        parts += [_losses(look.rows[-1]), ""]
    return Group(*parts, facts)


def _state(look: Look) -> str:
    made = int(look.rows[-1].get("step", 0)) if look.rows else 0
    if look.is_complete:
        return f"finished after {made:,} steps ({len(look.rows):,} epochs)"
    done = f"{made:,}{'' if look.max_steps is None else f' of at most {look.max_steps:,}'} steps"
    if not look.is_written:
        return f"not being written: its driver is gone, {done} done; --resume of the same command goes on"
    if not look.rows:
        return "training, no epoch is finished yet"
    last = look.rows[-_EPOCHS_TIMED:]
    before = look.rows[-len(last) - 1]["step"] if len(look.rows) > len(last) else 0
    each = sum(row["seconds"] for row in last) / max(made - before, 1)
    if look.max_steps is None:
        return f"training, {done}"
    return f"training, {done}, {in_words(each)} each, at most {in_words(each * (look.max_steps - made))} to go"


def _losses(row: dict[str, Any]) -> Table:
    """Lay out the losses of an epoch: all, by modality, and by task."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading, side in ((f"epoch {row['epoch']}", "left"), ("train", "right"), ("validation", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    table.add_row("loss", _number(row["train_loss"]), _number(row["validation_loss"]))
    for name in ("press", "bold"):
        table.add_row(name, _number(row[name]), _number(row[f"validation_{name}"]))
    for task, losses in row.get("tasks", {}).items():
        for name in ("press", "bold"):
            if name in losses:
                table.add_row(f"{task} {name}", _number(losses[name]), _number(losses.get(f"validation_{name}")))
    return table


def _facts(look: Look) -> Iterator[tuple[str, str]]:
    """Return what else there is to say, each with its name."""
    if look.rows:
        for name in ("train", "validation"):
            yield f"{name} loss", sparkline([row[f"{name}_loss"] for row in look.rows])
        best = min(look.rows, key=lambda row: _or_infinite(row["validation_loss"]))
        yield (
            "best",
            f"{_number(best['validation_loss'])} at epoch {best['epoch']}"
            + (f"; stops after {look.patience_steps:,} steps without a better one" if look.patience_steps else ""),
        )
        row = look.rows[-1]
        yield "learning rate", f"{row['lr']:.3g}, gradient norm {_number(row['grad_norm'])}"
        yield "throughput", _throughput(row)
        if is_slow(row):
            yield (
                "slow",
                f"rank {row['slowest_rank']} takes {row['slowest_rank_times']:.1f} times as long as the others",
            )
        yield "waiting for data", f"{row['data_wait_share']:.1%} of the time; memory {row['peak_memory_gib']:.2f} GiB"
    yield "checkpoint", look.checkpoint or "none yet"
    if look.set_aside:
        listed = "; ".join(f"{who}: {reason}" for who, reason in sorted(look.set_aside.items())[:_NUM_LISTED])
        yield "set aside", f"{len(look.set_aside)} people ({QUARANTINE_FILE}): {listed}"
    else:
        yield "set aside", "nobody"
    stages = list(_stages(look.folder.parent)) if look.folder.name == "train" else []
    if stages:
        yield "stages", ", ".join(f"{stage} {state}" for stage, state in stages)


def _throughput(row: dict[str, Any]) -> str:
    said = [f"{row['subjects_per_second']:.1f} people/s"]
    if "segments_per_second" in row:
        said += [f"{row['segments_per_second']:.1f} segments/s", f"{row['flops_per_second'] / 1e9:.1f} GFLOP/s"]
    if "peak_flops_share" in row:
        said[-1] += f" ({row['peak_flops_share']:.0%} of peak)"
    return ", ".join(said)


def _stages(run: Path) -> Iterator[tuple[str, str]]:
    """Return the state of every stage of a run folder; of one that fans out, how many people are done."""
    for stage, name in FOLDERS.items():
        folder = run / name
        if stage in ("synth", "update") and not folder.is_dir():
            continue  # a study's own data; a run that simulates and searches
        state = progress_of_stage(folder)
        parts = list((folder / STATUS).glob("part-*.parquet"))
        if state == "begun" and parts:
            with readable(folder / STATUS, "Run the stage again with --resume."):
                state = f"{sum(pq.read_metadata(part).num_rows for part in parts)} people done"
        yield stage, state


def sparkline(values: Sequence[float | None], width: int = _CURVE_WIDTH) -> str:
    """Draw a curve in one line of text, high values high; what is not finite is a gap.

    Examples
    --------
    >>> sparkline([3.0, 2.0, None, 1.0])
    '█▄ ▁'
    """
    size = max(math.ceil(len(values) / width), 1)
    groups = [[value for value in values[at : at + size] if value is not None] for at in range(0, len(values), size)]
    means = [sum(group) / len(group) if group else None for group in groups]
    finite = [mean for mean in means if mean is not None and math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)

    def block(mean: float | None) -> str:
        if mean is None or not math.isfinite(mean):
            return " "
        return _BLOCKS[int((mean - low) / (high - low) * (len(_BLOCKS) - 1))] if high > low else _BLOCKS[0]

    return "".join(map(block, means))


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
