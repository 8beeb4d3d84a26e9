"""Names are looked up in threads that can be left behind, and only so many of them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.deadline import CancelToken, Deadline
from failsafe.testing import FakeClock
from failsafe.transport.base import Limits
from failsafe.transport.exchange import Exchange, GaveUp
from failsafe.transport.resolver import LookupFailed, Resolver

ADDRESS = (socket.AF_INET, socket.SOCK_STREAM, 6, ("127.0.0.1", 80))


class Names:
    """A stand-in for ``getaddrinfo``: names that begin with "slow" wait until they are released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running = threading.Semaphore(0)
        self.released = threading.Event()
        self.error: Exception | None = None

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.running.release()
            self.released.wait(10)
        if self.error is not None:
            raise self.error
        family, kind, protocol, address = ADDRESS
        return [(family, kind, protocol, "", address)] if host != "empty" else []

    def wait_until_running(self, number: int) -> None:
        for _ in range(number):
            assert self.running.acquire(timeout=5)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    stand_in = Names()
    monkeypatch.setattr(socket, "getaddrinfo", stand_in.getaddrinfo)
    yield stand_in
    stand_in.released.set()


def look_up(resolver: Resolver, host: str, timeout: float = 5.0, cancel: CancelToken | None = None) -> list[Any]:
    with Exchange(Limits(deadline=Deadline.after(timeout), cancel=cancel), SYSTEM_CLOCK) as exchange:
        return resolver.resolve(host, 80, exchange)


def abandon(resolver: Resolver, *hosts: str) -> None:
    """Leave look-ups behind that go on."""
    for host in hosts:
        with pytest.raises(TimeoutError):
            look_up(resolver, host, timeout=0.01)


def test_a_name_is_looked_up(names: Names) -> None:
    assert look_up(Resolver(), "api.test") == [ADDRESS]
    assert names.asked == ["api.test"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ("127.0.0.1", 80))),
        ("::1", (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, ("::1", 80, 0, 0))),
    ],
)
def test_an_address_needs_no_look_up(names: Names, host: str, address: Any) -> None:
    assert look_up(Resolver(), host) == [address]
    assert names.asked == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError(24, "x"), "Too many open files"),
        (UnicodeError("MARKED"), "it is not a host name"),
        (RuntimeError("MARKED"), "the look-up failed"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_look_up_that_fails_says_why(names: Names, error: Exception, said: str) -> None:
    names.error = error
    with pytest.raises(LookupFailed, match=f"^cannot look up api.test: {said}$"):
        look_up(Resolver(), "api.test")


def test_a_name_without_an_address_fails(names: Names) -> None:
    with pytest.raises(LookupFailed, match="it has no address"):
        look_up(Resolver(), "empty")


def test_threads_that_ask_for_one_name_share_its_look_up(names: Names) -> None:
    resolver = Resolver()
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(look_up, resolver, "slow.test") for _ in range(8)]
        names.wait_until_running(1)
        until(lambda: sum(len(lookup.waiting) for lookup in resolver._running.values()) == 8)
        names.released.set()
        assert [each.result() for each in waiting] == [[ADDRESS]] * 8
    assert names.asked == ["slow.test"]


def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        threading.Event().wait(0.005)
    pytest.fail("did not come to hold")


def test_who_comes_late_joins_an_abandoned_look_up(names: Names) -> None:
    resolver = Resolver()
    abandon(resolver, "slow.test", "slow.test", "slow.test")
    assert names.asked == ["slow.test"]


def test_a_ninth_look_up_fails_at_once_when_eight_hang(names: Names) -> None:
    resolver = Resolver()
    abandon(resolver, *(f"slow{number}.test" for number in range(8)))
    with pytest.raises(LookupFailed, match=r"^cannot look up api\.test: 8 other look-ups hang; check the DNS server"):
        look_up(resolver, "api.test")
    names.released.set()
    until(lambda: not resolver._running)
    assert look_up(resolver, "api.test") == [ADDRESS]


def test_a_ninth_look_up_waits_for_a_place_while_somebody_waits_for_the_others(names: Names) -> None:
    resolver = Resolver()
    with ThreadPoolExecutor(9) as threads:
        first = [threads.submit(look_up, resolver, f"slow{number}.test") for number in range(8)]
        names.wait_until_running(8)
        ninth: Future[list[Any]] = threads.submit(look_up, resolver, "api.test")
        until(lambda: len(resolver._queue) == 1)
        names.released.set()
        assert ninth.result() == [ADDRESS]
        assert all(each.result() == [ADDRESS] for each in first)


def test_who_stands_in_line_fails_once_all_others_hang(names: Names) -> None:
    resolver = Resolver(most=1)
    token = CancelToken()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(look_up, resolver, "slow.test", 5.0, token)
        names.wait_until_running(1)
        second = threads.submit(look_up, resolver, "api.test")
        until(lambda: len(resolver._queue) == 1)
        token.cancel()
        assert isinstance(first.exception(), GaveUp)
        assert isinstance(second.exception(), LookupFailed)


def test_standing_in_line_ends_with_the_deadline(names: Names) -> None:
    resolver = Resolver(most=1)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(look_up, resolver, "slow.test")
        names.wait_until_running(1)
        with pytest.raises(TimeoutError):
            look_up(resolver, "api.test", timeout=0.05)
        assert resolver._queue == []
        names.released.set()
        assert first.result() == [ADDRESS]


def test_the_wait_is_the_clocks(names: Names) -> None:
    clock = FakeClock()
    with Exchange(Limits(deadline=Deadline.after(3.0, clock)), clock) as exchange, pytest.raises(TimeoutError):
        Resolver().resolve("slow.test", 80, exchange)
    assert clock.waits == [3.0]


def test_no_thread_left_is_a_failed_look_up(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(LookupFailed, match="no thread can be started"):
        look_up(resolver, "api.test")
    monkeypatch.undo()
    assert resolver._running == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_counts_anew(names: Names) -> None:
    resolver = Resolver(most=1)
    abandon(resolver, "slow.test")
    child = os.fork()
    if child == 0:
        os._exit(0 if look_up(resolver, "api.test") == [ADDRESS] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
