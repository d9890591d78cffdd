"""What a run folder holds, as digests that two runs of the same settings must share.

What a run says of its own speed, and its id in W&B, differ from run to run and are taken out; every number, table and tensor counts to the
last bit. From the command
line: ``python -m tests.reproducibility RUN`` prints a line a file, so that runs of two states of the code can be compared with ``diff``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors import safe_open

# What a run says of its own speed, by the exact name, in files of JSON and in the tables of who is done.
TIMES = frozenset(
    ("seconds", "subjects_per_second", "segments_per_second", "flops_per_second", "peak_flops_share", "data_wait_share",
     "slowest_rank", "slowest_rank_times", "peak_memory_gib")
)  # fmt: skip
TIMED_FOLDER = "status"
# Files that tell of the run and not of its results, and pages, which show all of these.
SKIPPED_NAMES = ("stage.json", "config.yaml", ".tracker_id", ".begun")
SKIPPED_SUFFIXES = (".html", ".svg", ".png", ".md", ".wandb", ".log")
# The scales of every training of these shards, kept for the next; those of this run are in its `train/normalisation.safetensors`.
SKIPPED_BEGINNING = "scales-"
SKIPPED_FOLDERS = ("checkpoints", "wandb", "ray", "report")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in TIMES}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _of_parquet(path: Path) -> str:
    table = pq.read_table(path)
    timed = TIMES if path.parent.name == TIMED_FOLDER else frozenset[str]()
    names = sorted(set(table.column_names) - timed)
    return _digest(repr([(name, table.column(name).to_pylist()) for name in names]).encode())


def _of_safetensors(path: Path) -> str:
    with safe_open(path, framework="np") as file:
        names = sorted(file.keys())
        return _digest(b"".join(name.encode() + file.get_tensor(name).tobytes() for name in names))


def _of_file(path: Path) -> str:
    if path.suffix == ".parquet":
        return _of_parquet(path)
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    if path.suffix == ".json":
        return _digest(json.dumps(_plain(json.loads(path.read_text())), sort_keys=True).encode())
    if path.suffix == ".jsonl":
        rows = [_plain(json.loads(line)) for line in path.read_text().splitlines()]
        return _digest(json.dumps(rows, sort_keys=True).encode())
    return _digest(path.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        skipped = path.name in SKIPPED_NAMES or path.suffix in SKIPPED_SUFFIXES
        skipped = skipped or path.name.startswith(SKIPPED_BEGINNING)
        if path.is_file() and not skipped and not set(path.relative_to(folder).parts[:-1]) & set(SKIPPED_FOLDERS):
            yield path


def digests(folder: Path) -> dict[str, str]:
    """Return a digest for each file of results in a run folder, by its path within the folder."""
    return {str(path.relative_to(folder)): _of_file(path) for path in _files(folder)}


if __name__ == "__main__":
    for name, digest in digests(Path(sys.argv[1])).items():
        print(digest, name)
