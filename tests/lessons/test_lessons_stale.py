"""Results that come when the breaker has moved on."""

from __future__ import annotations

import pytest

from failsafe.bulkhead import Bulkhead
from failsafe.composition import Policy
from failsafe.errors import BulkheadFull
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import BulkheadConfig
from failsafe.testing import FakeClock
from tests.lessons.situations import CLOSED, HALF_OPEN, OPEN, Hanging, breaker_of, fail, opened, probing, together


def test_18_polly_217_a_long_call_from_before_the_opening_does_not_close_the_circuit() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, success_threshold=1)
    long = breaker.acquire()
    probing(breaker, clock)
    long.success()
    assert breaker.state is HALF_OPEN


def test_18_polly_218_late_failures_tell_of_no_second_opening() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    heard: list[StateChanged] = []
    breaker.on_state_change(heard.append)
    early = [breaker.acquire() for _ in range(20)]
    opened(breaker)
    for permit in early:
        permit.failure(OSError("late"))
    assert [event.new for event in heard] == [OPEN]
    assert (breaker.stats().opened, breaker.stats().failures) == (1, 5)


@pytest.mark.parametrize("late_is", ["success", "failure", "release"])
def test_19_std_7306_a_probe_of_an_earlier_half_open_touches_nothing_of_the_next(late_is: str) -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=2, success_threshold=1)
    late = probing(breaker, clock)
    breaker.acquire().failure()
    clock.advance(60)
    breaker.acquire()
    getattr(late, late_is)()
    stats = breaker.stats()
    assert (stats.state, stats.half_open_successes, stats.probes_in_flight) == (HALF_OPEN, 0, 1)
    assert breaker.try_acquire() is not None
    assert breaker.try_acquire() is None, "it has freed a place that it never had"


def test_19_std_7097_the_open_time_begins_when_the_failure_is_recorded() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    heard: list[CircuitState] = []
    breaker.on_state_change(lambda event: heard.append(event.new))
    slow = probing(breaker, clock)
    clock.advance(55)
    slow.failure()
    assert breaker.retry_after == 60
    clock.advance(59)
    assert breaker.try_acquire() is None
    assert heard == [OPEN, HALF_OPEN, OPEN]


@pytest.mark.parametrize("late", [1, 10])
def test_20_ray_65068_a_late_success_does_not_close_an_open_circuit(late: int) -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, success_threshold=1)
    early = [breaker.acquire() for _ in range(late)]
    opened(breaker)
    for permit in early:
        permit.success()
    assert (breaker.state, breaker.retry_after) == (OPEN, 60)


def test_20_cockroachdb_circuitbreaker_2_not_even_when_its_open_time_is_over() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, success_threshold=1)
    early = breaker.acquire()
    opened(breaker)
    clock.advance(61)
    early.success()
    assert breaker.state is OPEN, "only a probe closes it"


def test_21_k8s_breakglass_981_late_results_do_not_lift_the_cap() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1)
    early = [breaker.acquire() for _ in range(10)]
    late = probing(breaker, clock)
    late.failure()
    clock.advance(60)
    held = breaker.acquire()
    for permit in [*early, late, late]:
        permit.release()
        permit.failure()
    assert breaker.stats().probes_in_flight == 1
    assert breaker.try_acquire() is None
    held.success()
    assert breaker.stats().probes_in_flight == 0


def test_22_trinity_688_failures_of_calls_under_way_do_not_keep_it_open() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    under_way = [breaker.acquire() for _ in range(59)]
    opened(breaker)
    for permit in under_way:
        clock.advance(1)
        permit.failure(OSError(), retry_after=300)
    assert breaker.retry_after == 1
    clock.advance(1)
    assert breaker.try_acquire() is not None


def test_23_gobreaker_91_calls_admitted_before_it_opened_run_on_and_open_it_once() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    burst = [breaker.acquire() for _ in range(200)]
    for permit in burst:
        permit.failure()
    stats = breaker.stats()
    assert (stats.state, stats.opened, stats.failures, stats.rejected) == (OPEN, 1, 5, 0)
    assert breaker.try_acquire() is None
    clock.advance(60)
    probe = breaker.acquire()
    probe.success()
    assert breaker.stats().half_open_successes == 1
    fail(breaker, 1)
    assert breaker.state is not CLOSED


def test_23_gobreaker_91_a_bulkhead_beside_it_bounds_the_burst() -> None:
    clock = FakeClock()
    service = Hanging(until_turned_away=28)
    policy = Policy.compose(breaker_of(clock), Bulkhead("pool", BulkheadConfig(max_concurrent=4)))

    def ask() -> None:
        try:
            policy.call(service.hang)
        except BulkheadFull:
            service.turned_away()

    together(ask)
    assert service.let_in == 4
