"""Gateways to language models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.bulkhead import Bulkhead
from failsafe.composition import Policy
from failsafe.errors import CircuitOpenError
from failsafe.hedging import Hedge
from failsafe.limiter import RateLimiter
from failsafe.policy_config import BulkheadConfig, RateLimiterConfig, RetryConfig
from failsafe.retrying import Retry
from failsafe.testing import FakeClock, answer, refusal
from failsafe.timeouts import AttemptTimeout, Timeout
from tests.lessons.situations import CLOSED, HALF_OPEN, OPEN, breaker_of, half_open, probing
from tests.router_bench import BROKEN, Bench

GUARDS: dict[str, Callable[[], Any]] = {
    "CircuitBreaker": lambda: CircuitBreaker("service"),
    "Retry": Retry,
    "Timeout": lambda: Timeout(1.0),
    "AttemptTimeout": lambda: AttemptTimeout(1.0),
    "Bulkhead": lambda: Bulkhead("pool", BulkheadConfig(max_concurrent=1)),
    "RateLimiter": lambda: RateLimiter("own", RateLimiterConfig()),
    "Hedge": Hedge,
    "Policy": lambda: Policy.compose(CircuitBreaker("service")),
}


@pytest.mark.parametrize("name", list(GUARDS))
def test_61_ai_gateway_136_no_guard_takes_the_opening_of_a_stream_for_its_success(name: str) -> None:
    def stream() -> Iterator[str]:
        yield "the first word"
        raise ConnectionResetError("in mid-stream")

    with pytest.raises(TypeError, match="generator function"):
        GUARDS[name]()(stream)


def test_61_ai_gateway_199_a_service_that_always_breaks_off_in_mid_stream_opens_the_breaker() -> None:
    breaker = breaker_of(FakeClock())

    def stream() -> Iterator[str]:
        with breaker.acquire():  # from the request to the last word
            yield "the first word"
            raise ConnectionResetError("in mid-stream")

    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            list(stream())
    assert breaker.state is OPEN


def test_61_ai_gateway_136_a_reader_who_stops_reading_proves_nothing() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)

    def stream() -> Iterator[str]:
        with breaker.acquire():
            yield "the first word"
            yield "the second word"

    words: Any = stream()
    next(words)
    assert breaker.stats().probes_in_flight == 1
    words.close()
    stats = breaker.stats()
    assert (stats.state, stats.probes_in_flight, stats.half_open_successes) == (HALF_OPEN, 0, 0)


def test_62_deer_flow_2095_every_try_is_recorded_not_only_the_whole_call() -> None:
    clock, sent = FakeClock(), []
    breaker = breaker_of(clock)

    def sick() -> None:
        sent.append(1)
        raise OSError("sick")

    policy = Policy.compose(Retry(RetryConfig(max_retries=9), clock=clock), breaker)
    with pytest.raises(CircuitOpenError):
        policy.call(sick)
    assert (len(sent), breaker.stats().failures) == (5, 5), "within the very first call"


@pytest.mark.usefixtures("expect_logs")
def test_62_deer_flow_2095_a_sick_provider_is_given_five_requests_and_not_five_times_all_its_retries() -> None:
    bench = Bench(BROKEN, answer(), of_provider={"max_retries": 4}, retry=RetryConfig(max_retries=4))
    for _ in range(20):
        assert bench.ask().provider == "b"
    assert bench.asked() == {"a": 5, "b": 20}


@pytest.mark.usefixtures("expect_logs")
def test_62_deer_flow_2095_repeats_within_one_call_are_recorded_too_as_soft_failures() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(max_retries=2))
    bench.lose()
    stats = bench.breaker()
    assert bench.asked() == {"a": 3}
    assert (stats.streak, stats.failures, stats.soft_failures) == (1, 1, 2)


def test_63_hermes_agent_89804_rate_limits_open_no_breaker_and_the_provider_is_back_when_they_end() -> None:
    bench = Bench((*[refusal(429, retry_after="20")] * 10, answer("a again")), answer("from b"))
    for _ in range(10):
        assert bench.ask().content == "from b"
        bench.clock.advance(23)
    stats = bench.breaker()
    assert (stats.state, stats.streak, stats.soft_failures) == (CLOSED, 0, 10)
    assert bench.ask().content == "a again"


@pytest.mark.usefixtures("expect_logs")
def test_63_hermes_agent_89804_a_rate_limited_probe_does_not_prolong_what_opened_the_breaker() -> None:
    bench = Bench((refusal(429, retry_after="20"), answer("a again")), answer("from b"))
    probing(bench.router.breakers.get("a"), bench.clock).release()
    assert bench.ask().content == "from b"
    stats = bench.breaker()
    assert (stats.state, stats.retry_after, stats.failures) == (OPEN, 60, 5), "one open time, as after any failed probe"
    bench.clock.advance(60)
    assert bench.ask().content == "a again"
