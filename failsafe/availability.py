"""Whether a provider takes new calls, and how large a share of them: draining, and the slow start after it."""

from __future__ import annotations

import math

from failsafe.clock import Clock
from failsafe.strategies import slow_start_share


class Availability:
    """
    Remembers when a provider came back. Thread-safe: each attribute is one reference.

    Args:
        clock: The source of time.
    """

    __slots__ = ("_back_at", "_clock", "draining", "usual")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._back_at = -math.inf  # on the clock's monotonic scale
        self.draining = False
        """Whether it takes no new calls."""
        self.usual = True
        """Whether it takes its full share of calls: what most calls look at, and no more."""

    def drain(self) -> None:
        """Take no new calls; those under way go on."""
        self.draining = True
        self.usual = False

    def resume(self) -> None:
        """Take new calls again, with a slow start."""
        if self.draining:
            self.came_back()
            self.draining = False

    def came_back(self) -> None:
        """Begin a slow start: it was away, and works again."""
        self._back_at = self._clock.monotonic()
        self.usual = False

    def share(self, slow_start: float) -> float:
        """Its part of the calls it would usually be given, above 0 to 1, a slow start taking *slow_start* seconds."""
        share = slow_start_share(self._clock.monotonic() - self._back_at, slow_start)
        if share >= 1.0:
            self.usual = not self.draining
        return share
