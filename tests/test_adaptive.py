"""An adaptive limit finds what the service takes, follows it, shares it, and never loses a slot on the way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import errors
from failsafe.adaptive import AdaptiveConcurrency
from failsafe.aimd import AimdLimit
from failsafe.clock import Random
from failsafe.errors import BulkheadFull
from failsafe.policy_config import AdaptiveConcurrencyConfig
from failsafe.slots import Slot, pushback_of
from failsafe.testing import FakeClock
from failsafe.usual_latency import BATCH, UsualLatency
from tests.crowd import Crowd

CAP = 20.0
"""Seconds that bound a wait which should end at once."""


def make(initial: int = 10, *, clock: FakeClock | None = None, **settings: Any) -> AdaptiveConcurrency:
    settings.setdefault("latency_multiple", None)
    return AdaptiveConcurrency(
        "billing", AdaptiveConcurrencyConfig(initial=initial, **settings), clock=clock or FakeClock()
    )


def take(limit: AdaptiveConcurrency, count: int) -> list[Slot]:
    """So many slots at once, all of which there must be."""
    slots = [limit.try_acquire() for _ in range(count)]
    assert None not in slots
    return [slot for slot in slots if slot is not None]


# -- the rule --------------------------------------------------------------------------------------------------------


def test_a_whole_round_of_answers_adds_about_one() -> None:
    limit = make(10)
    for answers_so_far in range(1, 12):
        answered, *others = take(limit, 10)
        answered.release(pushback=False)
        for slot in others:
            slot.release()
        assert limit.limit == (10 if answers_so_far < 11 else 11)


def test_a_limit_of_which_less_than_half_is_used_does_not_rise() -> None:
    limit = make(10)
    for _ in range(1000):
        first, *others = take(limit, 4)
        first.release(pushback=False)
        for slot in others:
            slot.release()
    assert limit.limit == 10


def test_a_client_that_uses_ten_finds_room_for_twenty_and_no_more() -> None:
    limit = make(10)
    for _ in range(5000):
        first, *others = take(limit, 10)
        first.release(pushback=False)
        for slot in others:
            slot.release()
    assert limit.limit == 21


def test_it_falls_by_its_factor_when_the_service_pushes_back() -> None:
    limit = make(10, backoff=0.5)
    limit.acquire().release(pushback=True)
    assert limit.limit == 5


def test_it_falls_by_one_at_least() -> None:
    limit = make(10, backoff=0.99)
    for expected in (9, 8, 7):
        limit.acquire().release(pushback=True)
        assert limit.limit == expected


def test_one_overload_makes_it_fall_once_however_many_calls_tell_of_it() -> None:
    limit = make(100, backoff=0.7)
    for slot in take(limit, 100):
        slot.release(pushback=True)
    assert limit.limit == 70
    limit.acquire().release(pushback=True)
    assert limit.limit == 49


def test_the_answers_of_calls_sent_before_the_fall_do_not_raise_it_again() -> None:
    limit = make(10, backoff=0.5)
    first, *others = take(limit, 10)
    first.release(pushback=True)
    for slot in others:
        slot.release(pushback=False)
    assert limit.limit == 5
    assert limit._rule._exact == 5.0


def test_the_bounds_hold() -> None:
    limit = make(3, minimum=2, maximum=4)
    for _ in range(10):
        limit.acquire().release(pushback=True)
    assert limit.limit == 2
    for _ in range(100):
        first, second = take(limit, 2)
        first.release(pushback=False)
        second.release(pushback=False)
    assert limit.limit == 4


def test_what_says_nothing_changes_nothing() -> None:
    limit = make(10)
    before = limit._rule._exact
    for slot in take(limit, 10):
        slot.release()
    assert limit._rule._exact == before


@given(
    st.lists(
        st.tuples(st.sampled_from([True, False, None]), st.integers(0, 2), st.floats(0, 100), st.integers(1, 100)),
        max_size=300,
    ),
    st.floats(0.01, 0.99),
    st.sampled_from([None, 1.5, 3.0]),
)
def test_it_stays_within_its_bounds_whatever_happens(
    ends: list[tuple[bool | None, int, float, int]], backoff: float, latency_multiple: float | None
) -> None:
    rule = AimdLimit(
        AdaptiveConcurrencyConfig(initial=5, minimum=2, maximum=9, backoff=backoff, latency_multiple=latency_multiple)
    )
    for pushback, age, seconds, in_flight in ends:
        before, generation = rule.limit, rule.generation
        rule.ended(generation=generation - age, seconds=seconds, pushback=pushback, in_flight=in_flight)
        assert 2 <= rule.limit <= 9
        assert rule.limit <= before + 1
        if rule.limit < before:
            assert rule.generation == generation + 1
            assert age == 0


def test_its_reprs_tell_the_figures() -> None:
    limit = make(10)
    assert repr(limit) == "<AdaptiveConcurrency billing 0/10 in flight, 0 waiting>"
    assert repr(limit._rule) == "<AimdLimit 10.00>"
    usual = UsualLatency(3.0)
    assert repr(usual) == "<UsualLatency ->"
    usual.adopt(2.0)
    assert repr(usual) == "<UsualLatency 2.000 s>"


# -- exceptions -------------------------------------------------------------------------------------------------------


def fault(cls: Callable[[str], BaseException]) -> BaseException:
    return cls("why")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, False),
        (fault(errors.RateLimited), True),
        (fault(errors.Transient), True),
        (TimeoutError(), True),
        (fault(errors.DeadlineExceeded), True),
        (fault(errors.QuotaExhausted), None),
        (fault(errors.AuthenticationFailed), None),
        (fault(errors.InvalidRequest), None),
        (fault(errors.ContentFiltered), None),
        (fault(errors.Cancelled), None),
        (BulkheadFull("other", 1), None),
        (CancelledError(), None),
        (ValueError(), None),
        (KeyboardInterrupt(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_end_of_a_call_says(error: BaseException | None, expected: bool | None) -> None:
    assert pushback_of(error) is expected
    limit = make(10, backoff=0.5)

    def work() -> None:
        if error is not None:
            raise error

    ways: list[Callable[[], None]] = [lambda: limit.call(work), limit(work), lambda: in_a_block(limit, work)]
    for way in ways:
        before = limit.limit
        with contextlib.nullcontext() if error is None else pytest.raises(type(error)):
            way()
        assert limit.limit == (before // 2 if expected else before)
        assert limit.in_flight == 0


def in_a_block(limit: AdaptiveConcurrency, work: Callable[[], None]) -> None:
    with limit:
        work()


# -- a limit that moves under those who wait --------------------------------------------------------------------------


def test_when_it_falls_below_the_calls_under_way_they_run_on_and_none_is_let_in() -> None:
    limit = make(10, backoff=0.5)
    slots = take(limit, 10)
    slots[0].release(pushback=True)
    assert (limit.in_flight, limit.limit, limit.is_full) == (9, 5, True)
    for slot in slots[1:5]:
        slot.release(pushback=False)
        assert limit.try_acquire() is None
    slots[5].release(pushback=False)
    assert limit.in_flight == 4
    assert limit.try_acquire() is not None
    assert limit.try_acquire() is None


def test_when_it_rises_as_many_are_let_in_as_fit() -> None:
    """One release that lifts the limit from 1 to 2 must let two in, or one of them would wait for nothing."""
    clock = FakeClock()
    limit = make(1, max_wait=60.0, clock=clock)
    held = limit.acquire()
    woken: list[Slot] = []

    def second_wait() -> None:
        if limit.waiting == 2:
            held.release(pushback=False)

    def first_wait() -> None:
        if limit.waiting == 1:
            woken.append(limit.acquire())

    with clock.during_wait(second_wait), clock.during_wait(first_wait):
        woken.append(limit.acquire())
    assert limit.limit == 2
    assert (limit.in_flight, limit.waiting) == (2, 0)
    assert clock.monotonic() == 1000.0


def test_who_was_handed_a_slot_is_timed_from_that_moment() -> None:
    clock = FakeClock()
    limit = make(1, maximum=1, max_wait=60.0, clock=clock)
    held = limit.acquire()

    def end() -> None:
        clock.advance(7.0)
        held.release()

    with clock.during_wait(end):
        slot = limit.acquire()
    assert slot.started_at == clock.monotonic()


def test_a_call_that_is_handed_a_slot_by_the_falling_release_is_of_the_new_generation() -> None:
    clock = FakeClock()
    limit = make(4, minimum=1, backoff=0.5, max_wait=60.0, clock=clock)
    slots = take(limit, 4)

    def end() -> None:
        for slot in slots:
            slot.release(pushback=True)

    with clock.during_wait(end):
        slot = limit.acquire()
    assert limit.limit == 2
    slot.release(pushback=True)
    assert limit.limit == 1


def test_many_threads_and_a_limit_that_moves_lose_nothing() -> None:
    threads, rounds = 8, 150
    limit = AdaptiveConcurrency(
        "billing", AdaptiveConcurrencyConfig(initial=3, minimum=1, maximum=6, max_wait=CAP, latency_multiple=None)
    )
    start = threading.Barrier(threads, timeout=CAP)

    def work(seed: int) -> None:
        chance = Random(seed)
        start.wait()
        for _ in range(rounds):
            limit.acquire().release(pushback=chance.choice([True, False, False, False, None]))

    with ThreadPoolExecutor(threads) as pool:
        for call in [pool.submit(work, seed) for seed in range(threads)]:
            call.result(CAP)
    stats = limit.stats()
    assert (stats.in_flight, stats.waiting, stats.rejected) == (0, 0, 0)
    assert 1 <= stats.limit <= 6


# -- the latency rule -------------------------------------------------------------------------------------------------


def answers(limit: AdaptiveConcurrency, clock: FakeClock, count: int, seconds: float) -> None:
    """So many answers one after the other, with an unused limit, so that none raises it."""
    for _ in range(count):
        slot = limit.acquire()
        clock.advance(seconds)
        slot.release(pushback=False)


def slow_limit(**settings: Any) -> tuple[AdaptiveConcurrency, FakeClock]:
    clock = FakeClock()
    return make(100, clock=clock, latency_multiple=3.0, **settings), clock


def test_the_usual_is_known_after_the_first_answers_and_nothing_is_slow_before() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, BATCH - 1, 1000.0)
    assert limit.usual_latency is None
    answers(limit, clock, 1, 1000.0)
    assert limit.usual_latency == pytest.approx(1000.0)
    assert limit.limit == 100


def test_without_a_multiple_no_call_is_slow() -> None:
    clock = FakeClock()
    limit = make(100, clock=clock)
    answers(limit, clock, 5 * BATCH, 1.0)
    answers(limit, clock, 5 * BATCH, 1000.0)
    assert limit.usual_latency is None
    assert limit.limit == 100


def test_it_falls_when_answers_in_general_become_slow() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 5 * BATCH, 1.0)
    answers(limit, clock, 5 * BATCH, 2.9)
    assert limit.limit == 100
    answers(limit, clock, BATCH, 4.0)
    assert limit.limit == 70


def test_single_answers_however_slow_are_not_held_against_the_service() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, BATCH, 1.0)
    for _ in range(200):
        answers(limit, clock, 1, 3600.0)
        answers(limit, clock, 2, 1.0)
    assert limit.limit == 100


def test_a_slow_answer_does_not_move_the_usual_and_so_blind_the_rule() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 10 * BATCH, 1.0)
    answers(limit, clock, 20, 3600.0)
    answers(limit, clock, 2 * BATCH, 1.0)
    assert limit.usual_latency == pytest.approx(1.0)
    answers(limit, clock, 2 * BATCH, 4.0)
    assert limit.limit == 70


def test_it_falls_on_while_falling_helps() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 5 * BATCH, 1.0)
    for seconds, expected in ((9.0, 70), (6.3, 49), (4.4, 34), (2.9, 34)):
        answers(limit, clock, BATCH, seconds)
        assert limit.limit == expected


def test_where_falling_does_not_help_the_slow_becomes_the_usual() -> None:
    """Longer prompts, a slower model: what is not our doing must not hold the limit down for ever."""
    limit, clock = slow_limit()
    answers(limit, clock, 5 * BATCH, 1.0)
    answers(limit, clock, BATCH, 10.0)
    assert limit.limit == 70
    answers(limit, clock, 20 * BATCH, 10.0)
    assert limit.limit == 70
    assert limit.usual_latency == pytest.approx(10.0)


def test_a_slowness_that_passed_says_nothing_about_the_next() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 5 * BATCH, 1.0)
    answers(limit, clock, BATCH, 10.0)
    answers(limit, clock, BATCH, 1.0)
    answers(limit, clock, BATCH, 10.0)
    assert limit.limit == 49


def test_answers_from_before_a_fall_are_not_mixed_with_those_after() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 5 * BATCH, 1.0)
    answers(limit, clock, BATCH - 1, 10.0)
    limit.acquire().release(pushback=True)
    answers(limit, clock, BATCH, 1.0)
    assert limit.limit == 70
    assert limit.usual_latency == pytest.approx(1.0)


def test_a_faster_service_is_the_usual_soon() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, BATCH, 10.0)
    answers(limit, clock, 200 * BATCH, 1.0)
    assert limit.usual_latency == pytest.approx(1.0, rel=0.2)


def test_answers_in_no_time_at_all_are_not_infinitely_faster_than_others() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 5 * BATCH, 0.0)
    assert limit.usual_latency == 0.001
    answers(limit, clock, 5 * BATCH, 0.002)
    assert limit.limit == 100


def test_a_clock_that_goes_back_does_no_harm() -> None:
    limit, clock = slow_limit()
    answers(limit, clock, 2 * BATCH, -5.0)
    assert limit.usual_latency == 0.001


# -- before a service of so many places -------------------------------------------------------------------------------


def about_a_second(chance: Random, under_way: int) -> float:
    return chance.uniform(0.5, 1.5)


SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


def settled(crowd: Crowd, *, after: float, watched: float) -> None:
    """Let the crowd settle, and then watch it."""
    crowd.run(after)
    for client in crowd.clients:
        client.forget()
    crowd.run(watched)


@SEEDS
def test_it_settles_near_what_the_service_takes_and_follows_when_that_changes(seed: int) -> None:
    crowd = Crowd(40, about_a_second, AdaptiveConcurrencyConfig(), seed=seed)
    (client,) = crowd.clients
    for capacity, after in ((40, 60.0), (10, 20.0), (80, 110.0)):
        crowd.capacity = capacity
        settled(crowd, after=after, watched=100.0)
        assert 0.75 * capacity <= mean(client.limits) <= capacity
        assert max(client.limits) <= capacity + 1
        assert client.answered / 100.0 >= 0.75 * capacity
        assert client.refused <= 0.05 * client.answered


@SEEDS
def test_two_clients_share_a_service_fairly_wherever_they_began(seed: int) -> None:
    settings = AdaptiveConcurrencyConfig(initial=50), AdaptiveConcurrencyConfig(initial=1)
    crowd = Crowd(60, about_a_second, *settings, seed=seed)
    settled(crowd, after=150.0, watched=400.0)
    first, second = (client.answered for client in crowd.clients)
    assert 0.7 <= first / second <= 1.4
    assert (first + second) / 400.0 >= 0.8 * 60


@SEEDS
def test_a_queue_that_grows_slowly_is_noticed(seed: int) -> None:
    """A service that never refuses, and works on 30 at a time: without the rule the limit would rise for ever."""

    def queueing(chance: Random, under_way: int) -> float:
        return chance.uniform(0.5, 1.5) * max(1.0, under_way / 30)

    limits = {}
    for multiple in (3.0, None):
        crowd = Crowd(10**6, queueing, AdaptiveConcurrencyConfig(latency_multiple=multiple), seed=seed)
        settled(crowd, after=300.0, watched=300.0)
        limits[multiple] = max(crowd.clients[0].limits)
    assert limits[3.0] <= 135
    assert limits[None] >= 180


@SEEDS
def test_answers_of_a_thousandfold_range_do_not_hold_a_healthy_service_down(seed: int) -> None:
    """99 of 100 within 1:1000: a fifth of them take three times the usual and more."""

    def mixed(chance: Random, under_way: int) -> float:
        return chance.lognormvariate(0.0, 1.34)

    crowd = Crowd(10**6, mixed, AdaptiveConcurrencyConfig(maximum=100), seed=seed)
    settled(crowd, after=300.0, watched=200.0)
    assert mean(crowd.clients[0].limits) >= 80


def test_a_client_that_wants_less_than_there_is_leaves_the_limit_alone() -> None:
    crowd = Crowd(1000, about_a_second, AdaptiveConcurrencyConfig(initial=20), demand=8)
    crowd.run(100.0)
    assert crowd.clients[0].limit.limit == 20
