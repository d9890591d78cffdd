"""The same run for Kubernetes and for Slurm: what is rendered is what KubeRay, Kubernetes and a shell accept, and holds no secret's value."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dtb.cli.command_line import parse
from dtb.cli.entry import exit_code
from dtb.config import ClusterConfig, Config, FleetConfig, TrainConfig, from_mapping
from dtb.errors import ConfigurationError
from dtb.submit.nodes import Nodes, count_nodes
from dtb.submit.rayjob import MAX_NAME, job_name, render_rayjob
from dtb.submit.slurm import render_slurm
from tests.submit.kuberay import KUBERNETES, check

GPUS = ["--train.num-workers", "8", "--train.min-workers", "4", "--train.use-gpu", "--launch.node-gpus", "4"]
FLEET = ["--fleet.num-actors", "12", "--fleet.gpus-per-actor", "0.5", "--launch.node-cpus", "16"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("here"))
        patch.setenv("WANDB_API_KEY", "hush-hush")
        Path("mine.yaml").write_text("name: Stroop & faces\nlaunch: {secrets: [WANDB_API_KEY]}\n")
        Path("zero.json").write_text('{"zero_optimization": {"stage": 1}}\n')
        yield parse("submit", ["mine.yaml", "/shared/run", "--train.deepspeed", "zero.json", *GPUS, *FLEET])[1]


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """Return a command's beginning that gives it a process namespace of its own, where it sees no other run."""
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a process namespace of its own, which root may make")
    return alone


@pytest.fixture(scope="module")
def objects(config: Config) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(render_rayjob(config, "/shared/run")))


def test_the_rayjob_is_what_kuberay_and_kubernetes_accept(objects: list[dict[str, Any]]) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate, of the extra `dev`")
    files, job = objects
    validate.validate(files, KUBERNETES, strict=True)
    check(job)


def test_training_and_fan_out_have_pools_of_their_own_that_grow_and_shrink(objects: list[dict[str, Any]]) -> None:
    files, job = objects
    cluster = job["spec"]["rayClusterSpec"]
    assert (cluster["authOptions"], cluster["enableInTreeAutoscaling"]) == ({"mode": "token"}, True)
    assert job["spec"]["shutdownAfterJobFinishes"]
    assert (job["spec"]["ttlSecondsAfterFinished"], job["spec"]["activeDeadlineSeconds"]) == (600, 24 * 3600)
    seen = {}
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        sizes = (group["minReplicas"], group["maxReplicas"], container["resources"]["limits"]["nvidia.com/gpu"])
        # as `ray start` gets it, after the shell that KubeRay starts it with
        (mark,) = shlex.split(group["rayStartParams"]["resources"])
        seen[group["groupName"]] = (*sizes, json.loads(mark))
    assert seen == {"train": (1, 2, "4", {"dtb_train": 1}), "fleet": (0, 2, "4", {"dtb_fleet": 1})}
    there = from_mapping(Config, yaml.safe_load(files["data"]["config.yaml"]), "there")
    assert there.cluster.pools
    assert there.train.deepspeed == Path("/etc/dtb/1-zero.json")
    assert files["data"]["1-zero.json"] == Path("zero.json").read_text()


def test_secrets_go_by_name_and_pods_run_as_nobody_special(objects: list[dict[str, Any]]) -> None:
    assert "hush" not in str(objects)
    cluster = objects[1]["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "dtb", "key": "WANDB_API_KEY"}}} in (
            container["env"]
        )
        # Another pod can go on from checkpoints only with the key that signed them.
        assert {"name": "DTB_KEY", "value": "/shared/.dtb/key"} in container["env"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["terminationGracePeriodSeconds"] == 55
        (*_, before_end) = container["lifecycle"]["preStop"]["exec"]["command"]
        assert before_end.split()[0] == {"ray-worker": "ray", "ray-head": "pkill"}[container["name"]]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


# As in a pod: process 1 is another one, and the job's own process is begun by a shell of Ray's.
POD = """
mkdir dtb && touch dtb/__init__.py && cat >dtb/__main__.py <<'END'
import pathlib, signal, sys, time
def save(*_):
    time.sleep(1.5)
    pathlib.Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
pathlib.Path("begun").touch()
time.sleep(60)
END
sh -c 'python -m dtb run /etc/dtb/config.yaml /shared/run; echo $? >code' &
python -c 'import time; time.sleep(60)' dtb &
until [ -e begun ]; do sleep 0.1; done
"$@"
[ -e saved ] && [ "$(cat code)" = 130 ] && kill -0 $!
"""


def test_a_head_pod_that_is_taken_back_waits_until_the_run_has_saved(
    objects: list[dict[str, Any]], alone: list[str], tmp_path: Path
) -> None:
    """In a process namespace of its own, where it sees no other run."""
    (head,) = objects[1]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    command = head["lifecycle"]["preStop"]["exec"]["command"]
    done = subprocess.run([*alone, "bash", "-ec", POD, "pod", *command], cwd=tmp_path, check=False, timeout=50)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (("spec", "ttlSecondAfterFinished"), 5, jsonschema.ValidationError),
        (("spec", "activeDeadlineSeconds"), 0, jsonschema.ValidationError),
        (("spec", "entrypoint"), "cd /x && python -m dtb", ValueError),
        (("spec", "shutdownAfterJobFinishes"), False, ValueError),
        (("spec", "rayClusterSpec", "rayVersion"), "2.51.0", ValueError),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 1, "groupName"), "train", ValueError),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "minReplicas"), 3, ValueError),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "restartPolicy"), "Always", ValueError),
        (("metadata", "name"), "9-lives", ValueError),
        (
            ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "container"),
            [],
            jsonschema.ValidationError,
        ),
    ],
)
def test_the_check_itself_finds_what_is_wrong(
    objects: list[dict[str, Any]], path: tuple[Any, ...], value: Any, error: type[Exception]
) -> None:
    pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate, of the extra `dev`")
    job = copy.deepcopy(objects[1])
    place = job
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(error):
        check(job)


@pytest.mark.parametrize("called", ["Stroop & faces", "2026", "é", "", "x" * 80, "a." * 40])
def test_a_job_s_name_is_one_that_kubernetes_takes(called: str) -> None:
    name = job_name(called)
    assert len(name) <= MAX_NAME
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)


@pytest.mark.slow
def test_what_fits_on_no_node_or_lies_outside_the_volume_is_refused(config: Config) -> None:
    assert count_nodes(config) == Nodes(train=2, train_at_least=1, fleet=2)
    with pytest.raises(ConfigurationError, match="outside of /shared"):
        render_rayjob(config, "/scratch/run")
    _, without = parse("submit", ["mine.yaml", "/shared/run", "--train.use-gpu"])
    with pytest.raises(ConfigurationError, match=r"train\.use_gpu asks for 1, but a node has 0 \(launch\.node_gpus\)"):
        render_slurm(without, "/shared/run")


def test_the_batch_script_asks_for_what_the_run_needs(config: Config) -> None:
    script = render_slurm(config, "/scratch/run")
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", script, re.MULTILINE))
    assert (asked["nodes"], asked["gpus-per-node"], asked["cpus-per-task"], asked["time"]) == ("2", "4", "16", "1440")
    assert "hush" not in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "-"], input=script, text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stdout


def test_the_batch_script_lays_out_its_files_keeps_a_token_to_itself_and_starts_ray_on_every_node(
    config: Config, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    stand_ins = {
        "hostname": 'echo "10.0.0.7 fe80::1"',
        "srun": 'stat -c %a "$RAY_AUTH_TOKEN_PATH"; wc -c <"$RAY_AUTH_TOKEN_PATH"; echo "$RAY_AUTH_MODE"; printf "%s\\n" "$@"; '
        'echo 3 >"$DTB_EXIT_CODE"; exit 3',
    }
    for name, line in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    out = tmp_path / "a run"
    environment = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "WANDB_API_KEY": "hush-hush",
        "SLURM_JOB_ID": "7",
    }
    if shutil.which("python", path=environment["PATH"]) is None:
        (programs / "python").symlink_to(shutil.which("python3") or "python3")
    pooled = dataclasses.replace(config, cluster=ClusterConfig(pools=True))
    script = render_slurm(pooled, str(out))
    done = subprocess.run(["bash"], input=script, text=True, check=False, capture_output=True, env=environment)
    assert done.returncode == 3, done.stderr  # the run's own
    mode, length, auth, *words = done.stdout.splitlines()
    assert (mode, length, auth) == ("600", "64", "token")
    assert "--cpus-per-task=16" in words  # srun's own, which it does not inherit
    assert words[words.index("symmetric-run") :] == [
        *["symmetric-run", "--address", "10.0.0.7:6379", "--min-nodes", "2", "--num-cpus", "16", "--num-gpus", "4"],
        *[
            "--disable-usage-stats",
            "--",
            "bash",
            "-c",
        ],
        f"python -m dtb run {shlex.quote(f'{out}.submitted/config.yaml')} {shlex.quote(str(out))} --resume & "
        'pid=$!; echo "$pid" >"$DTB_PID"; wait "$pid"; code=$?; echo "$code" >"$DTB_EXIT_CODE"; exit "$code"',
    ]
    assert {path.name for path in Path(f"{out}.submitted").iterdir()} == {"config.yaml", "1-zero.json"}  # no token
    there = from_mapping(Config, yaml.safe_load(Path(f"{out}.submitted/config.yaml").read_text()), "there")
    assert (there.train.deepspeed, there.cluster.ray_address) == (Path(f"{out}.submitted/1-zero.json"), "auto")
    assert not there.cluster.pools  # which `ray symmetric-run` cannot make

    # As `ray symmetric-run` does where Ray does not start.
    (programs / "srun").write_text("#!/bin/sh\nexit 0\n")
    done = subprocess.run(["bash"], input=script, text=True, check=False, capture_output=True, env=environment)
    assert (done.returncode, "Ray did not start" in done.stderr) == (1, True)

    del environment["WANDB_API_KEY"]
    done = subprocess.run(["bash"], input=script, text=True, check=False, capture_output=True, env=environment)
    assert done.returncode != 0
    assert "WANDB_API_KEY: is not set" in done.stderr


@pytest.mark.cluster
def test_a_slurm_job_in_which_ray_does_not_start_ends_with_1(config: Config, alone: list[str], tmp_path: Path) -> None:
    """Ray's own `symmetric-run`, which ends by ending every Ray that it sees."""
    programs, one_node = tmp_path / "bin", dataclasses.replace(config, train=TrainConfig(), fleet=FleetConfig())
    programs.mkdir()
    stand_ins = {
        "hostname": "echo 127.0.0.1",
        "srun": f'while [ "$1" != ray ]; do shift; done\n{shlex.join(alone)} "$@"\ncode=$?\necho "srun: $code"; exit $code',
        "ray": f'exec {shlex.quote(sys.executable)} -c "from ray.scripts.scripts import main; main()" "$@"',
    }
    for name, lines in stand_ins.items():
        (programs / name).write_text(f"#!/bin/bash\n{lines}\n")
        (programs / name).chmod(0o755)
    script = render_slurm(one_node, str(tmp_path / "run"))
    assert "--min-nodes 1 " in script
    environment = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "WANDB_API_KEY": "hush-hush",
        "SLURM_JOB_ID": "7",
        "RAY_TMPDIR": str(tmp_path / ("long" * 30)),  # no socket's name may be so long
    }
    done = subprocess.run(["bash"], input=script, text=True, check=False, capture_output=True, env=environment)
    assert "Failed to start Ray" in done.stderr
    assert "srun: 0" in done.stdout  # as if all were well
    assert (done.returncode, "The run never began: Ray did not start" in done.stderr) == (1, True)


def test_the_batch_script_hands_slurm_s_signal_to_the_run_alone_and_waits_for_it(
    config: Config, tmp_path: Path
) -> None:
    assert "#SBATCH --signal=B:TERM@85" in render_slurm(config, "/scratch/run")
    programs, here = tmp_path / "bin", tmp_path / "began"
    programs.mkdir()
    stand_ins = {
        "hostname": "echo 10.0.0.7",
        # What follows `--`, as `ray symmetric-run` starts it on the first node; the token is made by the first `python`.
        "srun": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "python": f'[ "$1" = -m ] || {{ echo token; exit; }}\ntrap "sleep 0.2; echo saved; exit 130" TERM\ntouch {here}\n'
        "while :; do sleep 0.05; done",
    }
    for name, lines in stand_ins.items():
        (programs / name).write_text(f"#!/bin/bash\n{lines}\n")
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "WANDB_API_KEY": "hush-hush", "SLURM_JOB_ID": "7"}
    (tmp_path / "script").write_text(render_slurm(config, str(tmp_path / "run")))
    running = subprocess.Popen(["bash", str(tmp_path / "script")], stdout=subprocess.PIPE, text=True, env=environment)
    while not here.exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.terminate()
    said, _ = running.communicate(timeout=20)
    assert (running.returncode, said) == (130, "saved\n")
    assert {path.name for path in (tmp_path / "run.submitted").iterdir()} == {"config.yaml", "1-zero.json"}


def test_names_and_contents_of_files_are_no_words_of_the_script(config: Config, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("WANDB_API_KEY", "hush-hush")
        odd = "a $(touch broken) 'b\".json"
        Path(odd).write_text('{"zero_optimization":\nEND_OF_FILE\ntouch broken\n {"stage": 1}}\n')
        Path("mine.yaml").write_text("name: |-\n  x\n  touch broken\nlaunch: {secrets: [WANDB_API_KEY]}\n")
        _, named = parse("submit", ["mine.yaml", f"{tmp_path}/run", "--train.deepspeed", odd, *GPUS, *FLEET])
        script = render_slurm(named, f"{tmp_path}/run")
        script = script[: script.index("# A token of this job's own")]
        done = subprocess.run(["bash"], input=script, text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert not Path("broken").exists()
        (sent,) = (path for path in Path("run.submitted").iterdir() if path.name != "config.yaml")
        assert sent.read_text() == Path(odd).read_text()
        assert re.fullmatch(r"[-._a-zA-Z0-9]+", sent.name)
    with pytest.raises(Exception, match="partition"):
        from_mapping(Config, {"launch": {"partition": "long\ntouch broken"}}, "there")


def test_pods_go_where_the_configuration_sends_them(config: Config) -> None:
    launch = dataclasses.replace(
        config.launch,
        node_selector={"gpu": "h100"},
        tolerations=({"key": "dedicated", "operator": "Exists"},),
        pull_secrets=("registry",),
        runtime_class="nvidia",
    )
    _, job = yaml.safe_load_all(render_rayjob(dataclasses.replace(config, launch=launch), "/shared/run"))
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["nodeSelector"] == {"gpu": "h100"}
        assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
        assert (pod["imagePullSecrets"], pod["runtimeClassName"]) == ([{"name": "registry"}], "nvidia")
    check(job)


@pytest.mark.slow
def test_rendering_prints_and_sends_nothing(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, words in (("rayjob", "kind: RayJob"), ("slurm", "#SBATCH")):
        assert exit_code(["submit", "mine.yaml", "/shared/run", "--render", kind]) == 0
        assert words in capsys.readouterr().out
