"""A damaged file of an earlier stage ends in one sentence that names it, whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dtb.errors import DamagedOutputError
from dtb.results.fleet import SimulateResult
from dtb.results.twin import EvaluateResult, TrainResult
from dtb.shards.split import Split
from dtb.train.checkpoints.checkpoint import newest_manifest
from dtb.train.log import read_metrics
from dtb.train.start import normalise

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a list": lambda content: b"[]\n",
    "a number": lambda content: b"7\n",
    "no text": lambda content: b"\xff\xfe\x00{\n",
    "deep": lambda content: b"[" * 200_000 + b"\n",
    "other keys": lambda content: b'{"a": 1}\n',
    "long number": lambda content: b'{"epoch": ' + b"9" * 5000 + b"}\n",
}


def finished(folder: Path, stage: str) -> Path:
    state = {"stage": stage, "complete": True, "config_hash": "", "summary": {}}
    (folder / "stage.json").write_text(json.dumps(state))
    return folder


def write_normalisation(path: Path) -> None:
    normalise.save(path, normalise.Normalisation(*[np.zeros(3, np.float32)] * 3))


READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "normalisation": ("normalisation.safetensors", "", normalise.load),
    "metrics": ("metrics.jsonl", '{"epoch": 1}\n', read_metrics),
    "epochs": ("metrics.jsonl", '{"epoch": 1}\n', lambda path: TrainResult(finished(path.parent, "train")).epochs),
    "split": ("split.json", "{}", Split.load),
    "figures": ("figures.json", '{"rows": [], "claim": ""}', lambda path: EvaluateResult(finished(path.parent, "evaluate")).figures),
    "certificate": ("certificate.json", '{"sentence": ""}', lambda path: EvaluateResult(finished(path.parent, "evaluate")).verdict),
    "manifest": ("manifest.json", "{}", lambda path: newest_manifest(path.parent.parent)),
    "scores": ("scores.parquet", "", lambda path: EvaluateResult(finished(path.parent, "evaluate")).scores),
    "trials": ("part-0.parquet", "", lambda path: SimulateResult(finished(path.parent.parent, "simulate")).trials),
}  # fmt: skip

HARMLESS = {
    ("metrics", "empty"),
    ("metrics", "cut"),
    ("manifest", "a number"),
    ("manifest", "a list"),
    ("manifest", "other keys"),
}
"""No line that was finished; and a manifest is looked into when a checkpoint is loaded."""


def good(parent: Path, which: str) -> tuple[Path, Callable[[Path], Any]]:
    """Write a file that can be read; return its path, and what reads it."""
    name, text, read = READERS[which]
    folder = parent / {"manifest": "checkpoints/epoch-1", "trials": "out/trials"}.get(which, "out")
    folder.mkdir(parents=True)
    path = folder / name
    if which == "normalisation":
        write_normalisation(path)
    elif path.suffix == ".parquet":
        pd.DataFrame({"pseudonym": ["a"]}).to_parquet(path)
    else:
        path.write_text(text)
    return path, read


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", READERS)
def test_a_damaged_file_ends_in_a_sentence_with_its_name(tmp_path, which, damage):
    path, read = good(tmp_path, which)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    if (which, damage) in HARMLESS:
        read(path)
        return
    with pytest.raises(DamagedOutputError) as found:
        read(path)
    text = str(found.value)
    assert path.name in text
    assert "\n" not in text
    assert len(text) < 600
