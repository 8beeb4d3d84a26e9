from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import Cancelled, ConfigError, RateLimitReached
from failsafe.limiter import RateLimiter
from failsafe.policy_config import RateLimiterConfig
from failsafe.testing import FakeClock
from tests.test_forking import run

CAP = 10.0  # seconds after which a test that hangs is given up


def limiter(clock: Any, **limits: Any) -> RateLimiter:
    return RateLimiter("mine", RateLimiterConfig(**limits), clock=clock)


class SteppedClock(FakeClock):
    """Waits really block, until the test has moved the time far enough or their event is set."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._asleep: dict[threading.Event, float] = {}  # guarded by _changed

    def wait(self, event: threading.Event, timeout: float) -> bool:
        with self._changed:
            self.waits.append(timeout)
            self._asleep[event] = self.monotonic() + timeout
            self._changed.notify_all()
        event.wait(CAP)
        with self._changed:
            del self._asleep[event]
            self._changed.notify_all()
        return event.is_set()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        with self._changed:
            for event, until in self._asleep.items():
                if until <= self.monotonic():
                    event.set()

    def until_asleep(self, count: int) -> None:
        """Block until *count* threads wait and none of them is about to wake."""

        def settled() -> bool:
            return len(self._asleep) == count and not any(event.is_set() for event in self._asleep)

        with self._changed:
            assert self._changed.wait_for(settled, CAP)


@contextmanager
def threads(count: int) -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(count) as pool:
        yield pool.submit


# -- the bucket ------------------------------------------------------------------------------------------------------


def test_a_burst_goes_at_once_and_then_one_at_a_time() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=60, burst=3)
    assert [paced.try_acquire() for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    clock.advance(0.25)
    assert paced.try_acquire() == pytest.approx(0.75)
    clock.advance(0.75)
    assert [paced.try_acquire(), paced.try_acquire()] == [0.0, 1.0]


def test_waiting_exactly_as_told_is_enough_whatever_the_rounding() -> None:
    clock = FakeClock(start=123_456_789.123)
    paced = limiter(clock, requests_per_minute=7, tokens_per_minute=1234.5, burst=0.1)
    for number in range(200):
        clock.advance(paced.wait(number % 9 + 0.1))
        assert paced.try_acquire(number % 9 + 0.1) == 0.0


def test_a_refused_call_takes_nothing_of_either_limit() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60, tokens_per_minute=600, burst=10)
    assert paced.try_acquire(90) == 0.0
    assert paced.try_acquire(11) == pytest.approx(0.1)
    assert paced.stats().requests_left == pytest.approx(9)
    assert paced.stats().tokens_left == pytest.approx(10)
    assert paced.try_acquire(10) == 0.0
    assert (paced.stats().granted, paced.stats().refused) == (2, 1)


def test_the_wait_is_that_of_the_slower_limit() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60, tokens_per_minute=600, burst=1)
    assert paced.try_acquire(5) == 0.0
    assert paced.try_acquire(5) == pytest.approx(1.0)
    assert paced.try_acquire(10) == pytest.approx(1.0)
    assert paced.try_acquire(5_000) == pytest.approx(1.0)


def test_a_call_larger_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    clock = FakeClock()
    paced = limiter(clock, tokens_per_minute=600, burst=10)
    assert paced.try_acquire(50) == 0.0
    assert paced.try_acquire(1000) == pytest.approx(5.0)
    clock.advance(5)
    assert paced.try_acquire(1000) == 0.0
    assert paced.stats().tokens_left == pytest.approx(-900)
    assert paced.try_acquire(100) == pytest.approx(100.0)


def test_less_than_one_request_a_burst_is_still_one_request() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=1, burst=10)
    assert [paced.try_acquire(), paced.try_acquire()] == [0.0, 60.0]
    clock.advance(600)
    assert [paced.try_acquire(), paced.try_acquire()] == [0.0, 60.0]


def test_without_limits_everything_goes_through() -> None:
    free = limiter(FakeClock())
    assert [free.try_acquire(1e9) for _ in range(100)] == [0.0] * 100
    assert (free.stats().requests_left, free.stats().tokens_left, free.stats().granted) == (None, None, 100)


def test_a_call_without_tokens_does_not_wait_for_a_debt_of_tokens() -> None:
    paced = limiter(FakeClock(), requests_per_minute=6000, tokens_per_minute=60, burst=1)
    assert paced.try_acquire(100) == 0.0
    assert paced.try_acquire(1) > 0
    assert paced.try_acquire() == 0.0


def test_asking_how_long_changes_nothing() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60, burst=1)
    assert [paced.wait(), paced.wait(), paced.try_acquire()] == [0.0, 0.0, 0.0]
    before = paced.stats()
    assert [paced.wait(), paced.wait()] == [1.0, 1.0]
    assert paced.stats() == before


amounts = st.floats(0, 500) | st.integers(0, 500)
steps = st.lists(
    st.tuples(st.sampled_from(["try", "wait", "back", "correct"]), st.floats(0, 20), amounts, amounts), max_size=60
)


@settings(deadline=None)
@given(steps, st.floats(1, 600), st.floats(60, 6000), st.floats(0.1, 30))
def test_no_span_of_time_sees_more_than_burst_and_rate(
    run_of: list[tuple[str, float, float, float]], rpm: float, tpm: float, burst: float
) -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=rpm, tokens_per_minute=tpm, burst=burst)
    taken: list[tuple[float, float, float]] = []  # when, requests, tokens
    for what, pause, tokens, other in run_of:
        clock.advance(pause)
        if what == "try":
            if paced.try_acquire(tokens) == 0.0:
                taken.append((clock.monotonic(), 1, tokens))
        elif what == "wait":
            paced.acquire(tokens, max_wait=86_400)
            taken.append((clock.monotonic(), 1, tokens))
        elif what == "back":
            paced.give_back(tokens)
            taken.append((clock.monotonic(), 0, -tokens))
        else:
            paced.correct(tokens, min(other, tokens))
            taken.append((clock.monotonic(), 0, min(other, tokens) - tokens))
    most_requests = max(1.0, burst * rpm / 60)
    most_tokens = max([burst * tpm / 60, *(tokens for _, _, tokens in taken)])
    for first in range(len(taken)):
        requests = used = 0.0
        for at, request, tokens in taken[first:]:
            requests, used = requests + request, used + tokens
            span = at - taken[first][0] + 1e-5
            assert requests <= most_requests + span * rpm / 60 + 1e-6
            assert used <= most_tokens + span * tpm / 60 + 1e-6


@settings(deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.floats(0.1, 30))
def test_callers_who_wait_get_all_of_the_allowance(sizes: list[float], burst: float) -> None:
    clock = FakeClock()
    paced = limiter(clock, tokens_per_minute=600, burst=burst)
    start = clock.monotonic()
    for tokens in sizes:
        paced.acquire(tokens, max_wait=86_400)
    # Every token beyond the burst has its time, and no call waits for more than is owed before it.
    owed = (sum(sizes) - max(10 * burst, sizes[-1])) / 10
    assert clock.monotonic() - start <= max(0.0, owed + max(burst, sizes[-1] / 10)) + 1e-3
    assert clock.monotonic() - start >= (sum(sizes[:-1]) - 10 * burst) / 10 - max(sizes) / 10 - 1e-3


@given(
    st.floats(5e-324, 1e9), st.floats(5e-324, 1e9), st.floats(5e-324, 3600), st.lists(st.floats(0, 1e9), max_size=20)
)
def test_no_figures_however_extreme_overflow(rpm: float, tpm: float, burst: float, sizes: list[float]) -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=rpm, tokens_per_minute=tpm, burst=burst)
    for tokens in sizes:
        wait = paced.try_acquire(tokens)
        assert 0 <= wait < math.inf
        paced.correct(tokens, 0)
        paced.give_back(1e9, requests=2**31)
    assert all(math.isfinite(left) for left in (paced.stats().requests_left or 0, paced.stats().tokens_left or 0))


@pytest.mark.parametrize("tokens", [-1, -0.001, math.nan, math.inf, 1e10, 10**400, "5", None, True])
def test_tokens_that_are_no_number_are_refused_and_nothing_is_taken(tokens: Any) -> None:
    paced = limiter(FakeClock(), requests_per_minute=60, tokens_per_minute=600)
    for use in (paced.try_acquire, paced.acquire, paced.wait, paced.give_back, lambda t: paced.correct(t, 1)):
        with pytest.raises(ConfigError, match="tokens"):
            use(tokens)
    with pytest.raises(ConfigError, match="tokens"):
        paced(lambda: None, tokens=tokens)
    assert paced.stats().requests_left == 10


# -- putting an estimate right ---------------------------------------------------------------------------------------


def test_an_estimate_is_put_right_in_both_directions() -> None:
    paced = limiter(FakeClock(), tokens_per_minute=600, burst=10)
    assert paced.try_acquire(100) == 0.0
    paced.correct(100, 40)
    assert paced.stats().tokens_left == pytest.approx(60)
    paced.correct(40, 240)
    assert paced.stats().tokens_left == pytest.approx(-140)
    paced.give_back(140)
    assert paced.stats().tokens_left == pytest.approx(0)


def test_a_full_bucket_pays_for_what_was_used_above_the_estimate() -> None:
    """A bucket that has been full for long has nothing laid by."""
    clock = FakeClock()
    paced = limiter(clock, tokens_per_minute=600, burst=10)
    clock.advance(500)
    paced.correct(0, 30)
    assert paced.stats().tokens_left == pytest.approx(70)


def test_what_is_given_back_never_lifts_the_bucket_above_full() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=60, tokens_per_minute=600, burst=10)
    paced.give_back(5000, requests=50)
    clock.advance(1)
    assert (paced.stats().requests_left, paced.stats().tokens_left) == (10, 100)
    assert [paced.try_acquire(100), paced.try_acquire(1)] == [0.0, pytest.approx(1.0, abs=1)]


def test_a_request_that_was_never_sent_can_be_given_back() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60, tokens_per_minute=60, burst=1)
    assert paced.try_acquire(1) == 0.0
    paced.give_back(1, requests=1)
    assert paced.try_acquire(1) == 0.0


def test_an_absurd_usage_shuts_the_limiter_for_an_hour_at_most() -> None:
    paced = limiter(FakeClock(), tokens_per_minute=60, burst=10)
    for _ in range(3):
        paced.correct(0, 1e9)
    assert paced.wait(1) == pytest.approx(3600 - 9)


def test_a_correction_never_shortens_what_a_large_call_has_left_to_pay() -> None:
    paced = limiter(FakeClock(), tokens_per_minute=60, burst=10)
    assert paced.try_acquire(10_000) == 0.0
    paced.correct(10_000, 10_001)
    assert paced.stats().tokens_left == pytest.approx(-9990)


@pytest.mark.parametrize("used", [None, "12", math.nan, math.inf, -1, 1e10, True])
def test_a_usage_that_is_no_number_corrects_nothing(used: Any) -> None:
    paced = limiter(FakeClock(), tokens_per_minute=600, burst=10)
    assert paced.try_acquire(50) == 0.0
    paced.correct(50, used)
    assert paced.stats().tokens_left == pytest.approx(50)


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_a_call_waits_just_as_long_as_it_has_to() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=60, burst=1, max_wait=5)
    for _ in range(3):
        paced.acquire()
    assert clock.waits == [pytest.approx(1.0), pytest.approx(1.0)]


def test_what_would_take_too_long_is_refused_at_once_and_says_why() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=1200, tokens_per_minute=600, burst=1)
    paced.acquire(100)
    with pytest.raises(RateLimitReached, match=r"'mine'.*600 tokens a minute") as caught:
        paced.acquire(10, max_wait=9.9)
    assert (caught.value.name, caught.value.limit) == ("mine", "600 tokens a minute")
    assert caught.value.retry_after == pytest.approx(10.0)
    assert clock.waits == []
    assert (paced.stats().granted, paced.stats().refused, paced.stats().waiting) == (1, 1, 0)
    paced.acquire(10, max_wait=10.0)


def test_no_wait_goes_past_the_deadline() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=60, burst=1, max_wait=100)
    deadline = Deadline.after(0.9, clock)
    paced.acquire(deadline=deadline)
    with pytest.raises(RateLimitReached, match="60 requests a minute"):
        paced.acquire(deadline=deadline)
    assert clock.waits == []
    paced.acquire(deadline=Deadline.unlimited())


def test_a_deadline_that_is_over_ends_no_call_that_need_not_wait() -> None:
    clock = FakeClock()
    deadline = Deadline.after(1, clock)
    clock.advance(2)
    limiter(clock, requests_per_minute=60).acquire(deadline=deadline)


@pytest.mark.parametrize("max_wait", [-1, math.nan, math.inf, 86_401, "1"])
def test_a_wait_out_of_range_is_refused_by_name(max_wait: Any) -> None:
    with pytest.raises(ConfigError, match="max_wait"):
        limiter(FakeClock(), requests_per_minute=60).acquire(max_wait=max_wait)


def test_a_token_cancelled_before_ends_the_call_before_it_takes_anything() -> None:
    paced, cancel = limiter(FakeClock(), requests_per_minute=60), CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        paced.acquire(cancel=cancel)
    assert paced.stats().granted == 0


def test_cancelling_ends_the_wait_and_takes_nothing() -> None:
    clock, cancel = FakeClock(), CancelToken()
    paced = limiter(clock, requests_per_minute=60, burst=1)
    paced.acquire()
    with clock.during_wait(cancel.cancel), pytest.raises(Cancelled):
        paced.acquire(max_wait=10, cancel=cancel)
    assert (paced.wait(), paced.stats().waiting, paced.stats().granted) == (1.0, 0, 1)


def test_an_interrupted_wait_takes_nothing() -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=60, burst=1)
    paced.acquire()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with clock.during_wait(interrupt), pytest.raises(KeyboardInterrupt):
        paced.acquire(max_wait=10)
    assert (paced.wait(), paced.stats().waiting) == (1.0, 0)


def test_an_interrupt_just_as_the_turn_has_come_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    paced = limiter(clock, requests_per_minute=60, tokens_per_minute=60, burst=1)
    paced.acquire(1)
    look = RateLimiter._its_turn

    def interrupted(*args: Any) -> bool:
        if look(*args):
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(RateLimiter, "_its_turn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        paced.acquire(1, max_wait=10)
    assert (paced.wait(1), paced.stats().granted, paced.stats().waiting) == (0.0, 1, 0)


def test_a_debt_that_grows_during_the_wait_ends_it() -> None:
    """What has become known to take too long is refused without waiting for its end."""
    clock = FakeClock()
    paced = limiter(clock, tokens_per_minute=60, burst=1)
    paced.acquire(1)
    with clock.during_wait(lambda: paced.correct(0, 100)), pytest.raises(RateLimitReached) as caught:
        paced.acquire(1, max_wait=2)
    assert len(clock.waits) == 1
    assert caught.value.retry_after == pytest.approx(101.0)


# -- several threads -------------------------------------------------------------------------------------------------


def test_threads_together_get_no_more_than_there_is() -> None:
    paced = limiter(FakeClock(), requests_per_minute=300, tokens_per_minute=600, burst=10)
    start = threading.Barrier(8)

    def ask() -> int:
        start.wait(CAP)
        return sum(paced.try_acquire(2) == 0.0 for _ in range(20))

    with threads(8) as submit:
        granted = sum(future.result(CAP) for future in [submit(ask) for _ in range(8)])
    assert granted == 50
    assert paced.stats().refused == 110


def in_line(clock: SteppedClock, paced: RateLimiter, submit: Any, sizes: list[float], served: list[int]) -> list[Any]:
    """One thread a size, in line in this order; each notes its place in *served* when it is let through."""

    def wait(place: int, tokens: float) -> None:
        paced.acquire(tokens, max_wait=10_000)
        served.append(place)

    futures = []
    for place, tokens in enumerate(sizes):
        futures.append(submit(wait, place, tokens))
        clock.until_asleep(place + 1)
    return futures


def test_those_who_wait_are_served_in_order_and_small_ones_do_not_starve_a_large_one() -> None:
    clock, served = SteppedClock(), list[int]()
    paced = limiter(clock, tokens_per_minute=60, burst=10)
    paced.acquire(10)
    with threads(4) as submit:
        futures = in_line(clock, paced, submit, [25, 1, 1, 8], served)
        assert paced.stats().waiting == 4
        assert paced.try_acquire(1) > 10  # nobody overtakes
        for seconds, left in [(9, 4), (1, 3), (15, 3), (1, 2), (1, 1), (8, 0)]:
            clock.advance(seconds)
            clock.until_asleep(left)
        for future in futures:
            future.result(CAP)
    assert served == [0, 1, 2, 3]
    assert clock.monotonic() == 1000 + 35


def test_only_the_first_in_line_wakes() -> None:
    """No herd: a wait for each place a thread had at the front, and one before."""
    clock, served = SteppedClock(), list[int]()
    paced = limiter(clock, requests_per_minute=60, burst=1)
    paced.acquire()
    with threads(6) as submit:
        futures = in_line(clock, paced, submit, [0] * 6, served)
        for left in range(5, -1, -1):
            clock.advance(1)
            clock.until_asleep(left)
        for future in futures:
            future.result(CAP)
    assert served == [0, 1, 2, 3, 4, 5]
    assert len(clock.waits) == 6 + 5


def test_whoever_leaves_the_line_makes_room_for_those_behind() -> None:
    clock, cancel, served = SteppedClock(), CancelToken(), list[int]()
    paced = limiter(clock, tokens_per_minute=60, burst=1)
    paced.acquire(1)
    with threads(3) as submit:
        given_up = submit(paced.acquire, 50, max_wait=1000, cancel=cancel)
        clock.until_asleep(1)
        futures = [submit(paced.acquire, 1, max_wait=1000)]
        clock.until_asleep(2)
        assert paced.wait(1) == pytest.approx(52)
        cancel.cancel()
        with pytest.raises(Cancelled):
            given_up.result(CAP)
        clock.until_asleep(1)
        assert paced.wait(1) == pytest.approx(2)
        clock.advance(1)
        futures[0].result(CAP)
    assert served == []
    assert (paced.stats().granted, paced.stats().waiting) == (2, 0)


def test_what_is_given_back_is_offered_to_the_first_in_line() -> None:
    clock = SteppedClock()
    paced = limiter(clock, tokens_per_minute=60, burst=10)
    paced.acquire(10)
    with threads(1) as submit:
        waiting = submit(paced.acquire, 5, max_wait=100)
        clock.until_asleep(1)
        paced.correct(10, 4)
        waiting.result(CAP)
    assert clock.monotonic() == 1000


def test_a_place_in_line_is_given_up_when_its_time_is_over() -> None:
    """Two limits at once make the first estimate a lower bound; the wait itself is bounded all the same."""
    clock = SteppedClock()
    paced = limiter(clock, requests_per_minute=60, tokens_per_minute=60, burst=1)
    paced.acquire(1)
    with threads(2) as submit:
        first = submit(paced.acquire, 1, max_wait=100)
        clock.until_asleep(1)
        second = submit(paced.acquire, 1, max_wait=3)
        clock.until_asleep(2)
        paced.correct(0, 30)
        clock.until_asleep(2)
        clock.advance(3)
        with pytest.raises(RateLimitReached):
            second.result(CAP)
        clock.until_asleep(1)
        clock.advance(28)
        first.result(CAP)


def test_a_call_that_takes_nothing_from_those_in_line_need_not_stand_behind_them() -> None:
    clock = SteppedClock()
    paced = limiter(clock, requests_per_minute=300, tokens_per_minute=60, burst=1)
    paced.acquire(1)
    with threads(1) as submit:
        waiting = submit(paced.acquire, 1, max_wait=100)
        clock.until_asleep(1)
        assert [paced.try_acquire() for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.2)]
        clock.advance(1)
        waiting.result(CAP)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_has_a_sound_lock_and_an_empty_line() -> None:
    answers = run("""
import threading
from failsafe import RateLimiter, RateLimiterConfig
limiter = RateLimiter("one", RateLimiterConfig(requests_per_minute=60, burst=2))
limiter.acquire()
waits = threading.Thread(target=lambda: limiter.acquire(max_wait=60), daemon=True)
with limiter._lock:
    limiter._queue_locked(__import__("failsafe").limiter._Turn(0.0))
    print(in_child(lambda: (limiter.stats().waiting, limiter.try_acquire(), limiter.try_acquire() > 0)))
""")
    assert answers == ["(0, 0.0, True)"]


# -- around a function -----------------------------------------------------------------------------------------------


def double(number: int, *, times: int = 2) -> int:
    return number * times


def test_call_decorator_and_block_count_a_request_each() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60, burst=4)
    assert paced.call(double, 3, times=4) == 12
    assert paced(double)(3) == 6
    assert paced()(double)(3) == 6
    with paced as entered:
        assert entered is paced
    refused: list[Callable[[], object]] = [lambda: paced.call(double, 1), lambda: paced(double)(1), paced.__enter__]
    for use in refused:
        with pytest.raises(RateLimitReached):
            use()
    assert paced.stats().granted == 4


def test_the_decorator_counts_tokens_as_a_number_or_by_the_arguments() -> None:
    paced = limiter(FakeClock(), tokens_per_minute=600, burst=10)
    assert paced(double, tokens=30)(1) == 2
    assert paced(tokens=lambda number, *, times=2: number * times)(double)(5, times=8) == 40
    assert paced.stats().tokens_left == pytest.approx(30)
    assert double.__name__ == paced(double).__name__


def test_an_error_of_the_function_that_counts_tokens_reaches_the_caller_and_takes_nothing() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60)

    def fail(number: int) -> float:
        raise LookupError(number)

    with pytest.raises(LookupError):
        paced(tokens=fail)(double)(7)
    with pytest.raises(ConfigError, match="tokens"):
        paced(tokens=lambda number: -1.0)(double)(7)
    assert paced.stats().granted == 0


def test_what_the_function_raises_is_unchanged_and_the_request_stays_counted() -> None:
    paced = limiter(FakeClock(), requests_per_minute=60)
    with pytest.raises(ZeroDivisionError):
        paced.call(lambda: 1 / 0)
    assert paced.stats().granted == 1


def test_functions_whose_work_comes_later_are_refused() -> None:
    async def later() -> None: ...

    with pytest.raises(TypeError, match="rate limiter 'mine'"):
        limiter(FakeClock())(later)


@pytest.mark.parametrize("name", ["", "a\nb", None])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="name"):
        RateLimiter(name, RateLimiterConfig())


def test_the_repr_shows_the_limits_and_who_waits() -> None:
    clock = SteppedClock()
    paced = limiter(clock, requests_per_minute=1500.5, tokens_per_minute=200_000)
    assert repr(paced) == "<RateLimiter mine 1,500.5 requests a minute, 200,000 tokens a minute>"
    assert repr(limiter(clock)) == "<RateLimiter mine no limit>"
    paced.acquire(100_000)
    with threads(1) as submit:
        waiting = submit(paced.acquire, 1, max_wait=100)
        clock.until_asleep(1)
        assert repr(paced).endswith(", 1 waiting>")
        clock.advance(100)
        waiting.result(CAP)
