"""A cancellation ends an exchange in every phase, and never touches anybody else's connection."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.deadline import CancelToken, Deadline
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.transport import exchange as exchange_module
from failsafe.transport import resolver
from failsafe.transport.base import Limits
from failsafe.transport.exchange import Exchange
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import answered, cancelled, exchange, failed, full_listener
from tests.transport.raw_server import OK, Peer, RawServer, answer

Connect = Callable[..., RequestsTransport]


class Reached:
    """An event that is set when the exchange under way gets to *phase*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phase: Phase) -> None:
        self.event = threading.Event()
        slot: Any = Exchange.__dict__["phase"]

        def write(exchange: Exchange, value: Phase) -> None:
            slot.__set__(exchange, value)
            if value is phase:
                self.event.set()

        monkeypatch.setattr(Exchange, "phase", property(slot.__get__, write))


def after(data: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        peer.hang()

    return script


@pytest.mark.parametrize(
    ("sent", "phase"), [(b"", Phase.WAIT), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1", Phase.READ)]
)
def test_waiting_and_reading_can_be_cancelled(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, sent: bytes, phase: Phase
) -> None:
    reached = Reached(monkeypatch, phase)
    with RawServer(after(sent)) as server:
        failure = cancelled(connect(server.url), reached.event)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CANCELLED, phase, True)


def test_a_cancelled_body_that_ends_with_the_connection_is_no_answer(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = Reached(monkeypatch, Phase.READ)
    with RawServer(after(b"HTTP/1.1 200 OK\r\n\r\n{")) as server:
        failure = cancelled(connect(server.url), reached.event)
    assert (failure.fault, failure.phase) == (Fault.CANCELLED, Phase.READ)


def test_reading_over_tls_can_be_cancelled(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext, ca_bundle: str
) -> None:
    reached = Reached(monkeypatch, Phase.READ)
    with RawServer(after(OK[:-1]), tls=server_tls) as server:
        failure = cancelled(connect(server.url, ca_bundle=ca_bundle), reached.event)
    assert (failure.fault, failure.phase) == (Fault.CANCELLED, Phase.READ)


def test_sending_can_be_cancelled(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = Reached(monkeypatch, Phase.SEND)
    with RawServer(lambda peer: peer.stall(), receive_buffer=4096) as server:
        failure = cancelled(connect(server.url), reached.event, body=b" " * 30_000_000)
    assert failure.fault is Fault.CANCELLED
    assert failure.maybe_billed


def test_a_tls_handshake_can_be_cancelled(connect: Connect, monkeypatch: pytest.MonkeyPatch, ca_bundle: str) -> None:
    reached = Reached(monkeypatch, Phase.TLS)
    with RawServer(lambda peer: peer.hang()) as server:
        failure = cancelled(connect(f"https://127.0.0.1:{server.port}", ca_bundle=ca_bundle), reached.event)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CANCELLED, Phase.TLS, False)


def test_connecting_can_be_cancelled(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = Reached(monkeypatch, Phase.CONNECT)
    with full_listener() as port:
        transport = connect(f"http://127.0.0.1:{port}")
        reached.event.clear()
        failure = cancelled(transport, reached.event)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CANCELLED, Phase.CONNECT, False)


def test_waiting_for_a_proxy_can_be_cancelled(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, ca_bundle: str
) -> None:
    with RawServer(after(b"HTTP/1.1 200")) as server:
        transport = connect("https://api.test", ca_bundle=ca_bundle, proxy=server.url)
        failure = cancelled(transport, server.asked)
    assert (failure.fault, failure.phase) == (Fault.CANCELLED, Phase.PROXY)


@pytest.fixture
def hanging_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Look-ups that hang until the test ends; the event says that one has begun."""
    begun, released = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        begun.set()
        released.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(resolver, "shared", resolver.Resolver())
    yield begun
    released.set()


def test_a_look_up_can_be_cancelled(connect: Connect, hanging_dns: threading.Event) -> None:
    failure = cancelled(connect("http://hanging.test"), hanging_dns)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.CANCELLED, Phase.DNS, False)


def test_a_token_cancelled_before_sends_nothing(connect: Connect) -> None:
    token = CancelToken()
    token.cancel()
    with RawServer(answer()) as server:
        assert failed(exchange(connect(server.url), cancel=token)).fault is Fault.CANCELLED
        assert server.connections == 0


def test_a_late_cancellation_leaves_the_pooled_connection_alone(connect: Connect) -> None:
    token = CancelToken()
    with RawServer(answer()) as server:
        transport = connect(server.url)
        for _ in range(3):
            answered(exchange(transport, cancel=token))
        token.cancel()
        answered(exchange(transport))
        assert server.connections == 1


def test_a_cancellation_that_comes_while_the_connection_goes_back_ends_nobody_elses_call(connect: Connect) -> None:
    """The other call takes the connection the moment it is in the pool, while the first has not returned."""
    with RawServer(answer()) as server:
        transport = connect(server.url)
        answered(exchange(transport))
        pool = transport._adapter.open_pool()
        held: list[Exchange] = []
        put = pool.pool.put  # type: ignore[union-attr]

        def put_and_cancel(connection: Any, block: bool = False) -> None:
            held.append(exchange_module.current())
            put(connection, block)
            held[0].cancel()

        pool.pool.put = put_and_cancel  # type: ignore[union-attr,method-assign]
        assert failed(exchange(transport)).fault is Fault.CANCELLED
        pool.pool.put = put  # type: ignore[union-attr,method-assign]
        answered(exchange(transport))
        assert server.connections == 1


def test_a_cancelled_exchange_shuts_down_only_what_it_holds() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Exchange(Limits(deadline=Deadline.after(5)), SYSTEM_CLOCK) as under_way:
        under_way.claim(ours)
        assert under_way.release() is ours
        under_way.cancel()
        theirs.send(b"x")
        assert ours.recv(1) == b"x"


def test_tokens_forget_the_exchanges_that_ended(connect: Connect) -> None:
    token = CancelToken()
    with RawServer(answer()) as server:
        answered(exchange(connect(server.url), cancel=token))
    assert not token._callbacks
