"""How long a provider's recent successes took."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections import deque

from failsafe import checks, forking


class LatencyWindow:
    """
    The last *size* durations and their quantiles (nearest rank). Thread-safe; readers take no lock for :attr:`p95`.

    Args:
        size: How many durations are kept, at least 1.

    Attributes:
        p95: Seconds within which 95 of 100 ended; None before the first.

    Raises:
        ConfigError: *size* is out of range.
    """

    __slots__ = ("__weakref__", "_lock", "_newest_last", "_size", "_sorted", "p95")

    def __init__(self, size: int = 64) -> None:
        self._size = checks.whole("size", size, least=1)
        self._lock = threading.Lock()
        self._newest_last: deque[float] = deque()  # guarded by _lock
        self._sorted: list[float] = []  # guarded by _lock
        self.p95: float | None = None
        forking.register(self)

    @property
    def count(self) -> int:
        """How many durations are held."""
        return len(self._newest_last)

    def add(self, seconds: float) -> None:
        """Take in one duration; below 0 (a clock that went back) counts as 0, NaN is left out."""
        if math.isnan(seconds):
            return
        seconds = max(0.0, seconds)
        with self._lock:
            if len(self._newest_last) == self._size:
                oldest = self._newest_last.popleft()
                del self._sorted[bisect_left(self._sorted, oldest)]
            self._newest_last.append(seconds)
            insort(self._sorted, seconds)
            self.p95 = self._sorted[(95 * len(self._sorted) + 99) // 100 - 1]  # nearest rank, in whole numbers

    def quantile(self, q: float) -> float | None:
        """
        Return the seconds within which the share *q* of the durations ended; None before the first.

        Raises:
            ConfigError: *q* is not from 0 to 1.
        """
        checks.number("q", q, least=0, most=1)
        with self._lock:
            return self._quantile_locked(q) if self._sorted else None

    def _quantile_locked(self, q: float) -> float:
        rank = math.ceil(round(q * len(self._sorted), 9))  # 0.07 * 100 is a little above 7
        return self._sorted[max(0, rank - 1)]

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._sorted = sorted(self._newest_last)  # the parent may have been between the two

    def __repr__(self) -> str:
        p95 = "-" if self.p95 is None else f"{self.p95:.3f} s"
        return f"<LatencyWindow {self.count}/{self._size} p95 {p95}>"
