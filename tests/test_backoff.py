from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.backoff import a_little_later, calculate_delay, ceiling, named_wait
from failsafe.clock import new_random
from failsafe.policy_config import RetryConfig
from tests.chance import Chance

EXACT = RetryConfig(base_delay=0.5, max_delay=8.0, exponential_base=2.0, jitter=False)


@pytest.mark.parametrize(("attempt", "expected"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0)])
def test_without_jitter_the_delay_is_the_ceiling(attempt: int, expected: float) -> None:
    chance = Chance(0.5)
    assert calculate_delay(attempt, EXACT, chance) == expected
    assert chance.asked == 0


@pytest.mark.parametrize("attempt", [1023, 1024, 1025, 10**9, 10**400])
def test_a_huge_attempt_number_gives_the_cap_and_no_overflow(attempt: int) -> None:
    assert calculate_delay(attempt, EXACT, Chance(0.0)) == 8.0


def test_a_whole_number_as_base_does_not_compute_a_giant_power() -> None:
    config = RetryConfig(exponential_base=2, jitter=False)
    assert calculate_delay(10**9, config, Chance(0.0)) == 8.0


def test_full_jitter_spreads_from_nothing_to_the_ceiling() -> None:
    config = RetryConfig(base_delay=0.5, max_delay=8.0)
    assert [calculate_delay(2, config, Chance(value)) for value in (0.0, 0.25, 1.0)] == [0.0, 0.5, 2.0]


def test_jitter_survives_the_cap() -> None:
    source = new_random()
    delays = {calculate_delay(50, RetryConfig(), source) for _ in range(100)}
    assert len(delays) == 100
    assert min(delays) < 4.0 < max(delays) < 8.0


@given(
    base=st.floats(0, 1e300),
    factor=st.floats(1, 1e300),
    repeats=st.integers(0, 10**12),
    cap=st.floats(0, 1e300),
)
def test_the_ceiling_is_finite_and_never_above_the_cap(base: float, factor: float, repeats: int, cap: float) -> None:
    value = ceiling(base, factor, repeats, cap)
    assert 0 <= value <= cap
    assert value >= min(base, cap)


def test_no_base_means_no_wait_however_often() -> None:
    assert ceiling(0.0, 10.0, 10**9, 5.0) == 0.0


def test_later_is_never_earlier_and_at_most_a_tenth_more() -> None:
    assert a_little_later(20.0, Chance(0.0)) == 20.0
    assert a_little_later(20.0, Chance(1.0)) == pytest.approx(22.0)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0.0), (2, 2.0), (0.25, 0.25), (math.inf, math.inf), (10**400, math.inf)]
)
def test_a_number_of_seconds_is_taken(value: object, expected: float) -> None:
    assert named_wait(value) == expected


@pytest.mark.parametrize("value", [None, "20", -1, -0.5, math.nan, True, [3]])
def test_garbage_counts_as_absent(value: object) -> None:
    assert named_wait(value) is None
