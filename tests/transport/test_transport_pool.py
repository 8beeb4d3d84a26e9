"""Connections are used again, never twice at once, never after a failure and never by two processes."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from typing import Any

import pytest

from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.transport import connections, sockets
from failsafe.transport.connections import DeadlineConnection, IdleConnections
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import answered, exchange, failed
from tests.transport.raw_server import OK, Peer, RawServer, answer, answer_once

Connect = Callable[..., RequestsTransport]


def reset_once(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def idle(transport: RequestsTransport) -> int:
    return transport._adapter.open_pool().pool.qsize()  # type: ignore[union-attr]


def test_a_refused_connection_is_tried_twice(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    open_socket = sockets.open_socket

    def count(host: str, port: int, *rest: Any) -> Any:
        opened.append(port)
        return open_socket(host, port, *rest)

    monkeypatch.setattr(connections, "open_socket", count)
    failure = failed(exchange(connect("http://127.0.0.1:1")))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.CONNECT, False)
    assert failure.message == "connection refused by 127.0.0.1:1"
    assert opened == [1, 1]


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_connection_that_dies_before_the_answer_is_not_asked_again(connect: Connect, way: str) -> None:
    with RawServer(reset_once if way == "reset" else answer_once(b"")) as server:
        failure = failed(exchange(connect(server.url)))
        assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.DISCONNECTED, Phase.WAIT, True)
        assert len(server.requests) == 1


def test_a_pooled_connection_that_dies_under_the_request_is_not_asked_again(connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_request()

    with RawServer(script) as server:
        transport = connect(server.url)
        answered(exchange(transport))
        failure = failed(exchange(transport))
        assert (failure.fault, failure.maybe_billed) == (Fault.DISCONNECTED, True)
        assert len(server.requests) == 2
        assert server.connections == 1


def test_a_pooled_connection_that_the_server_closed_is_replaced(connect: Connect) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    with RawServer(script) as server:
        transport = connect(server.url)
        for _ in range(2):
            answered(exchange(transport))
            assert closed.wait(5)
            closed.clear()
        assert server.connections == 2


def test_a_server_that_answers_before_it_read_the_body_is_heard(connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        while peer.sock.recv(65536):
            pass

    with RawServer(script) as server:
        assert answered(exchange(connect(server.url), body=b" " * 3_000_000)).status == 413


def test_threads_share_the_pool_without_sharing_a_connection(connect: Connect) -> None:
    def echo(peer: Peer) -> None:
        while request := peer.read_request():
            body = request.partition(b"\r\n\r\n")[2]
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def ask(number: int) -> bool:
        body = b'{"n": %d}' % number
        return answered(exchange(transport, body=body)).body == body

    with RawServer(echo) as server, ThreadPoolExecutor(16) as threads:
        transport = connect(server.url)
        assert all(threads.map(ask, range(320)))
        assert server.connections <= 16
        assert idle(transport) == server.connections


def test_only_pool_size_connections_are_kept(connect: Connect) -> None:
    together = threading.Barrier(4)

    def script(peer: Peer) -> None:
        while peer.read_request():
            together.wait(5)
            peer.send(OK)

    with RawServer(script) as server, ThreadPoolExecutor(4) as threads:
        transport = connect(server.url, pool_size=2)
        for outcome in threads.map(lambda _: exchange(transport), range(4)):
            answered(outcome)
        assert idle(transport) == 2


def test_a_thousand_failures_leave_no_socket_behind(connect: Connect) -> None:
    scripts = [
        answer_once(b""),
        answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"),
        answer_once(b"nonsense\r\n\r\n"),
        answer_once(b"HTTP/1.1 200 OK\r\nContent-Encoding: x\r\nContent-Length: 1\r\n\r\n1"),
        reset_once,
    ]
    with RawServer(*scripts * 200) as server:
        transport = connect(server.url)
        failed(exchange(transport))
        for _ in range(999):
            failed(exchange(transport))
        assert server.connections == 1000
        assert idle(transport) <= 1  # urllib3 keeps one closed connection object for its next use
        ours = {sock for sock in gc.get_objects() if isinstance(sock, sockets.DeadlineSocket) and sock.fileno() >= 0}
        assert ours == set()


def test_the_two_hundredth_transport_works_like_the_first(connect: Connect) -> None:
    with RawServer(answer()) as server:
        answered(exchange(connect(server.url)))
        threads = threading.active_count() - 1  # the server has one for each connection
        for _ in range(199):
            answered(exchange(connect(server.url)))
        assert threading.active_count() == threads + server.connections
        assert server.connections == 200


def test_closing_closes_idle_connections_and_can_be_repeated(connect: Connect) -> None:
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        answer()(peer)
        hung_up.set()

    with RawServer(script) as server:
        transport = connect(server.url)
        answered(exchange(transport))
        transport.close()
        transport.close()
        assert hung_up.wait(5)
        hung_up.clear()
        answered(exchange(transport))  # of a call that is under way; it keeps no connection
        assert hung_up.wait(5)


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for its own."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("place", ["head", "body"])
def test_an_interrupt_passes_through_and_closes_the_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], place: str
) -> None:
    hung_up = threading.Event()
    begin = OK[:-1] if place == "body" else b""
    receive = sockets.DeadlineSocket.recv_into
    reads: list[int] = []

    def interrupted(self: sockets.DeadlineSocket, *args: Any) -> int:
        reads.append(1)
        if len(reads) > bool(begin):
            raise kind
        return receive(self, *args)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(begin)
        peer.hang()
        hung_up.set()

    monkeypatch.setattr(sockets.DeadlineSocket, "recv_into", interrupted)
    with RawServer(script, answer()) as server:
        transport = connect(server.url)
        with pytest.raises(kind):
            exchange(transport)
        assert hung_up.wait(5)
        monkeypatch.undo()
        answered(exchange(transport))
        assert server.connections == 2


def test_a_signal_that_raises_ends_a_blocked_read(connect: Connect) -> None:
    def raise_it(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, raise_it)
    main = threading.main_thread().ident

    def script(peer: Peer) -> None:
        peer.read_request()
        assert main is not None
        signal.pthread_kill(main, signal.SIGUSR1)
        peer.hang()

    try:
        with RawServer(script) as server, pytest.raises(Interrupted):
            exchange(connect(server.url))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_may_send_in_the_middle_of_an_exchange(connect: Connect) -> None:
    nested: list[Any] = []
    main = threading.main_thread().ident

    def script(peer: Peer) -> None:
        peer.read_request()
        assert main is not None
        signal.pthread_kill(main, signal.SIGUSR1)
        peer.server.stopped.wait(0.05)
        peer.send(OK)

    with RawServer(script) as server, RawServer(answer()) as other:
        transport = connect(other.url)
        before = signal.signal(signal.SIGUSR1, lambda *_: nested.append(exchange(transport)))
        try:
            answered(exchange(connect(server.url)))
        finally:
            signal.signal(signal.SIGUSR1, before)
        answered(nested[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection(connect: Connect) -> None:
    with RawServer(answer()) as server:
        transport = connect(server.url)
        answered(exchange(transport))
        child = os.fork()
        if child == 0:
            os._exit(0 if not isinstance(exchange(transport), Failure) and idle(transport) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.connections == 2
        answered(exchange(transport))
        assert server.connections == 2


def test_idle_connections_come_back_newest_first_up_to_their_number() -> None:
    idle_connections = IdleConnections(2)
    first, second = DeadlineConnection("a"), DeadlineConnection("b")
    idle_connections.put(None)
    idle_connections.put(first)
    idle_connections.put(second)
    third = DeadlineConnection("c")
    ours, theirs = socket.socketpair()
    third.sock = ours
    idle_connections.put(third)
    assert ours.fileno() < 0
    theirs.close()
    assert [idle_connections.get(), idle_connections.get()] == [second, first]
    with pytest.raises(Empty):
        idle_connections.get()
