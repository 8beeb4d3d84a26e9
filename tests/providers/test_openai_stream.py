"""Streamed chat completions: what each chunk shows, and that they make up the answer that was not streamed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import ProviderConfig, Router
from failsafe.catalog import Quirks, catalog
from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.faults import Fault
from failsafe.models import Answer, Failure, Usage
from failsafe.providers.base import Dialect, Target
from failsafe.providers.openai import OpenAIDialect
from failsafe.providers.openai_stream import OpenAIStream
from failsafe.request import build_request
from failsafe.sim import Behaviour, EmptyMessage, Error, ErrorIn200, FakeProvider, Healthy, StreamShape, Verbatim
from failsafe.sse import EventParser
from tests.sim.sim_client import ask

DIALECT: Dialect = OpenAIDialect()
TARGET = Target(provider="acme", vendor="acme", model="acme-1")
DEEPSEEK = Target(provider="deepseek", vendor="deepseek", model="deepseek-flash", quirks=Quirks(returns_reasoning=True))
FRAME = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "acme-1-2026"}
USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
DONE = "[DONE]"


def event(choice: Any = None, **fields: Any) -> dict[str, Any]:
    """A chunk with one choice, or with none."""
    return {**FRAME, "choices": [] if choice is None else [choice], **fields}


def delta(finish: str | None = None, /, **said: Any) -> dict[str, Any]:
    return event({"index": 0, "delta": said, "finish_reason": finish})


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return delta(tool_calls=list(pieces))


def call(index: int | None = None, name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    numbered = {} if index is None else {"index": index}
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**numbered, **fields, "function": function}


ROLE = delta(role="assistant", content="")
STOP = delta("stop")


def encoded(data: Any) -> bytes:
    return data.encode() if isinstance(data, str) else json.dumps(data, ensure_ascii=False).encode()


def read(reader: OpenAIStream, data: Any, name: str = "") -> Chunk | Failure | None:
    return reader.read(name, data if isinstance(data, bytes) else encoded(data))


def feed(reader: OpenAIStream, events: Iterable[Any]) -> list[Chunk]:
    """Have *reader* read *events*; what they show."""
    shown = []
    for each in events:
        chunk = read(reader, each)
        assert not isinstance(chunk, Failure), chunk
        if chunk is not None:
            shown.append(chunk)
    return shown


def body_of(events: Iterable[Any], where: Target = TARGET) -> dict[str, Any]:
    reader = OpenAIStream(where)
    feed(reader, events)
    body = reader.body()
    assert isinstance(body, dict), body
    return body


def answer_of(events: Iterable[Any], where: Target = TARGET) -> Answer:
    answer = DIALECT.read(body_of(events, where), where)
    assert isinstance(answer, Answer), answer
    return answer


def failed(events: Sequence[Any], *, name: str = "", where: Target = TARGET) -> Failure:
    """The failure that the last of *events* is."""
    reader = OpenAIStream(where)
    feed(reader, events[:-1])
    failure = read(reader, events[-1], name)
    assert isinstance(failure, Failure), failure
    return failure


def chunk(**said: Any) -> Chunk:
    return Chunk(provider="acme", model="acme-1", **said)


def joined_calls(chunks: Iterable[Chunk]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each tool call, its pieces joined as a caller would."""
    found: dict[int, list[str]] = {}
    for each in chunks:
        for piece in each.tool_calls:
            kept = found.setdefault(piece.index, ["", "", ""])
            for place, text in enumerate((piece.id, piece.name, piece.arguments)):
                kept[place] += text
    assert list(found) == list(range(len(found)))
    return [(identifier, name, arguments) for identifier, name, arguments in found.values()]


def listed(answer: Answer) -> list[tuple[str, str, str]]:
    return [(each.id, each.name, each.arguments) for each in answer.tool_calls]


# What is asked for


def sent(where: Target, **fields: Any) -> dict[str, Any]:
    request = msgspec.structs.replace(build_request("hi", "m", {}), stream=True, **fields)
    body: dict[str, Any] = json.loads(DIALECT.build(request, where).body)
    return body


def test_a_stream_is_asked_for_with_its_usage() -> None:
    assert sent(TARGET).items() >= {"stream": True, "stream_options": {"include_usage": True}}.items()


def test_nothing_of_a_stream_is_said_where_none_is_wanted() -> None:
    body = json.loads(DIALECT.build(build_request("hi", "m", {}), TARGET).body)
    assert body.keys() == {"model", "messages"}


@pytest.mark.parametrize(
    "where",
    [
        msgspec.structs.replace(TARGET, quirks=Quirks(stream_options=False)),
        msgspec.structs.replace(TARGET, quirks=catalog().presets["mistral"].quirks),
        msgspec.structs.replace(TARGET, refused=frozenset({"stream_options"})),
        msgspec.structs.replace(TARGET, refused=frozenset({"stream_options.include_usage"})),
    ],
)
def test_stream_options_are_left_out_for_who_does_not_take_them(where: Target) -> None:
    assert sent(where).keys() == {"model", "messages", "stream"}


def test_the_providers_own_fields_do_not_turn_a_wanted_stream_off() -> None:
    assert sent(msgspec.structs.replace(TARGET, extra={"stream": False}))["stream"] is True


REFUSALS = {
    "openai": Error(fault=Fault.UNSUPPORTED_PARAMETER, parameter="stream_options"),
    "unknown": Error(
        fault=Fault.BAD_REQUEST, message="Unrecognized request argument supplied: stream_options", parameter=""
    ),
    "nested": Error(fault=Fault.UNSUPPORTED_PARAMETER, parameter="stream_options.include_usage"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_server_that_refuses_stream_options_is_asked_without_and_never_with_them_again(refusal: Error) -> None:
    behaviour = Behaviour(refusal, first=1)
    with FakeProvider("generic", behaviour=behaviour) as provider, router_for(provider) as router:
        for _ in range(2):
            stream = router.stream("hi", model="m-1", timeout=10)
            assert "".join(each.text for each in stream) == "provider generic says: hi"
        assert ["stream_options" in json.loads(each.body) for each in provider.requests] == [True, False, False]


def test_mistrals_own_refusal_of_the_field_is_understood() -> None:
    with FakeProvider("mistral") as provider, mistral_that_is_asked_all(provider) as router:
        stream = router.stream("hi", model="m-1", timeout=10)
        assert "".join(each.text for each in stream) == "provider mistral says: hi"
        assert stream.response.usage.prompt_tokens > 0, "its last chunk has usage all the same"
        assert len(provider.requests) == 2


def mistral_that_is_asked_all(provider: FakeProvider) -> Router:
    return router_for(provider, models=["m-1"], quirks={"stream_options": True})


def router_for(provider: FakeProvider, **settings: Any) -> Router:
    config = ProviderConfig(
        name=provider.name, dialect="openai", base_url=provider.base_url, api_key=provider.key, **settings
    )
    return Router([config])


# What each chunk shows


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"content": "Hi"}, {"text": "Hi"}),
        ({"role": "assistant", "content": "Hi"}, {"text": "Hi"}),
        ({"reasoning_content": "Hm", "content": None}, {"reasoning": "Hm"}),
        ({"reasoning": "Hm"}, {"reasoning": "Hm"}),
        ({"reasoning": "Hm", "reasoning_content": "Hm"}, {"reasoning": "Hm"}),
        ({"reasoning": "Hm", "content": "So"}, {"reasoning": "Hm", "text": "So"}),
        ({"refusal": "No"}, {"refusal": "No"}),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}, {"reasoning": "Hm"}),
        ({"content": [{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "So"}]},
         {"reasoning": "Hm", "text": "So"}),
        ({"content": ["a", {"text": "b"}, {"type": "output_text", "text": "c"}]}, {"text": "abc"}),
        ({"content": "x", "reasoning": {"text": "?"}, "refusal": 7, "tool_calls": "?", "function_call": []},
         {"text": "x"}),
    ],
)  # fmt: skip
def test_a_delta_is_shown(said: dict[str, Any], shown: dict[str, Any]) -> None:
    reader = OpenAIStream(TARGET)
    assert read(reader, delta(**said)) == chunk(**shown)
    assert reader.text_length == sum(map(len, shown.values()))
    assert (reader.finished, reader.done) == (False, False)


NOTHING: dict[str, Any] = {
    "role": ROLE,
    "role alone": delta(role="assistant"),
    "llama.cpp's role": delta(role="assistant", content=None),
    "empty delta": delta(),
    "empty text": delta(content=""),
    "empty list": delta(content=[], tool_calls=[]),
    "text that is no text": delta(content=7, reasoning_content=["x"]),
    "padding": event({"index": 0, "delta": {}, "finish_reason": None}, obfuscation="aX3d"),
    "usage": event(usage=USAGE),
    "delta missing": event({"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 3}}),
    "delta null": event({"index": 0, "delta": None, "finish_reason": None}),
    "delta of another form": event({"index": 0, "delta": "x"}),
    "message of another form": event({"index": 0, "delta": None, "message": "x"}),
    "azure's first": {**FRAME, "id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    "choices null": {**FRAME, "choices": None},
    "choices of another form": {**FRAME, "choices": {"0": 1}},
    "choice of another form": {**FRAME, "choices": ["x"]},
    "choices missing": {"x_groq": {"id": "req_1"}},
    "an event of a proxy": {"type": "ping"},
    "empty object": {},
    "error null": delta() | {"error": None},
    "blank": "",
    "white space": "  \n",
    "finish reason empty": event({"index": 0, "delta": {}, "finish_reason": ""}),
    "finish reason of another form": event({"index": 0, "delta": {}, "finish_reason": 1}),
    "another choice": event({"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}),
    "a tool call of another form": delta(tool_calls=["x", None]),
}  # fmt: skip


@pytest.mark.parametrize("data", NOTHING.values(), ids=NOTHING)
def test_what_shows_nothing_is_none(data: Any) -> None:
    reader = OpenAIStream(TARGET)
    assert read(reader, data) is None
    assert (reader.text_length, reader.finished, reader.done) == (0, False, False)


@pytest.mark.parametrize("data", NOTHING.values(), ids=NOTHING)
def test_what_shows_nothing_changes_nothing(data: Any) -> None:
    reader = OpenAIStream(TARGET)
    feed(reader, [delta(content="Hi"), data, delta(content="!"), STOP, DONE])
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer)
    assert (answer.content, answer.finish_reason, answer.id, answer.model) == (
        "Hi!",
        "stop",
        "chatcmpl-1",
        "acme-1-2026",
    )


def test_a_name_that_stands_before_a_chunk_means_nothing() -> None:
    assert read(OpenAIStream(TARGET), delta(content="Hi"), "message") == chunk(text="Hi")


def test_a_finish_reason_finishes_and_the_end_marker_is_the_end() -> None:
    reader = OpenAIStream(TARGET)
    assert read(reader, delta("length", content="cut")) == chunk(text="cut")
    assert (reader.finished, reader.done) == (True, False)
    assert read(reader, event(usage=USAGE)) is None
    assert read(reader, b" [DONE] ") is None
    assert (reader.finished, reader.done) == (True, True)
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer)
    assert (answer.finish_reason, answer.usage) == ("length", Usage(prompt_tokens=20, completion_tokens=9))


def test_an_end_marker_in_quotes_is_one() -> None:
    reader = OpenAIStream(TARGET)
    feed(reader, [delta(content="x"), STOP, '"[DONE]"'])
    assert reader.done


def test_only_the_first_choice_is_read() -> None:
    other = {"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}
    first = {"index": 0, "delta": {"content": "first"}, "finish_reason": None}
    reader = OpenAIStream(TARGET)
    assert feed(reader, [{**FRAME, "choices": [other, first]}, event(other)]) == [chunk(text="first")]
    assert not reader.finished
    assert isinstance(reader.body(), Failure)


def test_a_choice_without_a_number_is_the_first() -> None:
    assert answer_of([event({"delta": {"content": "x"}, "finish_reason": "stop"})]).content == "x"


# Tool calls


def test_a_tool_call_of_the_reference_grammar() -> None:
    reader = OpenAIStream(TARGET)
    shown = feed(reader, [
        delta(role="assistant", content=None),
        calls(call(0, "look_up", "", id="call_a", type="function")),
        calls(call(0, arguments='{"q": ')), calls(call(0, arguments='"x"}')),
        calls(call(1, "ask", "", id="call_b", type="function")), calls(call(1, arguments="{}")),
        delta("tool_calls"),
    ])  # fmt: skip
    assert [each.tool_calls[0] for each in shown] == [
        ToolCallDelta(index=0, id="call_a", name="look_up"),
        ToolCallDelta(index=0, arguments='{"q": '),
        ToolCallDelta(index=0, arguments='"x"}'),
        ToolCallDelta(index=1, id="call_b", name="ask"),
        ToolCallDelta(index=1, arguments="{}"),
    ]
    assert reader.text_length == len('{"q": "x"}{}')
    body = reader.body()
    assert isinstance(body, dict)
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "x"}'}},
            {"id": "call_b", "type": "function", "function": {"name": "ask", "arguments": "{}"}},
        ],
    }


TWO = [("a", "f", '{"x": 1}'), ("b", "g", '{"y": 2}')]
ODD_CALLS: dict[str, tuple[list[Any], list[tuple[str, str, str]]]] = {
    "several in one chunk": (
        [calls(call(0, "f", "", id="a"), call(1, "g", "", id="b")),
         calls(call(0, arguments='{"x"'), call(1, arguments='{"y": ')), calls(call(1, arguments="2}"),
         call(0, arguments=": 1}"))],
        TWO,
    ),
    "whole calls": ([calls(call(0, "f", '{"x": 1}', id="a"), call(1, "g", '{"y": 2}', id="b"))], TWO),
    "whole calls, arguments as an object": (
        [calls(call(0, "f", {"x": 1}, id="a")), calls(call(1, "g", {"y": 2}, id="b"))], TWO,
    ),
    "numbers left out, named by id": (
        [calls(call(None, "f", '{"x"', id="a")), calls(call(None, arguments=": 1}")),
         calls(call(None, "g", '{"y": 2', id="b")), calls(call(None, arguments="}"))],
        TWO,
    ),
    "numbers left out, id in every piece": (
        [calls(call(None, "f", '{"x"', id="a"), call(None, "g", '{"y"', id="b")),
         calls(call(None, arguments=": 1}", id="a"), call(None, arguments=": 2}", id="b"))],
        TWO,
    ),
    "id and name in every piece": (
        [calls(call(0, "f", '{"x"', id="a")), calls(call(0, "f", ": 1}", id="a")),
         calls(call(1, "g", '{"y": ', id="b")), calls(call(1, "g", "2}", id="b"))],
        TWO,
    ),
    "every call has the number 0": (
        [calls(call(0, "f", '{"x": 1}', id="a")), calls(call(0, "g", '{"y": 2}', id="b"))], TWO,
    ),
    "numbered from 1": (
        [calls(call(1, "f", '{"x": 1}', id="a")), calls(call(2, "g", '{"y": 2}', id="b"))], TWO,
    ),
    "number null": ([calls({**call(None, "f", '{"x": 1}', id="a"), "index": None})], TWO[:1]),
    "empty id and null name in later pieces": (
        [calls(call(0, "f", "", id="a")),
         calls({"index": 0, "id": "", "function": {"name": None, "arguments": '{"x": 1}'}})],
        TWO[:1],
    ),
    "name after the id": ([calls(call(0, id="a")), calls(call(0, "f", '{"x": 1}'))], TWO[:1]),
    "no arguments": ([calls(call(0, "f", "", id="a"))], [("a", "f", "{}")]),
    "arguments never named": ([calls(call(0, "f", id="a"))], [("a", "f", "{}")]),
    "a piece with nothing in it": (
        [calls(call(0, "f", '{"x": 1}', id="a")), calls({"index": 0}), calls(call(0))], TWO[:1],
    ),
    "function missing": ([calls(call(0, "f", '{"x": 1}', id="a")), calls({"index": 0, "function": None})], TWO[:1]),
    "a brace that begins a piece of a text": (
        [calls(call(0, "f", '{"x": "}', id="")), calls(call(0, "f", '{"}'))], [("?", "f", '{"x": "}{"}')],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), ODD_CALLS.values(), ids=ODD_CALLS)
def test_tool_calls_are_found_however_a_server_cuts_them(
    events: list[Any], expected: list[tuple[str, str, str]]
) -> None:
    reader = OpenAIStream(TARGET)
    shown = feed(reader, [ROLE, *events, delta("tool_calls"), DONE])
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer)
    assert listed(answer) == joined_calls(shown)
    assert [each[1:] for each in listed(answer)] == [each[1:] for each in expected]
    assert all(
        found[0] == wanted[0] or wanted[0] == "?" for found, wanted in zip(listed(answer), expected, strict=True)
    )
    assert answer.finish_reason == "tool_calls"
    assert reader.text_length == sum(len(each.arguments) for each in answer.tool_calls)


NAMELESS = {
    "no id at all": [calls(call(0, "f", '{"x"')), calls(call(0, arguments=": 1}"))],
    "no id, no number, a new name": [calls(call(None, "f", "{}")), calls(call(None, "g", "{}"))],
    "no id, no number, the same name": [calls(call(None, "f", '{"a": 1}')), calls(call(None, "f", ' {"a": 2}'))],
    "no id, every number 0": [calls(call(0, "f", '{"a": 1}', id="")), calls(call(0, "f", '{"a": 2}', id=""))],
    "no id, no arguments": [calls(call(0, "f", "")), calls(call(0, "g", ""))],
    "the same id twice": [calls(call(0, "f", "{}", id="a")), calls(call(1, "f", "{}", id="a"))],
    "an id that comes late": [calls(call(0, "f", '{"a"')), calls(call(0, arguments=": 1}", id="late"))],
    "the old form": [delta(function_call={"name": "f", "arguments": ""}), delta(function_call={"arguments": "{}"})],
    "the old form beside the new": [delta(tool_calls=[call(0, "f", "{}", id="a")], function_call={"name": "f"})],
}  # fmt: skip


@pytest.mark.parametrize("events", NAMELESS.values(), ids=NAMELESS)
def test_a_call_without_an_id_has_one_that_chunk_and_answer_share(events: list[Any]) -> None:
    reader = OpenAIStream(TARGET)
    shown = feed(reader, [ROLE, *events, delta("tool_calls")])
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer)
    assert listed(answer) == joined_calls(shown)
    assert all(each.id for each in answer.tool_calls)
    assert len({each.id for each in answer.tool_calls}) == len(answer.tool_calls)
    again = answer_of([ROLE, *events, delta("tool_calls")])
    assert listed(again) == listed(answer), "the same answer has the same ids"


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("no id at all", [("f", '{"x": 1}')]),
        ("no id, no number, a new name", [("f", "{}"), ("g", "{}")]),
        ("no id, no number, the same name", [("f", '{"a": 1}'), ("f", ' {"a": 2}')]),
        ("no id, every number 0", [("f", '{"a": 1}'), ("f", '{"a": 2}')]),
        ("no id, no arguments", [("f", "{}"), ("g", "{}")]),
        ("the same id twice", [("f", "{}"), ("f", "{}")]),
        ("an id that comes late", [("f", '{"a": 1}')]),
        ("the old form", [("f", "{}")]),
        ("the old form beside the new", [("f", "{}")]),
    ],
)
def test_calls_without_ids_are_told_apart(case: str, found: list[tuple[str, str]]) -> None:
    answer = answer_of([*NAMELESS[case], delta("function_call")])
    assert [each[1:] for each in listed(answer)] == found
    assert answer.finish_reason == "tool_calls"


def test_made_up_ids_differ_between_answers() -> None:
    def first(**frame: Any) -> str:
        events = [{**each, **frame} for each in (calls(call(0, "f", "{}")), delta("tool_calls"))]
        return answer_of(events).tool_calls[0].id

    assert len({first(), first(id="chatcmpl-2"), first(id="", created=1), first(id="", created=2)}) == 4


def test_a_tool_call_that_is_never_named_makes_the_answer_unusable() -> None:
    reader = OpenAIStream(TARGET)
    feed(reader, [calls(call(0, arguments="{}", id="a")), delta("tool_calls")])
    failure = DIALECT.read(reader.body(), TARGET)
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.MALFORMED


def test_empty_arguments_are_completed_by_an_end_marker_too() -> None:
    reader = OpenAIStream(TARGET)
    shown = feed(reader, [calls(call(0, "f", "", id="a")), DONE])
    assert joined_calls(shown) == [("a", "f", "{}")]
    assert reader.text_length == 2


# What is kept for the whole answer


def test_the_body_is_the_one_of_a_whole_answer() -> None:
    logprob = {"token": "x", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    with_logprobs = {"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": [logprob], "refusal": None}}
    events = [
        {**event({"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}),
         "usage": None, "service_tier": "default", "system_fingerprint": "fp_1", "obfuscation": "a"},
        event({**with_logprobs, "finish_reason": None}), event({**with_logprobs, "finish_reason": None}),
        event({"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}),
        event(usage=USAGE, citations=["https://example.org"]),
        DONE,
    ]  # fmt: skip
    assert body_of(events) == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "acme-1-2026",
        "service_tier": "default", "system_fingerprint": "fp_1", "citations": ["https://example.org"],
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": "HiHi"}, "finish_reason": "stop",
            "logprobs": {"content": [logprob, logprob]}, "native_finish_reason": "end_turn",
        }],
        "usage": USAGE,
    }  # fmt: skip


def test_what_each_chunk_repeats_is_kept_once() -> None:
    sources = [{"url": "https://example.org"}]
    body = body_of([{**delta(content="x"), "citations": sources}] * 3 + [STOP])
    assert body["citations"] == sources


def test_azures_empty_id_and_model_do_not_hide_those_that_follow() -> None:
    body = body_of([NOTHING["azure's first"], delta(content="x"), STOP])
    assert (body["id"], body["model"]) == ("chatcmpl-1", "acme-1-2026")
    assert body["prompt_filter_results"] == [{"prompt_index": 0}]


@pytest.mark.parametrize(
    "events",
    [
        [delta("stop", content="x"), event(usage=USAGE)],
        [{**delta("stop", content="x"), "usage": USAGE}],
        [{**delta(content="x"), "usage": {"prompt_tokens": 20, "completion_tokens": 1}}, {**STOP, "usage": USAGE}],
        [{**delta("stop", content="x"), "x_groq": {"id": "req_1", "usage": USAGE}}],
        [{**ROLE, "x_groq": {"id": "req_1"}}, {**delta("stop", content="x"), "x_groq": {"usage": USAGE}}],
        [event({"index": 0, "delta": {"content": "x"}, "finish_reason": "stop", "usage": USAGE})],
        [{**delta("stop", content="x"), "usage": USAGE}, {**FRAME, "choices": [], "usage": None}],
    ],
)
def test_usage_is_found_wherever_it_stands(events: list[Any]) -> None:
    assert answer_of(events).usage == Usage(prompt_tokens=20, completion_tokens=9)


def test_usage_of_another_form_is_none() -> None:
    assert answer_of([delta("stop", content="x"), event(usage="many")]).usage == Usage()


def test_thinking_and_text_keep_their_order() -> None:
    def thinking(text: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    reference = {"type": "reference", "reference_ids": [1]}
    body = body_of([
        delta(content=[thinking("Hm")]), delta(content=[thinking(", so")]), delta(content="It "), delta(content="is"),
        delta(content=[reference]), delta(content=[{"type": "text", "text": " 42"}]), STOP,
    ])  # fmt: skip
    assert body["choices"][0]["message"]["content"] == [
        thinking("Hm, so"), {"type": "text", "text": "It is"}, reference, {"type": "text", "text": " 42"},
    ]  # fmt: skip
    answer = DIALECT.read(body, TARGET)
    assert isinstance(answer, Answer)
    assert (answer.content, answer.reasoning) == ("It is 42", "Hm, so")


def test_reasoning_goes_back_to_whom_it_came_from() -> None:
    events = [delta(reasoning_content="H", content=None), delta(reasoning_content="m"), delta("stop", content="So")]
    assert answer_of(events, DEEPSEEK).provider_data == {"reasoning_content": "Hm"}
    assert answer_of(events).provider_data is None


def test_reasoning_details_grow_together() -> None:
    def detail(**said: Any) -> dict[str, Any]:
        return delta(reasoning_details=[{"type": "reasoning.text", "index": 0, "format": "f", **said}])

    events = [
        detail(text="H"), detail(text="m"), detail(signature="s", text=None),
        delta(reasoning_details=[{"type": "reasoning.summary", "index": 1, "summary": "a"}]),
        delta(reasoning_details=[{"type": "reasoning.summary", "index": 1, "summary": "b"}, "?"]),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "y"}]),
        delta("stop", content="So", reasoning_details="?"),
    ]  # fmt: skip
    assert answer_of(events).provider_data == {
        "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "format": "f", "text": "Hm", "signature": "s"},
            {"type": "reasoning.summary", "index": 1, "summary": "ab"},
            {"type": "reasoning.encrypted", "data": "x"},
            {"type": "reasoning.encrypted", "data": "y"},
        ]
    }


def test_thought_signatures_are_kept_with_their_calls() -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    events = [calls(call(0, "f", "", id="a", extra_content=signature)), calls(call(0, arguments="{}")), STOP]
    assert answer_of(events).provider_data == {"tool_calls": {"a": {"extra_content": signature}}}
    beside = [delta(content="x", extra_content=signature), STOP]
    assert answer_of(beside).provider_data == {"extra_content": signature}


def test_other_fields_of_a_delta_are_kept_and_lists_grow() -> None:
    body = body_of([
        delta(annotations=[1], audio={"id": "a"}), delta(annotations=[2], audio={"expires_at": 3}, phase="final"),
        delta("stop", content="x", annotations="?"),
    ])  # fmt: skip
    assert body["choices"][0]["message"] == {
        "role": "assistant", "content": "x", "annotations": "?", "audio": {"id": "a", "expires_at": 3},
        "phase": "final",
    }  # fmt: skip


def test_a_server_that_sends_a_whole_message_in_its_stream_is_read() -> None:
    message = {"role": "assistant", "content": "Hi", "tool_calls": [call(0, "f", "{}", id="a")]}
    reader = OpenAIStream(TARGET)
    (shown,) = feed(reader, [event({"index": 0, "message": message, "finish_reason": "stop"})])
    assert (shown.text, joined_calls([shown])) == ("Hi", [("a", "f", "{}")])
    assert answer_of([event({"index": 0, "message": message, "finish_reason": "stop"})]).content == "Hi"


def test_a_message_that_only_repeats_what_came_is_not_read_again() -> None:
    repeated = event({"index": 0, "delta": None, "message": {"content": "Hi"}, "finish_reason": "stop"})
    assert answer_of([delta(content="Hi"), repeated]).content == "Hi"


# Completeness


def test_without_finish_reason_and_end_marker_it_is_truncated() -> None:
    reader = OpenAIStream(TARGET)
    feed(reader, [ROLE, delta(reasoning="Hm"), delta(content="Half an "), delta(content="answer")])
    failure = reader.body()
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.partial, failure.maybe_billed) == (Fault.TRUNCATED, "Half an answer", True)


def test_of_nothing_nothing_is_left() -> None:
    failure = OpenAIStream(TARGET).body()
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.partial) == (Fault.TRUNCATED, "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (delta(content="x"), "stop"),
        (delta(refusal="no"), "stop"),
        (delta(reasoning="hm"), "stop"),
        (calls(call(0, "f", "{}", id="a")), "tool_calls"),
        (calls(call(0, "f", "", id="a")), "tool_calls"),
    ],
)
def test_an_end_marker_alone_is_an_end_where_something_was_said(content: Any, reason: str) -> None:
    body = body_of([ROLE, content, DONE])
    assert body["choices"][0].items() >= {"finish_reason": "stop", "finish_reason_missing": True}.items()
    answer = DIALECT.read(body, TARGET)
    assert isinstance(answer, Answer)
    assert answer.finish_reason == reason


def test_a_finish_reason_is_not_called_missing() -> None:
    assert "finish_reason_missing" not in body_of([delta("stop", content="x"), DONE])["choices"][0]


@pytest.mark.parametrize(
    ("events", "said"), [([ROLE, DONE], "empty"), ([DONE], "no choices"), ([event(usage=USAGE), DONE], "no choices")]
)
def test_an_end_marker_after_nothing_is_no_answer(events: list[Any], said: str) -> None:
    failure = DIALECT.read(body_of(events), TARGET)
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.MALFORMED
    assert said in failure.message


def test_a_finish_reason_after_nothing_is_an_empty_answer() -> None:
    answer = answer_of([ROLE, delta("length"), DONE])
    assert (answer.content, answer.finish_reason) == ("", "length")


def test_a_filtered_answer_keeps_its_beginning() -> None:
    failure = DIALECT.read(body_of([delta(content="First, take"), delta("content_filter"), DONE]), TARGET)
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.partial) == (Fault.CONTENT_FILTER, "First, take")


# Errors


def chunk_with(**fields: Any) -> dict[str, Any]:
    return {**delta(), **fields}


ERRORS: dict[str, tuple[str, Any, str, Fault, str]] = {
    "openai": ("", {"error": {"message": "The server had an error", "type": "server_error"}}, "openai",
               Fault.SERVER, "server_error"),
    "openai, overloaded": ("", {"error": {"message": "busy", "code": "server_is_overloaded"}}, "openai",
                           Fault.OVERLOADED, "server_is_overloaded"),
    "quota": ("", {"error": {"message": "no", "code": "insufficient_quota"}}, "openai", Fault.QUOTA,
              "insufficient_quota"),
    "rate limit": ("", {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, "openai", Fault.RATE_LIMIT,
                   "rate_limit_exceeded"),
    "context": ("", {"error": {"message": "too long", "code": "context_length_exceeded"}}, "openai", Fault.CONTEXT,
                "context_length_exceeded"),
    "a sentence": ("", {"error": "Something broke"}, "acme", Fault.SERVER, ""),
    "xai": ("", {"code": "Some resource has been exhausted", "error": "used all available credits"}, "xai",
            Fault.QUOTA, ""),
    "flat": ("", {"object": "error", "message": "Service unavailable.", "type": "service_unavailable", "code": "3700"},
             "mistral", Fault.OVERLOADED, "3700"),
    "openrouter": ("", {**event({"index": 0, "delta": {"content": ""}, "finish_reason": "error"}),
                        "error": {"code": 529, "message": "Provider is overloaded"}}, "openrouter",
                   Fault.OVERLOADED, ""),
    "openrouter, in the choice": ("", event({"index": 0, "delta": {}, "finish_reason": "error",
                                             "error": {"code": 429, "message": "upstream limit"}}), "openrouter",
                                  Fault.RATE_LIMIT, ""),
    "finish reason error": ("", delta("error"), "mistral", Fault.SERVER, "error"),
    "finish reason error, in capitals": ("", delta("ERROR"), "acme", Fault.SERVER, "error"),
    "finish reason error, with its native one": (
        "", event({"index": 0, "delta": {}, "finish_reason": "error", "native_finish_reason": "x"}), "openrouter",
        Fault.SERVER, "error"),
    "deepseek gave up": ("", delta("insufficient_system_resource"), "deepseek", Fault.OVERLOADED,
                         "insufficient_system_resource"),
    "groq": ("", chunk_with(x_groq={"id": "r", "error": "the stream was stopped early"}), "groq", Fault.SERVER, ""),
    "groq, an object": ("", chunk_with(x_groq={"error": {"message": "flex", "code": "capacity_exceeded"}}), "groq",
                        Fault.OVERLOADED, "capacity_exceeded"),
    "named error": ("error", {"error": {"message": "busy", "code": "server_is_overloaded"}}, "openai",
                    Fault.OVERLOADED, "server_is_overloaded"),
    "named error, flat": ("error", {"message": "Insufficient credits", "code": 402}, "openrouter", Fault.QUOTA, ""),
    "named error, an object without words": ("error", {}, "acme", Fault.SERVER, ""),
    "named error, a sentence": ("error", '"upstream broke"', "acme", Fault.SERVER, ""),
    "named error, no JSON": ("error", "upstream broke", "acme", Fault.SERVER, ""),
    "gemini's list": ("", [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], "gemini",
                      Fault.OVERLOADED, ""),
    "content policy": ("", {"error": {"message": "filtered", "code": "content_filter"}}, "azure",
                       Fault.CONTENT_FILTER, "content_filter"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "vendor", "fault", "code"), ERRORS.values(), ids=ERRORS)
def test_every_form_of_an_error_is_a_failure_that_is_told_apart(
    name: str, data: Any, vendor: str, fault: Fault, code: str
) -> None:
    where = msgspec.structs.replace(TARGET, vendor=vendor)
    failure = failed([ROLE, delta(content="Half"), data], name=name, where=where)
    assert failure.fault is fault, failure
    assert not code or failure.code == code
    assert failure.maybe_billed, "it came after a piece of the answer"
    assert failure.partial == ("Half" if fault is Fault.CONTENT_FILTER else "")


def test_an_error_before_any_content_that_no_model_saw_is_not_billed() -> None:
    assert not failed([{"error": {"message": "slow", "code": "rate_limit_exceeded"}}]).maybe_billed
    assert failed([{"error": {"message": "broke", "type": "server_error"}}]).maybe_billed


def test_the_stated_wait_is_kept() -> None:
    error = {"code": 429, "message": "slow", "metadata": {}, "availability": {"retryable": True, "retry_after": 7}}
    failure = failed([{"error": error}], where=msgspec.structs.replace(TARGET, vendor="openrouter"))
    assert (failure.retry_after, failure.should_retry) == (7.0, True)


def test_an_echoed_key_is_masked_and_a_long_error_shortened() -> None:
    for data, name in (
        ({"error": "key sk-proj-abcdef12345 " + "x" * 10**5}, ""),
        ("key sk-proj-abcdef12345 " * 999, "error"),
    ):
        message = failed([data], name=name).message
        assert "abcdef" not in message
        assert len(message) < 500


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("<html>busy</html>", "not JSON"),
        ('{"choices": [', "not JSON"),
        ('{"choices": [{"delta": {"content": "\\ud83d"}}]}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        ("null", "no object"),
        ("[]", "no object"),
        ("7", "no object"),
        ('"hello"', "no object"),
        ({"detail": "upstream timed out"}, "upstream timed out"),
        ({"message": "no such route"}, "no such route"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_chunk_is_malformed(data: Any, said: str) -> None:
    failure = failed([ROLE, data])
    assert (failure.fault, failure.maybe_billed) == (Fault.MALFORMED, True)
    assert said in failure.message


def test_arguments_nested_without_end_are_malformed_and_never_an_exception() -> None:
    faults = set()
    for depth in range(10, 1200, 10):
        chunk_ = json.dumps(calls(call(0, "f", "NESTED", id="a")))
        found = read(OpenAIStream(TARGET), chunk_.replace('"NESTED"', "[" * depth + "]" * depth))
        faults.add(found.fault if isinstance(found, Failure) else None)
    assert faults == {None, Fault.MALFORMED}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def loosely(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object of which every field may be missing, right or anything."""
    return st.fixed_dictionaries({}, optional={name: value | json_values for name, value in fields.items()})


loose_functions = loosely(name=st.sampled_from(["f", "g"]), arguments=st.sampled_from(["", "{}", '{"a"', ": 1}"]))
loose_calls = loosely(
    index=st.integers(0, 2), id=st.sampled_from(["", "a", "b"]), function=loose_functions, extra_content=json_values
)
loose_parts = loosely(type=st.sampled_from(["text", "thinking", "image"]), text=st.text(), thinking=json_values)
loose_details = loosely(
    type=st.sampled_from(["reasoning.text", "reasoning.encrypted"]), text=st.text(), index=json_values
)
loose_deltas = loosely(
    role=st.just("assistant"),
    content=st.text() | st.lists(loose_parts, max_size=3),
    tool_calls=st.lists(loose_calls, max_size=3),
    refusal=st.text(),
    reasoning=st.text(),
    reasoning_content=st.text(),
    reasoning_details=st.lists(loose_details, max_size=3),
    function_call=loose_functions,
    annotations=json_values,
)
loose_choices = loosely(
    index=st.integers(0, 1),
    delta=loose_deltas,
    message=loose_deltas,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "error", "new"]),
    logprobs=loosely(content=st.lists(json_values, max_size=2)),
    error=json_values,
    usage=json_values,
)
loose_chunks = loosely(
    choices=st.lists(loose_choices, max_size=2),
    usage=loosely(prompt_tokens=st.integers()),
    id=st.text(),
    model=st.text(),
    object=st.just("chat.completion.chunk"),
    error=json_values,
    x_groq=loosely(usage=json_values, error=json_values),
)


@given(
    st.lists(loose_chunks | json_values | st.just(DONE) | st.binary(max_size=20), max_size=6),
    st.sampled_from(["", "error"]),
)
def test_reading_never_raises_and_what_is_shown_is_what_is_kept(events: list[Any], last_name: str) -> None:
    reader = OpenAIStream(DEEPSEEK)
    shown: list[Chunk] = []
    for number, each in enumerate(events, start=1):
        found = read(reader, each, last_name if number == len(events) else "")
        assert isinstance(found, Chunk | Failure | None)
        if isinstance(found, Failure):
            return
        shown += [found] if found is not None else []
    body = reader.body()
    assert reader.text_length == sum(
        len(each.text) + len(each.reasoning) + len(each.refusal) + sum(len(call.arguments) for call in each.tool_calls)
        for each in shown
    )
    if isinstance(body, Failure):
        assert body.partial == "".join(each.text for each in shown)
        return
    answer = DIALECT.read(body, DEEPSEEK)
    if isinstance(answer, Answer):
        assert answer.content == "".join(each.text for each in shown)
        assert [(each.id, each.name) for each in answer.tool_calls] == [each[:2] for each in joined_calls(shown)]


# Any answer, cut into any pieces, is the answer


words = st.text(max_size=12)
some_words = st.text(min_size=1, max_size=12)
arguments_texts = (
    st.dictionaries(st.text(max_size=4), st.integers() | words, max_size=3).map(json.dumps) | st.just("") | words
)


@st.composite
def whole_calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        entry = {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": draw(st.sampled_from(["f", "look_up"])), "arguments": draw(arguments_texts)},
        }
        if draw(st.booleans()):
            entry["extra_content"] = {"google": {"thought_signature": draw(some_words)}}
        found.append(entry)
    return found


content_parts = st.lists(
    some_words.map(lambda text: {"type": "text", "text": text})
    | some_words.map(lambda text: {"type": "thinking", "thinking": [{"type": "text", "text": text}]}),
    min_size=1,
    max_size=4,
)


@st.composite
def whole_bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A chat completion as it comes without streaming."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | words | content_parts)}
    if not isinstance(message["content"], list):
        field = draw(st.sampled_from(["reasoning", "reasoning_content"]))
        message |= draw(st.fixed_dictionaries({}, optional={field: words}))
    message |= draw(st.fixed_dictionaries({}, optional={"refusal": st.none() | words}))
    tool_calls = draw(whole_calls())
    if tool_calls:
        message["tool_calls"] = tool_calls
    reason = draw(st.sampled_from(["stop", "length", "tool_calls", "eos", "model_length", "content_filter", "new"]))
    usage = draw(st.none() | st.builds(lambda asked, told: {**USAGE, "prompt_tokens": asked, "completion_tokens": told,
                                                            "prompt_tokens_details": {"cached_tokens": asked // 2}},
                                       st.integers(0, 99), st.integers(0, 99)))  # fmt: skip
    return {
        **FRAME, "object": "chat.completion", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }  # fmt: skip


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """*text* in pieces, some of which may be empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def cut_content(draw: st.DrawFn, content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield from ({"content": piece} for piece in cut(draw, content))
        return
    for part in content or ():
        if part["type"] == "text":
            as_part = draw(st.booleans())
            for piece in cut(draw, part["text"]):
                yield {"content": [{"type": "text", "text": piece}] if as_part else piece}
        else:
            for piece in cut(draw, part["thinking"][0]["text"]):
                yield {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}


def cut_call(draw: st.DrawFn, number: int, whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pieces of one call, by one of the grammars that servers have."""
    style = draw(st.sampled_from(["reference", "repeated", "whole"]))
    function = whole["function"]
    if style == "whole":
        yield {"tool_calls": [{"index": number, **whole}]}
        return
    start = {**whole, "function": {**function, "arguments": ""}}
    yield {"tool_calls": [{"index": number, **start}]}
    for piece in cut(draw, function["arguments"]):
        named = {"name": function["name"]} if style == "repeated" else {}
        identified = {"id": whole["id"], "type": "function"} if style == "repeated" else {}
        yield {"tool_calls": [{"index": number, **identified, "function": {**named, "arguments": piece}}]}


@st.composite
def streamed(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    """A whole answer, and the events of one way in which it may be streamed."""
    body = draw(whole_bodies())
    choice = body["choices"][0]
    message = choice["message"]
    rows: list[list[dict[str, Any]]] = [list(cut_content(draw, message["content"]))]
    grown = [field for field in ("reasoning", "reasoning_content", "refusal") if message.get(field)]
    rows += [[{field: piece} for piece in cut(draw, message[field])] for field in grown]
    rows.append(
        [piece for number, each in enumerate(message.get("tool_calls", ())) for piece in cut_call(draw, number, each)]
    )
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": draw(st.sampled_from(["", None]))}]
    while any(rows):
        row = draw(st.sampled_from([row for row in rows if row]))
        deltas.append(row.pop(0) | draw(st.sampled_from([{}, {"role": "assistant"}])))
    *deltas, last = deltas
    joined = draw(st.booleans())  # the reason with the last piece, or alone
    usage_alone = draw(st.booleans())
    events = [delta(**each) for each in deltas]
    events += [delta(choice["finish_reason"], **last)] if joined else [delta(**last), delta(choice["finish_reason"])]
    if body["usage"] and not usage_alone:
        events[-1]["usage"] = body["usage"]
    if body["usage"] and usage_alone:
        events.append(event(usage=body["usage"]))
    return body, [*events, *draw(st.sampled_from([[], [DONE]]))]


def over_the_wire(events: Iterable[Any], *, ascii_only: bool, size: int) -> list[tuple[str, bytes]]:
    """*events* as they come out of a body that arrives in packets of *size* bytes."""
    data = b"".join(
        b"data: " + (each if isinstance(each, str) else json.dumps(each, ensure_ascii=ascii_only)).encode() + b"\n\n"
        for each in events
    )
    parser, found = EventParser(), list[tuple[str, bytes]]()
    for start in range(0, len(data), size):
        found += parser.feed(data[start : start + size])
    return [*found, *parser.close()]


@given(streamed(), st.booleans(), st.integers(1, 200))
def test_any_answer_in_any_pieces_is_the_answer(case: tuple[Any, list[Any]], ascii_only: bool, size: int) -> None:
    whole, events = case
    reader, shown = OpenAIStream(DEEPSEEK), []
    for name, data in over_the_wire(events, ascii_only=ascii_only, size=size):
        each = reader.read(name, data)
        assert not isinstance(each, Failure), each
        shown += [each] if each is not None else []
    expected = DIALECT.read(whole, DEEPSEEK)
    found = DIALECT.read(reader.body(), DEEPSEEK)
    assert reader.finished
    if isinstance(expected, Failure) or isinstance(found, Failure):
        assert found == expected
        return
    assert msgspec.structs.replace(found, raw=None) == msgspec.structs.replace(expected, raw=None)
    assert "".join(each.text for each in shown) == expected.content
    assert "".join(each.reasoning for each in shown) == (expected.reasoning or "")
    assert "".join(each.refusal for each in shown) == (expected.refusal or "")
    assert joined_calls(shown) == listed(expected)
    assert {(each.provider, each.model) for each in shown} <= {("deepseek", "deepseek-flash")}


def test_memory_grows_by_the_text_and_by_nothing_else() -> None:
    reader = OpenAIStream(TARGET)
    padded = {**delta(content="a"), "obfuscation": "x" * 50, "usage": None, "citations": ["https://example.org"]}
    pieces = [encoded(padded), encoded(delta(reasoning="b")), encoded(calls(call(0, arguments="c")))]
    feed(reader, [calls(call(0, "f", "", id="a")), *(piece.decode() for piece in pieces)])
    tracemalloc.start()
    try:
        for _ in range(10_000):
            for piece in pieces:
                reader.read("", piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.text_length == 3 * 10_001
    assert held < 10 * 30_000  # text is held in up to four bytes a character while it grows


# What the fake providers stream, read by OpenAI's own SDK

VENDORS = ("openai", "azure", "deepseek", "groq", "mistral", "openrouter", "xai", "together", "holysheep", "generic")
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("search", "ask")
]
SAID = {
    "text": Healthy(text="Grüße aus Köln 🎉 and all the rest"),
    "reasoning": Healthy(text="So it is.", reasoning="Let me think it over", cached_tokens=7, reasoning_tokens=5),
    "cut": Healthy(text="cut sh", finish="length"),
    "tools": Healthy(tool_calls=2, tool_arguments={"query": "Grüße", "n": [1, None, {"a": 1.5}]}),
    "bare tool": Healthy(tool_calls=1, tool_arguments={}, reasoning="Which tool?"),
    "refusal": Healthy(text="I will not.", finish="refusal"),
}
SHAPE = StreamShape(newline="\r\n", split=7, comments=1, comment=": OPENROUTER PROCESSING", comment_interval=0.0)


def target_of(vendor: str) -> Target:
    preset = catalog().presets.get(vendor)
    return Target(provider=vendor, vendor=vendor, model="m-1", quirks=preset.quirks if preset else Quirks())


def asked_of(vendor: str, said: Healthy) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if target_of(vendor).quirks.stream_options else {}
    return options | ({"tools": TOOLS} if said.tool_calls else {})


def stream_and_whole(vendor: str, said: Healthy, shape: StreamShape) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a stream, and the body of the same answer without streaming."""
    fields = asked_of(vendor, said)
    with FakeProvider(vendor, behaviour=Behaviour(said, stream=shape)) as provider:
        data = ask(provider, stream=True, **fields).content
    fields.pop("stream_options", None)
    with FakeProvider(vendor, behaviour=Behaviour(said)) as provider:
        whole: dict[str, Any] = ask(provider, **fields).json()
    return data, whole


def read_by_failsafe(data: bytes, where: Target) -> tuple[Answer, list[Chunk]]:
    reader, shown, parser = OpenAIStream(where), [], EventParser()
    for name, each in [*parser.feed(data), *parser.close()]:
        chunk = reader.read(name, each)
        assert not isinstance(chunk, Failure), chunk
        shown += [chunk] if chunk is not None else []
    assert (reader.finished, reader.done) == (True, True)
    answer = DIALECT.read(reader.body(), where)
    assert isinstance(answer, Answer), answer
    return answer, shown


@pytest.mark.parametrize("shape", [StreamShape(obfuscation=True), SHAPE], ids=["padded", "torn"])
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_stream_is_its_whole_answer(vendor: str, said: Healthy, shape: StreamShape) -> None:
    where = target_of(vendor)
    data, whole = stream_and_whole(vendor, said, shape)
    answer, shown = read_by_failsafe(data, where)
    expected = DIALECT.read(whole, where)
    assert isinstance(expected, Answer)
    assert msgspec.structs.replace(answer, raw=None) == msgspec.structs.replace(expected, raw=None)
    assert "".join(each.text for each in shown) == expected.content
    assert "".join(each.reasoning for each in shown) == said.reasoning
    assert joined_calls(shown) == listed(expected)
    own = {"usage", "created", "choices", "object", "x_groq", "prompt_filter_results"}
    assert {key: value for key, value in answer.raw.items() if key not in own} == {
        key: value for key, value in whole.items() if key not in own
    }


class Theirs:
    """What a caller of OpenAI's SDK would gather from a stream, by hand."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self.text = self.reasoning = self.refusal = ""
        self.calls: dict[int, list[str]] = {}
        self.usage: Any = None
        self.reason: str | None = None
        for each in chunks:
            self.usage = each.usage or self.usage or (getattr(each, "x_groq", None) or {}).get("usage")
            for choice in each.choices:
                self.reason = choice.finish_reason or self.reason
                self._take(getattr(choice, "delta", None))

    def _take(self, delta: Any) -> None:
        if delta is None:
            return
        parts = delta.content if isinstance(delta.content, list) else []
        self.text += (
            delta.content
            if isinstance(delta.content, str)
            else "".join(part["text"] for part in parts if part["type"] == "text")
        )
        self.reasoning += "".join(part["thinking"][0]["text"] for part in parts if part["type"] == "thinking")
        self.reasoning += getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
        self.refusal += delta.refusal or ""
        for piece in delta.tool_calls or ():
            kept = self.calls.setdefault(piece.index, ["", "", ""])
            for place, text in enumerate((piece.id, piece.function.name, piece.function.arguments)):
                kept[place] += text or ""

    def counted(self) -> tuple[int, int]:
        usage = self.usage if isinstance(self.usage, dict) else self.usage.to_dict()
        return usage["prompt_tokens"], usage["completion_tokens"]


def client_of(provider: FakeProvider) -> openai.OpenAI:
    return openai.OpenAI(
        api_key=provider.key, base_url=provider.base_url, max_retries=0, default_headers={"api-key": provider.key}
    )


def replaying(vendor: str, data: bytes) -> FakeProvider:
    return FakeProvider(vendor, behaviour=Behaviour(Verbatim(body=data, content_type="text/event-stream")))


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize("vendor", VENDORS)
def test_the_sdk_reads_what_we_read(vendor: str, said: Healthy) -> None:
    data, _ = stream_and_whole(vendor, said, SHAPE)
    answer, _ = read_by_failsafe(data, target_of(vendor))
    with (
        replaying(vendor, data) as provider,
        client_of(provider) as client,
        client.chat.completions.create(
            model="m-1", messages=[{"role": "user", "content": "hi"}], stream=True
        ) as stream,
    ):
        theirs = Theirs(stream)
    assert answer.content == theirs.text
    assert (answer.reasoning or "") == theirs.reasoning == said.reasoning
    assert (answer.refusal or "") == theirs.refusal
    assert listed(answer) == [tuple(each) for each in theirs.calls.values()]
    assert answer.raw["choices"][0]["finish_reason"] == theirs.reason
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == theirs.counted()
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_the_sdks_own_assembly_is_ours(said: Healthy) -> None:
    data, _ = stream_and_whole("openai", said, SHAPE)
    answer, _ = read_by_failsafe(data, target_of("openai"))
    with (
        replaying("openai", data) as provider,
        client_of(provider) as client,
        client.chat.completions.stream(model="m-1", messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        if said.finish == "length":
            with pytest.raises(openai.LengthFinishReasonError) as caught:
                stream.get_final_completion()
            theirs: Any = caught.value.completion
        else:
            theirs = stream.get_final_completion()
    (choice,) = theirs.choices
    ours = answer.raw["choices"][0]
    assert (answer.raw["id"], answer.raw["model"]) == (theirs.id, theirs.model)
    assert ours["finish_reason"] == choice.finish_reason
    assert (ours["message"]["content"] or "") == (choice.message.content or "")
    assert ours["message"].get("refusal") == choice.message.refusal
    assert listed(answer) == [
        (each.id, each.function.name, each.function.arguments)
        for each in choice.message.tool_calls or ()
        if each.type == "function"
    ]
    assert theirs.usage is not None
    assert answer.raw["usage"] == theirs.usage.to_dict()


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.RATE_LIMIT, Fault.QUOTA, Fault.SERVER, Fault.CONTEXT])
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_error_in_a_stream_is_the_fault_it_would_be_in_a_body(vendor: str, fault: Fault) -> None:
    where = target_of(vendor)
    with FakeProvider(vendor, behaviour=Behaviour(stream=StreamShape(error_after=2, error=fault))) as provider:
        *events, (name, last) = EventParser().feed(ask(provider, stream=True).content)
    reader = OpenAIStream(where)
    for each in events:
        assert not isinstance(reader.read(*each), Failure)
    failure = reader.read(name, last)
    assert isinstance(failure, Failure)
    # xAI's errors name neither a status nor a type; what is no rule of its own is a server's error, in a body as well.
    told_apart = vendor != "xai" or fault not in (Fault.OVERLOADED, Fault.RATE_LIMIT)
    assert failure.fault is (fault if told_apart else Fault.SERVER)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_stream_of_nothing_but_an_error_or_of_nothing_at_all_is_a_failure(vendor: str) -> None:
    where = target_of(vendor)
    with FakeProvider(vendor, behaviour=Behaviour(ErrorIn200())) as provider:
        ((name, data),) = EventParser().feed(ask(provider, stream=True).content)
        assert isinstance(OpenAIStream(where).read(name, data), Failure)
        provider.behave(Behaviour(EmptyMessage()))
        empty = EventParser().feed(ask(provider, stream=True).content)
    reader = OpenAIStream(where)
    assert [reader.read(*each) for each in empty] == [None] * len(empty)
    failure = DIALECT.read(reader.body(), where)
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.MALFORMED
