"""Slow calls."""

from __future__ import annotations

import threading

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.composition import Policy
from failsafe.errors import AttemptTimedOut, CircuitOpenError
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock
from failsafe.timeouts import AttemptTimeout
from tests.lessons.situations import CLOSED, OPEN, PATIENCE, breaker_of
from tests.router_bench import Bench


def test_40_resilience4j_1597_an_attempt_timeout_makes_a_failure_of_a_call_that_never_ends() -> None:
    go_on, ended = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        assert go_on.wait(PATIENCE)
        ended.release()

    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=2))
    policy = Policy.compose(breaker, AttemptTimeout(0.001))
    try:
        for _ in range(2):
            with pytest.raises(AttemptTimedOut):
                policy.call(hang)
        assert breaker.state is OPEN, "though neither call has ended yet"
        with pytest.raises(CircuitOpenError):
            policy.call(hang)
    finally:
        go_on.set()
    assert all(ended.acquire(timeout=PATIENCE) for _ in range(2))


@pytest.mark.usefixtures("expect_logs")
def test_40_resilience4j_1597_a_provider_that_hangs_opens_its_breaker() -> None:
    bench: Bench = Bench(lambda request: bench.hang(request))
    for _ in range(5):
        bench.lose(timeout=60)
    assert bench.breaker().state is OPEN


def test_40_resilience4j_667_what_failed_and_what_was_slow_are_two_rates_and_do_not_add_up() -> None:
    clock = FakeClock()
    breaker = breaker_of(
        clock,
        failure_rate_threshold=0.5,
        slow_call_duration=1.0,
        slow_call_rate_threshold=0.5,
        window_size=4,
        minimum_calls=4,
    )
    breaker.acquire().success(duration=0.1)
    breaker.acquire().success(duration=0.1)
    breaker.acquire().failure(duration=0.1)
    breaker.acquire().success(duration=9.0)
    stats = breaker.stats()
    assert (stats.state, stats.failure_rate, stats.slow_call_rate) == (CLOSED, 0.25, 0.25)
    breaker.acquire().failure(duration=9.0)
    assert breaker.state is OPEN, "a call that is both counts in both"


def test_40_resilience4j_1477_the_time_to_the_first_token_can_be_given_in_place_of_the_whole() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, slow_call_duration=2.0, slow_call_rate_threshold=0.5, window_size=4, minimum_calls=4)
    for _ in range(8):
        permit = breaker.acquire()
        clock.advance(600)  # a long answer
        permit.success(duration=0.5)
    assert (breaker.state, breaker.stats().slow_call_rate) == (CLOSED, 0)
    for _ in range(2):
        breaker.acquire().success(duration=2.5)
    assert breaker.state is OPEN, "the first token is late in half of the calls"


def test_40_resilience4j_381_a_slow_call_is_measured_where_nothing_is_given() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, slow_call_duration=2.0, window_size=2, minimum_calls=2)
    for seconds in (2.5, 2.0):
        permit = breaker.acquire()
        clock.advance(seconds)
        permit.success()
    assert (breaker.state, breaker.stats().slow_call_rate) == (CLOSED, 0.5), "two seconds are not more than two"
    with breaker:
        clock.advance(2.5)
    breaker.call(clock.advance, 2.5)
    assert breaker.state is OPEN


def test_40_resilience4j_1477_no_call_is_slow_unless_it_is_asked_for() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    for _ in range(100):
        with breaker:
            clock.advance(3600)
    assert (breaker.state, breaker.stats().slow_call_rate) == (CLOSED, None)
