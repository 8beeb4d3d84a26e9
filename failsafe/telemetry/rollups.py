"""
Counts and latencies of a target over a span of time, as the rollup tables keep them.

What streams have told is kept as bytes: four LEB128 varints, which are the number of streamed answers, the sum of their
milliseconds until the first content, the tokens of those whose tokens are known, and the milliseconds in which those
came, from the first content to the end. Two are merged by adding.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from failsafe.telemetry import histogram
from failsafe.telemetry.histogram import Histogram
from failsafe.telemetry.outcomes import Outcome
from failsafe.telemetry.varints import from_varints, to_varints


class Streams(NamedTuple):
    """
    What the streamed answers of a span have told.

    Attributes:
        answers: How many there were.
        waited: Milliseconds until the first content, all together.
        tokens: Of the answers whose tokens are known.
        took: Milliseconds in which those came, from the first content to the end.
    """

    answers: int = 0
    waited: int = 0
    tokens: int = 0
    took: int = 0

    @property
    def first_content(self) -> float | None:
        """Mean milliseconds until the first content; None without any stream."""
        return self.waited / self.answers if self.answers else None

    @property
    def tokens_per_second(self) -> float | None:
        """Mean, after the first content; None where that is not known."""
        return self.tokens * 1000 / self.took if self.took else None

    def merged(self, other: Streams) -> Streams:
        """Both together."""
        if not self.answers or not other.answers:
            return self if self.answers else other
        return Streams(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def to_bytes(self) -> bytes | None:
        """As the column ``streams`` holds it; None for none."""
        return to_varints(self) if self.answers else None

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Streams:
        """What :meth:`to_bytes` has written; none for None and for what is damaged. Never raises."""
        numbers = from_varints(data)
        return cls(*numbers) if len(numbers) == 4 else _NONE


_NONE = Streams()


def merge_streams(one: bytes | None, other: bytes | None) -> bytes | None:
    """Both together, as bytes; the SQL function of this name. Never raises."""
    if not one or not other:
        return one or other
    return Streams.from_bytes(one).merged(Streams.from_bytes(other)).to_bytes()


def register(connection: sqlite3.Connection) -> None:
    """
    Make ``merge_histograms(a, b)`` and ``merge_streams(a, b)`` known to *connection*, unless they are.

    To make them known again would throw away what SQLite has prepared.
    """
    try:
        connection.execute("SELECT merge_streams(NULL, NULL)").fetchone()
    except sqlite3.OperationalError:
        histogram.register(connection)
        connection.create_function("merge_streams", 2, merge_streams, deterministic=True)


Identity = tuple[str, str]
"""A target's name and address, which are one in the store whoever has configured them."""


class Tally:
    """
    What is gathered of one target for the shortest span, as it comes. Not thread-safe.

    Attributes:
        latencies: Of the answers, milliseconds.
        failed: See the columns of a rollup.
        excused: Likewise.
        other: Likewise.
        first: When the first outcome came.
        streams: Of each streamed answer: milliseconds until the first content, tokens, milliseconds after it.
    """

    __slots__ = ("excused", "failed", "first", "latencies", "other", "streams")

    def __init__(self, first: float) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self.excused = 0
        self.other = 0
        self.first = first
        self.streams: list[tuple[float, int, float]] = []

    def count(self, outcome: Outcome) -> None:
        """Count what is no answer."""
        if outcome is Outcome.FAILED:
            self.failed += 1
        elif outcome is Outcome.EXCUSED:
            self.excused += 1
        else:
            self.other += 1

    def span(self, latency_limit: float | None) -> Span:
        """What was gathered."""
        latencies = self.latencies
        slow = 0 if latency_limit is None else sum([latency > latency_limit for latency in latencies])
        return Span(
            answered=len(latencies),
            failed=self.failed,
            excused=self.excused,
            other=self.other,
            slow=slow,
            first=self.first,
            latency=sum(latencies),
            counts=Histogram.of(latencies).counts if latencies else {},
            streams=_sum(self.streams) if self.streams else _NONE,
        )


def _sum(streams: list[tuple[float, int, float]]) -> Streams:
    told = [(tokens, took) for _, tokens, took in streams if tokens and took > 0]
    return Streams(
        len(streams),
        round(sum(waited for waited, _, _ in streams)),
        sum(tokens for tokens, _ in told),
        round(sum(took for _, took in told)),
    )


class Span:
    """What one row of a rollup says; never changed."""

    __slots__ = ("_counts", "_row", "answered", "excused", "failed", "first", "latency", "other", "slow", "streams")

    def __init__(
        self,
        *,
        answered: int,
        failed: int,
        excused: int,
        other: int,
        slow: int,
        first: float,
        latency: float,
        counts: dict[int, int],
        streams: Streams,
    ) -> None:
        self.answered = answered
        self.failed = failed
        self.excused = excused
        self.other = other
        self.slow = slow
        self.first = first
        self.latency = latency
        self.streams = streams
        self._counts = counts
        self._row: tuple[int, bytes | None, bytes | None] | None = None

    def merged(self, other: Span) -> Span:
        """Both together."""
        counts = dict(self._counts)
        for index, count in other._counts.items():
            counts[index] = counts.get(index, 0) + count
        return Span(
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
            excused=self.excused + other.excused,
            other=self.other + other.other,
            slow=self.slow + other.slow,
            first=min(self.first, other.first),
            latency=self.latency + other.latency,
            counts=counts,
            streams=self.streams.merged(other.streams),
        )

    def row(self, at: int, target: int) -> tuple[object, ...]:
        """The row of the span that begins at *at*, in the order of the table's columns."""
        if self._row is None:
            self._row = round(self.latency), Histogram(self._counts).to_bytes() or None, self.streams.to_bytes()
        return (
            at, target, self.answered, self.failed, self.excused, self.other, self.slow,
            int((self.first - at) * 1000), *self._row,
        )  # fmt: skip


def longer(spans: Mapping[tuple[int, Identity], Span], width: int) -> dict[tuple[int, Identity], Span]:
    """*spans*, by begin and target, put together into spans of *width* seconds."""
    together: dict[tuple[int, Identity], Span] = {}
    for (at, target), span in spans.items():
        key = at - at % width, target
        known = together.get(key)
        together[key] = span if known is None else known.merged(span)
    return together
