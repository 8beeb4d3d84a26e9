"""An answer that is read piece by piece: in time, whole or known to be cut, closed or given back on every way out."""

from __future__ import annotations

import gc
import gzip
import os
import signal
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses

from failsafe.deadline import CancelToken, Deadline
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.secret import Secret
from failsafe.transport import sockets
from failsafe.transport.base import Limits, RawAnswer
from failsafe.transport.exchange import Exchange
from failsafe.transport.open_answer import OpenBody
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import BODY, CAP, DEADLINE, KEY, answered, exchange, failed
from tests.transport.raw_server import OK, Peer, RawServer, Script, answer, answer_once

Connect = Callable[..., RequestsTransport]
Start = Callable[..., tuple[RequestsTransport, RawServer]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
ZIPPED = b"Content-Encoding: gzip\r\n"
END = b"0\r\n\r\n"
MEBIBYTE = 1024 * 1024


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def as_is(data: bytes) -> bytes:
    return data


FRAMES: dict[str, tuple[bytes, Callable[[bytes], bytes], bytes]] = {
    "chunked": (CHUNKED + b"\r\n", chunk, END),
    "sized": (HEAD + b"Content-Length: 9\r\n\r\n", as_is, b""),
    "unframed": (HEAD + b"Connection: close\r\n\r\n", as_is, b""),
}


@pytest.fixture(params=["plain", "tls"])
def start(request: pytest.FixtureRequest, connect: Connect) -> Iterator[Start]:
    """Starts a server on a script, once without and once with TLS, and a transport to it."""
    servers: list[RawServer] = []
    tls = request.param == "tls"
    settings = {"ca_bundle": request.getfixturevalue("ca_bundle")} if tls else {}

    def begin(*scripts: Script) -> tuple[RequestsTransport, RawServer]:
        server = RawServer(*scripts, tls=request.getfixturevalue("server_tls") if tls else None)
        servers.append(server)
        return connect(server.url, **settings), server

    yield begin
    for server in servers:
        server.__exit__(None, None, None)


def ask(
    transport: RequestsTransport, *, timeout: float = 5.0, cancel: CancelToken | None = None
) -> OpenBody | RawAnswer | Failure:
    limits = Limits(deadline=Deadline.after(timeout), cancel=cancel)
    return transport.open("POST", "/chat", BODY, Secret(KEY), limits)


def opened(transport: RequestsTransport, **limits: Any) -> OpenBody:
    outcome = ask(transport, **limits)
    assert isinstance(outcome, OpenBody), outcome
    return outcome


def read(body: OpenBody, timeout: float = 5.0) -> bytes:
    piece = body.read(Deadline.after(timeout))
    assert isinstance(piece, bytes), piece
    return piece


def rest(body: OpenBody) -> bytes:
    """All that is still to come, to its proper end."""
    return b"".join(iter(lambda: read(body), b""))


def broken(body: OpenBody, timeout: float = 5.0) -> tuple[bytes, Failure]:
    """What comes before it breaks, and how it does."""
    came = b""
    while piece := body.read(Deadline.after(timeout)):
        if isinstance(piece, Failure):
            return came, failed(piece)
        came += piece
    raise AssertionError(f"it ended properly after {came!r}")


class Steps:
    """
    A script that sends *parts* one by one, each when it is told to, and then notes when the client hangs up.

    With *ends* it hangs up itself.
    """

    def __init__(self, *parts: bytes, ends: bool = False) -> None:
        self.parts = parts
        self.hung_up = threading.Event()
        self.ends = ends
        self._next = threading.Semaphore(1)  # the head is not waited for

    def go_on(self) -> None:
        self._next.release()

    def __call__(self, peer: Peer) -> None:
        try:
            peer.read_request()
            for part in self.parts:
                assert self._next.acquire(timeout=5)
                peer.send(part)
            while not self.ends and peer.sock.recv(65536):
                pass
        finally:
            self.hung_up.set()


# Pieces, as they come.


@pytest.mark.parametrize("frame", FRAMES)
def test_each_piece_is_there_as_soon_as_it_came(start: Start, frame: str) -> None:
    head, wrap, end = FRAMES[frame]
    steps = Steps(head, wrap(b"one"), wrap(b"two"), wrap(b"six") + end, ends=frame == "unframed")
    body = opened(start(steps)[0])
    assert (body.status, body.headers["CONTENT-TYPE"]) == (200, "text/event-stream")
    for piece in (b"one", b"two", b"six"):
        steps.go_on()
        assert read(body) == piece
    assert read(body) == b""
    assert body.bytes_received == 9
    assert read(body) == b""  # and so for ever


def test_a_piece_that_came_with_the_head_is_not_waited_for(start: Start) -> None:
    body = opened(start(Steps(CHUNKED + b"\r\n" + chunk(b"one") + chunk(b"two") + b"5\r\nth"))[0])
    assert read(body) == b"onetwo"
    assert read(body) == b"th"
    body.close()


def test_what_came_at_once_is_given_in_moderate_pieces(start: Start) -> None:
    data = os.urandom(3 * MEBIBYTE)
    body = opened(start(answer_once(HEAD + b"Connection: close\r\n\r\n" + data))[0])
    pieces = list(iter(lambda: read(body), b""))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 65536


def test_it_asks_not_to_be_compressed(start: Start) -> None:
    transport, server = start(answer(CHUNKED + b"\r\n" + END))
    assert rest(opened(transport)) == b""
    assert b"accept-encoding: identity\r\n" in server.requests[0].lower()


# In time.

EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of compressed data that hold nothing
ZIP_BEGUN = gzip.compress(b"")[:10]
SILENT = {
    "nothing": (CHUNKED + b"\r\n", b""),
    "chunk-head": (CHUNKED + b"\r\n", b"0"),
    "chunk-comment": (CHUNKED + b"\r\n1;", b"x"),
    "chunk-end": (CHUNKED + b"\r\n0\r\n", b"X: 1\r\n"),
    "sized": (HEAD + b"Content-Length: 9\r\n\r\n", b""),
    "unframed": (HEAD + b"\r\n", b""),
    "packed": (CHUNKED + ZIPPED + b"\r\n" + chunk(ZIP_BEGUN), chunk(EMPTY_BLOCK)),
    "empty-members": (CHUNKED + ZIPPED + b"\r\n", chunk(gzip.compress(b""))),
}


@pytest.mark.parametrize("way", SILENT)
def test_a_wait_for_a_piece_ends_in_time(start: Start, way: str) -> None:
    head, dripped = SILENT[way]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        if dripped:
            peer.drip(dripped)
        peer.hang()

    body = opened(start(script)[0])
    started = time.monotonic()  # noqa: TID251 -- measures real sockets
    outcome = body.read(Deadline.after(DEADLINE))
    elapsed = time.monotonic() - started  # noqa: TID251
    assert isinstance(outcome, Failure)
    assert (outcome.fault, outcome.phase, outcome.status) == (Fault.TIMEOUT, Phase.READ, 200)
    assert outcome.maybe_billed
    assert f"within {DEADLINE:g} s" in outcome.message
    assert DEADLINE * 0.9 <= elapsed <= CAP
    assert body.read(Deadline.after(5)) is outcome


def test_a_flood_that_shows_nothing_ends_in_time(connect: Connect) -> None:
    """Each member of the compressed body is whole, and empty: what comes always suffices for one more step."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED + ZIPPED + b"\r\n")
        while True:
            peer.send(chunk(gzip.compress(b"") * 3000))

    with RawServer(script) as server:
        body = opened(connect(server.url))
        started = time.monotonic()  # noqa: TID251
        outcome = body.read(Deadline.after(DEADLINE))
        assert time.monotonic() - started <= CAP  # noqa: TID251
    assert failed(outcome).fault is Fault.TIMEOUT  # type: ignore[arg-type]


def test_each_read_has_a_limit_of_its_own(start: Start) -> None:
    """The deadline of the request is long over when the answer is read on, and so is that of the piece before."""
    steps = Steps(CHUNKED + b"\r\n", chunk(b"one"), chunk(b"two") + END)
    body = opened(start(steps)[0], timeout=DEADLINE * 2)
    Deadline.after(DEADLINE * 2).wait(threading.Event())
    steps.go_on()
    first = Deadline.after(DEADLINE * 2)
    assert body.read(first) == b"one"
    first.wait(threading.Event())
    steps.go_on()
    assert rest(body) == b"two"


def test_a_limit_that_is_over_reads_nothing_from_the_network(start: Start) -> None:
    body = opened(start(Steps(CHUNKED + b"\r\n"))[0])
    over = Deadline.after(0.001)
    over.wait(threading.Event())
    outcome = body.read(over)
    assert isinstance(outcome, Failure)
    assert outcome.fault is Fault.TIMEOUT


def test_the_head_keeps_the_deadline_of_the_request(start: Start) -> None:
    transport, _ = start(lambda peer: peer.hang())
    started = time.monotonic()  # noqa: TID251
    failure = failed(ask(transport, timeout=DEADLINE))  # type: ignore[arg-type]
    assert time.monotonic() - started <= CAP  # noqa: TID251
    assert (failure.fault, failure.phase) == (Fault.TIMEOUT, Phase.WAIT)


# The connection: given back at the end, closed before it.


@pytest.mark.parametrize("frame", ["chunked", "sized"])
@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_gives_the_connection_back(start: Start, frame: str, at_once: bool) -> None:
    head, wrap, end = FRAMES[frame]

    def script(peer: Peer) -> None:
        while peer.read_request():
            parts = [head, wrap(b"nine "), wrap(b"byte") + end]
            for part in [b"".join(parts)] if at_once else parts:
                peer.send(part)

    transport, server = start(script)
    for _ in range(3):
        body = opened(transport)
        assert rest(body) == b"nine byte"
        body.close()
    assert answered(exchange(transport)).body == b"nine byte"
    assert server.connections == 1


def test_the_end_of_a_compressed_answer_gives_the_connection_back(start: Start) -> None:
    transport, server = start(answer(CHUNKED + ZIPPED + b"\r\n" + chunk(gzip.compress(b"hello")) + END))
    assert [rest(opened(transport)) for _ in range(3)] == [b"hello"] * 3
    assert server.connections == 1


def test_a_connection_that_brought_more_than_the_answer_is_not_used_again(start: Start) -> None:
    transport, server = start(answer(CHUNKED + b"\r\n" + chunk(b"one") + END + b"HTTP/1.1 200 OK\r\n\r\nstolen"))
    assert [rest(opened(transport)) for _ in range(2)] == [b"one"] * 2
    assert server.connections == 2


@pytest.mark.parametrize("after_a_piece", [True, False])
def test_closing_early_closes_the_socket_at_once(start: Start, after_a_piece: bool) -> None:
    steps = Steps(CHUNKED + b"\r\n" + chunk(b"one") * after_a_piece)
    transport, _ = start(steps, answer())
    body = opened(transport)
    if after_a_piece:
        assert read(body) == b"one"
    body.close()
    assert steps.hung_up.wait(5)
    body.close()
    outcome = body.read(Deadline.after(5))
    assert isinstance(outcome, Failure)
    assert (outcome.fault, outcome.phase, outcome.status) == (Fault.CANCELLED, Phase.READ, 200)
    assert outcome.bytes_received == 3 * after_a_piece
    answered(exchange(transport))


def in_a_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


class Reading:
    """A thread that reads *body* until it is over."""

    def __init__(self, body: OpenBody) -> None:
        self.came: list[bytes | Failure] = []
        self.blocked = threading.Event()
        self._body = body
        self._thread = in_a_thread(self._read)

    def _read(self) -> None:
        while True:
            piece = self._body.read(Deadline.after(20))
            self.came.append(piece)
            if isinstance(piece, Failure) or not piece:
                return

    def ended(self) -> bytes | Failure:
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self.came[-1]


def blocking(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a socket is about to be read from."""
    reached = threading.Event()
    for kind in (sockets.DeadlineSocket, sockets.DeadlineTLSSocket):
        receive: Any = kind.recv_into

        def receiving(self: Any, *args: Any, receive: Any = receive) -> Any:
            reached.set()
            return receive(self, *args)

        monkeypatch.setattr(kind, "recv_into", receiving)
    return reached


@pytest.mark.parametrize("way", ["close", "cancel"])
@pytest.mark.parametrize("frame", FRAMES)
def test_a_read_that_blocks_is_ended_by_another_thread(
    start: Start, monkeypatch: pytest.MonkeyPatch, way: str, frame: str
) -> None:
    steps, token = Steps(FRAMES[frame][0]), CancelToken()
    body = opened(start(steps)[0], cancel=token)
    reached = blocking(monkeypatch)
    reading = Reading(body)
    assert reached.wait(5)
    if way == "close":
        body.close()
    else:
        token.cancel()
    outcome = reading.ended()
    assert isinstance(outcome, Failure)
    assert (outcome.fault, outcome.phase, outcome.maybe_billed) == (Fault.CANCELLED, Phase.READ, True)
    assert steps.hung_up.wait(5)
    assert not token._callbacks


def test_a_token_cancelled_between_two_pieces_ends_it(start: Start) -> None:
    steps, token = Steps(CHUNKED + b"\r\n" + chunk(b"one")), CancelToken()
    body = opened(start(steps)[0], cancel=token)
    assert read(body) == b"one"
    token.cancel()
    _, failure = broken(body)
    assert failure.fault is Fault.CANCELLED
    assert steps.hung_up.wait(5)


def test_closing_in_the_very_moment_a_piece_has_come_leaves_nothing_open(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes believes that the thread that reads will end it, and that thread has read already."""
    steps = Steps(CHUNKED + b"\r\n" + chunk(b"one"))
    body = opened(start(steps)[0])
    check = Exchange.check

    def check_and_close(under_way: Exchange) -> None:
        check(under_way)
        in_a_thread(body.close).join()

    monkeypatch.setattr(Exchange, "check", check_and_close)
    assert read(body) == b"one"
    monkeypatch.undo()
    assert steps.hung_up.wait(5)
    assert isinstance(body.read(Deadline.after(5)), Failure)


def test_closing_while_another_thread_begins_to_read_leaves_nothing_open(start: Start) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED + b"\r\n" + chunk(b"one") * 50)
        peer.hang()

    transport, _ = start(script)
    for _ in range(30):
        body = opened(transport)
        reading = Reading(body)
        body.close()
        outcome = reading.ended()
        assert isinstance(outcome, Failure)
        assert outcome.fault is Fault.CANCELLED
        assert body._exchange.release() is None


def test_closing_an_answer_that_has_ended_leaves_the_next_one_alone(start: Start) -> None:
    """It was on the same connection, and belonged to the same call."""
    token = CancelToken()
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        for begins, ends in ((chunk(b"one"), END), (chunk(b"two"), chunk(b"three") + END)):
            peer.read_request()
            peer.send(CHUNKED + b"\r\n" + begins)
            if begins != chunk(b"one"):
                go_on.wait(5)
            peer.send(ends)
        peer.hang()

    transport, server = start(script)
    first = opened(transport, cancel=token)
    assert rest(first) == b"one"
    second = opened(transport, cancel=token)
    assert read(second) == b"two"
    first.close()
    first._exchange.end()
    go_on.set()
    assert rest(second) == b"three"
    assert server.connections == 1


def test_an_answer_that_has_ended_takes_no_cancellation_from_another_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(peer: Peer) -> None:
        for sent in (END, chunk(b"one")):
            peer.read_request()
            peer.send(CHUNKED + b"\r\n" + sent)
        peer.hang()

    transport, _ = start(script)
    token = CancelToken()
    over = [opened(transport, cancel=token)]
    assert rest(over[0]) == b""
    body = opened(transport, cancel=token)
    for _ in range(3):
        over[0]._exchange.end()
    reached = blocking(monkeypatch)
    reading = Reading(body)
    assert reached.wait(5)
    token.cancel()
    outcome = reading.ended()
    assert isinstance(outcome, Failure)
    assert outcome.fault is Fault.CANCELLED


def test_the_garbage_collector_closes_what_nobody_read(start: Start) -> None:
    """A token that lives on would keep the socket, too."""
    steps, token = Steps(CHUNKED + b"\r\n" + chunk(b"one")), CancelToken()
    body: Any = opened(start(steps)[0], cancel=token)
    assert read(body) == b"one"
    itself = [body]
    itself.append(itself)
    del body, itself
    gc.collect()
    assert steps.hung_up.wait(5)
    assert not token._callbacks


def test_the_garbage_collector_leaves_alone_what_was_read_or_never_made(start: Start) -> None:
    transport, server = start(answer(CHUNKED + b"\r\n" + END))
    body: Any = opened(transport)
    assert rest(body) == b""
    del body
    gc.collect()
    assert rest(opened(transport)) == b""
    assert server.connections == 1
    OpenBody.__new__(OpenBody).__del__()


# Compressed, though nobody asked for that.


def test_compressed_pieces_are_there_as_soon_as_they_came(start: Start) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    parts = [packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) for data in (b"one", b"two")]
    last = packer.flush()
    steps = Steps(CHUNKED + ZIPPED + b"\r\n", *map(chunk, parts), chunk(last) + END)
    body = opened(start(steps)[0])
    for piece in (b"one", b"two"):
        steps.go_on()
        assert read(body) == piece
    steps.go_on()
    assert read(body) == b""
    assert body.bytes_received == sum(map(len, parts)) + len(last)


PACKED = {
    "members": b"".join(gzip.compress(b"%d" % number) for number in range(300)),
    "rubbish-after-it": gzip.compress(b"".join(b"%d" % number for number in range(300))) + b"rubbish" * 30_000,
    "zeros-after-it": gzip.compress(b"".join(b"%d" % number for number in range(300))) + bytes(100),
    "deflate": zlib.compress(b"".join(b"%d" % number for number in range(300))),
}


@pytest.mark.parametrize("way", PACKED)
@pytest.mark.parametrize("size", [1, 700, 10**6])
def test_what_was_compressed_is_whole(connect: Connect, way: str, size: int) -> None:
    data = PACKED[way]
    size = max(size, len(data) // 2000)
    pieces = b"".join(chunk(data[place : place + size]) for place in range(0, len(data), size))
    with RawServer(answer(CHUNKED + ZIPPED + b"\r\n" + pieces + END)) as server:
        transport = connect(server.url)
        assert rest(opened(transport)) == b"".join(b"%d" % number for number in range(300))
        assert rest(opened(transport)) != b""
        assert server.connections == 1


@pytest.mark.parametrize("size", [MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 3 * MEBIBYTE, 3 * MEBIBYTE + 100])
def test_what_unfolds_to_the_limit_of_a_piece_is_whole(connect: Connect, size: int) -> None:
    with RawServer(answer(CHUNKED + ZIPPED + b"\r\n" + chunk(gzip.compress(bytes(size))) + END)) as server:
        assert len(rest(opened(connect(server.url)))) == size


def test_a_bomb_unfolds_a_mebibyte_at_a_time_and_keeps_the_limit(connect: Connect) -> None:
    bomb = gzip.compress(bytes(200 * MEBIBYTE))
    with RawServer(answer(CHUNKED + ZIPPED + b"\r\n" + chunk(bomb) + END)) as server:
        body = opened(connect(server.url))
        tracemalloc.start()
        try:
            for _ in range(50):
                assert len(read(body)) <= MEBIBYTE
            assert tracemalloc.get_traced_memory()[1] < 4 * MEBIBYTE
        finally:
            tracemalloc.stop()
        assert body.bytes_received <= 2 * 65536
        over = Deadline.after(0.001)
        over.wait(threading.Event())
        outcome = body.read(over)
        assert isinstance(outcome, Failure)
        assert outcome.fault is Fault.TIMEOUT


@pytest.mark.parametrize(
    ("coding", "message"), [(b"br", "content-encoding is unknown"), (b"gzip, gzip", "compressed more than once")]
)
def test_another_encoding_is_refused_at_its_head(start: Start, coding: bytes, message: str) -> None:
    steps = Steps(CHUNKED + b"Content-Encoding: %s\r\n\r\n" % coding)
    failure = failed(ask(start(steps)[0]))  # type: ignore[arg-type]
    assert (failure.fault, failure.status) == (Fault.MALFORMED, 200)
    assert message in failure.message
    assert steps.hung_up.wait(5)


# Cut.

WHOLE = gzip.compress(b"hello")
CUTS = {
    "chunk": (CHUNKED + b"\r\n" + chunk(b"one") + b"5\r\ntw", b"onetw"),
    "chunk-head": (CHUNKED + b"\r\n" + chunk(b"one") + b"5", b"one"),
    "between-chunks": (CHUNKED + b"\r\n" + chunk(b"one"), b"one"),
    "sized": (HEAD + b"Content-Length: 9\r\n\r\none", b"one"),
    "sized-at-once": (HEAD + b"Content-Length: 9\r\n\r\n", b""),
    "compressed": (CHUNKED + ZIPPED + b"\r\n" + chunk(WHOLE[:-8]) + END, b"hello"),
    "compressed-second-member": (CHUNKED + ZIPPED + b"\r\n" + chunk(WHOLE + WHOLE[:-1]) + END, b"hellohello"),
    "compressed-and-empty": (CHUNKED + ZIPPED + b"\r\n" + END, b""),
    "compressed-unframed": (HEAD + ZIPPED + b"\r\n" + WHOLE[:-1], b"hello"),
}


@pytest.mark.parametrize("way", CUTS)
def test_a_cut_answer_is_not_taken_for_whole(start: Start, way: str) -> None:
    sent, before = CUTS[way]
    came, failure = broken(opened(start(answer_once(sent))[0]))
    assert came == before
    assert (failure.fault, failure.phase, failure.status) == (Fault.TRUNCATED, Phase.READ, 200)


def test_a_reset_amid_it_is_a_cut(connect: Connect) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED + b"\r\n" + chunk(b"one"))
        go_on.wait(5)
        peer.reset()

    with RawServer(script) as server:
        body = opened(connect(server.url))
        assert read(body) == b"one"
        go_on.set()
        _, failure = broken(body)
    assert failure.fault is Fault.TRUNCATED
    assert "3 bytes" in failure.message


@pytest.mark.parametrize("data", [b"no chunk\r\n", b"-1\r\n", b"-5\r\n", b"\r\n"])
def test_chunks_that_are_none_are_a_failure(start: Start, data: bytes) -> None:
    transport, _ = start(answer_once(CHUNKED + b"\r\n" + data + chunk(b"two") + END))
    came, failure = broken(opened(transport))
    assert (came, failure.fault) == (b"", Fault.TRUNCATED)


def test_broken_compression_is_a_failure(start: Start) -> None:
    transport, _ = start(answer(CHUNKED + ZIPPED + b"\r\n" + chunk(b"rubbish") + END))
    _, failure = broken(opened(transport))
    assert (failure.fault, failure.message) == (Fault.MALFORMED, "the answer's body cannot be decompressed")


# What is no success is read whole.


@pytest.mark.parametrize("status", [302, 400, 401, 429, 500, 529])
def test_an_answer_that_is_no_success_comes_whole(start: Start, status: int) -> None:
    head = b"HTTP/1.1 %d No\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    transport, server = start(answer(head + chunk(b'{"error"') + chunk(b": 1}") + END))
    for _ in range(2):
        outcome = answered(ask(transport))  # type: ignore[arg-type]
        assert (outcome.status, outcome.headers["retry-after"], outcome.body) == (status, "7", b'{"error": 1}')
    assert server.connections == 1


@pytest.mark.parametrize("status", [200, 201, 206])
def test_a_success_is_open(start: Start, status: int) -> None:
    transport, _ = start(answer(b"HTTP/1.1 %d Yes\r\nContent-Length: 2\r\n\r\n{}" % status))
    body = opened(transport)
    assert (body.status, rest(body)) == (status, b"{}")


def test_a_success_without_a_body_ends_at_once(start: Start) -> None:
    transport, server = start(answer(b"HTTP/1.1 204 Nothing\r\n\r\n"))
    assert [rest(opened(transport)) for _ in range(2)] == [b"", b""]
    assert server.connections == 1


# Mocks.

URL = "https://api.test/v1/chat"


@responses.activate
@pytest.mark.parametrize("packed", [False, True])
def test_responses_intercepts(connect: Connect, packed: bool) -> None:
    data = b"data: one\n\n" * 20_000
    headers = {"Content-Encoding": "gzip"} if packed else {}
    responses.post(URL, body=gzip.compress(data) if packed else data, headers=headers, content_type="text/event-stream")
    transport = connect("https://api.test/v1")
    body = opened(transport)
    assert (body.status, body.headers["content-type"]) == (200, "text/event-stream")
    assert rest(body) == data
    assert body.bytes_received == len(gzip.compress(data) if packed else data)
    early = opened(transport)
    assert read(early)
    early.close()
    assert isinstance(early.read(Deadline.after(1)), Failure)


@responses.activate
def test_responses_can_refuse_and_raise(connect: Connect) -> None:
    transport = connect("https://api.test/v1")
    responses.post(URL, status=429, json={"error": 1})
    responses.post(URL, body=requests.ReadTimeout("MARKED"))
    assert answered(ask(transport)).status == 429  # type: ignore[arg-type]
    assert failed(ask(transport)).fault is Fault.TIMEOUT  # type: ignore[arg-type]


# Interruptions.


def locals_of(error: BaseException) -> str:
    """All that the frames of *error* and of what it came from hold."""
    said, seen = "", set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        traceback = each.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename != __file__:
                said += repr(traceback.tb_frame.f_locals)
            traceback = traceback.tb_next
    return said


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_passes_through_and_leaves_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    steps, token = Steps(CHUNKED + b"\r\n" + chunk(b"one")), CancelToken()
    transport, _ = start(steps, answer())
    body = opened(transport, cancel=token)
    assert read(body) == b"one"

    def interrupted(*_: Any) -> int:
        monkeypatch.undo()
        raise kind

    monkeypatch.setattr(sockets.BoundedSocket, "recv_into", interrupted)
    with pytest.raises(kind) as raised:
        body.read(Deadline.after(5))
    assert "MARKED" not in locals_of(raised.value)
    assert steps.hung_up.wait(5)
    assert not token._callbacks
    outcome = body.read(Deadline.after(5))
    assert isinstance(outcome, Failure)
    assert outcome.fault is Fault.CANCELLED
    answered(exchange(transport))


def test_an_interrupt_before_the_head_leaves_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, token = Steps(), CancelToken()
    transport, _ = start(steps, answer())

    def interrupted(*_: Any) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(sockets.BoundedSocket, "recv_into", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        ask(transport, cancel=token)
    assert "MARKED" not in locals_of(raised.value)
    assert steps.hung_up.wait(5)
    assert not token._callbacks
    answered(exchange(transport))


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for its own."""


def test_a_signal_that_raises_ends_a_blocked_read(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.main_thread().ident or 0

    def interrupt(*_: Any) -> None:
        raise Interrupted

    steps = Steps(CHUNKED + b"\r\n" + chunk(b"one"))
    body = opened(start(steps)[0])
    assert read(body) == b"one"
    reached = blocking(monkeypatch)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        sender = in_a_thread(lambda: signal.pthread_kill(main, signal.SIGUSR1 if reached.wait(5) else 0))
        with pytest.raises(Interrupted):
            body.read(Deadline.after(5))
        sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert steps.hung_up.wait(5)


def test_no_failure_and_no_repr_has_the_key(start: Start) -> None:
    body = opened(start(answer_once(CHUNKED + b"\r\n" + chunk(b"one") + b"5"))[0])
    broken(body)
    assert "MARKED" not in repr(body) + repr(body.headers) + repr(body._last)


# Forks.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("way", ["close", "collect", "cancel", "locked"])
def test_a_forked_child_that_closes_its_copy_leaves_the_parents_stream_alone(start: Start, way: str) -> None:
    steps, token = Steps(CHUNKED + b"\r\n" + chunk(b"one"), chunk(b"two") + END), CancelToken()
    body: Any = opened(start(steps)[0], cancel=token)
    assert read(body) == b"one"
    descriptor = body._exchange._socket.fileno()
    if way == "locked":  # as by a thread that the child does not have
        lock, body._exchange._lock = body._exchange._lock, threading.Lock()
        body._exchange._lock.acquire()
    child = os.fork()
    if child == 0:
        if way == "cancel":
            token.cancel()
        elif way == "collect":
            body = None
            gc.collect()
        else:
            body.close()
        os._exit(0 if way == "cancel" or not is_open(descriptor) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if way == "locked":
        body._exchange._lock = lock
    assert not token.cancelled
    steps.go_on()
    assert rest(body) == b"two"


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_the_helpers_see_a_socket_that_is_closed() -> None:
    ours, theirs = socket.socketpair()
    descriptor = ours.fileno()
    assert is_open(descriptor)
    ours.close()
    theirs.close()
    assert not is_open(descriptor)


def test_an_idle_connection_is_not_closed_by_an_answer_that_was(connect: Connect) -> None:
    with RawServer(answer(OK)) as server:
        transport = connect(server.url)
        bodies = [opened(transport) for _ in range(2)]
        for body in bodies:
            assert rest(body) == b"{}"
        for body in bodies:
            body.close()
        answered(exchange(transport))
        assert server.connections == 2
