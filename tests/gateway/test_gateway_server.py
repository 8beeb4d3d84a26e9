"""The gateway on a real port: pieces that are not held back, clients that leave, and an end in good order."""

from __future__ import annotations

import json
import re
import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from failsafe import loader
from failsafe.gateway import Gateway
from failsafe.gateway.server import GatewayServer
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, Behaviour, FakeCloud, FakeProvider, Healthy, StreamShape
from tests.acceptance.routers import PATIENCE, in_background, settles, stopwatch
from tests.gateway.asking import CHAT, TOKEN

ENDLESS = Behaviour(Healthy(text="word " * 4000), stream=StreamShape(interval=0.02))


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud([FakeProvider("first", vendor="openai")]) as providers:
        yield providers


@contextmanager
def serving(cloud: FakeCloud, **settings: Any) -> Iterator[GatewayServer]:
    config = loader.parse(tomllib.loads(cloud.as_toml()))
    with Router(config) as router, GatewayServer(Gateway(router, TOKEN), **settings) as server:
        yield server
        # Whatever fails, no call outlives its test.


def post(server: GatewayServer, **options: Any) -> requests.Response:
    json_body = {**CHAT, **options.pop("body", {})}
    headers = {"x-api-key": TOKEN, **options.pop("headers", {})}
    url = f"{server.url}/v1/chat/completions"
    return requests.post(url, json=json_body, headers=headers, **{"timeout": PATIENCE, **options})


def raw(body: dict[str, Any], *, framing: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-api-key: {TOKEN}\r\n"
    length = framing or f"Content-Length: {len(content)}"
    return f"{head}Content-Type: application/json\r\n{length}\r\n\r\n".encode() + content


def everything(client: socket.socket) -> bytes:
    """All that is sent until the connection is closed."""
    return b"".join(iter(lambda: client.recv(4096), b""))


def test_a_piece_is_sent_before_the_next_one_is_there(cloud: FakeCloud) -> None:
    """A server that fills a buffer first would deliver a short stream in one lump, at its end."""
    cloud["first"].behave(Behaviour(Healthy(text="one two"), stream=StreamShape(stall_after=2)))
    with serving(cloud) as server, post(server, body={"stream": True}, stream=True) as response:
        assert b'"content":"one ' in next(response.iter_content(None))


def test_a_client_that_leaves_a_stream_ends_it(cloud: FakeCloud) -> None:
    cloud["first"].behave(ENDLESS)
    with serving(cloud) as server:
        with post(server, body={"stream": True}, stream=True) as response:
            next(response.iter_content(None))
        assert settles(lambda: cloud["first"].open_connections == 0 and server.under_way == 0, PATIENCE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", ["hang", "stream-stall"])
def test_a_client_that_leaves_while_nothing_comes_ends_the_call(cloud: FakeCloud, behaviour: str, stream: bool) -> None:
    """Nothing is written, so no write can fail: the end of the connection itself has to be seen."""
    cloud["first"].behave(BEHAVIOURS["hang" if not stream else behaviour])
    with serving(cloud) as server:
        with socket.create_connection((server.host, server.port)) as client:
            client.sendall(raw({**CHAT, "stream": stream}))
            assert cloud["first"].wait_for_requests(1)
            assert server.under_way == 1
        assert settles(lambda: cloud["first"].open_connections == 0 and server.under_way == 0, PATIENCE)


def test_one_connection_serves_many_requests(cloud: FakeCloud) -> None:
    with serving(cloud) as server, requests.Session() as session:
        session.headers["x-api-key"] = TOKEN
        for _ in range(3):
            assert session.post(f"{server.url}/v1/chat/completions", json=CHAT, timeout=PATIENCE).status_code == 200
        assert len(server._server.active_channels) == 1


def test_a_request_in_chunks_is_read_to_its_end(cloud: FakeCloud) -> None:
    content = json.dumps(CHAT).encode()
    with serving(cloud) as server:
        pieces = iter([content[:20], content[20:]])
        headers = {"x-api-key": TOKEN, "Content-Type": "application/json"}
        url = f"{server.url}/v1/chat/completions"
        assert requests.post(url, data=pieces, headers=headers, timeout=PATIENCE).status_code == 200


def test_a_body_beyond_the_limit_is_not_taken(cloud: FakeCloud) -> None:
    with serving(cloud) as server, socket.create_connection((server.host, server.port)) as client:
        client.settimeout(PATIENCE)
        client.sendall(raw(CHAT, framing="Content-Length: 99999999999"))
        head, _, body = everything(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert "is larger than 33,554,432 bytes" in json.loads(body)["error"]["message"]  # the SDKs show this, and no page
    assert cloud["first"].count() == 0


def test_a_body_in_chunks_beyond_the_limit_is_not_taken(cloud: FakeCloud) -> None:
    config = loader.parse(tomllib.loads(f"max_request_bytes = 1024\n{cloud.as_toml()}"))
    with Router(config) as router, GatewayServer(Gateway(router, TOKEN)) as server:
        headers = {"x-api-key": TOKEN, "Content-Type": "application/json"}
        statuses = [
            requests.post(f"{server.url}/v1/chat/completions", data=data, headers=headers, timeout=PATIENCE).status_code
            for data in (b" " * 1024, b" " * 1025, iter([b" " * 1025]))
        ]
    assert statuses == [400, 413, 413]


def test_a_body_that_is_framed_twice_is_no_two_requests(cloud: FakeCloud) -> None:
    """A server in front that goes by the length would pass on a request that it has never seen as one."""
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(smuggled)}\r\n"
    with serving(cloud) as server, socket.create_connection((server.host, server.port)) as client:
        client.settimeout(PATIENCE)
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + smuggled)
        answered = everything(client)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("framing", ["Content-Length: 20000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    "headers", ["Host: localhost\r\nx-api-key: guessed", f"Host: evil.example\r\nx-api-key: {TOKEN}"]
)
def test_who_may_not_ask_fills_no_memory(cloud: FakeCloud, headers: str, framing: str) -> None:
    """Any page in a browser may send such bodies, without being asked: a thousand of them were kept until the end."""
    most = 0
    with serving(cloud) as server, socket.create_connection((server.host, server.port)) as client:
        client.settimeout(PATIENCE)
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{headers}\r\n{framing}\r\n\r\n".encode())
        assert settles(lambda: len(server._server.active_channels) == 1)
        (channel,) = server._server.active_channels.values()
        pieces = [b"f4240\r\n" + b"a" * 1_000_000 + b"\r\n" if "chunked" in framing else b"a" * 1_000_000] * 20
        for piece in pieces:
            client.sendall(piece)
            reading = channel.request
            most = max(most, len(reading.body_rcv) if reading is not None and reading.body_rcv is not None else 0)
        client.sendall(b"0\r\n\r\n" if "chunked" in framing else b"")
        answered = client.recv(100)
    assert most == 0
    assert answered.split(b" ")[1] in (b"401", b"403")


def test_a_request_without_a_host_is_refused(cloud: FakeCloud) -> None:
    with serving(cloud) as server, socket.create_connection((server.host, server.port)) as client:
        client.settimeout(PATIENCE)
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.0 403 ")


def test_the_health_check_has_no_server_name(cloud: FakeCloud) -> None:
    with serving(cloud) as server:
        response = requests.get(f"{server.url}/healthz", timeout=PATIENCE)
    assert response.json() == {"status": "ok", "providers": {"ready": 1, "all": 1}}
    assert "Server" not in response.headers


def test_calls_under_way_are_answered_before_the_end(cloud: FakeCloud) -> None:
    cloud["first"].behave(Behaviour(latency=0.3))
    with serving(cloud) as server, in_background(lambda: post(server)) as response:
        assert cloud["first"].wait_for_requests(1)
        server.stop(grace=PATIENCE)
        assert response.result(PATIENCE).status_code == 200
        assert not server.is_alive


@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_take_too_long_are_told_so_at_the_end(cloud: FakeCloud, stream: bool) -> None:
    cloud["first"].behave(ENDLESS if stream else BEHAVIOURS["hang"])
    with serving(cloud) as server, in_background(lambda: post(server, body={"stream": stream})) as response:
        assert cloud["first"].wait_for_requests(1)
        seconds = stopwatch()
        server.stop(grace=0.05)
        assert seconds() < PATIENCE
        got = response.result(PATIENCE)
        assert got.status_code == (200 if stream else 503)
        error = json.loads(got.text.rstrip().rpartition("data: ")[2])["error"]
        assert error["code"] == "cancelled"
        assert "caller" not in error["message"]  # it was not the client who gave up
        assert settles(lambda: cloud["first"].open_connections == 0, PATIENCE)


def test_no_new_connection_is_taken_while_it_ends(cloud: FakeCloud) -> None:
    cloud["first"].behave(BEHAVIOURS["hang"])
    with serving(cloud) as server, in_background(lambda: post(server)) as response:
        assert cloud["first"].wait_for_requests(1)
        with in_background(lambda: server.stop(grace=1.0)):
            assert settles(lambda: not can_connect(server), PATIENCE)
            assert server.under_way == 1
        assert response.result(PATIENCE).status_code == 503


def can_connect(server: GatewayServer) -> bool:
    try:
        socket.create_connection((server.host, server.port), timeout=PATIENCE).close()
    except ConnectionError:  # refused, or reset where the listener ended before it was taken
        return False
    return True


def test_a_request_that_nobody_had_begun_to_answer_is_dropped_at_the_end(cloud: FakeCloud) -> None:
    cloud["first"].behave(BEHAVIOURS["hang"])
    with serving(cloud, threads=1) as server, in_background(lambda: post(server)) as first:
        assert cloud["first"].wait_for_requests(1)
        with in_background(lambda: post(server)) as second:
            assert settles(lambda: server.under_way == 2, PATIENCE)
            server.stop()
            assert first.result(PATIENCE).status_code == 503
            with pytest.raises(requests.ConnectionError):
                second.result(PATIENCE)


def test_a_call_that_will_not_end_keeps_what_it_needs_until_it_does(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failsafe.gateway.server._CALLED_OFF", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def deaf(_event: object) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    config = loader.parse(tomllib.loads(cloud.as_toml()))
    with Router(config) as router, GatewayServer(Gateway(router, TOKEN)) as server:
        router.on_event(deaf, sync=True)  # the caller's own code, which no token can end
        with in_background(lambda: post(server)) as response:
            assert begun.wait(PATIENCE)
            server.stop()
            assert server.is_alive
            go_on.set()
            assert response.result(PATIENCE).status_code in (200, 503)
        server.stop(grace=PATIENCE)
        assert not server.is_alive


def test_ending_twice_does_nothing(cloud: FakeCloud) -> None:
    with serving(cloud) as server:
        server.stop()
        server.stop()
        assert not server.is_alive


def test_a_client_that_takes_nothing_does_not_hold_up_the_end(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failsafe.gateway.server._FLUSHING", 0.1)
    cloud["first"].behave(Behaviour(Healthy(text="x" * 9_000_000)))
    with serving(cloud) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((server.host, server.port))
        client.sendall(raw(CHAT))
        assert settles(lambda: not server.under_way and cloud["first"].count() == 1, PATIENCE)
        server.stop()
        assert not server.is_alive


def test_a_port_that_is_taken_is_an_error_at_once(cloud: FakeCloud) -> None:
    with serving(cloud) as server, pytest.raises(OSError, match="in use"), serving(cloud, port=server.port):
        pytest.fail("two servers on one port")


def test_it_listens_on_ipv6_too(cloud: FakeCloud) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(cloud, host="::1") as server:
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
        assert post(server).status_code == 200


def test_many_clients_are_answered_at_once(cloud: FakeCloud) -> None:
    cloud["first"].behave(Behaviour(latency=0.05))
    statuses: list[int] = []
    with serving(cloud, threads=8) as server:
        threads = [threading.Thread(target=lambda: statuses.append(post(server).status_code)) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert statuses == [200] * 24
