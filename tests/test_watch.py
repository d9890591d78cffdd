"""`dtb watch` says from files alone how far a training is, what it costs, and whether it is still being written."""

from __future__ import annotations

import json
import os
import time

import pytest

from dtb.cli.entry import exit_code
from dtb.config import Config, TrainConfig, load_config
from dtb.stages import OutputFolder
from dtb.train.quarantine import quarantine
from dtb.watch import SILENT_SECONDS, sparkline

ROW = {
    "train_loss": 0.5,
    "press": 0.4,
    "bold": 0.1,
    "validation_press": 0.5,
    "validation_bold": 0.2,
    "lr": 1e-3,
    "grad_norm": 0.25,
    "seconds": 90.0,
    "subjects_per_second": 12.0,
    "data_wait_share": 0.015,
    "segments_per_second": 40.0,
    "flops_per_second": 3.2e9,
    "peak_flops_share": 0.174,
    "peak_memory_gib": 1.5,
    "slowest_rank": 3,
    "slowest_rank_times": 4.25,
    "tasks": {"stroop": {"press": 0.375, "validation_press": 0.625}},
}


@pytest.fixture
def run(tmp_path):
    """A run whose training has three of sixty epochs of four steps, and a driver that was alive a moment ago."""
    train = TrainConfig(max_steps=240, patience_steps=60)
    folder = OutputFolder.claim(tmp_path / "train", "train", Config(train=train), resume=False).path
    rows = [
        {"epoch": number, "step": 4 * number, "validation_loss": loss, **ROW}
        for number, loss in ((1, 0.9), (2, 0.7), (3, None))
    ]
    # The last line is being written.
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"epoch": 4, "tr')
    for name, manifest in (("epoch-00002-step-000000", True), ("epoch-00003-step-000000", False)):
        (folder / "checkpoints" / name).mkdir(parents=True)
        if manifest:
            (folder / "checkpoints" / name / "manifest.json").write_text("{}")
    (folder / ".alive").touch()
    return tmp_path


def seen(run, capsys):
    assert exit_code(["watch", str(run), "--once"]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_all_that_is_known_is_shown(run, capsys):
    quarantine(run / "train", {"sub-deed": "the gradient is not a finite number"})
    said = seen(run, capsys)
    for words in (
        "training, 12 of at most 240 steps, 22.5 s each, at most 1 h 26 min to go",
        "0.7000 at epoch 2; stops after 60 steps without a better one",
        "not finite",
        "learning rate 0.001, gradient norm 0.2500",
        "stroop press 0.3750 0.6250",
        "12.0 people/s, 40.0 segments/s, 3.2 GFLOP/s (17% of peak)",
        "rank 3 takes 4.2 times as long as the others",
        "1.5% of the time; memory 1.50 GiB",
        "epoch-00002-step-000000",
        "sub-deed: the gradient is not a finite number",
        "stages ingest to do, train begun",
        "█▁",
    ):
        assert words in said
    assert "epoch-00003" not in said
    assert seen(run / "train", capsys) == said


def test_a_killed_training_is_said_to_be_one(run, capsys):
    alive = run / "train" / ".alive"
    long_ago = time.time() - SILENT_SECONDS - 5
    os.utime(alive, (long_ago, long_ago))
    assert "not being written: its driver is gone, 12 of at most 240 steps done; --resume" in seen(run, capsys)
    alive.unlink()
    assert "not being written" in seen(run, capsys)


def test_a_finished_training_is_said_to_be_one(run, capsys):
    OutputFolder.claim(run / "train", "train", load_config(run / "train" / "config.yaml"), resume=True).finish({})
    assert "finished after 12 steps (3 epochs)" in seen(run, capsys)


def test_a_training_without_any_epoch_is_shown(run, capsys):
    (run / "train" / "metrics.jsonl").unlink()
    assert "training, no epoch is finished yet" in seen(run, capsys)


def test_a_folder_without_a_training_is_refused(tmp_path, capsys):
    OutputFolder.claim(tmp_path / "shards", "ingest", Config(), resume=False)
    assert exit_code(["watch", str(tmp_path)]) == 2
    assert "has no training to watch" in (said := capsys.readouterr().err)
    assert "Its stages so far: ingest begun." in said
    assert exit_code(["watch", str(tmp_path / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_long_curve_fits_the_line_and_keeps_its_shape():
    curve = sparkline([1 / (1 + epoch) for epoch in range(1000)])
    assert len(curve) <= 60
    assert curve[0] == "█"
    assert curve[-1] == "▁"
    assert sparkline([2.0, 2.0]) == "▁▁"
