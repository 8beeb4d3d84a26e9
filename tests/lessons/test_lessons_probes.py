"""Too many probes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.breaker import CircuitBreaker, Permit
from failsafe.errors import CircuitOpenError
from failsafe.policy_config import RetryConfig
from failsafe.retrying import retry_call
from failsafe.testing import FakeClock, Outcome, SentRequest, answer
from tests.lessons.situations import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    Hanging,
    breaker_of,
    frequent_switches,
    half_open,
    opened,
    probing,
    together,
)
from tests.router_bench import Bench


def due(clock: FakeClock) -> CircuitBreaker:
    """An open breaker whose open time has just ended."""
    breaker = opened(breaker_of(clock))
    clock.advance(60)
    return breaker


def test_10_resilience4j_1432_the_moment_of_reopening_admits_no_more_than_the_cap() -> None:
    with frequent_switches():
        for _ in range(20):
            breaker = due(FakeClock())
            admitted = together(breaker.try_acquire)
            assert sum(permit is not None for permit in admitted) == 3
            assert breaker.stats().probes_in_flight == 3


def test_10_resilience4j_1432_whoever_has_looked_at_the_clock_before_others_took_every_place_is_refused() -> None:
    class Overtaken(FakeClock):
        """While one caller looks at the time, three others are quicker."""

        quicker: Callable[[], None] | None = None

        def monotonic(self) -> float:
            if (overtake := self.quicker) is not None:
                self.quicker = None
                overtake()
            return super().monotonic()

    clock = Overtaken()
    breaker = due(clock)
    taken: list[Permit] = []
    clock.quicker = lambda: taken.extend(breaker.acquire() for _ in range(3))
    assert breaker.try_acquire() is None
    assert breaker.stats().probes_in_flight == len(taken) == 3


def test_11_resilience4j_1003_one_call_takes_one_permit_whichever_way_it_comes_in() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, success_threshold=100), clock)

    def in_flight() -> int:
        return breaker.stats().probes_in_flight

    guarded = breaker(in_flight)
    seen = [breaker.call(in_flight), guarded()]
    with breaker:
        seen.append(in_flight())
    with breaker.acquire():
        seen.append(in_flight())
    assert seen == [1, 1, 1, 1]


@pytest.mark.usefixtures("expect_logs")
def test_11_resilience4j_1003_a_call_of_a_router_takes_one_permit() -> None:
    seen: list[int] = []

    def look(_request: SentRequest) -> Outcome:
        seen.append(bench.breaker().probes_in_flight)
        return answer()

    bench = Bench(look)
    half_open(bench.router.breakers.get("a"), bench.clock)
    bench.ask()
    assert seen == [1]


def test_11_safe_client_gateway_3442_a_hanging_service_holds_no_more_than_three_callers() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    service = Hanging(until_turned_away=17)

    def ask() -> None:
        try:
            breaker.call(service.hang)
        except CircuitOpenError:
            service.turned_away()

    together(ask, threads=20)
    assert service.let_in == 3


def test_12_resilience4j_1090_calls_from_before_the_opening_are_not_counted_as_probes() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    early = [breaker.acquire() for _ in range(6)]
    probing(breaker, clock)
    for permit in early[:3]:
        permit.success()
    stats = breaker.stats()
    assert (stats.state, stats.half_open_successes, stats.probes_in_flight) == (HALF_OPEN, 0, 1)
    for permit in early[3:]:
        permit.failure()
    assert breaker.state is HALF_OPEN


@pytest.mark.parametrize("settle", [Permit.success, Permit.failure, Permit.release])
def test_13_failsafe_391_late_records_free_no_place_that_they_never_took(settle: Callable[[Permit], None]) -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    early = [breaker.acquire() for _ in range(50)]
    probing(breaker, clock)
    for permit in early:
        settle(permit)
    more = [breaker.try_acquire() for _ in range(50)]
    assert sum(permit is not None for permit in more) == 2


def test_14_failsafe_135_looking_takes_nothing_and_asking_takes_a_place() -> None:
    breaker = due(FakeClock())
    for _ in range(10):
        assert (breaker.state, breaker.retry_after, breaker.stats().probes_in_flight) == (OPEN, 0, 0)
        repr(breaker)
    taken = [breaker.try_acquire() for _ in range(10)]
    assert sum(permit is not None for permit in taken) == 3


def test_14_open_liberty_7080_a_caller_who_takes_permits_by_hand_is_capped_like_any_other() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    by_hand = [breaker.try_acquire(), breaker.try_acquire()]
    assert None not in by_hand
    with breaker, pytest.raises(CircuitOpenError):
        breaker.call(str)


@pytest.mark.parametrize("shell", ["call", "decorator", "block"])
def test_15_polly_216_223_no_shell_lets_a_stampede_of_probes_through(shell: str) -> None:
    breaker = due(FakeClock())
    service = Hanging(until_turned_away=29)

    def enter() -> None:
        if shell == "call":
            breaker.call(service.hang)
        elif shell == "decorator":
            breaker(service.hang)()
        else:
            with breaker:
                service.hang()

    def ask() -> None:
        try:
            enter()
        except CircuitOpenError:
            service.turned_away()

    together(ask)
    assert service.let_in == 3


def test_15_backon_26_a_retry_around_the_breaker_takes_permits_instead_of_reading_the_state() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    held = breaker.acquire()
    called: list[int] = []
    assert breaker.state is HALF_OPEN, "which a wrapper that reads the state would take for leave"
    with pytest.raises(CircuitOpenError):
        retry_call(breaker.call, called.append, 1, config=RetryConfig(max_retries=5), clock=clock)
    assert (called, clock.waits) == ([], [])
    held.release()


@pytest.mark.usefixtures("expect_logs")
def test_15_pyfailsafe_31_a_router_in_half_open_sends_no_more_than_three_at_once() -> None:
    service = Hanging(until_turned_away=13)

    def slow(_request: SentRequest) -> Outcome:
        service.hang()
        return answer("a")

    def other(_request: SentRequest) -> Outcome:
        service.turned_away()
        return answer("b")

    bench = Bench(slow, other)
    half_open(bench.router.breakers.get("a"), bench.clock)
    answers = together(lambda: bench.ask().content, threads=16)
    assert sorted(answers) == ["a"] * 3 + ["b"] * 13


_STEPS = st.lists(
    st.one_of(
        st.just(("acquire", 0.0)),
        st.tuples(st.sampled_from(["success", "failure", "release"]), st.integers(0, 30)),
        st.tuples(st.just("advance"), st.sampled_from([1.0, 59.0, 60.0, 90.0])),
    ),
    max_size=80,
)


@given(steps=_STEPS, cap=st.integers(1, 4))
def test_16_termite_27_no_order_of_events_gets_more_probes_in_than_the_cap(
    steps: list[tuple[str, float]], cap: int
) -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, failure_threshold=1, half_open_max_calls=cap, success_threshold=3)
    out: list[Permit] = []  # every permit ever granted, settled or not: late settlements belong to the game
    for what, value in steps:
        if what == "acquire":
            permit = breaker.try_acquire()
            out += [] if permit is None else [permit]
        elif what == "advance":
            clock.advance(value)
        elif out:
            getattr(out[int(value) % len(out)], what)()
        stats = breaker.stats()
        if stats.state is HALF_OPEN:
            current = [each for each in out if each.generation == breaker._circuit.phase.generation]
            assert sum(not each.settled for each in current) == stats.probes_in_flight <= cap


def test_17_circuitbreaker_and_aiobreaker_twenty_permits_at_once_in_half_open_are_three() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    granted = [permit for permit in together(breaker.try_acquire, threads=20) if permit is not None]
    assert len(granted) == 3
    together(lambda: [permit.success() for permit in granted], threads=20)
    assert (breaker.state, breaker.stats().successes) == (CLOSED, 3)
