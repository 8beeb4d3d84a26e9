"""
Latencies as a mergeable histogram of a few bytes.

The method is DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019, arXiv 1908.10693): each bucket is wider than the one before by a constant factor, so that
whatever lies in one differs from its middle by at most a constant share. With a factor of 1.1 that share is
0.1 / 2.1, below 4.8 %; 216 buckets reach from a tenth of a millisecond to a day. Merging adds counts, so that it loses
nothing: quantiles of merged histograms are as exact as if all had been put into one.

As bytes, a histogram is its buckets in ascending order: for each, the distance from the one before (the first: from the
lowest of all) and its count, both as LEB128 varints. One latency below 20 seconds takes two bytes; none, no byte.
"""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import sub

from failsafe.telemetry.varints import from_varints, to_varints

LEAST_MS = 0.1
"""What is shorter counts as this long."""
MOST_MS = 86_400_000.0
"""What is longer counts as this long: a day."""
GROWTH = 1.1
"""How much wider each bucket is than the one before; quantiles are off by at most (GROWTH - 1) / (GROWTH + 1)."""

_SCALE = 1 / math.log(GROWTH)
_SHIFT = 1 - math.log(LEAST_MS) * _SCALE
LAST = int(math.log(MOST_MS) * _SCALE + _SHIFT)
"""The highest bucket."""

# What lies in bucket i is from edge to edge * GROWTH; this middle is equally far from both, as a share of each.
_MIDDLES = (
    LEAST_MS,
    *(2 * LEAST_MS * GROWTH**index / (GROWTH + 1) for index in range(1, LAST)),
    min(MOST_MS, 2 * LEAST_MS * GROWTH**LAST / (GROWTH + 1)),
)


class Histogram:
    """
    How often latencies of each length came up. Not thread-safe.

    Args:
        counts: By bucket.
    """

    __slots__ = ("counts",)

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: dict[int, int] = {} if counts is None else counts

    @classmethod
    def of(cls, latencies: Sequence[float]) -> Histogram:
        """The histogram of *latencies*, milliseconds."""
        if len(latencies) == 1:
            return cls({bucket(latencies[0]): 1})
        log, scale, shift, least, most = math.log, _SCALE, _SHIFT, LEAST_MS, MOST_MS
        return cls(
            Counter([int(log(ms) * scale + shift) if least < ms < most else _at_the_end(ms) for ms in latencies])
        )

    def add(self, ms: float, count: int = 1) -> None:
        """Count a latency of *ms* milliseconds *count* times (at least once)."""
        index = bucket(ms)
        self.counts[index] = self.counts.get(index, 0) + count

    def merge(self, other: Histogram) -> None:
        """Add what *other* has counted."""
        counts = self.counts
        for index, count in other.counts.items():
            counts[index] = counts.get(index, 0) + count

    def merge_bytes(self, data: bytes | None) -> None:
        """Add what :meth:`to_bytes` has written; None and what is damaged add nothing."""
        counts = self.counts
        for index, count in _decode(data).items():
            counts[index] = counts.get(index, 0) + count

    @property
    def count(self) -> int:
        """Of all latencies."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """
        The latency in milliseconds that a share of *q* (0 to 1) does not exceed, within 5 %; None without any.

        It is the nearest-rank quantile, which is the latency of one that was counted, never one between two.
        """
        total = self.count
        if not total:
            return None
        rank = max(1, math.ceil(q * total - 1e-9))  # 0.07 * 100 is above 7
        ordered = sorted(self.counts.items())
        up_to_here = list(accumulate(count for _, count in ordered))
        return _MIDDLES[ordered[bisect_left(up_to_here, min(rank, total))][0]]

    def to_bytes(self) -> bytes:
        """The histogram in as few bytes as it takes; equal histograms give equal bytes."""
        return _encode(self.counts)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Histogram:
        """What :meth:`to_bytes` has written; empty for None and for what is damaged. Never raises."""
        return cls(_decode(data))

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}>"


def bucket(ms: float) -> int:
    """The bucket of a latency of *ms* milliseconds."""
    return int(math.log(ms) * _SCALE + _SHIFT) if LEAST_MS < ms < MOST_MS else _at_the_end(ms)


def _at_the_end(ms: float) -> int:
    return LAST if ms >= MOST_MS else 0


def _encode(counts: Mapping[int, int]) -> bytes:
    if len(counts) == 1:
        return to_varints(next(iter(counts.items())))
    indices = sorted(counts)
    numbers = [0] * (2 * len(indices))
    numbers[::2] = map(sub, indices, [0, *indices])
    numbers[1::2] = [counts[index] for index in indices]
    return to_varints(numbers)


def _decode(data: bytes | None) -> dict[int, int]:
    """Counts by bucket; none if anything is wrong, as half a histogram would be a false one."""
    numbers = from_varints(data)
    distances, counts = numbers[::2], numbers[1::2]
    if len(distances) != len(counts) or 0 in counts or 0 in distances[1:] or sum(distances) > LAST:
        return {}
    return dict(zip(accumulate(distances), counts, strict=True))


def merge_histograms(one: bytes | None, other: bytes | None) -> bytes | None:
    """Both histograms in one, as bytes; the SQL function of this name. Never raises."""
    if not one or not other:
        return one or other
    counts = _decode(one)
    for index, count in _decode(other).items():
        counts[index] = counts.get(index, 0) + count
    return _encode(counts)


def register(connection: sqlite3.Connection) -> None:
    """Make ``merge_histograms(a, b)`` known to *connection*."""
    connection.create_function("merge_histograms", 2, merge_histograms, deterministic=True)
