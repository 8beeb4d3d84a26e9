"""The situations that the rows of the lessons begin in: a breaker that is open, half-open, or used by many threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from failsafe.breaker import CircuitBreaker, Permit
from failsafe.clock import Random
from failsafe.events import CircuitState
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN

PATIENCE = 10.0
"""Seconds after which a thread that should have come long ago has failed the test."""


def breaker_of(clock: FakeClock, *, random: Random | None = None, **settings: Any) -> CircuitBreaker:
    """A breaker on *clock*; keyword arguments are its settings."""
    return CircuitBreaker("service", CircuitBreakerConfig(**settings), clock=clock, random=random)


def fail(breaker: CircuitBreaker, times: int) -> None:
    """Let so many calls fail one after the other."""
    for _ in range(times):
        breaker.acquire().failure(OSError())


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    """*breaker*, opened by as many failures as it takes."""
    fail(breaker, breaker.config.failure_threshold or 0)
    assert breaker.state is OPEN
    return breaker


def probing(breaker: CircuitBreaker, clock: FakeClock) -> Permit:
    """Open *breaker*, let its open time pass, and return its first probe."""
    opened(breaker)
    clock.advance(breaker.retry_after or 0.0)
    return breaker.acquire()


def half_open(breaker: CircuitBreaker, clock: FakeClock) -> CircuitBreaker:
    """*breaker*, half-open and with every place free."""
    probing(breaker, clock).release()
    assert breaker.state is HALF_OPEN
    return breaker


def recovers(breaker: CircuitBreaker, clock: FakeClock) -> bool:
    """Whether the service's being well closes *breaker* within an open time, a lease and another open time."""
    for _ in range(3):
        for _ in range(breaker.config.success_threshold):
            permit = breaker.try_acquire()
            if permit is not None:
                permit.success()
        if breaker.state is CLOSED:
            return True
        clock.advance(max(60.0, breaker.config.timeout))
    return False


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises *error*."""

    def function(*_arguments: object) -> Any:
        raise error

    return function


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Inside the block threads interrupt each other at nearly every step, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(work: Callable[[], object], threads: int = 32) -> list[Any]:
    """What *work* returned in so many threads that begin at once; the first exception of one is raised."""
    start = threading.Barrier(threads)
    results: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            start.wait(timeout=PATIENCE)
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    crew = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in crew), "a thread is stuck"
    if failures:
        raise failures[0]
    return results


class Hanging:
    """
    A service that hangs until so many callers were turned away elsewhere, which proves how many were let in.

    Thread-safe.
    """

    def __init__(self, until_turned_away: int) -> None:
        self._missing = until_turned_away
        self._lock = threading.Lock()
        self._go = threading.Event()
        self.let_in = 0

    def hang(self) -> None:
        """What a caller that was let in runs."""
        with self._lock:
            self.let_in += 1
        assert self._go.wait(PATIENCE), f"{self._missing} more callers should have been turned away"

    def turned_away(self) -> None:
        """What a caller says that was not let in."""
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self._go.set()
