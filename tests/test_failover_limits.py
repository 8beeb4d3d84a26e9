"""What a call does about a provider whose limits are used up: bulkheads, rate limits, breakers of single models."""

from __future__ import annotations

from contextlib import suppress

import pytest

from failsafe.bulkhead import Bulkhead, Slot
from failsafe.errors import AllProvidersFailed, InvalidRequest
from failsafe.events import CircuitState
from failsafe.faults import Fault
from failsafe.models import SkipReason
from failsafe.policy_config import (
    AdaptiveConcurrencyConfig,
    BulkheadConfig,
    CircuitBreakerConfig,
    RateLimiterConfig,
    RetryConfig,
)
from failsafe.testing import Outcome, SentRequest, answer, refusal
from tests.router_bench import BROKEN, LIMITED, Bench, failing

NO_ROUNDS = RetryConfig(max_retries=0)


def bulkhead(bench: Bench, name: str = "a") -> Bulkhead:
    limit = bench.endpoint(name).admission.limit
    assert isinstance(limit, Bulkhead)
    return limit


def fill(bench: Bench, name: str = "a") -> list[Slot]:
    limit = bulkhead(bench, name)
    return [limit.acquire() for _ in range(limit.limit)]


# Bulkheads.


def test_a_full_bulkhead_sends_the_call_to_the_next_provider_at_once() -> None:
    bench = Bench(answer(), answer("from b"), each={"a": {"bulkhead": BulkheadConfig(max_concurrent=1, max_wait=5)}})
    (taken,) = fill(bench)
    reply = bench.ask()
    assert reply.provider == "b"
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.BULKHEAD)]
    assert bench.clock.waits == []
    taken.release()
    assert bench.ask().provider == "a"


def test_the_last_provider_is_worth_a_wait_for_a_place() -> None:
    bench = Bench(answer("from a"), bulkhead=BulkheadConfig(max_concurrent=1, max_wait=5))
    (taken,) = fill(bench)
    with bench.clock.during_wait(taken.release):
        assert bench.ask().provider == "a"
    assert bench.clock.waits == [5.0]


def test_a_place_is_waited_for_no_longer_than_allowed_in_one_call() -> None:
    bench = Bench(answer(), bulkhead=BulkheadConfig(max_concurrent=2, max_wait=5))
    fill(bench)
    error = bench.lose()
    assert isinstance(error, AllProvidersFailed)
    assert [skip.reason for skip in error.skipped] == [SkipReason.BULKHEAD]
    assert "2 calls to it are under way, as many as it may have" in str(error)
    assert bench.clock.waits == [5.0]
    assert bench.asked() == {"a": 0}


def test_a_place_is_never_waited_for_past_the_deadline() -> None:
    bench = Bench(answer(), bulkhead=BulkheadConfig(max_concurrent=1, max_wait=50))
    fill(bench)
    began = bench.clock.monotonic()
    bench.lose(timeout=3)
    assert bench.clock.monotonic() - began <= 3


@pytest.mark.usefixtures("expect_logs")
def test_a_full_provider_is_looked_at_again_in_the_next_round() -> None:
    bench = Bench(
        answer("from a"), BROKEN, each={"a": {"bulkhead": BulkheadConfig(max_concurrent=1)}},
        retry=RetryConfig(jitter=False),
    )  # fmt: skip
    (taken,) = fill(bench)
    with bench.clock.during_wait(taken.release):
        reply = bench.ask()
    assert [attempt.provider for attempt in reply.attempts] == ["b", "a"]


@pytest.mark.usefixtures("expect_logs")
def test_a_provider_that_was_full_once_and_failed_later_is_still_backed_off_for() -> None:
    bench = Bench(
        (BROKEN, answer("from a")), BROKEN, each={"a": {"bulkhead": BulkheadConfig(max_concurrent=1)}},
        retry=RetryConfig(jitter=False, max_retries=3),
    )  # fmt: skip
    (taken,) = fill(bench)
    with bench.clock.during_wait(taken.release):
        reply = bench.ask()
    assert [attempt.provider for attempt in reply.attempts] == ["b", "a", "b", "a"]


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("outcome", [answer(), BROKEN, LIMITED, failing(Fault.TIMEOUT), refusal(400, "no")])
def test_every_outcome_gives_the_place_back(outcome: Outcome) -> None:
    bench = Bench(outcome, answer(), bulkhead=BulkheadConfig(max_concurrent=1))
    with suppress(InvalidRequest):
        bench.ask()
    assert bulkhead(bench).in_flight == 0
    assert bench.router.stats()["a"]["in_flight"] == 0


def test_an_interrupt_gives_the_place_back() -> None:
    def interrupted(request: SentRequest) -> Outcome:
        raise KeyboardInterrupt

    bench = Bench(interrupted, bulkhead=BulkheadConfig(max_concurrent=1))
    with pytest.raises(KeyboardInterrupt):
        bench.ask()
    assert bulkhead(bench).in_flight == 0
    assert bench.endpoint().in_flight == 0


@pytest.mark.usefixtures("expect_logs")
def test_a_breaker_that_refuses_gives_the_place_back() -> None:
    bench = Bench(
        answer(), bulkhead=BulkheadConfig(max_concurrent=1), breaker=CircuitBreakerConfig(half_open_max_calls=1)
    )
    bench.open_breaker()
    probe = bench.router.breakers.get("a").acquire()
    bench.lose(timeout=0.5)
    assert bulkhead(bench).in_flight == 0
    probe.release()
    assert bench.ask().provider == "a"


@pytest.mark.usefixtures("expect_logs")
def test_an_adaptive_limit_falls_when_the_provider_pushes_back() -> None:
    bench = Bench(
        (failing(Fault.OVERLOADED), answer()), retry=RetryConfig(jitter=False),
        adaptive_concurrency=AdaptiveConcurrencyConfig(initial=10, backoff=0.5),
    )  # fmt: skip
    limit = bench.endpoint().admission.limit
    assert limit is not None
    before = limit.limit
    bench.ask()
    assert limit.limit < before
    assert bench.router.stats()["a"]["limit"].in_flight == 0


def test_the_stats_show_the_limit_on_calls_under_way() -> None:
    bench = Bench(answer(), bulkhead=BulkheadConfig(max_concurrent=3))
    fill(bench)
    shown = bench.router.stats()["a"]["limit"]
    assert (shown.in_flight, shown.limit) == (3, 3)
    assert Bench(answer()).router.stats()["a"]["limit"] is None


# Rate limits.


def test_what_is_above_ones_own_rate_goes_to_the_next_provider() -> None:
    slow = RateLimiterConfig(requests_per_minute=60, burst=2)
    bench = Bench(answer(), answer(), each={"a": {"rate_limiter": slow}})
    assert [bench.ask().provider for _ in range(4)] == ["a", "a", "b", "b"]
    skipped = bench.ask().skipped
    assert [(skip.provider, skip.reason) for skip in skipped] == [("a", SkipReason.COOLING)]
    bench.clock.advance(1)
    assert bench.ask().provider == "a"


def test_ones_own_rate_is_waited_for_when_nobody_else_may_be_asked() -> None:
    bench = Bench(answer(), rate_limiter=RateLimiterConfig(requests_per_minute=60, burst=1))
    bench.ask()
    bench.ask()
    assert sum(bench.clock.waits) == pytest.approx(1.0, abs=0.01)
    assert bench.asked() == {"a": 2}


@pytest.mark.usefixtures("expect_logs")
def test_ones_own_rate_is_kept_for_each_model_apart() -> None:
    bench = Bench(answer(), answer(), each={"a": {"rate_limiter": RateLimiterConfig(requests_per_minute=60, burst=1)}})
    assert bench.ask(model="gpt-4.1").provider == "a"
    assert bench.ask(model="gpt-4.1").provider == "b"
    assert bench.ask(model="gpt-4.1-mini").provider == "a"


@pytest.mark.usefixtures("expect_logs")
def test_a_breaker_that_refuses_costs_nothing_of_the_rate() -> None:
    bench = Bench(
        answer(), rate_limiter=RateLimiterConfig(requests_per_minute=60, burst=1),
        breaker=CircuitBreakerConfig(half_open_max_calls=1), retry=NO_ROUNDS,
    )  # fmt: skip
    bench.open_breaker()
    probe = bench.router.breakers.get("a").acquire()
    bench.lose(timeout=0.5)
    probe.release()
    assert bench.ask().provider == "a"
    assert bench.clock.waits == [] or max(bench.clock.waits) <= 0.5


def told(remaining: int, reset: str = "20s") -> Outcome:
    """An answer that says how many requests are left."""
    return answer(
        x_ratelimit_limit_requests="100",
        x_ratelimit_remaining_requests=str(remaining),
        x_ratelimit_reset_requests=reset,
    )


def test_what_the_answers_say_would_be_refused_is_not_sent() -> None:
    bench = Bench(told(0), answer("from b"))
    assert bench.ask().provider == "a"
    reply = bench.ask()
    assert reply.provider == "b"
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.COOLING)]
    assert "its answers say that its rate limit is used up" in reply.skipped[0].detail
    bench.clock.advance(21)
    assert bench.ask().provider == "a"


def test_what_was_learnt_holds_for_that_key_alone() -> None:
    bench = Bench((told(0), answer()), of_provider={"api_key": ["k1-x", "k2-x"]})
    bench.ask()
    bench.ask()
    keys = [request.key for request in bench.transports["a"].requests]
    assert len(set(keys)) == 2
    assert bench.clock.waits == []


def test_nothing_is_learnt_where_that_is_turned_off() -> None:
    bench = Bench(told(0), answer("from b"), rate_limiter=RateLimiterConfig(learn=False))
    assert [bench.ask().provider for _ in range(2)] == ["a", "a"]


def test_a_reset_forgets_what_the_answers_said() -> None:
    bench = Bench(told(0), answer("from b"))
    bench.ask()
    bench.router.reset("a")
    assert bench.ask().provider == "a"


def test_the_last_requests_that_are_left_are_used() -> None:
    bench = Bench((told(2), answer(), answer(), answer()), answer("from b"))
    assert [bench.ask().provider for _ in range(4)] == ["a", "a", "a", "b"]


# Breakers of single models.


@pytest.mark.usefixtures("expect_logs")
def test_a_model_that_fails_opens_its_own_breaker_alone() -> None:
    def broken_mini(request: SentRequest) -> Outcome:
        return BROKEN if request.body["model"] == "gpt-4.1-mini" else answer(model=request.body["model"])

    bench = Bench(
        broken_mini, answer("from b", model="gpt-4.1-mini"), breaker_scope="model",
        breaker=CircuitBreakerConfig(failure_threshold=1),
    )  # fmt: skip
    assert bench.ask(model="gpt-4.1-mini").provider == "b"
    assert bench.ask(model="gpt-4.1").provider == "a"
    stats = bench.router.stats()["a"]
    assert {model: stats.state for model, stats in stats["breakers"].items()} == {
        "gpt-4.1-mini": CircuitState.OPEN,
        "gpt-4.1": CircuitState.CLOSED,
    }
    assert stats["breaker"].state is CircuitState.OPEN
    assert stats["status"] == "degraded"
    reply = bench.ask(model="gpt-4.1-mini")
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.BREAKER_OPEN)]
    assert "a failure: HTTP 500" in reply.skipped[0].detail
    bench.router.reset("a")
    assert bench.router.stats()["a"]["breaker"].state is CircuitState.CLOSED


@pytest.mark.usefixtures("expect_logs")
def test_an_alias_goes_on_with_its_next_model_where_one_breaker_is_open() -> None:
    def broken_mini(request: SentRequest) -> Outcome:
        return BROKEN if request.body["model"] == "gpt-4.1-mini" else answer(model=request.body["model"])

    bench = Bench(
        broken_mini, breaker_scope="model", breaker=CircuitBreakerConfig(failure_threshold=1),
        aliases={"fast": ["gpt-4.1-mini", "gpt-4.1"]}, retry=RetryConfig(jitter=False, max_retries=3),
    )  # fmt: skip
    reply = bench.ask(model="fast")
    assert reply.model == "gpt-4.1"
    assert [attempt.model for attempt in reply.attempts] == ["gpt-4.1-mini", "gpt-4.1"]


def test_the_breakers_of_models_are_bounded() -> None:
    bench = Bench(answer(), breaker_scope="model")
    admission = bench.endpoint().admission
    breakers = {id(admission.breaker(f"model-{number}")) for number in range(400)}
    assert len(breakers) == 257  # 256 of their own, and the provider's for all the others


def test_the_provider_has_one_breaker_unless_told_otherwise() -> None:
    bench = Bench(answer())
    bench.ask()
    assert bench.router.stats()["a"]["breakers"] == {}
    assert bench.endpoint().admission.breaker("x") is bench.router.breakers.get("a")
