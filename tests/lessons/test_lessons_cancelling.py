"""Cancellation."""

from __future__ import annotations

import asyncio
import concurrent.futures
from concurrent.futures import Future

import pytest

from failsafe.deadline import CancelToken
from failsafe.errors import Cancelled, ConfigError
from failsafe.faults import Fault
from failsafe.policy_config import RetryConfig
from failsafe.retrying import retry_call
from failsafe.testing import FakeClock, answer
from tests.lessons.situations import CLOSED, breaker_of, fail, raising
from tests.router_bench import Bench, failing

ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


def test_41_resilience4j_682_1123_a_cancelled_future_is_no_failure_and_no_success() -> None:
    breaker = breaker_of(FakeClock())
    fail(breaker, 4)
    cancelled: Future[str] = Future()
    cancelled.cancel()
    for _ in range(10):
        with pytest.raises(concurrent.futures.CancelledError):
            breaker.call(cancelled.result)
    stats = breaker.stats()
    assert (stats.state, stats.streak, stats.failures, stats.successes) == (CLOSED, 4, 4, 0)


def test_41_resilience4j_682_calls_cancelled_by_token_do_not_open_the_breaker_of_a_router() -> None:
    bench = Bench(failing(Fault.CANCELLED))
    for _ in range(20):
        assert isinstance(bench.lose(cancel=CancelToken()), Cancelled)
    stats = bench.breaker()
    assert (stats.state, stats.failures, stats.successes) == (CLOSED, 0, 0)


@pytest.mark.parametrize("kind", ENDINGS)
def test_42_tenacity_186_529_what_ends_a_program_is_neither_repeated_nor_swallowed(kind: type[BaseException]) -> None:
    clock = FakeClock()
    tries: list[int] = []

    def interrupted() -> None:
        tries.append(1)
        raise kind

    with pytest.raises(kind):
        retry_call(interrupted, config=RetryConfig(max_retries=5), clock=clock)
    assert (len(tries), clock.waits) == (1, [])


def test_42_tenacity_186_a_cancelled_future_is_not_repeated() -> None:
    clock = FakeClock()
    with pytest.raises(concurrent.futures.CancelledError):
        retry_call(raising(concurrent.futures.CancelledError()), clock=clock)
    assert clock.waits == []


@pytest.mark.parametrize("kind", [BaseException, *ENDINGS])
def test_42_tenacity_529_nobody_can_ask_for_it_either(kind: type[BaseException]) -> None:
    with pytest.raises(ConfigError, match="retry_on"):
        RetryConfig(retry_on=(kind,))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ENDINGS)
def test_42_tenacity_186_a_router_asks_no_other_provider_after_it(kind: type[BaseException]) -> None:
    bench = Bench(raising(kind()), answer())
    with pytest.raises(kind):
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 1, "b": 0}
