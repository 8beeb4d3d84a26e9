"""Budgets and throttles."""

from __future__ import annotations

import threading

import pytest

from failsafe.budget import RetryBudget
from failsafe.deadline import CancelToken
from failsafe.errors import AllProvidersFailed, Cancelled
from failsafe.hedging import Hedge
from failsafe.limiter import RateLimiter
from failsafe.models import SkipReason
from failsafe.policy_config import CircuitBreakerConfig, HedgeConfig, RateLimiterConfig, RetryConfig
from failsafe.retrying import Retry
from failsafe.testing import FakeClock, answer
from tests.lessons.situations import PATIENCE, raising, together
from tests.router_bench import BROKEN, Bench

NEVER_OPENS = CircuitBreakerConfig(failure_threshold=10**6)


def drain(budget: RetryBudget) -> None:
    while budget.try_spend():
        pass


def test_50_envoy_30205_while_everything_fails_only_what_was_saved_is_repeated() -> None:
    clock, sent = FakeClock(), []
    retry = Retry(RetryConfig(max_retries=5), clock=clock, budget=RetryBudget(capacity=10))

    def sick() -> None:
        sent.append(1)
        raise OSError("sick")

    for _ in range(200):
        with pytest.raises(OSError, match="sick"):
            retry.call(sick)
    assert len(sent) == 200 + 10


@pytest.mark.usefixtures("expect_logs")
def test_50_envoy_mobile_811_the_allowance_of_a_router_does_not_grow_with_its_failing_traffic() -> None:
    bench = Bench(BROKEN, breaker=NEVER_OPENS)
    for _ in range(200):
        bench.lose()
    assert bench.asked() == {"a": 200 + 10}


def test_50_envoy_10869_a_try_is_paid_for_before_its_wait_and_given_back_if_it_is_not_made() -> None:
    clock, budget, token = FakeClock(), RetryBudget(capacity=3), CancelToken()
    retry = Retry(RetryConfig(), clock=clock, budget=budget, cancel=token)
    seen: list[float] = []

    def meanwhile() -> None:
        seen.append(budget.available)
        token.cancel()

    with clock.during_wait(meanwhile), pytest.raises(Cancelled):
        retry.call(raising(OSError()))
    assert (seen, budget.available) == ([2], 3)


def test_51_failsafe_go_139_106_a_quiet_client_may_repeat_its_very_first_call() -> None:
    bench = Bench((BROKEN, answer()))
    assert bench.ask().content == "hello"
    assert bench.asked() == {"a": 2}


def test_51_failsafe_go_141_a_hedge_under_way_is_not_ended_by_the_budgets_running_out() -> None:
    first_may_end, budget_is_empty = threading.Event(), threading.Event()
    with Hedge(HedgeConfig(delay=0.0)) as hedge:

        def first(token: CancelToken) -> str:
            assert token.event.wait(PATIENCE)
            return "first"

        def second(_token: CancelToken) -> str:
            while hedge.stats().refused == 0:  # others spend what is left
                with pytest.raises(OSError, match="sick"):
                    hedge.call(raising(OSError("sick")))
            budget_is_empty.set()
            return "second"

        assert hedge.race(first, second) == "second"
        assert budget_is_empty.is_set()
        first_may_end.set()


def test_52_finagle_the_first_slow_call_of_a_quiet_client_may_be_hedged() -> None:
    with Hedge(HedgeConfig(delay=0.0, budget=0.01)) as hedge:

        def until_lost(token: CancelToken) -> str:
            assert token.event.wait(PATIENCE)
            return "slow"

        assert hedge.race(until_lost, lambda _token: "quick") == "quick"


@pytest.mark.usefixtures("expect_logs")
def test_53_aws_sdk_go_base_915_one_sick_provider_does_not_starve_another_of_its_retries() -> None:
    bench = Bench(BROKEN, (BROKEN, answer("b's second try")), breaker=NEVER_OPENS)
    drain(bench.endpoint("a").admission.budget)
    reply = bench.ask()
    assert reply.content == "b's second try"
    assert bench.asked() == {"a": 1, "b": 2}
    assert bench.endpoint("b").admission.budget.available == pytest.approx(9.1)


def test_53_botocore_3179_an_empty_budget_refuses_at_once_and_never_waits() -> None:
    clock, budget = FakeClock(), RetryBudget(capacity=1)
    drain(budget)
    assert together(budget.try_spend, threads=8) == [False] * 8
    with pytest.raises(OSError, match="sick") as caught:
        Retry(RetryConfig(), clock=clock, budget=budget).call(raising(OSError("sick")))
    assert clock.waits == []
    assert "the retry budget is empty" in caught.value.__notes__[0]


@pytest.mark.usefixtures("expect_logs")
def test_54_envoy_26877_3263_when_every_provider_is_open_nobody_is_asked_and_the_smallest_wait_is_named() -> None:
    bench = Bench(answer(), answer(), answer())
    for name, later in (("b", 25), ("a", 20), ("c", 0)):
        bench.router.breakers.get(name).trip()
        bench.clock.advance(later)
    error = bench.lose(timeout=10)
    assert isinstance(error, AllProvidersFailed)
    assert (error.retry_after, error.attempts) == (15, ())
    assert [skip.reason for skip in error.skipped] == [SkipReason.BREAKER_OPEN] * 3
    assert bench.asked() == {"a": 0, "b": 0, "c": 0}
    assert bench.clock.waits == []


def test_55_go_zero_5011_a_request_counts_when_it_is_sent_not_when_it_is_answered() -> None:
    clock = FakeClock()
    limiter = RateLimiter("own", RateLimiterConfig(requests_per_minute=60, burst=3), clock=clock)
    with limiter, limiter, limiter:  # three under way, none answered
        assert limiter.try_acquire() == pytest.approx(1)
        clock.advance(1)
        assert limiter.try_acquire() == 0
    assert limiter.try_acquire() > 0, "an answer gives nothing back"
