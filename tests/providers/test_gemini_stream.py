"""Gemini's streamed answers: what each event shows, and that they make up the answer that was not streamed."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai.types import GenerateContentResponse
from hypothesis import given
from hypothesis import strategies as st

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.faults import Fault
from failsafe.models import Answer, Failure
from failsafe.providers.base import Dialect, Target
from failsafe.providers.classify import classify_error_in_success
from failsafe.providers.gemini import GeminiDialect
from failsafe.providers.gemini_stream import GeminiStream
from failsafe.request import build_request
from failsafe.sim import Behaviour, FakeProvider, Healthy, StreamShape
from failsafe.sse import EventParser
from tests.sim.sim_client import ask

DIALECT: Dialect = GeminiDialect()
TARGET = Target(provider="google", vendor="gemini", model="gemini-x")
USAGE = {"promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 9}
FRAME: dict[str, Any] = {"usageMetadata": USAGE, "modelVersion": "gemini-x-001", "responseId": "resp-1"}
CALL: dict[str, Any] = {"id": "fc-1", "name": "get_weather", "args": {"city": "Paris"}}
ARGUMENTS = '{"city": "Paris"}'


def event(*parts: Any, reason: str | None = None, **frame: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], **FRAME, **frame}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"text": said, **more}


def thought(said: str) -> dict[str, Any]:
    return {"text": said, "thought": True}


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def feed(events: Iterable[Any], reader: GeminiStream | None = None) -> tuple[GeminiStream, list[Chunk]]:
    """A reader that has read *events*, and what they show."""
    reader = GeminiStream(TARGET) if reader is None else reader
    shown = []
    for each in events:
        chunk = reader.read("", encoded(each))
        assert not isinstance(chunk, Failure), chunk
        if chunk is not None:
            shown.append(chunk)
    return reader, shown


def result_of(*events: Any) -> Answer | Failure:
    body = feed(events)[0].body()
    return body if isinstance(body, Failure) else DIALECT.read(body, TARGET)


def answer_of(*events: Any) -> Answer:
    answer = result_of(*events)
    assert isinstance(answer, Answer), answer
    return answer


def failure_of(*events: Any) -> Failure:
    failure = result_of(*events)
    assert isinstance(failure, Failure), failure
    return failure


def parts_of(*events: Any) -> Any:
    return answer_of(*events).raw["candidates"][0]["content"]["parts"]


def shown_by(*events: Any) -> list[Chunk]:
    return feed(events)[1]


def chunk(**said: Any) -> Chunk:
    return Chunk(provider="google", model="gemini-x", **said)


def read_bytes(data: bytes, size: int | None = None) -> tuple[GeminiStream, list[Chunk | Failure]]:
    """A reader that has read the events in a stream's bytes, which come *size* at a time, and what they show."""
    reader, parser = GeminiStream(TARGET), EventParser()
    step = size or len(data) or 1
    events = [each for start in range(0, len(data), step) for each in parser.feed(data[start : start + step])]
    read = [reader.read(*each) for each in (*events, *parser.close())]
    return reader, [each for each in read if each is not None]


# What is asked for


def test_a_stream_has_an_address_of_its_own() -> None:
    request = build_request("hello", "m", {})
    streamed = DIALECT.build(msgspec.structs.replace(request, stream=True), TARGET)
    assert streamed.path == "/models/gemini-x:streamGenerateContent?alt=sse"
    assert streamed.body == DIALECT.build(request, TARGET).body


def test_a_models_name_leads_to_no_other_query() -> None:
    request = msgspec.structs.replace(build_request("hello", "m", {}), stream=True)
    built = DIALECT.build(request, msgspec.structs.replace(TARGET, model="x?key=1"))
    assert built.path == "/models/x%3Fkey%3D1:streamGenerateContent?alt=sse"


def test_the_dialect_gives_a_new_reader_for_each_answer() -> None:
    first, second = DIALECT.stream(TARGET), DIALECT.stream(TARGET)
    first.read("", encoded(event(text("hello"))))
    assert (first.text_length, second.text_length) == (5, 0)


# What each event shows


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (event(text("Hel")), chunk(text="Hel")),
        (event(text("Hel"), text("lo")), chunk(text="Hello")),
        (event(text("Hel", thought=False)), chunk(text="Hel")),
        (event(text("Hel", thoughtSignature="c2ln")), chunk(text="Hel")),
        (event(thought("hm")), chunk(reasoning="hm")),
        (event(thought("hm"), text("Hel")), chunk(text="Hel", reasoning="hm")),
        (event(text("end"), reason="STOP"), chunk(text="end")),
        (
            event({"functionCall": CALL}),
            chunk(tool_calls=(ToolCallDelta(index=0, id="fc-1", name="get_weather", arguments=ARGUMENTS),)),
        ),
        (
            event(text("look"), {"functionCall": {"id": "a", "name": "f"}}, {"functionCall": {"id": "b", "name": "g"}}),
            chunk(
                text="look",
                tool_calls=(
                    ToolCallDelta(index=0, id="a", name="f", arguments="{}"),
                    ToolCallDelta(index=1, id="b", name="g", arguments="{}"),
                ),
            ),
        ),
        (event(), None),
        (event(text("")), None),
        (event(reason="STOP"), None),
        (event(text("", thoughtSignature="c2ln"), reason="STOP"), None),
        (event({"inlineData": {"mimeType": "image/png", "data": "AA=="}}), None),
        ({"usageMetadata": USAGE}, None),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, None),
        ({"candidates": [{"index": 1, "content": {"parts": [text("other")]}}]}, None),
        ({"candidates": [{"content": {"parts": [text("no index")]}}]}, chunk(text="no index")),
        ({"candidates": [{"index": 1, "content": {"parts": [text("b")]}}, event(text("a"))["candidates"][0]]},
         chunk(text="a")),
        ({"candidates": []}, None),
        ({"candidates": None, "error": None}, None),
        ({}, None),
        ([event(text("in a list"))], chunk(text="in a list")),
    ],
)  # fmt: skip
def test_what_an_event_shows(event: Any, shown: Chunk | None) -> None:
    assert GeminiStream(TARGET).read("", encoded(event)) == shown


def test_calls_are_counted_over_the_whole_answer() -> None:
    first, second = shown_by(event({"functionCall": CALL}), event({"functionCall": {**CALL, "id": "fc-2"}}))
    assert [call.index for each in (first, second) for call in each.tool_calls] == [0, 1]


def test_a_call_without_a_name_is_not_shown_and_spoils_the_answer() -> None:
    events = [event({"functionCall": {"args": {}}}), event(reason="STOP")]
    assert shown_by(*events) == []
    assert failure_of(*events).fault is Fault.MALFORMED


def test_the_length_is_that_of_text_reasoning_and_arguments() -> None:
    reader, _ = feed([event(text("Grüße"), thought("hm")), event({"functionCall": CALL})])
    assert reader.text_length == len("Grüße") + len("hm") + len(ARGUMENTS)


# How it ends


def test_it_has_ended_with_its_finish_reason_and_is_done_with_its_body_alone() -> None:
    reader, _ = feed([event(text("a"))])
    assert (reader.finished, reader.done) == (False, False)
    feed([event(reason="STOP")], reader)
    assert (reader.finished, reader.done) == (True, False)


@pytest.mark.parametrize("reason", [None, "", "FINISH_REASON_UNSPECIFIED"])
def test_a_reason_that_says_nothing_does_not_end_it(reason: str | None) -> None:
    unsaid = event(text("a"))
    unsaid["candidates"][0]["finishReason"] = reason
    assert not feed([unsaid])[0].finished
    assert answer_of(event(text("a"), reason="MAX_TOKENS"), unsaid).finish_reason == "length"


def test_another_candidates_reason_does_not_end_it() -> None:
    other = {"candidates": [{"index": 1, "finishReason": "STOP"}]}
    assert not feed([event(text("a")), other])[0].finished


def test_text_after_a_reason_belongs_to_the_answer() -> None:
    assert answer_of(event(text("a"), reason="STOP"), event(text("b"), reason="STOP")).content == "ab"


def test_usage_may_follow_the_reason() -> None:
    last = {**USAGE, "candidatesTokenCount": 20}
    answer = answer_of(event(text("a")), event(reason="STOP"), {"usageMetadata": last}, {"usageMetadata": None})
    assert answer.usage.completion_tokens == 23
    assert answer.raw["usageMetadata"] == last


@pytest.mark.parametrize(
    ("events", "partial"),
    [
        ([], ""),
        ([event(thought("hm"), text("Hel")), event(text("lo"))], "Hello"),
        ([{"usageMetadata": USAGE}], ""),
        ([{"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}], ""),
        ([{"promptFeedback": {"safetyRatings": []}}, event(text("Hel"))], "Hel"),
    ],
)
def test_a_stream_without_an_end_is_truncated(events: list[Any], partial: str) -> None:
    failure = failure_of(*events)
    assert (failure.fault, failure.partial, failure.maybe_billed) == (Fault.TRUNCATED, partial, True)


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "IMAGE_SAFETY"])
def test_a_filtered_answer_keeps_what_was_said(reason: str) -> None:
    stopped = event(reason=reason)
    stopped["candidates"][0]["finishMessage"] = "not this"
    failure = failure_of(event(thought("hm"), text("Hel")), event(text("lo")), stopped)
    assert (failure.fault, failure.code, failure.partial) == (Fault.CONTENT_FILTER, reason, "Hello")
    assert "not this" in failure.message


@pytest.mark.parametrize("before", [[], [event(text("Hel")), event(text("lo"))]])
def test_a_blocked_prompt_ends_it_before_or_after_its_first_words(before: list[Any]) -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "not this"}, **FRAME}
    reader, _ = feed([*before, blocked])
    assert reader.finished
    failure = failure_of(*before, blocked)
    assert (failure.fault, failure.code) == (Fault.CONTENT_FILTER, "PROHIBITED_CONTENT")
    assert failure.partial == ("Hello" if before else "")
    assert "not this" in failure.message


def test_an_answer_the_model_spoiled_is_malformed() -> None:
    assert failure_of(event(text("a")), event(reason="MALFORMED_FUNCTION_CALL")).fault is Fault.MALFORMED


# What the whole answer is


def test_the_whole_answer_is_the_one_that_was_not_streamed() -> None:
    whole = event(thought("Let me think."), text("Hello."), {"functionCall": CALL}, reason="STOP")
    events = [
        event(thought("Let me")), event(thought(" think.")), event(text("Hel")), event(text("lo.")),
        event({"functionCall": CALL}), event(reason="STOP"),
    ]  # fmt: skip
    assert answer_of(*events) == DIALECT.read(whole, TARGET)


def test_a_signed_part_stays_by_itself() -> None:
    signed = text(" there", thoughtSignature="c2ln")
    events = [event(text("Hel")), event(text("lo")), event(signed), event(text("!")), event(text("?"), reason="STOP")]
    assert parts_of(*events) == [text("Hello"), signed, text("!?")]


def test_a_signature_without_text_is_kept() -> None:
    parts = parts_of(event(text("Hello")), event(text("", thoughtSignature="c2ln"), reason="STOP"))
    assert parts == [text("Hello"), {"text": "", "thoughtSignature": "c2ln"}]


def test_names_without_a_value_do_not_part_a_text() -> None:
    events = [event(text("Hel", thoughtSignature="", functionCall=None)), event(text("lo", videoMetadata=None))]
    assert parts_of(*events, event(reason="STOP")) == [text("Hello")]


def test_a_part_of_another_kind_is_kept_in_its_place() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    assert parts_of(event(text("a")), event(image), event(text("b"), reason="STOP")) == [text("a"), image, text("b")]


@pytest.mark.parametrize("part", [text(5), "a", None, {"thought": True}, {"functionCall": "f"}])  # type: ignore[arg-type]
def test_a_part_that_is_none_changes_nothing(part: Any) -> None:
    assert answer_of(event(text("a"), part), event(reason="STOP")).content == "a"


def test_ends_of_lines_and_characters_beyond_the_basic_plane_stay_as_they_are() -> None:
    assert answer_of(event(text("a\r")), event(text("\n\r\n😀\u2028"), reason="STOP")).content == "a\r\n\r\n😀\u2028"


def test_an_own_id_and_one_made_of_the_answers_are_those_of_the_whole_answer() -> None:
    nameless = {"functionCall": {"name": "now"}}
    whole = event({"functionCall": CALL}, nameless, nameless, reason="STOP")
    events = [event({"functionCall": CALL}), event(nameless), event(nameless, reason="STOP")]
    shown = [call.id for each in shown_by(*events) for call in each.tool_calls]
    expected = DIALECT.read(whole, TARGET)
    assert isinstance(expected, Answer)
    assert shown == [call.id for call in expected.tool_calls]
    assert answer_of(*events) == expected


@pytest.mark.parametrize("later", ["", "resp-2"])
def test_an_id_made_before_the_answer_has_one_is_kept_in_the_answer(later: str) -> None:
    nameless = {"functionCall": {"name": "now"}, "thoughtSignature": "c2ln"}
    events = [event(nameless, nameless, responseId=None), event(text("a"), responseId=later), event(reason="STOP")]
    for each in events:
        each["responseId"] = later if each is events[1] else None
    (first, *_) = shown_by(*events)
    answer = answer_of(*events)
    assert [call.id for call in first.tool_calls] == [call.id for call in answer.tool_calls]
    assert len({call.id for call in answer.tool_calls}) == 2
    assert answer.provider_data is not None
    assert [part["functionCall"]["id"] for part in answer.provider_data["parts"][:2]] == [
        call.id for call in answer.tool_calls
    ]


def test_the_first_id_and_the_last_model_count() -> None:
    answer = answer_of(
        event(text("a")), event(reason="STOP", responseId="resp-2", modelVersion="models/gemini-x-002")
    )  # fmt: skip
    assert (answer.id, answer.model) == ("resp-1", "gemini-x-002")


def test_what_stands_beside_the_content_is_kept() -> None:
    first, last = event(text("a")), event(text("b"), reason="STOP")
    first["candidates"][0] |= {"safetyRatings": [1], "logprobsResult": {"chosenCandidates": [1], "topCandidates": [9]}}
    last["candidates"][0] |= {
        "safetyRatings": [2], "groundingMetadata": {"g": 1}, "logprobsResult": {"chosenCandidates": [2, 3], "sum": -1},
    }  # fmt: skip
    candidate = answer_of(first, last).raw["candidates"][0]
    assert candidate["safetyRatings"] == [2]
    assert candidate["groundingMetadata"] == {"g": 1}
    assert candidate["logprobsResult"] == {"chosenCandidates": [1, 2, 3], "topCandidates": [9], "sum": -1}


def test_the_body_can_be_asked_for_again() -> None:
    reader, _ = feed([event(text("a")), event(text("b"), reason="STOP")])
    assert reader.body() == reader.body()


def test_memory_grows_with_the_text_alone() -> None:
    reader = GeminiStream(TARGET)
    data = encoded(event(text("abcdefgh")))
    tracemalloc.start()
    try:
        for _ in range(20_000):
            reader.read("", data)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.text_length == 160_000
    assert used < 2 * reader.text_length


TEXT = st.text(min_size=1, max_size=12)
ARGS = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.none(), max_size=3)
FUNCTION = st.fixed_dictionaries({"name": st.sampled_from(["f", "g"])}, optional={"args": ARGS, "id": st.just("own")})
PLAIN = st.builds(text, TEXT) | st.builds(thought, TEXT)
SIGNED = st.builds(lambda said: {"text": said, "thoughtSignature": "c2ln"}, TEXT)
CALLS = st.builds(lambda function: {"functionCall": function}, FUNCTION)
IMAGE = st.just({"inlineData": {"mimeType": "image/png", "data": "AA=="}})


def _is_plain(part: Mapping[str, Any]) -> bool:
    return part.keys() <= {"text", "thought"}


def _neighbours_differ(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no two plain texts of a kind follow each other: without streaming, they never do."""
    return not any(
        _is_plain(one) and _is_plain(other) and one.get("thought") == other.get("thought")
        for one, other in itertools.pairwise(parts)
    )


WHOLE_PARTS = st.lists(PLAIN | SIGNED | CALLS | IMAGE, min_size=1, max_size=6).filter(_neighbours_differ)


@st.composite
def _torn(draw: st.DrawFn, part: dict[str, Any]) -> list[dict[str, Any]]:
    """*part* as a stream may bring it: a text in any pieces, empty ones among them."""
    if not _is_plain(part):
        return [part]
    said = part["text"]
    cuts = sorted(draw(st.lists(st.integers(0, len(said)), max_size=4)))
    edges = [0, *cuts, len(said)]
    return [{**part, "text": said[start:end]} for start, end in itertools.pairwise(edges)]


@st.composite
def _events_of(draw: st.DrawFn, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events that bring *parts*, however many at a time; the reason comes with the last or by itself."""
    pieces = [piece for part in parts for piece in draw(_torn(part))]
    events: list[dict[str, Any]] = []
    while pieces:
        count = draw(st.integers(1, 3))
        events.append(event(*pieces[:count], usageMetadata={"promptTokenCount": len(events)}))
        pieces = pieces[count:]
        if draw(st.booleans()):
            events.append(event())
    events[-1]["candidates"][0]["finishReason"] = "STOP"
    events[-1]["usageMetadata"] = USAGE
    return events


@given(st.data(), WHOLE_PARTS, st.integers(1, 200), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_answer_torn_into_any_pieces_is_the_same_answer(
    data: st.DataObject, parts: list[dict[str, Any]], size: int, newline: str
) -> None:
    events = data.draw(_events_of(parts))
    stream = "".join(f"data: {json.dumps(each)}{newline}{newline}" for each in events).encode()
    reader, shown = read_bytes(stream, size)
    answer = DIALECT.read(reader.body(), TARGET)
    assert answer == DIALECT.read(event(*parts, reason="STOP"), TARGET)
    chunks = [each for each in shown if isinstance(each, Chunk)]
    assert len(chunks) == len(shown)
    if isinstance(answer, Answer):
        assert "".join(each.text for each in chunks) == answer.content
        assert "".join(each.reasoning for each in chunks) == (answer.reasoning or "")
        calls = [call for each in chunks for call in each.tool_calls]
        assert [(call.id, call.name, call.arguments) for call in calls] == [
            (call.id, call.name, call.arguments) for call in answer.tool_calls
        ]
        assert reader.text_length == sum(map(len, (answer.content, answer.reasoning or ""))) + sum(
            len(call.arguments) for call in calls
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
ANY_PART = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON,
        "thought": JSON,
        "thoughtSignature": JSON,
        "functionCall": st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "name", "args"), JSON)) | JSON,
    },
)
ANY_CANDIDATE = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "content": st.fixed_dictionaries({"parts": st.lists(ANY_PART | JSON, max_size=4) | JSON}) | JSON,
        "finishReason": st.sampled_from(["STOP", "SAFETY"]) | JSON,
        "logprobsResult": JSON,
    },
)
ANY_EVENT = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(ANY_CANDIDATE | JSON, max_size=2) | JSON,
        "error": JSON,
        "promptFeedback": st.fixed_dictionaries({"blockReason": JSON}) | JSON,
        "usageMetadata": JSON,
        "modelVersion": JSON,
        "responseId": JSON,
    },
)


@given(st.lists((JSON | ANY_EVENT).map(encoded) | st.binary(max_size=8), max_size=5), st.text(max_size=5))
def test_reading_never_raises_and_counts_no_less_than_it_shows(events: list[bytes], name: str) -> None:
    reader, length = GeminiStream(TARGET), 0
    for each in events:
        shown = reader.read(name, each)
        assert shown is None or isinstance(shown, Chunk | Failure)
        if isinstance(shown, Chunk):
            length += len(shown.text) + len(shown.reasoning) + sum(len(call.arguments) for call in shown.tool_calls)
    assert reader.text_length == length
    body = reader.body()
    assert isinstance(body if isinstance(body, Failure) else DIALECT.read(body, TARGET), Answer | Failure)


# Errors


ERRORS: dict[str, tuple[Any, Fault]] = {
    "server": ({"code": 500, "message": "boom", "status": "INTERNAL"}, Fault.SERVER),
    "overloaded": ({"code": 503, "message": "full", "status": "UNAVAILABLE"}, Fault.OVERLOADED),
    "rate limit": (
        {
            "code": 429, "message": "Resource has been exhausted", "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}],
        },
        Fault.RATE_LIMIT,
    ),
    "credit": (
        {"code": 402, "message": "Your prepayment credits are depleted.", "status": "RESOURCE_EXHAUSTED"},
        Fault.QUOTA,
    ),
    "key": (
        {
            "code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        },
        Fault.AUTH,
    ),
    "context": (
        {"code": 400, "message": "The input token count exceeds the maximum number of tokens allowed",
         "status": "INVALID_ARGUMENT"},
        Fault.CONTEXT,
    ),
    "model": ({"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}, Fault.MODEL),
    "a text": ("boom", Fault.SERVER),
}  # fmt: skip


def _as_event(body: Any) -> bytes:
    return b"data: " + encoded(body) + b"\r\n\r\n"


def _bare(body: Any) -> bytes:
    return json.dumps(body, indent=2).encode() + b"\n"


@pytest.mark.parametrize("form", [_as_event, _bare])
@pytest.mark.parametrize("in_a_list", [False, True])
@pytest.mark.parametrize(("error", "fault"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("said", ["", "Hel"])
def test_every_form_of_an_error_is_as_finely_recognised_as_in_a_body(
    said: str, error: Any, fault: Fault, in_a_list: bool, form: Any
) -> None:
    body = [{"error": error}] if in_a_list else {"error": error}
    _, (*_, failure) = read_bytes((_as_event(event(text(said))) if said else b"") + form(body))
    assert isinstance(failure, Failure)
    whole = DIALECT.read(body, TARGET)
    assert isinstance(whole, Failure)
    whole = classify_error_in_success(body, whole, vendor="gemini", dialect="gemini", model="gemini-x")
    assert failure.fault is whole.fault is fault
    assert failure == msgspec.structs.replace(whole, maybe_billed=whole.maybe_billed or bool(said))


def test_an_error_says_how_long_to_stay_away() -> None:
    failure = GeminiStream(TARGET).read("", encoded({"error": ERRORS["rate limit"][0]}))
    assert isinstance(failure, Failure)
    assert failure.retry_after == 7.0


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"<html>", b"\xff", b'"text"', b"null", b"5", b"[]", b"[{}, {}]", b"[5]", b"ping",
        b'{"candidates": ' + b"[" * 100_000,
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": '
        + b"[" * 990 + b"]" * 990 + b"}}]}}]}",
    ],
)  # fmt: skip
def test_data_that_is_no_answer_is_malformed(data: bytes) -> None:
    failure = GeminiStream(TARGET).read("", data)
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.MALFORMED


def test_another_dialects_end_marker_is_no_fault() -> None:
    reader, _ = feed([event(text("a"), reason="STOP")])
    assert reader.read("", b"[DONE]") is None
    assert not reader.done


# The fake provider's streams, read by us and by Google's own SDK


TOOLS = [{"functionDeclarations": [{"name": "search", "description": "Search"}, {"name": "find"}]}]
REPLIES = {
    "text": Healthy(text="Grüße aus  Köln 😀\r\n, bye"),
    "reasoning": Healthy(text="so it is", reasoning="let me think", reasoning_tokens=9),
    "length": Healthy(text="cut off", finish="length", cached_tokens=3),
    "calls": Healthy(tool_calls=2, tool_arguments={"query": "weather", "n": [1, None]}),
    "nothing": Healthy(text=""),
}


def _streamed(reply: Healthy, **shape: Any) -> bytes:
    behaviour = Behaviour(reply, stream=StreamShape(**shape))
    with FakeProvider("gemini", behaviour=behaviour) as provider:
        return ask(provider, stream=True, tools=TOOLS).content


def _read_by_the_sdk(reply: Healthy, **shape: Any) -> list[GenerateContentResponse]:
    behaviour = Behaviour(reply, stream=StreamShape(**shape))
    with FakeProvider("gemini", behaviour=behaviour) as provider:
        client = genai.Client(
            api_key=provider.key,
            http_options={"base_url": provider.base_url.removesuffix("/v1beta"), "api_version": "v1beta"},
        )
        try:
            config: Any = {"tools": TOOLS, "automatic_function_calling": {"disable": True}}
            return list(client.models.generate_content_stream(model="m-1", contents="hi", config=config))
        finally:
            client.close()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_the_official_sdk_reads_the_same_answer(reply: Healthy, newline: str) -> None:
    reader, _ = read_bytes(_streamed(reply, newline=newline), 7)
    answer = DIALECT.read(reader.body(), TARGET)
    assert isinstance(answer, Answer)
    chunks = _read_by_the_sdk(reply, newline=newline)
    parts = [part for each in chunks for part in (_content(each) or ())]
    assert answer.content == "".join(part.text or "" for part in parts if not part.thought)
    assert (answer.reasoning or "") == "".join(part.text or "" for part in parts if part.thought)
    called = [part.function_call for part in parts if part.function_call]
    assert [(call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [
        (call.name, call.args) for call in called
    ]
    usage = chunks[-1].usage_metadata
    assert usage is not None
    assert answer.usage.prompt_tokens == usage.prompt_token_count
    assert answer.usage.completion_tokens == (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    assert answer.usage.cached_tokens == (usage.cached_content_token_count or 0)
    assert answer.model == chunks[-1].model_version == "m-1"


def _content(response: GenerateContentResponse) -> Any:
    content = response.candidates[0].content if response.candidates else None
    return content.parts if content is not None else None


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_the_streamed_answer_is_the_plain_one(reply: Healthy) -> None:
    with FakeProvider("gemini", behaviour=Behaviour(reply)) as provider:
        plain = DIALECT.read(ask(provider, tools=TOOLS).json(), TARGET)
    reader, _ = read_bytes(_streamed(reply))
    assert DIALECT.read(reader.body(), TARGET) == plain


@pytest.mark.parametrize("form", ["event", "bare", "bare_list"])
def test_the_fake_providers_error_is_noticed_in_the_middle(form: str) -> None:
    stream = _streamed(Healthy(text="a b c"), error_after=2, error=Fault.RATE_LIMIT, error_form=form)
    _, (first, second, failure) = read_bytes(stream, 5)
    assert (first, second) == (chunk(text="a "), chunk(text="b "))
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.maybe_billed) == (Fault.RATE_LIMIT, True)


@pytest.mark.parametrize("shape", [{"cut_after": 2}, {"finish": False}])
def test_the_fake_providers_stream_without_an_end_is_truncated(shape: dict[str, Any]) -> None:
    failure = read_bytes(_streamed(Healthy(text="a b c"), **shape))[0].body()
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.TRUNCATED


def test_the_fake_providers_filtered_stream_keeps_what_was_said() -> None:
    reader, _ = read_bytes(_streamed(Healthy(text="a b c", finish="content_filter")))
    failure = DIALECT.read(reader.body(), TARGET)
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.partial) == (Fault.CONTENT_FILTER, "a b c")


def test_the_fake_providers_blocked_prompt_is_filtered_content() -> None:
    reader, shown = read_bytes(_streamed(Healthy(finish="refusal")))
    failure = DIALECT.read(reader.body(), TARGET)
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.partial, shown) == (Fault.CONTENT_FILTER, "", [])


def test_the_fake_providers_counts_grow_and_can_be_left_out() -> None:
    events = _read_by_the_sdk(Healthy(text="one two three four"))
    counts = [each.usage_metadata.candidates_token_count for each in events if each.usage_metadata]
    assert counts == sorted(counts, key=lambda count: count or 0)
    assert counts[0] != counts[-1]
    assert {each.usage_metadata for each in _read_by_the_sdk(Healthy(text="a b"), usage=False)} == {None}
