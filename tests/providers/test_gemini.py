"""Gemini's generateContent dialect: what is sent, what is read, and what is said about it."""

from __future__ import annotations

import copy
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo, Quirks
from failsafe.errors import InvalidRequest
from failsafe.faults import Fault
from failsafe.models import Answer, ChatRequest, Failure, Reply
from failsafe.providers.base import BuiltRequest, CannotExpress, Dialect, Target
from failsafe.providers.gemini import GeminiDialect
from failsafe.request import build_request

DIALECT: Dialect = GeminiDialect()
HELLO = [{"role": "user", "content": "hello"}]
DUMMY = "skip_thought_signature_validator"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": SCHEMA}}
TOOLS_CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Paris, and the time?"},
    {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [
            {
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
            },
            {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "toolu_1", "content": '{"celsius": 18}'},
    {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
    {"role": "user", "content": "Thanks. And Rome?"},
]
ANSWER: dict[str, Any] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Hel"}, {"text": "lo."}]},
            "finishReason": "STOP",
            "index": 0,
            "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
        "toolUsePromptTokenCount": 3,
        "totalTokenCount": 25,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "resp-1",
}
SIGNED_PARTS: list[dict[str, Any]] = [
    {"text": "Two things.", "thought": True},
    {"text": "Let me look."},
    {"functionCall": {"id": "fc-1", "name": "get_weather", "args": {"city": "Paris"}}, "thoughtSignature": "c2ln"},
    {"functionCall": {"name": "now"}},
]


def target(model: str = "gemini-x", **info: Any) -> Target:
    return Target(provider="gemini", vendor="gemini", model=model, info=ModelInfo(**info))


def build(
    messages: Any = HELLO, to: Target | None = None, extra: dict[str, Any] | None = None, **parameters: Any
) -> BuiltRequest:
    return DIALECT.build(build_request(messages, "some-model", parameters, extra), to or target())


def body_of(built: BuiltRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(built.body)
    return body


def sent(messages: Any = HELLO, to: Target | None = None, **parameters: Any) -> dict[str, Any]:
    return body_of(build(messages, to, **parameters))


def settings_of(to: Target | None = None, **parameters: Any) -> Any:
    return sent(HELLO, to, **parameters).get("generationConfig")


def noted(built: BuiltRequest) -> dict[str, str]:
    return {adjustment.parameter: adjustment.action for adjustment in built.adjustments}


def answer_of(parts: list[Any], reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason, **more}
    return {**ANSWER, "candidates": [candidate]}


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


def message_of(answer: Answer, provider: str = "gemini", model: str = "gemini-x") -> dict[str, Any]:
    return Reply(
        content=answer.content, provider=provider, model=answer.model, asked_model=model,
        finish_reason=answer.finish_reason, tool_calls=answer.tool_calls, usage=answer.usage, id=answer.id,
        request_id=None, refusal=None, reasoning=answer.reasoning, latency_ms=1.0, attempts=(), skipped=(),
        adjustments=(), provider_data=answer.provider_data, raw=answer.raw,
    ).message  # fmt: skip


# What is sent: address and messages


def test_a_plain_prompt_is_all_that_is_sent() -> None:
    built = build()
    assert built.path == "/models/gemini-x:generateContent"
    assert body_of(built) == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    assert built.adjustments == ()


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("../../upload?key=x", "/models/..%2F..%2Fupload%3Fkey%3Dx:generateContent"),
        ("a b#c\r\n", "/models/a%20b%23c%0D%0A:generateContent"),
        ("..", "/models/..:generateContent"),
        ("\ud800", "/models/%3F:generateContent"),
    ],
)
def test_no_models_name_leads_to_another_path(model: str, path: str) -> None:
    built = build(to=target(model))
    assert built.path == path
    parsed = urlsplit(f"https://host/v1beta{built.path}")
    assert parsed.query == parsed.fragment == ""
    assert parsed.path.count("/") == 3


def test_a_tool_conversation_names_each_result_after_its_call() -> None:
    built = build(TOOLS_CONVERSATION, tools=[WEATHER])
    assert body_of(built)["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body_of(built)["contents"] == [
        {"role": "user", "parts": [{"text": "Weather in Paris, and the time?"}]},
        {
            "role": "model",
            "parts": [
                {"text": "Let me look."},
                {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}},
                {"functionCall": {"name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "get_weather", "response": {"celsius": 18}}},
                {"functionResponse": {"name": "now", "response": {"result": "noon"}}},
                {"text": "Thanks. And Rome?"},
            ],
        },
    ]
    assert built.adjustments == ()


def test_results_stand_in_the_order_of_their_calls() -> None:
    first, second = TOOLS_CONVERSATION[3], TOOLS_CONVERSATION[4]
    swapped = [*TOOLS_CONVERSATION[:3], second, first, TOOLS_CONVERSATION[5]]
    assert sent(swapped, tools=[WEATHER]) == sent(TOOLS_CONVERSATION, tools=[WEATHER])
    twice = [*TOOLS_CONVERSATION, *copy.deepcopy(TOOLS_CONVERSATION[2:])]
    assert sent(twice, tools=[WEATHER])["contents"][4] == sent(twice, tools=[WEATHER])["contents"][2]


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ('{"a": [1]}', {"a": [1]}),
        (" {} ", {}),
        ("[1]", {"result": "[1]"}),
        ("{broken", {"result": "{broken"}),
        ("", {"result": ""}),
    ],
)
def test_a_tools_result_becomes_an_object(text: str, response: dict[str, Any]) -> None:
    conversation = [*TOOLS_CONVERSATION[:3], {**TOOLS_CONVERSATION[3], "content": text}, TOOLS_CONVERSATION[4]]
    part = sent(conversation, tools=[WEATHER])["contents"][2]["parts"][0]
    assert part["functionResponse"]["response"] == response


def test_a_result_that_answers_no_call_is_the_callers_mistake() -> None:
    messages = [*HELLO, {"role": "tool", "tool_call_id": "nobody", "content": "x"}]
    with pytest.raises(InvalidRequest, match=r"messages\[1\]\.tool_call_id"):
        DIALECT.build(ChatRequest(model="m", messages=messages), target())


def test_a_call_made_elsewhere_is_marked_for_models_that_check_signatures() -> None:
    built = build(TOOLS_CONVERSATION, target(thinking="level"), tools=[WEATHER])
    parts = body_of(built)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, DUMMY, None]
    assert noted(built) == {"messages": "rewritten"}
    assert DUMMY.encode() not in build(TOOLS_CONVERSATION, target(thinking="budget"), tools=[WEATHER]).body


def test_a_models_own_signatures_go_back_to_it_unchanged() -> None:
    message = message_of(answered(answer_of(SIGNED_PARTS)))
    ids = [call["id"] for call in message["tool_calls"]]
    results = [{"role": "tool", "tool_call_id": identity, "content": "x"} for identity in ids]
    for history in (message, json.loads(json.dumps(message))):
        built = build([*HELLO, history, *results], target(thinking="level"), tools=[WEATHER])
        contents = body_of(built)["contents"]
        assert contents[1] == {"role": "model", "parts": SIGNED_PARTS}
        assert contents[2]["parts"] == [
            {"functionResponse": {"id": "fc-1", "name": "get_weather", "response": {"result": "x"}}},
            {"functionResponse": {"name": "now", "response": {"result": "x"}}},
        ]
        assert built.adjustments == ()


@pytest.mark.parametrize(("provider", "model"), [("other", "gemini-x"), ("gemini", "gemini-y")])
def test_signatures_of_another_provider_or_model_are_dropped_and_noted(provider: str, model: str) -> None:
    message = message_of(answered(answer_of(SIGNED_PARTS)), provider, model)
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in message["tool_calls"]]
    built = build([*HELLO, message, *results], target(thinking="level"), tools=[WEATHER])
    assert b"c2ln" not in built.body
    assert b"Two things" not in built.body
    assert body_of(built)["contents"][1]["parts"][1]["thoughtSignature"] == DUMMY
    assert [(a.parameter, a.action) for a in built.adjustments] == [("messages", "dropped"), ("messages", "rewritten")]


def test_an_answer_the_caller_edited_is_sent_as_edited() -> None:
    parts = [{"text": "secret", "thoughtSignature": "c2ln"}]
    message = {**message_of(answered(answer_of(parts))), "content": "[redacted]"}
    built = build([*HELLO, message, *HELLO])
    assert body_of(built)["contents"][1]["parts"] == [{"text": "[redacted]"}]
    assert noted(built)["messages"] == "dropped"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "yes", "reasoning_content": "hm"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]},
        {"role": "assistant", "content": "yes", "provider_data": {"provider": "x", "model": "y", "data": {"a": "hm"}}},
    ],
)
def test_reasoning_made_elsewhere_is_stripped_and_noted(message: dict[str, Any]) -> None:
    built = build([*HELLO, message, *HELLO])
    assert body_of(built)["contents"][1]["parts"] == [{"text": "yes"}]
    assert b"hm" not in built.body
    assert noted(built)["messages"] == "dropped"


def test_roles_are_merged_and_a_system_text_amid_the_conversation_is_hoisted() -> None:
    built = build([*HELLO, {"role": "developer", "content": "brief"}, {"role": "user", "content": "again"}])
    assert body_of(built) == {
        "systemInstruction": {"parts": [{"text": "brief"}]},
        "contents": [{"role": "user", "parts": [{"text": "hello"}, {"text": "again"}]}],
    }
    assert noted(built) == {"messages[1]": "rewritten", "messages": "rewritten"}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "system", "content": "alone"}], "needs a user message"),
        ([{"role": "user", "content": ""}], "needs a user message"),
        ([{"role": "assistant", "content": "first"}, *HELLO], "speak first"),
    ],
)
def test_a_conversation_that_does_not_begin_with_the_user_excludes_gemini(messages: Any, said: str) -> None:
    with pytest.raises(CannotExpress, match=said):
        build(messages)


def image(url: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **more}}]}]


def test_an_image_goes_as_its_bytes() -> None:
    built = build(image("data:image/jpg;base64,QUJD", detail="low"))
    assert body_of(built)["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/jpeg", "data": "QUJD"}}]
    assert noted(built) == {"messages[0].content[0].image_url.detail": "dropped"}


@pytest.mark.parametrize(
    ("url", "to"),
    [
        ("https://example.org/a.png", target()),
        ("data:image/png;base64,QUJD", target(images=False)),
        ("data:image/png;base64,QUJD", Target(provider="p", vendor="p", model="m", quirks=Quirks(images=()))),
    ],
)
def test_an_image_by_address_or_for_a_blind_model_excludes_it(url: str, to: Target) -> None:
    with pytest.raises(CannotExpress, match=r"messages\[0\]\.content\[0\]"):
        build(image(url), to)


def test_a_refusal_in_the_history_is_told_as_text() -> None:
    refusing = [{"role": "assistant", "content": None, "refusal": "No."}]
    part = [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]
    for refused in (refusing, part):
        assert sent([*HELLO, *refused, *HELLO])["contents"][1]["parts"] == [{"text": "No."}]


def test_a_content_part_gemini_does_not_know_excludes_it() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}
    with pytest.raises(CannotExpress, match="input_audio"):
        build([{"role": "user", "content": [sound]}])


def test_what_gemini_does_not_take_beside_the_text_is_noted() -> None:
    marked = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}
    built = build([{"role": "user", "name": "ann", "content": [marked, {"type": "text", "text": ""}]}])
    assert body_of(built)["contents"][0]["parts"] == [{"text": "hello"}]
    assert noted(built) == {
        "messages[0].name": "dropped",
        "messages[0].content[0].cache_control": "dropped",
        "messages[0].content": "dropped",
    }


# What is sent: parameters


def test_tools_are_declared_with_their_json_schema_and_none_for_a_tool_without_parameters() -> None:
    bare = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    assert sent(tools=[WEATHER, bare])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "get_weather", "description": "Weather", "parametersJsonSchema": SCHEMA},
                {"name": "now"},
            ]
        }
    ]


def test_a_tools_strictness_and_cache_mark_are_dropped_and_noted() -> None:
    tool = {"type": "function", "function": {"name": "now", "strict": True}, "cache_control": {"type": "ephemeral"}}
    assert noted(build(tools=[tool])) == {"tools[0].function.strict": "dropped", "tools[0].cache_control": "dropped"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
        ),
    ],
)
def test_tool_choice_has_a_mode(choice: Any, expected: dict[str, Any]) -> None:
    assert sent(tools=[WEATHER], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize("to", [target(tools=False), target(refuses=("tools",))])
def test_tools_exclude_a_model_without_them(to: Target) -> None:
    with pytest.raises(CannotExpress, match="tools"):
        build(to=to, tools=[WEATHER])


def test_every_parameter_with_an_equivalent_is_sent_in_geminis_words() -> None:
    built = build(
        temperature=1.5, top_p=0.9, max_tokens=100, stop="END", seed=7, presence_penalty=0.1, frequency_penalty=0.2,
        logprobs=True, top_logprobs=3,
    )  # fmt: skip
    assert body_of(built)["generationConfig"] == {
        "temperature": 1.5, "topP": 0.9, "maxOutputTokens": 100, "stopSequences": ["END"], "seed": 7,
        "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": True, "logprobs": 3,
    }  # fmt: skip
    assert built.adjustments == ()


def test_what_gemini_takes_less_of_is_cut_and_noted() -> None:
    to = Target(
        provider="p", vendor="p", model="m", info=ModelInfo(max_output_tokens=50), quirks=Quirks(temperature_max=1.0)
    )
    request = ChatRequest(
        model="m",
        messages=HELLO,
        parameters={"temperature": 1.5, "max_tokens": 100, "stop": list("abcdefg"), "seed": 2**31 + 5},
    )
    built = DIALECT.build(request, to)
    assert body_of(built)["generationConfig"] == {
        "temperature": 1.0,
        "maxOutputTokens": 50,
        "stopSequences": list("abcde"),
        "seed": 5,
    }
    assert noted(built) == {"temperature": "clamped", "max_tokens": "clamped", "stop": "dropped", "seed": "mapped"}


def test_refused_parameters_are_dropped_whichever_name_they_were_refused_by() -> None:
    to = Target(provider="p", vendor="p", model="m", refused=frozenset({"presencePenalty", "logprobs", "topK"}))
    built = build(to=to, presence_penalty=1, logprobs=True, top_logprobs=2, extra={"topK": 1})
    assert "generationConfig" not in body_of(built)
    assert noted(built) == {
        "presence_penalty": "dropped", "logprobs": "dropped", "top_logprobs": "dropped", "topK": "dropped",
    }  # fmt: skip


def test_parameters_without_an_equivalent_are_dropped_and_noted() -> None:
    built = build(tools=[WEATHER], parallel_tool_calls=False, logit_bias={"1": 2}, user="u", metadata={"a": "b"})
    assert body_of(built).keys() == {"contents", "tools"}
    assert noted(built) == dict.fromkeys(("parallel_tool_calls", "logit_bias", "user", "metadata"), "dropped")


def json_schema(**more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, **more}}


def test_json_is_asked_for_by_media_type_and_schema() -> None:
    assert settings_of(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    built = build(response_format=json_schema(description="an answer"))
    assert body_of(built)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    assert noted(built) == {"response_format.json_schema.description": "dropped"}
    assert settings_of(response_format={"type": "text"}) is None


@pytest.mark.parametrize(
    ("to", "parameters"),
    [
        (target(json_schema=False), {"response_format": json_schema()}),
        (target(refuses=("responseJsonSchema",)), {"response_format": json_schema()}),
        (
            Target(provider="p", vendor="p", model="m", quirks=Quirks(json_object=False)),
            {"response_format": {"type": "json_object"}},
        ),
        (target(refuses=("tools+response_format",)), {"response_format": json_schema(), "tools": [WEATHER]}),
    ],
)
def test_a_form_the_model_cannot_hold_excludes_it(to: Target, parameters: dict[str, Any]) -> None:
    with pytest.raises(CannotExpress):
        build(to=to, **parameters)


@pytest.mark.parametrize(
    ("effort", "level", "budget"),
    [
        ("none", "minimal", 0),
        ("minimal", "minimal", 1024),
        ("low", "low", 1024),
        ("medium", "medium", 8192),
        ("high", "high", 24576),
        ("xhigh", "high", 24576),
        ("max", "high", 24576),
    ],
)
def test_an_effort_becomes_a_level_or_a_budget(effort: str, level: str, budget: int) -> None:
    by_level = build(to=target(thinking="level"), reasoning_effort=effort)
    assert body_of(by_level)["generationConfig"] == {"thinkingConfig": {"thinkingLevel": level}}
    assert ("reasoning_effort" in noted(by_level)) is (level != effort)
    by_budget = build(to=target(thinking="budget"), reasoning_effort=effort)
    assert body_of(by_budget)["generationConfig"] == {"thinkingConfig": {"thinkingBudget": budget}}
    assert noted(by_budget) == {"reasoning_effort": "mapped"}


def test_an_effort_the_model_refuses_gives_way_to_the_next_higher() -> None:
    leveled = target(thinking="level", refuses=("reasoning_effort=minimal",))
    assert settings_of(leveled, reasoning_effort="none") == {"thinkingConfig": {"thinkingLevel": "low"}}
    budgeted = target(thinking="budget", refuses=("reasoning_effort=none",))
    assert settings_of(budgeted, reasoning_effort="none") == {"thinkingConfig": {"thinkingBudget": 1024}}


def test_an_effort_without_a_known_way_is_dropped_and_noted() -> None:
    built = build(reasoning_effort="high")
    assert "generationConfig" not in body_of(built)
    assert noted(built) == {"reasoning_effort": "dropped"}


def test_free_fields_are_laid_over_the_body_object_by_object() -> None:
    to = Target(provider="p", vendor="p", model="m", extra={"generationConfig": {"topK": 5, "temperature": 0.1}})
    body = body_of(build(to=to, temperature=0.7, extra={"generationConfig": {"topK": 9}, "safetySettings": []}))
    assert body["generationConfig"] == {"topK": 9, "temperature": 0.7}
    assert body["safetySettings"] == []


def test_free_fields_the_target_was_seen_to_refuse_are_dropped_wherever_they_stand() -> None:
    to = Target(provider="p", vendor="p", model="m", refused=frozenset({"top_k", "service_tier"}))
    built = build(to=to, extra={"generationConfig": {"topK": 9, "mediaResolution": "LOW"}, "serviceTier": "flex"})
    assert body_of(built)["generationConfig"] == {"mediaResolution": "LOW"}
    assert "serviceTier" not in body_of(built)
    assert noted(built) == {"topK": "dropped", "serviceTier": "dropped"}


def test_building_changes_nothing_of_the_request() -> None:
    message = message_of(answered(answer_of(SIGNED_PARTS)))
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "{}"} for call in message["tool_calls"]]
    parameters = {"tools": [WEATHER], "response_format": json_schema(), "stop": ["a"], "reasoning_effort": "none"}
    request = build_request(
        [*TOOLS_CONVERSATION, message, *reversed(results), *image("data:image/png;base64,QQ==")],
        "m", parameters, {"generationConfig": {"topK": 1}},
    )  # fmt: skip
    before = copy.deepcopy((request.messages, request.parameters, request.extra))
    to = target(thinking="level")
    DIALECT.build(request, to)
    assert (request.messages, request.parameters, request.extra) == before


# What is read


def test_an_answer_is_read_with_its_tokens_counted_as_openai_counts() -> None:
    answer = answered(ANSWER)
    assert (answer.content, answer.finish_reason) == ("Hello.", "stop")
    assert (answer.model, answer.id) == ("gemini-2.5-flash", "resp-1")
    usage = answer.usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (13, 4)
    assert (usage.completion_tokens, usage.reasoning_tokens) == (12, 7)
    assert answer.provider_data is None
    assert answer.reasoning is None
    assert answer.raw is ANSWER


def test_thoughts_and_signatures_are_kept_apart_from_the_content() -> None:
    answer = answered(answer_of(SIGNED_PARTS))
    assert answer.content == "Let me look."
    assert answer.reasoning == "Two things."
    assert answer.provider_data == {"parts": SIGNED_PARTS}


def test_function_calls_are_tool_calls_with_an_id_of_their_own() -> None:
    answer = answered(answer_of(SIGNED_PARTS))
    assert answer.finish_reason == "tool_calls"
    first, second = answer.tool_calls
    assert (first.id, first.name, json.loads(first.arguments)) == ("fc-1", "get_weather", {"city": "Paris"})
    assert (second.name, second.arguments) == ("now", "{}")
    assert second.id.startswith("call_")


def test_a_made_up_id_is_the_same_for_the_same_answer_and_differs_between_calls_and_answers() -> None:
    def ids(response_id: str | None) -> list[str]:
        body = {**answer_of([{"functionCall": {"name": "now"}}] * 2), "responseId": response_id}
        return [call.id for call in answered(body).tool_calls]

    assert ids("a") == ids("a")
    assert len({*ids("a"), *ids("b"), *ids(None)}) == 6


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("OTHER", "stop"),
        ("FINISH_REASON_UNSPECIFIED", "stop"),
        ("SOMETHING_NEW", "stop"),
        (None, "stop"),
    ],
)
def test_every_finish_reason_has_its_normal_word(reason: str | None, expected: str) -> None:
    assert answered(answer_of([{"text": "Hi"}], reason)).finish_reason == expected


@pytest.mark.parametrize("reason", ["OTHER", "SOMETHING_NEW", None])
def test_an_unclear_end_without_content_is_malformed(reason: str | None) -> None:
    assert failed(answer_of([{"text": "hm", "thought": True}], reason)).fault is Fault.MALFORMED


def test_an_answer_whose_thoughts_used_up_its_length_is_an_answer() -> None:
    body = {**ANSWER, "candidates": [{"finishReason": "MAX_TOKENS", "index": 0}]}
    assert answered(body).finish_reason == "length"


@pytest.mark.parametrize(
    "reason",
    [
        "SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "RECITATION", "MODEL_ARMOR", "IMAGE_SAFETY",
        "IMAGE_OTHER",
    ],
)  # fmt: skip
def test_a_blocked_answer_is_filtered_content_with_what_was_said(reason: str) -> None:
    failure = failed(answer_of([{"text": "Hel"}], reason, finishMessage="not this"))
    assert (failure.fault, failure.code, failure.partial) == (Fault.CONTENT_FILTER, reason, "Hel")
    assert "not this" in failure.message


@pytest.mark.parametrize(
    "body",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}},
        {"candidates": [], "promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"index": 0}], "promptFeedback": {"blockReason": "SAFETY"}},
    ],
)
def test_a_blocked_prompt_is_filtered_content(body: Any) -> None:
    failure = failed(body)
    assert (failure.fault, failure.code) == (Fault.CONTENT_FILTER, "SAFETY")


@pytest.mark.parametrize(
    "reason",
    [
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS",
    ],
)  # fmt: skip
def test_an_answer_the_model_spoiled_is_malformed(reason: str) -> None:
    failure = failed(answer_of([{"text": "x"}], reason, finishMessage="print(default_api"))
    assert (failure.fault, failure.code) == (Fault.MALFORMED, reason)
    assert "print(default_api" in failure.message


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("error", "fault", "code"),
    [
        ({"code": 500, "message": "boom", "status": "INTERNAL"}, Fault.SERVER, "INTERNAL"),
        ({"code": 503, "message": "full", "status": "UNAVAILABLE"}, Fault.OVERLOADED, "UNAVAILABLE"),
        ("boom", Fault.SERVER, None),
    ],
)
def test_an_error_under_a_success_status_is_a_failure(
    error: Any, fault: Fault, code: str | None, wrapped: bool
) -> None:
    body = {"error": error}
    failure = failed([body] if wrapped else body)
    assert (failure.fault, failure.code) == (fault, code)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        [],
        [ANSWER, ANSWER],
        {},
        {"candidates": "x"},
        {"candidates": [None]},
        {"candidates": [{}]},
        {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}},
        answer_of([{"functionCall": {"args": {}}}]),
        answer_of([{"functionCall": {"name": ["x"]}}]),
    ],
)
def test_what_is_no_answer_is_malformed(body: Any) -> None:
    assert failed(body).fault is Fault.MALFORMED


def test_an_answer_nested_without_end_is_malformed() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert failed(answer_of([{"functionCall": {"name": "f", "args": nested}}])).fault is Fault.MALFORMED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FUNCTION = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "name", "args"), JSON))
PART = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON,
        "thought": st.booleans() | JSON,
        "thoughtSignature": JSON,
        "functionCall": FUNCTION | JSON,
    },
)
CANDIDATE = st.fixed_dictionaries(
    {},
    optional={
        "content": st.fixed_dictionaries({"parts": st.lists(PART | JSON, max_size=4) | JSON}) | JSON,
        "finishReason": st.sampled_from(["STOP", "SAFETY", "OTHER", "MALFORMED_RESPONSE"]) | JSON,
        "finishMessage": JSON,
    },
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(CANDIDATE | JSON, max_size=2) | JSON,
        "error": st.fixed_dictionaries({"status": JSON, "message": JSON}) | JSON,
        "promptFeedback": st.fixed_dictionaries({"blockReason": JSON}) | JSON,
        "usageMetadata": st.dictionaries(st.sampled_from(["promptTokenCount", "thoughtsTokenCount"]), JSON) | JSON,
        "modelVersion": JSON,
        "responseId": JSON,
    },
)


@given(JSON | BODY | st.lists(BODY, max_size=2))
def test_reading_never_raises_and_every_answer_can_be_sent_back(body: Any) -> None:
    result = read(body)
    assert isinstance(result, Answer | Failure)
    if isinstance(result, Answer):
        assert result.finish_reason != "tool_calls" or result.tool_calls
        json.dumps(message_of(result))
