"""Clocks."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.errors import AllProvidersFailed, CircuitOpenError
from failsafe.testing import FakeClock, answer
from tests.lessons.situations import OPEN, breaker_of, fail, opened, probing
from tests.router_bench import Bench


class WildWallClock(FakeClock):
    """Its time of day leaps at every look, as NTP and people make it; its monotonic time does not."""

    def __init__(self) -> None:
        super().__init__()
        self._leaps = 0

    def time(self) -> float:
        self._leaps += 1
        return 1e9 * self._leaps * (1.0 if self._leaps % 2 else -1.0)


def test_33_resilience4j_734_2234_2241_a_leap_of_the_time_of_day_moves_nothing() -> None:
    clock = WildWallClock()
    breaker = breaker_of(clock)
    breaker.on_state_change(lambda event: None)  # events do show the time of day
    fail(breaker, 5)
    clock.advance(59.875)
    assert breaker.try_acquire() is None
    assert breaker.retry_after == 0.125
    clock.advance(0.125)
    assert breaker.try_acquire() is not None


def test_34_zio_openfeature_263_a_clock_that_goes_back_shows_no_longer_wait_than_the_open_time() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock))
    clock.advance(-10_000)
    assert breaker.retry_after == 60
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 60


def test_34_zio_openfeature_263_a_probes_lease_on_a_clock_that_goes_back_is_no_longer_for_the_caller() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1)
    probing(breaker, clock)
    clock.advance(-10_000)
    assert breaker.retry_after == 1
    clock.advance(10_060)
    assert breaker.try_acquire() is None
    assert breaker.state is OPEN


def test_35_pybreaker_24_26_fractions_of_a_second_are_kept() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock, timeout=0.25))
    clock.advance(0.1875)
    assert breaker.retry_after == 0.0625
    assert breaker.try_acquire() is None
    clock.advance(0.0625)
    assert breaker.try_acquire() is not None


def test_35_pybreaker_36_107_refused_calls_and_looks_do_not_begin_the_open_time_anew() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock))
    for _ in range(59):
        clock.advance(1)
        assert breaker.try_acquire() is None
        breaker.stats()
        breaker.trip()
    clock.advance(1)
    assert breaker.try_acquire() is not None


@pytest.fixture
def _wall_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("this platform cannot change its time zone")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_wall_zone")
@pytest.mark.parametrize("_wall_zone", ["America/New_York", "Asia/Tokyo", "UTC"], indirect=True)
def test_36_aiobreaker_the_time_zone_plays_no_part() -> None:
    breaker = CircuitBreaker("service")  # on the machine's own clock
    breaker.trip()
    assert os.environ["TZ"]
    left = breaker.retry_after
    assert left is not None
    assert 30 < left <= 60
    assert breaker.try_acquire() is None


def test_37_akka_20029_a_refusal_says_how_long_it_still_lasts_also_once_pickled() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock))
    clock.advance(47.5)
    with pytest.raises(CircuitOpenError, match=r"for another 12\.5 s") as caught:
        breaker.call(str)
    assert (caught.value.retry_after, pickle.loads(pickle.dumps(caught.value)).retry_after) == (12.5, 12.5)


@pytest.mark.usefixtures("expect_logs")
def test_37_akka_20029_a_router_whose_breakers_are_all_open_says_when_the_first_may_be_asked() -> None:
    bench = Bench(answer(), answer())
    bench.router.breakers.get("a").trip()
    bench.clock.advance(20)
    bench.router.breakers.get("b").trip()
    error = bench.lose(timeout=5)
    assert isinstance(error, AllProvidersFailed)
    assert error.retry_after == 40
    assert sorted(skip.retry_after or 0 for skip in error.skipped) == [40, 60]
