"""Streams over scripted providers, and what a reader makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from failsafe.chunks import Chunk
from failsafe.deadline import Deadline
from failsafe.errors import FailsafeError
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.stream import Stream
from failsafe.testing import SentRequest, StreamScript, failing
from tests.router_bench import Bench, Script

CUT = failing(Fault.DISCONNECTED, "the connection was cut", phase=Phase.READ, maybe_billed=True)
OVERLOADED = b'data: {"error": {"message": "overloaded", "type": "server_error", "code": "server_overloaded"}}\n\n'
FILTERED = b'data: {"error": {"message": "the answer was stopped", "code": "content_filter"}}\n\n'
GARBLED = b"data: {half a piece\n\n"
DONE = b"data: [DONE]\n\n"


def playing(make: Callable[[Bench], StreamScript], *others: Script, **settings: Any) -> Bench:
    """A bench whose first provider's answers are made anew each time, with its clock at hand."""
    bench: Bench

    def play(request: SentRequest) -> StreamScript:
        return make(bench)

    bench = Bench(play, *others, **settings)
    return bench


def opened(bench: Bench, **arguments: Any) -> Stream:
    """A stream that nothing is special about."""
    return bench.router.stream("hi", **{"model": "gpt-4.1", **arguments})


def lost(bench: Bench, **arguments: Any) -> FailsafeError:
    """The error that asking for a stream ends with, before any content."""
    with pytest.raises(FailsafeError) as raised:
        opened(bench, **arguments)
    return raised.value


def broken(stream: Stream, chunks: list[Chunk] | None = None) -> FailsafeError:
    """The error that *stream* ends with; what came before is added to *chunks*."""
    kept = [] if chunks is None else chunks
    with pytest.raises(FailsafeError) as raised:
        kept.extend(stream)
    return raised.value


def shown(chunks: Iterable[Chunk]) -> str:
    """The text before a reader who does what the events say."""
    text = ""
    for chunk in chunks:
        text = "" if chunk.event == "restarted" else text
        text += chunk.text
    return text


def events(chunks: Iterable[Chunk]) -> list[str]:
    """What happened on the way, in order."""
    return [chunk.event for chunk in chunks if chunk.event != "delta"]


def delta(finish: str | None = None, usage: dict[str, int] | None = None, **fields: Any) -> bytes:
    """One event of a chat completion that is streamed."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    data: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4.1"}
    data["choices"] = [choice] if usage is None else []
    return b"data: " + msgspec.json.encode(data if usage is None else data | {"usage": usage}) + b"\n\n"


def call_piece(index: int, arguments: str, name: str = "") -> bytes:
    """A piece of a tool call; the first has the name."""
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    call = {"index": index, "function": function}
    return delta(tool_calls=[{"id": f"call_{index}", "type": "function", **call} if name else call])


def after(bench: Bench, seconds: float, piece: bytes | Failure) -> Any:
    """A piece that comes after *seconds*; the reader's patience ends sooner if it is shorter."""

    def come(limit: Deadline) -> bytes | Failure:
        given = limit.left
        bench.clock.advance(min(seconds, given))
        if given <= seconds:
            return failing(Fault.TIMEOUT, "no more", phase=Phase.READ, maybe_billed=True)
        return piece

    return come


def nothing_is_held(bench: Bench, name: str = "a") -> bool:
    """A probe is admitted, a key on trial is admitted, no slot is taken, and no call counts as under way."""
    endpoint = bench.endpoint(name)
    key = endpoint.config.keys[0]
    free = endpoint.key_for("gpt-4.1") is key
    endpoint.give_back(key, "gpt-4.1")
    slots = endpoint.admission.limit
    return (
        free
        and bench.breaker(name).probes_in_flight == 0
        and endpoint.in_flight == 0
        and (slots is None or slots.in_flight == 0)
        and bench.router._gate.inside == 0
    )
