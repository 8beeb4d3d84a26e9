"""An answer that breaks off after its first content: what was received, or the next provider, as the reader chose."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from failsafe.chunks import Chunk, Partial
from failsafe.continuation import INSTRUCTION
from failsafe.deadline import CancelToken
from failsafe.errors import Cancelled, ContentFiltered, StreamInterrupted
from failsafe.faults import Fault
from failsafe.models import Seam, ToolCall
from failsafe.policy_config import AdaptiveConcurrencyConfig, RetryConfig, StreamConfig
from failsafe.stream import Stream
from failsafe.testing import StreamPiece, StreamScript, failing, refusal, stalling, streaming
from tests.router_bench import BROKEN, Bench
from tests.stream_bench import (
    CUT,
    FILTERED,
    GARBLED,
    OVERLOADED,
    after,
    broken,
    call_piece,
    delta,
    events,
    nothing_is_held,
    opened,
    playing,
    shown,
)

ONE_ROUND = RetryConfig(max_retries=0)

pytestmark = pytest.mark.usefixtures("expect_logs")


def cut(*texts: StreamPiece | str, by: StreamPiece = CUT) -> StreamScript:
    """An answer that begins so and breaks off."""
    return streaming(*texts, by, finish=None)


def interrupted(stream: Stream, chunks: list[Chunk] | None = None) -> StreamInterrupted:
    error = broken(stream, chunks)
    assert isinstance(error, StreamInterrupted)
    return error


# The default: the reader is told, and has what was received.


def test_the_error_says_what_broke_off_how_and_what_to_do() -> None:
    bench = Bench(cut("Hel", "lo"), streaming("from b"))
    error = interrupted(opened(bench))
    assert str(error).splitlines() == [
        (
            "the answer of a broke off after 5 characters: the connection was cut; "
            'on_interrupt="restart" or "continue" lets the next provider take over'
        ),
        "  1. a (gpt-4.1): disconnected: the connection was cut [0 ms, HTTP 200, may be billed]",
        "  => a: the connection was cut; see the provider's status page if it goes on",
    ]
    assert error.partial == Partial(text="Hello")
    assert (error.provider, error.fault) == ("a", Fault.DISCONNECTED)
    assert [(attempt.provider, attempt.fault) for attempt in error.attempts] == [("a", Fault.DISCONNECTED)]
    assert error.attempts[0].first_content_ms == 0
    assert bench.asked() == {"a": 1, "b": 0}
    assert nothing_is_held(bench)


def test_the_error_travels_to_another_process() -> None:
    error = interrupted(opened(Bench(cut("Hel", "lo"))))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.partial, copy.provider, copy.fault, copy.attempts) == (
        *(error.partial, error.provider, error.fault, error.attempts),
    )
    assert str(copy) == str(error)


def test_what_was_received_has_every_kind_of_content() -> None:
    pieces = [
        delta(reasoning_content="well "),
        delta(reasoning_content="then"),
        delta(content="Let me look. "),
        call_piece(0, "", "search"),
        call_piece(0, '{"q": 1}'),
        call_piece(1, '{"q"', "search"),
    ]
    chunks: list[Chunk] = []
    error = interrupted(opened(Bench(cut(*pieces))), chunks)
    assert error.partial == Partial(
        text="Let me look. ",
        reasoning="well then",
        tool_calls=(
            ToolCall(id="call_0", name="search", arguments='{"q": 1}'),
            ToolCall(id="call_1", name="search", arguments='{"q"'),
        ),
    )
    assert not error.partial.empty
    assert interrupted(opened(Bench(cut(delta(refusal="I will "))))).partial == Partial(refusal="I will ")


BREAKS: dict[str, tuple[Callable[[Bench], StreamPiece], Fault]] = {
    "a stall": (lambda bench: stalling(bench.clock), Fault.TIMEOUT),
    "an error event": (lambda bench: OVERLOADED, Fault.SERVER),
    "a cut": (lambda bench: CUT, Fault.DISCONNECTED),
    "an end without a reason": (lambda bench: b"", Fault.TRUNCATED),
    "what is no event": (lambda bench: GARBLED, Fault.MALFORMED),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_fault_is_told_and_a_further_read_finds_the_end(name: str) -> None:
    make, fault = BREAKS[name]
    bench = playing(lambda bench: cut("Hel", by=make(bench)), stream=StreamConfig(stall=5))
    stream = opened(bench)
    error = interrupted(stream)
    assert error.fault is error.attempts[-1].fault is fault
    assert error.partial.text == "Hel"
    assert list(stream) == []
    with pytest.raises(RuntimeError, match="was not read to its end"):
        stream.response  # noqa: B018
    assert nothing_is_held(bench)


def test_a_stall_says_for_how_long_nothing_came() -> None:
    bench = playing(lambda bench: cut("Hel", by=stalling(bench.clock)), stream=StreamConfig(stall=5))
    assert "the answer stalled: no content for 5 s" in str(interrupted(opened(bench, timeout=30)))


# The call's deadline.


def test_the_calls_deadline_ends_a_stream_that_still_runs() -> None:
    bench = playing(
        lambda bench: streaming(*(after(bench, 0.4, delta(content="x")) for _ in range(100))), streaming("from b")
    )
    began = bench.clock.monotonic()
    error = interrupted(opened(bench, timeout=10.2, on_interrupt="restart"))
    assert bench.clock.monotonic() - began == pytest.approx(10.2)
    assert error.fault is None
    assert error.partial.text == "x" * 25
    assert "the call's deadline of 10.2 s ended; a longer timeout= leaves it more time" in str(error)
    assert bench.asked() == {"a": 1, "b": 0}


def test_a_provider_that_was_writing_when_the_deadline_came_is_not_to_blame() -> None:
    bench = playing(
        lambda bench: streaming(*(after(bench, 0.4, delta(content="x")) for _ in range(100))),
        adaptive_concurrency=AdaptiveConcurrencyConfig(initial=10),
    )
    for _ in range(6):
        interrupted(opened(bench, timeout=10))
    assert bench.breaker().streak == bench.breaker().failures == 0
    assert bench.router.stats()["a"]["limit"].limit >= 10


@pytest.mark.parametrize(("left", "counts"), [(0.5, False), (3.0, True), (19.0, True)])
def test_a_provider_that_was_silent_when_the_deadline_came_is_to_blame_for_a_second_of_it(
    left: float, counts: bool
) -> None:
    bench = playing(lambda bench: cut("Hel", by=stalling(bench.clock)), stream=StreamConfig(stall=20))
    stream = opened(bench, timeout=100)
    next(stream)
    bench.clock.advance(100 - left)  # the reader's time
    error = interrupted(stream)
    assert error.fault is None
    assert f"no content for {left:g} s" in error.attempts[-1].message.replace("500 ms", "0.5 s")
    assert (bench.breaker().streak == 1) is counts


def test_how_slow_a_provider_usually_is_decides_what_is_silence() -> None:
    bench = playing(lambda bench: cut(after(bench, 4, delta(content="Hel")), by=stalling(bench.clock)))
    interrupted(opened(bench, timeout=4 + 3))
    assert bench.breaker().streak == 0
    interrupted(opened(bench, timeout=4 + 5))
    assert bench.breaker().streak == 1


# restart: the next provider begins again.


def test_a_restart_is_told_and_the_next_provider_begins_again() -> None:
    bench = Bench(cut("Hel", "lo from a"), streaming("from ", "b"))
    stream = opened(bench, on_interrupt="restart")
    chunks = list(stream)
    assert [(chunk.provider, chunk.event, chunk.text) for chunk in chunks] == [
        ("a", "delta", "Hel"),
        ("a", "delta", "lo from a"),
        ("b", "restarted", ""),
        ("b", "delta", "from "),
        ("b", "delta", "b"),
        ("b", "delta", ""),
    ]
    assert shown(chunks) == stream.response.content == "from b"
    assert stream.provider == stream.response.provider == "b"
    assert stream.response.seams == ()
    assert [attempt.fault for attempt in stream.response.attempts] == [Fault.DISCONNECTED, None]
    first, second = (bench.transports[name].requests[0].body for name in "ab")
    assert first == second
    assert nothing_is_held(bench)
    assert nothing_is_held(bench, "b")


def test_after_a_restart_only_what_came_since_counts_as_received() -> None:
    bench = Bench(cut(delta(reasoning_content="hm"), "from a"), cut("from b"), retry=ONE_ROUND)
    chunks: list[Chunk] = []
    error = interrupted(opened(bench, on_interrupt="restart"), chunks)
    assert error.partial == Partial(text="from b")
    assert shown(chunks) == "from b"
    assert (error.provider, error.fault) == ("b", Fault.DISCONNECTED)
    assert "nobody else could take over: no provider answered 'gpt-4.1' (2 attempts in 0 ms)" in str(error)


def test_a_restart_goes_on_over_all_providers_and_rounds() -> None:
    bench = Bench(cut("1"), BROKEN, (cut("2"), streaming("3")))
    stream = opened(bench, on_interrupt="restart")
    chunks = list(stream)
    assert events(chunks) == ["restarted"] * 3
    assert shown(chunks) == "3"
    assert [attempt.provider for attempt in stream.response.attempts] == ["a", "b", "c", "a", "b", "c"]
    assert [attempt.round for attempt in stream.response.attempts] == [1, 1, 1, 2, 2, 2]
    assert len(bench.clock.waits) == 1  # the backoff before the second round


def test_a_provider_alone_is_asked_again_after_a_backoff() -> None:
    bench = Bench((cut("1"), streaming("2")))
    assert shown(opened(bench, on_interrupt="restart")) == "2"
    assert len(bench.clock.waits) == 1


def test_a_provider_that_restarts_is_failed_over_unseen_until_it_shows_something() -> None:
    bench = Bench(cut("from a"), streaming(OVERLOADED, finish=None), streaming("from c"))
    chunks = list(opened(bench, on_interrupt="restart"))
    assert [(chunk.provider, chunk.event) for chunk in chunks if chunk.event != "delta"] == [("c", "restarted")]
    assert shown(chunks) == "from c"


def test_quick_retries_of_the_same_provider_count_for_streams_too() -> None:
    bench = Bench((cut("1"), streaming("2")), streaming("from b"), same_provider_retries=1)
    chunks = list(opened(bench, on_interrupt="restart"))
    assert [(chunk.provider, chunk.event) for chunk in chunks if chunk.event != "delta"] == [("a", "restarted")]
    assert shown(chunks) == "2"


# Nobody takes over.


NOBODY: dict[str, tuple[Any, str]] = {
    "nobody else works": (BROKEN, "no provider answered 'gpt-4.1' (2 attempts in 0 ms)"),
    "the next one finds the request wrong": (refusal(400, "no such field"), "b: HTTP 400: no such field"),
    "the next one filters it": (refusal(400, "no", code="content_filter"), "b: HTTP 400 content_filter: no"),
    "it is too long for the next one": (
        *(refusal(400, "no", code="context_length_exceeded"), "no provider answered 'gpt-4.1' (2 attempts in 0 ms)"),
    ),
}


@pytest.mark.parametrize("choice", ["restart", "continue"])
@pytest.mark.parametrize("name", NOBODY)
def test_when_nobody_takes_over_the_reader_keeps_what_it_has(name: str, choice: str) -> None:
    script, reason = NOBODY[name]
    bench = Bench(cut("Hel", "lo"), script, retry=ONE_ROUND)
    chunks: list[Chunk] = []
    error = interrupted(opened(bench, on_interrupt=choice), chunks)
    assert error.partial == Partial(text="Hello")
    assert (error.provider, error.fault) == ("a", Fault.DISCONNECTED)
    assert f"the connection was cut; nobody else could take over: {reason}" in str(error).splitlines()[0]
    assert [attempt.provider for attempt in error.attempts] == ["a", "b"]
    assert events(chunks) == []
    assert nothing_is_held(bench)
    assert nothing_is_held(bench, "b")


@pytest.mark.parametrize("choice", ["restart", "continue"])
def test_a_fault_that_no_other_provider_mends_is_not_tried_elsewhere(choice: str) -> None:
    bench = Bench(cut("Hel", by=failing(Fault.BAD_REQUEST)), streaming("from b"))
    error = interrupted(opened(bench, on_interrupt=choice))
    assert error.partial.text == "Hel"
    assert "no other provider would mend that" in str(error)
    assert bench.asked() == {"a": 1, "b": 0}


def test_the_deadline_may_end_while_somebody_is_looked_for() -> None:
    bench = playing(lambda bench: cut("Hel"), lambda request: bench.hang(request), retry=ONE_ROUND)
    error = interrupted(opened(bench, timeout=10, on_interrupt="restart"))
    assert error.partial.text == "Hel"
    assert error.fault is Fault.DISCONNECTED
    assert "nobody else could take over: no answer within the deadline of 10 s" in str(error)


def test_a_call_that_is_cancelled_while_somebody_is_looked_for_says_so() -> None:
    token = CancelToken()
    bench = Bench(cut("Hel"))
    stream = opened(bench, on_interrupt="restart", cancel=token)
    with bench.clock.during_wait(token.cancel):
        error = broken(stream)
    assert isinstance(error, Cancelled)
    assert [attempt.fault for attempt in error.attempts] == [Fault.DISCONNECTED]
    assert nothing_is_held(bench)


# A content policy stops it.


@pytest.mark.parametrize("choice", ["raise", "restart", "continue"])
def test_a_filter_amid_an_answer_raises_what_it_let_through(choice: str) -> None:
    bench = Bench(cut("Hel", "lo", by=FILTERED), streaming("from b"))
    error = broken(opened(bench, on_interrupt=choice))
    assert isinstance(error, ContentFiltered)
    assert (error.partial, error.provider) == ("Hello", "a")
    assert [attempt.fault for attempt in error.attempts] == [Fault.CONTENT_FILTER]
    assert bench.asked() == {"a": 1, "b": 0}
    assert bench.breaker().streak == 0
    assert nothing_is_held(bench)


@pytest.mark.parametrize(("choice", "text"), [("restart", "from b"), ("continue", "Hellofrom b")])
def test_a_filter_amid_an_answer_is_failed_over_where_both_the_settings_and_the_reader_want_it(
    choice: str, text: str
) -> None:
    bench = Bench(cut("Hel", "lo", by=FILTERED), streaming("from b"), failover_on_content_filter=True)
    assert shown(opened(bench, on_interrupt=choice)) == text


def test_a_filter_is_raised_to_a_reader_who_wants_no_other_provider() -> None:
    bench = Bench(cut("Hel", "lo", by=FILTERED), streaming("from b"), failover_on_content_filter=True)
    assert isinstance(broken(opened(bench)), ContentFiltered)


# continue: the next provider goes on with what there is.


def test_a_continuation_is_told_and_its_seam_is_kept() -> None:
    bench = Bench(cut("Hel", "lo, "), streaming("wor", "ld"))
    stream = opened(bench, on_interrupt="continue")
    chunks = list(stream)
    assert [(chunk.provider, chunk.event, chunk.text) for chunk in chunks] == [
        ("a", "delta", "Hel"),
        ("a", "delta", "lo, "),
        ("b", "continued", ""),
        ("b", "delta", "wor"),
        ("b", "delta", "ld"),
        ("b", "delta", ""),
    ]
    reply = stream.response
    assert shown(chunks) == reply.content == "Hello, world"
    assert reply.seams == (Seam(offset=7, provider="b", model="gpt-4.1"),)
    assert (reply.provider, reply.finish_reason, reply.provider_data) == ("b", "stop", None)
    assert [attempt.fault for attempt in reply.attempts] == [Fault.DISCONNECTED, None]


def test_the_next_provider_is_given_what_there_is_and_told_to_go_on() -> None:
    bench = Bench(cut("Hel", "lo "), streaming("world"))
    conversation = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    stream = bench.router.stream(conversation, model="gpt-4.1", on_interrupt="continue", temperature=0.5)
    assert shown(stream) == "Hello world"
    first, second = (bench.transports[name].requests[0].body for name in "ab")
    assert first["messages"] == conversation
    assert second["messages"] == [
        *conversation,
        {"role": "assistant", "content": "Hello "},
        {"role": "user", "content": INSTRUCTION},
    ]
    assert second["temperature"] == first["temperature"] == 0.5
    assert len(conversation) == 2


@pytest.mark.parametrize("on_interrupt", ["continue", "restart"])
def test_the_id_of_the_request_is_that_of_whoever_answers_now(on_interrupt: str) -> None:
    bench = Bench(streaming("Hel", CUT, finish=None, x_request_id="req-a"), streaming("lo", x_request_id="req-b"))
    stream = opened(bench, on_interrupt=on_interrupt)
    assert [(chunk.provider, stream.request_id) for chunk in stream] == [("a", "req-a"), *[("b", "req-b")] * 3]
    assert stream.request_id == stream.response.request_id == "req-b"


def test_continuations_that_break_off_are_continued_in_turn() -> None:
    bench = Bench((cut("one "), streaming("four")), cut("two "), cut("three "))
    stream = opened(bench, on_interrupt="continue")
    chunks = list(stream)
    reply = stream.response
    assert shown(chunks) == reply.content == "one two three four"
    assert [(chunk.provider, chunk.event) for chunk in chunks if chunk.event != "delta"] == [
        *[("b", "continued"), ("c", "continued"), ("a", "continued")]
    ]
    assert [(reply.content[seam.offset :].split()[0], seam.provider) for seam in reply.seams] == [
        *[("two", "b"), ("three", "c"), ("four", "a")]
    ]
    begun = [bench.transports[name].requests[-1].body["messages"][1]["content"] for name in "bca"]
    assert begun == ["one ", "one two ", "one two three "]


def test_what_was_received_has_the_seams_when_a_continuation_breaks_off_for_good() -> None:
    bench = Bench(cut("one "), cut("two "), retry=ONE_ROUND)
    chunks: list[Chunk] = []
    error = interrupted(opened(bench, on_interrupt="continue"), chunks)
    assert error.partial == Partial(text="one two ", seams=(Seam(offset=4, provider="b", model="gpt-4.1"),))
    assert shown(chunks) == error.partial.text
    assert error.provider == "b"


def test_an_answer_that_was_whole_but_for_its_end_is_continued_with_nothing() -> None:
    bench = Bench(cut("Hello"), streaming())
    stream = opened(bench, on_interrupt="continue")
    assert events(stream) == ["continued"]
    assert stream.response.content == "Hello"


@pytest.mark.parametrize("begun", [delta(reasoning_content="hm"), delta(content=" \n"), delta(refusal="I will")])
def test_an_answer_without_a_word_of_text_is_begun_again_instead(begun: bytes) -> None:
    bench = Bench(cut(begun), streaming("from b"))
    chunks = list(opened(bench, on_interrupt="continue", response_format={"type": "json_object"}))
    assert events(chunks) == ["restarted"]
    assert shown(chunks) == "from b"
    assert bench.transports["a"].requests[0].body == bench.transports["b"].requests[0].body


TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}]
SCHEMA = {"name": "it", "schema": {"type": "object", "properties": {}}}
NOT_TO_BE_GONE_ON_WITH: dict[str, tuple[dict[str, Any], str]] = {
    "a tool call": ({"tools": TOOLS}, "a tool call had begun"),
    "JSON": ({"response_format": {"type": "json_object"}}, "response_format json_object asks for one whole document"),
    "a schema": (
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        "response_format json_schema asks for one whole document",
    ),
}


@pytest.mark.parametrize("name", NOT_TO_BE_GONE_ON_WITH)
def test_what_no_second_model_could_go_on_with_is_not_continued(name: str) -> None:
    arguments, reason = NOT_TO_BE_GONE_ON_WITH[name]
    pieces = ["Hel", call_piece(0, '{"q"', "search")] if "tools" in arguments else ['{"q"']
    bench = Bench(cut(*pieces), streaming("from b"))
    error = interrupted(opened(bench, on_interrupt="continue", **arguments))
    assert f"it cannot be gone on with: {reason}" in str(error)
    assert not error.partial.empty
    assert bench.asked() == {"a": 1, "b": 0}


def test_a_conversation_that_ends_with_the_models_own_words_is_not_continued() -> None:
    bench = Bench(cut("lo"), streaming("from b"))
    conversation = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hel"}]
    stream = bench.router.stream(conversation, model="gpt-4.1", on_interrupt="continue")
    assert "the conversation itself ends with a message" in str(interrupted(stream))


def test_plain_text_asked_for_in_so_many_words_is_continued() -> None:
    bench = Bench(cut("Hel"), streaming("lo"))
    assert shown(opened(bench, on_interrupt="continue", response_format={"type": "text"})) == "Hello"


# Anthropic's models that go on by themselves with a message of their own.

OLDER, NEWER, UNKNOWN = "claude-haiku-4-5", "claude-opus-4-6", "claude-of-tomorrow"


def claude(*texts: str) -> StreamScript:
    """A streamed answer in Anthropic's form."""
    message: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": OLDER,
        "content": [],
        "stop_reason": None,
    }
    usage = {"input_tokens": 3, "output_tokens": 2}
    data: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    pieces = [
        b"event: " + str(each["type"]).encode() + b"\ndata: " + msgspec.json.encode(each) + b"\n\n" for each in data
    ]
    return streaming(*pieces, finish=None)


def continued_by(model: str, *texts: str, begun: StreamScript, **arguments: Any) -> tuple[str, list[dict[str, Any]]]:
    """What is shown of an answer that Anthropic's *model* goes on with, and the conversation that it was given."""
    aliases = {"fast": ["a:gpt-4.1", f"b:{model}"]}
    bench = Bench(begun, claude(*texts), aliases=aliases, each={"b": {"dialect": "anthropic"}})
    stream = opened(bench, model="fast", on_interrupt="continue", **arguments)
    text = shown(stream)
    assert text == stream.response.content
    return text, bench.transports["b"].requests[0].body["messages"]


def texts_of(turn: dict[str, Any]) -> list[str]:
    return [block["text"] for block in turn["content"]]


def test_a_model_that_goes_on_by_itself_is_given_the_text_as_its_own_and_told_nothing() -> None:
    text, messages = continued_by(OLDER, "lo ", "world", begun=cut("Hel"))
    assert text == "Hello world"
    assert [turn["role"] for turn in messages] == ["user", "assistant"]
    assert texts_of(messages[-1]) == ["Hel"]


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (NEWER, {}),
        (UNKNOWN, {}),
        (OLDER, {"reasoning_effort": "low"}),
        (OLDER, {"extra": {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "max_tokens": 4096}),
    ],
)
def test_a_model_that_refuses_its_own_words_at_the_end_is_told_to_go_on(model: str, arguments: dict[str, Any]) -> None:
    text, messages = continued_by(model, "lo", begun=cut("Hel"), **arguments)
    assert text == "Hello"
    assert [turn["role"] for turn in messages] == ["user", "assistant", "user"]
    assert texts_of(messages[-2]) == ["Hel"]
    assert texts_of(messages[-1]) == [INSTRUCTION]


SEAMS = {
    "repeated by the model": (("\n\n- two",), "one\n\n- two"),
    "repeated in pieces": (("\n", "\n", "- two"), "one\n\n- two"),
    "repeated in part, then more": (("\n- ", "two"), "one\n\n- two"),
    "not repeated": (("- two",), "one\n\n- two"),
    "repeated and more of it": (("\n\n\n- two",), "one\n\n\n- two"),
    "other white space": (("  two",), "one\n\n  two"),
    "within the continuation": (("- two\n\n", "\n\n- three"), "one\n\n- two\n\n\n\n- three"),
}


@pytest.mark.parametrize("name", SEAMS)
def test_white_space_at_the_seam_is_there_once(name: str) -> None:
    """Anthropic takes no text of its own that ends with white space; it is sent without."""
    pieces, expected = SEAMS[name]
    text, messages = continued_by(OLDER, *pieces, begun=cut("one\n\n"))
    assert texts_of(messages[-1]) == ["one"]
    assert text == expected


def test_a_model_that_is_told_to_go_on_is_given_the_white_space_and_repeats_none() -> None:
    text, messages = continued_by(NEWER, "\n- two", begun=cut("one\n"))
    assert texts_of(messages[-2]) == ["one\n"]
    assert text == "one\n\n- two"


def test_a_piece_of_nothing_but_repeated_white_space_is_not_shown() -> None:
    bench = Bench(
        cut("one\n"),
        claude("\n", "two"),
        aliases={"fast": ["a:gpt-4.1", f"b:{OLDER}"]},
        each={"b": {"dialect": "anthropic"}},
    )
    chunks = list(opened(bench, model="fast", on_interrupt="continue"))
    assert [chunk.text for chunk in chunks] == ["one\n", "", "two", ""]


def test_white_space_of_one_seam_is_forgotten_at_the_next() -> None:
    bench = Bench(
        (cut("one\n\n"), streaming("\ntwo")),
        cut(claude().pieces[0], claude().pieces[1], claude("\n").pieces[2]),
        aliases={"fast": ["a:gpt-4.1", f"b:{OLDER}"]},
        each={"b": {"dialect": "anthropic"}},
    )
    stream = opened(bench, model="fast", on_interrupt="continue")
    chunks = list(stream)
    assert [(chunk.provider, chunk.event) for chunk in chunks if chunk.event != "delta"] == [
        *[("b", "continued"), ("a", "continued")]
    ]
    assert stream.response.content == "one\n\n\ntwo"


def test_what_a_model_wants_back_with_its_own_answer_is_not_kept_of_a_continuation() -> None:
    signed = claude("lo").pieces
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    start = {"type": "content_block_start", "index": 1, "content_block": thinking}
    block = b"event: content_block_start\ndata: " + msgspec.json.encode(start) + b"\n\n"
    script = streaming(*signed[:4], block, *signed[4:], finish=None)
    each = {"b": {"dialect": "anthropic"}}
    alone = opened(Bench(BROKEN, script, each=each))
    list(alone)
    assert alone.response.provider_data
    stream = opened(Bench(cut("Hel"), script, each=each), on_interrupt="continue")
    assert shown(stream) == "Hello"
    assert stream.response.provider_data is None
