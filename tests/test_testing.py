"""What the scripted streams do that stand in for a provider's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failsafe.deadline import CancelToken, Deadline
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.testing import (
    FakeClock,
    ScriptedProvider,
    ScriptedStream,
    ScriptedTransport,
    StreamScript,
    answer,
    failing,
    refusal,
    scripted_router,
    stalling,
    streaming,
    taking,
)
from failsafe.transport.base import Limits, RawAnswer

CLOCK = FakeClock()
LIMITS = Limits(deadline=Deadline.after(10, CLOCK))


def decoded(script: StreamScript) -> list[Any]:
    """The data of each event; the end marker as text."""
    body = b"".join(piece for piece in script.pieces if isinstance(piece, bytes))
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    return [event.decode() if event == b"[DONE]" else msgspec.json.decode(event) for event in events]


def test_a_scripted_stream_has_the_form_of_openais() -> None:
    *pieces, end, usage, done = decoded(streaming("Hel", "lo", model="m-1"))
    assert [each["choices"][0]["delta"]["content"] for each in pieces] == ["Hel", "lo"]
    assert [each["choices"][0]["finish_reason"] for each in pieces] == [None, None]
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 5)
    assert {each["model"] for each in (*pieces, end, usage)} == {"m-1"}
    assert done == "[DONE]"


def test_its_end_and_its_headers_can_be_chosen() -> None:
    script = streaming("Hel", finish="length", x_request_id="r-1")
    assert decoded(script)[1]["choices"][0]["finish_reason"] == "length"
    assert script.headers["X-Request-Id"] == "r-1"
    assert script.headers["content-type"] == "text/event-stream"
    assert streaming(content_type="text/html").headers["content-type"] == "text/html"
    assert len(streaming("Hel", finish=None).pieces) == 1


def opened(*outcomes: Any, limits: Limits = LIMITS) -> tuple[ScriptedTransport, Any]:
    transport = ScriptedTransport(*outcomes)
    return transport, transport.open("POST", "/chat/completions", b"{}", None, limits)


def test_the_pieces_come_one_by_one_and_are_counted() -> None:
    transport, stream = opened(streaming(b"one", b"three", finish=None))
    assert transport.streams == [stream]
    assert stream.status == 200
    assert [stream.read(LIMITS.deadline), stream.bytes_received] == [b"one", 3]
    assert [stream.read(LIMITS.deadline), stream.bytes_received] == [b"three", 8]
    assert not stream.closed
    assert stream.read(LIMITS.deadline) == b""
    assert stream.closed
    assert stream.read(LIMITS.deadline) == b""


def test_a_failure_ends_it() -> None:
    broken = failing(Fault.DISCONNECTED)
    _, stream = opened(streaming(b"one", broken, b"never", finish=None))
    stream.read(LIMITS.deadline)
    assert stream.read(LIMITS.deadline) is broken
    assert stream.closed
    assert stream.read(LIMITS.deadline) == b""


def test_a_piece_may_be_made_when_it_is_asked_for() -> None:
    given: list[Deadline] = []

    def piece(limit: Deadline) -> bytes:
        given.append(limit)
        return b"made"

    _, stream = opened(streaming(piece, finish=None))
    assert given == []
    assert stream.read(LIMITS.deadline) == b"made"
    assert given == [LIMITS.deadline]


def test_a_stall_takes_all_the_time_it_is_given() -> None:
    clock = FakeClock()
    _, stream = opened(streaming(stalling(clock), finish=None))
    failure = stream.read(Deadline.after(3, clock))
    assert isinstance(failure, Failure)
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.TIMEOUT, Phase.READ, True)
    assert clock.monotonic() == 1003


def test_what_was_closed_gives_no_more() -> None:
    _, stream = opened(streaming("one"))
    stream.close()
    stream.close()
    assert stream.closed
    assert stream.read(LIMITS.deadline) == b""


def test_a_cancelled_token_ends_it() -> None:
    token = CancelToken()
    _, stream = opened(streaming(b"one", b"two"), limits=Limits(deadline=LIMITS.deadline, cancel=token))
    assert stream.read(LIMITS.deadline) == b"one"
    token.cancel()
    failure = stream.read(LIMITS.deadline)
    assert isinstance(failure, Failure)
    assert failure.fault is Fault.CANCELLED
    assert stream.closed


def test_a_whole_answer_is_opened_as_one_piece_and_a_refusal_as_it_is() -> None:
    whole = answer("hello")
    _, stream = opened(whole)
    assert isinstance(stream, ScriptedStream)
    assert stream.headers["content-type"] == "application/json"
    assert [stream.read(LIMITS.deadline), stream.read(LIMITS.deadline)] == [whole.body, b""]
    refused, failed = refusal(503), failing(Fault.NETWORK)
    assert opened(refused)[1] is refused
    assert opened(failed)[1] is failed


def test_a_stream_that_is_asked_for_in_one_piece_comes_in_one() -> None:
    transport = ScriptedTransport(streaming(b"one", b"two", finish=None), streaming(b"one", failing(Fault.TRUNCATED)))
    whole = transport.send("POST", "/chat/completions", b"{}", None, LIMITS)
    assert isinstance(whole, RawAnswer)
    assert whole.body == b"onetwo"
    broken = transport.send("POST", "/chat/completions", b"{}", None, LIMITS)
    assert isinstance(broken, Failure)
    assert broken.fault is Fault.TRUNCATED


@pytest.mark.usefixtures("expect_logs")
def test_a_script_is_played_anew_for_every_request() -> None:
    clock = FakeClock()
    slow = ScriptedProvider("slow", taking(clock, 40.0, streaming("never")))
    openai = ScriptedProvider(
        "openai", streaming("Hel", failing(Fault.DISCONNECTED)), taking(clock, 0.8, streaming("Hi"))
    )
    with scripted_router(slow, openai, clock=clock) as router:
        broken = router.stream("hi", model="gpt-4.1", on_interrupt="restart", timeout=100)
        assert [chunk.text for chunk in broken if chunk.event == "delta"] == ["Hel", "Hi", ""]
        again = [router.stream("hi", model="gpt-4.1", only="openai") for _ in range(2)]
        assert ["".join(chunk.text for chunk in stream) for stream in again] == ["Hi", "Hi"]
    assert all(stream.closed for stream in openai.streams)
    assert len(openai.streams) == openai.asked == 4
