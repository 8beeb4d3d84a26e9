"""Every way a streamed answer can go ends in time: with the whole answer, or with why there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.deadline import CancelToken, Deadline
from failsafe.faults import Fault
from failsafe.models import Failure, Phase, Usage
from failsafe.providers.openai_stream import OpenAIStream
from failsafe.sim.behaviour import StreamShape
from failsafe.sim.streams import encode
from failsafe.testing import FakeClock, failing
from tests.flow_bench import (
    CALLS,
    CUT,
    FIRST,
    KEY,
    STALL,
    VENDORS,
    WHOLE,
    Play,
    ended,
    late,
    pieces,
    put_together,
    right,
    said,
    script,
)

each_vendor = pytest.mark.parametrize("vendor", VENDORS)
TEXT = "Hé, 漢字 \U0001f600 bye"
SCRIPTS: dict[str, dict[str, Any]] = {
    "text": {},
    "reasoning": {"reasoning": "Let me think. Yes.", "reasoning_tokens": 3},
    "calls": {"text": "", "finish": "tool_calls", "tool_calls": CALLS},
    "text-and-calls": {"finish": "tool_calls", "tool_calls": CALLS[:1]},
    "length": {"finish": "length"},
    "empty": {"text": "", "finish": "stop", "completion_tokens": 0},
    "cached": {"cached_tokens": 5},
}
PING = {
    "openai": b": ping\n\n",
    "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
    "gemini": b'data: {"usageMetadata": {"promptTokenCount": 7}}\n\n',
}
EMPTY = {
    "openai": b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n',
    "anthropic": b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}\n\n',
    "gemini": b'data: {"candidates": [{"index": 0, "content": {"parts": [{"text": ""}]}}]}\n\n',
}
ERROR = {
    "openai": b'data: {"error": {"message": "overloaded: ' + KEY.encode() + b'", "code": "server_overloaded"}}\n\n',
    "anthropic": b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "'
    + KEY.encode()
    + b'"}}\n\n',
    "gemini": b'{\n  "error": {\n    "code": 503,\n    "status": "UNAVAILABLE",\n    "message": "'
    + KEY.encode()
    + b'"\n  }\n}\n\n',
}


# Complete.


@each_vendor
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("what", SCRIPTS)
def test_a_complete_answer_says_what_it_would_have_said_whole(vendor: str, what: str, newline: str) -> None:
    if (vendor, what) in (("anthropic", "empty"), ("openai", "text-and-calls")):
        pytest.skip("the fake vendor has no such answer")
    told = script(vendor=vendor, **SCRIPTS[what])
    ending = ended(vendor, *pieces(vendor, told, newline=newline))
    whole = right(vendor, told)
    same = msgspec.structs.replace(whole, raw=ending.answer.raw, tool_calls=ending.answer.tool_calls)
    assert ending.answer == same
    assert said(ending.answer) == said(whole)
    content, reasoning, refusal, calls, _ = said(whole)
    assert put_together(ending.chunks) == (content, reasoning, refusal, calls)


@each_vendor
def test_the_answer_tells_what_came_around_it(vendor: str) -> None:
    play = Play(
        vendor, pieces(vendor), headers={"Content-Type": "text/event-stream; charset=utf-8", "request-id": "r1"}
    )
    outcome = play.end().outcome
    assert not isinstance(outcome, Failure)
    assert (outcome.status, outcome.request_id) == (200, "r1")
    assert outcome.bytes_received == play.flow.bytes_received == sum(map(len, pieces(vendor)))
    assert play.flow.shown


@each_vendor
def test_it_begins_with_its_first_content_and_reads_no_further(vendor: str) -> None:
    parts = [PING[vendor], EMPTY[vendor], *pieces(vendor)]
    play = Play(vendor, parts)
    assert play.flow.begin() is None
    reads = play.stream.reads
    assert play.flow.shown
    first = play.flow.next()
    assert isinstance(first, Chunk)
    assert first.text == "Hé, "
    assert (first.provider, first.model) == ("p", "m-1")
    assert play.stream.reads == reads
    assert not play.stream.closed


@each_vendor
def test_all_events_of_one_piece_are_shown_one_by_one(vendor: str) -> None:
    one = ended(vendor, b"".join(pieces(vendor)))
    many = ended(vendor, *pieces(vendor))
    assert one.chunks == many.chunks
    assert len(many.chunks) > 2


# The end.


@each_vendor
def test_usage_that_is_missing_is_nothing_worse(vendor: str) -> None:
    ending = ended(vendor, *pieces(vendor, usage=False))
    assert said(ending.answer) == said(right(vendor))
    if vendor != "anthropic":  # which has it in the events that say how it begins and ends
        assert ending.answer.usage == Usage()


@each_vendor
def test_a_finish_without_the_end_marker_is_an_end(vendor: str) -> None:
    assert said(ended(vendor, *pieces(vendor, done=False)).answer) == said(right(vendor))


def test_the_end_marker_without_a_finish_is_an_end_if_something_was_said() -> None:
    ending = ended("openai", *pieces("openai", finish=False))
    assert said(ending.answer) == said(right("openai"))
    ending = ended("openai", b"data: [DONE]\n\n")
    assert ending.failure.fault is Fault.MALFORMED


def test_the_end_marker_without_a_finish_is_no_end_elsewhere() -> None:
    assert ended("anthropic", *pieces("anthropic", finish=False)).failure.fault is Fault.TRUNCATED
    assert ended("gemini", *pieces("gemini", finish=False), b"data: [DONE]\n\n").failure.fault is Fault.TRUNCATED


@each_vendor
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_last_event_may_lack_its_end(vendor: str, end: bytes) -> None:
    whole = b"".join(pieces(vendor))
    assert said(ended(vendor, whole.rstrip() + end).answer) == said(right(vendor))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("in_one", [True, False])
@pytest.mark.parametrize(
    "after",
    [b"<html>", b"data: {half\n\n", b'data: {"error": {"message": "x"}}\n\n', b"\xff\x00\n\n", b"data: [DONE]\n\n"],
)
def test_what_follows_the_end_marker_is_not_looked_at(vendor: str, after: bytes, in_one: bool) -> None:
    parts = pieces(vendor)
    play = Play(vendor, [*parts[:-1], parts[-1] + after] if in_one else [*parts, after, b"and more"])
    assert said(play.end().answer) == said(right(vendor))
    assert play.stream.closed


@each_vendor
@pytest.mark.parametrize("after", [b"<html>\n\n", b"data: {half\n\n"])
def test_rubbish_before_the_end_marker_is_a_failure(vendor: str, after: bytes) -> None:
    ending = ended(vendor, *pieces(vendor, done=False), after, b"data: [DONE]\n\n")
    assert ending.failure.fault is Fault.MALFORMED


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_body_that_goes_on_after_the_end_marker_is_left_in_a_moment(vendor: str) -> None:
    clock = FakeClock()
    play = Play(vendor, [*pieces(vendor), late(clock, 0)], clock=clock)
    assert said(play.end().answer) == said(right(vendor))
    assert play.passed == pytest.approx(0.02)
    assert play.stream.closed


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_body_that_ends_after_the_end_marker_is_read_to_its_end(vendor: str) -> None:
    """So that the connection can be used again."""
    play = Play(vendor, [*pieces(vendor)])
    play.end()
    assert play.stream.beyond == 0
    assert play.stream.reads == play.parts + 1


# Time.


@each_vendor
@pytest.mark.parametrize("silence", ["nothing", "comments", "pings", "empty"])
def test_the_first_content_is_waited_for_so_long_and_no_ping_prolongs_it(vendor: str, silence: str) -> None:
    clock = FakeClock()
    sent = {"nothing": b"", "comments": b": wait\n\n", "pings": PING[vendor], "empty": EMPTY[vendor]}[silence]
    play = Play(vendor, [late(clock, 0.7, sent)] * 100, clock=clock)
    failure = play.end().failure
    assert play.passed == pytest.approx(FIRST)
    assert (failure.fault, failure.phase, failure.status) == (Fault.TIMEOUT, Phase.READ, 200)
    assert failure.message == f"no content within 10 s ({play.stream.bytes_received} bytes so far)"
    assert failure.maybe_billed
    assert play.flow.limit.timeout == FIRST
    assert not play.flow.shown


@each_vendor
@pytest.mark.parametrize("silence", ["nothing", "comments", "pings", "empty"])
def test_a_stall_is_judged_anew_with_each_content_and_not_with_pings(vendor: str, silence: str) -> None:
    clock = FakeClock()
    parts = pieces(vendor, script(vendor=vendor, text="a b c d e"))
    begun = [late(clock, 0.9 * STALL, piece) for piece in parts[: 1 + place_of(b'"c ', parts)]]
    sent = {"nothing": b"", "comments": b": wait\n\n", "pings": PING[vendor], "empty": EMPTY[vendor]}[silence]
    play = Play(vendor, [*begun, *[late(clock, 0.7, sent)] * 100], clock=clock, first=40)
    ending = play.end()
    assert ending.text == "a b c "
    assert ending.failure.fault is Fault.TIMEOUT
    assert ending.failure.message.startswith("the answer stalled: no content for 5 s (")
    assert play.flow.limit.timeout == STALL
    assert play.passed == pytest.approx(0.9 * STALL * len(begun) + STALL)


def place_of(text: bytes, parts: list[bytes]) -> int:
    return next(place for place, piece in enumerate(parts) if text in piece)


@each_vendor
def test_each_content_in_time_goes_on_for_as_long_as_it_takes(vendor: str) -> None:
    clock = FakeClock()
    told = script(vendor=vendor, text="a b c d e f g h i j")
    parts = pieces(vendor, told)
    body = [late(clock, 0.9 * STALL, piece) for piece in parts[:-3]]
    play = Play(vendor, [*body, *parts[-3:]], clock=clock, first=40)
    assert said(play.end().answer) == said(right(vendor, told))
    assert play.passed > 5 * STALL


def test_a_slow_reader_is_not_the_providers_fault() -> None:
    clock = FakeClock()
    play = Play("openai", [late(clock, 1, piece) for piece in pieces("openai")], clock=clock, whole=10_000)
    assert play.flow.begin() is None
    while isinstance(play.flow.next(), Chunk):
        clock.advance(100)
    assert not isinstance(play.flow.next(), Failure)


@each_vendor
def test_the_deadline_of_the_call_bounds_it_all(vendor: str) -> None:
    clock = FakeClock()
    told = script(vendor=vendor, text="a b c d e f g h i j")
    play = Play(vendor, [late(clock, 4, piece) for piece in pieces(vendor, told)], clock=clock, whole=17, first=15)
    failure = play.end().failure
    assert play.passed == pytest.approx(17)
    assert failure.fault is Fault.TIMEOUT
    assert "the answer stalled: no content for 1 s" in failure.message
    assert play.flow.limit.timeout == pytest.approx(1)


@each_vendor
def test_what_comes_after_the_finish_is_waited_for_two_seconds(vendor: str) -> None:
    clock = FakeClock()
    parts = pieces(vendor, usage=False, done=False)
    play = Play(vendor, [*parts, *[late(clock, 0.3, PING[vendor])] * 50], clock=clock)
    assert said(play.end().answer) == said(right(vendor))
    assert play.passed == pytest.approx(2)
    assert play.stream.closed


def test_what_comes_after_the_finish_is_not_waited_for_longer_than_content() -> None:
    clock = FakeClock()
    play = Play("openai", [*pieces("openai", done=False), late(clock, 0)], clock=clock, stall=0.5)
    assert said(play.end().answer) == said(right("openai"))
    assert play.passed == pytest.approx(0.5)


def test_what_comes_after_the_finish_in_time_counts() -> None:
    clock = FakeClock()
    parts = pieces("openai")
    play = Play("openai", [*parts[:-2], late(clock, 1.9, parts[-2]), late(clock, 0.05, parts[-1])], clock=clock)
    assert play.end().answer.usage == right("openai").usage


@each_vendor
def test_a_connection_that_breaks_after_the_finish_breaks_nothing(vendor: str) -> None:
    ending = ended(vendor, *pieces(vendor, usage=False, done=False), b'data: {"usa', CUT)
    assert said(ending.answer) == said(right(vendor))


def test_what_came_before_the_break_after_the_finish_is_read() -> None:
    parts = pieces("openai", done=False)
    ending = ended("openai", *parts[:-1], parts[-1].rstrip(), CUT)
    assert ending.answer.usage == right("openai").usage


@each_vendor
def test_a_cancellation_after_the_finish_is_one(vendor: str) -> None:
    token = CancelToken()
    parts = pieces(vendor, usage=False, done=False)

    def cancel(_: Deadline) -> bytes:
        token.cancel()
        return parts[-1]

    ending = ended(vendor, *parts[:-1], cancel, cancel=token)
    assert ending.failure.fault is Fault.CANCELLED


def finishing(*texts: str) -> list[bytes]:
    """An answer that says with each piece that it has ended."""
    parts = ({"text": text} for text in texts)
    bodies = ({"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]} for part in parts)
    return [b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies]


@pytest.mark.parametrize("in_one", [True, False])
def test_a_finish_that_comes_with_each_piece_ends_nothing(in_one: bool) -> None:
    """Otherwise half an answer is taken for whole when the next piece takes more than a moment."""
    clock = FakeClock()
    begun = finishing("one ", "two ")
    begun = [b"".join(begun)] if in_one else begun
    play = Play(
        "gemini", [*begun, late(clock, 4, finishing("three ")[0]), late(clock, 4, finishing("four")[0])], clock=clock
    )
    ending = play.end()
    assert (ending.text, ending.answer.content) == ("one two three four", "one two three four")
    assert play.passed == 8


@pytest.mark.parametrize("how", ["cut", "stall"])
def test_a_break_after_a_finish_that_ended_nothing_is_one(how: str) -> None:
    clock = FakeClock()
    ends = CUT if how == "cut" else late(clock, 0)
    ending = ended("gemini", *finishing("one ", "two "), ends, clock=clock)
    assert ending.text == "one two "
    assert ending.failure.fault is (Fault.DISCONNECTED if how == "cut" else Fault.TIMEOUT)


# Broken.


@each_vendor
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("what", ["text", "calls", "reasoning"])
def test_a_cut_at_any_byte_is_noticed_or_cost_nothing(vendor: str, what: str, clean: bool) -> None:
    told = script(vendor=vendor, **SCRIPTS[what])
    whole, meant = b"".join(pieces(vendor, told)), said(right(vendor, told))
    for place in range(1, len(whole), 1 if what == "text" and clean else 7):
        ending = ended(vendor, whole[:place], *([] if clean else [CUT]))
        if isinstance(ending.outcome, Failure):
            expected = Fault.TRUNCATED if clean else Fault.DISCONNECTED
            assert ending.outcome.fault is expected, place
            assert ending.outcome.maybe_billed
            assert ending.outcome.bytes_received == place
            assert meant[0].startswith(ending.text)
        else:
            assert said(ending.answer) == meant, place


@each_vendor
def test_a_clean_cut_keeps_the_text_so_far(vendor: str) -> None:
    parts = pieces(vendor)
    ending = ended(vendor, *parts[: 1 + place_of("漢字".encode(), parts)])
    assert ending.failure.partial == ending.text != ""
    assert "ended before the answer did" in ending.failure.message


@each_vendor
@pytest.mark.parametrize("begun", [0, 3])
def test_an_error_event_is_what_it_says(vendor: str, begun: int) -> None:
    ending = ended(
        vendor,
        *pieces(vendor)[:begun],
        ERROR[vendor],
        b"and more",
        headers={"Content-Type": "text/event-stream", "x-request-id": "r2"},
    )
    failure = ending.failure
    assert failure.fault is (Fault.SERVER if vendor == "openai" else Fault.OVERLOADED)
    assert (failure.status, failure.request_id) == (200, "r2")
    assert "MARKED" not in failure.message
    assert bool(ending.text) is bool(begun)


@each_vendor
@pytest.mark.parametrize("begun", [0, 3])
@pytest.mark.parametrize(
    "rubbish", [b"<html><body>502</body></html>\n\n", b"data: {half a piece\n\n", b"\xff\xfe\xfd\n\n"]
)
def test_rubbish_is_a_failure(vendor: str, begun: int, rubbish: bytes) -> None:
    ending = ended(vendor, *pieces(vendor)[:begun], rubbish, *pieces(vendor)[begun:])
    assert ending.failure.fault is Fault.MALFORMED
    assert len(ending.failure.message) < 200


@each_vendor
def test_an_event_without_end_is_too_large(vendor: str) -> None:
    ending = ended(vendor, *pieces(vendor)[:3], *[b"x" * 1000] * 200, max_answer_bytes=100_000)
    assert ending.failure.fault is Fault.MALFORMED
    assert "larger than 0.0954 MiB" in ending.failure.message
    assert ending.text


@each_vendor
def test_a_text_without_end_is_too_large(vendor: str) -> None:
    told = script(vendor=vendor, text="word " * 1000)
    ending = ended(vendor, *pieces(vendor, told), max_answer_bytes=2000)
    assert (ending.failure.fault, ending.failure.message) == (Fault.MALFORMED, "answer larger than 0.00191 MiB")
    assert len(ending.text) <= 2000
    assert said(ended(vendor, *pieces(vendor, told), max_answer_bytes=5000).answer) == said(right(vendor, told))


HIDDEN = {
    "openai": {"choices": [{"index": 0, "delta": {"audio": ["x" * 900]}}]},
    "anthropic": {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "citations_delta", "citation": {"cited_text": "x" * 900}},
    },
    "gemini": {"candidates": [{"content": {"parts": [{"inlineData": {"data": "x" * 900}}]}}]},
}
BESIDE = {
    "openai": {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": ["x" * 2000]}}]},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "a", "thoughtSignature": "x" * 2000}]}}]},
}


@pytest.mark.parametrize("events", [HIDDEN, BESIDE], ids=["hidden", "beside"])
@each_vendor
def test_what_no_reader_is_shown_has_a_bound_too(vendor: str, events: dict[str, Any]) -> None:
    if vendor not in events:
        pytest.skip("nothing of the kind")
    piece = b"data: " + json.dumps(events[vendor]).encode() + b"\n\n"
    ending = ended(vendor, *pieces(vendor)[:3], *[piece] * 1000, max_answer_bytes=50_000)
    assert (ending.failure.fault, ending.failure.message) == (Fault.MALFORMED, "answer larger than 0.0477 MiB")
    assert len(ending.chunks) < 60


def openai_delta(delta: dict[str, Any], beside: Any = None, **frame: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": beside}], **frame}


def gemini_part(**part: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [part]}}]}


def thinking_part(number: int) -> dict[str, Any]:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}
    return openai_delta({"content": [thought, {"type": "text", "text": "a"}]})


CALL = {"name": "n" * 400, "arguments": ""}
BLOCK = {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "a", "name": "n" * 400}}
PILED_UP: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "calls": ("openai", lambda n: openai_delta({"tool_calls": [{"index": n, "id": f"{n}", "function": CALL}]})),
    "fields of a call": (
        "openai",
        lambda n: openai_delta({"tool_calls": [{"index": 0, f"x{n}": "x" * 400, "function": {"arguments": "1"}}]}),
    ),
    "log probabilities": ("openai", lambda n: openai_delta({"content": "a"}, {"content": ["x" * 400]})),
    "fields": ("openai", lambda n: openai_delta({"content": "a"}, **{f"x{n}": "x" * 400})),
    "fields of a field": ("openai", lambda n: openai_delta({"content": "a"}, x={f"x{n}": "x" * 400})),
    "fields of a choice": ("openai", lambda n: {"choices": [{"delta": {"content": "a"}, f"x{n}": "x" * 400}]}),
    "fields of a delta": ("openai", lambda n: openai_delta({"content": "a", "audio": ["x" * 400]})),
    "parts": ("openai", thinking_part),
    "details": (
        "openai",
        lambda n: openai_delta({"content": "a", "reasoning_details": [{"type": "x", "data": "x" * 400}]}),
    ),
    "blocks": ("anthropic", lambda n: {**BLOCK, "index": n}),
    "blocks of text": (
        "anthropic",
        lambda n: {"type": "content_block_start", "index": n, "content_block": {"type": "text", "text": "a" + " " * 9}},
    ),
    "calls of gemini": ("gemini", lambda n: gemini_part(functionCall={"name": "n" * 400})),
    "signed parts": ("gemini", lambda n: gemini_part(text="a", thoughtSignature="x" * 400)),
    "thoughts and texts": (
        "gemini",
        lambda n: {"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "a", "thought": True}]}}]},
    ),
    "fields of gemini": ("gemini", lambda n: {**gemini_part(text="a"), f"x{n}": "x" * 400}),
    "log probabilities of gemini": (
        "gemini",
        lambda n: {"candidates": [{"content": {"parts": [{"text": "a"}]}, "logprobsResult": {"x": ["x" * 400]}}]},
    ),
}


@pytest.mark.parametrize("name", PILED_UP)
def test_what_piles_up_beside_the_text_has_a_bound_however_small_its_pieces(name: str) -> None:
    """Each shows a reader something and fits into what a frame may have; memory grew until the deadline."""
    vendor, make = PILED_UP[name]
    events = [b"data: " + json.dumps(make(number)).encode() + b"\n\n" for number in range(2000)]
    most = 50_000
    ending = ended(vendor, *pieces(vendor)[:3], *events, max_answer_bytes=most)
    assert (ending.failure.fault, ending.failure.message) == (Fault.MALFORMED, "answer larger than 0.0477 MiB")
    assert len(ending.chunks) < 1.2 * most / len(events[0]) + 10


def test_the_frames_of_many_small_pieces_do_not_count() -> None:
    told = script(text="a " * 1500)
    assert sum(map(len, pieces("openai", told))) > 100 * 3000
    assert said(ended("openai", *pieces("openai", told), max_answer_bytes=3100).answer) == said(right("openai", told))


def test_a_reader_that_raises_costs_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise LookupError(KEY)

    monkeypatch.setattr(OpenAIStream, "body", fail)
    failure = ended("openai", *pieces("openai")).failure
    assert (failure.fault, failure.message) == (Fault.MALFORMED, "an answer that could not be read (LookupError)")
    monkeypatch.setattr(OpenAIStream, "read", fail)
    failure = ended("openai", *pieces("openai")).failure
    assert (failure.fault, failure.message) == (Fault.MALFORMED, "an event that could not be read (LookupError)")
    assert failure.maybe_billed


# What is no event stream, or does not say so.


def whole_body(vendor: str) -> bytes:
    return json.dumps(VENDORS[vendor].answer(script(vendor=vendor))).encode()


@each_vendor
@pytest.mark.parametrize("cuts", [1, 7, 100_000])
def test_a_whole_answer_instead_of_a_stream_is_shown_in_one_piece(vendor: str, cuts: int) -> None:
    body = b"\n \n" + whole_body(vendor)
    parts = [body[place : place + cuts] for place in range(0, len(body), cuts)]
    play = Play(vendor, parts, headers={"Content-Type": "application/json"})
    assert play.flow.begin() is None
    assert play.flow.shown
    ending = play.rest()
    assert said(ending.answer) == said(right(vendor))
    (chunk,) = ending.chunks
    assert (chunk.provider, chunk.model, chunk.text, chunk.tool_calls) == ("p", "m-1", TEXT, ())


@each_vendor
def test_a_whole_answer_with_calls_shows_them_whole(vendor: str) -> None:
    told = script(vendor=vendor, **SCRIPTS["calls"])
    body = json.dumps(VENDORS[vendor].answer(told)).encode()
    (chunk,) = ended(vendor, body, headers={"Content-Type": "application/json"}).chunks
    assert chunk.tool_calls == tuple(
        ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(right(vendor, told).tool_calls)
    )


def test_a_whole_answer_that_says_nothing_shows_nothing() -> None:
    told = script(**SCRIPTS["empty"])
    body = json.dumps(VENDORS["openai"].answer(told)).encode()
    ending = ended("openai", body, headers={"Content-Type": "application/json"})
    assert ending.chunks == []
    assert ending.answer.content == ""


@each_vendor
@pytest.mark.parametrize(
    ("kind", "body", "fault"),
    [
        (
            "application/json",
            b'{"error": {"message": "no", "code": "server_overloaded", "type": "overloaded_error"}}',
            None,
        ),
        ("application/json", b"", Fault.MALFORMED),
        ("application/json", b'{"choices": [', Fault.MALFORMED),
        ("text/html", b"<!DOCTYPE html><p>502", Fault.MALFORMED),
        ("text/plain", b"upstream error: no", Fault.MALFORMED),
    ],
)
def test_what_is_no_answer_is_classified_as_whole(vendor: str, kind: str, body: bytes, fault: Fault | None) -> None:
    failure = ended(vendor, body, headers={"Content-Type": kind}).failure
    assert failure.fault is fault if fault else failure.fault in (Fault.OVERLOADED, Fault.SERVER)
    assert (failure.status, failure.bytes_received) == (200, len(body))


@each_vendor
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", ""])
@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_a_stream_under_another_name_is_known_by_its_beginning(vendor: str, kind: str, size: int) -> None:
    whole = b"".join(pieces(vendor))
    for before in (b"", b"\xef\xbb\xbf", b": hello\n\n", b"\n\nid: 1\nretry: 5\n"):
        data = before + whole
        parts = [data[place : place + size] for place in range(0, len(data), size)]
        ending = ended(vendor, *parts, headers={"Content-Type": kind})
        assert said(ending.answer) == said(right(vendor))
        assert ending.chunks == ended(vendor, *pieces(vendor)).chunks


def test_an_answer_without_a_type_is_taken_for_a_stream() -> None:
    assert said(ended("openai", *pieces("openai"), headers={}).answer) == said(right("openai"))


def test_a_stream_under_another_name_is_bounded_from_its_first_piece_on() -> None:
    failure = ended(
        "openai", b": " + b"x" * 5000, headers={"Content-Type": "text/plain"}, max_answer_bytes=2000
    ).failure
    assert failure.fault is Fault.MALFORMED


def test_a_whole_answer_is_bounded() -> None:
    play = Play("openai", [b"{" + b" " * 999] * 10, headers={"Content-Type": "application/json"}, max_answer_bytes=5000)
    failure = play.end().failure
    assert (failure.fault, failure.message) == (Fault.MALFORMED, "answer larger than 0.00477 MiB")
    assert play.stream.reads == 6


@pytest.mark.parametrize("sent", [b"", b" "])
def test_a_whole_answer_keeps_the_limit_on_its_first_content(sent: bytes) -> None:
    clock = FakeClock()
    play = Play("openai", [late(clock, 0.7, sent)] * 50, clock=clock, headers={"Content-Type": "application/json"})
    failure = play.end().failure
    assert failure.fault is Fault.TIMEOUT
    assert failure.message.startswith("no content within 10 s")
    assert play.passed == pytest.approx(FIRST)


def test_a_whole_answer_that_is_cut_is_a_failure() -> None:
    lost = failing(Fault.TRUNCATED, "cut short", phase=Phase.READ)
    failure = ended("openai", whole_body("openai")[:-9], lost, headers={"Content-Type": "application/json"}).failure
    assert (failure.fault, failure.message) == (Fault.TRUNCATED, "cut short")


@each_vendor
def test_a_whole_answer_that_calls_itself_a_stream_is_read(vendor: str) -> None:
    if vendor == "anthropic":
        pytest.skip("its messages are no events")
    told = json.dumps(VENDORS[vendor].answer(script(vendor=vendor)), indent=1).encode()
    assert said(ended(vendor, told).answer) == said(right(vendor))


# Giving up.


def test_closing_gives_up_the_rest() -> None:
    play = Play("openai", pieces("openai"))
    assert play.flow.begin() is None
    play.flow.close()
    assert play.stream.closed
    assert play.flow.bytes_received > 0


def test_a_failure_before_the_first_content_is_given_again() -> None:
    play = Play("openai", [CUT])
    failure = play.flow.begin()
    assert failure is not None
    assert failure.fault is Fault.DISCONNECTED
    assert play.flow.next() is failure


def test_the_shapes_these_tests_rely_on() -> None:
    assert encode(VENDORS["openai"].error_event({"message": "x"}), "\n").startswith(b"data: {")
    assert StreamShape().done
    assert WHOLE > FIRST > STALL
