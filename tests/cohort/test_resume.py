"""An ingest that is killed goes on where it was, and what comes out is what an undisturbed one gives, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from dtb.cli.entry import exit_code
from dtb.cohort.finished import FinishedPeople, records_in
from dtb.cohort.identities import identities_path, pseudonym_of
from dtb.cohort.person import read_person
from dtb.config import IngestConfig
from tests.cohort.test_ingest import TASKS, content_of, copy, func, jobs_of, paths, regions_of  # noqa: F401 (a fixture among them)
from tests.shards.test_shards import assert_same

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def kept(copy, tmp_path):  # noqa: F811
    """Two people kept, and their jobs."""
    jobs = jobs_of(copy, IngestConfig())[:2]
    people = FinishedPeople(tmp_path / "out", "settings")
    reads = [read_person(job, regions_of(copy), TASKS, IngestConfig()) for job in jobs]
    for job, read in zip(jobs, reads, strict=True):
        people.keep(job, read)
    people.close()
    return people, jobs, reads


def test_somebody_who_was_kept_comes_back_in_every_respect(kept):
    people, jobs, reads = kept
    assert people.finished(jobs) == {job.pseudonym for job in jobs}
    for job, read in zip(jobs, reads, strict=True):
        again = people.load(job)
        assert again.left_out == read.left_out
        assert repr(again.quality) == repr(read.quality)
        np.testing.assert_array_equal(again.rest_KE, read.rest_KE)
        assert_same(again.record, read.record)


@pytest.mark.parametrize("change", ["series", "sidecar", "events", "confounds", "settings", "kept file", "cut"])
def test_somebody_of_whom_anything_changed_is_read_again(kept, copy, tmp_path, change):  # noqa: F811
    people, jobs, _ = kept
    (own,) = (tmp_path / "out" / ".people").iterdir()
    derived = jobs[0].files.rest[0].path
    if change == "series":
        derived.write_text(derived.read_text())
    elif change == "sidecar":
        derived.with_suffix(".json").unlink()
    elif change == "events":
        jobs[0].files.events[0].path.write_text(jobs[0].files.events[0].path.read_text() + "\n")
    elif change == "confounds":
        derived.with_name("sub-0001_task-rest_dir-AP_run-01_desc-confounds_timeseries.tsv").touch()
    elif change == "settings":
        assert FinishedPeople(tmp_path / "out", "others").finished(jobs) == set()
        return
    elif change == "kept file":
        content = bytearray(own.read_bytes())
        content[len(content) // 4] ^= 1  # within the first of two people
        own.write_bytes(content)
    else:
        own.write_bytes(own.read_bytes()[:-30])
        assert people.finished(jobs) == {jobs[0].pseudonym}
        return
    assert people.finished(jobs) == {jobs[1].pseudonym}


KEY = bytes(32)


def options_of(out: Path, cohort: Path) -> list[str]:
    bids, (derivatives,) = paths(cohort)
    identities_path(out).write_text(f"# key\t{KEY.hex()}\n")  # pseudonyms, and so the order, are the same everywhere
    return ["ingest", str(bids), str(out), "--derivatives", str(derivatives), "--subjects-per-shard=2"]


def made_to_wait(path: Path) -> Path:
    """Put a pipe that nobody writes into in the place of a file, so that its reader waits; give where the file is now."""
    held = path.rename(path.with_suffix(".held"))
    os.mkfifo(path)
    return held


def stopped_with(number: int, command: list[str], environment: dict[str, str], people: Path, num_kept: int) -> None:
    """Start an ingest, and stop it once it has kept so many people."""
    running = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    began = time.monotonic()
    while num_in(people) < num_kept:
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() - began < 200
        time.sleep(0.05)
    family = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)
    running.communicate(timeout=100)
    for process in psutil.wait_procs(family, timeout=5)[
        1
    ]:  # agents of a cluster whose driver was killed end much later
        process.kill()
    assert num_in(people) == num_kept


def num_in(people: Path) -> int:
    """Return how many people a folder keeps."""
    return sum(1 for path in people.glob("*") for _ in records_in(path))


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_an_ingest_that_is_interrupted_and_then_killed_ends_in_the_bytes_of_an_undisturbed_one(copy, tmp_path, capsys):  # noqa: F811
    """With one core, on which people are read one after the other, until the second kill; with two, in this process, otherwise."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    whole, out = tmp_path / "whole", tmp_path / "shards"
    assert exit_code(options_of(whole, copy)) == 0
    labels = [path.name[4:] for path in (copy / "bids").glob("sub-*")]
    in_order = sorted(labels, key=lambda label: pseudonym_of(label, KEY))
    second, fourth = (next(func(copy, in_order[place]).glob("*stroop*timeseries.tsv")) for place in (1, 3))
    held = {path: made_to_wait(path) for path in (second, fourth)}
    options = options_of(out, copy)
    command = [sys.executable, "-m", "dtb", *options, "--cluster.num-cpus=1"]
    stopped_with(signal.SIGINT, command, environment, out / ".people", 1)
    held.pop(second).replace(second)
    stopped_with(signal.SIGKILL, [*command, "--resume"], environment, out / ".people", 3)
    held.pop(fourth).replace(fourth)
    assert not (out / "manifest.json").exists()
    (out / ".shard-00001.tar.x.partial").write_bytes(b"half")
    capsys.readouterr()
    assert exit_code([*options, "--resume"]) == 0
    assert "3 of 6 people are finished already" in capsys.readouterr().out
    assert content_of(out) == content_of(whole)
