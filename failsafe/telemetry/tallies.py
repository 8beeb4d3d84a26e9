"""Counts, latencies and points of charts out of the rollups."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from failsafe.telemetry import coverage
from failsafe.telemetry.coverage import Piece
from failsafe.telemetry.histogram import Histogram
from failsafe.telemetry.rollups import Streams
from failsafe.telemetry.schema import ROLLUPS
from failsafe.telemetry.views import Counts, Latency, Point

_HOUR, _DAY = 3600.0, 86_400.0

_COLUMNS = "at, target, answered, failed, excused, other, slow, latency, histogram, NULL"
_WITH_STREAMS = "at, target, answered, failed, excused, other, slow, latency, histogram, streams"


class Tally:
    """What was counted in some time. Not thread-safe."""

    __slots__ = ("_latencies", "_latency", "answered", "excused", "failed", "other", "slow", "streams")

    def __init__(self) -> None:
        self.answered = self.failed = self.excused = self.other = self.slow = 0
        self._latency = 0
        self._latencies = Histogram()
        self.streams = Streams()

    def add(self, row: tuple[Any, ...]) -> None:
        """Add a row of a rollup."""
        _, _, answered, failed, excused, other, slow, latency, histogram, streams = row
        self.answered += answered
        self.failed += failed
        self.excused += excused
        self.other += other
        self.slow += slow
        self._latency += latency
        if histogram:
            self._latencies.merge_bytes(histogram)
        if streams:
            self.streams = self.streams.merged(Streams.from_bytes(streams))

    @property
    def counts(self) -> Counts:
        """How often what came up."""
        return Counts(
            answered=self.answered, failed=self.failed, excused=self.excused, other=self.other, slow=self.slow
        )

    @property
    def latency(self) -> Latency:
        """Of the answers."""
        if not self.answered:
            return Latency()
        quantile = self._latencies.quantile
        return Latency(
            count=self.answered,
            mean=self._latency / self.answered,
            p50=quantile(0.5),
            p90=quantile(0.9),
            p95=quantile(0.95),
            p99=quantile(0.99),
        )


def tallies(connection: sqlite3.Connection, began: float, ended: float, target: int | None = None) -> dict[int, Tally]:
    """
    What was counted in a window, by target; of targets without any outcome there is nothing.

    Args:
        connection: To the store.
        began: The window's begin.
        ended: Its end; infinity: up to now, with what is being counted at this moment.
        target: The only one that is asked for; None: all.
    """
    found: dict[int, Tally] = {}
    for row in _rows(connection, coverage.cover(began, ended, coverage.kept(connection)), _COLUMNS, target):
        tally = found.get(row[1])
        if tally is None:
            tally = found[row[1]] = Tally()
        tally.add(row)
    return found


def failures(connection: sqlite3.Connection, pieces: Iterable[Piece], target: int) -> int:
    """How many failures of *target* speak against it."""
    return sum(row[0] for row in _rows(connection, pieces, "coalesce(sum(failed), 0)", target))


def _rows(
    connection: sqlite3.Connection, pieces: Iterable[Piece], columns: str, target: int | None
) -> Iterator[tuple[Any, ...]]:
    for piece in pieces:
        yield from connection.execute(
            f"SELECT {columns} FROM rollup_{piece.width} "
            "WHERE at >= :began AND at < :ended AND (:target IS NULL OR target = :target)",
            {"began": piece.began, "ended": piece.ended, "target": target},
        )


def width_for(length: float) -> int:
    """The rollup that a chart of *length* seconds is drawn from."""
    if length <= 6 * _HOUR:
        return 10
    if length <= 2 * _DAY:
        return 60
    return 900 if length <= 90 * _DAY else 86_400


def points(connection: sqlite3.Connection, target: int, began: float, ended: float, most: int) -> list[Point]:
    """
    A chart of one target: spans of one length, at most *most*, those without any outcome left out.

    They begin at multiples of their length, so that a chart that moves on does not flicker.
    """
    most = max(2, most)
    width = width_for(ended - began)
    there = coverage.kept(connection)
    while width < ROLLUPS[-1] and there[width] > began:
        width = ROLLUPS[ROLLUPS.index(width) + 1]
    length = _length(began, ended, width, most)
    first = began // length * length
    found: dict[float, Tally] = {}
    for row in _rows(connection, [Piece(width, first, ended)], _WITH_STREAMS, target):
        at = row[0] // length * length
        tally = found.get(at)
        if tally is None:
            tally = found[at] = Tally()
        tally.add(row)
    return [
        Point(
            at=at,
            width=length,
            counts=tally.counts,
            latency=tally.latency,
            first_content=tally.streams.first_content,
            tokens_per_second=tally.streams.tokens_per_second,
        )
        for at, tally in sorted(found.items())
    ]


def _length(began: float, ended: float, width: int, most: int) -> int:
    """Of a point: the least multiple of *width* of which *most* cover the window."""
    factor = max(1, int((ended - began) / (width * most)))
    while -(-ended // (width * factor)) - began // (width * factor) > most:
        factor += 1
    return width * factor
