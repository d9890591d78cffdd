"""Behind Ray Serve the page is the same, under a path of its own, and ends without ending the cluster."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
import requests

from dtb.cli.entry import exit_code
from tests.submit.clusters import free_ports
from tests.view.runs import make_run

pytest.importorskip("ray.serve", reason="needs Ray Serve, of the extra `serve`")


@pytest.fixture
def cluster():
    """The address of a running cluster."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 200 << 20})
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.cluster
@pytest.mark.own_ray
@pytest.mark.slow
@pytest.mark.on_request
def test_a_cluster_serves_the_same_page_under_a_path_of_its_own(cluster, tmp_path):
    run, (port,) = make_run(tmp_path), free_ports(1)
    command = [sys.executable, "-m", "dtb", "view", str(run), "--port", str(port), "--ray-address", cluster]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            found = re.search(rf"(http://127\.0\.0\.1:{port}/dtb-view-\w+)/\?token=(\S+)", server.stdout.readline())
            assert found
            place, token = found.groups()
            with requests.Session() as viewer:
                assert viewer.get(f"{place}/api/run").status_code == 401
                page = viewer.get(f"{place}/?token={token}")
                assert page.url == f"{place}/"
                for name in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
                    assert viewer.get(f"{place}/{name}").status_code == 200, name
                assert (
                    "'unsafe-inline'"
                    in viewer.get(f"{place}/docs").headers["content-security-policy"].split("style")[0]
                )
                scene = {"people": ["p0000", "p0002"], "task": "stroop", "gains": [{"region": "region4", "gain": 0.5}]}
                answer = viewer.post(f"{place}/api/scene", json=scene).json()
                assert [one["person"] for one in answer["performers"]] == scene["people"]
                assert viewer.get(f"{place}/api/run", headers={"Host": "evil.example"}).status_code == 400
        finally:
            server.send_signal(signal.SIGINT)
            assert "the cluster goes on" in server.communicate(timeout=60)[0]
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("absent", "extra", "options"),
    [("uvicorn", "view", []), ("fastapi", "view", []), ("ray.serve", "serve", ["--ray-address", "127.0.0.1:9"])],
)
def test_what_an_extra_lacks_is_said_with_how_to_install_it(tmp_path, monkeypatch, capsys, absent, extra, options):
    for name in [
        name for name in sys.modules if name.startswith(("dtb.view.app", "dtb.view.guard", "dtb.view.patience"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == absent or name.startswith(f"{absent}.")] or [absent]:
        monkeypatch.setitem(sys.modules, name, None)
    if absent == "ray.serve":
        import ray

        monkeypatch.delattr(ray, "serve", raising=False)
    assert exit_code(["view", str(tmp_path), *options]) == 2
    assert f"pip install 'digital-twin-brains[{extra}]'" in capsys.readouterr().err
