"""The breaker used by many threads at once."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from failsafe.breaker import CircuitBreaker, Permit
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock

THREADS = 32


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Let threads interrupt each other at nearly every step, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[], None]) -> None:
    """Run *work* in many threads that begin together; an exception in one fails the test."""
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def run() -> None:
        start.wait(timeout=20)
        try:
            work()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_moment_of_reopening_admits_no_more_than_the_probes_allowed() -> None:
    for _ in range(20):
        clock = FakeClock()
        events: list[StateChanged] = []
        breaker = CircuitBreaker("sick", clock=clock, listeners=[events.append])
        breaker.trip()
        clock.advance(60)
        admitted: list[Permit | None] = []
        at_once(lambda admitted=admitted, breaker=breaker: admitted.append(breaker.try_acquire()))  # type: ignore[misc]
        assert sum(permit is not None for permit in admitted) == 3
        assert breaker.stats().rejected == THREADS - 3
        assert [event.new for event in events] == [CircuitState.OPEN, CircuitState.HALF_OPEN]


def test_probes_in_flight_are_never_more_than_allowed() -> None:
    config = CircuitBreakerConfig(half_open_max_calls=3, success_threshold=10**6)
    clock = FakeClock()
    breaker = CircuitBreaker("sick", config, clock=clock)
    breaker.trip()
    clock.advance(60)
    places = threading.Semaphore(3)

    def probe() -> None:
        for _ in range(50):
            permit = breaker.try_acquire()
            if permit is not None:
                assert places.acquire(blocking=False), "a fourth probe in flight"
                assert breaker.stats().probes_in_flight <= 3
                places.release()
                permit.success()

    at_once(probe)
    assert breaker.stats().probes_in_flight == 0
    assert breaker.stats().half_open_successes > 0


def test_failures_of_many_threads_open_it_once_and_the_rest_is_stale() -> None:
    breaker = CircuitBreaker("sick", CircuitBreakerConfig(failure_threshold=THREADS), clock=FakeClock())

    def fail_twice() -> None:
        permits = [breaker.acquire(), breaker.acquire()]
        together.wait(timeout=20)
        for permit in permits:
            permit.failure()

    together = threading.Barrier(THREADS)
    at_once(fail_twice)
    stats = breaker.stats()
    assert (stats.opened, stats.failures) == (1, THREADS)


def test_one_permit_settled_by_many_threads_counts_once() -> None:
    breaker = CircuitBreaker("sick", CircuitBreakerConfig(failure_threshold=2), clock=FakeClock())
    permit = breaker.acquire()
    at_once(permit.failure)
    assert (breaker.stats().streak, breaker.state) == (1, CircuitState.CLOSED)


def test_no_success_or_failure_is_lost() -> None:
    breaker = CircuitBreaker("healthy", CircuitBreakerConfig(failure_threshold=10**6), clock=FakeClock())

    def use() -> None:
        for number in range(100):
            permit = breaker.acquire()
            if number % 4:
                permit.success()
            else:
                permit.failure()

    at_once(use)
    assert (breaker.stats().successes, breaker.stats().failures) == (75 * THREADS, 25 * THREADS)


def test_listeners_hear_transitions_of_many_threads_in_order_one_at_a_time() -> None:
    config = CircuitBreakerConfig(failure_threshold=1)
    breaker = CircuitBreaker("flapping", config, clock=FakeClock())
    heard: list[StateChanged] = []
    inside = threading.Lock()

    def listener(event: StateChanged) -> None:
        assert inside.acquire(blocking=False), "two threads tell at once"
        heard.append(event)
        inside.release()

    breaker.on_state_change(listener)

    def flap() -> None:
        for _ in range(20):
            breaker.trip()
            breaker.reset()

    at_once(flap)
    assert heard
    assert all(before.new is after.old for before, after in itertools.pairwise(heard))
    assert sum(event.new is CircuitState.OPEN for event in heard) == breaker.stats().opened
    assert heard[-1].new is breaker.state
