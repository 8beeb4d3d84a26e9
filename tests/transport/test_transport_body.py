"""A body is whole, decompressed and no larger than allowed, or it is a failure."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.transport import requests_transport
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import answered, exchange, failed
from tests.transport.raw_server import Peer, RawServer, answer, answer_once

Connect = Callable[..., RequestsTransport]
HEAD = b"HTTP/1.1 200 OK\r\n"
TEXT = b'{"text": "' + b"abc" * 50_000 + b'"}'


def sized(body: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int = 7001, extra: bytes = b"") -> bytes:
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return HEAD + extra + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


ZIPPED = b"Content-Encoding: gzip\r\n"


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(sized(TEXT), id="length"),
        pytest.param(chunked(TEXT), id="chunked"),
        pytest.param(sized(gzip.compress(TEXT), ZIPPED), id="gzip"),
        pytest.param(chunked(gzip.compress(TEXT), 11, ZIPPED), id="gzip-chunked"),
        pytest.param(sized(zlib.compress(TEXT), b"Content-Encoding: deflate\r\n"), id="deflate"),
        pytest.param(sized(TEXT, b"Content-Encoding: identity\r\n"), id="identity"),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + sized(TEXT), id="1xx"
        ),
    ],
)
def test_a_body_arrives_whole_and_its_connection_is_used_again(connect: Connect, whole: bytes) -> None:
    with RawServer(answer(whole)) as server:
        transport = connect(server.url)
        for _ in range(3):
            outcome = answered(exchange(transport))
            assert (outcome.status, outcome.body) == (200, TEXT)
        assert server.connections == 1


def test_a_body_that_ends_with_its_connection_arrives_whole(connect: Connect) -> None:
    with RawServer(answer_once(HEAD + b"\r\n" + TEXT)) as server:
        transport = connect(server.url)
        for _ in range(2):
            assert answered(exchange(transport)).body == TEXT
        assert server.connections == 2


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", HEAD + b"Content-Length: 0\r\n\r\n"])
def test_no_body_is_an_empty_one(connect: Connect, head: bytes) -> None:
    with RawServer(answer(head)) as server:
        transport = connect(server.url)
        for _ in range(2):
            assert answered(exchange(transport)).body == b""
        assert server.connections == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 429, 500, 529])
def test_every_status_is_an_answer(connect: Connect, status: int) -> None:
    with RawServer(answer(b"HTTP/1.1 %d What\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}" % status)) as server:
        outcome = answered(exchange(connect(server.url)))
        assert (outcome.status, outcome.body, outcome.headers["retry-AFTER"]) == (status, b"{}", "3")
        assert server.connections == 1


@pytest.mark.parametrize(
    ("cut", "received"),
    [
        pytest.param(sized(b"12345678")[:-3], 5, id="length"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\n", 0, id="no-byte"),
        pytest.param(chunked(b"12345678", 4)[:-5], 8, id="no-last-chunk"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n8\r\n123", 3, id="in-a-chunk"),
    ],
)
def test_a_body_that_stops_short_is_cut(connect: Connect, cut: bytes, received: int) -> None:
    with RawServer(answer_once(cut)) as server:
        failure = failed(exchange(connect(server.url)))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.TRUNCATED, Phase.READ, True)
    assert (failure.bytes_received, failure.status) == (received, 200)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        pytest.param(b"Content-Length: 9\r\n\r\n123", b"123", id="cut"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n3\r\n123\r\n9\r\n", b"123", id="cut-between-chunks"),
        pytest.param(b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n123", b"", id="not-gzip"),
        pytest.param(ZIPPED + b"\r\n" + gzip.compress(b"123")[:-8], b"123", id="cut-gzip"),
        pytest.param(b"Content-Length: 99999999999\r\n\r\n123", b"123", id="too-large"),
    ],
)
@pytest.mark.parametrize("status", [302, 401, 429, 500])
def test_a_refusal_with_a_broken_body_is_known_by_its_status(
    connect: Connect, status: int, body: bytes, read: bytes
) -> None:
    """Taken for a cut answer, a rate limit would count as a failure of the service and lose its Retry-After."""
    with RawServer(answer_once(b"HTTP/1.1 %d No\r\nRetry-After: 7\r\n" % status + body)) as server:
        outcome = answered(exchange(connect(server.url)))
    assert (outcome.status, outcome.headers["Retry-After"], outcome.body) == (status, "7", read)


def test_a_refusal_whose_body_stalls_is_not_waited_for(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_transport, "_REFUSAL_WAIT", 0.1)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\nwrong key")
        peer.hang()

    with RawServer(script) as server:
        started = time.monotonic()  # noqa: TID251 -- measures real sockets
        outcome = answered(exchange(connect(server.url), timeout=5))
        elapsed = time.monotonic() - started  # noqa: TID251
    assert (outcome.status, outcome.body) == (401, b"wrong key")
    assert 0.09 <= elapsed <= 0.3


def test_of_an_endless_refusal_a_megabyte_is_read(connect: Connect) -> None:
    with RawServer(answer_once(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 1_200_000)) as server:
        assert answered(exchange(connect(server.url))).body == b"x" * 2**20


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 30])
def test_gzip_that_stops_short_of_its_end_is_cut_however_much_of_it_unfolds(connect: Connect, cut: int) -> None:
    """All of the text may be there, and nothing says so but the end that is missing."""
    with RawServer(answer(sized(gzip.compress(TEXT)[:-cut], ZIPPED))) as server:
        failure = failed(exchange(connect(server.url)))
    assert (failure.fault, failure.status) == (Fault.TRUNCATED, 200)


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(gzip.compress(TEXT)[:-8] + bytes(8), id="wrong-checksum"),
        pytest.param(gzip.compress(b"") * 1000, id="members-without-end"),
    ],
)
def test_gzip_that_is_none_is_malformed(connect: Connect, spoilt: bytes) -> None:
    with RawServer(answer(sized(spoilt, ZIPPED))) as server:
        failure = failed(exchange(connect(server.url)))
    assert (failure.fault, failure.message) == (Fault.MALFORMED, "the answer's body cannot be decompressed")


@pytest.mark.parametrize("rest", [b"", b"not gzip", bytes(20), gzip.compress(b"")], ids=["", "text", "zeros", "member"])
def test_gzip_in_parts_is_put_together_and_what_follows_it_is_ignored(connect: Connect, rest: bytes) -> None:
    packed = gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]) + rest
    with RawServer(answer(sized(packed, ZIPPED))) as server:
        assert answered(exchange(connect(server.url))).body == TEXT


def test_a_body_cut_by_a_reset_is_cut(connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(sized(b"12345678")[:-3])
        peer.server.stopped.wait(0.05)  # an RST would overtake bytes that were not read yet
        peer.reset()

    with RawServer(script) as server:
        failure = failed(exchange(connect(server.url)))
    assert (failure.fault, failure.phase, failure.bytes_received) == (Fault.TRUNCATED, Phase.READ, 5)


@pytest.mark.parametrize(
    ("spoilt", "phase"),
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", Phase.WAIT, id="not-http"),
        pytest.param(b"HTTP/1.1 2xx OK\r\n\r\n", Phase.WAIT, id="bad-status"),
        pytest.param(HEAD + b"X: " + b"y" * 70_000, Phase.WAIT, id="endless-header"),
        pytest.param(HEAD + b"X: y\r\n" * 500 + b"\r\n", Phase.WAIT, id="too-many-headers"),
        pytest.param(HEAD + b"no header\r\nContent-Length: 2\r\n\r\n{}", Phase.WAIT, id="no-header"),
        pytest.param(sized(b"not gzip", ZIPPED), Phase.READ, id="bad-gzip"),
        pytest.param(sized(b"xx", b"Content-Encoding: aws-chunked\r\n"), Phase.READ, id="unknown-encoding"),
        pytest.param(sized(b"xx", b"Content-Encoding: gzip, nonsense\r\n"), Phase.READ, id="unknown-among-known"),
    ],
)
def test_an_answer_that_is_not_http_is_malformed(connect: Connect, spoilt: bytes, phase: Phase) -> None:
    with RawServer(answer(spoilt)) as server:
        failure = failed(exchange(connect(server.url)))
        assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.MALFORMED, phase, True)
        assert server.connections == 1


@pytest.mark.parametrize(
    "large",
    [
        pytest.param(HEAD + b"Content-Length: 99999999999\r\n\r\n{", id="claimed"),
        pytest.param(sized(b"x" * 1_048_577), id="length"),
        pytest.param(chunked(b"x" * 1_200_000), id="chunked"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n" + b"x" * 1_200_000, id="one-huge-chunk"),
        pytest.param(HEAD + b"\r\n" + b"x" * 1_200_000, id="until-close"),
        pytest.param(sized(gzip.compress(bytes(1_200_000)), ZIPPED), id="gzip"),
        pytest.param(chunked(gzip.compress(bytes(1_200_000)), 50, ZIPPED), id="gzip-chunked"),
    ],
)
def test_a_body_larger_than_allowed_is_refused(connect: Connect, large: bytes) -> None:
    with RawServer(answer(large)) as server:
        failure = failed(exchange(connect(server.url), max_bytes=1_048_576))
    assert (failure.fault, failure.message) == (Fault.MALFORMED, "answer larger than 1 MiB")


def test_a_body_exactly_as_large_as_allowed_is_taken(connect: Connect) -> None:
    with RawServer(answer(sized(TEXT)), answer(sized(gzip.compress(TEXT), ZIPPED))) as server:
        for transport in (connect(server.url), connect(server.url)):
            assert answered(exchange(transport, max_bytes=len(TEXT))).body == TEXT


@pytest.mark.parametrize("layers", [1, 2])
def test_a_compressed_bomb_never_unfolds(connect: Connect, layers: int) -> None:
    bomb = bytes(64 * 2**20)
    for _ in range(layers):
        bomb = gzip.compress(bomb)
    coding = b"Content-Encoding: " + b", ".join([b"gzip"] * layers) + b"\r\n"
    with RawServer(answer(sized(bomb, coding))) as server:
        transport = connect(server.url)
        tracemalloc.start()
        failure = failed(exchange(transport, max_bytes=2**20))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert failure.fault is Fault.MALFORMED
    assert peak < 16 * 2**20
