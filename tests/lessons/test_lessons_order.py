"""The order of policies."""

from __future__ import annotations

import pytest

from failsafe.budget import RetryBudget
from failsafe.composition import Policy
from failsafe.errors import CircuitOpenError
from failsafe.models import SkipReason
from failsafe.policy_config import RetryConfig
from failsafe.retrying import Retry
from failsafe.testing import FakeClock, answer
from tests.lessons.situations import OPEN, breaker_of, opened
from tests.router_bench import BROKEN, Bench


def test_60_resilience4j_920_a_retry_outside_of_the_breaker_does_not_repeat_circuit_open() -> None:
    clock, budget = FakeClock(), RetryBudget()
    breaker = opened(breaker_of(clock))
    policy = Policy.compose(Retry(RetryConfig(max_retries=5), clock=clock, budget=budget), breaker)
    with pytest.raises(CircuitOpenError):
        policy.call(str)
    assert (breaker.stats().rejected, clock.waits, budget.available) == (1, [], 10)


def test_60_resilience4j_920_not_even_when_the_breaker_opens_in_between() -> None:
    clock, budget, sent = FakeClock(), RetryBudget(), []
    breaker = breaker_of(clock, failure_threshold=2)

    def sick() -> None:
        sent.append(1)
        raise OSError("sick")

    policy = Policy.compose(breaker, Retry(RetryConfig(max_retries=9), clock=clock, budget=budget))
    with pytest.raises(CircuitOpenError):
        policy.call(sick)
    assert (len(sent), breaker.state, breaker.stats().rejected) == (2, OPEN, 1)
    assert budget.available == 9, "one try was repeated; the one that was refused cost nothing"


def test_60_resilience4j_920_a_first_try_that_is_refused_earns_no_token() -> None:
    clock, budget = FakeClock(), RetryBudget(capacity=1)
    policy = Policy.compose(Retry(clock=clock, budget=budget), opened(breaker_of(clock)))
    assert budget.try_spend()
    for _ in range(3):
        with pytest.raises(CircuitOpenError):
            policy.call(str)
    assert budget.available == 0


@pytest.mark.usefixtures("expect_logs")
def test_60_resilience4j_920_an_open_provider_costs_a_router_no_attempt_no_token_and_no_wait() -> None:
    bench = Bench(answer("a"), answer("b"))
    bench.router.breakers.get("a").trip()
    reply = bench.ask()
    assert (reply.content, len(reply.attempts)) == ("b", 1)
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.BREAKER_OPEN)]
    assert [bench.endpoint(name).admission.budget.available for name in "ab"] == [10, 10]
    assert bench.clock.waits == []


@pytest.mark.usefixtures("expect_logs")
def test_60_resilience4j_920_nor_does_it_use_up_the_rounds_of_the_others() -> None:
    bench = Bench(answer("a"), (BROKEN, BROKEN, answer("third round")), retry=RetryConfig(max_retries=2, jitter=False))
    bench.router.breakers.get("a").force_open()
    assert bench.ask().content == "third round"
    assert bench.asked() == {"a": 0, "b": 3}
