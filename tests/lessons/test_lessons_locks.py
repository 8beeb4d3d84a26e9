"""Locks and callbacks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.budget import RetryBudget
from failsafe.errors import CircuitOpenError
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import RetryConfig
from failsafe.retrying import Retry
from failsafe.testing import FakeClock
from tests.lessons.situations import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    PATIENCE,
    breaker_of,
    fail,
    frequent_switches,
    half_open,
    raising,
    together,
)

ALL_AT_ONCE = 8


def _guards() -> dict[str, Callable[[Callable[[], object]], Callable[[], object]]]:
    clock = FakeClock()
    return {
        "breaker": breaker_of(clock),
        "breaker with a window": breaker_of(clock, failure_rate_threshold=0.5, slow_call_duration=1.0),
        "half-open breaker": half_open(breaker_of(clock, half_open_max_calls=ALL_AT_ONCE), clock),
        "retry": Retry(RetryConfig(), clock=clock, budget=RetryBudget()),
    }


@pytest.mark.parametrize("name", list(_guards()))
def test_29_pybreaker_3_40_41_calls_of_eight_threads_are_all_under_way_at_once(name: str) -> None:
    guard = _guards()[name]
    all_inside = threading.Barrier(ALL_AT_ONCE)
    guarded = guard(lambda: all_inside.wait(PATIENCE))
    assert sorted(together(guarded, threads=ALL_AT_ONCE)) == list(range(ALL_AT_ONCE))


def test_29_pybreaker_55_57_77_a_protected_call_may_use_its_own_breaker_again() -> None:
    breaker = breaker_of(FakeClock())

    def inner() -> CircuitState:
        breaker.reset()
        return breaker.state

    assert breaker.call(breaker.call, inner) is CLOSED
    with breaker, breaker:
        assert breaker.stats().state is CLOSED


def test_30_gobreaker_37_39_a_listener_may_ask_and_move_the_breaker_it_listens_to() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    heard: list[tuple[CircuitState, CircuitState]] = []

    def listener(event: StateChanged) -> None:
        heard.append((event.new, breaker.state))
        breaker.stats()
        repr(breaker)
        if event.new is OPEN:
            breaker.reset()
        elif event.new is CLOSED and len(heard) < 4:
            breaker.trip()

    breaker.on_state_change(listener)
    together(lambda: fail(breaker, 5), threads=1)  # in a thread that can be given up, should it hang
    assert heard == [(OPEN, OPEN), (CLOSED, CLOSED), (OPEN, OPEN), (CLOSED, CLOSED)]


def test_30_gobreaker_119_a_listener_that_fails_is_logged_and_harms_neither_the_call_nor_the_next_listener(
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    breaker = breaker_of(FakeClock(), failure_threshold=1)
    heard: list[CircuitState] = []
    breaker.on_state_change(raising(RuntimeError("a broken dashboard")))
    breaker.on_state_change(lambda event: heard.append(event.new))
    with pytest.raises(OSError, match="the service's own"):
        breaker.call(raising(OSError("the service's own")))
    assert (heard, breaker.state) == ([OPEN], OPEN)
    assert "a listener of circuit breaker 'service' failed" in expect_logs.text


def test_31_circuitbreaker_61_no_outcome_is_lost_under_threads() -> None:
    breaker = breaker_of(FakeClock(), failure_threshold=10**6)

    def use() -> None:
        for _ in range(50):
            breaker.acquire().failure()
            breaker.acquire().success()
            breaker.call(str)

    with frequent_switches():
        together(use)
    assert (breaker.stats().failures, breaker.stats().successes) == (32 * 50, 2 * 32 * 50)


def test_32_pybreaker_the_error_that_trips_it_is_the_error_the_caller_gets() -> None:
    breaker = breaker_of(FakeClock(), failure_threshold=2)
    for number in range(2):
        error = ConnectionResetError(f"call {number}")
        with pytest.raises(ConnectionResetError) as caught:
            breaker.call(raising(error))
        assert caught.value is error
    assert breaker.state is OPEN


def test_32_pybreaker_circuit_open_error_means_that_the_call_was_not_made() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1)
    called: list[int] = []

    def refused_everywhere(breaker: CircuitBreaker) -> None:
        for ask in (breaker.call, lambda fn, *args: breaker(fn)(*args)):
            with pytest.raises(CircuitOpenError):
                ask(called.append, 1)
        with pytest.raises(CircuitOpenError), breaker:
            called.append(1)

    breaker.trip()
    refused_everywhere(breaker)
    breaker.reset()
    held = half_open(breaker, clock).acquire()
    assert breaker.state is HALF_OPEN
    refused_everywhere(breaker)
    held.release()
    breaker.force_open()
    refused_everywhere(breaker)
    assert called == []
