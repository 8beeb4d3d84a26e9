"""What was received of a streamed answer is what its pieces said, however they were cut."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from failsafe.chunks import Chunk, Partial, ToolCallDelta
from failsafe.collector import Collector
from failsafe.models import Seam, ToolCall


def chunk(text: str = "", **said: str) -> Chunk:
    return Chunk(provider="p", model="m", text=text, **said)  # type: ignore[arg-type]


def call(index: int, arguments: str = "", **said: str) -> Chunk:
    return Chunk(provider="p", model="m", tool_calls=(ToolCallDelta(index=index, arguments=arguments, **said),))


def collected(*chunks: Chunk) -> Collector:
    collector = Collector()
    for each in chunks:
        collector.add(each)
    return collector


def test_nothing_was_received_before_the_first_piece() -> None:
    collector = Collector()
    assert collector.partial() == Partial()
    assert collector.partial().empty
    assert (collector.text, collector.text_length, collector.calls_tools, collector.seams) == ("", 0, False, ())


def test_each_kind_of_text_is_put_together_by_itself() -> None:
    collector = collected(
        chunk("a", reasoning="1"), chunk(refusal="x"), chunk("b", reasoning="2", refusal="y"), chunk(reasoning="3")
    )
    assert collector.partial() == Partial(text="ab", reasoning="123", refusal="xy")
    assert not collector.partial().empty
    assert (collector.text, collector.text_length) == ("ab", 2)


def test_the_last_chunk_adds_nothing() -> None:
    collector = collected(chunk("a"), Chunk(provider="p", model="m", finish_reason="stop"))
    assert collector.partial() == Partial(text="a")


def test_pieces_of_several_calls_may_come_in_any_order() -> None:
    collector = collected(
        call(1, '{"b"', id="c1", name="two"),
        call(0, "{", id="c0", name="one"),
        Chunk(
            provider="p",
            model="m",
            tool_calls=(ToolCallDelta(index=1, arguments=":1}"), ToolCallDelta(index=0, arguments="}")),
        ),
    )
    assert collector.calls_tools
    assert collector.partial().tool_calls == (
        ToolCall(id="c0", name="one", arguments="{}"),
        ToolCall(id="c1", name="two", arguments='{"b":1}'),
    )


def test_the_first_id_and_name_of_a_call_stay() -> None:
    collector = collected(call(3), call(3, "{", id="a"), call(3, "}", name="n"), call(3, id="b", name="m"))
    assert collector.partial().tool_calls == (ToolCall(id="a", name="n", arguments="{}"),)


def test_a_call_that_has_said_nothing_yet_has_begun() -> None:
    assert collected(call(0)).calls_tools
    assert not collected(call(0)).partial().empty


def test_a_seam_is_where_the_text_was_when_another_went_on() -> None:
    collector = collected(chunk("ab", reasoning="thought"))
    collector.add_seam("q", "n")
    collector.add(chunk("\U0001f600"))
    collector.add_seam("r", "o")
    seams = (Seam(offset=2, provider="q", model="n"), Seam(offset=3, provider="r", model="o"))
    assert collector.seams == seams
    assert collector.partial() == Partial(text="ab\U0001f600", reasoning="thought", seams=seams)


def test_whoever_begins_again_begins_with_nothing() -> None:
    collector = collected(chunk("a", reasoning="b", refusal="c"), call(0, "{", id="i", name="n"))
    collector.add_seam("q", "n")
    before = collector.partial()
    collector.clear()
    assert collector.partial() == Partial()
    assert (collector.text_length, collector.calls_tools) == (0, False)
    collector.add(chunk("z"))
    assert collector.partial() == Partial(text="z")
    assert (before.text, len(before.seams)) == ("a", 1)  # what was given is not changed


def test_it_grows_with_the_text_alone() -> None:
    tracemalloc.start()
    try:
        collector = Collector()
        before = tracemalloc.get_traced_memory()[0]
        piece = chunk("ab", reasoning="ab")
        for _ in range(100_000):
            collector.add(piece)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert collector.text_length == 200_000
    assert held < 8 * 400_000


@given(st.text(max_size=60), st.text(max_size=60), st.lists(st.integers(0, 60), max_size=8), st.integers(1, 3))
def test_the_cuts_make_no_difference(text: str, arguments: str, places: list[int], calls: int) -> None:
    ends = sorted({0, 60, *places})
    collector = Collector()
    for start, end in pairwise(ends):
        deltas = tuple(ToolCallDelta(index=index, arguments=arguments[start:end]) for index in range(calls))
        collector.add(chunk(text[start:end], reasoning=arguments[start:end], refusal=text[start:end]))
        collector.add(Chunk(provider="p", model="m", tool_calls=deltas))
    received = collector.partial()
    assert (received.text, received.reasoning, received.refusal) == (text, arguments, text)
    assert [each.arguments for each in received.tool_calls] == [arguments] * calls
    assert collector.text_length == len(text)
