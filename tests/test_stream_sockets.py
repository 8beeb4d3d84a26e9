"""Streams over real sockets, in all three dialects: nothing lost, nothing twice, nothing left open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.chunks import ON_INTERRUPT, Chunk, OnInterrupt
from failsafe.continuation import INSTRUCTION
from failsafe.deadline import CancelToken
from failsafe.errors import Cancelled, DeadlineExceeded, StreamInterrupted
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig, StreamConfig
from failsafe.router import Router
from failsafe.sim import HEALTHY, Behaviour, FakeCloud, Healthy, StreamShape
from failsafe.stream import Stream
from tests.acceptance.routers import (
    GRACE,
    PATIENCE,
    VENDORS,
    ShiftedClock,
    config,
    in_background,
    said_by,
    settles,
    stopwatch,
)
from tests.stream_bench import events, shown
from tests.test_forking import run
from tests.test_stream_closing import forks

pytestmark = pytest.mark.usefixtures("expect_logs")

QUICK = StreamConfig(first_content=0.15, stall=0.15)
"""Limits for a provider that will not keep them, so that a test need not wait long."""
NEXT_OF = {"openai": "anthropic", "anthropic": "gemini", "gemini": "openai"}
BEFORE_CONTENT = {"openai": 1, "anthropic": 2, "gemini": 0}
"""Events of an answer that show nothing."""
AT_SOME_POINT: dict[str, Callable[[int], StreamShape]] = {
    "an error event": lambda after: StreamShape(error_after=after),
    "a clean end": lambda after: StreamShape(cut_after=after),
    "an end amid the body": lambda after: StreamShape(cut_after=after, cut="close"),
    "a reset": lambda after: StreamShape(cut_after=after, cut="reset"),
    "silence": lambda after: StreamShape(stall_after=after),
}


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    """Three healthy providers, one a dialect."""
    with FakeCloud.of(*VENDORS) as providers:
        yield providers


def over(cloud: FakeCloud, *names: str, quick: tuple[str, ...] = (), **changes: Any) -> Router:
    """A router over the providers of these names; those in *quick* are given up soon."""
    return Router(config(cloud, *names, of={name: {"stream": QUICK} for name in quick}, **changes))


def begin(router: Router, **arguments: Any) -> Stream:
    return router.stream("hi", **{"model": "fast", "timeout": 10, **arguments})


def opening(vendor: str) -> str:
    """The first two words of the answer."""
    return f"provider {vendor} "


# The first provider breaks off.


@pytest.mark.parametrize("break_of", AT_SOME_POINT)
@pytest.mark.parametrize("vendor", VENDORS)
def test_what_breaks_before_the_first_token_is_answered_by_the_next_and_nobody_notices(
    cloud: FakeCloud, vendor: str, break_of: str
) -> None:
    other = NEXT_OF[vendor]
    with over(cloud, vendor, other, quick=(vendor,)) as router:
        for after in range(BEFORE_CONTENT[vendor] + 1):
            cloud[vendor].behave(Behaviour(stream=AT_SOME_POINT[break_of](after)))
            for _ in range(2):
                with begin(router) as stream:
                    chunks = list(stream)
                assert events(chunks) == []
                assert shown(chunks) == stream.response.content == said_by(other, "hi")
                assert {chunk.provider for chunk in chunks} == {other}
        assert router.stats()[other]["success_rate"] == 1.0
    assert cloud[vendor].count() > 0


@pytest.mark.parametrize("vendor", VENDORS)
def test_comments_without_end_are_no_answer(cloud: FakeCloud, vendor: str) -> None:
    cloud[vendor].behave(Behaviour(stream=StreamShape(comments=math.inf, comment_interval=0.01)))
    with over(cloud, vendor, NEXT_OF[vendor], quick=(vendor,)) as router:
        assert shown(begin(router)) == said_by(NEXT_OF[vendor], "hi")


@pytest.mark.parametrize("choice", ON_INTERRUPT)
@pytest.mark.parametrize("break_of", AT_SOME_POINT)
@pytest.mark.parametrize("vendor", VENDORS)
def test_what_breaks_after_the_first_token_is_the_readers_choice(
    cloud: FakeCloud, vendor: str, break_of: str, choice: OnInterrupt
) -> None:
    other = NEXT_OF[vendor]
    cloud[vendor].behave(Behaviour(stream=AT_SOME_POINT[break_of](BEFORE_CONTENT[vendor] + 2)))
    chunks: list[Chunk] = []
    patience = StreamConfig(stall=0.5 if break_of == "silence" else PATIENCE)
    with over(cloud, vendor, other, stream=patience) as router, begin(router, on_interrupt=choice) as stream:
        if choice == "raise":
            with pytest.raises(StreamInterrupted) as raised:
                chunks.extend(stream)
            assert raised.value.provider == vendor
            assert shown(chunks) == raised.value.partial.text == opening(vendor)
            assert cloud[other].count() == 0
            return
        chunks.extend(stream)
        reply = stream.response
    told = "hi" if other == "anthropic" else INSTRUCTION  # its older models go on by themselves
    assert shown(chunks) == reply.content
    assert [attempt.provider for attempt in reply.attempts] == [vendor, other]
    if choice == "restart":
        assert events(chunks) == ["restarted"]
        assert reply.content == said_by(other, "hi")
    else:
        assert events(chunks) == ["continued"]
        assert reply.content == opening(vendor) + said_by(other, told)
        assert [(seam.offset, seam.provider) for seam in reply.seams] == [(len(opening(vendor)), other)]


# Sockets.


def close_it(stream: Stream) -> None:
    stream.close()


def break_off(stream: Stream) -> None:
    for _ in stream:
        break


def fail(stream: Stream) -> None:
    with pytest.raises(ZeroDivisionError), stream:
        raise ZeroDivisionError


@pytest.mark.parametrize("go", [close_it, break_off, fail])
@pytest.mark.parametrize("vendor", VENDORS)
def test_the_socket_is_closed_at_once_when_the_reader_stops(
    cloud: FakeCloud, vendor: str, go: Callable[[Stream], None]
) -> None:
    cloud[vendor].behave(Behaviour(stream=StreamShape(stall_after=BEFORE_CONTENT[vendor] + 2)))
    with over(cloud, vendor) as router:
        streams = [begin(router)]
        assert cloud[vendor].open_connections == 1
        go(streams.pop())
        assert settles(lambda: cloud[vendor].open_connections == 0)
        assert router.stats()[vendor]["in_flight"] == 0


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_connection_serves_one_stream_after_the_other(cloud: FakeCloud, vendor: str) -> None:
    with over(cloud, vendor) as router:
        for number in range(5):
            assert shown(begin(router)) == said_by(vendor, "hi")
            assert router.chat(f"and {number}?", model="fast").content == said_by(vendor, f"and {number}?")
        assert cloud[vendor].connections == 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_slow_reader_does_not_cost_the_connection(cloud: FakeCloud, vendor: str) -> None:
    clock = ShiftedClock()
    with Router(config(cloud, vendor), clock=clock) as router:
        stream = begin(router, timeout=300)
        next(stream)
        clock.shift += 100  # the reader's own time, longer than any silence may be
        list(stream)
        assert shown(begin(router)) == said_by(vendor, "hi")
        assert cloud[vendor].connections == 1


def test_a_broken_stream_is_no_connection_for_the_next_call(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(stream=StreamShape(cut_after=3, cut="close")))
    with over(cloud, "openai") as router:
        with pytest.raises(StreamInterrupted):
            list(begin(router))
        cloud["openai"].behave(HEALTHY)
        assert shown(begin(router)) == said_by("openai", "hi")
        assert cloud["openai"].connections == 2


def test_a_reader_who_does_not_come_back_stops_nobody_else(cloud: FakeCloud) -> None:
    with over(cloud, "openai") as router, begin(router) as stream:
        next(stream)
        with in_background(lambda: [router.chat("hello", model="fast").content, shown(begin(router))]) as others:
            assert others.result(PATIENCE) == [said_by("openai", "hello"), said_by("openai", "hi")]
        assert shown(stream) in said_by("openai", "hi")


@pytest.mark.parametrize("by", ["closing", "the token"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_read_that_blocks_on_the_network_is_ended_from_another_thread(cloud: FakeCloud, vendor: str, by: str) -> None:
    cloud[vendor].behave(Behaviour(stream=StreamShape(stall_after=BEFORE_CONTENT[vendor] + 2)))
    token = CancelToken()
    with over(cloud, vendor, stream=StreamConfig(stall=50)) as router:
        stream = begin(router, cancel=token, timeout=60)
        assert next(stream).text + next(stream).text == opening(vendor)
        with in_background(lambda: next(stream)) as reader:
            assert settles(stream._turn.locked)
            took = stopwatch()
            stream.close() if by == "closing" else token.cancel()
            assert isinstance(reader.exception(PATIENCE), Cancelled)
            assert took() < GRACE
        assert settles(lambda: cloud[vendor].open_connections == 0)
        assert router.stats()[vendor]["in_flight"] == 0
        assert router.breakers.get(vendor).stats().failures == 0


# The deadline.


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_deadline_holds_while_comments_drip(cloud: FakeCloud, vendor: str) -> None:
    cloud[vendor].behave(Behaviour(stream=StreamShape(comments=math.inf, comment_interval=0.01)))
    with over(cloud, vendor, stream=StreamConfig(first_content=30)) as router:
        took = stopwatch()
        with pytest.raises(DeadlineExceeded):
            begin(router, timeout=0.3)
        assert 0.25 < took() < 0.3 + GRACE


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_deadline_holds_while_an_answer_drips(cloud: FakeCloud, vendor: str) -> None:
    text = "word " * 500
    cloud[vendor].behave(Behaviour(Healthy(text=text), stream=StreamShape(interval=0.01)))
    chunks: list[Chunk] = []
    with over(cloud, vendor, stream=StreamConfig(stall=5)) as router:
        took = stopwatch()
        with pytest.raises(StreamInterrupted) as raised:
            chunks.extend(begin(router, timeout=1, on_interrupt="restart"))
        assert 0.95 < took() < 1 + GRACE
        assert router.breakers.get(vendor).stats().failures == 0
    assert raised.value.fault is None
    assert shown(chunks) == raised.value.partial.text
    assert text.startswith(raised.value.partial.text)
    assert settles(lambda: cloud[vendor].open_connections == 0)


# A forked child.


@forks
def test_a_forked_child_does_not_touch_the_socket_of_its_parents_stream() -> None:
    answers = run("""
import gc, sys
from failsafe.config import ProviderConfig
from failsafe.router import Router
from failsafe.sim import Behaviour, FakeProvider, StreamShape
with FakeProvider("openai", behaviour=Behaviour(stream=StreamShape(interval=0.05))) as provider:
    router = Router([ProviderConfig(name="openai", base_url=provider.base_url, api_key=provider.key)])
    stream = router.stream("hi", model="gpt-4.1")
    def use():
        global stream
        stream.close()
        del stream
        return gc.collect() >= 0
    print(in_child(use))
    print("".join(chunk.text for chunk in stream))
    router.close()
""")
    assert answers == ["True", "provider openai says: hi"]


# Whatever the streams look like.

TEXTS = {vendor: " ".join(f"{vendor}-{number}ß" for number in range(6)) for vendor in VENDORS}
NO_WAIT = RetryConfig(max_retries=1, base_delay=0, max_delay=0)
NEVER = CircuitBreakerConfig(failure_threshold=1000)

breaks: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"cut_after": st.integers(0, 9), "cut": st.sampled_from(["clean", "close", "reset"])}),
    st.fixed_dictionaries({"stall_after": st.integers(0, 9)}),
    st.fixed_dictionaries({"error_after": st.integers(0, 9), "error_form": st.sampled_from(["event", "bare"])}),
)
looks = st.fixed_dictionaries(
    {
        "newline": st.sampled_from(["\n", "\r\n", "\r"]),
        "split": st.sampled_from([None, 1, 7, 64]),
        "comments": st.integers(0, 2),
        "comment": st.sampled_from([": keep-alive", ""]),
        "comment_interval": st.just(0.001),
        "pings": st.integers(0, 2),
        "done": st.booleans(),
        "finish": st.booleans(),
        "usage": st.sampled_from([None, True, False]),
        "obfuscation": st.booleans(),
    }
)
shapes = st.builds(lambda look, broken: StreamShape(**look, **broken), looks, breaks)


def segments(text: str, seams: tuple[Any, ...], first: str) -> list[tuple[str, str]]:
    """The parts of an answer, each with whose it is."""
    offsets = [0, *(seam.offset for seam in seams), len(text)]
    owners = [first, *(seam.provider for seam in seams)]
    return [(owner, text[start:end]) for owner, start, end in zip(owners, offsets, offsets[1:], strict=False)]


def judge(stream: Stream, choice: OnInterrupt) -> None:
    """Read to the end; what was shown is whole, or marked where it is not."""
    first, chunks = stream.provider, []
    error: StreamInterrupted | None = None
    try:
        for chunk in stream:
            if chunk.event == "restarted":
                first = chunk.provider
            chunks.append(chunk)
    except StreamInterrupted as broken:
        error = broken
    seams = stream.response.seams if error is None else error.partial.seams
    text = stream.response.content if error is None else error.partial.text
    assert shown(chunks) == text
    *begun, (last, rest) = segments(text, seams, first)
    for owner, part in begun:
        assert part
        assert TEXTS[owner].startswith(part)
    assert TEXTS[last].startswith(rest) if error is not None else TEXTS[last] == rest
    assert {"raise": set(), "restart": {"restarted"}, "continue": {"continued", "restarted"}}[choice] >= set(
        events(chunks)
    )
    since = max((n for n, chunk in enumerate(chunks) if chunk.event == "restarted"), default=-1)
    assert [chunk.provider for chunk in chunks[since + 1 :] if chunk.event == "continued"] == [
        seam.provider for seam in seams
    ]
    assert error is None or error.fault is not None


def test_no_shape_of_a_stream_leads_to_a_silent_gap_a_repetition_or_a_hang(cloud: FakeCloud) -> None:
    @settings(max_examples=60)
    @given(order=st.permutations(VENDORS), one=shapes, two=shapes, choice=st.sampled_from(ON_INTERRUPT))
    def hold(order: list[str], one: StreamShape, two: StreamShape, choice: OnInterrupt) -> None:
        for vendor, shape in zip(order, (one, two, StreamShape()), strict=True):
            cloud[vendor].behave(Behaviour(Healthy(text=TEXTS[vendor]), stream=shape))
        took = stopwatch()
        with over(cloud, *order, quick=tuple(order[:2]), breaker=NEVER, retry=NO_WAIT) as router:
            judge(begin(router, on_interrupt=choice), choice)
            assert all(figures["in_flight"] == 0 for figures in router.stats().values())
        assert took() < PATIENCE  # two providers that are given up, each of them twice, take a quarter of that

    hold()
