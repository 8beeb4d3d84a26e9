"""A stream over the providers: its pieces, the whole answer at its end, and failover before the first content."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.deadline import CancelToken, Deadline, in_force
from failsafe.errors import (
    AllProvidersFailed,
    Cancelled,
    ContentFiltered,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    StreamInterrupted,
)
from failsafe.events import AttemptFinished, CallFinished
from failsafe.fallback_reply import LastAnswer
from failsafe.faults import REACTIONS, Fault, NextStep
from failsafe.models import Phase, Reply, ToolCall, Usage
from failsafe.policy_config import (
    AdaptiveConcurrencyConfig,
    CircuitBreakerConfig,
    HedgeConfig,
    RateLimiterConfig,
    SelectionConfig,
    StreamConfig,
)
from failsafe.testing import RecordedEvents, StreamScript, answer, failing, refusal, stalling, streaming
from failsafe.transport.base import RawAnswer
from tests.router_bench import Bench
from tests.stream_bench import (
    CUT,
    DONE,
    FILTERED,
    GARBLED,
    OVERLOADED,
    after,
    broken,
    call_piece,
    delta,
    events,
    lost,
    nothing_is_held,
    opened,
    playing,
    shown,
)

pytestmark = pytest.mark.usefixtures("expect_logs")


def test_the_pieces_name_their_provider_and_the_last_one_says_how_it_ended() -> None:
    stream = opened(Bench(streaming("Hel", "lo")))
    chunks = list(stream)
    assert [chunk.text for chunk in chunks] == ["Hel", "lo", ""]
    assert {(chunk.provider, chunk.model, chunk.event) for chunk in chunks} == {("a", "gpt-4.1", "delta")}
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop"]
    assert [chunk.usage for chunk in chunks[:-1]] == [None, None]
    assert chunks[-1].usage == Usage(prompt_tokens=3, completion_tokens=2)
    assert (stream.provider, stream.model) == ("a", "gpt-4.1")
    assert list(stream) == []  # as every iterator


def test_it_is_handed_over_with_its_first_content_and_not_before() -> None:
    bench = Bench(streaming(b": ping\n\n", delta(role="assistant", content=""), "first", "second"))
    stream = opened(bench)
    assert len(bench.transports["a"].streams[0]._pieces) > 1  # nothing was read beyond it
    assert next(stream).text == "first"


def comparable(reply: Reply) -> dict[str, Any]:
    """What does not depend on how the answer came."""
    fields = msgspec.structs.asdict(reply)
    return {name: fields[name] for name in fields if name not in ("attempts", "latency_ms", "raw", "id")}


TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def whole(finish: str = "stop", **message: Any) -> RawAnswer:
    """A complete answer with this message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion", "model": "gpt-4.1", "choices": [choice], "usage": USAGE}
    return msgspec.structs.replace(answer(), body=msgspec.json.encode(body))


def in_pieces(*pieces: bytes, finish: str = "stop") -> StreamScript:
    """The same as a stream."""
    return streaming(*pieces, delta(finish=finish), delta(usage=USAGE), DONE, finish=None)


CALLS = [
    {"id": f"call_{index}", "type": "function", "function": {"name": "search", "arguments": '{"q": 1}'}}
    for index in (0, 1)
]
CALLS_IN_PIECES = (
    *(call_piece(0, "", "search"), call_piece(0, '{"q"'), call_piece(0, ": 1}")),
    call_piece(1, '{"q": 1}', "search"),
)
WHOLE_AND_STREAMED = {
    "text": (answer("Hello"), streaming("Hel", "lo")),
    "tool calls": (whole("tool_calls", tool_calls=CALLS), in_pieces(*CALLS_IN_PIECES, finish="tool_calls")),
    "reasoning": (
        whole(content="42", reasoning_content="well then"),
        in_pieces(delta(reasoning_content="well "), delta(reasoning_content="then"), delta(content="42")),
    ),
    "refusal": (whole(refusal="I will not"), in_pieces(delta(refusal="I will "), delta(refusal="not"))),
    "an answer cut at its limit": (whole("length", content="Hel"), in_pieces(delta(content="Hel"), finish="length")),
}


@pytest.mark.parametrize("name", WHOLE_AND_STREAMED)
def test_the_response_is_what_a_call_without_streaming_gives(name: str) -> None:
    at_once, streamed = WHOLE_AND_STREAMED[name]
    arguments: dict[str, Any] = {"tools": TOOLS} if name == "tool calls" else {}
    plain = Bench(at_once).ask(**arguments)
    stream = opened(Bench(streamed), **arguments)
    chunks = list(stream)
    assert comparable(stream.response) == comparable(plain)
    assert (chunks[-1].finish_reason, chunks[-1].usage) == (plain.finish_reason, plain.usage)
    assert shown(chunks) == plain.content
    assert "".join(chunk.reasoning for chunk in chunks) == (plain.reasoning or "")
    assert "".join(chunk.refusal for chunk in chunks) == (plain.refusal or "")
    assert put_together(chunks) == plain.tool_calls


def put_together(chunks: list[Chunk]) -> tuple[ToolCall, ...]:
    """The tool calls that the pieces make up."""
    pieces: dict[int, list[ToolCallDelta]] = {}
    for each in (each for chunk in chunks for each in chunk.tool_calls):
        pieces.setdefault(each.index, []).append(each)
    return tuple(
        ToolCall(id=of_one[0].id, name=of_one[0].name, arguments="".join(each.arguments for each in of_one))
        for of_one in pieces.values()
    )


def test_the_receipt_says_when_the_first_content_came() -> None:
    bench = playing(
        lambda bench: streaming(after(bench, 0.5, delta(content="Hel")), after(bench, 2, delta(content="lo")))
    )
    stream = opened(bench)
    bench.clock.advance(30)  # the reader is elsewhere
    list(stream)
    (attempt,) = stream.response.attempts
    assert attempt.first_content_ms == pytest.approx(500)
    assert attempt.latency_ms == pytest.approx(32_500)
    assert attempt.usage == Usage(prompt_tokens=3, completion_tokens=2)
    assert attempt.bytes_received > 0
    assert Bench(answer()).ask().attempts[0].first_content_ms is None


def test_the_whole_answer_is_there_once_it_was_read_to_its_end() -> None:
    stream = opened(Bench(streaming("Hel", "lo")))
    for _ in range(2):
        next(stream)
        with pytest.raises(RuntimeError, match="was not read to its end"):
            stream.response  # noqa: B018
    next(stream)
    assert stream.response.content == "Hello"
    stream.close()
    assert stream.response.content == "Hello"


def test_its_repr_says_where_it_stands() -> None:
    stream = opened(Bench(streaming("Hel", "lo")))
    next(stream)
    assert repr(stream) == "<Stream of a (gpt-4.1), open, 3 characters>"
    list(stream)
    assert repr(stream) == "<Stream of a (gpt-4.1), complete, 5 characters>"
    closed = opened(Bench(streaming("Hel", "lo")))
    closed.close()
    assert repr(closed) == "<Stream of a (gpt-4.1), closed, 0 characters>"


# Before the first content.

NEXT = [fault for fault in Fault if REACTIONS[fault].step in (NextStep.NEXT, NextStep.NEXT_ONLY)]


def seen(bench: Bench) -> None:
    """The stream of b, with nothing in it that tells of a."""
    stream = opened(bench)
    chunks = list(stream)
    assert shown(chunks) == "from b"
    assert events(chunks) == []
    assert {chunk.provider for chunk in chunks} == {stream.provider} == {"b"}
    assert [attempt.provider for attempt in stream.response.attempts] == ["a", "b"]
    assert all(each.closed for each in bench.transports["a"].streams)
    assert nothing_is_held(bench, "b")
    assert bench.endpoint().in_flight == 0


@pytest.mark.parametrize("fault", NEXT)
def test_a_fault_before_the_answer_is_failed_over_unseen(fault: Fault) -> None:
    bench = Bench(failing(fault), streaming("from ", "b"))
    seen(bench)
    assert bench.router.stats()["a"]["faults"] == {str(fault): 1}


@pytest.mark.parametrize("status", [400 + 1, 402, 403, 404, 408, 409, 429, 500, 502, 503, 529, 301])
def test_a_status_is_failed_over_unseen(status: int) -> None:
    seen(Bench(refusal(status), streaming("from ", "b")))


BEFORE_CONTENT: dict[str, StreamScript | RawAnswer] = {
    "an error event": streaming(OVERLOADED, finish=None),
    "an error event after empty pieces": streaming(b": ping\n\n", delta(role="assistant"), OVERLOADED, finish=None),
    "a clean end": streaming(finish=None),
    "an end after an empty piece": streaming(delta(role="assistant", content=""), finish=None),
    "a cut": streaming(b": ping\n\n", CUT, finish=None),
    "what is no event": streaming(GARBLED, finish=None),
    "an end marker alone": streaming(DONE, finish=None),
    "a page": msgspec.structs.replace(answer(), body=b"<html>busy</html>", headers={"content-type": "text/html"}),
}


@pytest.mark.parametrize("name", BEFORE_CONTENT)
def test_a_stream_that_breaks_before_any_content_is_failed_over_unseen(name: str) -> None:
    bench = Bench(BEFORE_CONTENT[name], streaming("from ", "b"))
    seen(bench)
    assert bench.breaker().streak == 1


def test_a_stream_that_shows_nothing_in_time_is_failed_over_unseen() -> None:
    bench = playing(
        lambda bench: streaming(b": ping\n\n", stalling(bench.clock)),
        streaming("from ", "b"),
        stream=StreamConfig(first_content=3),
    )
    seen(bench)
    assert bench.router.stats()["a"]["faults"] == {"timeout": 1}
    assert "no content within 3 s" in bench.router.stats()["a"]["last_fault"]


def test_pings_and_empty_pieces_do_not_count_as_content() -> None:
    nothing = (b": ping\n\n", delta(content=""), b"\n\n", delta(role="assistant"))
    bench = playing(
        lambda bench: streaming(*(after(bench, 1, piece) for piece in nothing), "too late"),
        streaming("from b"),
        stream=StreamConfig(first_content=3),
    )
    assert opened(bench).provider == "b"


def test_an_answer_of_nothing_that_says_how_it_ended_is_an_answer() -> None:
    stream = opened(Bench(streaming()))
    (end,) = stream
    assert (end.finish_reason, stream.response.content) == ("stop", "")


def test_a_provider_that_does_not_stream_is_read_all_the_same() -> None:
    bench = Bench(answer("Hello"))
    stream = opened(bench)
    chunks = list(stream)
    assert [chunk.text for chunk in chunks] == ["Hello", ""]
    assert stream.response.content == "Hello"
    assert bench.transports["a"].requests[0].body["stream"] is True


def test_the_callers_own_mistake_is_raised_by_the_call_itself() -> None:
    bench = Bench(refusal(400, "no such field"), streaming("x"))
    assert isinstance(lost(bench), InvalidRequest)
    assert bench.asked() == {"a": 1, "b": 0}


@pytest.mark.parametrize("failover", [False, True])
def test_a_filter_before_any_content_is_raised_or_failed_over_as_the_settings_say(failover: bool) -> None:
    bench = Bench(streaming(FILTERED, finish=None), streaming("x"), failover_on_content_filter=failover)
    if failover:
        assert opened(bench).provider == "b"
    else:
        assert isinstance(lost(bench), ContentFiltered)
    assert bench.breaker().streak == 0


def test_when_nobody_answers_the_call_itself_raises_with_the_receipt() -> None:
    bench = Bench(failing(Fault.NETWORK), streaming(OVERLOADED, finish=None))
    error = lost(bench, timeout=5)
    assert isinstance(error, AllProvidersFailed)
    assert {attempt.provider for attempt in error.attempts} == {"a", "b"}
    assert bench.router._gate.inside == 0


def test_when_the_time_is_up_before_any_content_the_call_itself_raises() -> None:
    bench = playing(lambda bench: streaming(stalling(bench.clock)))
    error = lost(bench, timeout=0.25)
    assert isinstance(error, DeadlineExceeded)
    assert [attempt.phase for attempt in error.attempts] == [Phase.READ]
    assert bench.breaker().streak == 0  # asked in a hurry


def test_a_deadline_in_force_bounds_a_stream() -> None:
    bench = playing(lambda bench: streaming(stalling(bench.clock)))
    began = bench.clock.monotonic()
    with in_force(Deadline.after(0.5, bench.clock)):
        assert isinstance(lost(bench, timeout=30), DeadlineExceeded)
    assert bench.clock.monotonic() - began == pytest.approx(0.5)


def test_an_unknown_choice_is_refused_before_anything_is_sent() -> None:
    bench = Bench(streaming("x"))
    error = lost(bench, on_interrupt="resume")
    assert isinstance(error, InvalidRequest)
    assert str(error) == "on_interrupt = 'resume': one of raise, restart, continue is needed; nothing was sent"
    assert bench.asked() == {"a": 0}


def test_a_model_that_nobody_serves_is_refused_by_the_call_itself() -> None:
    bench = Bench(streaming("x"), of_provider={"models": ["gpt-4.1"]})
    assert isinstance(lost(bench, model="gpt-5"), ModelNotFound)
    assert bench.router._gate.inside == 0


# The breaker, the limits, and who is asked.


def test_the_breaker_hears_of_success_at_the_end_and_no_sooner() -> None:
    bench = Bench(streaming("Hel", "lo"))
    stream = opened(bench)
    next(stream)
    assert bench.breaker().successes == 0
    list(stream)
    assert bench.breaker().successes == 1


COUNTED: dict[str, Callable[[Bench], StreamScript]] = {
    "no first content": lambda bench: streaming(stalling(bench.clock)),
    "a stall": lambda bench: streaming("Hel", stalling(bench.clock)),
    "an error event": lambda bench: streaming("Hel", OVERLOADED, finish=None),
    "a cut": lambda bench: streaming("Hel", CUT, finish=None),
    "an end without a reason": lambda bench: streaming("Hel", finish=None),
    "what is no event": lambda bench: streaming("Hel", GARBLED, finish=None),
}


@pytest.mark.parametrize("name", COUNTED)
def test_the_breaker_counts_every_break_and_opens_after_five(name: str) -> None:
    bench = playing(COUNTED[name], streaming("from b"))
    for number in range(1, 6):
        assert bench.breaker().streak == number - 1
        list(opened(bench, on_interrupt="restart", timeout=600))
    assert bench.breaker().state == "open"
    assert bench.breaker("b").successes == 5


def test_one_call_strikes_a_breaker_once_however_often_it_breaks_off() -> None:
    bench = Bench(streaming("Hel", CUT, finish=None))
    broken(opened(bench, on_interrupt="restart", timeout=600))
    assert bench.asked() == {"a": 3}
    assert bench.breaker().streak == 1


def test_a_reader_who_stops_says_nothing_about_the_provider() -> None:
    bench = Bench(streaming("Hel", "lo"))
    stream = opened(bench)
    next(stream)
    stream.close()
    assert (bench.breaker().successes, bench.breaker().failures) == (0, 0)
    assert bench.router.stats()["a"]["faults"] == {"cancelled": 1}


def test_a_slow_reader_is_not_the_providers_fault() -> None:
    bench = Bench(streaming("Hel", "lo"), stream=StreamConfig(stall=1))
    stream = opened(bench)
    next(stream)
    bench.clock.advance(30)
    assert shown(stream) == "lo"


def test_the_stall_begins_anew_with_each_piece() -> None:
    bench = playing(
        lambda bench: streaming(*(after(bench, 0.9, delta(content=f"{number} ")) for number in range(20))),
        stream=StreamConfig(stall=1),
    )
    assert len(list(opened(bench))) == 21


def test_how_slow_a_call_was_is_judged_by_its_first_content() -> None:
    slow = CircuitBreakerConfig(slow_call_duration=1, slow_call_rate_threshold=1, minimum_calls=1, window_size=1)
    bench = playing(lambda bench: streaming(after(bench, 0.5, delta(content="Hel")), "lo"), breaker=slow)
    with opened(bench) as stream:
        next(stream)
        bench.clock.advance(30)
        list(stream)
    assert bench.breaker().state == "closed"
    late = playing(lambda bench: streaming(after(bench, 1.5, delta(content="Hel"))), breaker=slow)
    list(opened(late))
    assert late.breaker().state == "open"


def test_an_adaptive_limit_goes_by_the_first_content_and_not_by_the_reader() -> None:
    bench = playing(
        lambda bench: streaming(after(bench, 0.5, delta(content="Hel")), "lo"),
        adaptive_concurrency=AdaptiveConcurrencyConfig(initial=10),
    )
    for number in range(1000):
        stream = opened(bench)
        bench.clock.advance(0 if number < 500 else 50)
        list(stream)
    assert bench.router.stats()["a"]["limit"].limit >= 10


def test_the_latency_strategies_go_by_the_first_content() -> None:
    bench: Bench
    bench = Bench(
        lambda request: streaming(after(bench, 0.5, delta(content="slow to begin")), "x"),
        lambda request: streaming(
            after(bench, 0.1, delta(content="quick to begin")), after(bench, 9, delta(content="x"))
        ),
        selection=SelectionConfig(strategy="lowest_latency"),
    )
    for name in ("a", "b") * 5:
        list(opened(bench, only=name))
    assert [opened(bench).provider for _ in range(5)] == ["b"] * 5


def test_what_a_stream_was_charged_corrects_the_rate_limiter() -> None:
    limits = RateLimiterConfig(tokens_per_minute=6000, burst=60)
    bench = Bench(streaming("Hel", "lo"), rate_limiter=limits)
    stream = opened(bench, max_tokens=1000)
    limiter = bench.endpoint().admission._limiter("gpt-4.1")
    assert limiter.wait(5500) > 0  # the estimate is spent
    list(stream)
    assert limiter.wait(5990) == 0  # five tokens were


def test_limits_are_learnt_from_a_streams_headers_at_its_beginning() -> None:
    limits = {"remaining": "0", "limit": "10", "reset": "30s"}
    headers = {f"x_ratelimit_{name}_requests": value for name, value in limits.items()}
    bench = Bench(streaming("Hel", "lo", **headers), streaming("from b"))
    with opened(bench) as stream:
        next(stream)
        assert opened(bench).provider == "b"
        assert bench.asked() == {"a": 1, "b": 1}


def test_streams_are_not_hedged() -> None:
    bench = playing(
        lambda bench: streaming(after(bench, 5, delta(content="slow"))), streaming("from b"), hedge=HedgeConfig(delay=0)
    )
    assert opened(bench).provider == "a"
    assert bench.asked() == {"a": 1, "b": 0}
    assert bench.router.close()


def test_a_provider_that_is_drained_finishes_its_streams_and_gets_no_new_ones() -> None:
    bench = Bench(streaming("Hel", "lo"), streaming("from b"))
    stream = opened(bench)
    bench.router.drain("a")
    assert opened(bench).provider == "b"
    assert shown(stream) == "Hello"


def test_streams_go_by_the_strategy_and_by_what_the_call_asks_for() -> None:
    bench = Bench(streaming("x"), streaming("x"), streaming("x"), selection=SelectionConfig(strategy="round_robin"))
    assert sorted(opened(bench).provider for _ in range(3)) == ["a", "b", "c"]
    assert {opened(bench, only="c").provider for _ in range(3)} == {"c"}
    assert "a" not in {opened(bench, exclude="a").provider for _ in range(6)}
    assert len({opened(bench, sticky="one user").provider for _ in range(6)}) == 1


def test_least_in_flight_counts_the_streams_that_are_open() -> None:
    bench = Bench(streaming("x"), streaming("x"), selection=SelectionConfig(strategy="least_in_flight"))
    first, second = opened(bench), opened(bench)
    assert {first.provider, second.provider} == {"a", "b"}
    first.close()
    assert opened(bench).provider == first.provider
    second.close()


def test_an_alias_goes_over_models_and_providers() -> None:
    bench = Bench(
        (refusal(404, "no such model", code="model_not_found"), streaming("from the second")),
        aliases={"fast": ["one", "two"]},
        of_provider={"models": ["one", "two"]},
    )
    stream = opened(bench, model="fast")
    assert stream.model == "two"
    assert {chunk.model for chunk in stream} == {"two"}


# What is told.


def test_the_attempt_and_then_the_call_are_told_at_the_end() -> None:
    bench = Bench(failing(Fault.NETWORK), streaming("Hel", "lo"))
    recorded = RecordedEvents()
    stream = opened(bench)
    bench.router.on_event(recorded, sync=True)
    assert [event.attempt.provider for event in bench.events if isinstance(event, AttemptFinished)] == ["a"]
    next(stream)
    assert recorded.all == []
    list(stream)
    told, end = recorded.all
    assert isinstance(told, AttemptFinished)
    assert isinstance(end, CallFinished)
    assert told.attempt == stream.response.attempts[-1]
    assert (end.call_id, end.provider, end.error, end.attempts) == (told.call_id, "b", None, 2)
    assert told.at <= end.at


def test_a_stream_that_its_reader_closes_is_told_as_closed() -> None:
    bench = Bench(streaming("Hel", "lo"))
    stream = opened(bench)
    next(stream)
    stream.close()
    attempt, end = bench.events
    assert isinstance(attempt, AttemptFinished)
    assert isinstance(end, CallFinished)
    line = attempt.attempt
    assert (line.fault, line.message, line.maybe_billed) == (Fault.CANCELLED, "closed by its reader", True)
    assert line.bytes_received > 0
    assert (end.provider, end.error, end.attempts) == (None, "closed", 1)
    stream.close()
    assert len(bench.events) == 2


def test_a_substitute_model_is_noticed_as_in_any_call() -> None:
    bench = Bench(streaming("x", model="gpt-4.1-mini"))
    stream = opened(bench)
    list(stream)
    assert (stream.response.model, stream.response.asked_model) == ("gpt-4.1-mini", "gpt-4.1")
    assert "ModelSubstituted" in [type(event).__name__ for event in bench.events]


# The router's last answer.

CACHED = Reply(
    content="from the cache", provider="cache", model="m", asked_model="m", finish_reason="tool_calls", usage=Usage(),
    tool_calls=(ToolCall(id="1", name="search", arguments="{}"),), id="", request_id=None, refusal=None,
    reasoning="hm", latency_ms=0, attempts=(), skipped=(), adjustments=(), provider_data=None, raw=None,
)  # fmt: skip


@pytest.mark.parametrize(("headers", "request_id"), [({"x_request_id": "req-1"}, "req-1"), ({}, None)])
def test_the_providers_id_of_the_request_is_known_from_the_first_content_on(
    headers: dict[str, str], request_id: str | None
) -> None:
    stream = opened(Bench(streaming("Hel", "lo", **headers)))
    assert stream.request_id == request_id
    next(stream)
    assert stream.request_id == request_id
    stream.close()
    assert stream.request_id == request_id


def test_a_key_in_the_id_of_a_request_is_not_shown() -> None:
    with opened(Bench(streaming("Hel", x_request_id="for-key-of-a"))) as stream:
        assert stream.request_id is not None
        assert "key-of-a" not in stream.request_id


@pytest.mark.parametrize("last", ["call us", lambda request, error: CACHED])
def test_the_routers_own_last_answer_comes_as_a_stream(last: LastAnswer) -> None:
    bench = Bench(failing(Fault.NETWORK), fallback=last)
    stream = opened(bench, timeout=5)
    chunk, end = stream
    reply = stream.response
    assert reply.fallback
    assert reply.attempts
    assert (chunk.text, chunk.reasoning) == (reply.content, reply.reasoning or "")
    assert tuple(each.name for each in chunk.tool_calls) == tuple(call.name for call in reply.tool_calls)
    assert (end.finish_reason, end.usage, end.text) == (reply.finish_reason, reply.usage, "")
    assert stream.provider == reply.provider == chunk.provider
    assert stream.request_id == reply.request_id
    assert bench.router._gate.inside == 0
    assert list(stream) == []


def test_the_last_answer_too_is_read_to_its_end_or_closed() -> None:
    stream = opened(Bench(failing(Fault.NETWORK), fallback="call us"), timeout=5)
    with pytest.raises(RuntimeError, match="was not read to its end"):
        stream.response  # noqa: B018
    stream.close()
    assert list(stream) == []


def test_a_last_answer_that_fails_leaves_nothing_held() -> None:
    def fails(request: object, error: object) -> str:
        raise ZeroDivisionError

    bench = Bench(failing(Fault.NETWORK), fallback=fails)
    with pytest.raises(ZeroDivisionError):
        opened(bench, timeout=5)
    assert nothing_is_held(bench)
    assert bench.router.close(timeout=0)


def test_a_last_answer_is_none_for_an_answer_that_has_begun() -> None:
    error = broken(opened(Bench(streaming("Hel", CUT, finish=None), fallback="call us")))
    assert isinstance(error, StreamInterrupted)


def test_a_cancelled_call_has_no_stream() -> None:
    token = CancelToken()
    token.cancel()
    bench = Bench(streaming("x"))
    error = lost(bench, cancel=token)
    assert isinstance(error, Cancelled)
    assert pickle.loads(pickle.dumps(error)).attempts == error.attempts
