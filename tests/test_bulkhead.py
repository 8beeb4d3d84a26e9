"""A bulkhead lets so many in, the longest waiter first, and never loses a slot on whatever way out."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from failsafe import Cancelled, CancelToken, ConfigError, Deadline
from failsafe.bulkhead import Bulkhead, Slot
from failsafe.errors import BulkheadFull
from failsafe.policy_config import BulkheadConfig
from failsafe.testing import FakeClock
from tests.test_forking import run

CAP = 20.0
"""Seconds that bound a wait which should end at once."""


def make(most: int = 1, *, max_wait: float = 0.0, clock: Any = None) -> Bulkhead:
    config = BulkheadConfig(max_concurrent=most, max_wait=max_wait)
    return Bulkhead("billing", config, clock=clock or FakeClock())


class ArrivalClock(FakeClock):
    """Really waits, with a hard cap, and says before that a wait begins; so a test knows who is in the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        self.arrived.put(event)
        return event.wait(min(timeout, CAP))


# -- the limit --------------------------------------------------------------------------------------------------------


def test_it_lets_in_as_many_as_it_may_and_no_more() -> None:
    bulkhead = make(2)
    first, second = bulkhead.try_acquire(), bulkhead.try_acquire()
    assert first is not None
    assert second is not None
    assert bulkhead.is_full
    assert bulkhead.try_acquire() is None
    first.release()
    assert not bulkhead.is_full
    assert bulkhead.try_acquire() is not None


def test_a_slot_comes_back_once_however_often_it_is_released() -> None:
    bulkhead = make(2)
    first, second = bulkhead.acquire(), bulkhead.acquire()
    first.release()
    first.release()
    with first:
        pass
    assert bulkhead.in_flight == 1
    second.release()
    assert bulkhead.in_flight == 0


@pytest.mark.parametrize("pushback", [True, False, None])
def test_a_fixed_limit_learns_nothing(pushback: bool | None) -> None:
    bulkhead = make(3)
    bulkhead.acquire().release(pushback=pushback)
    assert bulkhead.limit == 3


def test_the_refusal_says_what_is_full() -> None:
    bulkhead = make()
    bulkhead.acquire()
    with pytest.raises(BulkheadFull, match=r"bulkhead 'billing' is full \(1 calls under way\)") as caught:
        bulkhead.acquire()
    assert (caught.value.name, caught.value.max_concurrent, caught.value.waited) == ("billing", 1, 0.0)


def test_its_figures_and_repr_are_of_one_moment() -> None:
    bulkhead = make(2)
    slot = bulkhead.acquire()
    bulkhead.acquire()
    assert bulkhead.try_acquire() is None
    with pytest.raises(BulkheadFull):
        bulkhead.acquire()
    slot.release()
    stats = bulkhead.stats()
    assert (stats.name, stats.in_flight, stats.limit, stats.waiting, stats.rejected) == ("billing", 1, 2, 0, 2)
    assert repr(bulkhead) == "<Bulkhead billing 1/2 in flight, 0 waiting>"
    assert repr(slot) == "<Slot billing released>"
    assert repr(bulkhead.acquire()) == "<Slot billing>"


@pytest.mark.parametrize("name", ["", "two\nlines"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        Bulkhead(name, BulkheadConfig(max_concurrent=1))


@pytest.mark.parametrize("max_wait", [-1.0, float("inf"), float("nan"), 86_401.0, True])
def test_a_wait_that_is_no_time_is_refused(max_wait: float) -> None:
    bulkhead = make()
    with pytest.raises(ConfigError, match="max_wait"):
        bulkhead.acquire(max_wait=max_wait)
    assert bulkhead.in_flight == 0


# -- the ways in ------------------------------------------------------------------------------------------------------


def test_call_decorator_and_block_hold_a_slot_while_they_run() -> None:
    bulkhead = make()

    def look(word: str, *, times: int = 1) -> tuple[str, int]:
        return word * times, bulkhead.in_flight

    assert bulkhead.call(look, "a", times=2) == ("aa", 1)
    assert bulkhead(look)("b") == ("b", 1)
    with bulkhead as slot:
        assert isinstance(slot, Slot)
        assert bulkhead.in_flight == 1
    assert bulkhead.in_flight == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_the_call_gives_the_slot_back_and_goes_on_unchanged(error: type[BaseException]) -> None:
    bulkhead = make()
    raised = error("why")

    def fail() -> None:
        raise raised

    ways: list[Callable[[], None]] = [lambda: bulkhead.call(fail), bulkhead(fail)]
    for way in ways:
        with pytest.raises(error) as caught:
            way()
        assert caught.value is raised
        assert bulkhead.in_flight == 0
    with pytest.raises(error), bulkhead:
        fail()
    assert bulkhead.in_flight == 0


def test_the_function_is_not_called_when_the_bulkhead_is_full() -> None:
    bulkhead = make()
    bulkhead.acquire()
    with pytest.raises(BulkheadFull):
        bulkhead.call(pytest.fail, "called")
    with pytest.raises(BulkheadFull), bulkhead:
        pytest.fail("entered")


def test_a_refused_block_within_a_block_does_not_release_the_outer_one() -> None:
    bulkhead = make()
    with bulkhead:
        with pytest.raises(BulkheadFull), bulkhead:
            pytest.fail("entered")
        assert bulkhead.in_flight == 1
    assert bulkhead.in_flight == 0


def test_blocks_nest_and_are_of_their_thread() -> None:
    bulkhead = make(3)
    inside, leave = threading.Barrier(2, timeout=CAP), threading.Event()

    def other() -> None:
        with bulkhead:
            inside.wait()
            assert leave.wait(CAP)

    with ThreadPoolExecutor(1) as pool, bulkhead, bulkhead as inner:
        ended = pool.submit(other)
        inside.wait()
        assert bulkhead.in_flight == 3
        inner.release()
        assert bulkhead.in_flight == 2
        leave.set()
        ended.result(CAP)
        assert bulkhead.in_flight == 1
    assert bulkhead.in_flight == 0


def test_leaving_a_block_that_this_thread_never_entered_does_nothing() -> None:
    bulkhead = make()
    bulkhead.__exit__(None, None, None)
    assert bulkhead.in_flight == 0


def test_functions_that_work_after_they_returned_are_refused() -> None:
    async def later() -> None: ...

    def lazily() -> Iterator[int]:
        yield 1

    for fn in (later, lazily):
        with pytest.raises(TypeError, match="Bulkhead 'billing' cannot wrap"):
            make()(fn)


def test_no_lock_is_held_while_the_function_runs() -> None:
    bulkhead = make(2)

    def use_it_from_elsewhere() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: bulkhead.call(lambda: bulkhead.stats().in_flight)).result(CAP)

    assert bulkhead.call(use_it_from_elsewhere) == 2


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_call_waits_for_a_slot_as_long_as_its_settings_say() -> None:
    clock = FakeClock()
    bulkhead = make(max_wait=2.0, clock=clock)
    bulkhead.acquire()
    with pytest.raises(BulkheadFull, match="after a wait of 2 s") as caught:
        bulkhead.acquire()
    assert clock.waits == [2.0]
    assert caught.value.waited == 2.0
    assert bulkhead.waiting == 0
    assert bulkhead.stats().rejected == 1


def test_a_call_may_wait_longer_or_shorter_than_the_settings() -> None:
    clock = FakeClock()
    bulkhead = make(max_wait=2.0, clock=clock)
    bulkhead.acquire()
    for max_wait in (0, 5):
        with pytest.raises(BulkheadFull):
            bulkhead.acquire(max_wait=max_wait)
    assert clock.waits == [5.0]


def test_no_wait_goes_past_the_deadline() -> None:
    clock = FakeClock()
    bulkhead = make(max_wait=60.0, clock=clock)
    bulkhead.acquire()
    with pytest.raises(BulkheadFull):
        bulkhead.acquire(deadline=Deadline.after(0.5, clock))
    assert clock.waits == [0.5]


def test_who_waits_is_handed_the_slot_that_comes_free() -> None:
    clock = FakeClock()
    bulkhead = make(max_wait=60.0, clock=clock)
    held = bulkhead.acquire()

    def end() -> None:
        assert bulkhead.waiting == 1
        held.release()
        assert bulkhead.try_acquire() is None, "overtook the one who waits"

    with clock.during_wait(end):
        slot = bulkhead.acquire()
    assert clock.monotonic() == 1000.0
    assert (bulkhead.in_flight, bulkhead.waiting) == (1, 0)
    slot.release()
    assert bulkhead.in_flight == 0


def test_a_slot_that_came_free_on_the_way_to_the_queue_is_taken_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    bulkhead = make(max_wait=60.0, clock=clock)
    held = bulkhead.acquire()

    def monotonic() -> float:
        held.release()
        return 1000.0

    monkeypatch.setattr(clock, "monotonic", monotonic)
    bulkhead.acquire()
    assert clock.waits == []
    assert bulkhead.in_flight == 1


def test_a_token_that_is_cancelled_already_ends_the_call_although_a_slot_is_free() -> None:
    cancel = CancelToken()
    cancel.cancel()
    bulkhead = make()
    with pytest.raises(Cancelled):
        bulkhead.acquire(cancel=cancel)
    assert bulkhead.in_flight == 0


def test_a_cancellation_ends_the_wait() -> None:
    clock, cancel = FakeClock(), CancelToken()
    bulkhead = make(max_wait=60.0, clock=clock)
    bulkhead.acquire()
    with clock.during_wait(cancel.cancel), pytest.raises(Cancelled):
        bulkhead.acquire(cancel=cancel)
    assert (bulkhead.waiting, bulkhead.in_flight, bulkhead.stats().rejected) == (0, 1, 0)
    assert clock.monotonic() == 1000.0


# -- the moment in which a waiter is handed a slot and goes away ------------------------------------------------------


class RaceClock(FakeClock):
    """During a wait runs *race*, and then answers as if the time had run out a moment before."""

    def __init__(self, race: Callable[[], object]) -> None:
        super().__init__()
        self.race = race

    def wait(self, event: threading.Event, timeout: float) -> bool:
        self.race()
        self.advance(timeout)
        return False


def test_who_is_cancelled_in_the_moment_of_the_handing_over_gives_it_on() -> None:
    cancel = CancelToken()

    def race() -> None:
        held.release()
        cancel.cancel()

    bulkhead = make(max_wait=60.0, clock=RaceClock(race))
    held = bulkhead.acquire()
    with pytest.raises(Cancelled):
        bulkhead.acquire(cancel=cancel)
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_who_is_interrupted_in_the_moment_of_the_handing_over_gives_it_on(error: type[BaseException]) -> None:
    def race() -> None:
        held.release()
        raise error

    bulkhead = make(max_wait=60.0, clock=RaceClock(race))
    held = bulkhead.acquire()
    with pytest.raises(error):
        bulkhead.acquire()
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


def test_who_is_interrupted_while_waiting_leaves_the_queue() -> None:
    def race() -> None:
        raise KeyboardInterrupt

    bulkhead = make(max_wait=60.0, clock=RaceClock(race))
    held = bulkhead.acquire()
    with pytest.raises(KeyboardInterrupt):
        bulkhead.acquire()
    assert (bulkhead.in_flight, bulkhead.waiting) == (1, 0)
    held.release()
    assert bulkhead.in_flight == 0


def test_whose_deadline_passes_in_the_moment_of_the_handing_over_gives_it_on() -> None:
    clock = RaceClock(lambda: held.release())
    bulkhead = make(max_wait=60.0, clock=clock)
    held = bulkhead.acquire()
    with pytest.raises(BulkheadFull):
        bulkhead.acquire(deadline=Deadline.after(5.0, clock))
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


def test_whose_patience_ends_in_the_moment_of_the_handing_over_keeps_it() -> None:
    """A refusal would be wrong then: the slot is there, and nobody else is meant to have it."""
    bulkhead = make(max_wait=60.0, clock=RaceClock(lambda: held.release()))
    held = bulkhead.acquire()
    slot = bulkhead.acquire()
    assert bulkhead.in_flight == 1
    slot.release()
    assert bulkhead.in_flight == 0


def test_what_is_given_on_reaches_the_next_in_the_queue() -> None:
    """First and second wait; first is interrupted just when it was handed the slot: second must have it."""
    clock = ArrivalClock()
    bulkhead = make(max_wait=60.0, clock=clock)
    held = bulkhead.acquire()
    cancel = CancelToken()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: bulkhead.acquire(cancel=cancel))
        clock.arrived.get(timeout=CAP)
        second = pool.submit(bulkhead.acquire)
        clock.arrived.get(timeout=CAP)
        # Cancelled before the handing over, yet handed: the woken thread finds both.
        with bulkhead._slots._lock:
            cancel.cancel()
            bulkhead._slots._held.remove(held)
            handed = bulkhead._slots._hand_on_locked(0.0)
        for waiter in handed:
            waiter.event.set()
        with pytest.raises(Cancelled):
            first.result(CAP)
        assert bulkhead._slots.holds(second.result(CAP))
    assert (bulkhead.in_flight, bulkhead.waiting) == (1, 0)


# -- threads ----------------------------------------------------------------------------------------------------------


def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    clock = ArrivalClock()
    bulkhead = make(max_wait=60.0, clock=clock)
    held = bulkhead.acquire()
    served: list[int] = []

    def work(number: int) -> None:
        with bulkhead.acquire():
            served.append(number)

    with ThreadPoolExecutor(5) as pool:
        calls = []
        for number in range(5):
            calls.append(pool.submit(work, number))
            clock.arrived.get(timeout=CAP)
        assert bulkhead.waiting == 5
        held.release()
        for call in calls:
            call.result(CAP)
    assert served == [0, 1, 2, 3, 4]
    assert bulkhead.in_flight == 0


def test_many_threads_never_exceed_the_limit_and_none_is_lost() -> None:
    threads, rounds = 8, 200
    bulkhead = Bulkhead("billing", BulkheadConfig(max_concurrent=3, max_wait=CAP))
    start = threading.Barrier(threads, timeout=CAP)
    lock = threading.Lock()
    under_way = most = 0

    def enter() -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)

    def leave() -> None:
        nonlocal under_way
        with lock:
            under_way -= 1

    def work() -> int:
        start.wait()
        for _ in range(rounds):
            with bulkhead:
                enter()
                leave()
        return rounds

    with ThreadPoolExecutor(threads) as pool:
        done = [call.result(CAP) for call in [pool.submit(work) for _ in range(threads)]]
    assert sum(done) == threads * rounds
    assert most <= 3
    stats = bulkhead.stats()
    assert (stats.in_flight, stats.waiting, stats.rejected) == (0, 0, 0)


def test_one_slot_is_released_by_one_of_many_threads_at_once() -> None:
    bulkhead = make(3)
    bulkhead.acquire()
    slot = bulkhead.acquire()
    start = threading.Barrier(4, timeout=CAP)

    def release() -> None:
        start.wait()
        slot.release()

    with ThreadPoolExecutor(4) as pool:
        for call in [pool.submit(release) for _ in range(4)]:
            call.result(CAP)
    assert bulkhead.in_flight == 1


# -- forks -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_has_a_sound_lock_and_every_slot() -> None:
    """The parent's slots are given back in the parent; releasing them in the child too must not lift its limit."""
    answers = run("""
from failsafe import Bulkhead, BulkheadConfig
bulkhead = Bulkhead("one", BulkheadConfig(max_concurrent=1))
held = bulkhead.acquire()
def use():
    mine = bulkhead.try_acquire()
    held.release()
    return mine is not None, bulkhead.in_flight
bulkhead._slots._lock.acquire()
print(in_child(use))
bulkhead._slots._lock.release()
print(bulkhead.in_flight)
""")
    assert answers == ["(True, 1)", "1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_keeps_the_limit_that_its_parent_has_found() -> None:
    """Even if another thread was just moving it: what it was moved to holds."""
    answers = run("""
from failsafe import AdaptiveConcurrency
limit = AdaptiveConcurrency("one")
with limit._slots._lock:
    limit._rule.ended(generation=0, seconds=1.0, pushback=True, in_flight=1)
    print(in_child(lambda: (limit.limit, limit.try_acquire() is not None)))
""")
    assert answers == ["(14, True)"]
