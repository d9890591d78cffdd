"""Checkpoints to resume from: DeepSpeed's files, the best weights, and a signed manifest that is written last.

A folder without a manifest, or that differs from its manifest, is incomplete, and an older checkpoint is used. These files contain
pickles and are only for resuming by whoever wrote them (`dtb.train.checkpoints.origin`); the exported twin is for others to load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dtb.errors import FinalError
from dtb.files import read_json, readable, sha256_of, write_json, written_whole
from dtb.train.checkpoints.origin import UnknownOriginError, require_own, signed, user_key
from dtb.train.checkpoints.weights_only import weights_only
from dtb.train.driver.progress import Progress

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints within that of the training."""
MANIFEST_FILE = "manifest.json"
_DAMAGED = "manifest.damaged.json"
_BEST_FILE = "best.safetensors"
_UNIVERSAL = "universal"
_KEPT_BY_NFS = ".nfs"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes
    ----------
    path : Path
    progress : Progress
        The place in training.
    world_size, zero_stage : int
        Number of workers and ZeRO stage that wrote it.
    """

    path: Path
    progress: Progress
    world_size: int
    zero_stage: int

    def best_weights(self) -> dict[str, Tensor] | None:
        """Read the weights at the smallest validation loss, if there was one."""
        path = self.path / _BEST_FILE
        with readable(path, f"Remove {self.path} to go on from the checkpoint before it."):
            # Into memory: a file that is mapped while its checkpoint is removed stays on NFS, and so does the folder.
            return safetensors.torch.load(path.read_bytes()) if path.is_file() else None


def save_checkpoint(
    engine: Any, folder: Path, progress: Progress, best_weights: dict[str, Tensor] | None, kept: int, key: bytes
) -> None:
    """Write a checkpoint and remove those that are no longer needed; every rank must call it.

    Parameters
    ----------
    engine : deepspeed.DeepSpeedEngine
    folder : Path
        Folder of all checkpoints, which every rank must see.
    progress : Progress
    best_weights : dict or None
        On rank 0.
    kept : int
        Number of newest checkpoints to keep.
    key : bytes
        Signs the manifest.

    Raises
    ------
    FinalError
        Files of some rank are missing: the folder is not shared by all workers.
    """
    from deepspeed.checkpoint.constants import (
        UNIVERSAL_CHECKPOINT_INFO,
        UNIVERSAL_CHECKPOINT_VERSION_KEY,
        UNIVERSAL_CHECKPOINT_VERSION_VALUE,
    )

    path = folder / f"epoch-{progress.epoch:05d}-step-{progress.step:06d}"
    is_first = engine.global_rank == 0
    if is_first:
        _remove(path)
    torch.distributed.barrier()
    client_state = {
        "progress": progress.to_plain(),
        UNIVERSAL_CHECKPOINT_INFO: {UNIVERSAL_CHECKPOINT_VERSION_KEY: UNIVERSAL_CHECKPOINT_VERSION_VALUE},
    }
    engine.save_checkpoint(str(folder), tag=path.name, client_state=client_state, save_latest=False)
    if is_first and best_weights is not None:
        with written_whole(path / _BEST_FILE) as temporary:
            safetensors.torch.save_file(best_weights, temporary)
    torch.distributed.barrier()
    # Each rank reads what it wrote itself, which its node has in memory.
    of_ranks: list[dict[str, dict[str, Any]]] = [{} for _ in range(engine.world_size)]
    torch.distributed.all_gather_object(of_ranks, _entries(path, engine.global_rank))
    if is_first:
        _write_manifest(path, progress, engine, key, {name: entry for own in of_ranks for name, entry in own.items()})
        _forget_old(folder, kept)
    torch.distributed.barrier()


def _entries(path: Path, rank: int) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of the files of a checkpoint that a rank wrote."""
    files = [file for file in _files_of(path) if _rank_of(file.name) == rank]
    return {str(file.relative_to(path)): {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in files}


def _files_of(path: Path) -> list[Path]:
    """Return the files of a checkpoint, without what NFS keeps there of a removed one of the same name, and drops at any time."""
    return [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(_KEPT_BY_NFS)]


def _rank_of(name: str) -> int:
    """Return the rank that wrote a file, by DeepSpeed's names.

    Examples
    --------
    >>> [_rank_of(name) for name in ("bf16_zero_pp_rank_13_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt")]
    [13, 0]
    """
    found = re.search(r"zero_pp_rank_(\d+)_", name)
    return int(found[1]) if found else 0


def _write_manifest(
    path: Path, progress: Progress, engine: Any, key: bytes, entries: dict[str, dict[str, Any]]
) -> None:
    files = _files_of(path)
    num_optimizer_files = sum("optim_states" in file.name for file in files)
    expected = engine.world_size if engine.zero_optimization() else num_optimizer_files
    if num_optimizer_files != expected:
        raise FinalError(
            f"{path} holds the optimizer state of {num_optimizer_files} of {expected} workers: the output folder is not on a file "
            "system that all nodes share. Give one that is."
        )
    said = {
        "world_size": engine.world_size,
        "zero_stage": engine.zero_optimization_stage(),
        # JSON has no infinity: a loss that was never reached is left out.
        "progress": {name: value for name, value in progress.to_plain().items() if value != float("inf")},
        "files": entries,
    }
    write_json(path / MANIFEST_FILE, signed(said, key))


def _forget_old(folder: Path, kept: int) -> None:
    """Remove incomplete checkpoints, and all complete ones but the newest; each has the best weights."""
    paths = sorted(path for path in folder.glob("epoch-*") if path.is_dir())
    complete = [path for path in paths if (path / MANIFEST_FILE).is_file()]
    for path in sorted({*paths} - {*complete[-kept:]}):
        # The manifest first: a removal that is cut short leaves nothing that looks whole.
        (path / MANIFEST_FILE).unlink(missing_ok=True)
        _remove(path)


def _remove(folder: Path) -> None:
    """Remove a folder, but for what a process still has open there: NFS keeps that as `.nfs...`, and the next checkpoint removes it."""
    shutil.rmtree(folder, ignore_errors=True)
    if _files_of(folder):
        shutil.rmtree(folder)  # once more, to say why not


def newest_complete(folder: Path, key: bytes | None = None) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that agrees with its manifest.

    Parameters
    ----------
    folder : Path
        Folder of all checkpoints.
    key : bytes, optional
        The user's key by default.

    Returns
    -------
    checkpoint : Checkpoint or None
        None if there is none.
    passed_over : list of str
        One sentence for each newer one that cannot be used.

    Raises
    ------
    UnknownOriginError
        It, or a newer one, was not written with the key.
    """
    own_key = user_key() if key is None else key
    passed_over: list[str] = []
    for path in sorted((path for path in folder.glob("epoch-*") if path.is_dir()), reverse=True):
        try:
            return _checked(path, own_key), passed_over
        except UnknownOriginError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            passed_over.append(f"{path.name} is passed over: {error}")
    return None, passed_over


def discount_newer(folder: Path, found: Checkpoint | None) -> None:
    """Rename the manifests of damaged checkpoints newer than `found`, so that they do not count among the newest to keep."""
    for path in folder.glob(f"epoch-*/{MANIFEST_FILE}"):
        if found is None or path.parent.name > found.path.name:
            path.replace(path.with_name(_DAMAGED))


def newest_manifest(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the manifest of the newest checkpoint that has one, without looking at its files; None if there is none."""
    paths = sorted(folder.glob(f"epoch-*/{MANIFEST_FILE}"))
    return (paths[-1].parent.name, read_json(paths[-1], "Training passes it over.")) if paths else None


def require_own_checkpoints(folder: Path, key: bytes) -> None:
    """Refuse a folder with a checkpoint of another origin before anything is started; what cannot be read is passed over later.

    Raises
    ------
    UnknownOriginError
        One was not written with the key.
    """
    for path in folder.glob(f"epoch-*/{MANIFEST_FILE}"):
        with contextlib.suppress(OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            said = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(said, dict):
                require_own(said, key, path.parent)


def _checked(path: Path, key: bytes) -> Checkpoint:
    if not (path / MANIFEST_FILE).is_file():
        raise ValueError("it was cut short (no manifest)")
    said = json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8"))
    require_own(said, key, path)
    for name, entry in said["files"].items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry["bytes"] or sha256_of(file) != entry["sha256"]:
            raise ValueError(f"{name} is missing or was altered")
    return Checkpoint(path, Progress(**said["progress"]), said["world_size"], said["zero_stage"])


def needs_conversion(checkpoint: Checkpoint, world_size: int) -> bool:
    """Whether the optimizer state must be divided anew over workers."""
    return checkpoint.zero_stage > 0 and checkpoint.world_size != world_size


def convert(checkpoint: Checkpoint) -> None:
    """Write a checkpoint in DeepSpeed's universal format, beside it, for another number of workers; one rank calls it.

    Raises
    ------
    FinalError
        DeepSpeed's converter failed.
    """
    target = _universal(checkpoint)
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "dtb.train.checkpoints.weights_only", "--num_extract_workers", "1"]
    command += ["--num_merge_workers", "1", "--input_folder", str(checkpoint.path), "--output_folder", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FinalError(
            f"{checkpoint.path} could not be converted for another number of workers: {done.stderr[-500:]}"
        )


def forget_converted(checkpoint: Checkpoint) -> None:
    """Remove what `convert` made, once every rank has loaded it."""
    shutil.rmtree(_universal(checkpoint), ignore_errors=True)


def load_checkpoint(engine: Any, checkpoint: Checkpoint, *, converted: bool) -> None:
    """Load weights, optimizer and schedule into the engine; every rank must call it.

    Raises
    ------
    FinalError
        DeepSpeed found nothing to load, or there is more than it writes.
    """
    path = _universal(checkpoint) if converted else checkpoint.path
    own = [
        {name: value for name, value in group.items() if name != "params"} for group in engine.optimizer.param_groups
    ]
    try:
        with weights_only():
            loaded, _ = engine.load_checkpoint(str(path.parent), tag=path.name)
    except pickle.UnpicklingError as error:
        raise FinalError(
            f"{path} holds other objects than DeepSpeed writes ({str(error).splitlines()[0]}), which are not loaded. Train anew."
        ) from None
    # From a converted checkpoint of ZeRO 3 DeepSpeed gives all groups the settings of the first, and one count of steps to share, which
    # then grows by as many in each step.
    for group, settings in zip(engine.optimizer.param_groups, own, strict=True):
        group.update(settings)
    inner = getattr(engine.optimizer, "optimizer", engine.optimizer)
    for state in inner.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()
    if loaded is None:
        raise FinalError(f"DeepSpeed could not load {path}. Remove that folder to go on from the checkpoint before it.")


def _universal(checkpoint: Checkpoint) -> Path:
    return checkpoint.path.with_name(f"{_UNIVERSAL}-{checkpoint.path.name}")
