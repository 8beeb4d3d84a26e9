"""Anthropic's Messages dialect: what is sent, what is read, and what is said about it."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo, Quirks
from failsafe.faults import Fault
from failsafe.models import Answer, ChatRequest, Failure, Reply
from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.base import BuiltRequest, CannotExpress, Dialect, Target
from failsafe.request import build_request

DIALECT: Dialect = AnthropicDialect()
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOLS_CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Paris and Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "18 C"},
    {"role": "tool", "tool_call_id": "call_2", "content": "24 C"},
    {"role": "user", "content": "Which is warmer?"},
]
ANSWER: dict[str, Any] = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi! My name is Claude."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 2095,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 503,
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "standard",
    },
}
THINKING_BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Two cities.", "signature": "EqQB"},
    {"type": "redacted_thinking", "data": "EmwK"},
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
]


def target(model: str = "claude-x", **info: Any) -> Target:
    return Target(provider="anthropic", vendor="anthropic", model=model, info=ModelInfo(**info))


def build(
    messages: Any = HELLO, to: Target | None = None, extra: dict[str, Any] | None = None, **parameters: Any
) -> BuiltRequest:
    return DIALECT.build(build_request(messages, "some-model", parameters, extra), to or target())


def body_of(built: BuiltRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(built.body)
    return body


def sent(messages: Any = HELLO, to: Target | None = None, **parameters: Any) -> dict[str, Any]:
    return body_of(build(messages, to, **parameters))


def noted(built: BuiltRequest) -> dict[str, str]:
    return {adjustment.parameter: adjustment.action for adjustment in built.adjustments}


def read(body: Any) -> Answer | Failure:
    return DIALECT.read(body, target())


def answered(body: Any) -> Answer:
    answer = read(body)
    assert isinstance(answer, Answer), answer
    return answer


def failed(body: Any) -> Failure:
    failure = read(body)
    assert isinstance(failure, Failure), failure
    return failure


def reply_to(answer: Answer, provider: str = "anthropic", model: str = "claude-x") -> Reply:
    return Reply(
        content=answer.content, provider=provider, model=answer.model, asked_model=model,
        finish_reason=answer.finish_reason, tool_calls=answer.tool_calls, usage=answer.usage, id=answer.id,
        request_id=None, refusal=None, reasoning=answer.reasoning, latency_ms=1.0, attempts=(), skipped=(),
        adjustments=(), provider_data=answer.provider_data, raw=answer.raw,
    )  # fmt: skip


# What is sent: messages


def test_a_plain_prompt_becomes_a_message_with_the_length_anthropic_needs() -> None:
    built = build()
    assert built.path == "/v1/messages"
    assert body_of(built) == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    }
    assert noted(built) == {"max_tokens": "mapped"}


def test_a_tool_conversation_puts_all_results_and_the_next_question_into_one_user_turn() -> None:
    built = build(TOOLS_CONVERSATION, tools=[WEATHER], max_tokens=100)
    body = body_of(built)
    assert body["system"] == [{"type": "text", "text": "Be brief."}]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Paris and Rome?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "18 C"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "24 C"},
                {"type": "text", "text": "Which is warmer?"},
            ],
        },
    ]
    assert built.adjustments == ()


def test_system_and_developer_texts_are_hoisted_and_one_amid_the_conversation_is_noted() -> None:
    built = build([
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}]},
        *HELLO,
        {"role": "system", "content": "three"},
    ])  # fmt: skip
    assert body_of(built)["system"] == [
        {"type": "text", "text": "one"},
        {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "three"},
    ]
    assert noted(built)["messages[3]"] == "rewritten"
    assert "messages[0]" not in noted(built)


def test_neighbouring_messages_of_one_role_become_one_turn() -> None:
    built = build([*HELLO, {"role": "user", "content": "again"}])
    assert [turn["role"] for turn in body_of(built)["messages"]] == ["user"]
    assert [block["text"] for block in body_of(built)["messages"][0]["content"]] == ["hello", "again"]
    assert noted(built)["messages"] == "rewritten"


def test_images_go_as_bytes_or_address_with_their_media_type_corrected_and_cache_marks_kept() -> None:
    built = build([
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,QUJD"}, "cache_control": {"x": 1}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "high"}},
            ],
        }
    ])  # fmt: skip
    assert body_of(built)["messages"][0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"},
            "cache_control": {"x": 1},
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ]
    assert noted(built)["messages[0].content[1].image_url.detail"] == "dropped"


@pytest.mark.parametrize(
    "to",
    [
        target(images=False),
        Target(provider="p", vendor="p", model="m", quirks=Quirks(images=("url",))),
    ],
)
def test_images_a_target_does_not_read_exclude_it(to: Target) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    with pytest.raises(CannotExpress, match=r"messages\[0\]\.content\[0\]"):
        build([{"role": "user", "content": [picture]}], to)


def test_a_content_part_anthropic_does_not_know_excludes_it() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}
    with pytest.raises(CannotExpress, match="input_audio"):
        build([{"role": "user", "content": [sound]}])


def test_empty_texts_are_left_out_and_noted() -> None:
    built = build([{"role": "system", "content": " "}, {"role": "user", "content": ""}, *HELLO])
    assert "system" not in body_of(built)
    assert [block["text"] for block in body_of(built)["messages"][0]["content"]] == ["hello"]
    assert noted(built)["messages[0].content"] == noted(built)["messages[1].content"] == "dropped"


def test_a_tool_result_without_text_is_sent_without_content() -> None:
    conversation = copy.deepcopy(TOOLS_CONVERSATION)
    conversation[3]["content"] = ""
    assert sent(conversation, tools=[WEATHER])["messages"][2]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "call_1",
    }


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "system", "content": "alone"}], "needs a user message"),
        ([{"role": "user", "content": ""}], "needs a user message"),
        ([{"role": "assistant", "content": "first"}, *HELLO], "speak first"),
    ],
)
def test_a_conversation_that_does_not_begin_with_the_user_excludes_anthropic(messages: Any, said: str) -> None:
    with pytest.raises(CannotExpress, match=said):
        build(messages)


def test_a_begun_answer_is_sent_without_its_trailing_space() -> None:
    built = build([*HELLO, {"role": "assistant", "content": "It is \n"}])
    assert body_of(built)["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "It is"}]}
    assert noted(built)["messages"] == "rewritten"


def test_a_begun_answer_excludes_a_model_that_refuses_it() -> None:
    begun = [*HELLO, {"role": "assistant", "content": "It is"}]
    with pytest.raises(CannotExpress, match="begun"):
        build(begun, target(refuses=("prefill",)))


def test_a_participants_name_and_other_keys_are_dropped_and_noted() -> None:
    built = build([{"role": "user", "content": "hello", "name": "ann", "weight": 1}])
    assert body_of(built)["messages"] == sent()["messages"]
    assert noted(built)["messages[0].name"] == noted(built)["messages[0].weight"] == "dropped"


def test_a_cache_mark_on_a_message_marks_its_last_block() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    conversation = [{**message, **mark} for message in TOOLS_CONVERSATION]
    body = sent(conversation, tools=[WEATHER])
    assert body["system"] == [{"type": "text", "text": "Be brief.", **mark}]
    assert [[("cache_control" in block) for block in turn["content"]] for turn in body["messages"]] == [
        [True],
        [False, True],
        [True, True, True],
    ]


def test_a_refusal_in_the_history_is_told_as_text() -> None:
    body = sent([*HELLO, {"role": "assistant", "content": None, "refusal": "I cannot."}, *HELLO])
    assert body["messages"][1]["content"] == [{"type": "text", "text": "I cannot."}]


def test_past_tool_calls_without_definitions_exclude_anthropic() -> None:
    with pytest.raises(CannotExpress, match="tools="):
        build(TOOLS_CONVERSATION)


@pytest.mark.parametrize("arguments", ["[1]", "{", "\ud800"])
def test_arguments_that_are_no_object_exclude_this_target_only(arguments: str) -> None:
    conversation = copy.deepcopy(TOOLS_CONVERSATION)
    conversation[2]["tool_calls"][1]["function"]["arguments"] = arguments
    with pytest.raises(CannotExpress, match=re.escape("messages[2].tool_calls[1].function.arguments")):
        DIALECT.build(
            ChatRequest(model="m", messages=conversation, parameters={"tools": [WEATHER]}),
            target(),
        )


def test_empty_arguments_become_an_empty_input() -> None:
    conversation = copy.deepcopy(TOOLS_CONVERSATION)
    conversation[2]["tool_calls"][0]["function"]["arguments"] = ""
    assert sent(conversation, tools=[WEATHER])["messages"][1]["content"][0]["input"] == {}


def test_tool_call_ids_of_another_shape_are_rewritten_alike_in_call_and_result_and_in_every_request() -> None:
    conversation = copy.deepcopy(TOOLS_CONVERSATION)
    conversation[2]["tool_calls"][0]["id"] = conversation[3]["tool_call_id"] = "functions.get_weather:0"
    built = build(conversation, tools=[WEATHER])
    turns = body_of(built)["messages"]
    identity = turns[1]["content"][0]["id"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", identity)
    assert turns[2]["content"][0]["tool_use_id"] == identity
    assert turns[1]["content"][1]["id"] == "call_2"
    assert noted(built)["messages"] == "rewritten"
    assert build(conversation, tools=[WEATHER]).body == built.body


def test_a_tool_call_id_used_again_is_told_apart() -> None:
    again = copy.deepcopy(TOOLS_CONVERSATION[2:])
    turns = sent([*TOOLS_CONVERSATION, *again], tools=[WEATHER])["messages"]
    ids = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    results = [block["tool_use_id"] for turn in turns for block in turn["content"] if block["type"] == "tool_result"]
    assert len(set(ids)) == 4
    assert results == ids


# What is sent: history bound to a provider


def test_a_models_own_thinking_goes_back_to_it_unchanged() -> None:
    answer = answered({**ANSWER, "content": THINKING_BLOCKS, "stop_reason": "tool_use"})
    message = reply_to(answer).message
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "18 C"}
    for history in (message, json.loads(json.dumps(message))):
        built = build([*HELLO, history, result], tools=[WEATHER])
        assert body_of(built)["messages"][1] == {"role": "assistant", "content": THINKING_BLOCKS}
        assert noted(built) == {"max_tokens": "mapped"}


@pytest.mark.parametrize(("provider", "model"), [("other", "claude-x"), ("anthropic", "claude-y")])
def test_thinking_of_another_provider_or_model_is_dropped_and_noted(provider: str, model: str) -> None:
    answer = answered({**ANSWER, "content": THINKING_BLOCKS, "stop_reason": "tool_use"})
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "18 C"}
    built = build([*HELLO, reply_to(answer, provider, model).message, result], tools=[WEATHER])
    assert body_of(built)["messages"][1]["content"] == THINKING_BLOCKS[2:]
    assert noted(built)["messages"] == "dropped"
    assert b"provider_data" not in built.body


def test_an_answer_the_caller_edited_is_sent_as_edited() -> None:
    answer = answered({**ANSWER, "content": THINKING_BLOCKS[:3]})
    message = {**reply_to(answer).message, "content": "[redacted]"}
    built = build([*HELLO, message, *HELLO])
    assert body_of(built)["messages"][1]["content"] == [{"type": "text", "text": "[redacted]"}]
    assert noted(built)["messages"] == "dropped"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "yes", "reasoning_content": "hm"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]},
        {"role": "assistant", "content": "yes", "extra_content": {"google": {"thought_signature": "hm"}}},
        {"role": "assistant", "content": "yes", "provider_data": {"provider": "x", "model": "y", "data": {"a": "hm"}}},
    ],
)
def test_reasoning_made_elsewhere_is_stripped_and_noted(message: dict[str, Any]) -> None:
    built = build([*HELLO, message, *HELLO])
    assert body_of(built)["messages"][1]["content"] == [{"type": "text", "text": "yes"}]
    assert b"hm" not in built.body
    assert noted(built)["messages"] == "dropped"


# What is sent: parameters


def test_a_given_length_is_kept_and_one_too_long_is_clamped() -> None:
    assert sent(max_tokens=10)["max_tokens"] == 10
    built = build(to=target(max_output_tokens=8192), max_tokens=10_000)
    assert body_of(built)["max_tokens"] == 8192
    assert noted(built) == {"max_tokens": "clamped"}
    assert sent(to=target(max_output_tokens=1000))["max_tokens"] == 1000


def test_a_length_configured_for_the_provider_replaces_the_default_only() -> None:
    to = Target(provider="p", vendor="p", model="m", extra={"max_tokens": 9000})
    assert sent(to=to)["max_tokens"] == 9000
    assert sent(to=to, max_tokens=5)["max_tokens"] == 5


def test_temperature_is_clamped_to_one() -> None:
    built = build(temperature=1.7, max_tokens=5)
    assert body_of(built)["temperature"] == 1.0
    assert [(a.parameter, a.action, a.detail) for a in built.adjustments] == [("temperature", "clamped", "1.7 to 1")]


@pytest.mark.parametrize(
    "to",
    [
        target(refuses=("temperature", "top_p")),
        Target(provider="p", vendor="p", model="m", refused=frozenset({"temperature", "top_p"})),
        Target(provider="p", vendor="p", model="m", quirks=Quirks(drops=("temperature", "top_p"))),
    ],
)
def test_sampling_a_model_refuses_is_dropped_and_noted(to: Target) -> None:
    built = build(to=to, temperature=0.5, top_p=0.9, max_tokens=5)
    assert not {"temperature", "top_p"} & body_of(built).keys()
    assert noted(built) == {"temperature": "dropped", "top_p": "dropped"}


def test_of_two_samplings_refused_together_temperature_stays() -> None:
    to = target(refuses=("temperature+top_p",))
    built = build(to=to, temperature=0.5, top_p=0.9, max_tokens=5)
    assert body_of(built)["temperature"] == 0.5
    assert noted(built) == {"top_p": "dropped"}
    assert sent(to=to, top_p=0.9)["top_p"] == 0.9


def test_stop_texts_of_white_space_are_left_out() -> None:
    built = build(stop=["END", "\n"], max_tokens=5)
    assert body_of(built)["stop_sequences"] == ["END"]
    assert noted(built) == {"stop": "dropped"}
    assert "stop_sequences" not in sent(stop="\n\n")


def test_a_refusal_learned_in_anthropics_word_counts_for_the_parameter() -> None:
    to = Target(provider="p", vendor="p", model="m", refused=frozenset({"stop_sequences"}))
    built = build(to=to, stop="END", max_tokens=5)
    assert "stop_sequences" not in body_of(built)
    assert noted(built) == {"stop": "dropped"}


def test_tools_keep_name_description_schema_and_cache_mark() -> None:
    tool = {**WEATHER, "cache_control": {"type": "ephemeral"}}
    bare = {"type": "function", "function": {"name": "now"}}
    assert sent(tools=[tool, bare])["tools"] == [
        {
            "name": "get_weather",
            "description": "The weather of a city",
            "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_a_tools_schema_without_a_type_is_called_an_object() -> None:
    built = build(tools=[{"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}])
    assert body_of(built)["tools"][0]["input_schema"] == {"type": "object", "properties": {}}
    assert noted(built)["tools[0].function.parameters"] == "rewritten"


def test_a_strict_tool_is_closed_and_one_anthropic_cannot_hold_is_not_strict() -> None:
    def strict(age: dict[str, Any]) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {"age": age}}
        return {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}

    held = build(tools=[strict({"type": "integer"})])
    assert body_of(held)["tools"][0]["strict"] is True
    assert body_of(held)["tools"][0]["input_schema"]["additionalProperties"] is False
    assert noted(held)["tools[0].function.parameters"] == "rewritten"
    loose = build(tools=[strict({"type": "integer", "minimum": 0})])
    assert "strict" not in body_of(loose)["tools"][0]
    assert noted(loose)["tools[0].function.strict"] == "dropped"


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("required", True, {"type": "any"}),
        (None, True, None),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            False,
            {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tool_choice_has_an_equivalent(choice: Any, parallel: bool | None, expected: Any) -> None:
    body = sent(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == expected


@pytest.mark.parametrize("to", [target(tools=False), target(refuses=("tools",))])
def test_tools_exclude_a_model_without_them(to: Target) -> None:
    with pytest.raises(CannotExpress, match="tools"):
        build(to=to, tools=[WEATHER])


def json_schema(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


def test_a_json_schema_is_closed_on_a_copy_and_noted() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}
    form = json_schema(copy.deepcopy(schema), strict=True)
    built = build(response_format=form, max_tokens=5)
    assert body_of(built)["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "object", "properties": {}, "additionalProperties": False}},
            "additionalProperties": False,
        },
    }
    assert form["json_schema"]["schema"] == schema
    assert noted(built) == {"response_format.json_schema.schema": "rewritten"}


@pytest.mark.parametrize(
    ("form", "to", "said"),
    [
        ({"type": "json_object"}, target(), "JSON mode"),
        (json_schema({"type": "object"}), target(json_schema=False), "JSON schema"),
        (json_schema({"type": "object"}), target(refuses=("response_format",)), "response_format"),
        (json_schema({"type": "object", "properties": {"n": {"minimum": 1}}}), target(), "minimum at properties.n"),
        (json_schema({"type": "object", "additionalProperties": True}), target(), "additionalProperties at the root"),
    ],
)
def test_a_form_anthropic_cannot_hold_excludes_it(form: Any, to: Target, said: str) -> None:
    with pytest.raises(CannotExpress, match=said):
        build(to=to, response_format=form)


def test_a_schemas_description_is_dropped_and_noted() -> None:
    built = build(response_format=json_schema({"type": "string"}, description="an answer"), max_tokens=5)
    assert noted(built) == {"response_format.json_schema.description": "dropped"}


def test_plain_text_as_form_asks_for_nothing() -> None:
    assert "output_config" not in sent(response_format={"type": "text"})


def test_a_begun_answer_cannot_be_held_to_a_schema() -> None:
    with pytest.raises(CannotExpress, match="begun"):
        build([*HELLO, {"role": "assistant", "content": "{"}], response_format=json_schema({"type": "object"}))


@pytest.mark.parametrize(
    ("effort", "limit", "budget", "max_tokens"),
    [
        ("minimal", None, 1024, 5120),
        ("low", None, 2048, 6144),
        ("high", None, 16384, 20480),
        ("high", 4000, 2000, 4000),
        ("high", 1500, 1024, 1500),
        ("high", 15000, 10904, 15000),
    ],
)
def test_an_effort_becomes_a_budget_below_max_tokens(effort: str, limit: Any, budget: int, max_tokens: int) -> None:
    built = build(to=target(thinking="budget"), reasoning_effort=effort, max_tokens=limit)
    body = body_of(built)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == max_tokens
    assert budget < max_tokens
    assert noted(built)["reasoning_effort"] == "mapped"


def test_an_effort_becomes_a_word_for_a_model_that_budgets_itself() -> None:
    body = sent(to=target(thinking="adaptive"), reasoning_effort="high")
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "high"}
    minimal = build(to=target(thinking="adaptive"), reasoning_effort="minimal")
    assert body_of(minimal)["output_config"] == {"effort": "low"}
    assert noted(minimal)["reasoning_effort"] == "mapped"
    assert sent(to=target(thinking="adaptive"), reasoning_effort="none")["thinking"] == {"type": "disabled"}
    refusing = target(thinking="adaptive", refuses=("reasoning_effort=xhigh", "reasoning_effort=max"))
    assert sent(to=refusing, reasoning_effort="xhigh")["output_config"] == {"effort": "high"}


def test_no_effort_is_what_a_model_with_a_budget_does_anyway() -> None:
    built = build(to=target(thinking="budget"), reasoning_effort="none")
    assert "thinking" not in body_of(built)
    assert body_of(built)["max_tokens"] == 4096
    assert noted(built)["reasoning_effort"] == "mapped"


def test_a_forced_tool_leaves_an_adaptive_model_its_effort_only() -> None:
    parameters: dict[str, Any] = {"reasoning_effort": "high", "tools": [WEATHER], "tool_choice": "required"}
    built = build(to=target(thinking="adaptive"), **parameters)
    assert "thinking" not in body_of(built)
    assert body_of(built)["output_config"] == {"effort": "high"}
    assert noted(built)["reasoning_effort"] == "mapped"


def test_effort_and_schema_share_one_field() -> None:
    body = sent(to=target(thinking="adaptive"), reasoning_effort="low", response_format=json_schema({"type": "string"}))
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "string"}},
    }


@pytest.mark.parametrize("to", [target(), target(thinking="budget", refuses=("reasoning_effort",))])
def test_an_effort_without_a_known_way_is_dropped_and_noted(to: Target) -> None:
    built = build(to=to, reasoning_effort="high")
    assert not {"thinking", "output_config"} & body_of(built).keys()
    assert noted(built)["reasoning_effort"] == "dropped"


@pytest.mark.parametrize(
    ("messages", "parameters"),
    [
        (HELLO, {"tools": [WEATHER], "tool_choice": "required"}),
        (HELLO, {"max_tokens": 1024}),
        ([*HELLO, {"role": "assistant", "content": "It"}], {}),
        (TOOLS_CONVERSATION, {"tools": [WEATHER]}),
    ],
)
def test_where_anthropic_refuses_thinking_it_is_dropped_and_noted(messages: Any, parameters: dict[str, Any]) -> None:
    built = build(messages, target(thinking="budget"), reasoning_effort="high", **parameters)
    assert "thinking" not in body_of(built)
    assert noted(built)["reasoning_effort"] == "dropped"
    assert body_of(built)["max_tokens"] in (4096, 1024)


def test_a_tool_call_made_with_thinking_is_answered_with_thinking() -> None:
    answer = answered({**ANSWER, "content": THINKING_BLOCKS, "stop_reason": "tool_use"})
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "18 C"}
    to = target(thinking="budget")
    body = sent([*HELLO, reply_to(answer).message, result], to, reasoning_effort="low", tools=[WEATHER])
    assert body["thinking"]["type"] == "enabled"


def test_sampling_gives_way_to_thinking() -> None:
    built = build(to=target(thinking="budget"), reasoning_effort="low", temperature=0.2, top_p=0.5)
    assert not {"temperature", "top_p"} & body_of(built).keys()
    assert noted(built)["temperature"] == noted(built)["top_p"] == "dropped"
    body = sent(to=target(thinking="adaptive"), reasoning_effort="none", temperature=0.2)
    assert body["temperature"] == 0.2


def test_parameters_without_an_equivalent_are_dropped_and_noted() -> None:
    built = build(
        seed=1, presence_penalty=0.5, frequency_penalty=0.5, logit_bias={"1": 2}, logprobs=True, top_logprobs=2,
        metadata={"a": "b"}, user="u-1", max_tokens=5,
    )  # fmt: skip
    assert body_of(built).keys() == {"model", "messages", "max_tokens", "metadata"}
    assert body_of(built)["metadata"] == {"user_id": "u-1"}
    assert set(noted(built)) == {
        "seed", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "metadata",
    }  # fmt: skip
    assert set(noted(built).values()) == {"dropped"}


def test_free_fields_go_along_and_win_over_the_configured_ones() -> None:
    to = Target(provider="p", vendor="p", model="m", extra={"top_k": 5, "service_tier": "auto"})
    body = body_of(build(to=to, extra={"top_k": 7, "output_config": {"effort": "low"}}))
    assert (body["top_k"], body["service_tier"], body["output_config"]) == (7, "auto", {"effort": "low"})
    refusing = Target(provider="p", vendor="p", model="m", refused=frozenset({"top_k"}))
    built = build(to=refusing, extra={"top_k": 7})
    assert "top_k" not in body_of(built)
    assert noted(built)["top_k"] == "dropped"


def test_building_changes_nothing_of_the_request() -> None:
    answer = answered({**ANSWER, "content": THINKING_BLOCKS, "stop_reason": "tool_use"})
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "x"}
    messages = [*TOOLS_CONVERSATION, reply_to(answer).message, result, {"role": "assistant", "content": "so "}]
    parameters = {
        "tools": [WEATHER], "tool_choice": "auto", "response_format": {"type": "text"}, "stop": ["a", " "],
        "reasoning_effort": "high", "temperature": 2.0,
    }  # fmt: skip
    request = build_request(messages, "m", parameters, {"x": {"y": 1}})
    before = copy.deepcopy((request.messages, request.parameters, request.extra))
    to = Target(
        provider="anthropic", vendor="a", model="claude-x", extra={"x": {"z": 2}}, info=ModelInfo(thinking="budget")
    )
    DIALECT.build(request, to)
    assert (request.messages, request.parameters, request.extra) == before
    assert to.extra == {"x": {"z": 2}}


# What is read


def test_an_answer_is_read_with_its_tokens_counted_as_openai_counts() -> None:
    answer = answered(ANSWER)
    assert (answer.content, answer.finish_reason) == ("Hi! My name is Claude.", "stop")
    assert (answer.model, answer.id) == ("claude-sonnet-4-5-20250929", "msg_01XFDUDYJgAACzvnptvVoYEL")
    usage = answer.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens) == (2245, 50, 100)
    assert (usage.completion_tokens, usage.reasoning_tokens) == (503, 3)
    assert answer.provider_data is None
    assert answer.reasoning is None
    assert answer.raw is ANSWER


def test_tool_calls_are_read_with_arguments_as_json_text() -> None:
    blocks = [
        {"type": "text", "text": "Look"},
        {"type": "text", "text": "ing."},
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Köln"}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]
    answer = answered({**ANSWER, "content": blocks, "stop_reason": "tool_use"})
    assert answer.content == "Looking."
    assert answer.finish_reason == "tool_calls"
    assert [(call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [
        ("toolu_1", "get_weather", {"city": "Köln"}),
        ("toolu_2", "now", {}),
    ]
    assert answer.provider_data is None


def test_thinking_is_kept_apart_and_whole_for_the_next_turn() -> None:
    answer = answered({**ANSWER, "content": THINKING_BLOCKS, "stop_reason": "tool_use"})
    assert answer.content == "Let me look."
    assert answer.reasoning == "Two cities."
    assert answer.provider_data == {"content": THINKING_BLOCKS}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_every_stop_reason_has_its_normal_word(reason: str | None, expected: str) -> None:
    assert answered({**ANSWER, "stop_reason": reason}).finish_reason == expected


def test_an_empty_answer_that_ended_is_an_answer() -> None:
    assert answered({**ANSWER, "content": []}).content == ""


def test_a_refusal_is_filtered_content_with_what_was_said() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "not this"}
    failure = failed({**ANSWER, "stop_reason": "refusal", "stop_details": details})
    assert failure.fault is Fault.CONTENT_FILTER
    assert failure.partial == "Hi! My name is Claude."
    assert "not this" in failure.message
    assert failed({**ANSWER, "stop_reason": "refusal", "content": []}).partial == ""


@pytest.mark.parametrize(
    ("body", "fault", "code"),
    [
        ({"type": "error", "error": {"type": "api_error", "message": "boom"}}, Fault.SERVER, "api_error"),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
            Fault.OVERLOADED,
            "overloaded_error",
        ),
        ({"error": {"message": "boom"}}, Fault.SERVER, None),
        ({"error": "boom"}, Fault.SERVER, None),
        ({"type": "error"}, Fault.SERVER, None),
    ],
)
def test_an_error_under_a_success_status_is_a_failure(body: Any, fault: Fault, code: str | None) -> None:
    failure = failed(body)
    assert (failure.fault, failure.code) == (fault, code)


def test_a_key_echoed_in_an_error_is_masked() -> None:
    failure = failed({"type": "error", "error": {"type": "overloaded_error", "message": "sk-ant-api03-abcdefghijkl"}})
    assert "abcdefghijkl" not in failure.message


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"type": "message", "content": None, "stop_reason": "end_turn"},
        {**ANSWER, "content": [], "stop_reason": None},
        {**ANSWER, "content": [{"type": "text", "text": None}], "stop_reason": None},
        {**ANSWER, "content": [], "stop_reason": "tool_use"},
        {**ANSWER, "content": [{"type": "tool_use", "id": "x"}], "stop_reason": "tool_use"},
        {**ANSWER, "content": [{"type": "tool_use", "name": "x", "input": {}}], "stop_reason": "tool_use"},
    ],
)
def test_what_is_no_answer_is_malformed(body: Any) -> None:
    assert failed(body).fault is Fault.MALFORMED


def test_an_answer_nested_without_end_is_malformed() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    block = {"type": "tool_use", "id": "x", "name": "f", "input": nested}
    assert failed({**ANSWER, "content": [block], "stop_reason": "tool_use"}).fault is Fault.MALFORMED


def test_a_block_of_a_nonsensical_type_is_passed_over() -> None:
    assert answered({**ANSWER, "content": [{"type": ["text"]}, *ANSWER["content"]]}).content == "Hi! My name is Claude."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "thinking", "redacted_thinking", "server_tool_use"]) | JSON},
    optional=dict.fromkeys(("text", "thinking", "id", "name", "input", "signature"), JSON),
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "error"]) | JSON,
        "error": JSON | st.fixed_dictionaries({"type": JSON, "message": JSON}),
        "content": st.lists(BLOCK | JSON, max_size=4) | JSON,
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "refusal"]) | JSON,
        "stop_details": st.fixed_dictionaries({"explanation": JSON}) | JSON,
        "usage": st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "output_tokens_details"]), JSON)
        | JSON,
        "model": JSON,
        "id": JSON,
    },
)


@given(JSON | BODY)
def test_reading_never_raises_and_every_answer_can_be_sent_back(body: Any) -> None:
    result = read(body)
    assert isinstance(result, Answer | Failure)
    if isinstance(result, Answer):
        assert result.finish_reason != "tool_calls" or result.tool_calls
        json.dumps(reply_to(result).message)
