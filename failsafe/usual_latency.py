"""What answers usually take, and whether they take much longer now."""

from __future__ import annotations

import statistics

BATCH = 64
"""Answers of which the median is taken."""
_SETTLED = 64
"""Medians after which a further one weighs no less."""
_UP = 1 / 8
"""What a higher median weighs, as a share of a lower one's weight."""
_LEAST = 0.001
"""Seconds; a shorter median counts as this long, so that the usual stays above 0."""


class UsualLatency:
    """
    Watches the medians of 64 answers at a time, since single answers differ too much in length to say anything.

    The usual latency is a moving average of these medians (geometric, as durations differ by factors), in which each
    weighs a 64th, the first ones more, and one above the average an eighth of that. So it is that of an unhurried
    service, as the smallest round-trip time is to TCP Vegas (Brakmo and Peterson, 1995), and is slow to follow a queue
    that grows. A few answers hardly move a median, however slow they are.

    Not thread-safe.

    Args:
        multiple: A median above so many times the usual is a slow one.

    Attributes:
        seconds: The usual latency; None before the first 64 answers.
    """

    __slots__ = ("_batch", "_medians", "_multiple", "seconds")

    def __init__(self, multiple: float) -> None:
        self._multiple = multiple
        self._batch: list[float] = []
        self._medians = 0  # up to _SETTLED
        self.seconds: float | None = None

    def add(self, seconds: float) -> float | None:
        """Take in what one answer took; the median with every 64th, else None."""
        self._batch.append(seconds)
        if len(self._batch) < BATCH:
            return None
        median = max(_LEAST, statistics.median(self._batch))
        self._batch.clear()
        self._medians = min(_SETTLED, self._medians + 1)
        if self.seconds is None:
            self.seconds = median
        else:
            weight = (_UP if median > self.seconds else 1.0) / self._medians
            self.seconds *= (median / self.seconds) ** weight
        return median

    def is_slow(self, median: float) -> bool:
        """Whether *median* is far above the usual."""
        return self.seconds is not None and median > self.seconds * self._multiple

    def adopt(self, median: float) -> None:
        """What is slow now is the usual from now on."""
        self.seconds = median

    def start_batch(self) -> None:
        """Leave out the answers since the last median."""
        self._batch.clear()

    def __repr__(self) -> str:
        return f"<UsualLatency {'-' if self.seconds is None else f'{self.seconds:.3f} s'}>"
