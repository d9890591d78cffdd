"""The interface: only with the token and under the server's own name, no other host asked, and every mistake answered in words."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.testclient import TestClient

from dtb.cli.entry import exit_code
from dtb.errors import DamagedOutputError, InputDataError
from dtb.view.app import ASSETS, make_app
from dtb.view.viewer import Viewer
from tests.fleet.world import REGIONS
from tests.view.runs import PLACES, make_run

TOKEN = "a-token-of-the-tests"
SCENE = {"people": ["p0000", "p0002"], "task": "stroop", "block": 1}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return make_app(make_run(tmp_path_factory.mktemp("run")), TOKEN, ("127.0.0.1", "localhost"))


@pytest.fixture
def client(app):
    return TestClient(app, base_url="http://127.0.0.1:8765", headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def stranger(app):
    return TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)


@pytest.mark.parametrize(
    "path", ["/", "/api/run", "/docs", "/openapi.json", "/assets/view.js", "/plotly.min.js", "/style.css"]
)
def test_nothing_is_shown_without_the_token(stranger, client, path):
    assert stranger.get(path).status_code == 401
    assert stranger.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert stranger.get(path, params={"token": "wrong"}).status_code == 401
    assert client.get(path).status_code == 200


def test_the_token_leaves_the_address_for_a_cookie_that_scripts_cannot_read(stranger):
    answer = stranger.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert re.search(r"HttpOnly; Path=/; SameSite=strict", answer.headers["set-cookie"])
    assert stranger.get("/api/run").status_code == 200


def test_another_name_for_this_machine_is_refused(client):
    assert client.get("/api/run", headers={"Host": "evil.example:8765"}).status_code == 400
    assert client.get("/api/run", headers={"Host": "localhost:8765"}).status_code == 200


def test_pages_allow_scripts_of_this_server_alone(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    for path in ("/", "/docs"):
        loaded = re.findall(r'(?:src|href)="([^"]+)"', client.get(path).text)
        assert len(loaded) > 1
        assert not [one for one in loaded if one.startswith(("http", "//"))]
        assert all(client.get(one).status_code == 200 for one in loaded if not one.startswith("#"))


def test_all_that_the_page_loads_is_under_three_megabytes(client):
    loaded = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', client.get("/").text))
    assert {"plotly.min.js", "style.css"} <= {one.removeprefix("/") for one in loaded}
    scripts = {f"/assets/{path.relative_to(ASSETS).as_posix()}" for path in ASSETS.rglob("*") if path.is_file()}
    sizes = {one: int(client.get(one).headers["content-length"]) for one in {"/", *loaded, *scripts}}
    assert sum(sizes.values()) < 3e6, sizes
    whole = client.get("/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in whole.headers
    assert whole.content == client.get("/plotly.min.js").content


def test_the_interface_describes_itself(client):
    found = client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.")
    assert {"/api/run", "/api/scene", "/api/people/{person}/connectome"} <= set(found["paths"])
    assert "dose" in found["components"]["schemas"]["SceneRequest"]["properties"]
    assert "Research use only" in found["info"]["description"]


def test_a_run_a_person_and_a_block_can_be_looked_at(client):
    run = client.get("/api/run").json()
    assert run["people"] == ["p0000", "p0001", "p0002"]
    assert run["intervention"] == {"target": "mean_rt in hammer", "direction": "decrease"}
    who = client.get("/api/people/p0001").json()
    assert who["absent_regions"] == [REGIONS[3]]
    assert who["has_intervention"]
    assert who["tasks"][1]["blocks"][0] == "stroopAP: 0 to 13 s"
    matrix = np.frombuffer(client.get("/api/people/p0000/connectome").content, "<f4").reshape(len(REGIONS), -1)
    assert np.array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 1).all()
    block = client.get("/api/people/p0000/blocks/stroop/1").json()
    assert len(block["stimulus"]) == len(block["channels"]) == 6
    assert all(13 <= trial["onset"] < 26 for trial in block["trials"])
    assert len(block["bold"]) == len(block["bold_seconds"]) == 13


def test_a_change_moves_the_twin_and_says_how_far(client):
    own = client.post("/api/scene", json=SCENE).json()
    assert [one["person"] for one in own["performers"]] == SCENE["people"]
    first, second = own["performers"]
    assert first["choice"] != second["choice"]
    assert first["connectome"]["distance_before"] != second["connectome"]["distance_before"]
    edge = {"first": REGIONS[2], "second": REGIONS[7], "by": 0.05}
    gain = {"region": REGIONS[4], "gain": 0.5}
    changed = client.post("/api/scene", json={**SCENE, "edges": [edge], "gains": [gain]}).json()
    for before, after in zip(own["performers"], changed["performers"], strict=True):
        assert before["connectome"]["made"] == 0 < after["connectome"]["made"]
        assert before["figures"]["mean_rt"] != after["figures"]["mean_rt"]
        ((was, became),) = after["connectome"]["edges"]
        assert became - was == pytest.approx(0.05, abs=2e-4)
    dosed = client.post("/api/scene", json={**SCENE, "people": ["p0001"], "dose": 1.0}).json()
    assert dosed["performers"][0]["connectome"]["made"] > 0


def test_regions_lie_where_the_cohort_says_and_the_cortex_is_packed_as_described(client):
    run = client.get("/api/run").json()
    assert run["unseen"] == ["p0000"]
    assert run["places"] == PLACES.tolist()
    packed = client.get("/api/cortex").content
    vertices, faces = np.frombuffer(packed, "<u4", 2)
    place = np.frombuffer(packed, "<i2", 3 * vertices, 8).reshape(-1, 3) / 100
    region = np.frombuffer(packed, "<i2", vertices, 8 + 6 * vertices)
    corner = np.frombuffer(packed, "<u2", 3 * faces, 8 + 8 * vertices).reshape(-1, 3)
    assert len(packed) == 8 + 9 * vertices + 6 * faces
    assert corner.max() == vertices - 1
    edges = np.sort(np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}, "the surface is closed"
    near = np.linalg.norm(place - PLACES[region], axis=1)
    assert near[region >= 0].max() < 30
    assert (np.sign(place[region >= 0, 0]) == np.sign(PLACES[region[region >= 0], 0])).mean() > 0.97


def test_bold_of_all_regions_is_answered_with_that_of_the_one_that_is_named(client):
    scene = client.post("/api/scene", json={**SCENE, "bold_region": REGIONS[2]}).json()
    block = client.get("/api/people/p0000/blocks/stroop/1", params={"bold_region": REGIONS[2]}).json()
    for one in (block, *scene["performers"]):
        assert len(one["bold_map"]) == 4
        assert one["bold_map"][2] == one["bold"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"people": ["p0009"]}, "no person 'p0009'"),
        ({"task": "strop"}, "Did you mean 'stroop'?"),
        ({"block": 99}, "p0000 has 4 blocks of stroop"),
        ({"bold_region": "region9"}, "no region with BOLD 'region9'"),
        ({"gains": [{"region": "regio4", "gain": 1}]}, "Did you mean"),
        ({"edges": [{"first": "region1", "second": "region1", "by": 0.1}]}, "An edge joins two regions"),
        ({"dose": 1}, "has found this person no change"),
        ({"dose": 9}, "less than or equal to 2"),
        ({"edges": [{"first": "region1", "second": "region2", "by": "much"}]}, "valid number"),
        ({"budget": 1}, "Extra inputs are not permitted"),
        ({"people": []}, "at least 1 item"),
    ],
)
def test_mistakes_are_answered_in_words(client, change, words):
    answer = client.post("/api/scene", json={**SCENE, **change})
    assert answer.status_code in {404, 422}
    assert words in json.dumps(answer.json()["detail"])


@pytest.mark.parametrize("number", ["-1", "-99", "x"])
def test_a_block_before_the_first_is_none(client, number):
    answer = client.get(f"/api/people/p0000/blocks/stroop/{number}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["path", "block"]


@pytest.mark.parametrize("dose", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_has_not_is_answered_in_words(client, dose):
    body = json.dumps({**SCENE, "dose": 0}).replace('"dose": 0', f'"dose": {dose}')
    answer = client.post("/api/scene", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    (mistake,) = answer.json()["detail"]
    assert mistake["loc"] == ["body", "dose"]
    assert "input" not in mistake


def test_the_description_says_how_to_get_in_and_what_else_may_be_answered(client):
    found = client.get("/openapi.json").json()
    kinds = {(one["type"], one.get("scheme"), one.get("in")) for one in found["components"]["securitySchemes"].values()}
    assert kinds == {("http", "bearer", None), ("apiKey", None, "cookie")}
    for path, methods in found["paths"].items():
        for asked in methods.values():
            assert asked["security"], path
            assert {"200", "401", "422"} <= set(asked["responses"]), path
            assert ("404" in asked["responses"]) == (path != "/api/run"), path
            assert " " in asked["summary"], "a phrase and not a function's name"


def test_changed_connectomes_are_what_the_scene_says_they_became(client):
    asked = {"people": ["p0000", "p0002"], "edges": [{"first": REGIONS[2], "second": REGIONS[7], "by": 1.5}]}
    answer = client.post("/api/connectomes", json=asked)
    changed = np.frombuffer(answer.content, "<f4").reshape(2, len(REGIONS), len(REGIONS))
    scene = client.post("/api/scene", json={**asked, "task": "stroop"}).json()
    for person, matrix, one in zip(asked["people"], changed, scene["performers"], strict=True):
        own = np.frombuffer(client.get(f"/api/people/{person}/connectome").content, "<f4").reshape(matrix.shape)
        ((before, after),) = one["connectome"]["edges"]
        assert (own[2, 7], matrix[2, 7]) == (pytest.approx(before, abs=1e-4), pytest.approx(after, abs=1e-4))
        assert np.linalg.norm(matrix - own) / np.linalg.norm(own - np.eye(len(own))) == pytest.approx(
            one["connectome"]["made"], abs=1e-4
        )
    assert client.post("/api/connectomes", json={**asked, "dose": 1}).status_code == 404


def test_broken_json_and_other_hands_are_refused(client):
    assert client.post("/api/scene", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    # A form on another page could send this much; only a script that the browser would ask about first can send JSON.
    assert (
        client.post("/api/scene", content=json.dumps(SCENE), headers={"Content-Type": "text/plain"}).status_code == 422
    )
    assert client.get("/api/people/..%2f..%2fetc").status_code == 404
    assert client.get("/assets/..%2fviewer.py").status_code == 404


def test_many_at_once_get_what_each_would_alone(client):
    asked = [{**SCENE, "gains": [{"region": REGIONS[place], "gain": 0.1}]} for place in range(len(REGIONS))]

    def ask(body):
        return client.post("/api/scene", json=body).json()["performers"]

    alone = [ask(body) for body in asked]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, asked)) == alone


def test_the_viewer_itself_has_no_block_before_the_first(tmp_path):
    with pytest.raises(InputDataError, match="and block -1 was asked for"):
        Viewer(make_run(tmp_path, 1, found_for=())).block("p0000", "stroop", -1, None)


def test_a_person_whom_many_ask_for_is_read_once(tmp_path, monkeypatch):
    viewer, read = Viewer(make_run(tmp_path, 1, found_for=())), []
    lay_out = viewer._runner.lay_out

    def slowly(pseudonyms):
        read.extend(pseudonyms)
        time.sleep(0.05)
        return lay_out(pseudonyms)

    monkeypatch.setattr(viewer._runner, "lay_out", slowly)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(viewer.person, ["p0000"] * 4))
    assert read == ["p0000"]


def test_a_folder_that_cannot_be_shown_is_refused(tmp_path, capsys):
    with pytest.raises(InputDataError, match="is not a folder"):
        Viewer(tmp_path / "none")
    with pytest.raises(InputDataError, match="shards"):
        Viewer(tmp_path)
    assert exit_code(["view", str(tmp_path), "--port", "0"]) == 2
    assert "shards" in capsys.readouterr().err
    run = make_run(tmp_path / "run", 2)
    (run / "train" / "stage.json").unlink()
    with pytest.raises(DamagedOutputError, match=r"stage\.json"):
        Viewer(run)


def test_an_address_that_cannot_be_listened_at_is_refused(tmp_path, capsys):
    assert exit_code(["view", str(tmp_path), "--port", "70000"]) == 2
    assert exit_code(["view", str(tmp_path), "--host", "203.0.113.7", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "from 0 to 65535" in said
    assert "without encryption" in said
    assert "cannot listen there" in said
