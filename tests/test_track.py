"""The tracker logs what it is given and nothing about the machine; without W&B it does nothing at all."""

from __future__ import annotations

import getpass
import http.server
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dtb import track
from dtb.config import TrackConfig
from dtb.errors import ConfigurationError, StageError
from dtb.track import Tracker, open_tracker

ROOT = Path(__file__).parents[1]


def test_off_is_a_tracker_that_does_nothing(tmp_path):
    tracker = open_tracker(TrackConfig(wandb="off"), tmp_path, {})
    assert type(tracker) is Tracker
    tracker.log({"loss": 1.0}, step=1)
    tracker.table("t", ["a"], [[1]])
    tracker.figure("f", None)
    tracker.summarise({"x": 1})
    tracker.finish()
    assert tracker.run_id is None
    assert not list(tmp_path.iterdir())


def read_record(data):
    """Return the messages of a W&B offline record: seven bytes of magic and version, then LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    assert data[:4] == b":W&B"
    place, message, block = 7, b"", 32768
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        if place + 7 + size > len(data):  # it was killed while it wrote
            return
        message += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in {1, 4}:  # whole, or last piece
            entry = wandb_internal_pb2.Record()
            entry.ParseFromString(message)
            yield entry
            message = b""


def readable(path):
    """Return the text of a file in which a name could be read: of a record its messages, of a picture all but its compressed pixels."""
    data = path.read_bytes()
    if path.suffix == ".wandb":
        return "\n".join(str(entry) for entry in read_record(data)).encode("latin1", "replace").decode("unicode_escape")
    if path.suffix != ".png":
        return data.decode("utf-8", "replace")
    place, found = 8, b""
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind != b"IDAT":
            found += data[place : place + 8 + size]
        place += 12 + size
    return found.decode("utf-8", "replace")


def names_in(path, secrets):
    """Return the secrets that stand in a file; names as whole words, for the letters of a short one may well be part of a random id."""
    text = readable(path)
    patterns = {
        secret: rf"(?<![0-9A-Za-z]){secret}(?![0-9A-Za-z])" if secret.isalnum() else re.escape(secret)
        for secret in secrets
    }
    return [secret for secret, pattern in patterns.items() if re.search(pattern, text)]


@pytest.mark.slow
def test_offline_record_holds_the_figures_and_nothing_of_the_machine(tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.delenv("WANDB_API_KEY", raising=False)

    tracker = open_tracker(TrackConfig(wandb="offline"), tmp_path, {"seed": 7})
    for step in range(1, 4):
        tracker.log({"train_loss": 1 / step}, step=step)
    tracker.table("figures", ["task", "r"], [["stroop", 0.5]])
    figure, axes = pyplot.subplots()
    axes.plot([0, 1])
    tracker.figure("curve", figure)
    pyplot.close(figure)
    tracker.summarise({"best_epoch": 3})
    tracker.finish()

    (record,) = tmp_path.rglob("*.wandb")
    assert tracker.run_id in record.name
    everything = record.read_bytes()
    losses, kinds = {}, set()
    for entry in read_record(everything):
        kinds.add(entry.WhichOneof("record_type"))
        items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in entry.history.item}
        if "train_loss" in items:
            losses[items["_step"]] = items["train_loss"]
    assert "stroop" in next(tmp_path.rglob("*.html")).read_text()
    assert list(tmp_path.rglob("*.png"))
    assert losses == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    assert {"run", "history", "summary"} <= kinds
    # What would be sent; W&B's debug logs beside it stay here.
    sent = [record, *(path for path in (record.parent / "files").rglob("*") if path.is_file())]
    assert len(sent) == 3
    secrets = (socket.gethostname(), str(tmp_path), str(Path.cwd()), getpass.getuser() + "@", str(Path.home()))
    assert names_in(record, [tracker.run_id, "train_loss"]) == [tracker.run_id, "train_loss"]
    for path in sent:
        assert not names_in(path, secrets), path


@pytest.mark.slow
def test_a_key_without_network_leaves_the_record_offline_and_says_so(tmp_path, monkeypatch):
    with socket.socket() as nobody:  # bound, so that nobody else takes it, and not listened at
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
        told = []
        tracker = open_tracker(TrackConfig(wandb="auto"), tmp_path, {}, tell=told.append)
        tracker.log({"train_loss": 0.5}, step=1)
        tracker.finish()
        with pytest.raises(StageError, match=r"Set track\.wandb to offline, or to auto"):
            open_tracker(TrackConfig(wandb="online"), tmp_path, {})
    (sentence,) = told
    assert sentence.startswith("Weights & Biases cannot be used")
    assert "\n" not in sentence
    (record,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert tracker.run_id in record.name
    assert any(entry.WhichOneof("record_type") == "history" for entry in read_record(record.read_bytes()))


# In a process of its own: W&B remembers a key that it was given before.
KEYLESS = """
import sys
from pathlib import Path
from dtb.config import TrackConfig
from dtb.errors import FinalError
from dtb.track import open_tracker

try:
    open_tracker(TrackConfig(wandb="online"), Path(sys.argv[1]), {})
except FinalError as error:
    print(error)
open_tracker(TrackConfig(wandb="auto"), Path(sys.argv[1]), {}, tell=print).finish()
"""


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "too-short"])
def test_without_a_key_that_can_be_one_online_is_refused_for_good(tmp_path, key):
    """W&B calls it an error of usage, not of communication; Ray Train would begin a training anew after it."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    variables |= {"HOME": str(tmp_path / "nobody's"), "PYTHONPATH": str(Path(__file__).parents[1])}
    variables |= {"WANDB_API_KEY": key} if key else {}
    done = subprocess.run(
        [sys.executable, "-c", KEYLESS, str(tmp_path)],
        env=variables | {"WANDB_BASE_URL": "http://127.0.0.1:9"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, *told = done.stdout.splitlines()
    assert re.search(r"API key.*Set track\.wandb to offline, or to auto", refused)
    assert ["API key" in sentence for sentence in told] == [True] * bool(key)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({"WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "disabled"}, "off"),
        ({"WANDB_DISABLED": "true"}, "off"),
        ({"WANDB_MODE": "online"}, "online"),
        ({}, "auto"),
    ],
)
def test_what_wandb_s_own_variables_say_decides_where_the_configuration_leaves_it_open(monkeypatch, variables, kind):
    for name in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert track._mode(TrackConfig()) == kind
    assert track._mode(TrackConfig(wandb="online")) == "online"


class _WandbServer(http.server.BaseHTTPRequestHandler):
    """Answers W&B's client as its server does, as far as a run needs it, and keeps every request; of any other host it knows nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((f"{self.command} {self.path}", str(self.headers), body))
        answer = json.dumps(self._answer(body) if self.path == "/graphql" else {}).encode()
        self.send_response(200 if self.path.startswith("/") else 502)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_CONNECT = do_POST

    def _answer(self, body):
        asked = json.loads(body)["variables"]
        project = {"id": "p", "name": "dtb", "entity": {"id": "e", "name": "somebody"}}
        run = {"id": "r", "name": asked.get("name"), "config": "{}", "project": project, "historyLineCount": 0}
        places = [
            {"name": name, "uploadUrl": f"http://{self.headers['Host']}/files/{name}"}
            for name in asked.get("files", ())
        ]
        data = {
            "viewer": {"id": "u", "entity": "somebody", "username": "somebody", "flags": "{}", "teams": {"edges": []}},
            "upsertBucket": {"bucket": run, "inserted": True},
            "createRunFiles": {"runID": "r", "uploadHeaders": [], "files": places},
        }
        return {"data": data}

    def log_message(self, *_):
        pass


@pytest.fixture
def wandb_server():
    """A stand-in for W&B's server, which is also the proxy for every other host."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _WandbServer) as server:
        server.requests = []
        server.handle_error = lambda *_: None  # the client ends connections as it ends
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def sent_to(server):
    """Give the environment in which W&B's client has a key for a server, and every other host lies behind it."""
    address = f"http://127.0.0.1:{server.server_address[1]}"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address)
    past = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1")
    return {**proxies, **past, "WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "online"}


ENDS_IN_AN_ERROR = """
import sys, urllib.error, urllib.request
from pathlib import Path
from matplotlib import pyplot
from dtb.config import TrackConfig
from dtb.track import open_tracker
try:
    urllib.request.urlopen("http://elsewhere.example/seen")
except urllib.error.HTTPError:
    pass
tracker = open_tracker(TrackConfig(), Path(sys.argv[1]), {"seed": 7})
tracker.log({"train_loss": 0.25}, step=1)
tracker.table("figures", ["task", "r"], [["stroop", 0.5]])
tracker.figure("curve", pyplot.figure())
tracker.summarise({"best_epoch": 3})
tracker.log({"broken": object()}, step=2)  # W&B's own code raises, with paths of this machine in its traceback
"""


@pytest.mark.slow
def test_what_leaves_the_machine_is_figures_and_configuration_though_the_run_ends_in_an_error(tmp_path, wandb_server):
    """A server records every request to W&B, and as a proxy those to any other host."""
    # Nor does it find the processes of W&B's client that other tests here started.
    without_wandb = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", ENDS_IN_AN_ERROR, str(tmp_path)],
        env={**without_wandb, **sent_to(wandb_server), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert "is not JSON serializable" in done.stderr
    elsewhere, *requests = wandb_server.requests
    assert elsewhere[0] == "GET http://elsewhere.example/seen", "another host would be seen"
    assert {line.split("/")[1] for line, _, _ in requests} == {"graphql", "files"}
    bodies = {line: body for line, _, body in requests}
    everything = b"\n".join(body for _, _, body in requests)
    for words in (b"train_loss", b"0.25", b"seed", b"best_epoch", b"stroop"):
        assert words in everything
    assert [line for line in bodies if line.endswith(".png")]
    user = getpass.getuser()
    secrets = [socket.gethostname(), str(tmp_path), str(ROOT), str(Path.home()), f"{user}@", "0" * 40]
    secrets += [str(Path(sys.prefix)), "Traceback", "TypeError", "site-packages"]
    for place, (line, headers, body) in enumerate(requests):
        assert "0" * 40 not in headers  # it is encoded, for the server alone
        kept = tmp_path / f"{place}{Path(line).suffix if line.startswith('PUT') else ''}"
        kept.write_bytes(body)
        assert not names_in(kept, secrets), (line, body)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "is_recorded"),
    [({"WANDB_MODE": "offline"}, True), ({"WANDB_MODE": "disabled"}, False), ({"WANDB_DISABLED": "true"}, False)],
)
def test_with_a_key_and_wandb_s_own_word_nothing_leaves_the_machine(
    tmp_path, monkeypatch, wandb_server, variables, is_recorded
):
    for name, value in {**sent_to(wandb_server), **variables}.items():
        monkeypatch.setenv(name, value)
    tracker = open_tracker(TrackConfig(), tmp_path, {})
    tracker.log({"train_loss": 0.5}, step=1)
    tracker.finish()
    assert wandb_server.requests == []
    assert bool(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == is_recorded


@pytest.mark.parametrize(
    ("mode", "key"), [("auto", ""), ("auto", "0" * 40), ("off", ""), ("online", ""), ("offline", "")]
)
def test_without_the_extra_nothing_is_recorded_and_whoever_asked_for_it_is_told(tmp_path, monkeypatch, mode, key):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody's"))
    for name in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    told: list[str] = []
    if mode in {"online", "offline"}:
        with pytest.raises(
            ConfigurationError, match=rf"track\.wandb is {mode}.*pip install 'digital-twin-brains\[wandb\]'"
        ):
            open_tracker(TrackConfig(wandb=mode), tmp_path, {}, tell=told.append)
    else:
        tracker = open_tracker(TrackConfig(wandb=mode), tmp_path, {}, tell=told.append)
        tracker.log({"train_loss": 0.5}, step=1)
        tracker.finish()
        assert tracker.run_id is None
        assert [("not installed" in sentence) for sentence in told] == [True] * bool(key)
    assert not list(tmp_path.iterdir())
