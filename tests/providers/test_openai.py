"""The OpenAI dialect: what is sent to whom, what is noted, and what counts as an answer."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo, Quirks, catalog
from failsafe.errors import InvalidRequest
from failsafe.faults import Fault
from failsafe.models import Adjustment, Answer, ChatRequest, Failure, Reply
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.providers.openai import OpenAIDialect
from failsafe.request import build_request

DIALECT = OpenAIDialect()
PLAIN = Target(provider="openai", vendor="openai", model="gpt-4.1")
MISTRAL = Target(
    provider="mistral", vendor="mistral", model="mistral-small",
    quirks=Quirks(
        seed_field="random_seed", temperature_max=1.5, tool_choice_required="any", tool_call_id="[A-Za-z0-9]{9}",
        assistant_between_tool_and_user=True,
    ),
)  # fmt: skip
DEEPSEEK = Target(
    provider="deepseek", vendor="deepseek", model="deepseek-flash",
    quirks=Quirks(returns_reasoning=True, json_schema=False),
)  # fmt: skip

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Ulm"}'},
}
ASKED: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
USER: dict[str, Any] = {"role": "user", "content": "hi"}
BY_ADDRESS = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
AS_DATA = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object"}}}
JSON_MODE = {"type": "json_object"}


def target(quirks: Quirks | None = None, info: ModelInfo | None = None, **changes: Any) -> Target:
    given: dict[str, Any] = {"provider": "acme", "vendor": "acme", "model": "acme-1", **changes}
    return Target(quirks=quirks or Quirks(), info=info or ModelInfo(), **given)


def build(where: Target, messages: Any = "hi", extra: Any = None, **parameters: Any) -> BuiltRequest:
    return DIALECT.build(build_request(messages, "alias", parameters, extra), where)


def sent(where: Target, messages: Any = "hi", extra: Any = None, **parameters: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(build(where, messages, extra, **parameters).body)
    return body


def noted(where: Target, messages: Any = "hi", extra: Any = None, **parameters: Any) -> list[tuple[str, str]]:
    return [(note.parameter, note.action) for note in build(where, messages, extra, **parameters).adjustments]


def sent_messages(where: Target, *messages: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(where, messages)["messages"]
    return found


def test_a_plain_request_is_sent_as_it_is_and_never_as_a_stream() -> None:
    built = build(PLAIN, [{"role": "system", "content": "ä"}, USER], temperature=0.2)
    assert built.path == "/chat/completions"
    assert built.adjustments == ()
    assert json.loads(built.body) == {
        "model": "gpt-4.1", "messages": [{"role": "system", "content": "ä"}, USER], "temperature": 0.2,
    }  # fmt: skip


def test_nothing_is_sent_that_was_not_given() -> None:
    assert sent(PLAIN).keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("where", "field", "notes"),
    [
        (target(), "max_tokens", []),
        (target(Quirks(max_tokens_field="max_completion_tokens")), "max_completion_tokens", ["mapped"]),
        (target(info=ModelInfo(max_tokens_field="max_completion_tokens")), "max_completion_tokens", ["mapped"]),
        (target(refused=frozenset({"max_tokens"})), "max_completion_tokens", ["mapped"]),
        (target(Quirks(max_tokens_field="max_completion_tokens"), refused=frozenset({"max_completion_tokens"})),
         "max_tokens", []),
        (target(refused=frozenset({"max_tokens", "max_completion_tokens"})), None, ["dropped"]),
        (target(info=ModelInfo(refuses=("max_tokens",))), None, ["dropped"]),
    ],
)  # fmt: skip
def test_the_length_limit_goes_into_the_field_that_the_target_takes(
    where: Target, field: str | None, notes: list[str]
) -> None:
    body = sent(where, max_tokens=50)
    assert {name: body[name] for name in body if "tokens" in name} == ({field: 50} if field else {})
    assert noted(where, max_tokens=50) == [("max_tokens", action) for action in notes]


def test_a_length_limit_beyond_the_model_is_clamped() -> None:
    where = target(info=ModelInfo(max_output_tokens=4096))
    assert sent(where, max_tokens=10_000)["max_tokens"] == 4096
    assert build(where, max_tokens=10_000).adjustments == (
        Adjustment(parameter="max_tokens", action="clamped", detail="10000 to 4096"),
    )
    assert noted(where, max_tokens=4096) == []


def test_temperature_is_clamped_to_the_servers_range() -> None:
    assert sent(MISTRAL, temperature=1.7)["temperature"] == 1.5
    assert build(MISTRAL, temperature=1.7).adjustments == (
        Adjustment(parameter="temperature", action="clamped", detail="1.7 to 1.5"),
    )
    assert noted(MISTRAL, temperature=1.5) == []


@pytest.mark.parametrize(
    "where",
    [
        target(Quirks(drops=("temperature", "top_p"))),
        target(info=ModelInfo(refuses=("temperature", "top_p"))),
        target(refused=frozenset({"temperature", "top_p"})),
    ],
)
def test_refused_parameters_are_left_out_and_noted(where: Target) -> None:
    assert sent(where, temperature=0.5, top_p=0.5, user="u").keys() == {"model", "messages", "user"}
    assert noted(where, temperature=0.5, top_p=0.5) == [("temperature", "dropped"), ("top_p", "dropped")]


@pytest.mark.parametrize(
    ("asked", "word", "changes"),
    [
        ("none", "low", [("reasoning_effort", "mapped")]),
        ("minimal", "low", [("reasoning_effort", "mapped")]),
        ("high", "high", []),
        ("max", "xhigh", [("reasoning_effort", "mapped")]),
    ],
)
def test_an_effort_the_model_refuses_gives_way_to_the_nearest_it_takes(asked: str, word: str, changes: Any) -> None:
    words = ("reasoning_effort=none", "reasoning_effort=minimal", "reasoning_effort=max")
    where = target(info=ModelInfo(refuses=words))
    assert sent(where, reasoning_effort=asked)["reasoning_effort"] == word
    assert noted(where, reasoning_effort=asked) == changes


def test_top_logprobs_fall_with_logprobs() -> None:
    where = target(refused=frozenset({"logprobs"}))
    assert sent(where, logprobs=True, top_logprobs=3).keys() == {"model", "messages"}
    assert noted(where, logprobs=True, top_logprobs=3) == [("logprobs", "dropped"), ("top_logprobs", "dropped")]


def test_the_seed_goes_into_the_servers_own_field() -> None:
    assert sent(MISTRAL, seed=7)["random_seed"] == 7
    assert "seed" not in sent(MISTRAL, seed=7)
    assert noted(MISTRAL, seed=7) == [("seed", "mapped")]
    learned = target(Quirks(seed_field="random_seed"), refused=frozenset({"random_seed"}))
    assert noted(learned, seed=7) == [("seed", "dropped")]


def test_stop_texts_are_cut_to_what_the_server_takes() -> None:
    where = target(Quirks(stop_max=2))
    assert sent(where, stop=["a", "b", "c"])["stop"] == ["a", "b"]
    assert noted(where, stop=["a", "b", "c"]) == [("stop", "clamped")]
    assert sent(where, stop="a")["stop"] == "a"
    assert noted(where, stop=("a", "b")) == []
    assert noted(target(Quirks(stop_max=0)), stop="a") == [("stop", "dropped")]


def test_a_required_tool_call_is_said_in_the_servers_word() -> None:
    assert sent(MISTRAL, tools=[TOOL], tool_choice="required")["tool_choice"] == "any"
    assert noted(MISTRAL, tools=[TOOL], tool_choice="required") == [("tool_choice", "mapped")]
    assert sent(PLAIN, tools=[TOOL], tool_choice="required")["tool_choice"] == "required"
    assert noted(MISTRAL, tools=[TOOL], tool_choice="auto") == []


def test_a_tool_choice_is_dropped_only_where_it_says_the_usual() -> None:
    where = target(Quirks(drops=("tool_choice",)))
    assert "tool_choice" not in sent(where, tools=[TOOL], tool_choice="auto")
    for choice in ("required", "none", {"type": "function", "function": {"name": "weather"}}):
        with pytest.raises(CannotExpress, match="tool_choice"):
            build(where, tools=[TOOL], tool_choice=choice)


@pytest.mark.parametrize(
    ("where", "parameters"),
    [
        (target(Quirks(tools=False)), {"tools": [TOOL]}),
        (target(info=ModelInfo(tools=False)), {"tools": [TOOL]}),
        (target(refused=frozenset({"tools"})), {"tools": [TOOL]}),
        (target(Quirks(json_schema=False)), {"response_format": SCHEMA}),
        (target(info=ModelInfo(json_schema=False)), {"response_format": SCHEMA}),
        (target(refused=frozenset({"response_format"})), {"response_format": SCHEMA}),
        (target(Quirks(json_object=False)), {"response_format": JSON_MODE}),
        (target(info=ModelInfo(refuses=("response_format",))), {"response_format": JSON_MODE}),
    ],
)
def test_what_would_change_the_meaning_excludes_the_target(where: Target, parameters: dict[str, Any]) -> None:
    with pytest.raises(CannotExpress):
        build(where, **parameters)


def test_a_history_with_tool_calls_needs_a_target_with_tools() -> None:
    with pytest.raises(CannotExpress, match="tools"):
        build(target(Quirks(tools=False)), [USER, ASKED, RESULT])


def test_a_text_format_is_no_reason_to_leave_a_target_out() -> None:
    where = target(refused=frozenset({"response_format"}))
    assert noted(where, response_format={"type": "text"}) == [("response_format", "dropped")]


def test_json_mode_survives_where_only_the_schema_is_missing() -> None:
    assert sent(DEEPSEEK, response_format=JSON_MODE)["response_format"] == JSON_MODE


@pytest.mark.parametrize(
    ("where", "part"),
    [
        (target(Quirks(images=("data",))), BY_ADDRESS),
        (target(Quirks(images=("url",))), AS_DATA),
        (target(Quirks(images=())), AS_DATA),
        (target(info=ModelInfo(images=False)), BY_ADDRESS),
    ],
)
def test_an_image_of_a_kind_that_the_target_does_not_take_excludes_it(where: Target, part: dict[str, Any]) -> None:
    with pytest.raises(CannotExpress):
        build(where, [{"role": "user", "content": [part]}])


@pytest.mark.parametrize("part", [BY_ADDRESS, AS_DATA])
def test_images_are_sent_as_they_are(part: dict[str, Any]) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "look"}, part]}
    assert sent_messages(PLAIN, message) == [message]
    assert noted(PLAIN, [message]) == []


def test_a_bare_image_address_becomes_the_standard_form() -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": "https://example.org/a.png"}]}
    assert sent_messages(PLAIN, message)[0]["content"] == [BY_ADDRESS]
    assert noted(PLAIN, [message]) == [("messages.content", "rewritten")]


def test_the_developer_role_is_sent_only_to_those_who_know_it() -> None:
    message = {"role": "developer", "content": "be brief"}
    assert sent_messages(PLAIN, message) == [message]
    assert sent_messages(MISTRAL, message) == [{"role": "system", "content": "be brief"}]
    assert noted(MISTRAL, [message, message]) == [("messages.role", "rewritten")]


def test_tool_call_ids_are_rewritten_alike_in_calls_and_results() -> None:
    second = {**CALL, "id": "toolu_2"}
    messages = [{**ASKED, "tool_calls": [CALL, second]}, RESULT, {**RESULT, "tool_call_id": "toolu_2"}]
    calls, first_result, second_result = sent_messages(MISTRAL, *messages)
    ids = [call["id"] for call in calls["tool_calls"]]
    assert [first_result["tool_call_id"], second_result["tool_call_id"]] == ids
    assert len(set(ids)) == 2
    assert all(len(name) == 9 and set(name) <= set(string.ascii_letters + string.digits) for name in ids)
    assert ids == [call["id"] for call in sent_messages(MISTRAL, *messages)[0]["tool_calls"]]
    assert noted(MISTRAL, messages) == [("messages.tool_call_id", "rewritten")]


def test_tool_call_ids_that_fit_are_kept() -> None:
    call = {**CALL, "id": "Ab3456789"}
    messages = [{**ASKED, "tool_calls": [call]}, {**RESULT, "tool_call_id": "Ab3456789"}]
    assert sent_messages(MISTRAL, *messages) == messages
    assert sent_messages(PLAIN, ASKED, RESULT) == [ASKED, RESULT]


def test_an_id_is_left_alone_when_no_letters_and_digits_fit_the_pattern() -> None:
    assert sent_messages(target(Quirks(tool_call_id="call-.+")), ASKED)[0]["tool_calls"][0]["id"] == "call_1"


def test_an_assistant_turn_stands_between_a_tool_result_and_the_user_where_needed() -> None:
    messages = [USER, ASKED, RESULT, RESULT, USER, USER]
    roles = [message["role"] for message in sent_messages(MISTRAL, *messages)]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "user", "user"]
    assert ("messages", "rewritten") in noted(MISTRAL, messages)
    assert len(sent_messages(PLAIN, *messages)) == len(messages)


FOREIGN = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "text", "text": "so", "signature": "s2"},
    ],
    "reasoning_content": "hm",
    "reasoning_details": [{"type": "x"}],
    "provider_data": {"provider": "anthropic", "model": "claude", "data": {"thinking": "secret thoughts"}},
    "tool_calls": [{**CALL, "index": 0, "extra_content": {"google": {"thought_signature": "sig"}}}],
}


def test_history_of_another_provider_is_stripped_of_what_only_that_one_understands() -> None:
    message = sent_messages(PLAIN, FOREIGN)[0]
    assert message == {"role": "assistant", "content": [{"type": "text", "text": "so"}], "tool_calls": [CALL]}
    assert noted(PLAIN, [FOREIGN]) == [
        ("messages.provider_data", "dropped"),
        ("messages.reasoning_content", "dropped"),
        ("messages.reasoning_details", "dropped"),
        ("messages.signature", "dropped"),
        ("messages.content", "dropped"),
        ("messages.tool_calls", "dropped"),
    ]


def test_a_turn_that_was_only_thinking_keeps_a_content() -> None:
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}
    assert sent_messages(PLAIN, thought) == [{"role": "assistant", "content": ""}]
    assert sent_messages(PLAIN, {**thought, "tool_calls": [CALL]})[0]["content"] is None


def test_unknown_message_keys_pass_through_and_nulls_do_not() -> None:
    message = {**USER, "cache_control": {"type": "ephemeral"}, "name": "Ann", "audio": None}
    assert sent_messages(PLAIN, message) == [{**USER, "cache_control": {"type": "ephemeral"}, "name": "Ann"}]


def test_marks_of_the_prompt_cache_reach_only_who_lets_them_stand() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = {**USER, "content": [{"type": "text", "text": "hi", **mark}], **mark}
    tool = {"type": "function", "function": {"name": "f"}}
    sent = json.loads(build(PLAIN, [marked], tools=[{**tool, **mark}]).body)
    assert (sent["messages"], sent["tools"]) == ([marked], [{**tool, **mark}])
    for vendor in ("openai", "azure", "groq", "mistral"):
        where = target(quirks=catalog().presets[vendor].quirks, vendor=vendor)
        built = build(where, [marked], tools=[{**tool, **mark}])
        assert json.loads(built.body)["tools"] == [tool]
        assert json.loads(built.body)["messages"] == [{**USER, "content": [{"type": "text", "text": "hi"}]}]
        assert {each.parameter for each in built.adjustments} >= {"messages.cache_control", "tools.cache_control"}
    assert build(where, [USER], tools=[tool]).adjustments == ()


def test_a_refusal_is_a_field_for_openai_and_a_text_for_others() -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    assert sent_messages(PLAIN, message) == [message]
    assert sent_messages(MISTRAL, message) == [{"role": "assistant", "content": "I cannot."}]
    part = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert sent_messages(PLAIN, part) == [part]
    assert sent_messages(MISTRAL, part)[0]["content"] == [{"type": "text", "text": "No."}]
    assert noted(MISTRAL, [message]) == [("messages.refusal", "rewritten")]


def test_what_only_openais_answers_have_does_not_reach_other_servers_with_the_history() -> None:
    """An SDK appends the whole message; Groq refuses ``annotations`` even where the list is empty."""
    message = {"role": "assistant", "content": "hi", "annotations": [], "audio": {"id": "a"}}
    assert sent_messages(PLAIN, message) == [message]
    assert sent_messages(MISTRAL, message) == [{"role": "assistant", "content": "hi"}]
    assert noted(PLAIN, [message]) == []
    assert noted(MISTRAL, [message]) == [("messages.audio", "dropped")]


def answered(where: Target, body: dict[str, Any]) -> Reply:
    """The reply that a router makes of *body*."""
    answer = DIALECT.read(body, where)
    assert isinstance(answer, Answer)
    fields = {name: getattr(answer, name) for name in Answer.__struct_fields__}
    return Reply(
        **fields, provider=where.provider, asked_model=where.model, request_id=None, latency_ms=1.0,
        attempts=(), skipped=(), adjustments=(),
    )  # fmt: skip


def test_reasoning_goes_back_to_the_provider_and_model_it_came_from_and_nowhere_else() -> None:
    body = completion({"content": None, "reasoning_content": "hm", "tool_calls": [CALL]}, "tool_calls")
    history = [USER, answered(DEEPSEEK, body).message, RESULT]
    assert sent_messages(DEEPSEEK, *history)[1] == {**ASKED, "reasoning_content": "hm"}
    assert noted(DEEPSEEK, history) == []
    other_model = target(provider="deepseek", vendor="deepseek", model="other")
    for where in (PLAIN, other_model):
        assert sent_messages(where, *history)[1] == ASKED
        assert noted(where, history) == [("messages.provider_data", "dropped")]


def test_reasoning_in_a_raw_message_is_kept_for_a_server_that_wants_it() -> None:
    message = {**ASKED, "reasoning_content": "hm"}
    assert sent_messages(DEEPSEEK, message) == [message]
    assert sent_messages(PLAIN, message) == [ASKED]


def test_thought_signatures_go_back_with_their_calls() -> None:
    signature = {"google": {"thought_signature": "sig"}}
    body = completion({"content": "", "tool_calls": [{**CALL, "extra_content": signature}]}, "stop")
    message = answered(PLAIN, body).message
    assert sent_messages(PLAIN, message)[0]["tool_calls"] == [{**CALL, "extra_content": signature}]
    assert sent_messages(MISTRAL, message)[0]["tool_calls"][0].keys() == CALL.keys()


def test_reasoning_details_go_back_with_their_turn() -> None:
    body = completion({"content": "so", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]})
    message = answered(PLAIN, body).message
    assert sent_messages(PLAIN, message)[0]["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "x"}]
    assert sent_messages(MISTRAL, message) == [{"role": "assistant", "content": "so"}]


def test_own_fields_of_the_configuration_lie_under_the_call() -> None:
    where = target(extra={"top_k": 5, "service_tier": "flex", "temperature": 1.0})
    body = sent(where, extra={"top_k": 9}, temperature=0.1)
    assert (body["top_k"], body["service_tier"], body["temperature"]) == (9, "flex", 0.1)


def test_a_free_field_that_the_target_was_seen_to_refuse_is_left_out() -> None:
    where = target(refused=frozenset({"top_k", "min_p"}), extra={"min_p": 0.1})
    assert sent(where, extra={"top_k": 9, "other": 1}).keys() == {"model", "messages", "other"}
    assert sorted(noted(where, extra={"top_k": 9})) == [("min_p", "dropped"), ("top_k", "dropped")]


def test_half_a_surrogate_pair_is_refused_in_the_callers_terms() -> None:
    with pytest.raises(InvalidRequest, match=r"^messages\[0\]\.content = "):
        build(PLAIN, "a\ud800")


def completion(message: Any, finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4.1-2025-04-14",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}], **fields,
    }  # fmt: skip


def read(body: Any, where: Target = PLAIN) -> Answer:
    answer = DIALECT.read(body, where)
    assert isinstance(answer, Answer)
    return answer


def failed(body: Any, where: Target = PLAIN) -> Failure:
    failure = DIALECT.read(body, where)
    assert isinstance(failure, Failure)
    assert failure.maybe_billed
    return failure


def test_a_whole_answer_is_read() -> None:
    usage = {
        "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }  # fmt: skip
    body = completion({"role": "assistant", "content": "hi", "refusal": None}, usage=usage, service_tier="default")
    answer = read(body)
    assert (answer.content, answer.finish_reason, answer.model, answer.id) == (
        "hi", "stop", "gpt-4.1-2025-04-14", "chatcmpl-1",
    )  # fmt: skip
    assert answer.raw is body
    assert (answer.refusal, answer.reasoning, answer.provider_data, answer.tool_calls) == (None, None, None, ())
    counted = answer.usage
    assert (counted.prompt_tokens, counted.completion_tokens, counted.total_tokens) == (20, 9, 29)
    assert (counted.cached_tokens, counted.cache_write_tokens, counted.reasoning_tokens) == (12, 3, 4)


@pytest.mark.parametrize(
    ("word", "message", "reason"),
    [
        ("stop", {"content": "x"}, "stop"),
        ("length", {"content": "x"}, "length"),
        ("length", {"content": ""}, "length"),
        ("stop", {"content": ""}, "stop"),
        ("model_length", {"content": "x"}, "length"),
        ("eos", {"content": "x"}, "stop"),
        ("STOP", {"content": "x"}, "stop"),
        ("tool_calls", {"content": None, "tool_calls": [CALL]}, "tool_calls"),
        ("stop", {"content": None, "tool_calls": [CALL]}, "tool_calls"),
        ("length", {"content": None, "tool_calls": [CALL]}, "length"),
        ("function_call", {"content": None, "function_call": CALL["function"]}, "tool_calls"),
        ("something_new", {"content": "x"}, "stop"),
        (None, {"content": "x"}, "stop"),
        (None, {"content": None, "tool_calls": [CALL]}, "tool_calls"),
        (None, {"content": None, "refusal": "no"}, "stop"),
    ],
)
def test_finish_reasons_are_normalised(word: Any, message: dict[str, Any], reason: str) -> None:
    assert read(completion(message, word)).finish_reason == reason


@pytest.mark.parametrize(
    ("body", "fault", "said"),
    [
        (None, Fault.MALFORMED, "no object"),
        ([], Fault.MALFORMED, "no object"),
        ("<html>", Fault.MALFORMED, "no object"),
        ({}, Fault.MALFORMED, "no choices"),
        ({"choices": []}, Fault.MALFORMED, "no choices"),
        ({"choices": None, "message": "upstream timed out"}, Fault.MALFORMED, "upstream timed out"),
        ({"choices": ["x"]}, Fault.MALFORMED, "choices[0]"),
        ({"choices": [{"finish_reason": "stop"}]}, Fault.MALFORMED, "no message"),
        ({"choices": [{"finish_reason": "stop", "message": "hi"}]}, Fault.MALFORMED, "no message"),
        (completion({"content": ""}, None), Fault.MALFORMED, "empty"),
        (completion({"content": None}, "something_new"), Fault.MALFORMED, "empty"),
        (completion({"tool_calls": [{"id": "1"}]}, "tool_calls"), Fault.MALFORMED, "no function name"),
        (completion({"content": "half"}, "error"), Fault.SERVER, "gave up"),
        (completion({"content": "half"}, "insufficient_system_resource"), Fault.OVERLOADED, "capacity"),
        ({"error": {"message": "upstream broke", "code": 502}}, Fault.SERVER, "upstream broke"),
        ({"error": "No capacity"}, Fault.SERVER, "No capacity"),
        ({"object": "error", "message": "bad day", "type": "internal"}, Fault.SERVER, "bad day"),
        ({"choices": [{"error": {"message": "cut off"}, "message": {"content": "x"}}]}, Fault.SERVER, "cut off"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_why(body: Any, fault: Fault, said: str) -> None:
    failure = failed(body)
    assert failure.fault is fault
    assert said in failure.message


@pytest.mark.parametrize(
    ("error", "code"),
    [({"code": 502}, "502"), ({"type": "server_error"}, "server_error"), ({"code": {}}, None), ("x", None)],
)
def test_an_error_inside_a_success_keeps_the_providers_code(error: Any, code: str | None) -> None:
    assert failed({"error": error}).code == code


def test_the_code_beside_a_bare_sentence_is_kept() -> None:
    assert failed({"code": "The service is busy", "error": "Try later"}).code == "The service is busy"


def test_an_echoed_key_is_masked_and_a_long_error_shortened() -> None:
    message = failed({"error": {"message": "key sk-proj-abcdef12345 " + "x" * 10**5}}).message
    assert "abcdef" not in message
    assert len(message) < 500


def test_a_filtered_answer_is_a_failure_with_the_text_so_far() -> None:
    failure = failed(completion({"content": "The first"}, "content_filter"))
    assert (failure.fault, failure.partial) == (Fault.CONTENT_FILTER, "The first")


def test_an_empty_error_field_is_no_error() -> None:
    assert read(completion({"content": "hi"}, error=None)).content == "hi"


def test_parts_of_thinking_models_are_told_apart() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]
    answer = read(completion({"content": parts}))
    assert (answer.content, answer.reasoning) == ("so", "hm")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_from_either_field(field: str) -> None:
    answer = read(completion({"content": "so", field: "hm"}))
    assert answer.reasoning == "hm"
    assert answer.provider_data is None
    assert read(completion({"content": "so", "reasoning_content": "hm"}), DEEPSEEK).provider_data == {
        "reasoning_content": "hm"
    }


def test_a_refusal_is_an_answer() -> None:
    answer = read(completion({"content": None, "refusal": "I cannot."}))
    assert (answer.content, answer.refusal) == ("", "I cannot.")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"a": 1}', '{"a": 1}'), ("{broken", "{broken"), ("", "{}"), (None, "{}"), ({"a": 1}, '{"a": 1}')],
)
def test_arguments_become_json_text_and_text_stays_as_it_is(arguments: Any, text: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert read(completion({"tool_calls": [call]}, "tool_calls")).tool_calls[0].arguments == text


def test_calls_without_an_id_or_with_a_used_one_get_one_of_their_own_always_the_same() -> None:
    nameless = {"function": {"name": "f", "arguments": "{}"}}
    body = completion({"tool_calls": [nameless, {**nameless, "id": ""}, CALL, CALL]}, "tool_calls")
    ids = [call.id for call in read(body).tool_calls]
    assert len(set(ids)) == 4
    assert all(ids)
    assert ids[2] == "call_1"
    assert ids == [call.id for call in read(copy.deepcopy(body)).tool_calls]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, (0, 0, 0, 0)),
        ([], (0, 0, 0, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5}, (10, 5, 0, 0)),
        ({"prompt_tokens": -1, "completion_tokens": "5"}, (0, 0, 0, 0)),
        ({"prompt_tokens": True, "completion_tokens": float("nan")}, (0, 0, 0, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None}, (10, 5, 0, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}, (10, 5, 8, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}}, (10, 5, 10, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22,
          "completion_tokens_details": {"reasoning_tokens": 7}}, (10, 12, 0, 7)),
        ({"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19,
          "completion_tokens_details": {"reasoning_tokens": 7}}, (10, 9, 0, 7)),
    ],
)  # fmt: skip
def test_usage_is_counted_alike_for_every_server(usage: Any, counts: tuple[int, ...]) -> None:
    found = read(completion({"content": "x"}, usage=usage)).usage
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens, found.reasoning_tokens) == counts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def loosely(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """A mapping of which every field may be missing, right or anything."""
    return st.fixed_dictionaries({}, optional={name: value | json_values for name, value in fields.items()})


functions = loosely({"name": st.just("f"), "arguments": st.just("{}")})
calls = loosely({"id": st.just("c"), "function": functions, "extra_content": json_values})
parts = loosely({"type": st.sampled_from(["text", "thinking"]), "text": st.text(), "thinking": json_values})
answers = loosely(
    {"content": st.text() | st.lists(parts, max_size=3), "tool_calls": st.lists(calls, max_size=3),
     "refusal": st.text(), "reasoning_content": st.text(), "function_call": functions}
)  # fmt: skip
words = st.sampled_from(["stop", "length", "error", "content_filter", "new"])
choices = loosely({"message": answers, "finish_reason": words, "error": json_values})
details = loosely({"cached_tokens": st.integers(), "reasoning_tokens": st.integers()})
usages = loosely(
    {"prompt_tokens": st.integers(), "completion_tokens": st.integers(), "total_tokens": st.integers(),
     "prompt_tokens_details": details, "completion_tokens_details": details}
)  # fmt: skip
bodies = loosely({"choices": st.lists(choices, max_size=2), "usage": usages, "error": json_values, "object": st.text()})


@given(bodies | json_values)
def test_reading_never_raises_and_never_gives_an_impossible_answer(body: Any) -> None:
    for where in (PLAIN, DEEPSEEK):
        found = DIALECT.read(body, where)
        assert isinstance(found, Answer | Failure)
        if isinstance(found, Answer):
            usage = found.usage
            assert 0 <= usage.cached_tokens <= usage.prompt_tokens
            assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
            assert len({call.id for call in found.tool_calls}) == len(found.tool_calls)


def test_a_body_nested_without_end_is_a_failure() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    call = {"id": "c", "function": {"name": "f", "arguments": deep}}
    assert isinstance(DIALECT.read(completion({"tool_calls": [call]}), PLAIN), Failure)


texts = st.text(max_size=10)
extra_keys = st.dictionaries(
    st.sampled_from(["reasoning_content", "cache_control", "extra_content", "index"]), json_values
)
messages = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": texts}),
        st.just(FOREIGN),
        st.just(ASKED),
        st.builds(lambda extra: {**ASKED, **extra}, extra_keys),
        st.just({"role": "user", "content": [{"type": "text", "text": "x"}, AS_DATA, BY_ADDRESS]}),
        st.just({"role": "assistant", "content": None, "refusal": "no"}),
    ),
    min_size=1,
    max_size=5,
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2), "max_tokens": st.integers(1, 9999), "stop": st.lists(texts, max_size=6),
        "seed": st.integers(), "tools": st.just([TOOL]), "response_format": st.sampled_from([SCHEMA, JSON_MODE]),
    },
)  # fmt: skip


@given(messages, parameters, st.sampled_from([PLAIN, MISTRAL, DEEPSEEK, target(refused=frozenset({"temperature"}))]))
def test_building_never_changes_the_callers_objects(history: Any, given_: Any, where: Target) -> None:
    request = ChatRequest(model="alias", messages=history, parameters=given_, extra={"top_k": [1]})
    before = copy.deepcopy((history, given_, request.extra))
    try:
        built = DIALECT.build(request, where)
    except (CannotExpress, InvalidRequest):
        pass
    else:
        assert len(set(built.adjustments)) == len(built.adjustments)
    assert repr((history, given_, request.extra)) == repr(before)
