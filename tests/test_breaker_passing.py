"""What passes a closed breaker without the lock, and a half-open one slowly: each in its own period."""

from __future__ import annotations

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.circuit import Circuit
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock

SLOW = CircuitBreakerConfig(
    failure_threshold=1, success_threshold=2, slow_call_duration=1.0, slow_call_rate_threshold=0.5, minimum_calls=5
)


def nothing() -> None:
    pass


def circuit_of(breaker: CircuitBreaker) -> Circuit:
    return breaker._circuit


def half_open(config: CircuitBreakerConfig) -> CircuitBreaker:
    clock = FakeClock()
    breaker = CircuitBreaker("service", config, clock=clock)
    breaker.trip()
    clock.advance(config.timeout)
    return breaker


def test_a_permit_settled_too_late_does_not_count_as_settled() -> None:
    breaker = CircuitBreaker("service")
    permit = breaker.acquire()
    breaker.trip()
    permit.success()
    assert not permit.settled
    assert breaker.stats().successes == 0


def test_a_success_that_found_the_lock_taken_is_told_before_the_failure_after_it() -> None:
    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=2))
    breaker.acquire().failure("first")
    failing = breaker.acquire()
    with circuit_of(breaker)._lock:
        breaker.call(nothing)
    failing.failure("second")
    assert breaker.state is CircuitState.CLOSED
    assert (breaker.stats().streak, breaker.stats().successes) == (1, 1)


def test_a_success_that_found_the_lock_taken_is_stale_once_the_breaker_has_moved_on() -> None:
    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=2))
    breaker.acquire().failure("first")
    circuit = circuit_of(breaker)
    with circuit._lock:
        breaker.call(nothing)
        circuit._move_locked(CircuitState.OPEN, "another thread", now=circuit._clock.monotonic())
    assert breaker.stats().successes == 0
    assert breaker.state is CircuitState.OPEN


def test_an_admission_that_a_listener_interrupts_keeps_no_place() -> None:
    breaker = half_open(CircuitBreakerConfig(half_open_max_calls=1))

    def interrupted(_event: StateChanged) -> None:
        raise KeyboardInterrupt

    end = breaker.on_state_change(interrupted)
    with pytest.raises(KeyboardInterrupt):
        breaker.try_acquire()
    end()
    assert breaker.stats().probes_in_flight == 0
    assert breaker.try_acquire() is not None


@pytest.mark.parametrize(
    ("durations", "state"),
    [
        ((0.5, 0.5), CircuitState.CLOSED),
        ((0.5, 1.5), CircuitState.OPEN),
        ((1.5, 0.5), CircuitState.OPEN),
    ],
)
def test_probes_close_it_unless_too_many_of_them_were_slow(durations: tuple[float, ...], state: CircuitState) -> None:
    breaker = half_open(SLOW)
    for duration in durations:
        breaker.acquire().success(duration)
    assert breaker.state is state


def test_the_reason_names_the_slow_probes() -> None:
    breaker = half_open(SLOW)
    for _ in range(2):
        breaker.acquire().success(2.0)
    assert breaker.stats().reason == "2 of 2 probes took longer than 1 s"
