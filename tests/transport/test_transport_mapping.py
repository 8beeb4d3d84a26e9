"""Every foreign exception becomes a failure, and none of its text gets out."""

from __future__ import annotations

import http.client
import logging
import pickle
from collections.abc import Callable, Iterator

import pytest
import requests
import urllib3

from failsafe.clock import SYSTEM_CLOCK
from failsafe.deadline import Deadline
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.transport import mapping
from failsafe.transport.adapter import DeadlineAdapter
from failsafe.transport.base import Limits
from failsafe.transport.exchange import Exchange
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import exchange, failed
from tests.transport.raw_server import RawServer, answer_once

Connect = Callable[..., RequestsTransport]
BEFORE = {Phase.DNS, Phase.CONNECT, Phase.PROXY, Phase.TLS}


def subclasses(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


FOREIGN = sorted(
    {
        kind
        for root in (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
        for kind in subclasses(root)
        if kind.__module__.split(".")[0] in ("requests", "urllib3", "http", "builtins", "ssl", "socket")
        and issubclass(kind, Exception)
    },
    key=lambda kind: f"{kind.__module__}.{kind.__name__}",
)


def made(kind: type[BaseException]) -> Exception:
    """An instance of *kind* with the key in it, however its constructor would have it."""
    error = kind.__new__(kind)
    error.args = ("MARKED", OSError("MARKED"))
    assert isinstance(error, Exception)
    return error


def under_way(phase: Phase) -> Exchange:
    exchange = Exchange(Limits(deadline=Deadline.after(5)), SYSTEM_CLOCK)
    if phase in BEFORE:
        exchange.connecting()
    exchange.phase = phase
    exchange.wrote = phase not in BEFORE
    return exchange


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_foreign_exception_is_mapped_in_every_phase(kind: type[BaseException]) -> None:
    for phase in (*BEFORE, Phase.SEND, Phase.WAIT, Phase.READ):
        failure = failed(mapping.failure(made(kind), under_way(phase), "api.test:443"))
        assert failure.phase is phase
        assert failure.maybe_billed is (phase not in BEFORE)
        if phase in BEFORE:
            assert failure.fault in {
                Fault.NETWORK,
                Fault.CONNECT_TIMEOUT,
                Fault.MISCONFIGURED,
                Fault.MALFORMED,
                Fault.TRUNCATED,
            }
        else:
            assert failure.fault in {Fault.DISCONNECTED, Fault.TIMEOUT, Fault.TRUNCATED, Fault.MALFORMED, Fault.NETWORK}


def test_the_walk_found_the_exceptions_of_both_libraries() -> None:
    assert {requests.ConnectTimeout, urllib3.exceptions.MaxRetryError, http.client.IncompleteRead} <= set(FOREIGN)
    assert len(FOREIGN) > 80


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, ValueError, MemoryError, RecursionError, AssertionError])
def test_what_is_unknown_is_judged_by_the_phase(kind: type[Exception]) -> None:
    assert mapping.failure(kind("MARKED"), under_way(Phase.WAIT), "p").fault is Fault.DISCONNECTED
    before = mapping.failure(kind("MARKED"), under_way(Phase.CONNECT), "p")
    assert before.fault in {Fault.NETWORK, Fault.MISCONFIGURED}
    assert kind.__name__ in before.message


def test_the_root_cause_counts_however_it_is_wrapped() -> None:
    pool = urllib3.HTTPConnectionPool("api.test")
    root = ConnectionResetError("MARKED")
    for wrapped in (
        requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", root)),
        requests.ConnectionError(
            urllib3.exceptions.MaxRetryError(pool, "/MARKED", urllib3.exceptions.ProxyError("x", root))
        ),
    ):
        assert mapping.failure(wrapped, under_way(Phase.WAIT), "p").fault is Fault.DISCONNECTED


def test_an_exception_that_contains_itself_is_mapped() -> None:
    error = requests.ConnectionError()
    error.args = (error,)
    assert mapping.failure(error, under_way(Phase.CONNECT), "p").fault is Fault.NETWORK


def test_a_failure_pickles_and_holds_nothing_foreign(connect: Connect) -> None:
    with RawServer(answer_once(b"")) as server:
        failure = failed(exchange(connect(server.url)))
    assert pickle.loads(pickle.dumps(failure)) == failure
    assert b"MARKED" not in pickle.dumps(failure)


def test_an_exception_raised_anywhere_in_requests_ends_as_a_failure(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("MARKED")

    monkeypatch.setattr(DeadlineAdapter, "build_response", broken)
    with RawServer(answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as server:
        failure = failed(exchange(connect(server.url)))
    assert (failure.fault, failure.maybe_billed) == (Fault.TRUNCATED, True)


def test_nothing_logged_holds_the_key(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")) as server:
        failed(exchange(connect(server.url)))
    failed(exchange(connect("http://127.0.0.1:1")))
    assert caplog.records
    assert "MARKED" not in caplog.text
