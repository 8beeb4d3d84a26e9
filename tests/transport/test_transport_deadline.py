"""The deadline holds in every phase, whatever the network does."""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.deadline import Deadline
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.transport import resolver
from failsafe.transport.base import Limits
from failsafe.transport.exchange import Exchange
from failsafe.transport.requests_transport import RequestsTransport
from failsafe.transport.sockets import DeadlineSocket, claim
from tests.transport.exchanges import DEADLINE, answered, exchange, failed, full_listener, late
from tests.transport.raw_server import OK, Peer, RawServer, Script, answer

Connect = Callable[..., RequestsTransport]


def then(data: bytes, dripped: bytes = b"") -> Script:
    """Reads the request, sends *data*, and then *dripped* byte by byte for ever, or nothing."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        if dripped:
            peer.drip(dripped)
        else:
            peer.hang()

    return script


@pytest.mark.parametrize(
    ("script", "phase"),
    [
        pytest.param(then(b""), Phase.WAIT, id="no-answer"),
        pytest.param(then(b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"), Phase.WAIT, id="header-drip"),
        pytest.param(then(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Phase.WAIT, id="endless-1xx-drip"),
        pytest.param(then(OK[:-2]), Phase.READ, id="body-missing"),
        pytest.param(then(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "), Phase.READ, id="body-drip"),
        pytest.param(then(b"HTTP/1.1 200 OK\r\n\r\n", b" "), Phase.READ, id="body-drip-until-close"),
        pytest.param(
            then(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            Phase.READ,
            id="endless-chunks",
        ),
        pytest.param(
            then(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n"),
            Phase.READ,
            id="trailer-drip",
        ),
    ],
)
def test_an_answer_that_is_slow_is_late(connect: Connect, script: Script, phase: Phase) -> None:
    with RawServer(script) as server:
        failure = late(connect(server.url))
    assert failure.fault is Fault.TIMEOUT
    assert failure.phase is phase
    assert failure.maybe_billed
    assert f"{DEADLINE:g} s" in failure.message


@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_answers_without_end_are_late(connect: Connect, status: int) -> None:
    def flood(peer: Peer) -> None:
        peer.read_request()
        while True:
            peer.send(b"HTTP/1.1 %d Soon\r\nLink: x\r\n\r\n" % status * 100)

    with RawServer(flood) as server:
        failure = late(connect(server.url))
    assert (failure.fault, failure.phase) == (Fault.TIMEOUT, Phase.WAIT)


def test_bytes_of_a_late_body_are_counted(connect: Connect) -> None:
    with RawServer(then(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n12345")) as server:
        failure = late(connect(server.url))
    assert failure.bytes_received == 5
    assert failure.status == 200


def test_a_peer_that_does_not_read_a_large_body_is_late(connect: Connect) -> None:
    with RawServer(lambda peer: peer.stall(), receive_buffer=4096) as server:
        failure = late(connect(server.url), body=b" " * 30_000_000)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.TIMEOUT, Phase.SEND, True)


def test_a_tls_peer_that_does_not_read_a_large_body_is_late(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str
) -> None:
    with RawServer(lambda peer: peer.stall(), tls=server_tls, receive_buffer=4096) as server:
        failure = late(connect(server.url, ca_bundle=ca_bundle), body=b" " * 30_000_000)
    assert (failure.fault, failure.phase) == (Fault.TIMEOUT, Phase.SEND)


@pytest.mark.parametrize("dripped", [b"", b" "], ids=["missing", "drip"])
def test_a_tls_body_that_is_slow_is_late(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str, dripped: bytes
) -> None:
    script = then(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", dripped)
    with RawServer(script, tls=server_tls) as server:
        failure = late(connect(server.url, ca_bundle=ca_bundle))
    assert (failure.fault, failure.phase) == (Fault.TIMEOUT, Phase.READ)


@pytest.mark.parametrize("dripped", [False, True], ids=["stall", "drip"])
def test_a_tls_handshake_that_stalls_is_late(connect: Connect, ca_bundle: str, dripped: bool) -> None:
    def script(peer: Peer) -> None:
        if dripped:
            peer.send(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB, which then trickles in
            peer.drip(b"\x02")
        peer.hang()

    with RawServer(script) as server:
        failure = late(connect(f"https://127.0.0.1:{server.port}", ca_bundle=ca_bundle))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CONNECT_TIMEOUT, Phase.TLS, False)


@pytest.mark.parametrize("answer_so_far", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["status", "headers"])
def test_a_proxy_that_drips_its_answer_to_connect_is_late(
    connect: Connect, ca_bundle: str, answer_so_far: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer_so_far)
        peer.drip(b"X-Header: 1\r\n" if answer_so_far else b"HTTP/1.1 200 " + b"O" * 60)

    with RawServer(script) as server:
        failure = late(connect("https://api.test", ca_bundle=ca_bundle, proxy=server.url))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CONNECT_TIMEOUT, Phase.PROXY, False)


def test_a_connect_that_is_never_answered_is_late(connect: Connect) -> None:
    with full_listener() as port:
        failure = late(connect(f"http://127.0.0.1:{port}"))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CONNECT_TIMEOUT, Phase.CONNECT, False)
    assert f"127.0.0.1:{port} did not answer" in failure.message


def test_the_connect_limit_spans_both_tries_and_leaves_the_rest_of_the_deadline(connect: Connect) -> None:
    with full_listener() as port:
        failure = late(connect(f"http://127.0.0.1:{port}"), timeout=10, connect_timeout=DEADLINE)
    assert (failure.fault, failure.phase) == (Fault.CONNECT_TIMEOUT, Phase.CONNECT)


def test_the_connect_limit_does_not_bound_the_answer(connect: Connect) -> None:
    def slow(peer: Peer) -> None:
        peer.read_request()
        peer.server.stopped.wait(0.15)
        peer.send(OK)

    with RawServer(slow) as server:
        assert answered(exchange(connect(server.url), connect_timeout=0.05)).body == b"{}"


def test_a_black_holed_first_address_leaves_time_for_the_second(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_listener() as hole, RawServer(answer()) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (hole, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        transport = connect("http://two-addresses.test")
        assert answered(exchange(transport, connect_timeout=0.4)).body == b"{}"


def test_a_look_up_that_hangs_is_late(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    done = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        released.wait(10)
        done.set()
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(resolver, "shared", resolver.Resolver())
    try:
        failure = late(connect("http://hanging.test"))
    finally:
        released.set()
        assert done.wait(5)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CONNECT_TIMEOUT, Phase.DNS, False)
    assert "hanging.test" in failure.message


def test_nothing_is_sent_once_the_deadline_has_passed(connect: Connect) -> None:
    with RawServer(answer()) as server:
        transport = connect(server.url)
        assert answered(exchange(transport))
        failure = failed(exchange(transport, timeout=1e-9))
        assert (failure.fault, failure.maybe_billed) == (Fault.CONNECT_TIMEOUT, False)
        assert len(server.requests) == 1


@pytest.mark.parametrize("operation", ["recv", "recv_into", "send", "sendall"])
def test_every_blocking_operation_of_a_socket_is_bounded(operation: str) -> None:
    data = {"recv": 1, "recv_into": bytearray(1), "send": b" ", "sendall": b" " * 10_000_000}[operation]
    near, far = socket.socketpair()
    held = DeadlineSocket(fileno=near.detach())
    with far, held, Exchange(Limits(deadline=Deadline.after(0.05)), SYSTEM_CLOCK) as under_way:
        claim(held, under_way)
        repeat = functools.partial(getattr(held, operation), data)
        with pytest.raises(TimeoutError):
            deque(iter(repeat, object()), maxlen=0)


def test_a_name_that_does_not_exist_is_named(connect: Connect) -> None:
    failure = failed(exchange(connect("http://nowhere.test")))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.DNS, False)
    assert failure.message.startswith("cannot look up nowhere.test: ")
