"""Anthropic's streamed answers: what each event shows, and that they make up the message that was not streamed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic.types import Message as AnthropicMessage
from hypothesis import given
from hypothesis import strategies as st

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.faults import Fault
from failsafe.models import Answer, Failure
from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.anthropic_stream import AnthropicStream
from failsafe.providers.base import Dialect, StreamReader, Target
from failsafe.request import build_request
from failsafe.sim import Behaviour, FakeProvider, Healthy, StreamShape
from failsafe.sse import EventParser
from tests.sim.sim_client import ask

DIALECT: Dialect = AnthropicDialect()
TARGET = Target(provider="claude", vendor="anthropic", model="claude-x")
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-20261101", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 25, "cache_read_input_tokens": 5, "output_tokens": 1, "service_tier": "standard"},
    },
}  # fmt: skip
PING = {"type": "ping"}
STOP = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def finish(reason: str | None = "end_turn", usage: Any = None, **fields: Any) -> dict[str, Any]:
    told = {"output_tokens": 8} if usage is None else usage
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **fields}, "usage": told}


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [delta(index, "text_delta", text=piece) for piece in pieces]
    return [begin(index, type="text", text=""), *deltas, end(index)]


def tool(index: int, *pieces: str, id_: str = "toolu_1", name: str = "look_up") -> list[dict[str, Any]]:
    deltas = [delta(index, "input_json_delta", partial_json=piece) for piece in pieces]
    return [begin(index, type="tool_use", id=id_, name=name, input={}), *deltas, end(index)]


def new_reader(vendor: str = "anthropic") -> AnthropicStream:
    return AnthropicStream(msgspec.structs.replace(TARGET, vendor=vendor))


def feed(reader: StreamReader, events: Iterable[Mapping[str, Any]]) -> list[Chunk]:
    """Have *reader* read *events*, named as Anthropic names them; what they show."""
    shown = []
    for event in events:
        chunk = reader.read(event.get("type", ""), json.dumps(event, ensure_ascii=False).encode())
        assert not isinstance(chunk, Failure), chunk
        if chunk is not None:
            shown.append(chunk)
    return shown


def answer_of(events: Iterable[Mapping[str, Any]]) -> Answer:
    reader = new_reader()
    feed(reader, events)
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer), answer
    return answer


def body_of(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    reader = new_reader()
    feed(reader, events)
    body = reader.body()
    assert isinstance(body, dict), body
    return body


def chunk(**said: Any) -> Chunk:
    return Chunk(provider="claude", model="claude-x", **said)


def arguments(*chunks: Chunk) -> dict[int, str]:
    """The arguments of each tool call, its pieces joined."""
    joined: dict[int, str] = {}
    for each in chunks:
        for call in each.tool_calls:
            joined[call.index] = joined.get(call.index, "") + call.arguments
    return joined


# What is asked for


def test_a_stream_is_asked_for_only_where_one_is_wanted() -> None:
    request = build_request("hi", "m", {})
    assert "stream" not in json.loads(DIALECT.build(request, TARGET).body)
    streamed = msgspec.structs.replace(request, stream=True)
    assert json.loads(DIALECT.build(streamed, TARGET).body)["stream"] is True


def test_the_providers_own_fields_do_not_turn_a_wanted_stream_off() -> None:
    request = msgspec.structs.replace(build_request("hi", "m", {}), stream=True)
    configured = msgspec.structs.replace(TARGET, extra={"stream": False})
    assert json.loads(DIALECT.build(request, configured).body)["stream"] is True


def test_the_dialect_gives_a_new_reader_for_each_answer() -> None:
    first, second = DIALECT.stream(TARGET), DIALECT.stream(TARGET)
    feed(first, [START, *text(0, "hello")])
    assert (first.text_length, second.text_length) == (5, 0)


# What each event shows


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (delta(0, "text_delta", text="Hi"), chunk(text="Hi")),
        (delta(0, "thinking_delta", thinking="Hm"), chunk(reasoning="Hm")),
        (begin(0, type="text", text="Hi"), chunk(text="Hi")),
        (begin(0, type="thinking", thinking="Hm", signature=""), chunk(reasoning="Hm")),
        (
            begin(3, type="tool_use", id="toolu_1", name="look_up", input={}),
            chunk(tool_calls=(ToolCallDelta(index=0, id="toolu_1", name="look_up"),)),
        ),
    ],
)
def test_content_is_shown(event: dict[str, Any], shown: Chunk) -> None:
    assert feed(new_reader(), [START, event]) == [shown]


@pytest.mark.parametrize(
    "event",
    [
        START,
        PING,
        STOP,
        finish(),
        begin(0, type="text", text=""),
        begin(0, type="thinking", thinking="", signature=""),
        begin(0, type="redacted_thinking", data="EmwK"),
        begin(0, type="server_tool_use", id="srv_1", name="web_search", input={}),
        begin(0, type="web_search_tool_result", tool_use_id="srv_1", content=[]),
        begin(0, type="hologram", shape="cube"),
        delta(0, "text_delta", text=""),
        delta(0, "thinking_delta", thinking=""),
        delta(0, "input_json_delta", partial_json=""),
        delta(0, "signature_delta", signature="EqQB"),
        delta(0, "citations_delta", citation={"type": "char_location"}),
        delta(0, "hologram_delta", shape="sphere"),
        end(0),
        {"type": "hologram_start", "index": 0, "error": "a field that happens to be called so"},
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_start", "index": 0, "content_block": None},
        {"type": "message_start", "message": None},
        {"type": "message_delta", "delta": None, "usage": None},
        {"type": "message_delta"},
        {"type": ["text"]},
        {},
        delta(0, "text_delta", text=None),
        delta(0, "text_delta", text=["no text"]),
    ],
)
def test_what_shows_nothing_is_nothing(event: dict[str, Any]) -> None:
    reader = new_reader()
    assert reader.read(event["type"] if isinstance(event.get("type"), str) else "", json.dumps(event).encode()) is None
    assert reader.text_length == 0


@pytest.mark.parametrize("data", [b"", b" ", b"\n"])
def test_an_event_without_data_is_nothing(data: bytes) -> None:
    assert new_reader().read("ping", data) is None


def test_the_name_of_the_event_stands_in_for_a_missing_type() -> None:
    reader = new_reader()
    assert reader.read("content_block_delta", b'{"delta":{"type":"text_delta","text":"Hi"}}') == chunk(text="Hi")
    reader.read("message_delta", b'{"delta":{"stop_reason":"end_turn"}}')
    assert reader.read("message_stop", b"{}") is None
    assert (reader.finished, reader.done) == (True, True)


def test_tool_calls_are_counted_from_0_whatever_stands_between_them() -> None:
    events = [
        START, *text(0, "Let me look."), *tool(1, '{"city": "Par', 'is"}'),
        *text(2, "And"), *tool(3, "{}", id_="toolu_2", name="ask"), finish("tool_use"), STOP,
    ]  # fmt: skip
    calls = [call for each in feed(new_reader(), events) for call in each.tool_calls]
    assert calls == [
        ToolCallDelta(index=0, id="toolu_1", name="look_up"),
        ToolCallDelta(index=0, arguments='{"city": "Par'),
        ToolCallDelta(index=0, arguments='is"}'),
        ToolCallDelta(index=1, id="toolu_2", name="ask"),
        ToolCallDelta(index=1, arguments="{}"),
    ]


@pytest.mark.parametrize("pieces", [(), ("",), ("", "")])
def test_a_tool_call_without_pieces_is_shown_empty_arguments(pieces: tuple[str, ...]) -> None:
    reader = new_reader()
    shown = feed(reader, [START, *tool(0, *pieces)])
    assert [each.tool_calls[0] for each in shown[1:]] == [ToolCallDelta(index=0, arguments="{}")]
    assert feed(reader, [finish("tool_use"), STOP]) == []
    assert reader.text_length == 2


def test_a_tool_call_that_no_server_stops_is_shown_empty_arguments_at_the_end() -> None:
    unstopped = [*tool(0)[:-1], *tool(1, id_="toolu_2")[:-1], *tool(2, '{"a":1}', id_="toolu_3")[:-1]]
    *_, last = feed(new_reader(), [START, *unstopped, finish("tool_use"), STOP])
    assert last.tool_calls == (ToolCallDelta(index=0, arguments="{}"), ToolCallDelta(index=1, arguments="{}"))


def test_an_input_that_comes_whole_with_the_start_is_shown_once() -> None:
    events = [START, begin(0, type="tool_use", id="a", name="b", input={"q": 1}), end(0), finish("tool_use"), STOP]
    reader = new_reader()
    assert arguments(*feed(reader, events)) == {0: '{"q": 1}'}
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer)
    assert answer.tool_calls[0].arguments == '{"q": 1}'


def test_text_length_counts_all_that_a_reader_is_shown() -> None:
    reader = new_reader()
    thinking = [begin(0, type="thinking", thinking="a", signature=""), delta(0, "thinking_delta", thinking="bc")]
    feed(reader, [START, *thinking, *text(1, "Grüße"), *tool(2, '{"q":', "1}")])
    assert reader.text_length == 3 + 5 + 7


# How it ends


def test_finished_with_a_stop_reason_and_done_with_message_stop() -> None:
    reader = new_reader()
    feed(reader, [START, *text(0, "Hi")])
    assert (reader.finished, reader.done) == (False, False)
    feed(reader, [finish(None)])
    assert not reader.finished
    feed(reader, [finish()])
    assert (reader.finished, reader.done) == (True, False)
    assert isinstance(reader.body(), dict), "the body may end after the stop reason"
    feed(reader, [STOP])
    assert reader.done


@pytest.mark.parametrize("ending", [[], [STOP], [finish(None), STOP], [{"type": "message_delta"}]])
def test_an_answer_without_a_stop_reason_is_cut(ending: list[dict[str, Any]]) -> None:
    reader = new_reader()
    thinking = [begin(0, type="thinking", thinking="secret"), end(0)]
    feed(reader, [START, *thinking, *text(1, "Hello ", "wor"), *text(2, "ld")[:-1], *ending])
    cut = reader.body()
    assert isinstance(cut, Failure)
    assert (cut.fault, cut.partial, cut.maybe_billed) == (Fault.TRUNCATED, "Hello world", True)
    assert "stop_reason" in cut.message


def test_openais_end_marker_ends_the_answer_too() -> None:
    reader = new_reader()
    feed(reader, [START, *text(0, "Hi"), finish()])
    assert reader.read("", b"[DONE]") is None
    assert reader.done


def test_a_refusal_in_the_middle_is_the_content_policy_with_the_text_so_far() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    failure = DIALECT.read(
        body_of([START, *text(0, "First, ", "take"), finish("refusal", stop_details=details)]), TARGET
    )
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.code, failure.partial) == (Fault.CONTENT_FILTER, "refusal", "First, take")
    assert "Not this." in failure.message


# The message


def test_the_body_is_the_one_without_streaming() -> None:
    cited = {"type": "char_location", "cited_text": "x", "document_index": 0}
    events = [
        START,
        begin(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Two "),
        PING,
        delta(0, "thinking_delta", thinking="cities."),
        delta(0, "signature_delta", signature="EqQB"),
        end(0),
        begin(1, type="redacted_thinking", data="EmwK"),
        end(1),
        begin(2, type="text", text="", citations=[]),
        delta(2, "text_delta", text="Paris"),
        delta(2, "citations_delta", citation=cited),
        delta(2, "citations_delta", citation={**cited, "document_index": 1}),
        end(2),
        begin(3, type="server_tool_use", id="srv_1", name="web_search", input={}),
        delta(3, "input_json_delta", partial_json='{"query":'),
        delta(3, "input_json_delta", partial_json='"x"}'),
        end(3),
        begin(4, type="web_search_tool_result", tool_use_id="srv_1", content=[{"title": "A"}]),
        end(4),
        *tool(5, '{"city": "Par', 'is", "n": 1}'),
        {**finish("tool_use", stop_details=None, container={"id": "c"}), "context_management": {"applied_edits": []}},
        STOP,
    ]
    assert body_of(events) == {
        **START["message"],  # type: ignore[dict-item]
        "content": [
            {"type": "thinking", "thinking": "Two cities.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "Paris", "citations": [cited, {**cited, "document_index": 1}]},
            {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"title": "A"}]},
            {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"city": "Paris", "n": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_details": None,
        "container": {"id": "c"},
        "context_management": {"applied_edits": []},
        "usage": {
            "input_tokens": 25, "cache_read_input_tokens": 5, "output_tokens": 8, "service_tier": "standard",
        },
    }  # fmt: skip


def test_the_servers_own_tools_show_nothing_and_are_no_calls() -> None:
    server = [begin(0, type="server_tool_use", id="s", name="web_search", input={}),
              delta(0, "input_json_delta", partial_json='{"query":"x"}'), end(0)]  # fmt: skip
    events = [START, *server, *text(1, "Found."), finish(), STOP]
    assert feed(new_reader(), events) == [chunk(text="Found.")]
    answer = answer_of(events)
    assert (answer.content, answer.tool_calls, answer.finish_reason) == ("Found.", (), "stop")
    assert answer.provider_data is not None


def test_the_body_may_be_asked_for_again() -> None:
    reader = new_reader()
    feed(reader, [START, *text(0, "Hi"), *tool(1, '{"a":1}'), finish("tool_use"), STOP])
    assert reader.body() == reader.body()


@pytest.mark.parametrize(
    ("pieces", "written"),
    [
        (('{"city": "Par',), '{"city": "Par'),
        (("not ", "json"), "not json"),
        (('"a text"',), '"a text"'),
        (("[1, 2]",), "[1, 2]"),
        (("NaN",), "NaN"),
        (("[" * 100_000,), "[" * 100_000),
    ],
)
def test_an_input_that_is_no_object_stays_as_the_model_wrote_it(pieces: tuple[str, ...], written: str) -> None:
    events = [START, *tool(0, *pieces), finish("max_tokens"), STOP]
    answer = answer_of(events)
    assert [call.arguments for call in answer.tool_calls] == [written]
    assert arguments(*feed(new_reader(), events)) == {0: written}


@pytest.mark.parametrize(
    ("told", "merged"),
    [
        ({"output_tokens": 8}, {"input_tokens": 25, "output_tokens": 8}),
        ({"output_tokens": 8, "input_tokens": 40}, {"input_tokens": 40, "output_tokens": 8}),
        ({"output_tokens": 8, "input_tokens": None}, {"input_tokens": 25, "output_tokens": 8}),
        ({"output_tokens": 8, "speed": None}, {"input_tokens": 25, "output_tokens": 8, "speed": None}),
        (
            {"output_tokens_details": {"thinking_tokens": 3}},
            {"input_tokens": 25, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 3}},
        ),
        ("many", {"input_tokens": 25, "output_tokens": 1}),
    ],
)
def test_later_counts_win_unless_they_are_null(told: Any, merged: dict[str, Any]) -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}
    assert body_of([start, *text(0, "Hi"), finish(usage=told)])["usage"] == merged


# Servers that are a bit sloppy


def test_a_stream_without_message_start_and_block_starts_is_read_all_the_same() -> None:
    events = [
        delta(0, "thinking_delta", thinking="Hm."),
        delta(1, "text_delta", text="Hello "),
        delta(1, "text_delta", text="there"),
        finish(),
    ]
    answer = answer_of(events)
    assert (answer.content, answer.reasoning, answer.usage.completion_tokens) == ("Hello there", "Hm.", 8)


def test_blocks_that_share_an_index_or_have_none_stay_apart() -> None:
    events = [
        START,
        begin(0, type="thinking", thinking=""), delta(0, "thinking_delta", thinking="Hm."), end(0),
        begin(0, type="text", text=""), delta(0, "text_delta", text="Hi"), end(0),
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "a", "name": "b", "input": {}}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"q": 1}'}},
        {"type": "content_block_stop", "index": "2"},
        finish("tool_use"), STOP,
    ]  # fmt: skip
    answer = answer_of(events)
    assert (answer.content, answer.reasoning) == ("Hi", "Hm.")
    assert [(call.id, call.arguments) for call in answer.tool_calls] == [("a", '{"q": 1}')]


def test_a_delta_of_another_kind_than_its_block_begins_a_block() -> None:
    events = [START, *text(0, "Hi")[:-1], delta(0, "thinking_delta", thinking="Hm."), finish()]
    answer = answer_of(events)
    assert (answer.content, answer.reasoning) == ("Hi", "Hm.")


def test_an_input_without_a_tool_is_no_tool_call() -> None:
    reader = new_reader()
    shown = feed(reader, [START, *text(0, "Hi"), delta(0, "input_json_delta", partial_json="{}"), finish("tool_use")])
    assert arguments(*shown) == {0: "{}"}
    failure = DIALECT.read(reader.body(), TARGET)
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.MALFORMED


def test_content_in_message_start_and_odd_fields_do_no_harm() -> None:
    start = {"type": "message_start", "message": {"id": 7, "content": None, "model": None, "usage": []}}
    block = begin(0, type="text", text=None, citations="none")
    answer = answer_of([start, block, delta(0, "text_delta", text="Hi"), delta(0, "citations_delta"), finish()])
    assert (answer.content, answer.id, answer.model) == ("Hi", "", "")


def test_an_answer_may_be_empty() -> None:
    answer = answer_of([START, finish(), STOP])
    assert (answer.content, answer.finish_reason) == ("", "stop")


# Errors

ERRORS = [
    ("invalid_request_error", "messages: at least one message is required", Fault.BAD_REQUEST),
    ("invalid_request_error", "Your credit balance is too low to access the API", Fault.QUOTA),
    ("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", Fault.CONTEXT),
    ("invalid_request_error", "`temperature` is deprecated for this model.", Fault.UNSUPPORTED_PARAMETER),
    ("authentication_error", "invalid x-api-key", Fault.AUTH),
    ("billing_error", "Payment is due", Fault.QUOTA),
    ("permission_error", "Your key may not use this", Fault.PERMISSION),
    ("not_found_error", "model: claude-x", Fault.MODEL),
    ("conflict_error", "Conflict", Fault.CONFLICT),
    ("request_too_large", "Request exceeds the maximum size", Fault.CONTEXT),
    ("rate_limit_error", "This request would exceed your rate limit", Fault.RATE_LIMIT),
    ("api_error", "Internal server error", Fault.SERVER),
    ("timeout_error", "Request timed out", Fault.SERVER),
    ("overloaded_error", "Overloaded", Fault.OVERLOADED),
    ("error_of_tomorrow", "Something new", Fault.SERVER),
]


@pytest.mark.parametrize(("kind", "message", "fault"), ERRORS)
def test_an_error_event_is_what_its_type_says(kind: str, message: str, fault: Fault) -> None:
    event = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    failure = new_reader().read("error", json.dumps(event).encode())
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.code) == (fault, kind)
    assert message.rstrip(".")[:20] in failure.message


def test_the_code_in_the_details_counts_as_in_a_body() -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    event = {"type": "error", "error": {"type": "rate_limit_error", "message": "Limit", "details": details}}
    failure = new_reader().read("error", json.dumps(event).encode())
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.QUOTA


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("", b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', Fault.OVERLOADED),
        ("", b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', Fault.OVERLOADED),
        ("error", b'{"error":{"code":500,"message":"boom","type":"server_error"}}', Fault.SERVER),
        ("error", b'{"error":{"message":"the request exceeds the available context size","code":400}}', Fault.CONTEXT),
        ("error", b'{"type":"overloaded_error","message":"Overloaded"}', Fault.OVERLOADED),
        ("error", b'{"error":"boom"}', Fault.SERVER),
        ("error", b'{"message":"boom"}', Fault.SERVER),
        ("error", b"upstream connect error", Fault.SERVER),
        ("error", b"{}", Fault.SERVER),
        ("", b'{"type":"error"}', Fault.SERVER),
        ("", b'{"object":"error","message":"Too fast","type":"rate_limit_error","code":429}', Fault.RATE_LIMIT),
    ],
)
def test_errors_in_other_shapes_are_understood(name: str, data: bytes, fault: Fault) -> None:
    failure = new_reader("llamacpp").read(name, data)
    assert isinstance(failure, Failure)
    assert failure.fault is fault


def test_an_error_after_content_may_be_billed() -> None:
    error = b'{"type":"error","error":{"type":"rate_limit_error","message":"Too fast"}}'
    early, late = new_reader(), new_reader()
    feed(late, [START, *text(0, "Hello")])
    for reader, billed in ((early, False), (late, True)):
        failure = reader.read("error", error)
        assert isinstance(failure, Failure)
        assert failure.maybe_billed is billed


def test_a_content_filter_in_the_middle_has_the_text_so_far() -> None:
    reader = new_reader()
    feed(reader, [START, *text(0, "Hello")])
    error = {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}
    failure = reader.read("error", json.dumps({"type": "error", "error": error}).encode())
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.partial) == (Fault.CONTENT_FILTER, "Hello")


@pytest.mark.parametrize(
    "data",
    [
        b"<html>", b"{", b'"text"', b"[1]", b"null", b"7", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000,
        b'{"object":"chat.completion.chunk","choices":[{"delta":{"content":"Hi"}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}',
    ],
)  # fmt: skip
def test_data_of_no_event_of_anthropics_is_malformed(data: bytes) -> None:
    failure = new_reader().read("", data)
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.maybe_billed) == (Fault.MALFORMED, True)
    assert len(failure.message) < 200


@given(st.text(), st.binary())
def test_no_bytes_whatever_raise(name: str, data: bytes) -> None:
    reader = new_reader()
    reader.read(name, data)
    reader.body()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "index", "delta", "content_block", "message", "usage", "error", "text", "input"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "error"]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "usage": JSON,
        "message": JSON,
        "content_block": JSON | st.fixed_dictionaries({"type": st.sampled_from(["text", "tool_use", "x"]), "id": JSON}),
        "delta": JSON
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["text_delta", "input_json_delta", "signature_delta", "citations_delta"])},
            optional={"text": JSON, "partial_json": JSON, "stop_reason": JSON},
        )
        | st.fixed_dictionaries({"stop_reason": JSON}),
    },
)


@given(st.lists(st.tuples(KINDS, FIELDS), max_size=8))
def test_no_events_whatever_raise(events: list[tuple[str, dict[str, Any]]]) -> None:
    reader = new_reader()
    for kind, fields in events:
        reader.read(kind, json.dumps({"type": kind, **fields}).encode())
    body = reader.body()
    if not isinstance(body, Failure):
        DIALECT.read(body, TARGET)


# Any message, in any pieces

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
INPUTS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | TEXT, max_size=3)
BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}),
    st.fixed_dictionaries(
        {
            "type": st.just("text"),
            "text": TEXT,
            "citations": st.lists(st.fixed_dictionaries({"cited_text": TEXT}), min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXT, "signature": TEXT}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": TEXT}),
    st.fixed_dictionaries(
        {"type": st.just("tool_use"), "id": st.text("abc", min_size=1), "name": st.just("look_up"), "input": INPUTS}
    ),
    st.fixed_dictionaries(
        {"type": st.just("server_tool_use"), "id": st.just("s"), "name": st.just("web_search"), "input": INPUTS}
    ),
    st.fixed_dictionaries({"type": st.just("web_search_tool_result"), "content": st.lists(INPUTS, max_size=2)}),
)
COUNTS = st.integers(0, 5000)
MESSAGES = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": TEXT,
        "content": st.lists(BLOCKS, max_size=5),
        "stop_reason": st.sampled_from(
            ["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "pause_turn"]
        ),
        "stop_sequence": st.none() | TEXT,
        "stop_details": st.none() | st.fixed_dictionaries({"type": st.just("refusal"), "explanation": TEXT}),
        "usage": st.fixed_dictionaries(
            {
                "input_tokens": COUNTS,
                "cache_read_input_tokens": COUNTS,
                "cache_creation_input_tokens": COUNTS,
                "output_tokens": COUNTS,
                "output_tokens_details": st.fixed_dictionaries({"thinking_tokens": COUNTS}),
            }
        ),
    }
)


def split(whole: str, data: st.DataObject) -> list[str]:
    """*whole* in any pieces, empty ones among them."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [whole[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def block_events(index: int, block: Mapping[str, Any], data: st.DataObject) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    if kind == "text":
        yield begin(index, **{**block, "text": ""} | ({"citations": []} if "citations" in block else {}))
        yield from (delta(index, "text_delta", text=piece) for piece in split(block["text"], data))
        yield from (delta(index, "citations_delta", citation=each) for each in block.get("citations", ()))
    elif kind == "thinking":
        yield begin(index, type=kind, thinking="", signature="")
        yield from (delta(index, "thinking_delta", thinking=piece) for piece in split(block["thinking"], data))
        yield delta(index, "signature_delta", signature=block["signature"])
    elif kind in ("tool_use", "server_tool_use"):
        yield begin(index, **{**block, "input": {}})
        whole = json.dumps(block["input"], ensure_ascii=data.draw(st.booleans())) if block["input"] else ""
        yield from (delta(index, "input_json_delta", partial_json=piece) for piece in split(whole, data))
    else:
        yield begin(index, **block)
    yield end(index)


def streamed(message: Mapping[str, Any], data: st.DataObject) -> list[dict[str, Any]]:
    """The events that Anthropic would send *message* in."""
    late = ("stop_reason", "stop_sequence", "stop_details")
    usage = {"input_tokens": message["usage"]["input_tokens"], "output_tokens": 1}
    start = {**message, "content": [], **dict.fromkeys(late), "usage": usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, PING]
    for index, block in enumerate(message["content"]):
        events += block_events(index, block, data)
    ending = {"type": "message_delta", "delta": {name: message[name] for name in late}, "usage": message["usage"]}
    return [*events, ending, STOP]


@given(MESSAGES, st.data())
def test_any_message_in_any_pieces_is_the_message_that_was_not_streamed(
    message: dict[str, Any], data: st.DataObject
) -> None:
    reader = new_reader()
    shown = feed(reader, streamed(message, data))
    assert reader.body() == message
    whole = DIALECT.read(msgspec.json.decode(msgspec.json.encode(message)), TARGET)
    assert DIALECT.read(reader.body(), TARGET) == whole
    assert "".join(each.text for each in shown) == "".join(
        block["text"] for block in message["content"] if block["type"] == "text"
    )
    inputs = [block["input"] for block in message["content"] if block["type"] == "tool_use"]
    assert {index: json.loads(written) for index, written in arguments(*shown).items()} == dict(enumerate(inputs))
    assert reader.text_length == sum(len(each.text) + len(each.reasoning) for each in shown) + sum(
        map(len, arguments(*shown).values())
    )
    if isinstance(whole, Answer):
        assert whole.reasoning == ("".join(each.reasoning for each in shown) or None)


def test_memory_grows_with_the_text_and_with_nothing_else() -> None:
    reader = new_reader()
    feed(reader, [START, begin(0, type="text", text="")])
    event = json.dumps(delta(0, "text_delta", text="x")).encode()
    reader.read("content_block_delta", event)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            reader.read("content_block_delta", event)
            reader.read("ping", b'{"type": "ping"}')
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.text_length == 20_001
    assert held < 2 * 20_000


# What the fake provider streams, read by Anthropic's own SDK

SAID = [
    Healthy(text="Hello, wörld 🎉 and all the rest"),
    Healthy(text="So.", reasoning="Let me think it over", cached_tokens=7, reasoning_tokens=5),
    Healthy(text="cut sh", finish="length"),
    Healthy(tool_calls=2, tool_arguments={"query": "Grüße", "n": [1, None, {"a": 1.5}]}),
    Healthy(tool_calls=1, tool_arguments={}, reasoning="Which tool?"),
    Healthy(text="First, take", finish="content_filter"),
    Healthy(text="I will not.", finish="refusal"),
]
SHAPES = [StreamShape(), StreamShape(pings=2, newline="\r\n", split=3, comments=1, comment_interval=0.0)]
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("search", "ask")]


def events_of(body: bytes) -> list[tuple[str, bytes]]:
    parser = EventParser()
    return [*parser.feed(body), *parser.close()]


def read_by_failsafe(said: Healthy, shape: StreamShape, tools: Sequence[Any]) -> tuple[Any, list[Chunk]]:
    """The body that our reader makes of the stream, and what it shows."""
    with FakeProvider("anthropic", behaviour=Behaviour(said, stream=shape)) as provider:
        body = ask(provider, "hi", stream=True, tools=tools).content
    reader, shown = new_reader(), []
    for name, data in events_of(body):
        each = reader.read(name, data)
        assert not isinstance(each, Failure), each
        shown += [each] if each is not None else []
    assert reader.done
    return reader.body(), shown


def read_by_the_sdk(said: Healthy, shape: StreamShape, tools: Sequence[Any]) -> AnthropicMessage:
    """The message that Anthropic's SDK makes of the same stream of a provider that was as fresh."""
    fields: dict[str, Any] = {"tools": tools} if tools else {}
    with (
        FakeProvider("anthropic", behaviour=Behaviour(said, stream=shape)) as provider,
        anthropic.Anthropic(api_key=provider.key, base_url=provider.base_url, max_retries=0) as client,
        client.messages.stream(
            model="m-1", max_tokens=100, messages=[{"role": "user", "content": "hi"}], **fields
        ) as stream,
    ):
        return stream.get_final_message()


@pytest.mark.parametrize("shape", SHAPES, ids=["plain", "torn"])
@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.finish}-{said.tool_calls}-{said.text}")
def test_the_sdk_reads_what_we_read(said: Healthy, shape: StreamShape) -> None:
    tools = TOOLS if said.tool_calls else []
    theirs = read_by_the_sdk(said, shape, tools)
    body, shown = read_by_failsafe(said, shape, tools)
    assert body == {**theirs.to_dict(mode="json"), "content": [_without_parsed(block) for block in theirs.content]}
    assert "".join(each.text for each in shown) == "".join(each.text for each in theirs.content if each.type == "text")
    assert "".join(each.reasoning for each in shown) == said.reasoning
    called = [each for each in theirs.content if each.type == "tool_use"]
    assert [json.loads(each) for each in arguments(*shown).values()] == [each.input for each in called]
    answer = DIALECT.read(body, TARGET)
    if theirs.stop_reason == "refusal":
        assert isinstance(answer, Failure)
        assert answer.fault is Fault.CONTENT_FILTER
        assert answer.partial == ("First, take" if said.finish == "content_filter" else "")
        return
    assert isinstance(answer, Answer)
    assert [(call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [
        (each.id, each.name, each.input) for each in called
    ]
    assert theirs.usage.output_tokens_details is not None
    assert answer.usage.reasoning_tokens == theirs.usage.output_tokens_details.thinking_tokens == said.reasoning_tokens
    assert answer.usage.cached_tokens == theirs.usage.cache_read_input_tokens == said.cached_tokens
    assert answer.usage.prompt_tokens == theirs.usage.input_tokens + said.cached_tokens
    assert answer.usage.completion_tokens == theirs.usage.output_tokens


def _without_parsed(block: Any) -> dict[str, Any]:
    """A block without what the SDK adds of its own."""
    return {name: value for name, value in block.to_dict(mode="json").items() if name != "parsed_output"}


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.finish}-{said.tool_calls}-{said.text}")
def test_the_fake_provider_streams_the_message_that_it_sends_whole(said: Healthy) -> None:
    tools = TOOLS if said.tool_calls else []
    body, _ = read_by_failsafe(said, StreamShape(), tools)
    with FakeProvider("anthropic", behaviour=Behaviour(said)) as provider:
        whole = ask(provider, "hi", tools=tools).json()
    assert body == whole


def test_the_fake_providers_error_event_is_recognised() -> None:
    shape = StreamShape(error_after=3, error=Fault.OVERLOADED)
    with FakeProvider("anthropic", behaviour=Behaviour(stream=shape)) as provider:
        body = ask(provider, stream=True).content
    *before, (name, data) = events_of(body)
    reader = new_reader()
    assert not any(isinstance(reader.read(*event), Failure) for event in before)
    failure = reader.read(name, data)
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.code) == (Fault.OVERLOADED, "overloaded_error")
