"""Herds and flapping."""

from __future__ import annotations

import pytest

from failsafe.clock import Random
from failsafe.testing import FakeClock
from tests.lessons.situations import CLOSED, HALF_OPEN, OPEN, breaker_of, fail, half_open, opened

FLEET = 200


def _reopening_times(**settings: float) -> list[float]:
    """When each of a fleet's breakers, which all opened at one moment, may probe."""
    clock = FakeClock()
    fleet = [opened(breaker_of(clock, random=Random(seed), **settings)) for seed in range(FLEET)]
    return sorted(breaker.retry_after or 0.0 for breaker in fleet)


def test_38_failsafe_70_clients_that_opened_together_do_not_all_come_back_together() -> None:
    times = _reopening_times(timeout_jitter=0.5)
    assert 60 <= times[0] < 62, "never sooner than promised"
    assert 88 < times[-1] <= 90
    tenths = [sum(60 + 3 * tenth <= each < 63 + 3 * tenth for each in times) for tenth in range(10)]
    assert max(tenths) < FLEET / 4, "no tenth of the span has more than a quarter of them"


def test_38_failsafe_go_142_chance_is_drawn_anew_for_every_opening() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, random=Random(7), timeout_jitter=0.5)
    drawn: set[float | None] = set()
    for _ in range(10):
        opened(breaker)
        drawn.add(breaker.retry_after)
        breaker.reset()
    assert len(drawn) == 10


def test_38_cockatiel_73_clients_that_have_all_reached_the_longest_open_time_are_still_apart() -> None:
    clock = FakeClock()
    times: list[float] = []
    for seed in range(FLEET):
        breaker = breaker_of(
            clock, random=Random(seed), timeout_jitter=0.25, timeout_multiplier=4, max_timeout=300, failure_threshold=1
        )
        opened(breaker)
        for _ in range(4):
            clock.advance(300)
            breaker.acquire().failure()
        times.append(breaker.retry_after or 0.0)
    assert max(times) <= 300
    assert max(times) - min(times) > 50
    assert len({round(each) for each in times}) > 30


def test_38_baseplate_697_without_jitter_the_open_time_is_exactly_as_set() -> None:
    assert set(_reopening_times()) == {60}


def test_39_stoplight_364_375_a_service_that_stays_sick_is_probed_less_and_less_often() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock, timeout_multiplier=2, max_timeout=500))
    pauses = [breaker.retry_after]
    for _ in range(5):
        clock.advance(breaker.retry_after or 0)
        breaker.acquire().failure()
        pauses.append(breaker.retry_after)
    assert pauses == [60, 120, 240, 480, 500, 500]


def test_39_polly_2381_once_it_has_closed_the_pauses_begin_small_again() -> None:
    clock = FakeClock()
    breaker = opened(breaker_of(clock, timeout_multiplier=2))
    for _ in range(3):
        clock.advance(breaker.retry_after or 0)
        breaker.acquire().failure()
    assert breaker.retry_after == 300
    clock.advance(300)
    for _ in range(3):
        breaker.acquire().success()
    assert breaker.state is CLOSED
    opened(breaker)
    assert breaker.retry_after == 60


@pytest.mark.parametrize("wanted", [2, 3, 7])
def test_39_pybreaker_96_one_success_does_not_close_it_where_more_are_wanted(wanted: int) -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, success_threshold=wanted), clock)
    for _ in range(wanted - 1):
        breaker.acquire().success()
        assert breaker.state is HALF_OPEN
    breaker.acquire().success()
    assert breaker.state is CLOSED


def test_39_circuitbreaker_71_the_successes_wanted_are_those_of_one_half_open_period() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    for _ in range(5):
        breaker.acquire().success()
        breaker.acquire().success()
        breaker.acquire().failure()
        assert breaker.state is OPEN
        clock.advance(60)
    fail(breaker, 1)
    assert breaker.state is OPEN
