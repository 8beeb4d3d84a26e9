"""Webhooks: real servers on this machine that take their time, lead elsewhere, fail or are not there."""

from __future__ import annotations

import base64
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from failsafe.alerts.formats import as_json
from failsafe.alerts.grouping import Group
from failsafe.alerts.webhook import Webhook
from failsafe.clock import SYSTEM_CLOCK, Random
from failsafe.errors import ConfigError
from failsafe.secret import Secret
from failsafe.testing import FakeClock
from tests.alerts.alarms import critical
from tests.transport.raw_server import OK, Peer, RawServer, answer, answer_once

PATH = "/services/T000/B000/very-secret-path"
GROUP = Group(at=1_800_000_000.0, alerts=(critical(),))
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def status(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *headers, "Content-Length: 2", "", "no"]).encode()


Make = Callable[..., Webhook]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def hook(clock: FakeClock) -> Iterator[Make]:
    """Makes webhooks to a server of this machine, and stops them."""
    with ExitStack() as stack:

        def make(url: str, **settings: Any) -> Webhook:
            usual = {"clock": clock, "random": Random(1), "timeout": 5.0}
            made = Webhook(Secret(url), partial(as_json, host="here"), **{**usual, **settings})
            stack.callback(made.stop)
            return made

        yield make


def bodies(server: RawServer) -> list[Any]:
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]


def test_a_group_is_posted_as_json(hook: Make, clock: FakeClock) -> None:
    with RawServer(answer()) as server:
        webhook = hook(server.url + PATH)
        webhook.deliver(GROUP, "00ff")
        head = server.requests[0].partition(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith(f"post {PATH.lower()} http/1.1\r\n")
    assert "content-type: application/json" in head
    assert "authorization" not in head
    assert bodies(server)[0]["id"] == "00ff"
    assert (webhook.dropped, clock.waits) == (0, [])


@pytest.mark.parametrize("reply", [OK, NO_CONTENT, status("201 Created"), status("202 Accepted")])
def test_every_success_is_one(hook: Make, reply: bytes) -> None:
    with RawServer(answer(reply)) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "n")
        assert len(server.requests) == 1
    assert webhook.dropped == 0


def test_parameters_in_the_address_are_sent_as_they_are(hook: Make) -> None:
    with RawServer(answer()) as server:
        hook(f"{server.url}/a%20b/c d?sig=x%2Fy&v=1\n").deliver(GROUP, "n")
        assert server.requests[0].startswith(b"POST /a%20b/c%20d?sig=x%2Fy&v=1 HTTP/1.1")


def test_a_user_in_the_address_is_sent_in_the_header(hook: Make) -> None:
    with RawServer(answer()) as server:
        hook(server.url.replace("://", "://me:p%40ss@") + "/hook").deliver(GROUP, "n")
        head = server.requests[0].partition(b"\r\n\r\n")[0].decode()
    assert f"Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}" in head
    assert head.startswith("POST /hook HTTP/1.1")


@pytest.mark.parametrize("code", ["500 Oops", "502 Bad Gateway", "429 Too Many Requests", "408 Request Timeout"])
def test_what_may_pass_is_tried_again_after_a_while(hook: Make, clock: FakeClock, code: str) -> None:
    with RawServer(answer_once(status(code)), answer_once(status(code)), answer()) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "same")
    assert [body["id"] for body in bodies(server)] == ["same"] * 3
    assert webhook.dropped == 0
    assert [round(wait) for wait in clock.waits] == [1, 4]


def test_after_four_tries_a_group_is_dropped_counted_and_logged_once(
    hook: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    failing = answer_once(status("500 Oops"))
    with RawServer(*[failing] * 8, answer()) as server:
        webhook = hook(server.url + PATH)
        webhook.deliver(GROUP, "1")
        webhook.deliver(GROUP, "2")
        assert webhook.dropped == 2
        assert [round(wait) for wait in clock.waits] == [1, 4, 16] * 2 or len(clock.waits) == 6
        webhook.deliver(GROUP, "3")
    lines = [record.getMessage() for record in caplog.records if record.name == "failsafe.alerts"]
    assert lines == [
        "alerts were dropped, as the webhook answered with status 500; that is not said again until it works",
        "the webhook takes alerts again; 2 groups of them were dropped so far",
    ]
    assert len(server.requests) == 9


def test_a_server_that_names_a_time_is_given_it_within_reason(hook: Make, clock: FakeClock) -> None:
    replies = [status("429 Slow Down", f"Retry-After: {value}") for value in ("30", "86400", "soon")]
    with RawServer(*(answer_once(reply) for reply in replies), answer()) as server:
        hook(server.url).deliver(GROUP, "n")
    first, second, third = clock.waits
    assert 30 <= first <= 33
    assert 60 <= second <= 66
    assert 16 <= third <= 17.6


@pytest.mark.parametrize("code", ["400 Bad Request", "403 Forbidden", "404 Not Found", "410 Gone"])
def test_what_will_not_pass_is_not_tried_again(
    hook: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    with RawServer(answer(status(code))) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "n")
        assert len(server.requests) == 1
    assert (webhook.dropped, clock.waits) == (1, [])
    assert f"answered with status {code[:3]}" in caplog.text


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_no_redirect_is_followed(hook: Make, caplog: pytest.LogCaptureFixture, code: str) -> None:
    with RawServer(answer()) as elsewhere, RawServer(answer(status(code, f"Location: {elsewhere.url}/x"))) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "n")
        assert (len(server.requests), elsewhere.connections) == (1, 0)
    assert webhook.dropped == 1
    assert "answered with a redirect" in caplog.text
    assert str(elsewhere.port) not in caplog.text


def test_a_server_that_never_answers_is_left_at_the_deadline(hook: Make, caplog: pytest.LogCaptureFixture) -> None:
    def hang(peer: Peer) -> None:
        peer.read_request()
        peer.hang()

    with RawServer(hang) as server:
        webhook = hook(server.url, timeout=0.1)
        webhook.deliver(GROUP, "n")
        assert server.connections == 4
    assert webhook.dropped == 1
    assert "did not answer (timeout, in phase wait)" in caplog.text


def test_a_server_that_drips_its_headers_is_left_at_the_deadline(hook: Make, expect_logs: Any) -> None:
    def drip(peer: Peer) -> None:
        peer.read_request()
        peer.drip(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 100, every=0.01)

    with RawServer(drip) as server:
        webhook = hook(server.url, timeout=0.2)
        webhook.deliver(GROUP, "n")
    assert webhook.dropped == 1


def test_a_server_that_drips_its_body_has_taken_the_group(hook: Make) -> None:
    def drip(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        peer.drip(b"x")

    with RawServer(drip) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "n")
        assert server.connections == 1
    assert webhook.dropped == 0


def test_a_server_that_is_not_there(hook: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        webhook = hook(f"http://127.0.0.1:{taken.getsockname()[1]}{PATH}")
        webhook.deliver(GROUP, "n")
    assert webhook.dropped == 1
    assert len(clock.waits) == 3
    assert "did not answer (network, in phase connect)" in caplog.text


def test_a_server_that_hangs_up_is_asked_again(hook: Make) -> None:
    def hang_up(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with RawServer(hang_up, answer()) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "n")
    assert webhook.dropped == 0


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    hook: Make, server_tls: ssl.SSLContext, expect_logs: Any
) -> None:
    with RawServer(answer(), tls=server_tls) as server:
        webhook = hook(server.url.replace("127.0.0.1", "localhost"))
        webhook.deliver(GROUP, "n")
        assert server.requests == []
    assert webhook.dropped == 1


def test_it_posts_over_tls_to_whom_the_environment_trusts(
    hook: Make, server_tls: ssl.SSLContext, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)
    with RawServer(answer(), tls=server_tls) as server:
        webhook = hook(server.url)
        webhook.deliver(GROUP, "n")
        assert len(server.requests) == 1
    assert webhook.dropped == 0


def test_the_address_is_shown_nowhere(hook: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(answer(status("404 Not Found"))) as server:
        webhook = hook(server.url + PATH)
        webhook.deliver(GROUP, "n")
        shown = [repr(webhook), repr(webhook.__dict__), caplog.text]
    assert not any("very-secret" in text for text in shown)
    with pytest.raises(ConfigError) as refused:
        hook("https://[bad/very-secret")
    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example#@127.0.0.1/",
        "http://127.0.0.1:80@evil.example/",
        "http://evil.example?@127.0.0.1",
        "http://evil.example",
        "ftp://127.0.0.1",
        "https://",
    ],
)
def test_nothing_is_sent_to_another_machine_without_tls_however_the_address_is_read(hook: Make, url: str) -> None:
    with pytest.raises(ConfigError):
        hook(url)


def test_stopping_ends_what_is_under_way(hook: Make, expect_logs: Any) -> None:
    def hang(peer: Peer) -> None:
        peer.read_request()
        peer.hang()

    with RawServer(hang) as server:
        webhook = hook(server.url, timeout=30.0, clock=SYSTEM_CLOCK)
        thread = threading.Thread(target=webhook.deliver, args=(GROUP, "n"))
        thread.start()
        assert server.asked.wait(10)
        webhook.stop()
        thread.join(10)
        assert not thread.is_alive()
    assert webhook.dropped == 1


def test_stopping_ends_a_wait_between_two_tries(hook: Make, clock: FakeClock, expect_logs: Any) -> None:
    with RawServer(answer(status("500 Oops"))) as server:
        webhook = hook(server.url)
        with clock.during_wait(webhook.stop):
            webhook.deliver(GROUP, "n")
        assert len(server.requests) == 1
    assert webhook.dropped == 1
