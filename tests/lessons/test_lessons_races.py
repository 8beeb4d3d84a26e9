"""Races inside the breaker."""

from __future__ import annotations

import itertools
import linecache
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from failsafe.adaptive import AdaptiveConcurrency
from failsafe.breaker import CircuitBreaker
from failsafe.bulkhead import Bulkhead, ConcurrencyLimit
from failsafe.errors import ConfigError
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import AdaptiveConcurrencyConfig, BulkheadConfig, CircuitBreakerConfig
from failsafe.testing import FakeClock
from tests.lessons.situations import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    breaker_of,
    fail,
    frequent_switches,
    opened,
    recovers,
    together,
)


class Interrupted(BaseException):
    """What a signal handler raises between any two lines."""


class _InterruptAtLine:
    """
    Raises :class:`Interrupted` before the line number *at* that is run in the breaker's own modules.

    Not at a ``with``, which is traced once more on the way out, where the interpreter takes no signal.
    """

    def __init__(self, at: int) -> None:
        self._left = at
        self.struck = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(("circuit.py", "phases.py", "rules.py", "listeners.py")):
            return None
        if event == "line" and not _is_with(frame):
            self._left -= 1
            if self._left == 0:
                self.struck = True
                raise Interrupted
        return self


def _is_with(frame: FrameType) -> bool:
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


def interrupted_at_every_line(situation: Callable[[], tuple[CircuitBreaker, FakeClock]], step: str) -> int:
    """Run *step* of a fresh breaker again and again, each time interrupted one line later; how many lines it has."""
    for at in itertools.count(1):
        breaker, clock = situation()
        permit = breaker.try_acquire() if step != "acquire" else None
        act = breaker.try_acquire if permit is None else getattr(permit, step)
        interrupt = _InterruptAtLine(at)
        tracing_before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            act()
        except Interrupted:
            pass
        finally:
            sys.settrace(tracing_before)
        if not interrupt.struck:
            return at - 1
        assert recovers(breaker, clock), f"{step}, interrupted at line {at}, left {breaker!r} for ever"
    raise AssertionError("itertools.count has no end")


def _one_failure_from_open() -> tuple[CircuitBreaker, FakeClock]:
    clock = FakeClock()
    breaker = breaker_of(clock)
    fail(breaker, 4)
    return breaker, clock


def _due() -> tuple[CircuitBreaker, FakeClock]:
    clock = FakeClock()
    breaker = opened(breaker_of(clock))
    clock.advance(60)
    return breaker, clock


def _one_success_from_closed() -> tuple[CircuitBreaker, FakeClock]:
    clock = FakeClock()
    breaker = opened(breaker_of(clock, success_threshold=2, half_open_max_calls=1))
    clock.advance(60)
    breaker.acquire().success()
    return breaker, clock


@pytest.mark.parametrize(
    ("situation", "step"),
    [
        (_one_failure_from_open, "failure"),
        (_due, "acquire"),
        (_one_success_from_closed, "success"),
        (_one_success_from_closed, "failure"),
        (_one_success_from_closed, "release"),
    ],
)
def test_24_hystrix_1781_1806_2108_no_moment_to_be_interrupted_at_leaves_it_open_for_ever(
    situation: Callable[[], tuple[CircuitBreaker, FakeClock]], step: str
) -> None:
    assert interrupted_at_every_line(situation, step) >= 5


def test_24_hystrix_1781_state_and_time_change_together_for_whoever_reads_them() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, failure_threshold=1)
    seen: set[tuple[CircuitState, bool]] = set()
    going = threading.Event()
    numbers = itertools.count()

    def use() -> None:
        if next(numbers) == 0:  # the one that moves it to and fro
            for _ in range(300):
                breaker.trip()
                breaker.reset()
            going.set()
        while not going.is_set():
            stats = breaker.stats()
            seen.add((stats.state, stats.retry_after is None))

    with frequent_switches():
        together(use, threads=4)
    assert seen <= {(CLOSED, True), (OPEN, False)}


def test_25_resilience4j_562_674_transitions_at_the_same_time_raise_nothing_to_anybody() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, failure_threshold=1, success_threshold=1)
    moves: list[Callable[[], object]] = [
        breaker.trip,
        breaker.reset,
        breaker.force_open,
        breaker.disable,
        lambda: clock.advance(60),
        lambda: settle("failure"),
        lambda: settle("success"),
    ]

    def settle(how: str) -> None:
        permit = breaker.try_acquire()
        if permit is not None:
            getattr(permit, how)()

    turns = itertools.count()

    def move() -> None:
        for _ in range(50):
            moves[next(turns) % len(moves)]()

    with frequent_switches():
        together(move)
    breaker.reset()
    assert breaker.state is CLOSED


def test_25_resilience4j_562_a_transition_made_twice_is_made_once() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock)
    heard: list[StateChanged] = []
    breaker.on_state_change(heard.append)
    for move in (breaker.trip, breaker.trip, breaker.force_open, breaker.force_open, breaker.reset, breaker.reset):
        move()
    assert [event.new for event in heard] == [OPEN, CircuitState.FORCED_OPEN, CLOSED]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), None, True])
def test_26_resilience4j_2038_an_open_time_of_nothing_is_refused(timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        CircuitBreakerConfig(timeout=timeout)


def test_26_resilience4j_2038_flapping_without_a_pause_needs_no_deeper_and_deeper_stack() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, failure_threshold=1, timeout=1e-9)
    changes = 3 * sys.getrecursionlimit()
    heard: list[StateChanged] = []

    def flap_on(event: StateChanged) -> None:
        heard.append(event)
        if len(heard) < changes:
            clock.advance(1)
            breaker.acquire().failure()

    breaker.on_state_change(flap_on)
    breaker.acquire().failure()
    assert len(heard) >= changes
    assert {event.new for event in heard} == {OPEN, HALF_OPEN}


def test_27_resilience4j_991_1039_nothing_of_an_earlier_open_period_moves_the_next() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock))
    clock.advance(50)
    breaker.reset()
    opened(breaker)
    clock.advance(59)
    assert breaker.try_acquire() is None, "ten seconds after the first open time would have ended"
    assert breaker.retry_after == 1
    breaker.force_open()
    clock.advance(3600)
    assert breaker.try_acquire() is None
    assert breaker.state is CircuitState.FORCED_OPEN


def test_27_resilience4j_991_a_breaker_runs_no_timer() -> None:
    before = threading.enumerate()
    clock = FakeClock()
    breaker = opened(breaker_of(clock))
    clock.advance(3600)
    assert threading.enumerate() == before
    assert (breaker.state, clock.waits) == (OPEN, []), "it moves when it is asked"


def _limits() -> dict[str, ConcurrencyLimit]:
    adaptive = AdaptiveConcurrencyConfig(initial=3, maximum=3)
    return {
        "bulkhead": Bulkhead("pool", BulkheadConfig(max_concurrent=3)),
        "adaptive": AdaptiveConcurrency("pool", adaptive, clock=FakeClock()),
    }


@pytest.mark.parametrize("name", list(_limits()))
def test_28_concurrency_limits_140_234_looking_for_room_and_taking_it_are_one_step(name: str) -> None:
    limit = _limits()[name]
    places = threading.Semaphore(3)

    def use() -> int:
        got_in = 0
        for _ in range(100):
            slot = limit.try_acquire()
            if slot is not None:
                assert places.acquire(blocking=False), "a fourth call is under way"
                places.release()
                slot.release()
                got_in += 1
        return got_in

    with frequent_switches():
        assert sum(together(use)) > 0
    assert limit.in_flight == 0


def test_28_rezilience_246_no_failure_is_lost_between_counting_and_deciding() -> None:
    with frequent_switches():
        for _ in range(10):
            breaker = breaker_of(FakeClock(), failure_threshold=64)
            permits = iter([breaker.acquire() for _ in range(64)])
            together(lambda permits=permits: next(permits).failure(), threads=32)  # type: ignore[misc]
            assert (breaker.state, breaker.stats().streak) == (CLOSED, 32)
            together(lambda permits=permits: next(permits).failure(), threads=32)  # type: ignore[misc]
            assert (breaker.state, breaker.stats().opened) == (OPEN, 1)


def test_28_agentscope_java_2984_a_success_that_cleared_the_streak_is_never_followed_by_an_opening_for_it() -> None:
    breaker = breaker_of(FakeClock(), failure_threshold=2)
    lock = threading.Lock()  # each failure is followed by a success, as one step
    opened_for: list[str] = []
    breaker.on_state_change(lambda event: opened_for.append(event.reason))

    def one_of_each() -> None:
        for _ in range(50):
            failed, succeeded = breaker.acquire(), breaker.acquire()
            with lock:
                failed.failure()
                succeeded.success()

    with frequent_switches():
        together(one_of_each)
    assert (opened_for, breaker.stats().streak) == ([], 0)
    assert breaker.stats().failures == 32 * 50


def test_28_kevlar_24_no_event_overtakes_another() -> None:
    breaker = breaker_of(FakeClock(), failure_threshold=1)
    heard: list[StateChanged] = []
    breaker.on_state_change(heard.append)

    def flap() -> None:
        for _ in range(30):
            breaker.trip()
            breaker.reset()

    with frequent_switches():
        together(flap)
    assert heard[0].old is CLOSED
    assert all(earlier.new is later.old for earlier, later in itertools.pairwise(heard))
    assert heard[-1].new is breaker.state
