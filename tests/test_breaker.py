"""The breaker, rule by rule and bug class by bug class."""

from __future__ import annotations

import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Iterator

import pytest

from failsafe import errors
from failsafe.breaker import CircuitBreaker, CircuitBreakerRegistry, Permit
from failsafe.events import CircuitState, StateChanged
from failsafe.listeners import StateListeners
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock
from tests.chance import Chance

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
FORCED_OPEN, DISABLED = CircuitState.FORCED_OPEN, CircuitState.DISABLED


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker("openai", clock=clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.acquire().failure(OSError())


def half_open(breaker: CircuitBreaker, clock: FakeClock) -> Permit:
    """Open *breaker*, let its time pass, and return the first probe."""
    fail(breaker, breaker.config.failure_threshold or 0)
    clock.advance(breaker.retry_after or 0)
    return breaker.acquire()


# The contract.


def test_five_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    assert breaker.state is CLOSED
    fail(breaker, 1)
    assert breaker.state is OPEN
    assert breaker.try_acquire() is None


def test_a_success_in_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    breaker.acquire().success()
    fail(breaker, 4)
    assert breaker.state is CLOSED


def test_it_stays_open_for_exactly_its_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker, 5)
    clock.advance(59.875)
    assert breaker.try_acquire() is None
    clock.advance(0.125)
    assert breaker.try_acquire() is not None


def test_three_successful_probes_close_it(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock).success()
    breaker.acquire().success()
    assert breaker.state is HALF_OPEN
    breaker.acquire().success()
    assert breaker.state is CLOSED
    fail(breaker, 4)
    assert breaker.state is CLOSED, "the streak began anew"


def test_the_first_failed_probe_opens_it_for_a_whole_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock).success()
    breaker.acquire().failure(OSError())
    assert breaker.state is OPEN
    assert breaker.retry_after == 60


def test_at_most_three_probes_are_in_flight(breaker: CircuitBreaker, clock: FakeClock) -> None:
    first = half_open(breaker, clock)
    assert breaker.try_acquire() is not None
    assert breaker.try_acquire() is not None
    assert breaker.try_acquire() is None
    first.release()
    assert breaker.try_acquire() is not None


def test_a_refusal_as_an_exception_says_who_why_and_how_long(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker, 5)
    clock.advance(47.5)
    with pytest.raises(errors.CircuitOpenError, match=r"'openai' is open for another 12\.5 s") as caught:
        breaker.acquire()
    error = caught.value
    assert (error.name, error.state, error.retry_after) == ("openai", "open", 12.5)
    assert error.reason == "5 failures in a row, the last: OSError"


def test_more_successes_than_places_can_be_asked_for(clock: FakeClock) -> None:
    config = CircuitBreakerConfig(success_threshold=5, half_open_max_calls=1)
    breaker = CircuitBreaker("openai", config, clock=clock)
    half_open(breaker, clock).success()
    for _ in range(4):
        breaker.acquire().success()
    assert breaker.state is CLOSED


def test_one_failure_may_be_enough(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(failure_threshold=1), clock=clock)
    fail(breaker, 1)
    assert breaker.stats().reason == "a failure: OSError"


def test_the_cause_may_be_given_in_words_or_not_at_all(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(failure_threshold=1), clock=clock)
    breaker.acquire().failure("HTTP 503")
    assert breaker.stats().reason == "a failure: HTTP 503"
    breaker.reset()
    breaker.acquire().failure()
    assert breaker.stats().reason == "a failure: cause not given"


def test_an_exception_lends_its_class_name_only(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(failure_threshold=1), clock=clock)
    breaker.acquire().failure(ValueError("Bearer marked-key"))
    assert "marked-key" not in f"{breaker!r} {breaker.stats()}"


# Half-open that never ends.


def test_an_ignored_outcome_gives_the_place_back(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock).release()
    stats = breaker.stats()
    assert (stats.state, stats.probes_in_flight, stats.half_open_successes) == (HALF_OPEN, 0, 0)


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt, SystemExit, GeneratorExit, concurrent.futures.CancelledError]
)
def test_an_interrupted_probe_gives_its_place_back(
    breaker: CircuitBreaker, clock: FakeClock, interruption: type[BaseException]
) -> None:
    half_open(breaker, clock).release()

    def interrupted() -> None:
        raise interruption

    for _ in range(4):
        with pytest.raises(interruption):
            breaker.call(interrupted)
    assert breaker.stats().probes_in_flight == 0
    assert breaker.state is HALF_OPEN


def test_probes_that_never_answer_lose_their_places(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock)
    breaker.acquire()
    breaker.acquire()
    clock.advance(59.875)
    assert breaker.try_acquire() is None
    assert breaker.state is HALF_OPEN
    clock.advance(0.125)
    assert breaker.try_acquire() is None
    assert (breaker.state, breaker.stats().reason) == (OPEN, "a probe has not answered for 60 s")
    clock.advance(60)
    assert breaker.try_acquire() is not None


def test_the_lease_is_looked_at_only_when_every_place_is_taken(breaker: CircuitBreaker, clock: FakeClock) -> None:
    slow = half_open(breaker, clock)
    clock.advance(3600)
    breaker.acquire().success()
    clock.advance(3600)
    breaker.acquire().success()
    slow.success()
    assert breaker.state is CLOSED, "a client with little traffic may take hours"


def test_the_lease_can_be_set(clock: FakeClock) -> None:
    config = CircuitBreakerConfig(half_open_max_calls=1, half_open_max_wait=5)
    breaker = CircuitBreaker("openai", config, clock=clock)
    half_open(breaker, clock)
    clock.advance(5)
    assert breaker.try_acquire() is None
    assert breaker.state is OPEN


def test_a_default_lease_is_never_shorter_than_the_open_time(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(half_open_max_calls=1, timeout=100), clock=clock)
    half_open(breaker, clock)
    clock.advance(99)
    assert breaker.try_acquire() is None
    assert breaker.state is HALF_OPEN


def test_a_rate_limited_probe_ends_half_open(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock).failure(soft=True)
    assert breaker.state is OPEN


def test_a_refusal_further_in_gives_the_place_back(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock).release()
    inner = CircuitBreaker("inner", clock=clock)
    inner.force_open()
    with pytest.raises(errors.CircuitOpenError):
        breaker.call(inner.call, len, "")
    assert breaker.stats().probes_in_flight == 0


# Too many probes.


def test_reading_admits_nobody_and_changes_nothing(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker, 5)
    clock.advance(61)
    for _ in range(10):
        assert (breaker.state, breaker.retry_after, breaker.stats().state) == (OPEN, 0, OPEN)
    assert repr(breaker) == "<CircuitBreaker openai open retry in 0.0 s>"


def test_one_call_takes_one_permit(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock).release()
    assert breaker.call(lambda: breaker.stats().probes_in_flight) == 1


# Stale results.


def test_a_success_from_before_the_opening_does_not_count_in_half_open(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    early = breaker.acquire()
    half_open(breaker, clock)
    early.success()
    stats = breaker.stats()
    assert (stats.half_open_successes, stats.probes_in_flight) == (0, 1)


def test_a_failure_from_before_the_opening_does_not_end_half_open(breaker: CircuitBreaker, clock: FakeClock) -> None:
    early = breaker.acquire()
    half_open(breaker, clock)
    early.failure(OSError())
    assert breaker.state is HALF_OPEN


def test_a_probe_of_an_earlier_half_open_does_nothing_in_the_next(breaker: CircuitBreaker, clock: FakeClock) -> None:
    late = half_open(breaker, clock)
    breaker.acquire().failure()
    clock.advance(60)
    breaker.acquire()
    late.success()
    stats = breaker.stats()
    assert (stats.half_open_successes, stats.probes_in_flight) == (0, 1)


def test_a_success_while_open_does_not_close_it(breaker: CircuitBreaker) -> None:
    early = breaker.acquire()
    fail(breaker, 5)
    early.success()
    assert breaker.state is OPEN


def test_failures_while_open_do_not_move_its_timer(breaker: CircuitBreaker, clock: FakeClock) -> None:
    early = [breaker.acquire() for _ in range(20)]
    fail(breaker, 5)
    for permit in early:
        clock.advance(2)
        permit.failure(OSError(), retry_after=300)
    assert breaker.retry_after == 20
    assert breaker.stats().opened == 1


def test_a_permit_settles_once(breaker: CircuitBreaker) -> None:
    permit = breaker.acquire()
    permit.failure()
    permit.failure()
    permit.success()
    permit.release()
    stats = breaker.stats()
    assert (stats.streak, stats.failures, stats.successes) == (1, 1, 0)


def test_a_probe_settles_once(breaker: CircuitBreaker, clock: FakeClock) -> None:
    probe = half_open(breaker, clock)
    for _ in range(5):
        probe.success()
        probe.release()
    stats = breaker.stats()
    assert (stats.half_open_successes, stats.probes_in_flight) == (1, 0)


def test_a_reset_makes_calls_under_way_stale(breaker: CircuitBreaker) -> None:
    early = [breaker.acquire() for _ in range(5)]
    breaker.reset()
    for permit in early:
        permit.failure()
    assert (breaker.state, breaker.stats().streak) == (CLOSED, 0)


def test_the_generation_counts_transitions(breaker: CircuitBreaker, clock: FakeClock) -> None:
    assert breaker.acquire().generation == 0
    assert half_open(breaker, clock).generation == 2


# Clocks.


def test_a_clock_that_goes_back_neither_admits_nor_shows_a_longer_wait(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    fail(breaker, 5)
    clock.advance(-3600)
    assert breaker.retry_after == 60
    assert breaker.try_acquire() is None


def test_the_open_time_begins_with_the_failure_not_with_the_call(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker, 4)
    slow = breaker.acquire()
    clock.advance(30)
    slow.failure()
    assert breaker.retry_after == 60


def test_fractions_of_a_second_count(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(timeout=0.25), clock=clock)
    fail(breaker, 5)
    assert breaker.retry_after == 0.25
    clock.advance(0.25)
    assert breaker.try_acquire() is not None


# Herd and flapping.


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 60), (0.5, 63), (1.0, 66)])
def test_jitter_only_lengthens(clock: FakeClock, chance: float, expected: float) -> None:
    config = CircuitBreakerConfig(timeout_jitter=0.1)
    breaker = CircuitBreaker("openai", config, clock=clock, random=Chance(chance))
    fail(breaker, 5)
    assert breaker.retry_after == pytest.approx(expected)


def test_without_jitter_chance_is_not_asked(clock: FakeClock) -> None:
    chance = Chance(1.0)
    fail(CircuitBreaker("openai", clock=clock, random=chance), 5)
    assert chance.asked == 0


def test_each_failed_half_open_in_a_row_lengthens_the_next_open_time(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(timeout_multiplier=2), clock=clock)
    fail(breaker, 5)
    seen = [breaker.retry_after]
    for _ in range(4):
        clock.advance(breaker.retry_after or 0)
        breaker.acquire().failure()
        seen.append(breaker.retry_after)
    assert seen == [60, 120, 240, 300, 300]


def test_closing_forgets_the_growth(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(timeout_multiplier=2), clock=clock)
    half_open(breaker, clock).failure()
    clock.advance(120)
    for _ in range(3):
        breaker.acquire().success()
    fail(breaker, 5)
    assert breaker.retry_after == 60


def test_a_half_open_that_got_no_answer_counts_as_failed(clock: FakeClock) -> None:
    config = CircuitBreakerConfig(timeout_multiplier=2, half_open_max_calls=1)
    breaker = CircuitBreaker("openai", config, clock=clock)
    half_open(breaker, clock)
    clock.advance(60)
    breaker.try_acquire()
    assert breaker.retry_after == 120


def test_growth_without_end_stays_below_its_limit(clock: FakeClock) -> None:
    config = CircuitBreakerConfig(timeout_multiplier=1000, max_timeout=100)
    breaker = CircuitBreaker("openai", config, clock=clock)
    fail(breaker, 5)
    for _ in range(120):  # 1000 ** 120 is more than a float can hold
        clock.advance(100)
        breaker.acquire().failure()
    assert breaker.retry_after == 100


def test_jitter_survives_the_limit_and_stays_below_it(clock: FakeClock) -> None:
    config = CircuitBreakerConfig(timeout_multiplier=10, max_timeout=110, timeout_jitter=0.1)
    seen = []
    for value in (0.0, 0.5, 1.0):
        breaker = CircuitBreaker("openai", config, clock=clock, random=Chance(value))
        half_open(breaker, clock).failure()
        seen.append(breaker.retry_after)
    assert seen == pytest.approx([100, 105, 110])


@pytest.mark.parametrize(("asked", "expected"), [(90, 90), (10, 60), (3600, 300), (float("nan"), 60), (-5, 60)])
def test_a_retry_after_on_the_tripping_failure_is_a_lower_bound(
    breaker: CircuitBreaker, asked: float, expected: float
) -> None:
    fail(breaker, 4)
    breaker.acquire().failure(retry_after=asked)
    assert breaker.retry_after == expected


# Soft failures.


def test_a_soft_failure_neither_adds_to_the_streak_nor_clears_it(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    for _ in range(10):
        breaker.acquire().failure(soft=True)
    assert breaker.state is CLOSED
    fail(breaker, 1)
    assert breaker.state is OPEN
    assert (breaker.stats().failures, breaker.stats().soft_failures) == (5, 10)


# By hand.


def test_tripping_opens_it_for_the_usual_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    breaker.trip("maintenance")
    assert (breaker.state, breaker.retry_after, breaker.stats().reason) == (OPEN, 60, "maintenance")
    clock.advance(30)
    breaker.trip("again")
    assert breaker.retry_after == 30


def test_forced_open_refuses_until_reset(breaker: CircuitBreaker, clock: FakeClock) -> None:
    breaker.force_open()
    clock.advance(1e9)
    breaker.trip()
    with pytest.raises(errors.CircuitOpenError, match="forced_open until it is reset by hand") as caught:
        breaker.acquire()
    assert caught.value.retry_after is None
    breaker.reset()
    assert breaker.try_acquire() is not None


def test_disabled_admits_everything_and_records_nothing(breaker: CircuitBreaker) -> None:
    breaker.disable()
    fail(breaker, 50)
    breaker.acquire().success()
    breaker.acquire().release()
    breaker.trip()
    stats = breaker.stats()
    assert (stats.state, stats.failures, stats.successes, stats.retry_after) == (DISABLED, 0, 0, None)


def test_a_permit_from_before_disabling_records_nothing_after_it(breaker: CircuitBreaker) -> None:
    early = breaker.acquire()
    breaker.disable()
    early.failure()
    assert breaker.stats().failures == 0


def test_reset_forgets_the_streak_and_the_growth(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(timeout_multiplier=2), clock=clock)
    half_open(breaker, clock).failure()
    breaker.reset()
    fail(breaker, 4)
    breaker.reset()
    fail(breaker, 5)
    assert breaker.retry_after == 60


# Shells: call, decorator, with.


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_call_returns_what_the_function_returns_and_records_it(breaker: CircuitBreaker) -> None:
    def add(left: int, *, right: int) -> int:
        return left + right

    assert breaker.call(add, 1, right=2) == 3
    assert breaker.stats().successes == 1


def test_the_error_that_trips_reaches_the_caller_itself(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(failure_threshold=1), clock=clock)
    error = OSError("original")
    with pytest.raises(OSError, match="original") as caught:
        breaker.call(raising(error))
    assert caught.value is error
    assert breaker.state is OPEN


def test_an_open_breaker_does_not_call_the_function(breaker: CircuitBreaker) -> None:
    called: list[int] = []
    breaker.trip()
    with pytest.raises(errors.CircuitOpenError):
        breaker.call(called.append, 1)
    assert called == []


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest("no"),
        errors.ContextWindowExceeded("too long"),
        errors.AuthenticationFailed("who"),
        errors.QuotaExhausted("no money"),
        errors.ContentFiltered("no"),
        errors.Cancelled("given up"),
        errors.ConfigError("bad"),
    ],
)
def test_what_is_not_the_services_fault_leaves_no_trace(breaker: CircuitBreaker, error: Exception) -> None:
    for _ in range(10):
        with pytest.raises(type(error)):
            breaker.call(raising(error))
    stats = breaker.stats()
    assert (stats.state, stats.failures, stats.soft_failures, stats.successes) == (CLOSED, 0, 0, 0)


def test_a_rate_limit_is_soft(breaker: CircuitBreaker) -> None:
    with pytest.raises(errors.RateLimited):
        breaker.call(raising(errors.RateLimited("slow down")))
    assert (breaker.stats().soft_failures, breaker.stats().streak) == (1, 0)


def test_the_retry_after_of_an_exception_is_heeded(clock: FakeClock) -> None:
    breaker = CircuitBreaker("openai", CircuitBreakerConfig(failure_threshold=1), clock=clock)
    with pytest.raises(errors.Transient):
        breaker.call(raising(errors.Transient("overloaded", retry_after=90.0)))
    assert breaker.retry_after == 90


def test_the_decorator_keeps_name_and_signature(breaker: CircuitBreaker) -> None:
    @breaker
    def twice(number: int, *, plus: int = 0) -> int:
        """Double."""
        return 2 * number + plus

    assert twice(3, plus=1) == 7
    assert (twice.__name__, twice.__doc__) == ("twice", "Double.")
    assert list(inspect.signature(twice).parameters) == ["number", "plus"]
    breaker.force_open()
    with pytest.raises(errors.CircuitOpenError):
        twice(3)


def test_the_decorator_refuses_functions_whose_work_comes_later(breaker: CircuitBreaker) -> None:
    def stream() -> Iterator[int]:
        yield 1

    async def ask() -> None: ...

    with pytest.raises(TypeError, match=r"breaker 'openai' cannot wrap .*stream.* generator function"):
        breaker(stream)
    with pytest.raises(TypeError, match=r"ask.* coroutine function"):
        breaker(ask)


def test_with_blocks_nest_and_each_has_its_own_permit(breaker: CircuitBreaker) -> None:
    with breaker as outer:
        with pytest.raises(OSError, match="inner"), breaker:
            raise OSError("inner")
        assert (breaker.stats().streak, outer.settled) == (1, False)
    assert (breaker.stats().streak, outer.settled) == (0, True)


def test_with_blocks_of_two_threads_do_not_mix(breaker: CircuitBreaker) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with breaker:
            entered.set()
            leave.wait(timeout=10)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(timeout=10)
    with pytest.raises(OSError, match="mine"), breaker:
        raise OSError("mine")
    assert (breaker.stats().failures, breaker.stats().successes) == (1, 0)
    leave.set()
    thread.join()
    assert breaker.stats().successes == 1


def test_leaving_a_with_block_in_another_thread_harms_nobody(breaker: CircuitBreaker) -> None:
    breaker.__enter__()
    thread = threading.Thread(target=breaker.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert breaker.stats().successes == 0


def test_a_permit_is_a_context_manager(breaker: CircuitBreaker) -> None:
    with breaker.acquire() as permit:
        assert repr(permit) == "<Permit openai generation 0>"
    assert repr(permit) == "<Permit openai generation 0 settled>"
    with pytest.raises(OSError, match="broken"), breaker.acquire():
        raise OSError("broken")
    with pytest.raises(KeyboardInterrupt), breaker.acquire():
        raise KeyboardInterrupt
    assert (breaker.stats().successes, breaker.stats().failures) == (1, 1)


def test_a_permit_settled_inside_its_block_is_not_settled_again(breaker: CircuitBreaker) -> None:
    with breaker.acquire() as permit:
        permit.failure()
    assert (breaker.stats().successes, breaker.stats().failures) == (0, 1)


def test_the_protected_function_runs_without_a_lock(breaker: CircuitBreaker) -> None:
    both_inside = threading.Barrier(2)
    threads = [threading.Thread(target=breaker.call, args=(both_inside.wait, 10)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.stats().successes == 2


# Listeners.


def moves(events: list[StateChanged]) -> list[tuple[CircuitState, CircuitState]]:
    return [(event.old, event.new) for event in events]


def test_listeners_hear_of_every_transition_in_order(breaker: CircuitBreaker, clock: FakeClock) -> None:
    events: list[StateChanged] = []
    breaker.on_state_change(events.append)
    probe = half_open(breaker, clock)
    probe.failure(OSError())
    breaker.force_open("incident 12")
    breaker.disable()
    breaker.reset()
    assert moves(events) == [
        (CLOSED, OPEN),
        (OPEN, HALF_OPEN),
        (HALF_OPEN, OPEN),
        (OPEN, FORCED_OPEN),
        (FORCED_OPEN, DISABLED),
        (DISABLED, CLOSED),
    ]
    assert [event.reason for event in events] == [
        "5 failures in a row, the last: OSError",
        "the open time of 60 s is over",
        "a probe failed: OSError",
        "incident 12",
        "disabled by hand",
        "reset by hand",
    ]
    assert [event.retry_after for event in events] == [60, None, 60, None, None, None]
    assert events[0].name == "openai"
    assert [event.at for event in events[:2]] == pytest.approx([1_800_000_000, 1_800_000_060])


def test_closing_is_told_with_the_time_of_the_last_probe(breaker: CircuitBreaker, clock: FakeClock) -> None:
    events: list[StateChanged] = []
    half_open(breaker, clock).success()
    breaker.on_state_change(events.append)
    breaker.acquire().success()
    clock.advance(5)
    breaker.acquire().success()
    assert moves(events) == [(HALF_OPEN, CLOSED)]
    assert events[0].at == pytest.approx(clock.time())
    assert events[0].reason == "3 probes succeeded"


def test_what_changes_no_state_is_no_event(breaker: CircuitBreaker) -> None:
    events: list[StateChanged] = []
    breaker.on_state_change(events.append)
    breaker.reset()
    breaker.force_open()
    breaker.force_open()
    assert moves(events) == [(CLOSED, FORCED_OPEN)]


def test_a_listener_given_at_the_start_hears_too(clock: FakeClock) -> None:
    events: list[StateChanged] = []
    CircuitBreaker("openai", clock=clock, listeners=[events.append]).trip()
    assert moves(events) == [(CLOSED, OPEN)]


def test_a_listener_that_unsubscribed_hears_nothing(breaker: CircuitBreaker) -> None:
    events: list[StateChanged] = []
    unsubscribe = breaker.on_state_change(events.append)
    breaker.on_state_change(events.append)
    unsubscribe()
    unsubscribe()
    breaker.trip()
    assert len(events) == 1


def test_a_listener_may_use_the_breaker_and_its_own_transitions_come_after(breaker: CircuitBreaker) -> None:
    heard: list[CircuitState] = []

    def listener(event: StateChanged) -> None:
        if event.new is OPEN:
            breaker.force_open()
        assert breaker.state is not OPEN
        breaker.stats()
        breaker.try_acquire()
        heard.append(event.new)

    breaker.on_state_change(listener)
    breaker.trip()
    assert heard == [OPEN, FORCED_OPEN]


def test_no_transition_is_told_under_the_lock(breaker: CircuitBreaker, clock: FakeClock) -> None:
    heard: list[CircuitState] = []

    def listener(event: StateChanged) -> None:
        breaker.stats()  # would wait for ever for a lock that its own thread holds
        heard.append(event.new)

    breaker.on_state_change(listener)
    half_open(breaker, clock).success()
    breaker.acquire().success()
    breaker.acquire().success()
    half_open(breaker, clock).failure()
    clock.advance(60)
    for _ in range(3):
        breaker.acquire()
    clock.advance(60)
    assert breaker.try_acquire() is None
    assert heard == [OPEN, HALF_OPEN, CLOSED, OPEN, HALF_OPEN, OPEN, HALF_OPEN, OPEN]


def test_a_failing_listener_is_logged_and_disturbs_nobody(
    breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[StateChanged] = []

    def broken(event: StateChanged) -> None:
        raise RuntimeError("listener bug")

    breaker.on_state_change(broken)
    breaker.on_state_change(events.append)
    breaker.trip()
    assert len(events) == 1
    record = caplog.records[0]
    assert record.name == "failsafe.breaker"
    assert record.getMessage() == "a listener of circuit breaker 'openai' failed on closed -> open"


def test_an_interrupted_listener_does_not_silence_the_next_transitions(breaker: CircuitBreaker) -> None:
    heard: list[CircuitState] = []

    def listener(event: StateChanged) -> None:
        if event.new is OPEN:
            raise KeyboardInterrupt
        heard.append(event.new)

    breaker.on_state_change(listener)
    with pytest.raises(KeyboardInterrupt):
        breaker.trip()
    breaker.force_open()
    assert heard == [FORCED_OPEN]


def test_a_transition_noted_while_another_thread_stops_telling_is_told_all_the_same(clock: FakeClock) -> None:
    heard: list[str] = []
    listeners = StateListeners("openai", clock)
    listeners.subscribe(lambda event: heard.append(event.reason))

    class NotedAtTheLastMoment:
        """A lock in whose release another thread's transition falls."""

        def __init__(self) -> None:
            self.reasons = ["late"]

        def acquire(self, *, blocking: bool) -> bool:
            return not blocking

        def release(self) -> None:
            while self.reasons:
                listeners.note(clock.monotonic(), CLOSED, OPEN, self.reasons.pop(), None)

    listeners._telling = NotedAtTheLastMoment()  # type: ignore[assignment]
    listeners.note(clock.monotonic(), OPEN, CLOSED, "first", None)
    listeners.tell()
    assert heard == ["first", "late"]


def test_without_listeners_no_event_is_made(breaker: CircuitBreaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.listeners.StateChanged", None)
    breaker.trip()
    assert breaker.state is OPEN


# Figures and words.


def test_the_stats_of_one_moment(breaker: CircuitBreaker, clock: FakeClock) -> None:
    breaker.acquire().success()
    half_open(breaker, clock).success()
    breaker.acquire()
    stats = breaker.stats()
    assert (stats.name, stats.state, stats.retry_after) == ("openai", HALF_OPEN, 0.0)
    assert (stats.half_open_successes, stats.probes_in_flight) == (1, 1)
    assert (stats.opened, stats.successes, stats.failures, stats.rejected) == (1, 2, 5, 0)
    assert stats.reason == "5 failures in a row, the last: OSError"


def test_refusals_are_counted(breaker: CircuitBreaker) -> None:
    breaker.trip()
    breaker.try_acquire()
    with pytest.raises(errors.CircuitOpenError):
        breaker.acquire()
    assert breaker.stats().rejected == 2


def test_retry_after_in_each_state(breaker: CircuitBreaker, clock: FakeClock) -> None:
    assert breaker.retry_after is None
    half_open(breaker, clock)
    assert breaker.retry_after == 0
    breaker.acquire()
    breaker.acquire()
    assert breaker.retry_after == 1, "every place is taken, and one may come free at any moment"
    clock.advance(59.5)
    assert breaker.retry_after == 0.5
    breaker.disable()
    assert breaker.retry_after is None


def test_the_repr_of_each_state(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker, 4)
    assert repr(breaker) == "<CircuitBreaker openai closed 4/5 failures>"
    fail(breaker, 1)
    clock.advance(47.7)
    assert repr(breaker) == "<CircuitBreaker openai open retry in 12.3 s>"
    clock.advance(12.3)
    breaker.acquire().success()
    breaker.acquire()
    assert repr(breaker) == "<CircuitBreaker openai half_open 1/3 successes, 1/3 in flight>"
    breaker.force_open()
    assert repr(breaker) == "<CircuitBreaker openai forced_open>"
    breaker.disable()
    assert repr(breaker) == "<CircuitBreaker openai disabled>"


@pytest.mark.parametrize("name", ["", "two\nlines", None])
def test_a_breaker_needs_a_printable_name(name: str) -> None:
    with pytest.raises(errors.ConfigError, match="name"):
        CircuitBreaker(name)


# The registry.


def test_the_same_name_gives_the_same_breaker(clock: FakeClock) -> None:
    config = CircuitBreakerConfig(failure_threshold=1)
    registry = CircuitBreakerRegistry(config, clock=clock)
    assert registry.get("a") is registry.get("a")
    assert registry.get("a") is not registry.get("b")
    assert registry.get("a").config is config
    assert repr(registry) == "<CircuitBreakerRegistry 2 breakers>"


def test_a_breaker_may_have_settings_of_its_own(clock: FakeClock) -> None:
    own = CircuitBreakerConfig(failure_threshold=2)
    registry = CircuitBreakerRegistry(clock=clock)
    assert registry.get("a", own).config is own
    assert registry.get("a").config is own


def test_the_registry_tells_the_figures_of_all(clock: FakeClock) -> None:
    registry = CircuitBreakerRegistry(clock=clock)
    registry.get("a").trip()
    registry.get("b")
    assert {name: stats.state for name, stats in registry.stats().items()} == {"a": OPEN, "b": CLOSED}


def test_a_listener_of_the_registry_hears_of_breakers_made_before_and_after(clock: FakeClock) -> None:
    registry = CircuitBreakerRegistry(clock=clock)
    early = registry.get("early")
    events: list[StateChanged] = []
    unsubscribe = registry.on_state_change(events.append)
    late = registry.get("late")
    early.trip()
    late.trip()
    unsubscribe()
    unsubscribe()
    early.reset()
    late.reset()
    registry.get("latest").trip()
    assert [event.name for event in events] == ["early", "late"]


def test_threads_that_ask_for_one_name_at_once_get_one_breaker() -> None:
    registry = CircuitBreakerRegistry()
    start = threading.Barrier(16)
    found: list[CircuitBreaker] = []

    def get() -> None:
        start.wait(timeout=10)
        found.append(registry.get("shared"))

    threads = [threading.Thread(target=get) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
