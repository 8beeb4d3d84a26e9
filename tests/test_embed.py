"""Embeddings through the router: the failover of chats, and never the vectors of another model."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe import (
    AllProvidersFailed,
    DeadlineExceeded,
    EmbedReply,
    Fault,
    HedgeConfig,
    InvalidRequest,
    ModelNotFound,
    Router,
    RouterClosed,
)
from failsafe.models import SkipReason
from failsafe.testing import (
    NO_BACKOFF,
    FakeClock,
    RecordedEvents,
    ScriptedProvider,
    answer,
    failing,
    hanging,
    refusal,
    scripted_router,
    vectors,
)

SMALL, LARGE = "text-embedding-3-small", "text-embedding-3-large"
TWO = vectors([0.1, 0.2], [0.3, 0.4])


def router(*providers: ScriptedProvider, **settings: Any) -> Router:
    return scripted_router(*providers, **{"retry": NO_BACKOFF, **settings})


def provider(name: str, *outcomes: Any, **settings: Any) -> ScriptedProvider:
    return ScriptedProvider(name, *outcomes, **{"models": [SMALL, LARGE, "gpt-4.1"], **settings})


def test_each_text_gets_its_vector_and_the_reply_its_receipt() -> None:
    first = provider("first", vectors([0.1, 0.2], [0.3, 0.4], x_request_id="req-1"))
    with router(first) as asked:
        reply = asked.embed(["a", "b"], model=SMALL)
    assert isinstance(reply, EmbedReply)
    assert [list(vector) for vector in reply.vectors] == [[0.1, 0.2], [0.3, 0.4]]
    assert (reply.provider, reply.model, reply.asked_model, reply.request_id) == ("first", SMALL, SMALL, "req-1")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (4, 0)
    assert len(reply.attempts) == 1
    (sent,) = first.requests
    assert sent.path == "/embeddings"
    assert (sent.body["model"], sent.body["input"]) == (SMALL, ["a", "b"])


def test_one_text_gives_one_vector() -> None:
    with router(provider("first", vectors([1.0, 0.0]))) as asked:
        assert [list(vector) for vector in asked.embed("a", model=SMALL).vectors] == [[1.0, 0.0]]


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.TIMEOUT, Fault.NETWORK, Fault.RATE_LIMIT])
def test_a_failure_goes_on_to_the_next_provider_of_the_same_model(fault: Fault) -> None:
    with router(provider("first", failing(fault)), provider("second", TWO)) as asked:
        reply = asked.embed(["a", "b"], model=SMALL)
    assert reply.provider == "second"
    assert [attempt.fault for attempt in reply.attempts] == [fault, None]


def test_a_provider_of_another_model_is_not_asked() -> None:
    other = provider("other", TWO, models=[LARGE])
    first = provider("first", failing(Fault.OVERLOADED), max_retries=0)
    with router(first, other) as asked, pytest.raises(AllProvidersFailed):
        asked.embed("a", model=SMALL)
    assert other.asked == 0


def test_an_alias_of_chat_models_is_refused_in_words() -> None:
    first = provider("first", TWO)
    refused = pytest.raises(InvalidRequest, match="vectors of different models cannot be compared")
    with router(first, aliases={"fast": ["gpt-4.1"]}) as asked, refused:
        asked.embed("a", model="fast")
    assert first.asked == 0


def test_what_is_declared_to_be_the_same_model_answers() -> None:
    first = provider("first", failing(Fault.OVERLOADED))
    second = provider("second", vectors([1.0], model="deployment"), models=["deployment"])
    with router(first, second, embeddings={"docs": [SMALL, "second:deployment"]}) as asked:
        reply = asked.embed("a", model="docs")
    assert (reply.provider, reply.asked_model) == ("second", "deployment")


def test_a_name_in_embeddings_comes_before_an_alias_of_the_same_name() -> None:
    first = provider("first", vectors([1.0]))
    with router(first, aliases={"docs": ["gpt-4.1"]}, embeddings={"docs": [SMALL]}) as asked:
        assert asked.embed("a", model="docs").asked_model == SMALL


def test_vectors_of_another_known_model_are_refused(expect_logs: pytest.LogCaptureFixture) -> None:
    first = provider("first", vectors([1.0], model=LARGE))
    with router(first, provider("second", vectors([1.0]))) as asked:
        reply = asked.embed("a", model=SMALL)
    assert reply.provider == "second"
    assert f"vectors of {LARGE}, and {SMALL} was asked for" in reply.attempts[0].message


def test_vectors_of_another_length_than_before_are_refused(expect_logs: pytest.LogCaptureFixture) -> None:
    first = provider("first", vectors([1.0, 2.0]), failing(Fault.OVERLOADED))
    second = provider("second", vectors([1.0, 2.0, 3.0]))
    third = provider("third", vectors([3.0, 4.0]))
    with router(first, second, third) as asked:
        asked.embed("a", model=SMALL)
        reply = asked.embed("a", model=SMALL)
    assert reply.provider == "third"
    assert [attempt.fault for attempt in reply.attempts] == [Fault.OVERLOADED, Fault.MODEL, None]
    assert f"vectors of 3 numbers, where {SMALL} gave 2 before" in reply.attempts[1].message


def test_after_a_reset_the_next_answer_decides() -> None:
    first = provider("first", vectors([1.0, 2.0]), vectors([1.0, 2.0, 3.0]))
    with router(first) as asked:
        asked.embed("a", model=SMALL)
        asked.reset()
        assert len(asked.embed("a", model=SMALL).vectors[0]) == 3


def test_shorter_vectors_that_were_asked_for_are_no_contradiction() -> None:
    first = provider("first", vectors([1.0, 2.0, 3.0]), vectors([1.0, 2.0]))
    with router(first) as asked:
        asked.embed("a", model=SMALL)
        assert len(asked.embed("a", model=SMALL, dimensions=2).vectors[0]) == 2
    assert first.requests[1].body["dimensions"] == 2


@pytest.mark.parametrize(
    "spoilt", [vectors(), vectors([1.0]), vectors([1.0], [2.0], [3.0]), vectors([1.0], [1.0, 2.0]), answer()]
)
def test_an_answer_with_anything_but_a_vector_a_text_fails_over(spoilt: Any) -> None:
    with router(provider("first", spoilt), provider("second", TWO)) as asked:
        reply = asked.embed(["a", "b"], model=SMALL)
    assert reply.provider == "second"
    assert reply.attempts[0].fault is Fault.MALFORMED


def test_an_api_without_embeddings_is_left_out_and_the_receipt_says_so() -> None:
    none = provider("none", dialect="anthropic", base_url="https://scripted.invalid")
    with router(none, provider("second", TWO)) as asked:
        reply = asked.embed(["a", "b"], model=SMALL)
    assert reply.provider == "second"
    assert none.asked == 0


def test_nobody_who_serves_it_is_a_clear_error() -> None:
    with router(provider("first", TWO, models=["gpt-4.1"])) as asked, pytest.raises(ModelNotFound, match=SMALL):
        asked.embed("a", model=SMALL)


def test_a_wrong_request_of_the_callers_own_is_raised_at_once() -> None:
    first, second = provider("first", refusal(400, "input is wrong", code="invalid")), provider("second", TWO)
    with router(first, second) as asked, pytest.raises(InvalidRequest):
        asked.embed(["a", "b"], model=SMALL)
    assert second.asked == 0


@pytest.mark.parametrize("texts", ["", [], [""], [1], None, {"a": 1}, ["a"] * 2049])
def test_texts_that_nobody_takes_are_refused_before_anything_is_sent(texts: Any) -> None:
    first = provider("first", TWO)
    with router(first) as asked, pytest.raises(InvalidRequest, match="texts"):
        asked.embed(texts, model=SMALL)
    assert first.asked == 0


def test_the_deadline_holds() -> None:
    clock = FakeClock()
    with router(provider("first", hanging(clock)), clock=clock) as asked, pytest.raises(DeadlineExceeded):
        asked.embed("a", model=SMALL, timeout=3)
    assert clock.monotonic() == pytest.approx(1003.0)


def test_the_options_of_a_call_choose_who_answers() -> None:
    first, second = provider("first", TWO, tags=["us"]), provider("second", TWO, tags=["eu"])
    with router(first, second) as asked:
        assert asked.embed(["a", "b"], model=SMALL, only="eu").provider == "second"
        assert asked.embed(["a", "b"], model=SMALL, exclude="first").provider == "second"


def test_no_text_of_the_routers_own_answers_for_vectors() -> None:
    first = provider("first", failing(Fault.OVERLOADED), max_retries=0)
    with router(first, fallback="I am sorry") as asked, pytest.raises(AllProvidersFailed):
        asked.embed("a", model=SMALL)


def test_how_long_embeddings_take_says_nothing_about_chats() -> None:
    with router(provider("first", vectors([1.0]))) as asked:
        asked.embed("a", model=SMALL)
        assert asked.stats()["first"]["p95_ms"] is None
        assert asked.stats()["first"]["successes"] == 1


def test_listeners_are_told_as_of_any_call() -> None:
    events = RecordedEvents()
    with router(provider("first", vectors([1.0]))) as asked:
        asked.on_event(events, sync=True)
        asked.embed("a", model=SMALL)
    assert [type(event).__name__ for event in events.all] == ["AttemptFinished", "CallFinished"]


def test_a_hedge_may_answer() -> None:
    first, second = provider("first", vectors([1.0])), provider("second", vectors([1.0]))
    with router(first, second, hedge=HedgeConfig(delay=10.0)) as asked:
        assert asked.embed("a", model=SMALL).provider == "first"


def test_a_closed_router_refuses() -> None:
    asked = router(provider("first", TWO))
    asked.close()
    with pytest.raises(RouterClosed):
        asked.embed("a", model=SMALL)


def test_a_breaker_that_is_open_for_chats_is_open_for_embeddings() -> None:
    first, second = provider("first", TWO), provider("second", TWO)
    with router(first, second) as asked:
        asked.breakers.get("first").force_open("for this test")
        reply = asked.embed(["a", "b"], model=SMALL)
    assert [skip.reason for skip in reply.skipped] == [SkipReason.BREAKER_OPEN]
    assert reply.provider == "second"
