"""Any stream, cut anywhere, is the same stream; and one that is broken is noticed, wherever that can be told at all."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from failsafe.faults import Fault
from failsafe.models import Failure
from failsafe.sim.script import Script, ToolCall
from failsafe.testing import FakeClock, StreamPiece
from tests.flow_bench import CUT, FIRST, STALL, VENDORS, Play, ended, late, pieces, put_together, right, said, script

each_vendor = pytest.mark.parametrize("vendor", VENDORS)
slowly = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=25).filter(lambda text: text == text.strip())
_arguments = st.dictionaries(
    st.sampled_from(["a", "query"]), st.one_of(_texts, st.integers(0, 99), st.none(), st.lists(_texts, max_size=2))
)
_calls = st.lists(st.tuples(st.sampled_from(["search", "now"]), _arguments), max_size=3).map(
    lambda calls: tuple(
        ToolCall(identifier=f"call_{number:09}", name=name, arguments=arguments)
        for number, (name, arguments) in enumerate(calls)
    )
)


@st.composite
def scripts(draw: st.DrawFn, vendor: str) -> Script:
    """An answer with a text or calls, and with reasoning or without."""
    calls = draw(_calls)
    return script(
        vendor=vendor,
        text="" if calls else draw(_texts.filter(bool)),
        reasoning=draw(st.one_of(st.just(""), _texts)),
        tool_calls=calls,
        finish="tool_calls" if calls else draw(st.sampled_from(["stop", "length"])),
    )


_shapes = st.fixed_dictionaries(
    {"newline": st.sampled_from(["\n", "\r\n", "\r"]), "done": st.booleans(), "usage": st.booleans()}
)
_places = st.lists(st.integers(0, 10**6), max_size=10)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """*data* in pieces, none of which is empty: that would be its end."""
    ends = sorted({place % len(data) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@each_vendor
@given(data=st.data(), shape=_shapes, places=_places)
@slowly
def test_a_valid_stream_is_the_same_wherever_it_is_cut(
    vendor: str, data: st.DataObject, shape: dict[str, Any], places: list[int]
) -> None:
    told = data.draw(scripts(vendor))
    parts = pieces(vendor, told, **shape)
    by_events = ended(vendor, *parts)
    whole = b"".join(parts)
    torn = ended(vendor, *cut(whole, places))
    assert torn.chunks == by_events.chunks
    assert torn.outcome == by_events.outcome
    assert said(torn.answer) == said(right(vendor, told))
    content, reasoning, refusal, calls, _ = said(torn.answer)
    assert put_together(torn.chunks) == (content, reasoning, refusal, calls)


@each_vendor
@given(data=st.data(), shape=_shapes, times=st.lists(st.floats(0, 0.99), min_size=40, max_size=40))
@slowly
def test_a_valid_stream_that_is_never_silent_for_too_long_is_whole(
    vendor: str, data: st.DataObject, shape: dict[str, Any], times: list[float]
) -> None:
    told, clock = data.draw(scripts(vendor)), FakeClock()
    parts = pieces(vendor, told, **shape)
    assume(len(parts) <= len(times))
    shown = sum(1 for _ in ended(vendor, *parts).chunks)
    share = 1 / len(parts)  # of the limit: what shows nothing does not prolong it
    body = [
        late(clock, share * time * min(FIRST, STALL, 2.0), piece) for time, piece in zip(times, parts, strict=False)
    ]
    play = Play(vendor, body, clock=clock)
    ending = play.end()
    assert said(ending.answer) == said(right(vendor, told))
    assert len(ending.chunks) == shown


# Broken in one place.

_RUBBISH = (
    b"\x00",
    b"\xff",
    b"<",
    b"}",
    b"{",
    b"]",
    b'"',
    b",",
    b"\n",
    b"\n\n",
    b"\r",
    b":",
    b"data: ",
    b"data: {}\n\n",
)


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """*whole* after something happened to it: bytes lost, changed, put in, doubled, or cut off."""
    start = draw(st.integers(0, len(whole) - 1))
    length = draw(st.one_of(st.integers(1, 6), st.integers(1, len(whole))))
    end = min(len(whole), start + length)
    how = draw(st.sampled_from(["lost", "cut", "flipped", "structure", "put in", "doubled", "swapped"]))
    event(how)
    if how == "lost":
        return whole[:start] + whole[end:]
    if how == "cut":
        return whole[:start]
    if how == "put in":
        return (
            whole[:start]
            + draw(st.one_of(st.sampled_from(_RUBBISH), st.binary(min_size=1, max_size=9)))
            + whole[start:]
        )
    if how == "doubled":
        return whole[:end] + whole[start:]
    if how == "swapped":
        middle = (start + end) // 2
        return whole[:start] + whole[middle:end] + whole[start:middle] + whole[end:]
    if how == "structure":
        structural = [found.start() for found in re.finditer(rb'[{}\[\]":,\n]|data', whole)]
        start = draw(st.sampled_from(structural))
    return whole[:start] + bytes([whole[start] ^ draw(st.integers(1, 255))]) + whole[start + 1 :]


_END = re.compile(rb'data: ?\[DONE\]|"message_stop"')


def looks_right(data: bytes) -> bool:
    """
    Whether nothing in *data* is against the rules of a stream, so that nobody could tell that it is not as it was sent.

    A line may be a comment, a field that nobody knows, data that is JSON, or JSON by itself; the last event may be
    cut. Nobody looks at what follows an end marker.
    """
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removeprefix(b"\xef\xbb\xbf")
    *blocks, last = data.split(b"\n\n")
    for place, block in enumerate(blocks):
        if _END.search(block) and _block_looks_right(block):
            blocks, last = blocks[:place], b""
            break
    return all(map(_block_looks_right, blocks)) and (_block_looks_right(last) or _is_cut(last))


def _block_looks_right(block: bytes) -> bool:
    fields = [line.partition(b":") for line in block.split(b"\n") if line.strip() and not _is_json(line)]
    if not all(colon or name.isidentifier() for name, colon, _ in _decoded(fields)):
        return False
    if any(name and not re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII) for name, _, _ in _decoded(fields)):
        return False
    if any(b"{" in value for name, _, value in fields if name not in (b"", b"data", b"event", b"id", b"retry")):
        return False
    said_so = b"\n".join(value for name, _, value in fields if name == b"data").strip()
    return not any(name == b"data" for name, _, _ in fields) or said_so in (b"", b"[DONE]") or _is_json(said_so)


def _decoded(fields: list[tuple[bytes, bytes, bytes]]) -> list[tuple[str, bytes, bytes]]:
    return [(name.decode("latin-1"), colon, value) for name, colon, value in fields]


def _is_cut(block: bytes) -> bool:
    """Whether *block* is the beginning of an event."""
    lines = block.split(b"\n")
    return _block_looks_right(b"\n".join(line for line in lines if not line.startswith(b"data:")))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


@each_vendor
@pytest.mark.parametrize("cut_off", [False, True])
@given(data=st.data(), shape=_shapes, places=_places)
@slowly
def test_a_broken_stream_fails_or_is_right_after_all(
    vendor: str, cut_off: bool, data: st.DataObject, shape: dict[str, Any], places: list[int]
) -> None:
    told = data.draw(scripts(vendor))
    torn = data.draw(broken(b"".join(pieces(vendor, told, **shape))))
    assume(torn)
    parts: list[StreamPiece] = [*cut(torn, places)]
    ending = Play(vendor, [*parts, CUT] if cut_off else parts).end()
    if isinstance(ending.outcome, Failure):
        event("a failure")
        assert ending.outcome.fault is not Fault.CANCELLED
        assert "could not be read" not in ending.outcome.message
        assert ended(vendor, torn, *([CUT] if cut_off else [])).failure.fault is ending.outcome.fault
    elif said(ending.answer) == said(right(vendor, told)):
        event("right")
    else:
        event("cannot be told")
        assert looks_right(torn)


@each_vendor
@given(data=st.data(), shape=_shapes, what=st.sampled_from(["lost", "doubled"]))
@slowly
def test_a_cut_in_the_middle_of_two_events_that_are_fused_is_noticed(
    vendor: str, data: st.DataObject, shape: dict[str, Any], what: str
) -> None:
    """As a gateway does it that loses a packet."""
    told = script(vendor=vendor, text=data.draw(st.sampled_from(["one two three four", "a b c d e f", "é é é é"])))
    parts = pieces(vendor, told, **shape)
    first = data.draw(st.integers(0, len(parts) - 3))
    begun, rest = parts[first], parts[first + 1]
    here = data.draw(st.integers(begun.index(b"{") + 1, len(begun) - 4))
    there = data.draw(st.integers(rest.index(b"{") + 1, len(rest) - 4))
    fused = begun[:here] + (rest[there:] if what == "lost" else begun[: max(1, here // 2)] + rest)
    torn = b"".join([*parts[:first], fused, *parts[first + 2 :]])
    ending = ended(vendor, torn)
    assert isinstance(ending.outcome, Failure) or said(ending.answer) == said(right(vendor, told)) or looks_right(torn)


# Whatever comes.

_WORDS = {
    "openai": """
        choices index delta content finish_reason stop tool_calls function arguments id name error message usage
        reasoning_details refusal logprobs type text reasoning_content function_call x_groq code prompt_tokens
        reasoning.text thinking
    """,
    "anthropic": """
        type message_start message content_block_start content_block index text delta content_block_delta text_delta
        tool_use input_json_delta partial_json thinking signature thinking_delta signature_delta citations_delta
        citation         content_block_stop message_delta stop_reason end_turn usage output_tokens message_stop error
        input citations content
    """,
    "gemini": """
        candidates index content parts text thought functionCall name args id finishReason STOP usageMetadata
        promptTokenCount promptFeedback blockReason error code thoughtSignature inlineData logprobsResult
        chosenCandidates responseId SAFETY role
    """,
}


def _values(vendor: str) -> st.SearchStrategy[Any]:
    words = st.sampled_from(_WORDS[vendor].split())
    small = st.one_of(
        words,
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.just(10**30),
        st.just(1.5),
        st.sampled_from(["", "\x00"]),
    )
    return st.recursive(
        small,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
        max_leaves=12,
    )


def _events(vendor: str) -> st.SearchStrategy[bytes]:
    names = st.sampled_from([b"", b"event: error\n", b"event: message_delta\n", b"event: \xff\n"])
    return st.one_of(
        st.tuples(names, _values(vendor).map(json.dumps)).map(
            lambda both: both[0] + b"data: " + both[1].encode() + b"\n\n"
        ),
        st.sampled_from([b"data: [DONE]\n\n", b"data:\n\n", b": ping\n\n", b"<p>\n\n", b"data: \xff\n\n", b"{}\n\n"]),
        st.binary(min_size=1, max_size=20),
    )


@each_vendor
@given(data=st.data(), kind=st.sampled_from(["text/event-stream", "application/json"]))
@slowly
def test_nothing_that_may_come_is_read_for_ever_or_raises(vendor: str, data: st.DataObject, kind: str) -> None:
    valid = st.sampled_from(pieces(vendor))
    parts = data.draw(st.lists(st.one_of(_events(vendor), valid), max_size=12))
    ending = Play(vendor, parts, headers={"Content-Type": kind}).end()
    if isinstance(ending.outcome, Failure):
        assert "could not be read" not in ending.outcome.message
        assert len(ending.outcome.message) <= 600
    else:
        assert isinstance(ending.answer.content, str)
