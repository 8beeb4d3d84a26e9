"""Counts, latencies and points of charts out of the rollups."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any, NamedTuple

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


class Frame(NamedTuple):
    """
    What a chart is made of.

    Attributes:
        width: The rollup that it is drawn from.
        length: Seconds of a point, a multiple of that.
        began: The begin of the first point, a multiple of its length, so that a chart that moves on does not flicker.
        ended: The window's end.
    """

    width: int
    length: int
    began: float
    ended: float


def framed(connection: sqlite3.Connection, began: float, ended: float, most: int) -> Frame:
    """The frame of a chart of a window with at most *most* points (at least one), the latest."""
    most = max(1, most)
    width = width_for(ended - began)
    there = coverage.kept(connection)
    while width < ROLLUPS[-1] and there[width] > began:
        width = ROLLUPS[ROLLUPS.index(width) + 1]
    length = width * max(1, ceil((ended - began) / (width * most)))
    first = max(began // length, ceil(ended / length) - most)
    return Frame(width, length, first * length, ended)


def points(connection: sqlite3.Connection, target: int, frame: Frame) -> list[Point]:
    """A chart of one target; points without any outcome are left out."""
    found: dict[float, Tally] = {}
    for row in _rows(connection, [Piece(frame.width, frame.began, frame.ended)], _WITH_STREAMS, target):
        at = row[0] // frame.length * frame.length
        tally = found.get(at)
        if tally is None:
            tally = found[at] = Tally()
        tally.add(row)
    return [
        Point(
            at=at,
            width=frame.length,
            counts=tally.counts,
            latency=tally.latency,
            first_content=tally.streams.first_content,
            tokens_per_second=tally.streams.tokens_per_second,
        )
        for at, tally in sorted(found.items())
    ]


def lines(connection: sqlite3.Connection, frame: Frame) -> dict[int, list[Point]]:
    """A chart of all targets, of means alone, which SQLite adds up by itself; see :func:`points`."""
    rows = connection.execute(
        "SELECT target, at / :length * :length AS point, sum(answered), sum(failed), sum(excused), sum(other), "
        f"sum(slow), sum(latency) FROM rollup_{frame.width} WHERE at >= :began AND at < :ended "
        "GROUP BY target, point ORDER BY target, point",
        {"length": frame.length, "began": frame.began, "ended": frame.ended},
    )
    found: defaultdict[int, list[Point]] = defaultdict(list)
    for target, at, answered, failed, excused, other, slow, latency in rows:
        counts = Counts(answered=answered, failed=failed, excused=excused, other=other, slow=slow)
        mean = Latency(count=answered, mean=latency / answered) if answered else Latency()
        found[target].append(Point(at=at, width=frame.length, counts=counts, latency=mean))
    return found
