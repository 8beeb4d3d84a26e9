"""Backoff."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from failsafe.backoff import calculate_delay, ceiling
from failsafe.clock import Random
from failsafe.deadline import Deadline
from failsafe.errors import AllProvidersFailed, ConfigError
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.retrying import retry_call
from failsafe.testing import FakeClock
from tests.lessons.situations import raising
from tests.router_bench import BROKEN, Bench

DRAWS = 4000


def _draws(attempt: int, config: RetryConfig) -> list[float]:
    random = Random(2024)
    return [calculate_delay(attempt, config, random) for _ in range(DRAWS)]


def test_43_polly_530_waits_bunch_at_neither_end() -> None:
    config = RetryConfig(base_delay=1, max_delay=8)
    for attempt in (0, 1, 3, 9):
        top = min(8, 2**attempt)
        delays = _draws(attempt, config)
        tenths = [sum(tenth <= 10 * each / top < tenth + 1 for each in delays) for tenth in range(10)]
        assert min(tenths) > DRAWS / 20
        assert max(tenths) < DRAWS / 5


@pytest.mark.parametrize("attempt", [1023, 1024, 1025, 5000, 10**6, 10**30])
def test_43_polly_2163_tenacity_526_stamina_104_no_number_of_tries_overflows_or_goes_below_nothing(
    attempt: int,
) -> None:
    for jitter in (True, False):
        for factor in (1.0, 1.5, 2.0, 1000.0):
            config = RetryConfig(base_delay=0.5, max_delay=8, exponential_base=factor, jitter=jitter)
            delay = calculate_delay(attempt, config, Random(1))
            assert 0 <= delay <= 8
    assert ceiling(0.5, 2.0, attempt, 8.0) == 8


def test_43_tenacity_710_a_retry_with_as_many_tries_as_can_be_set_ends_by_its_own_error() -> None:
    clock = FakeClock()
    with pytest.raises(OSError, match="sick"):
        retry_call(
            raising(OSError("sick")),
            config=RetryConfig(max_retries=100, exponential_base=1000, jitter=False),
            clock=clock,
        )
    assert clock.waits == [0.5] + [8] * 99


def test_44_stamina_urllib3_tenacity_waits_at_the_cap_still_differ() -> None:
    delays = _draws(30, RetryConfig(base_delay=1, max_delay=8))
    assert len(set(delays)) > DRAWS * 0.99
    assert statistics.fmean(delays) == pytest.approx(4, abs=0.2)
    assert min(delays) < 0.1
    assert 7.9 < max(delays) <= 8


def test_45_tenacity_423_no_wait_is_begun_that_would_pass_the_deadline() -> None:
    clock = FakeClock()
    config = RetryConfig(max_retries=9, base_delay=1, max_delay=60, jitter=False)
    began = clock.monotonic()
    with pytest.raises(OSError, match="sick") as caught:
        retry_call(raising(OSError("sick")), config=config, clock=clock, deadline=10.0)
    assert clock.waits == [1, 2, 4]
    assert clock.monotonic() - began == 7, "the next wait, of 8 s, would end at 15"
    assert "would pass the deadline" in caught.value.__notes__[0]


def test_45_tenacity_423_not_even_one_that_would_end_at_the_very_deadline() -> None:
    clock = FakeClock()
    config = RetryConfig(base_delay=4, max_delay=8, jitter=False)
    with pytest.raises(OSError, match="sick"):
        retry_call(raising(OSError("sick")), config=config, clock=clock, deadline=Deadline.after(4.0, clock))
    assert clock.waits == []


def test_45_tenacity_423_a_router_does_not_sleep_past_the_deadline_either() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(max_retries=9, base_delay=2, max_delay=60, jitter=False))
    began = bench.clock.monotonic()
    assert isinstance(bench.lose(timeout=6), AllProvidersFailed)
    assert bench.clock.waits == [2]
    assert bench.clock.monotonic() - began < 6


@pytest.mark.parametrize("setting", ["success_threshold", "failure_threshold", "half_open_max_calls", "minimum_calls"])
@pytest.mark.parametrize("value", [0, -1, False, 1.0])
def test_46_failsafe_235_zero_switches_nothing_off_and_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        CircuitBreakerConfig(**{setting: value})
