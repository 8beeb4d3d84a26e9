"""Several keys, several models, windows, refused parameters: what of one provider may still be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from failsafe.errors import AllProvidersFailed, ContextWindowExceeded, InvalidRequest, UnsupportedParameter
from failsafe.events import ModelSubstituted
from failsafe.faults import Fault
from failsafe.models import SkipReason
from failsafe.policy_config import RetryConfig
from failsafe.testing import Outcome, SentRequest, answer, refusal
from tests.router_bench import BROKEN, LIMITED, Bench, Script, failing

pytestmark = pytest.mark.usefixtures("expect_logs")

TWO = {"fast": ["small-1", "small-2"]}
PATIENT = RetryConfig(jitter=False, base_delay=0.5)
KEYS = {"api_key": ["k1-x", "k2-x", "k3-x"]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def by_model(**outcomes: Outcome) -> Script:
    """A script that answers each model in its own way; ``_`` in a name stands for ``-``."""
    table: Mapping[str, Outcome] = {name.replace("_", "-"): outcome for name, outcome in outcomes.items()}
    return lambda request: table[request.body["model"]]


def by_key(**outcomes: Outcome) -> Script:
    """A script that answers each key in its own way."""

    def play(request: SentRequest) -> Outcome:
        assert request.key is not None
        return outcomes[request.key.reveal()[:2]]

    return play


def picky(*refused: str, code: str = "unsupported_parameter") -> Script:
    """A script that refuses the first of *refused* that the request holds, else answers."""

    def play(request: SentRequest) -> Outcome:
        for name in refused:
            if name in request.body:
                return failing(Fault.UNSUPPORTED_PARAMETER, parameter=name, code=code)
        return answer()

    return play


# Keys.


@pytest.mark.parametrize("fault", [Fault.AUTH, Fault.QUOTA, Fault.RATE_LIMIT, Fault.PERMISSION])
def test_every_other_key_stands_in_once_and_then_the_next_provider(fault: Fault) -> None:
    bench = Bench(failing(fault), answer(), of_provider=KEYS)
    reply = bench.ask()
    assert [attempt.provider for attempt in reply.attempts] == ["a", "a", "a", "b"]
    assert len({attempt.key for attempt in reply.attempts[:3]}) == 3


def test_other_keys_stand_in_without_retries_or_budget() -> None:
    bench = Bench(
        by_key(k1=failing(Fault.AUTH), k2=failing(Fault.AUTH), k3=answer()), of_provider={**KEYS, "max_retries": 0}
    )
    assert bench.ask().provider == "a"
    assert bench.endpoint().admission.budget.available == 10


@pytest.mark.parametrize("hint", [1e-9, 0.001])
def test_a_tiny_hint_does_not_make_one_call_hammer_a_provider_with_several_keys(hint: float) -> None:
    bench: Bench

    def play(request: SentRequest) -> Outcome:
        bench.clock.advance(0.01)
        return failing(Fault.RATE_LIMIT, retry_after=hint)

    bench = Bench(play, of_provider={**KEYS, "max_retries": 2})
    assert isinstance(bench.lose(timeout=60), AllProvidersFailed)
    assert bench.asked()["a"] == 3 + 2  # the other two keys once, and three tries


def test_with_every_key_off_the_provider_is_left_alone_until_the_first_comes_back() -> None:
    bench = Bench((failing(Fault.RATE_LIMIT, retry_after=30.0), failing(Fault.RATE_LIMIT, retry_after=10.0), answer()),
                  answer(), of_provider={"api_key": ["k1-x", "k2-x"]})  # fmt: skip
    bench.ask()
    (skip,) = bench.ask().skipped
    assert skip.retry_after is not None
    assert 10 <= skip.retry_after <= 11
    bench.clock.advance(11)
    assert bench.ask().attempts[0].key == bench.router.config.providers[0].keys[1].fingerprint


def test_each_model_has_its_own_turns_of_the_keys() -> None:
    bench = Bench(answer(), of_provider={"api_key": ["k1-x", "k2-x"]})
    for _ in range(4):
        bench.ask(model="m-1")
        bench.ask(model="m-2")
    for model in ("m-1", "m-2"):
        keys = [request.key for request in bench.transports["a"].requests if request.body["model"] == model]
        assert keys[0] != keys[1]
        assert keys[:2] == keys[2:]


def test_a_key_that_may_not_use_a_model_is_passed_over_for_that_model_only() -> None:
    bench = Bench(by_key(k1=failing(Fault.PERMISSION), k2=answer()), of_provider={"api_key": ["k1-x", "k2-x"]})
    for _ in range(4):
        bench.ask()
    assert len(bench.transports["a"].requests) == 5


# Models of an alias.


@pytest.mark.parametrize("fault", [Fault.MODEL, Fault.PERMISSION])
def test_the_next_model_of_the_alias_stands_in_at_once_for_one_the_provider_has_not_got(fault: Fault) -> None:
    bench = Bench(by_model(small_1=failing(fault), small_2=answer(model="small-2")), answer(), aliases=TWO,
                  of_provider={"max_retries": 0})  # fmt: skip
    assert bench.ask(model="fast").model == "small-2"
    assert bench.ask(model="fast").model == "small-2"
    assert bench.models("a") == ["small-1", "small-2", "small-2"]
    assert bench.clock.waits == []


def test_a_model_that_cools_is_left_to_the_next_provider_first() -> None:
    bench = Bench(by_model(small_1=LIMITED, small_2=answer(model="small-2")), answer(model="small-1"), aliases=TWO)
    assert bench.ask(model="fast").provider == "b"
    assert bench.ask(model="fast").provider == "b"


def test_a_free_model_of_the_alias_is_taken_rather_than_waiting_for_a_better_one() -> None:
    bench = Bench(by_model(small_1=LIMITED, small_2=answer(model="small-2")), aliases=TWO, retry=PATIENT)
    assert bench.ask(model="fast").model == "small-2"
    assert bench.clock.waits == [0.5]
    assert bench.ask(model="fast").model == "small-2"
    assert bench.clock.waits == [0.5, 0.001]


def test_a_model_that_cannot_be_asked_leaves_the_others_of_the_provider_in_play() -> None:
    bench = Bench(answer(model="gpt-4.1"), aliases={"any": ["gpt-3.5-turbo", "gpt-4.1"]},
                  of_provider={"preset": "openai"})  # fmt: skip
    reply = bench.ask(model="any", response_format=SCHEMA)
    assert reply.model == "gpt-4.1"


def test_nobody_who_can_express_the_request_is_reported_without_a_request_or_a_wait() -> None:
    bench = Bench(answer(), of_provider={"quirks": {"tools": False}})
    error = bench.lose(tools=[TOOL])
    assert isinstance(error, AllProvidersFailed)
    assert [skip.reason for skip in error.skipped] == [SkipReason.CANNOT_EXPRESS]
    assert bench.asked() == {"a": 0}
    assert bench.clock.waits == []


# Windows.

TOO_LONG = failing(Fault.CONTEXT)


def test_a_prompt_too_long_goes_to_the_larger_model_of_the_same_provider() -> None:
    bench = Bench(by_model(small=TOO_LONG, large=answer(model="large")), aliases={"long": ["small", "large"]},
                  of_provider={"max_retries": 0})  # fmt: skip
    reply = bench.ask(model="long")
    assert reply.model == "large"
    assert reply.skipped == ()


def test_models_known_to_read_no_more_are_left_out_everywhere() -> None:
    windows = {"a": {"models": ["gpt-4.1"]}, "b": {"models": ["gpt-4o"]}, "c": {"models": ["gpt-4.1-mini"]}}
    bench = Bench(TOO_LONG, answer(), answer(), aliases={"any": ["gpt-4o", "gpt-4.1", "gpt-4.1-mini"]}, each=windows)
    error = bench.lose(model="any")
    assert isinstance(error, ContextWindowExceeded)
    assert bench.asked() == {"a": 1, "b": 0, "c": 0}


def test_a_larger_model_that_only_cools_makes_it_everyones_failure_and_says_when() -> None:
    each = {"a": {"models": ["gpt-4o"]}, "b": {"models": ["gpt-4.1"]}}
    bench = Bench(
        TOO_LONG, failing(Fault.RATE_LIMIT, retry_after=50.0), each=each, aliases={"any": ["gpt-4o", "gpt-4.1"]}
    )
    bench.lose(model="gpt-4.1", timeout=5)
    error = bench.lose(model="any", timeout=5)
    assert isinstance(error, AllProvidersFailed)
    assert error.retry_after is not None
    assert "not asked: its context window" not in str(error)


def test_what_was_left_out_for_its_window_is_on_the_receipt() -> None:
    each = {"a": {"models": ["gpt-4o"]}, "b": {"models": ["gpt-4o"]}, "c": {"models": ["gpt-4.1"]}}
    bench = Bench(TOO_LONG, answer(), answer(model="gpt-4.1"), each=each, aliases={"any": ["gpt-4o", "gpt-4.1"]})
    reply = bench.ask(model="any")
    assert reply.provider == "c"
    assert [(skip.provider, skip.detail) for skip in reply.skipped] == [
        ("b", "its context window is no larger than gpt-4o's")
    ]


# Refused parameters.


def test_several_refused_parameters_are_left_out_one_by_one_without_retries() -> None:
    bench = Bench(picky("seed", "top_p", "user"), of_provider={"max_retries": 0})
    reply = bench.ask(seed=7, top_p=0.5, user="me", temperature=0.1)
    assert {adjustment.parameter for adjustment in reply.adjustments} == {"seed", "top_p", "user"}
    assert len(reply.attempts) == 4
    assert bench.clock.waits == []
    assert len(bench.ask(seed=7, top_p=0.5, user="me").attempts) == 1


@pytest.mark.parametrize("name", ["messages", "model", "stream", "nonsense", None])
def test_what_cannot_be_left_out_goes_to_the_next_provider_and_is_not_repeated(name: str | None) -> None:
    bench = Bench(failing(Fault.UNSUPPORTED_PARAMETER, parameter=name), answer())
    assert [attempt.provider for attempt in bench.ask(seed=1).attempts] == ["a", "b"]


@pytest.mark.parametrize("parameters", [{"tools": [TOOL]}, {"response_format": {"type": "json_object"}}])
def test_what_carries_the_meaning_is_never_left_out(parameters: dict[str, Any]) -> None:
    (name,) = parameters
    bench = Bench(picky(name), answer())
    reply = bench.ask(**parameters)
    assert reply.provider == "b"
    assert name in bench.transports["b"].requests[0].body


def test_a_refusal_by_everyone_is_the_callers_own_error_and_names_the_parameter() -> None:
    bench = Bench(picky("response_format"), picky("response_format"))
    error = bench.lose(response_format={"type": "json_object"})
    assert isinstance(error, UnsupportedParameter)
    assert error.parameter == "response_format"
    assert len(error.attempts) == 2


def test_a_server_that_goes_on_refusing_is_not_asked_for_ever() -> None:
    bench = Bench(failing(Fault.UNSUPPORTED_PARAMETER, parameter="seed"), answer())
    assert [attempt.provider for attempt in bench.ask(seed=7).attempts] == ["a", "a", "b"]


def test_free_fields_of_the_call_are_left_out_too_and_listed() -> None:
    bench = Bench(picky("top_k"))
    reply = bench.ask(extra={"top_k": 5})
    assert [(change.parameter, change.action) for change in reply.adjustments] == [("top_k", "dropped")]


def test_a_refusal_is_learnt_only_when_the_request_passes_without_the_parameter() -> None:
    bench = Bench(
        (failing(Fault.UNSUPPORTED_PARAMETER, parameter="seed"), BROKEN, answer()),
        answer(),
        of_provider={"max_retries": 9},
    )
    bench.ask(seed=7)
    assert bench.router.stats()["a"]["refused_parameters"] == {}
    bench.ask(seed=7)
    assert bench.transports["a"].requests[-1].body["seed"] == 7


def test_what_was_learnt_shows_in_the_stats_and_is_forgotten_after_an_hour_or_a_reset() -> None:
    bench = Bench(picky("seed"))
    bench.ask(seed=7)
    assert bench.router.stats()["a"]["refused_parameters"] == {"gpt-4.1": ["seed"]}
    bench.clock.advance(3599)
    assert len(bench.ask(seed=7).attempts) == 1
    bench.clock.advance(2)
    assert len(bench.ask(seed=7).attempts) == 2
    bench.router.reset()
    assert bench.router.stats()["a"]["refused_parameters"] == {}
    assert len(bench.ask(seed=7).attempts) == 2


def test_what_one_model_refuses_another_is_still_sent() -> None:
    bench = Bench(lambda request: picky("seed")(request) if request.body["model"] == "m-1" else answer(model="m-2"))  # type: ignore[operator]
    bench.ask(model="m-1", seed=7)
    bench.ask(model="m-2", seed=7)
    assert bench.transports["a"].requests[-1].body["seed"] == 7


def test_a_limit_on_the_length_that_was_too_large_is_sent_again_by_the_next_call() -> None:
    """Or one call with too large a limit would take the limit, and the bound on the cost, from all that follow."""

    def play(request: SentRequest) -> Outcome:
        for name in ("max_tokens", "max_completion_tokens"):
            if request.body.get(name, 0) > 1000:
                return failing(Fault.UNSUPPORTED_PARAMETER, parameter=name)
        return answer()

    bench = Bench(play)
    reply = bench.ask(max_tokens=100_000)
    assert ("max_tokens", "dropped") in [(change.parameter, change.action) for change in reply.adjustments]
    bench.ask(max_tokens=50)
    assert 50 in bench.transports["a"].requests[-1].body.values()


def test_the_other_name_of_the_limit_on_the_length_is_learnt() -> None:
    bench = Bench(picky("max_tokens"))
    bench.ask(max_tokens=50)
    bench.ask(max_tokens=60)
    assert [request.body.get("max_completion_tokens") for request in bench.transports["a"].requests] == [None, 50, 60]


# Requests that turn out wrong in the middle of a call.


def test_a_request_found_wrong_by_the_second_providers_dialect_brings_the_receipt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(BROKEN, answer())

    def build(request: object, target: object) -> object:
        raise InvalidRequest("messages[0] = 1: a mapping is needed; nothing was sent")

    monkeypatch.setattr(bench.endpoint("b"), "dialect", type("Dialect", (), {"build": staticmethod(build)})())
    error = bench.lose()
    assert isinstance(error, InvalidRequest)
    assert [attempt.provider for attempt in error.attempts] == ["a"]
    assert error.__cause__ is None


def test_a_request_too_large_is_refused_before_anything_is_sent() -> None:
    bench = Bench(answer(), max_request_bytes=2048)
    with pytest.raises(InvalidRequest, match="max_request_bytes"):
        bench.router.chat("x" * 3000, model="gpt-4.1")
    assert bench.asked() == {"a": 0}
    assert bench.breaker().probes_in_flight == 0


# The model that answers.


def test_another_model_than_the_one_asked_for_is_told_once() -> None:
    bench = Bench(answer(model="gpt-4.1-mini"))
    assert [bench.ask().model for _ in range(3)] == ["gpt-4.1-mini"] * 3
    told = [event for event in bench.events if isinstance(event, ModelSubstituted)]
    assert [(event.asked_model, event.model) for event in told] == [("gpt-4.1", "gpt-4.1-mini")]


def test_a_server_that_makes_up_model_names_cannot_flood_the_log() -> None:
    bench = Bench(lambda request: answer(model=f"made-up-{request.body['seed']}"))
    for number in range(300):
        bench.ask(seed=number)
    assert len([event for event in bench.events if isinstance(event, ModelSubstituted)]) == 256


def test_an_answer_that_names_no_model_is_taken_at_its_word() -> None:
    assert Bench(answer(model="")).ask().model == "gpt-4.1"


def test_refusal_in_words_of_a_real_provider_is_dropped_by_name() -> None:
    bench = Bench((refusal(400, "Unrecognized request argument supplied: top_k"), answer()))
    assert len(bench.ask(extra={"top_k": 5}).attempts) == 2
