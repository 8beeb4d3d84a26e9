"""Answers for the tests of the formats: by hand, by chance, and read back by failsafe's own dialects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.models import Answer, Failure, FinishReason, Reply, ToolCall, Usage
from failsafe.providers.base import Dialect, Target
from failsafe.sse import EventParser

USAGE = Usage(prompt_tokens=20, completion_tokens=9, cached_tokens=5, cache_write_tokens=3, reasoning_tokens=4)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
_ARGUMENTS = st.dictionaries(_TEXT, st.none() | st.booleans() | st.integers(-9, 9) | _TEXT, max_size=3)


def reply(**fields: Any) -> Reply:
    """A reply of a provider ``p``, with *fields* in place of nothing in particular."""
    usual: dict[str, Any] = {
        "content": "", "provider": "p", "model": "m-1", "asked_model": "m", "finish_reason": "stop", "tool_calls": (),
        "usage": USAGE, "id": "", "request_id": None, "refusal": None, "reasoning": None, "latency_ms": 1.0,
        "attempts": (), "skipped": (), "adjustments": (), "provider_data": None, "raw": None,
    }  # fmt: skip
    return Reply(**usual | fields)


def chunk(**fields: Any) -> Chunk:
    """A piece of an answer of that provider."""
    return Chunk(provider="p", model="m", **fields)


class Streamed(NamedTuple):
    """An answer in pieces, and as a whole."""

    chunks: list[Chunk]
    reply: Reply


@st.composite
def streamed(draw: st.DrawFn) -> Streamed:
    """Any answer in any pieces: kinds may follow each other in any order, and tool calls may come interleaved."""
    pieces: list[list[dict[str, Any]]] = [
        [{"text": text} for text in draw(st.lists(_TEXT, max_size=3))],
        [{"reasoning": text} for text in draw(st.lists(_TEXT, max_size=3))],
    ]
    calls = draw(st.lists(_ARGUMENTS, max_size=3))
    pieces += [
        [{"call": number, "arguments": part} for part in _cut(draw, json.dumps(arguments))]
        for number, arguments in enumerate(calls)
    ]
    order = draw(st.permutations([kind for kind, parts in enumerate(pieces) for _ in parts]))
    left = [iter(parts) for parts in pieces]
    seen: dict[int, int] = {}
    chunks = [_chunk(next(left[kind]), seen) for kind in order]
    finish: FinishReason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    return Streamed(chunks, _whole(chunks, finish))


def _cut(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _chunk(piece: dict[str, Any], seen: dict[int, int]) -> Chunk:
    if "call" not in piece:
        return chunk(**piece)
    number = piece["call"]
    first = number not in seen
    index = seen.setdefault(number, len(seen))
    named = {"id": f"call_{index}", "name": f"tool_{index}"} if first else {}
    return chunk(tool_calls=(ToolCallDelta(index=index, arguments=piece["arguments"], **named),))


def _whole(chunks: Sequence[Chunk], finish: FinishReason) -> Reply:
    arguments: dict[int, str] = {}
    for delta in (delta for each in chunks for delta in each.tool_calls):
        arguments[delta.index] = arguments.get(delta.index, "") + delta.arguments
    calls = tuple(
        ToolCall(id=f"call_{index}", name=f"tool_{index}", arguments=text) for index, text in arguments.items()
    )
    return reply(
        content="".join(each.text for each in chunks),
        reasoning="".join(each.reasoning for each in chunks) or None,
        tool_calls=calls,
        finish_reason=finish,
    )


def read_back(body: bytes, dialect: Dialect, target: Target) -> Answer | Failure:
    """What failsafe reads out of the stream *body*."""
    parser, reader = EventParser(), dialect.stream(target)
    for name, data in [*parser.feed(body), *parser.close()]:
        read = reader.read(name, data)
        if isinstance(read, Failure):
            return read
    whole = reader.body()
    return whole if isinstance(whole, Failure) else dialect.read(whole, target)


def said(answer: Answer | Failure | Reply) -> dict[str, Any]:
    """What an answer says, without its ids and times."""
    assert not isinstance(answer, Failure), answer
    return {
        "content": answer.content,
        "reasoning": answer.reasoning,
        "calls": [(call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls],
        "finish_reason": answer.finish_reason,
    }
