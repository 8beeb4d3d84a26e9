"""Which rollups make up a window: each ten seconds once, and as few rows as can be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.telemetry import database
from failsafe.telemetry.coverage import Piece, cover, kept
from failsafe.telemetry.schema import ROLLUPS

DAY = 86_400
EVERYTHING = dict.fromkeys(ROLLUPS, -inf)

MOMENTS = st.floats(min_value=0, max_value=3 * DAY)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(database.connect(None)) as connection:
        yield connection


def test_the_widest_that_fit_and_finer_ones_at_the_edges() -> None:
    assert cover(DAY - 975, 2 * DAY + 961, EVERYTHING) == [
        Piece(10, DAY - 975, DAY - 960), Piece(60, DAY - 960, DAY - 900), Piece(900, DAY - 900, DAY),
        Piece(86_400, DAY, 2 * DAY), Piece(900, 2 * DAY, 2 * DAY + 900), Piece(60, 2 * DAY + 900, 2 * DAY + 960),
        Piece(10, 2 * DAY + 960, 2 * DAY + 961),
    ]  # fmt: skip


def test_a_window_without_an_end_has_no_edge_there() -> None:
    assert cover(DAY, inf, EVERYTHING) == [Piece(86_400, DAY, inf)]


def test_an_empty_window_has_no_pieces() -> None:
    assert cover(50, 50, EVERYTHING) == cover(50, 40, EVERYTHING) == []


@given(MOMENTS, MOMENTS)
def test_each_ten_seconds_that_begin_in_a_window_are_in_it_once(one: float, other: float) -> None:
    began, ended = min(one, other), max(one, other)
    pieces = cover(began, ended, EVERYTHING)
    assert all(earlier.ended <= later.began for earlier, later in pairwise(pieces))
    for piece in pieces:
        if piece.width > 10:
            assert piece.began % piece.width == piece.ended % piece.width == 0
    buckets = sum(ceil(piece.ended / 10) - ceil(piece.began / 10) for piece in pieces)
    assert buckets == max(0, ceil(ended / 10) - ceil(began / 10))


@given(MOMENTS, MOMENTS, st.integers(0, 3 * 1440).map(lambda minute: minute * 60.0))
def test_where_ten_seconds_are_no_longer_kept_minutes_stand_for_them(one: float, other: float, since: float) -> None:
    began, ended = min(one, other), max(one, other)
    there = EVERYTHING | {10: since}
    minutes = [piece for piece in cover(began, ended, there) if piece.width == 10]
    assert all(piece.began >= since for piece in minutes)
    counted = {
        at
        for piece in cover(began, ended, there)
        for at in range(ceil(piece.began / piece.width) * piece.width, ceil(piece.ended), piece.width)
        for at in range(at, at + piece.width, 10)
        if at >= since
    }
    assert counted >= set(range(ceil(max(began, since) / 10) * 10, ceil(ended), 10))


def insert(connection: sqlite3.Connection, width: int, *begins: int) -> None:
    for at in begins:
        connection.execute(f"INSERT INTO rollup_{width} (at, target) VALUES (?, 1)", (at,))


def test_a_store_that_is_young_has_lost_nothing(connection: sqlite3.Connection) -> None:
    assert kept(connection) == EVERYTHING
    for width in ROLLUPS:
        insert(connection, width, 100_030 // width * width)
    assert kept(connection) == EVERYTHING


def test_what_was_forgotten_is_known_by_what_is_wider(connection: sqlite3.Connection) -> None:
    insert(connection, 10, 100_030)
    insert(connection, 60, 90_000)
    insert(connection, 900, 90_000)
    insert(connection, 86_400, 86_400)
    assert kept(connection) == EVERYTHING | {10: 100_080}


def test_all_may_be_forgotten(connection: sqlite3.Connection) -> None:
    insert(connection, 900, 90_000)
    insert(connection, 86_400, 86_400)
    assert kept(connection) == EVERYTHING | {60: inf}
    assert {piece.width for piece in cover(90_000, 90_900, kept(connection))} == {900}
