"""
Time and chance as arguments.

This is the only module that may ask the machine for the time, for sleep or
for a random number; everything else is given a :class:`Clock` and a
:data:`Random`, so that tests own both.
"""

from __future__ import annotations

import random
import time
from threading import Event
from typing import Protocol

from failsafe import forking

Random = random.Random
"""The type of a random source (``random.Random``)."""


class Clock(Protocol):
    """What failsafe needs to know about time. Implementations are thread-safe."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC, for showing and storing; never for measuring."""

    def wait(self, event: Event, timeout: float) -> bool:
        """Block until *event* is set or *timeout* seconds have passed; True if it is set."""


class SystemClock:
    """The machine's own clock. Thread-safe."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    @staticmethod
    def wait(event: Event, timeout: float) -> bool:
        """Block until *event* is set or *timeout* seconds have passed; True if it is set."""
        return event.wait(min(timeout, _LONGEST_WAIT))


_LONGEST_WAIT = 86_400.0  # Event.wait raises OverflowError far above this; nobody waits a day in one call

SYSTEM_CLOCK: Clock = SystemClock()
"""The clock used where none is given."""


class _ForkSafeRandom(random.Random):
    """Seeded afresh in a forked child, or all workers of a server would draw the same numbers."""

    def _after_fork(self) -> None:
        self.seed()


def new_random() -> Random:
    """A random source seeded by the operating system; its methods are atomic under the GIL."""
    source = _ForkSafeRandom()
    forking.register(source)
    return source
