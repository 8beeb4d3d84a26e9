"""What a call usually takes, however long single ones are."""

from __future__ import annotations

import statistics

SAMPLES_FIRST = 32
"""Durations that the first estimate is made from."""
_STEP = 1.005
"""The factor by which one duration moves the estimate, whatever it is."""
_LEAST = 0.001
"""Seconds; a shorter call counts as this long, so that the estimate stays above 0."""


class UsualLatency:
    """
    The median duration of calls, followed slowly.

    The first estimate is the median of the first 32. From then on each duration moves it by the same half percent,
    up or down, so that it settles where as many are longer as are shorter: at the median. One answer of an hour moves
    it no further than one of a second above it; to follow a service that has become twice as slow for good takes about
    140 calls. The idea is that of "Frugal Streaming for Estimating Quantiles" (Ma, Muthukrishnan and Sandler,
    2013, https://arxiv.org/abs/1407.1121), with steps by a factor because durations differ by factors.

    Not thread-safe; one float once the first estimate is made.

    Attributes:
        seconds: The estimate; None before the first 32 durations.
    """

    __slots__ = ("_first", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._first: list[float] = []

    def add(self, seconds: float) -> None:
        """Take in one duration."""
        usual = self.seconds
        if usual is None:
            self._begin(seconds)
        elif seconds > usual:
            self.seconds = usual * _STEP
        elif seconds < usual:
            self.seconds = max(_LEAST, usual / _STEP)

    def _begin(self, seconds: float) -> None:
        self._first.append(seconds)
        if len(self._first) == SAMPLES_FIRST:
            self.seconds = max(_LEAST, statistics.median(self._first))
            self._first = []

    def __repr__(self) -> str:
        return f"<UsualLatency {'-' if self.seconds is None else f'{self.seconds:.3f} s'}>"
