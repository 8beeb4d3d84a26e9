"""Answering clients that speak Anthropic's Messages API."""

from __future__ import annotations

import copy
import json
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo
from failsafe.chunks import ToolCallDelta
from failsafe.errors import AllProvidersFailed, InvalidRequest
from failsafe.inbound.anthropic import AnthropicFormat
from failsafe.inbound.base import Format, Question
from failsafe.models import Reply, ToolCall, Usage
from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.base import Target
from failsafe.providers.openai import OpenAIDialect
from failsafe.request import build_request
from tests.inbound.answers import USAGE, Streamed, chunk, read_back, reply, said, streamed

FORMAT: Format = AnthropicFormat()
PATH = "/v1/messages"
HELLO = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
CACHED = {"cache_control": {"type": "ephemeral"}}
SCHEMA = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
WEATHER = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
SIGNED = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "eA=="}]
THINKS = Question(model="m", messages=[], parameters={"reasoning_effort": "low"}, stream=True)
PLAIN = Question(model="m", messages=[], stream=True)


def body(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 100, "messages": list(messages) or [HELLO], **fields}


def read(*messages: Any, **fields: Any) -> Question:
    given = body(*messages, **fields)
    before = copy.deepcopy(given)
    question = FORMAT.read(given, PATH)
    assert given == before
    return question


def rebuilt(question: Question, **info: Any) -> dict[str, Any]:
    """What failsafe's own dialect sends Anthropic for *question*."""
    request = build_request(
        question.messages, question.model, question.parameters, question.extra, extra_for="anthropic"
    )
    target = Target(provider="claude", vendor="anthropic", model=question.model, info=ModelInfo(**info))
    built: dict[str, Any] = json.loads(AnthropicDialect().build(request, target).body)
    return built


def result(content: Any = "18 degrees", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **fields}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


# -------------------------------------------------------------------------------------------------
# Reading
# -------------------------------------------------------------------------------------------------

SAME: dict[str, dict[str, Any]] = {
    "plain": body(),
    "settings": body(temperature=0.3, top_p=0.9, stop_sequences=["END", "STOP"], metadata={"user_id": "u-1"}),
    "system": body(system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind.", **CACHED}]),
    "images": body(user(PIXEL, {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}})),
    "turns": body(HELLO, assistant({"type": "text", "text": "hi"}), user({"type": "text", "text": "and?", **CACHED})),
    "tools": body(tools=[{**WEATHER, **CACHED}, {"name": "now", "input_schema": {"type": "object"}}]),
    "strict tool": body(tools=[{**WEATHER, "strict": True}]),
    "any tool": body(tools=[WEATHER], tool_choice={"type": "any"}),
    "one tool": body(tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"}),
    "no tool": body(tools=[WEATHER], tool_choice={"type": "none"}),
    "one at a time": body(tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
    "results": body(
        HELLO,
        assistant({"type": "text", "text": "Let me look."}, {**USE, **CACHED}, {**USE, "id": "toolu_2", "input": {}}),
        user(
            {**result(), **CACHED},
            {"type": "tool_result", "tool_use_id": "toolu_2"},
            {"type": "text", "text": "And Rome?"},
        ),
        tools=[WEATHER],
    ),
    "cached result": body(
        HELLO, assistant({**USE, **CACHED}), user(result([{"type": "text", "text": "18", **CACHED}])), tools=[WEATHER]
    ),
    "schema": body(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
    "signed thinking": body(HELLO, assistant(*SIGNED, {"type": "text", "text": "Yes."}), HELLO),
    "signed thinking before a tool": body(HELLO, assistant(*SIGNED, USE), user(result()), tools=[WEATHER]),
    "thinking alone": body(HELLO, assistant(*SIGNED), HELLO),
    "more stops than others take": body(stop_sequences=["a", "b", "c", "d", "e", "f"]),
    "compacted": body(HELLO, assistant({"type": "compaction", "content": "They said hello."}), HELLO),
    "Anthropic's own": body(top_k=5, service_tier="standard_only", **CACHED, context_management={"edits": []}),
}  # fmt: skip


@pytest.mark.parametrize("given", SAME.values(), ids=SAME.keys())
def test_what_is_read_is_sent_to_anthropic_as_it_was(given: dict[str, Any]) -> None:
    wanted = copy.deepcopy(given)
    uses = [b for m in wanted["messages"] if m["role"] == "assistant" for b in m["content"] if b["type"] == "tool_use"]
    for block in uses[:-1]:
        block.pop("cache_control", None)  # a mark amid the calls has no place in OpenAI's form
    assert rebuilt(FORMAT.read(given, PATH)) == wanted


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "minimal"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1025}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 99_999}}, {"reasoning_effort": "max"}),
        ({"thinking": {"type": "adaptive"}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, {"reasoning_effort": "none"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        ({"stop_sequences": ["a", "b", "c", "d", "e"]}, {"stop": ["a", "b", "c", "d"]}),
        ({"stop_sequences": [], "tools": [], "tool_choice": {"type": "auto"}, "metadata": {}}, {}),
        ({"temperature": None, "top_p": None, "thinking": None, "system": None, "mcp_servers": []}, {}),
    ],
)
def test_parameters_are_said_in_openais_words(fields: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert read(**fields).parameters == {"max_tokens": 100, **parameters}


@pytest.mark.parametrize("budget", [1024, 2048, 8192, 16384, 24576, 32768])
def test_a_budget_that_failsafe_itself_would_ask_for_comes_back_as_it_went(budget: int) -> None:
    given = body(max_tokens=budget + 4096, thinking={"type": "enabled", "budget_tokens": budget})
    assert rebuilt(FORMAT.read(given, PATH), thinking="budget") == given


def test_a_schema_is_strict_only_where_openai_takes_it_as_strict() -> None:
    form = read(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}).parameters["response_format"]
    assert form["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    loose = {**SCHEMA, "required": []}
    nested = {**SCHEMA, "properties": {"city": {"type": "array", "items": {"type": "object"}}}}
    for schema in (loose, nested):
        form = read(output_config={"format": {"type": "json_schema", "schema": schema}}).parameters["response_format"]
        assert "strict" not in form["json_schema"]


def test_what_only_anthropic_knows_is_kept_apart() -> None:
    question = read(top_k=5, output_config={"effort": "low", "task_budget": {"total": 9}}, **CACHED)
    assert question.extra == {"top_k": 5, "output_config": {"task_budget": {"total": 9}}, **CACHED}
    assert rebuilt(question)["output_config"] == {"task_budget": {"total": 9}}


def test_results_stand_before_the_rest_of_the_turn_and_their_images_after_them() -> None:
    question = read(
        HELLO,
        assistant(USE, {**USE, "id": "toolu_2"}),
        user(
            {"type": "text", "text": "Look:"},
            result([{"type": "text", "text": "a map"}, PIXEL]),
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such city", "is_error": True},
        ),
        tools=[WEATHER],
    )
    assert question.messages[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "a map"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no such city"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "text", "text": "Look:"},
            ],
        },
    ]


def test_an_error_without_a_word_is_still_one() -> None:
    question = read(HELLO, assistant(USE), user(result(None, is_error=True), result([], is_error=True)))
    assert [message["content"] for message in question.messages[2:]] == ["Error: ", "Error: "]


def test_thinking_of_another_model_is_left_out() -> None:
    unsigned = {"type": "thinking", "thinking": "made elsewhere", "signature": ""}
    question = read(HELLO, assistant(unsigned, {"type": "text", "text": "Yes."}), HELLO)
    assert question.messages[1] == {"role": "assistant", "content": "Yes."}
    assert "made elsewhere" not in json.dumps(rebuilt(question))


def test_signed_thinking_goes_to_no_other_model() -> None:
    question = read(HELLO, assistant(*SIGNED, {"type": "text", "text": "Yes."}), HELLO)
    request = build_request(question.messages, question.model, question.parameters)
    for target in (
        Target(provider="claude", vendor="anthropic", model="claude-other"),
        Target(provider="openai", vendor="openai", model="claude-x"),
    ):
        dialect = AnthropicDialect() if target.vendor == "anthropic" else OpenAIDialect()
        assert b"c2ln" not in dialect.build(request, target).body


def test_a_plain_history_is_plain() -> None:
    question = read(
        {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}, HELLO,
        {"role": "system", "content": "Be brief."}, system="Be kind.", stream=True,
    )  # fmt: skip
    assert question == Question(
        model="claude-x",
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "hello"},
            {"role": "system", "content": "Be brief."},
        ],
        parameters={"max_tokens": 100},
        stream=True,
        stream_usage=True,
    )


NOT_READ: list[tuple[Any, str]] = [
    ([], "body"),
    ({**body(), "model": ""}, "model"),
    ({**body(), "model": 5}, "model"),
    ({**body(), "max_tokens": None}, "max_tokens"),
    (body(max_tokens=0), "max_tokens"),
    (body(max_tokens=True), "max_tokens"),
    ({**body(), "messages": []}, "messages"),
    ({**body(), "messages": "hello"}, "messages"),
    (body("hello"), "messages[0]"),
    (body({"role": "tool", "content": "x"}), "messages[0].role"),
    (body({"role": "user"}), "messages[0].content"),
    (body(user()), "messages[0].content"),
    (body(user("x")), "messages[0].content[0]"),
    (body(user({"type": "text"})), "messages[0].content[0]"),
    (body(user({"type": "document", "source": {}})), "messages[0].content[0].type"),
    (body(user({"type": "image"})), "messages[0].content[0].source.type"),
    (body(user({"type": "image", "source": {"type": "file", "file_id": "f"}})), "messages[0].content[0].source.type"),
    (body(user({"type": "image", "source": {"type": "url"}})), "messages[0].content[0].source.url"),
    (body(user(result())), "messages[0].content[0].tool_use_id"),
    (body(HELLO, assistant({"type": "tool_use", "name": "f"})), "messages[1].content[0].id"),
    (body(HELLO, assistant({**USE, "input": "x"})), "messages[1].content[0].input"),
    (body(HELLO, assistant(USE), user(result(5))), "messages[2].content[0].content"),
    (body(HELLO, assistant(USE), user(result(is_error="yes"))), "messages[2].content[0].is_error"),
    (body(system=[PIXEL]), "system[0]"),
    (body(temperature=1.5), "temperature"),
    (body(top_p="much"), "top_p"),
    (body(stop_sequences="END"), "stop_sequences"),
    (body(stop_sequences=[""]), "stop_sequences[0]"),
    (body(stream="yes"), "stream"),
    (body(metadata={"user_id": 5}), "metadata.user_id"),
    (body(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type"),
    (body(tools=[{"name": "f"}]), "tools[0].input_schema"),
    (body(tools=[{"name": "a b", "input_schema": {}}]), "tools[0].name"),
    (body(tools=[WEATHER, WEATHER]), "tools[1].name"),
    (body(tools=[{**WEATHER, "description": 5}]), "tools[0].description"),
    (body(tool_choice={"type": "any"}), "tool_choice.type"),
    (body(tools=[WEATHER], tool_choice={"type": "some"}), "tool_choice.type"),
    (body(tools=[WEATHER], tool_choice={"type": "tool", "name": "x"}), "tool_choice.name"),
    (body(thinking={"type": "enabled", "budget_tokens": 5}), "thinking.budget_tokens"),
    (body(thinking={"type": "deep"}), "thinking.type"),
    (body(thinking="much"), "thinking"),
    (body(output_config={"effort": "none"}), "output_config.effort"),
    (body(output_config={"format": {"type": "json"}}), "output_config.format"),
    (body(mcp_servers=[{"url": "https://example.com"}]), "mcp_servers"),
    (body(container="c-1"), "container"),
    (body(compaction={"type": "summarize"}), "compaction"),
    (body(billing_policy={"type": "billing_policy", "bill_to": "user_profile"}), "billing_policy.bill_to"),
    (body(thread={"type": "create"}), "thread"),
    (body(thread={"type": "continue", "previous_message_id": "msg_1"}), "thread"),
    (body(n=2), "n"),
    (body(seed=5), "seed"),
    (body(max_completion_tokens=5), "max_completion_tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "place"), NOT_READ, ids=[place for _, place in NOT_READ])
def test_what_cannot_be_read_is_refused_in_the_clients_own_terms(given: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.read(given, PATH)
    assert str(caught.value).startswith(f"{place} = ")


TEXT_BLOCKS = st.builds(lambda text: {"type": "text", "text": text}, st.sampled_from(["hello", "ünï", "a\nb"]))
TURN = st.lists(TEXT_BLOCKS | st.just(PIXEL), min_size=1, max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Users and assistants taking turns, some of which call tools and answer the calls."""
    turns = [{"role": "user", "content": draw(TURN)}]
    for number in range(draw(st.integers(0, 3))):
        inputs = draw(st.lists(st.dictionaries(st.sampled_from("ab"), st.integers()), max_size=2))
        spoken = draw(st.lists(TEXT_BLOCKS, min_size=0 if inputs else 1, max_size=2))
        uses = [{**USE, "id": f"toolu_{number}_{index}", "input": given} for index, given in enumerate(inputs)]
        results = [{**result(), "tool_use_id": use["id"]} for use in draw(st.permutations(uses))]
        turns.append(assistant(*spoken, *uses))
        turns.append(user(*results, *draw(TURN if not results else st.just([]) | TURN)))
    return turns


@given(histories())
def test_any_history_is_sent_to_anthropic_as_it_was(history: list[dict[str, Any]]) -> None:
    given = body(*history, tools=[WEATHER])
    assert rebuilt(FORMAT.read(copy.deepcopy(given), PATH)) == given


def test_what_was_compacted_is_read_by_models_of_other_vendors_too() -> None:
    """It stands for all that was said before: without it they would answer as if nothing had been."""
    summary = assistant({"type": "compaction", "content": "They said hello.", "signature": "c2ln"})
    assert FORMAT.read(body(summary, HELLO), PATH).messages[0]["content"] == "They said hello."
    failed = assistant({"type": "compaction", "content": None}, {"type": "text", "text": "hi"})
    assert FORMAT.read(body(failed, HELLO), PATH).messages[0]["content"] == "hi"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "text", "tool_use", "user", "tool_result", "any"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "id", "name", "input", "source"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*body(), "system", "tools", "tool_choice", "thinking", "output_config"]), JSON))
def test_no_body_is_answered_by_another_error(fields: dict[str, Any]) -> None:
    try:
        question = FORMAT.read({**body(), **fields}, PATH)
    except InvalidRequest:
        return
    assert question.messages


# -------------------------------------------------------------------------------------------------
# Writing
# -------------------------------------------------------------------------------------------------


def client(status: int, content: bytes, kind: str) -> anthropic.Anthropic:
    """The official SDK, which is answered *content* whatever it asks."""
    answer = httpx2.Response(status, headers={"content-type": kind, "request-id": "req_1"}, content=content)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    return anthropic.Anthropic(api_key="k", max_retries=0, http_client=http)


def by_the_sdk(written: bytes) -> Any:
    """The message that the SDK makes of a stream."""
    with (
        client(200, written, "text/event-stream") as sdk,
        sdk.messages.stream(model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        return stream.get_final_message()


def whole_by_the_sdk(status: int, content: Any) -> Any:
    with client(status, json.dumps(content).encode(), "application/json") as sdk:
        return sdk.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}])


def message_said(message: Any) -> dict[str, Any]:
    """What a message of the SDK says, in the terms of :func:`tests.inbound.answers.said`."""
    blocks = message.content
    return {
        "content": "".join(block.text for block in blocks if block.type == "text"),
        "reasoning": "".join(block.thinking for block in blocks if block.type == "thinking") or None,
        "calls": [(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
        "finish_reason": {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}[message.stop_reason],
    }


def write_stream(answer: Streamed, question: Question = THINKS) -> bytes:
    writer = FORMAT.writer(question)
    return b"".join([*map(writer.chunk, answer.chunks), writer.end(answer.reply)])


@given(streamed())
def test_any_stream_is_put_together_by_the_sdk_to_what_the_reply_says(answer: Streamed) -> None:
    message = by_the_sdk(write_stream(answer))
    assert message_said(message) == said(answer.reply)
    assert message.usage.to_dict() == {
        "input_tokens": 12,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 5,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }


@given(streamed())
def test_any_stream_is_read_back_by_failsafe(answer: Streamed) -> None:
    read = read_back(write_stream(answer), AnthropicDialect(), Target(provider="p", vendor="anthropic", model="m"))
    assert said(read) == said(answer.reply)


@given(streamed())
def test_any_answer_is_the_same_whole(answer: Streamed) -> None:
    message = whole_by_the_sdk(200, FORMAT.write(answer.reply, THINKS))
    assert message_said(message) == said(answer.reply)
    assert message.model == "m-1"


def events(written: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in written.splitlines() if line.startswith(b"data: ")]


def test_a_block_is_closed_when_another_kind_begins() -> None:
    calls = (
        ToolCallDelta(index=0, id="a", name="f", arguments="{}"),
        ToolCallDelta(index=1, id="b", name="g"),
    )
    answer = Streamed(
        [chunk(reasoning="hm"), chunk(text="a"), chunk(text="b"), chunk(tool_calls=calls), chunk(text="c")], reply()
    )
    shapes = [(each["type"], each.get("index")) for each in events(write_stream(answer))]
    assert shapes == [
        ("message_start", None),
        *[("content_block_start", 0), ("content_block_delta", 0), ("content_block_stop", 0)],
        *[("content_block_start", 1), *[("content_block_delta", 1)] * 2, ("content_block_stop", 1)],
        *[("content_block_start", 2), ("content_block_delta", 2), ("content_block_stop", 2)],
        *[("content_block_start", 3), ("content_block_stop", 3)],
        *[("content_block_start", 4), ("content_block_delta", 4), ("content_block_stop", 4)],
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_every_event_is_named_as_its_data_says() -> None:
    written = write_stream(Streamed([chunk(text="a\nb")], reply(content="a\nb")))
    names = [line[7:].decode() for line in written.splitlines() if line.startswith(b"event: ")]
    assert names == [each["type"] for each in events(written)]


def test_an_answer_of_nothing_is_a_message_of_nothing() -> None:
    message = by_the_sdk(write_stream(Streamed([], reply())))
    assert (message.content, message.stop_reason) == ([], "end_turn")
    assert FORMAT.write(reply(), THINKS)["content"] == []


def test_reasoning_is_shown_to_nobody_who_did_not_ask_for_thinking() -> None:
    answer = Streamed([chunk(reasoning="hm"), chunk(text="yes")], reply(content="yes", reasoning="hm"))
    for question in (PLAIN, Question(model="m", messages=[], parameters={"reasoning_effort": "none"})):
        assert [block.type for block in by_the_sdk(write_stream(answer, question)).content] == ["text"]
        assert FORMAT.write(answer.reply, question)["content"] == [{"type": "text", "text": "yes"}]


@pytest.mark.parametrize(
    ("stored", "signatures"),
    [
        ([{"type": "thinking", "thinking": "hm", "signature": "s1"}], ["s1"]),
        ([{"type": "thinking", "thinking": "other", "signature": "s1"}], [""]),
        ([{"type": "thinking", "thinking": "hm", "signature": "s1"}, {"type": "redacted_thinking", "data": "x"}], [""]),
        ([{"type": "thinking", "thinking": "hm"}], [""]),
        ([], [""]),
        (None, [""]),
        ("x", [""]),
    ],
)
def test_thinking_is_signed_where_all_of_it_was_written(stored: Any, signatures: list[str]) -> None:
    whole = reply(content="yes", reasoning="hm", provider_data={"content": stored})
    message = by_the_sdk(write_stream(Streamed([chunk(reasoning="h"), chunk(reasoning="m"), chunk(text="yes")], whole)))
    assert [block.signature for block in message.content if block.type == "thinking"] == signatures


def test_two_thoughts_have_each_its_signature_and_come_back_to_the_model() -> None:
    stored: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "one", "signature": "s1"},
        {"type": "text", "text": "So"},
        {"type": "thinking", "thinking": "two", "signature": "s2"},
        {"type": "tool_use", "id": "a", "name": "weather", "input": {}},
    ]
    call = ToolCall(id="a", name="weather", arguments="{}")
    whole = reply(
        content="So", reasoning="onetwo", tool_calls=(call,), finish_reason="tool_calls",
        provider_data={"content": stored},
    )  # fmt: skip
    delta = ToolCallDelta(index=0, id="a", name="weather")
    pieces = [chunk(reasoning="one"), chunk(text="So"), chunk(reasoning="two"), chunk(tool_calls=(delta,))]
    message = by_the_sdk(write_stream(Streamed(pieces, whole)))
    history = json.loads(message.to_json())["content"]
    again = {"type": "tool_result", "tool_use_id": "a", "content": "18"}
    sent = rebuilt(read(HELLO, assistant(*history), user(again), tools=[WEATHER]))
    kept = [
        {name: block[name] for name in given}
        for block, given in zip(sent["messages"][1]["content"], stored, strict=True)
    ]
    assert kept == stored


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"content": "a", "finish_reason": "length"}, "max_tokens", "a"),
        ({"content": "a", "finish_reason": "content_filter"}, "refusal", "a"),
        ({"refusal": "I will not."}, "refusal", "I will not."),
    ],
)
def test_the_end_is_said_in_anthropics_words(fields: dict[str, Any], reason: str, text: str) -> None:
    whole = reply(**fields)
    pieces = [chunk(text=whole.content, refusal=whole.refusal or "")]
    for message in (
        by_the_sdk(write_stream(Streamed(pieces, whole))),
        whole_by_the_sdk(200, FORMAT.write(whole, PLAIN)),
    ):
        assert (message.stop_reason, message.content[0].text) == (reason, text)


def test_a_stream_says_at_which_text_it_stopped_as_the_whole_answer_does() -> None:
    own = {
        "type": "message", "stop_reason": "stop_sequence", "stop_sequence": "END",
        "usage": {"input_tokens": 1, "server_tool_use": {"web_fetch_requests": 0, "web_search_requests": 2}},
    }  # fmt: skip
    message = by_the_sdk(write_stream(Streamed([chunk(text="hi")], reply(content="hi", raw=own))))
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    assert message.usage.server_tool_use.web_search_requests == 2
    assert message.usage.input_tokens == 12


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": ', {"INVALID_JSON": '{"a": '}),
        ("[1]", {"INVALID_JSON": "[1]"}),
    ],
)
def test_broken_arguments_are_no_call_without_arguments(arguments: str, given: dict[str, Any]) -> None:
    call = ToolCall(id="a", name="f", arguments=arguments)
    written = FORMAT.write(reply(tool_calls=(call,), finish_reason="tool_calls"), PLAIN)
    assert written["content"] == [{"type": "tool_use", "id": "a", "name": "f", "input": given}]


def test_a_call_without_an_id_gets_one() -> None:
    delta = ToolCallDelta(index=0, name="f", arguments="{}")
    written = events(write_stream(Streamed([chunk(tool_calls=(delta,))], reply(finish_reason="tool_calls"))))
    assert written[1]["content_block"]["id"].startswith("toolu_")


def test_ids_of_two_answers_differ_and_a_known_one_is_kept() -> None:
    assert FORMAT.write(reply(id="chatcmpl-1"), PLAIN)["id"] == "chatcmpl-1"
    assert FORMAT.write(reply(), PLAIN)["id"] != FORMAT.write(reply(), PLAIN)["id"]


def test_more_tokens_from_the_cache_than_there_are_make_no_negative_number() -> None:
    written = FORMAT.write(reply(usage=Usage(prompt_tokens=3, cached_tokens=5)), PLAIN)
    assert written["usage"]["input_tokens"] == 0


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (404, "not_found_error", anthropic.NotFoundError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (502, "api_error", anthropic.InternalServerError),
        (503, "overloaded_error", anthropic.InternalServerError),
        (504, "timeout_error", anthropic.InternalServerError),
        (418, "api_error", anthropic.APIStatusError),
    ],
)
def test_an_error_is_one_for_the_sdk(status: int, kind: str, error: type[anthropic.APIStatusError]) -> None:
    written = FORMAT.error(status, AllProvidersFailed("nobody answered"))
    assert written == {"type": "error", "error": {"type": kind, "message": "nobody answered"}}
    with pytest.raises(error) as caught:
        whole_by_the_sdk(status, written)
    assert (caught.value.status_code, caught.value.request_id) == (status, "req_1")
    assert caught.value.body == written


def test_a_stream_that_breaks_off_raises_in_the_sdk() -> None:
    writer = FORMAT.writer(PLAIN)
    written = writer.chunk(chunk(text="so f")) + writer.error(502, AllProvidersFailed("it broke off"))
    with pytest.raises(anthropic.APIStatusError, match="it broke off"):
        by_the_sdk(written)
    assert events(written)[-1]["type"] == "error"


def test_half_a_character_of_a_model_breaks_no_stream() -> None:
    answer = Streamed([chunk(text="\ud83d")], reply(content="\ud83d"))
    assert events(write_stream(answer))[2]["delta"]["text"] == "\ud83d"


def test_usage_is_said_once_and_at_the_end() -> None:
    written = events(write_stream(Streamed([chunk(text="a")], reply(content="a", usage=USAGE))))
    assert written[0]["message"]["usage"]["output_tokens"] == 0
    assert written[-2]["usage"]["output_tokens"] == 9


def test_the_reply_of_a_model_that_says_no_name_has_the_one_asked() -> None:
    whole: Reply = reply(model="")
    assert FORMAT.write(whole, PLAIN)["model"] == "m"
