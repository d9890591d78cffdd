"""`dtb doctor` finds what would make a run fail, says what to do about it, and finds nothing wrong with a good machine."""

import dataclasses
import socket

import pytest

from dtb.cli.entry import exit_code
from dtb.config import ClusterConfig
from dtb.doctor import checks
from dtb.errors import StageError
from dtb.machine.gpu import FULL

GOOD = checks.Machine(
    python=(3, 12, 1),
    dtb="0.1.0",
    packages={"ray": "2.60.0", "torch": "2.13.0+cpu"},
    requirements={"ray": ">=2.60"},
    num_cores=8,
    memory_gib=32.0,
    shared_gib=8.0,
    disk_gib=100.0,
    temporary_gib=100.0,
    open_files=65536,
    gpus=(),
    gpu_faults=(),
    has_nvidia_driver=False,
    has_compiled_scan=True,
    has_compiled_files=True,
    deepspeed_ops=(),
    compiler="/usr/bin/c++",
    ninja="/usr/bin/ninja",
    loopback=None,
    ports_in_use=(),
    has_wandb=True,
    has_wandb_key=False,
    has_ray_token=False,
)


def test_a_good_machine_has_nothing_to_be_told_of():
    assert {finding.verdict for finding in checks.judge(GOOD)} == {"ok"}


@pytest.mark.parametrize(
    ("fault", "name", "verdict", "advice"),
    [
        ({"python": (3, 10, 0)}, "Python", "problem", "3.11"),
        ({"packages": {"ray": None}}, "ray", "problem", 'pip install "ray>=2.60"'),
        ({"packages": {"ray": "2.9.0"}}, "ray", "problem", 'pip install "ray>=2.60"'),
        ({"memory_gib": 1.0}, "memory", "problem", "more memory"),
        ({"shared_gib": 0.06}, "shared memory", "note", "--shm-size"),
        ({"temporary_gib": 0.5}, "disk, temporary folder", "note", "TMPDIR"),
        ({"open_files": 256}, "open files", "note", "ulimit -n"),
        ({"loopback": "refused"}, "loopback", "problem", "127.0.0.1"),
        ({"has_nvidia_driver": True}, "compute", "note", "DTB_TORCH"),
        ({"gpus": ("H100", "H100"), "gpu_faults": ("", "an illegal access")}, "compute", "problem", "nvidia-smi"),
        ({"gpus": ("H100",), "gpu_faults": (FULL,)}, "compute", "note", "Another process"),
        ({"has_compiled_scan": False}, "recurrence", "note", "C++ compiler"),
        ({"has_compiled_files": False}, "Python's compiled files", "note", "PYTHONDONTWRITEBYTECODE"),
    ],
)
def test_each_fault_is_found_alone_and_comes_with_what_to_do(fault, name, verdict, advice):
    wrong = [finding for finding in checks.judge(dataclasses.replace(GOOD, **fault)) if finding.verdict != "ok"]
    assert [(finding.name, finding.verdict) for finding in wrong] == [(name, verdict)]
    assert advice in wrong[0].advice


@pytest.mark.parametrize(
    ("state", "name", "found", "advice"),
    [
        ({"deepspeed_ops": ("cpu_adam", "fused_adam")}, "DeepSpeed operations", "compiled: cpu_adam, fused_adam", ""),
        ({"compiler": None}, "DeepSpeed operations", "a C++ compiler absent", "offloads the optimizer"),
        ({"compiler": None, "ninja": None}, "DeepSpeed operations", "a C++ compiler and ninja absent", "pip install"),
        ({"ports_in_use": (6379, 8765)}, "ports", "6379 (ray start --head), 8765 (dtb view)", "--port 0"),
        ({"has_ray_token": True}, "Ray token", "found", ""),
    ],
)
def test_what_is_no_fault_but_good_to_know_is_said(state, name, found, advice):
    (finding,) = [one for one in checks.judge(dataclasses.replace(GOOD, **state)) if one.name == name]
    assert finding.verdict == "ok"
    assert found in finding.found
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("gpus", "state", "verdicts"),
    [
        (0, {}, []),
        (4, {"has_nvidia_driver": True, "packages": {"torch": "2.13.0+cu130"}}, []),
        (0, {"has_nvidia_driver": True}, ["note"]),
        (4, {"has_nvidia_driver": True}, ["problem"]),
        (0, {"shared_gib": 0.06, "disk_gib": 0.1, "ports_in_use": (6379,)}, ["note"]),
        (0, {"memory_gib": 1.0, "compiler": None}, ["problem"]),
    ],
)
def test_a_node_of_a_cluster_is_judged_by_what_tasks_on_it_meet(gpus, state, verdicts):
    found = checks._judge_node("10.0.0.7", {"GPU": gpus} if gpus else {}, dataclasses.replace(GOOD, **state))
    assert [finding.verdict for finding in found] == verdicts
    assert all("10.0.0.7" in finding.name and finding.advice for finding in found)


def test_what_cannot_be_known_is_no_fault():
    unknown = dataclasses.replace(GOOD, memory_gib=None, shared_gib=None, disk_gib=None, temporary_gib=None)
    assert {finding.verdict for finding in checks.judge(unknown)} == {"ok"}


def test_this_machine_runs_these_tests_so_no_package_is_missing_and_the_loopback_answers():
    machine = checks.measure()
    assert all(machine.packages.values())
    assert machine.loopback is None
    assert machine.num_cores >= 1
    assert machine.memory_gib > 0.5


def test_a_port_at_which_something_listens_is_in_use(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr("dtb.doctor.measurements.PORTS", {port: "this test"})
        assert checks.measure().ports_in_use == (port,)
    assert checks.measure().ports_in_use == ()


@pytest.mark.own_ray
def test_an_address_where_no_cluster_answers_is_a_problem_and_a_failure(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(checks, "measure", lambda **_: GOOD)
    checks.doctor(ClusterConfig())
    assert "A run can start here." in capsys.readouterr().out
    with pytest.raises(StageError, match="Ray cluster"):
        checks.doctor(ClusterConfig(ray_address=f"127.0.0.1:{port}"))
    assert f"127.0.0.1:{port}" in "".join(capsys.readouterr().out.split())


def test_the_command_says_what_it_found_and_its_exit_code_says_whether_a_run_would_fail(monkeypatch, capsys):
    monkeypatch.setattr(checks, "measure", lambda **_: GOOD)
    assert exit_code(["doctor"]) == 0
    assert "8 core(s), no GPU" in capsys.readouterr().out
    monkeypatch.setattr(checks, "measure", lambda **_: dataclasses.replace(GOOD, loopback="refused"))
    assert exit_code(["doctor"]) == 1
    assert "loopback" in capsys.readouterr().err


@pytest.mark.cluster
def test_a_cluster_is_counted_and_its_nodes_versions_are_compared(monkeypatch):
    found = {one.name: one for one in checks.judge_cluster(ClusterConfig(ray_address="auto"))}
    assert found["Ray cluster"].found == "1 node(s), 2 cores, 0 GPUs"
    assert "dtb submit" in found["Ray's job server"].advice  # a private cluster has none
    assert not [one for one in found.values() if one.verdict == "problem"]
    version = checks.version_of
    monkeypatch.setattr(checks, "version_of", lambda name: "1.0" if name == "torch" else version(name))
    (torch,) = [one for one in checks.judge_cluster(ClusterConfig(ray_address="auto")) if one.verdict == "problem"]
    assert torch.name == "torch on the cluster"
    assert "1.0 here" in torch.found
