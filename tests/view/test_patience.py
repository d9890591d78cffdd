"""Half-sent requests are given up, long bodies refused, and equal scenes simulated once."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from dtb.errors import StageError
from dtb.view import api, patience
from dtb.view.guard import Guard
from dtb.view.patience import PatientProtocol
from dtb.view.viewer import MOST_SCENES, Viewer

HEADERS = {"Authorization": "Bearer t"}


async def echo(scope, receive, send):
    message = await receive()
    await PlainTextResponse(str(len(message["body"])))(scope, receive, send)


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(patience, "BODY_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(Guard(echo, "t"), http=PatientProtocol, log_level="critical", lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 408"),
    ],
)
def test_a_half_sent_request_is_given_up(port, sent, answered):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        got = client.recv(4096)
        assert got.startswith(answered) if answered else got == b""


def test_a_slow_head_after_a_first_request_is_given_up_too(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nContent-Length: 4\r\n\r\nfour")
        assert b"200 OK" in client.recv(4096)
        client.sendall(b"GET / HT")
        assert client.recv(4096) == b""


def test_a_long_body_is_refused_and_another_arrives_whole():
    client = TestClient(Guard(echo, "t"), headers=HEADERS)
    assert client.post("/", content=b"x" * patience.MOST_BYTES).text == str(patience.MOST_BYTES)
    answer = client.post("/", content=b"x" * (patience.MOST_BYTES + 1))
    assert (answer.status_code, answer.text) == (413, "A request may have 1,048,576 bytes.\n")


def test_equal_scenes_are_simulated_once_and_too_many_others_are_told_so(monkeypatch):
    viewer = object.__new__(Viewer)
    viewer._sharing, viewer._under_way = threading.Lock(), {}
    gate, performed = threading.Event(), []

    def perform(request):
        performed.append(request.block)
        gate.wait(20)
        return request.block

    monkeypatch.setattr(viewer, "_performed", perform)
    requests = [api.SceneRequest(people=["p"], task="t", block=number) for number in range(MOST_SCENES + 1)]
    with ThreadPoolExecutor(50) as people:
        equal = [people.submit(viewer.scene, requests[0]) for _ in range(30)]
        others = [people.submit(viewer.scene, one) for one in requests[1:MOST_SCENES]]
        while len(performed) < MOST_SCENES:
            time.sleep(0.01)
        with pytest.raises(StageError, match="Ask again in a moment"):
            viewer.scene(requests[MOST_SCENES])
        time.sleep(0.2)
        gate.set()
        assert [each.result() for each in equal] == [0] * 30
        assert [each.result() for each in others] == [*range(1, MOST_SCENES)]
    assert sorted(performed) == [*range(MOST_SCENES)]
    assert viewer._under_way == {}
