"""A disk that is full when a checkpoint is due: the one before stays whole, the user is told in a sentence, and --resume goes on from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtb.config import to_yaml
from dtb.files import write_text
from tests.mounts import may_mount
from tests.train.conftest import small_config
from tests.train.ranks import train_on_ranks
from tests.train.test_trainer import ROOT, assert_same_losses

pytestmark = pytest.mark.slow
FULL_AT, LAST = 4, 6

# A disk of its own that is really full: the rest of it is taken when the row of epoch FULL_AT has been written.
PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
import torch
from dtb.errors import FinalError
from dtb.train import worker
from dtb.train.checkpoints.checkpoint import newest_complete
from tests.train.conftest import small_config
from tests.train.ranks import make_job, read_rows

shards, out, full_at, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(out)], check=True)
ballast, write = out / "ballast", worker._Book.write

def write_and_fill(book, figures):
    write(book, figures)
    if figures["epoch"] == full_at and not ballast.exists():
        with ballast.open("wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass

worker._Book.write = write_and_fill
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[5], rank=0, world_size=1)
job = make_job(small_config(max_epochs=last), shards, out)
said = ""
try:
    worker.work(job)
except FinalError as error:
    said = str(error)
checkpoint, passed_over = newest_complete(out / "checkpoints")
ballast.write_bytes(b"")  # there is room again
worker.work(job)
found = {"said": said, "epoch": checkpoint.progress.epoch, "passed_over": passed_over, "rows": read_rows(out)}
Path(sys.argv[6]).write_text(json.dumps(found))
"""


def test_full_disk_costs_what_came_after_the_last_checkpoint(shards, tmp_path):
    if not may_mount():
        pytest.skip("needs to mount a small tmpfs in a mount namespace of its own, which root may")
    out, store, answer = tmp_path / "out", tmp_path / "store", tmp_path / "answer.json"
    out.mkdir()
    arguments = [str(part) for part in (shards, out, FULL_AT, LAST, store, answer)]
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(Path(answer).read_text())
    assert found["said"].startswith(f"No space is left on the disk of {out}.")
    assert "--resume" in found["said"]
    assert found["epoch"] == FULL_AT - 1
    assert len(found["passed_over"]) == 1
    undisturbed = train_on_ranks(small_config(max_epochs=LAST), shards, tmp_path / "undisturbed", 1)
    assert_same_losses(found["rows"], undisturbed, 1e-6)


# The same with the command and a Ray of its own: the disk is filled while a later epoch is trained.
COMMAND = """
import subprocess, sys, time
from pathlib import Path
config, shards, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(out)], check=True)
with open(sys.argv[4], "w") as said:
    command = [sys.executable, "-m", "dtb", "train", shards, str(out), "--config", config]
    training = subprocess.Popen(command, stdout=said, stderr=said)
    metrics = out / "metrics.jsonl"
    while not metrics.is_file() or metrics.read_text().count("\\n") < 2:
        assert training.poll() is None
        time.sleep(0.01)
    with (out / "ballast").open("wb", buffering=0) as stream:
        while training.poll() is None:
            try:
                stream.write(bytes(4096))
            except OSError:
                time.sleep(0.01)
sys.exit(training.wait())
"""


@pytest.mark.cluster
def test_a_full_disk_is_not_tried_again(shards, tmp_path):
    if not may_mount():
        pytest.skip("needs to mount a small tmpfs in a mount namespace of its own, which root may")
    out, said = tmp_path / "out", tmp_path / "said"
    out.mkdir()
    write_text(tmp_path / "mine.yaml", to_yaml(small_config(max_epochs=5000, patience_epochs=5000, max_failures=3)))
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", COMMAND, *map(str, (tmp_path / "mine.yaml", shards, out, said))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=300,
    )
    told = said.read_text()
    assert (done.returncode, told.count("No space is left on the disk of")) == (1, 1), told[-3000:]
    assert "begins again" not in told
