"""What streams told, as bytes; and spans that are put together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.telemetry import rollups
from failsafe.telemetry.rollups import Streams, merge_streams
from failsafe.telemetry.varints import MOST, from_varints, to_varints

numbers = st.integers(0, MOST)
streams = st.builds(Streams, st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))


@given(st.lists(numbers, max_size=300))
def test_varints_give_back_what_was_written(values: list[int]) -> None:
    assert list(from_varints(to_varints(values))) == values


def test_a_small_number_takes_a_byte_and_a_large_one_eight() -> None:
    assert [len(to_varints([number])) for number in (0, 127, 128, 16_383, 16_384, MOST)] == [1, 1, 2, 2, 3, 8]
    assert list(from_varints(to_varints([MOST + 5]))) == [MOST]


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        "text",
        7,
        b"\x80",
        b"\x01\x80",
        b"\xff" * 8 + b"\x01",
        b"\xff" * 9,
        b"\x80" * 9 + b"\0",
        b"\x81" * 5000,
        b"\x01" * 5000,
    ],
)
def test_damaged_varints_are_none(data: object) -> None:
    assert list(from_varints(data)) == []


@given(st.binary(max_size=40))
def test_no_bytes_raise(data: bytes) -> None:
    assert all(0 <= number <= MOST for number in from_varints(data))
    assert len(Streams.from_bytes(data)) == 4


@given(streams)
def test_streams_give_back_what_was_written(told: Streams) -> None:
    assert Streams.from_bytes(told.to_bytes()) == told


@given(streams, streams)
def test_merged_streams_are_both(one: Streams, other: Streams) -> None:
    both = Streams.from_bytes(merge_streams(one.to_bytes(), other.to_bytes()))

    assert both == one.merged(other) == other.merged(one)
    assert both.answers == one.answers + other.answers


def test_streams_without_any_take_no_bytes_and_tell_nothing() -> None:
    none = Streams()

    assert none.to_bytes() is None
    assert Streams.from_bytes(None) == none
    assert (none.first_content, none.tokens_per_second) == (None, None)
    assert none.merged(Streams(1, 2, 3, 4)) == Streams(1, 2, 3, 4).merged(none) == Streams(1, 2, 3, 4)
    assert Streams(2, 300).first_content == 150
    assert Streams(2, 300).tokens_per_second is None


@pytest.mark.parametrize("data", [b"\x01", b"\x01\x02\x03", b"\x01\x02\x03\x04\x05", b"\x80"])
def test_half_of_what_streams_told_is_nothing(data: bytes) -> None:
    assert Streams.from_bytes(data) == Streams()


def test_the_functions_of_sql_are_made_known_once() -> None:
    class Counting(sqlite3.Connection):
        made = 0

        def create_function(self, *arguments: Any, **options: Any) -> None:
            Counting.made += 1
            super().create_function(*arguments, **options)

    with closing(sqlite3.connect(":memory:", factory=Counting)) as connection:
        rollups.register(connection)
        rollups.register(connection)
        one, other = Streams(1, 10, 5, 7), Streams(2, 20, 6, 8)
        told = connection.execute("SELECT merge_streams(?, ?)", (one.to_bytes(), other.to_bytes())).fetchone()[0]
        histogram = connection.execute("SELECT merge_histograms(?, ?)", (b"\x05\x01", b"\x05\x02")).fetchone()[0]

    assert Counting.made == 2
    assert Streams.from_bytes(told) == Streams(3, 30, 11, 15)
    assert histogram == b"\x05\x03"
