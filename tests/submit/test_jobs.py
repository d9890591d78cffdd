"""A job on a real cluster with a token: its output and exit code come back, it outlives Ctrl-C, and no secret's value leaves the cluster."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml
from ray.job_submission import JobStatus

from dtb.submit import jobs
from tests.submit.clusters import SECRET_NAME, Head, dtb, free_ports, head, plain_environment


@pytest.fixture(scope="module")
def cluster() -> Iterator[Head]:
    with head() as running:
        yield running


@pytest.fixture
def used_folder(tmp_path: Path) -> Path:
    """A run folder that `dtb run` refuses: so the job is a real one that ends soon, with 2."""
    folder = tmp_path / "shared" / "run"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    return folder


@pytest.mark.cluster
@pytest.mark.own_ray
def test_the_configuration_travels_and_the_job_s_words_and_exit_code_come_back(
    cluster: Head, used_folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"name: My study!\nseed: 7\nlaunch: {{secrets: [{SECRET_NAME}]}}\n")
    leaked = "value-of-the-person-who-submits"
    environment = cluster.environment(**{SECRET_NAME: leaked})
    done = dtb(environment, "submit", str(config), str(used_folder), "--address", cluster.address, "--split.fold", "3")
    assert done.returncode == 2, done.stderr
    assert f"{used_folder} is not empty. Add --resume" in done.stdout
    assert "failed with exit code 2" in done.stderr
    arrived = yaml.safe_load((used_folder.parent / "run.submitted" / "config.yaml").read_text())
    assert (arrived["seed"], arrived["split"]["fold"], arrived["cluster"]["ray_address"]) == (7, 3, "auto")

    (job,) = [row for row in cluster.ask("GET", "/api/jobs/") if row["metadata"].get("job_name") == "My study!"]
    assert job["submission_id"].startswith("my-study-")
    assert "dtb run" in job["entrypoint"]
    kept = [str(job), *(path.read_text(errors="replace") for path in cluster.folder.rglob("*") if path.is_file())]
    for hidden in (leaked, cluster.secret, cluster.token):
        assert not any(hidden in text for text in (*kept, done.stdout, done.stderr))
    assert any("My study!" in text for text in kept)  # what is looked through is what Ray keeps


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_variable_that_the_cluster_lacks_is_named_by_the_job(cluster: Head, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("launch: {secrets: [NOBODY_HAS_THIS]}\n")
    environment = cluster.environment(NOBODY_HAS_THIS="but I do")
    done = dtb(environment, "submit", str(config), str(tmp_path / "run"), "--address", cluster.address, "--send-code")
    assert done.returncode == 2, done.stderr
    assert "launch.secrets: NOBODY_HAS_THIS not set where the job runs" in done.stdout
    assert "but I do" not in done.stdout + done.stderr
    sent = [path for path in cluster.folder.rglob("py_modules_files/*/dtb") if path.is_dir()]
    assert sent, "the package that this command runs has travelled"
    assert (sent[0] / "configs" / "tasks" / "stroop.yaml").is_file()
    # Compiled files name what they were made from: there they were made there, and none has travelled.
    assert all(str(sent[0]).encode() in path.read_bytes() for path in sent[0].rglob("*.pyc"))
    entry = Path("cli") / "entry.py"
    assert (sent[0] / entry).read_bytes() == (Path(__file__).parents[2] / "dtb" / entry).read_bytes()


@pytest.mark.cluster
@pytest.mark.own_ray
def test_ctrl_c_leaves_the_job_and_says_how_to_come_back_and_how_to_stop_it(cluster: Head) -> None:
    job = cluster.begin("for n in 1 2 3; do echo line-$n; done; sleep 300")
    command = [sys.executable, "-m", "dtb", "submit", "--address", cluster.address, "--follow", job]
    with subprocess.Popen(
        command, env=cluster.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        for line in following.stdout:
            if "line-3" in line:
                break
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=60)
    assert following.returncode == 130
    assert f"--follow {job}" in said
    assert f"--stop {job}" in said
    assert "Traceback" not in said
    assert cluster.ask("GET", f"/api/jobs/{job}")["status"] == "RUNNING"

    began = time.monotonic()
    stopped = dtb(cluster.environment(), "submit", "--address", cluster.address, "--stop", job)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert time.monotonic() - began < 60
    assert cluster.ask("GET", f"/api/jobs/{job}")["status"] == "STOPPED"
    again = dtb(cluster.environment(), "submit", "--address", cluster.address, "--follow", job)
    assert again.returncode == 130
    assert again.stdout.count("line-2\n") == 1
    assert "was stopped" in again.stderr


@pytest.mark.cluster
@pytest.mark.own_ray
def test_figures_stand_among_ray_s_prometheus_metrics(cluster: Head) -> None:
    lines = "import ray, time; ray.init(); from dtb.cluster.connection import show_gauges"
    lines += (
        "; show_gauges('train', {'validation_loss': 2.5, 'press/stroop': 1.25, 'note': 'no number'}); time.sleep(120)"
    )
    job = cluster.begin(shlex.join(["python", "-c", lines]))
    until = time.monotonic() + 120
    while "ray_dtb_train_validation_loss" not in (page := requests.get(cluster.metrics, timeout=10).text):
        assert time.monotonic() < until, page
        time.sleep(1.0)
    shown = dict(re.findall(r"^(ray_dtb_\w+)\{.*\} (\S+)$", page, re.MULTILINE))
    assert shown == {"ray_dtb_train_validation_loss": "2.5", "ray_dtb_train_press_stroop": "1.25"}
    cluster.ask("POST", f"/api/jobs/{job}/stop")


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_job_s_own_exit_code_is_the_command_s(cluster: Head) -> None:
    done = dtb(
        cluster.environment(), "submit", "--address", cluster.address, "--follow", cluster.begin("echo said; exit 7")
    )
    assert done.returncode == 7
    assert "said\n" in done.stdout


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_wrong_token_or_job_is_a_mistake_that_is_explained(cluster: Head) -> None:
    wrong = "0123456789abcdef0123456789abcdef"
    for token, words in ((wrong, "refuses this token"), ("", "there is no token here")):
        environment = {**plain_environment(), "RAY_AUTH_TOKEN": token, "HOME": str(cluster.folder)}
        environment["http_proxy"] = "http://127.0.0.1:9"  # nobody is there; it is for the world outside
        refused = dtb(environment, "submit", "--address", cluster.address, "--follow", "any")
        assert refused.returncode == 2, refused.stderr
        assert words in " ".join(refused.stderr.split())
        assert wrong not in refused.stdout + refused.stderr
    unknown = dtb(cluster.environment(), "submit", "--address", cluster.address, "--stop", "nothing-of-this-name")
    assert unknown.returncode == 2
    assert "has no job 'nothing-of-this-name'" in unknown.stderr


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("head:8265", "expected the URL of a Ray job server"),
        ("ray://head:10001", "expected the URL"),
        ("http://127.0.0.1:99999", "expected the URL"),
        ("http://127.0.0.1:{free}", "no Ray job server answers at http://127.0.0.1:{free}"),
    ],
)
def test_an_address_where_no_job_server_is_is_refused_at_once(
    address: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from dtb.cli.entry import exit_code

    (free,) = free_ports(1)
    assert exit_code(["submit", "--address", address.format(free=free), "--stop", "any"]) == 2
    assert words.format(free=free) in capsys.readouterr().err


class _Forgetful:
    """A job server that closes the connection in the middle and, as Ray's does, begins at the beginning the next time."""

    lines = ("one\n", "two\n", "three\n")

    def __init__(self, ended_as: str, exit_code: int | None) -> None:
        self.times = 0
        self.ended_as, self.exit_code = ended_as, exit_code

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        self.times += 1
        if self.times > 1:
            yield self.lines[0] + self.lines[1]  # cut elsewhere than the first time
            yield self.lines[2]
            return
        yield self.lines[0]
        raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")

    def get_job_info(self, job: str) -> Any:
        status = self.ended_as if self.times > 1 else "RUNNING"
        return SimpleNamespace(
            status=JobStatus(status), driver_exit_code=self.exit_code, message="no node could take it"
        )


@pytest.mark.parametrize(
    ("ended_as", "exit_code", "ours", "words"),
    [("SUCCEEDED", 0, 0, "is done"), ("FAILED", 3, 3, "exit code 3"), ("FAILED", None, 1, "no node could take it")],
)
def test_a_lost_connection_loses_and_repeats_no_line(
    ended_as: str, exit_code: int | None, ours: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = _Forgetful(ended_as, exit_code)
    assert jobs.follow("http://head:8265", "mine", client) == ours
    printed = capsys.readouterr()
    assert printed.out == "one\ntwo\nthree\n"
    assert "the job goes on. Trying again" in printed.err
    assert words in printed.err


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_stage_of_its_own_is_submitted_and_modules_with_further_kinds_are_looked_for_there(
    cluster: Head, tmp_path: Path
) -> None:
    """The module lies where only the person who submits finds it: so its name has travelled, and the stage began."""
    (tmp_path / "kinds_of_mine.py").write_text("")
    environment = cluster.environment(DTB_KINDS="kinds_of_mine")
    environment["PYTHONPATH"] += f":{tmp_path}"
    stage = ["sweep", str(tmp_path / "shards"), str(tmp_path / "swept"), "--seeds", "1", "2"]
    done = dtb(environment, "submit", "--address", cluster.address, "--", *stage)
    assert done.returncode == 2, done.stderr
    assert "dtb sweep: " in done.stdout
    assert "names the module 'kinds_of_mine', which cannot be imported" in " ".join(done.stdout.split())
