"""One call on its way over scripted providers: who is asked, when, and what the caller gets."""

from __future__ import annotations

import pytest

from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import (
    AllProvidersFailed,
    Cancelled,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
)
from failsafe.events import CircuitState
from failsafe.faults import Fault
from failsafe.models import SkipReason
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.testing import Outcome, answer, refusal
from tests.router_bench import BROKEN, LIMITED, REFUSED, Bench


def test_the_first_provider_answers_and_nobody_else_is_asked() -> None:
    bench = Bench(answer("hi"), answer("no"))
    reply = bench.router.chat("Say hi", model="gpt-4.1")
    assert (reply.content, reply.provider, reply.model) == ("hi", "a", "gpt-4.1")
    assert [attempt.fault for attempt in reply.attempts] == [None]
    assert bench.asked() == {"a": 1, "b": 0}


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("failure", [BROKEN, REFUSED, LIMITED, refusal(401, "bad key"), refusal(404, "no such model")])
def test_the_next_provider_answers_at_once_when_the_first_fails(failure: Outcome) -> None:
    bench = Bench(failure, answer("from b"))
    reply = bench.router.chat("hi", model="gpt-4.1")
    assert reply.provider == "b"
    assert [attempt.provider for attempt in reply.attempts] == ["a", "b"]
    assert bench.clock.waits == []


def test_a_caller_mistake_is_raised_at_once_and_nobody_else_is_asked() -> None:
    bench = Bench(refusal(400, "messages: too many of them"), answer())
    with pytest.raises(InvalidRequest, match=r"a: .*too many of them") as raised:
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 1, "b": 0}
    assert len(raised.value.attempts) == 1


def test_a_round_that_failed_is_followed_by_backoff_and_another_round() -> None:
    bench = Bench((BROKEN, answer("second try")), BROKEN, retry=RetryConfig(jitter=False, base_delay=0.5))
    reply = bench.router.chat("hi", model="gpt-4.1")
    assert reply.provider == "a"
    assert bench.clock.waits == [0.5]
    assert [(attempt.provider, attempt.round) for attempt in reply.attempts] == [("a", 1), ("b", 1), ("a", 2)]


def test_no_more_rounds_than_configured_and_the_report_lists_every_attempt() -> None:
    bench = Bench(BROKEN, REFUSED, retry=RetryConfig(max_retries=1))
    with pytest.raises(AllProvidersFailed) as raised:
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 2, "b": 2}
    text = str(raised.value)
    assert text.count("a (gpt-4.1): server: ") == 2
    assert text.count("b (gpt-4.1): network: connection refused") == 2
    assert "=> a: " in text
    assert "=> b: " in text


def test_the_last_wait_never_passes_the_deadline() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(base_delay=5, max_delay=5, jitter=False))
    with pytest.raises(AllProvidersFailed):
        bench.router.chat("hi", model="gpt-4.1", timeout=3)
    assert bench.clock.waits == []
    assert bench.asked() == {"a": 1}


def test_a_provider_is_tried_no_more_than_its_max_retries_allow() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(max_retries=9), of_provider={"max_retries": 1})
    with pytest.raises(AllProvidersFailed):
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 2}


def test_a_hanging_provider_leaves_every_other_one_its_slice() -> None:
    bench: Bench = Bench(lambda request: bench.hang(request), lambda request: bench.hang(request), answer("from c"))
    reply = bench.router.chat("hi", model="gpt-4.1", timeout=10)
    assert reply.provider == "c"
    ends = [bench.transports[name].requests[0].limits.deadline.expires_at for name in "abc"]
    assert ends == pytest.approx([1008, 1009, 1010])


def test_all_hanging_ends_with_the_deadline_and_the_whole_receipt() -> None:
    bench: Bench = Bench(*[lambda request: bench.hang(request)] * 3)
    with pytest.raises(DeadlineExceeded) as raised:
        bench.router.chat("hi", model="gpt-4.1", timeout=3)
    assert [attempt.provider for attempt in raised.value.attempts] == ["a", "b", "c"]
    assert bench.clock.monotonic() == pytest.approx(1003)


def test_an_unlimited_deadline_is_bounded_by_the_providers_own_limit() -> None:
    bench: Bench = Bench(lambda request: bench.hang(request), answer())
    bench.router.chat("hi", model="gpt-4.1", timeout=Deadline.unlimited())
    assert bench.transports["a"].requests[0].limits.deadline.timeout == pytest.approx(30.0)


def test_a_rate_limited_provider_with_a_healthy_second_costs_the_call_no_wait() -> None:
    bench = Bench((LIMITED, answer("a again")), answer("from b"))
    assert bench.router.chat("hi", model="gpt-4.1").provider == "b"
    bench.clock.advance(19.9)
    assert bench.router.chat("hi", model="gpt-4.1").provider == "b"
    bench.clock.advance(2.2)
    assert bench.router.chat("hi", model="gpt-4.1").provider == "a"
    assert bench.clock.waits == []


def test_when_all_cool_the_call_waits_for_the_first_that_fits_the_deadline() -> None:
    bench = Bench((LIMITED, answer("at last")), refusal(429, "slow", code="rate_limit_exceeded", retry_after="50"))
    reply = bench.router.chat("hi", model="gpt-4.1", timeout=60)
    assert reply.provider == "a"
    assert len(bench.clock.waits) == 1
    assert 20 <= bench.clock.waits[0] <= 22.01


def test_when_all_cool_for_longer_than_the_deadline_the_call_fails_at_once_and_says_when() -> None:
    bench = Bench(LIMITED)
    with pytest.raises(AllProvidersFailed) as raised:
        bench.router.chat("hi", model="gpt-4.1", timeout=5)
    assert bench.clock.waits == []
    assert raised.value.retry_after is not None
    assert 20 <= raised.value.retry_after <= 22


@pytest.mark.usefixtures("expect_logs")
def test_five_failures_open_the_breaker_and_the_provider_is_left_alone() -> None:
    bench = Bench(BROKEN, answer())
    for _ in range(8):
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 5, "b": 8}
    assert bench.router.breakers.get("a").state is CircuitState.OPEN
    reply = bench.router.chat("hi", model="gpt-4.1")
    assert [(skip.provider, skip.reason) for skip in reply.skipped] == [("a", SkipReason.BREAKER_OPEN)]


def test_one_poison_call_adds_one_to_the_streak_however_often_it_is_repeated() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(max_retries=2))
    with pytest.raises(AllProvidersFailed):
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 3}
    assert bench.router.breakers.get("a").stats().streak == 1


@pytest.mark.usefixtures("expect_logs")
def test_three_good_probes_close_the_breaker_again() -> None:
    bench = Bench((*[BROKEN] * 5, answer("well")), answer())
    for _ in range(5):
        bench.router.chat("hi", model="gpt-4.1")
    bench.clock.advance(60)
    for _ in range(3):
        assert bench.router.chat("hi", model="gpt-4.1").provider == "a"
    assert bench.router.breakers.get("a").state is CircuitState.CLOSED


@pytest.mark.usefixtures("expect_logs")
def test_a_rejected_key_is_left_alone_and_the_second_key_of_the_provider_answers() -> None:
    bench = Bench(
        (refusal(401, "bad key", code="invalid_api_key"), answer()), of_provider={"api_key": ["k1-x", "k2-x"]}
    )
    reply = bench.router.chat("hi", model="gpt-4.1")
    assert [attempt.fault for attempt in reply.attempts] == [Fault.AUTH, None]
    assert len({attempt.key for attempt in reply.attempts}) == 2
    assert bench.router.breakers.get("a").stats().streak == 0


def test_keys_take_turns() -> None:
    bench = Bench(answer(), of_provider={"api_key": ["k1-x", "k2-x", "k3-x"]})
    for _ in range(6):
        bench.router.chat("hi", model="gpt-4.1")
    used = [request.key for request in bench.transports["a"].requests]
    assert len(set(used)) == 3
    assert used[:3] == used[3:]


def test_a_cancelled_token_ends_the_backoff() -> None:
    bench = Bench(BROKEN)
    token = CancelToken()
    with bench.clock.during_wait(token.cancel), pytest.raises(Cancelled) as raised:
        bench.router.chat("hi", model="gpt-4.1", cancel=token)
    assert len(raised.value.attempts) == 1


def test_a_cancelled_token_ends_the_call_before_anything_is_sent() -> None:
    bench = Bench(answer())
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        bench.router.chat("hi", model="gpt-4.1", cancel=token)
    assert bench.asked() == {"a": 0}


def test_a_content_filter_raises_unless_the_policy_fails_over() -> None:
    filtered = refusal(400, "filtered", code="content_filter")
    with pytest.raises(ContentFiltered):
        Bench(filtered, answer()).router.chat("hi", model="gpt-4.1")
    lenient = Bench(filtered, answer(), failover_on_content_filter=True)
    assert lenient.router.chat("hi", model="gpt-4.1").provider == "b"


def test_a_prompt_too_long_for_the_same_model_everywhere_raises_its_own_error() -> None:
    bench = Bench(refusal(400, "too long", code="context_length_exceeded"), answer())
    with pytest.raises(ContextWindowExceeded):
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 1, "b": 0}


def test_a_refused_parameter_is_dropped_once_listed_and_left_out_from_then_on() -> None:
    picky = refusal(400, "Unsupported parameter: 'seed' is not supported", code="unsupported_parameter")
    bench = Bench((picky, answer()))
    reply = bench.router.chat("hi", model="gpt-4.1", seed=7)
    assert [adjustment.parameter for adjustment in reply.adjustments] == ["seed"]
    bench.router.chat("hi", model="gpt-4.1", seed=7)
    assert ["seed" in request.body for request in bench.transports["a"].requests] == [True, False, False]


@pytest.mark.usefixtures("expect_logs")
def test_an_alias_falls_back_to_the_models_it_lists_and_to_no_other() -> None:
    bench = Bench(refusal(404, "gone", code="model_not_found"), aliases={"fast": ["small-1", "small-2"]})
    with pytest.raises(AllProvidersFailed):
        bench.router.chat("hi", model="fast")
    assert [request.body["model"] for request in bench.transports["a"].requests] == ["small-1", "small-2"]


def test_an_unknown_model_is_refused_before_anything_is_sent_and_the_error_suggests() -> None:
    bench = Bench(answer(), of_provider={"models": ["gpt-4.1"]})
    with pytest.raises(ModelNotFound, match=r"did you mean gpt-4\.1"):
        bench.router.chat("hi", model="gpt-4-1")
    assert bench.asked() == {"a": 0}


def test_html_in_a_200_is_never_an_answer() -> None:
    page = answer()
    html = type(page)(status=200, headers=page.headers, body=b"<html>welcome</html>")
    bench = Bench(html, answer("from b"))
    reply = bench.router.chat("hi", model="gpt-4.1")
    assert reply.provider == "b"
    assert reply.attempts[0].fault is Fault.MALFORMED
    assert "HTML" in reply.attempts[0].message


def test_a_hurried_caller_does_not_open_the_breaker() -> None:
    bench: Bench = Bench(lambda request: bench.hang(request))
    for _ in range(6):
        with pytest.raises(DeadlineExceeded):
            bench.router.chat("hi", model="gpt-4.1", timeout=0.2)
    assert bench.router.breakers.get("a").state is CircuitState.CLOSED


def test_a_repeated_try_spends_the_retry_budget_and_failover_does_not() -> None:
    bench = Bench(
        BROKEN, answer(), retry=RetryConfig(max_retries=5), breaker=CircuitBreakerConfig(failure_threshold=100)
    )
    for _ in range(30):
        bench.router.chat("hi", model="gpt-4.1")
    alone = Bench(BROKEN, breaker=CircuitBreakerConfig(failure_threshold=100))
    for _ in range(30):
        with pytest.raises(AllProvidersFailed):
            alone.router.chat("hi", model="gpt-4.1")
    assert bench.asked() == {"a": 30, "b": 30}
    assert alone.asked() == {"a": 40}  # 30 first tries and the 10 the budget holds


@pytest.mark.usefixtures("expect_logs")
def test_wrong_key_everywhere_reports_the_diagnosis() -> None:
    bench = Bench(refusal(401, "Incorrect API key provided", code="invalid_api_key"))
    with pytest.raises(AllProvidersFailed, match="replace the key"):
        bench.router.chat("hi", model="gpt-4.1")


def test_equal_priorities_share_by_weight() -> None:
    bench = Bench(answer(), answer(), of_provider={"priority": 1})
    for _ in range(200):
        bench.router.chat("hi", model="gpt-4.1")
    assert 60 < bench.asked()["a"] < 140


def test_the_report_names_what_was_not_asked_and_why() -> None:
    bench = Bench(LIMITED, BROKEN)
    with pytest.raises(AllProvidersFailed):
        bench.router.chat("hi", model="gpt-4.1", timeout=5)
    with pytest.raises(AllProvidersFailed, match=r"a \(gpt-4\.1\): not asked: left alone for another"):
        bench.router.chat("hi", model="gpt-4.1", timeout=5)
