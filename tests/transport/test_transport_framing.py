"""Where an answer ends is certain, and nothing sent after it is ever read as the next one."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from failsafe.faults import Fault
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import answered, exchange, failed
from tests.transport.raw_server import OK, Peer, RawServer, Script, answer

Connect = Callable[..., RequestsTransport]
HEAD = b"HTTP/1.1 200 OK\r\n"
INJECTED = HEAD + b"Content-Length: 8\r\n\r\ninjected"


def sized(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def answer_first(data: bytes) -> Script:
    """Answers the first request of a connection with *data*, further ones as usual."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        answer()(peer)

    return script


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(sized(b"short"), id="short"),
        pytest.param(sized(b"long" * 5000), id="long"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="no-content"),
        pytest.param(b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\n{}", id="refusal"),
    ],
)
@pytest.mark.parametrize("more", [1, 250], ids=["one", "many"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_follows_an_answer_is_never_the_next_one(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str, first: bytes, more: int, tls: bool
) -> None:
    """In TLS it lies decrypted where nobody sees it who looks at the socket."""
    with RawServer(answer_first(first + INJECTED * more), answer(), tls=server_tls if tls else None) as server:
        transport = connect(server.url, ca_bundle=ca_bundle)
        answered(exchange(transport))
        assert [answered(exchange(transport)).body for _ in range(2)] == [b"{}", b"{}"]
        assert server.connections == 2


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 2\r\nContent-Length: 5", id="two-lengths"),
        pytest.param(b"Content-Length: 2, 5", id="two-lengths-in-one"),
        pytest.param(b"Content-Length: -2", id="negative"),
        pytest.param(b"Content-Length: +2", id="signed"),
        pytest.param(b"Content-Length: 0_2", id="underscore"),
        pytest.param(b"Content-Length: two", id="word"),
        pytest.param(b"Content-Length: " + b"9" * 5000, id="endless"),
        pytest.param(b"Transfer-Encoding: gzip, chunked", id="unknown-coding"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\nContent-Length: 2", id="chunked-not-last"),
    ],
)
def test_a_length_that_is_none_is_malformed(connect: Connect, head: bytes) -> None:
    with RawServer(answer_first(HEAD + head + b"\r\n\r\n{}   "), answer()) as server:
        transport = connect(server.url)
        failure = failed(exchange(transport))
        assert (failure.fault, failure.maybe_billed) == (Fault.MALFORMED, True)
        answered(exchange(transport))
        assert server.connections == 2


def test_the_same_length_said_twice_is_one(connect: Connect) -> None:
    with RawServer(answer_first(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"), answer()) as server:
        assert answered(exchange(connect(server.url))).body == b"{}"


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\n{}\r\n0\r\n\r\n", id="both-lengths"
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", id="other-protocol"),
    ],
)
def test_a_connection_that_may_have_lost_its_place_is_not_used_again(
    connect: Connect, last: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with RawServer(answer_first(last), answer()) as server:
        transport = connect(server.url)
        answered(exchange(transport))
        assert answered(exchange(transport)).body == b"{}"
        assert server.connections == 2
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_flood_of_interim_answers_ends_with_the_deadline(connect: Connect) -> None:
    def flood(peer: Peer) -> None:
        peer.read_request()
        while not peer.server.stopped.is_set():
            peer.send(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 100)

    with RawServer(flood) as server:
        failure = failed(exchange(connect(server.url), timeout=0.2))
    assert failure.fault is Fault.TIMEOUT


def test_a_full_pool_is_no_warning_to_the_user(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    together = threading.Barrier(3)

    def script(peer: Peer) -> None:
        while peer.read_request():
            together.wait(5)
            peer.send(OK)

    with RawServer(script) as server, ThreadPoolExecutor(3) as threads:
        transport = connect(server.url, pool_size=1)
        for outcome in threads.map(lambda _: exchange(transport), range(3)):
            answered(outcome)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
