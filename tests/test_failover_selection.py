"""Who is asked first: strategies, failure domains, draining, what a call asks for, and the last answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from failsafe.config import RouterConfig
from failsafe.errors import AllProvidersFailed, CallFailed, Cancelled, ConfigError, InvalidRequest
from failsafe.events import CallFinished
from failsafe.faults import Fault
from failsafe.models import ChatRequest, Reply, SkipReason
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig, SelectionConfig
from failsafe.testing import Outcome, SentRequest, answer, refusal
from tests.router_bench import BROKEN, Bench, failing

NO_ROUNDS = RetryConfig(max_retries=0)


def providers(bench: Bench, calls: int, **arguments: Any) -> Counter[str]:
    return Counter(bench.ask(**arguments).provider for _ in range(calls))


# Strategies.


def test_the_default_asks_by_priority() -> None:
    assert providers(Bench(answer(), answer(), answer()), 20) == {"a": 20}


def test_round_robin_divides_the_calls_evenly() -> None:
    bench = Bench(answer(), answer(), answer(), selection=SelectionConfig(strategy="round_robin"))
    assert providers(bench, 30) == {"a": 10, "b": 10, "c": 10}


@pytest.mark.usefixtures("expect_logs")
def test_round_robin_is_counted_for_each_model_apart() -> None:
    bench = Bench(answer(), answer(), selection=SelectionConfig(strategy="round_robin"))
    for _ in range(4):
        bench.ask(model="gpt-4.1")
        bench.ask(model="gpt-4.1-mini")
    assert Counter(bench.models("a")) == {"gpt-4.1": 2, "gpt-4.1-mini": 2}


def test_an_explicit_priority_comes_before_the_strategy() -> None:
    bench = Bench(
        answer(), answer(), answer(), selection=SelectionConfig(strategy="round_robin"), each={"a": {"priority": 5}}
    )
    assert providers(bench, 10) == {"b": 5, "c": 5}


def test_weights_divide_the_calls() -> None:
    bench = Bench(answer(), answer(), selection=SelectionConfig(strategy="weighted"), each={"a": {"weight": 3}})
    share = providers(bench, 400)["a"] / 400
    assert 0.68 < share < 0.82


@pytest.mark.usefixtures("expect_logs")
def test_the_cheapest_is_asked_first_and_an_unknown_price_last() -> None:
    bench = Bench(
        answer(), answer(), answer(), selection=SelectionConfig(strategy="cheapest"),
        each={
            "a": {"models": ["x"]},
            "b": {"models": ["x"], "prices": {"x": {"input": 2.0, "output": 8.0}}},
            "c": {"models": ["x"], "prices": {"x": {"input": 1.0, "output": 4.0}}},
        },
    )  # fmt: skip
    assert providers(bench, 5, model="x") == {"c": 5}
    assert list(providers(bench, 5, model="x", exclude="c")) == ["b"]


def test_the_fastest_is_asked_first_once_it_is_known() -> None:
    bench: Bench

    def takes(seconds: float) -> Any:
        def play(request: SentRequest) -> Outcome:
            bench.clock.advance(seconds)
            return answer()

        return play

    bench = Bench(takes(2.0), takes(0.1), selection=SelectionConfig(strategy="lowest_latency"))
    counts = providers(bench, 40)
    assert counts["b"] > 30


def test_a_strategy_of_ones_own_is_a_function() -> None:
    def last_first(snapshots: Any, circumstances: Any) -> Any:
        return list(reversed(snapshots))

    bench = Bench(answer(), answer(), answer(), selection=SelectionConfig(strategy=last_first))
    assert providers(bench, 3) == {"c": 3}


def test_who_usually_takes_longer_than_the_limit_comes_last() -> None:
    bench: Bench

    def slow(request: SentRequest) -> Outcome:
        bench.clock.advance(3.0)
        return answer()

    bench = Bench(slow, answer(), selection=SelectionConfig(max_latency_ms=1000))
    assert [bench.ask().provider for _ in range(3)] == ["a", "b", "b"]


def test_calls_that_nobody_chooses_for_by_speed_are_spared_the_averages() -> None:
    bench = Bench(answer(), answer())
    bench.ask()
    assert bench.endpoint().peak.seconds is None
    bench.ask(max_latency_ms=1000)
    assert bench.endpoint().peak.seconds is not None
    assert bench.endpoint().typical.seconds is not None


# What a call asks for.


def test_only_and_exclude_name_providers_or_tags() -> None:
    bench = Bench(answer(), answer(), answer(), each={"b": {"tags": ["eu"]}, "c": {"tags": ["eu", "cheap"]}})
    assert bench.ask(only="c").provider == "c"
    assert bench.ask(only=["eu"]).provider == "b"
    assert bench.ask(exclude=["a"]).provider == "b"
    reply = bench.ask(only="eu", exclude="b")
    assert reply.provider == "c"
    assert {(skip.provider, skip.reason) for skip in reply.skipped} == {
        ("a", SkipReason.CONSTRAINT),
        ("b", SkipReason.CONSTRAINT),
    }


def test_a_misspelt_constraint_is_refused_before_anything_is_sent() -> None:
    bench = Bench(answer(), answer(), each={"a": {"tags": ["europe"]}})
    with pytest.raises(InvalidRequest, match="europe"):
        bench.ask(only="eurpe")
    assert bench.asked() == {"a": 0, "b": 0}


def test_the_options_of_a_call_reach_no_provider() -> None:
    bench = Bench(answer(), answer())
    bench.ask(only="a", sticky="user-7", max_latency_ms=500, temperature=0.5)
    body = bench.transports["a"].requests[0].body
    assert set(body) == {"model", "messages", "temperature"}


@pytest.mark.usefixtures("expect_logs")
def test_a_cost_cap_leaves_out_who_is_dearer_and_who_has_no_price() -> None:
    bench = Bench(
        answer(), answer(), answer(),
        each={
            "a": {"models": ["x"], "prices": {"x": {"input": 50.0, "output": 5000.0}}},
            "b": {"models": ["x"]},
            "c": {"models": ["x"], "prices": {"x": {"input": 0.1, "output": 0.4}}},
        },
    )  # fmt: skip
    reply = bench.ask(model="x", max_cost_usd=0.01)
    assert reply.provider == "c"
    details = {skip.provider: skip.detail for skip in reply.skipped}
    assert "max_cost_usd" in details["a"]
    assert "price" in details["b"]


def test_a_cap_that_nobody_meets_ends_the_call_with_the_reasons() -> None:
    bench = Bench(answer(), each={"a": {"models": ["x"], "prices": {"x": {"input": 50.0, "output": 5000.0}}}})
    error = bench.lose(model="x", max_cost_usd=0.0001)
    assert isinstance(error, AllProvidersFailed)
    assert "max_cost_usd" in str(error)
    assert bench.asked() == {"a": 0}


def test_a_sticky_key_keeps_its_provider() -> None:
    bench = Bench(*[answer()] * 5, selection=SelectionConfig(strategy="round_robin"))
    homes = {key: set(providers(bench, 5, sticky=key)) for key in map(str, range(20))}
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 2


# Failure domains.


@pytest.mark.usefixtures("expect_logs")
def test_after_a_failure_the_next_comes_from_another_failure_domain() -> None:
    bench = Bench(
        BROKEN, answer("from b"), answer("from c"),
        each={"a": {"failure_domains": ["openai"]}, "b": {"failure_domains": ["openai", "anthropic"]}},
    )  # fmt: skip
    assert bench.ask().provider == "c"


@pytest.mark.usefixtures("expect_logs")
def test_one_of_the_same_domain_is_asked_when_there_is_no_other() -> None:
    bench = Bench(BROKEN, answer("from b"), BROKEN, of_provider={"failure_domains": ["openai"]})
    assert bench.ask().provider == "b"


@pytest.mark.usefixtures("expect_logs")
def test_a_provider_apart_that_may_not_be_asked_is_passed_over() -> None:
    bench = Bench(BROKEN, answer("from b"), answer("from c"), each={n: {"failure_domains": ["us"]} for n in "ab"})
    bench.router.breakers.get("c").force_open()
    assert bench.ask().provider == "b"


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("fault", [Fault.AUTH, Fault.QUOTA, Fault.RATE_LIMIT, Fault.MODEL])
def test_what_concerns_an_account_says_nothing_about_the_domain(fault: Fault) -> None:
    bench = Bench(failing(fault), answer(), answer(), each={n: {"failure_domains": ["us"]} for n in "ab"})
    assert bench.ask().provider == "b"


# Draining and the slow start.


def test_a_draining_provider_gets_no_new_calls() -> None:
    bench = Bench(answer(), answer())
    bench.router.drain("a")
    reply = bench.ask()
    assert reply.provider == "b"
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.DRAINING)]
    assert bench.router.stats()["a"]["draining"] is True
    bench.router.resume("a")
    assert bench.ask().provider == "a"
    with pytest.raises(ConfigError, match="one of a, b is needed"):
        bench.router.drain("z")


def test_when_all_drain_the_call_says_so() -> None:
    bench = Bench(answer())
    bench.router.drain("a")
    assert "it takes no new calls until Router.resume" in str(bench.lose())


def test_a_provider_that_is_back_gets_a_share_that_grows() -> None:
    bench = Bench(answer(), answer(), of_provider={"priority": 1}, selection=SelectionConfig(slow_start=100))
    bench.router.drain("a")
    bench.router.resume("a")
    early = providers(bench, 200)["a"]
    bench.clock.advance(50)
    halfway = providers(bench, 200)["a"]
    bench.clock.advance(60)
    late = providers(bench, 200)["a"]
    assert early < 30 < halfway < 75 < late


@pytest.mark.usefixtures("expect_logs")
def test_a_breaker_that_closes_begins_a_slow_start() -> None:
    bench = Bench(
        answer(), answer(), of_provider={"priority": 1}, selection=SelectionConfig(slow_start=1000),
        breaker=CircuitBreakerConfig(success_threshold=1),
    )  # fmt: skip
    bench.open_breaker()
    while not providers(bench, 1)["a"]:
        pass
    assert providers(bench, 100)["a"] < 30


@pytest.mark.usefixtures("expect_logs")
def test_a_provider_with_its_priority_to_itself_is_back_at_once() -> None:
    bench = Bench(answer(), answer(), breaker=CircuitBreakerConfig(success_threshold=1))
    bench.open_breaker()
    assert providers(bench, 20) == {"a": 20}


def test_resuming_what_was_not_drained_changes_nothing() -> None:
    bench = Bench(answer(), answer(), of_provider={"priority": 1}, selection=SelectionConfig(slow_start=1000))
    bench.router.resume("a")
    assert bench.endpoint().availability.usual


# What a model reads.


def test_a_prompt_longer_than_a_model_reads_goes_to_one_that_reads_more() -> None:
    bench = Bench(answer(), answer(model="gpt-4.1"), aliases={"any": ["gpt-4", "gpt-4.1"]},
                  each={"a": {"models": ["gpt-4"]}, "b": {"models": ["gpt-4.1"]}})  # fmt: skip
    prompt = "one two three four " * 4000
    reply = bench.router.chat(prompt, model="any")
    assert reply.provider == "b"
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.CANNOT_EXPRESS)]
    assert "8,192" in reply.skipped[0].detail


def test_an_estimate_refuses_nothing_that_nobody_else_reads() -> None:
    bench = Bench(answer(model="gpt-4"), each={"a": {"models": ["gpt-4"]}})
    assert bench.router.chat("one two three four " * 4000, model="gpt-4").provider == "a"


# The last answer.


@pytest.mark.usefixtures("expect_logs")
def test_a_text_is_the_last_answer_when_nobody_answers() -> None:
    bench = Bench(BROKEN, BROKEN, retry=NO_ROUNDS, fallback="Please try again later.\nSorry.")
    reply = bench.ask()
    assert (reply.content, reply.provider, reply.fallback) == ("Please try again later.\nSorry.", "fallback", True)
    assert [attempt.provider for attempt in reply.attempts] == ["a", "b"]
    (ended,) = [event for event in bench.events if isinstance(event, CallFinished)]
    assert (ended.provider, ended.error) == ("fallback", "AllProvidersFailed")


@pytest.mark.usefixtures("expect_logs")
def test_a_function_computes_the_last_answer_from_request_and_error() -> None:
    seen: list[tuple[ChatRequest, CallFailed]] = []
    good = Bench(answer("cached")).ask()

    def cached(request: ChatRequest, error: CallFailed) -> Reply:
        seen.append((request, error))
        return good

    bench = Bench(BROKEN, retry=NO_ROUNDS, fallback=cached)
    reply = bench.ask()
    assert (reply.content, reply.provider, reply.fallback) == ("cached", "a", True)
    assert reply.attempts == seen[0][1].attempts
    assert seen[0][0].messages[0]["content"] == "hi"


@pytest.mark.usefixtures("expect_logs")
def test_an_answer_is_no_fallback_and_the_callers_own_mistake_gets_none() -> None:
    assert Bench(answer(), fallback="last").ask().fallback is False
    with pytest.raises(InvalidRequest):
        Bench(refusal(400, "no"), fallback="last").ask()


def test_a_cancelled_call_gets_no_last_answer() -> None:
    from failsafe.deadline import CancelToken

    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        Bench(answer(), fallback="last").ask(cancel=token)


@pytest.mark.usefixtures("expect_logs")
def test_what_the_fallback_raises_or_returns_wrongly_reaches_the_caller() -> None:
    def fails(request: ChatRequest, error: CallFailed) -> str:
        raise LookupError("no such entry")

    with pytest.raises(LookupError, match="no such entry"):
        Bench(BROKEN, retry=NO_ROUNDS, fallback=fails).ask()
    with pytest.raises(ConfigError, match="fallback: the function returned a NoneType"):
        Bench(BROKEN, retry=NO_ROUNDS, fallback=lambda request, error: None).ask()


def test_a_fallback_is_a_text_or_a_function() -> None:
    with pytest.raises(ConfigError, match="fallback = 7: a text, or a function"):
        RouterConfig(providers=Bench(answer()).router.config.providers, fallback=7)  # type: ignore[arg-type]
