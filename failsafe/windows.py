"""
What the recent calls of a service came to: how many, how many failed, how many were slow.

A window keeps running sums, so a call costs the same whatever the window's size, and looking costs nothing.
"""

from __future__ import annotations

import math
from typing import Protocol

_STEPS = 10
"""A time window moves on in so many steps."""

_FAILED, _SLOW = 1, 2  # a call's mark in the ring of a count window


class CallWindow(Protocol):
    """
    The calls that still count.

    Not thread-safe: the owner's lock is held around every method.

    Attributes:
        calls: How many there are.
        failures: How many of them failed.
        slow_calls: How many of them were slow, whatever their outcome.
    """

    calls: int
    failures: int
    slow_calls: int

    def add(self, now: float, /, failed: bool, slow: bool) -> None:
        """Take in a call that ended at *now* (seconds on a monotonic clock), and forget those that count no more."""

    def move_on(self, now: float, /) -> None:
        """Forget the calls that count no more at *now*, in constant time."""

    def recount(self) -> None:
        """Make the sums anew from what they are sums of, after a fork that may have come between the two."""


class CountWindow:
    """
    The latest *size* calls; time plays no part in it.

    It takes a byte a call, and those only once the calls have come, so a new window of any size is made at once.
    Not thread-safe: the owner's lock is held around every method.

    Args:
        size: How many calls are kept, at least 1.
    """

    __slots__ = ("_marks", "_oldest", "_size", "calls", "failures", "slow_calls")

    def __init__(self, size: int) -> None:
        self._size = size
        self._marks = bytearray()
        self._oldest = 0
        self.calls = 0
        self.failures = 0
        self.slow_calls = 0

    def add(self, _now: float, /, failed: bool, slow: bool) -> None:
        """Take in a call; when the window is full, in place of the oldest one."""
        mark = _FAILED * failed + _SLOW * slow
        self.failures += failed
        self.slow_calls += slow
        if self.calls == self._size:
            old = self._marks[self._oldest]
            self._marks[self._oldest] = mark
            self._oldest = (self._oldest + 1) % self._size
            self.failures -= old & _FAILED
            self.slow_calls -= old >> 1
        else:
            self.calls += 1
            # Last, as the only call in here: an interrupt comes after a call, and must not part it from its sums.
            self._marks.append(mark)

    def move_on(self, _now: float, /) -> None:
        """Do nothing: only calls push calls out."""

    def recount(self) -> None:
        """Make the sums anew from the marks."""
        counted = [self._marks.count(mark) for mark in range(4)]
        self.calls = len(self._marks)
        self.failures = counted[_FAILED] + counted[_FAILED | _SLOW]
        self.slow_calls = counted[_SLOW] + counted[_FAILED | _SLOW]


class TimeWindow:
    """
    The calls of the last *seconds*, in ten buckets of a tenth of that; when a tenth is over, the oldest is emptied.

    Steps fall on whole tenths of the clock and happen when somebody adds or looks. A clock that stands still or goes
    back fills the newest bucket; a pause of any length is caught up with by ten steps at most.
    Not thread-safe: the owner's lock is held around every method.

    Args:
        seconds: The window's length, at least a millisecond.
    """

    __slots__ = ("_buckets", "_newest", "_step", "_width", "calls", "failures", "slow_calls")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _STEPS
        self._step = -math.inf
        self._buckets = [[0, 0, 0] for _ in range(_STEPS)]  # calls, failures, slow calls
        self._newest = 0
        self.calls = 0
        self.failures = 0
        self.slow_calls = 0

    def add(self, now: float, /, failed: bool, slow: bool) -> None:
        """Take in a call that ended at *now*, after emptying the buckets whose time is over."""
        self.move_on(now)
        bucket = self._buckets[self._newest]
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow
        self.calls += 1
        self.failures += failed
        self.slow_calls += slow

    def move_on(self, now: float, /) -> None:
        """Empty the buckets whose time is over at *now*."""
        step = now // self._width
        if step <= self._step:
            return
        for _ in range(int(min(_STEPS, step - self._step))):
            self._empty_oldest()
        self._step = step

    def _empty_oldest(self) -> None:
        self._newest = (self._newest + 1) % _STEPS  # where the oldest one was
        calls, failures, slow_calls = self._buckets[self._newest]
        self._buckets[self._newest] = [0, 0, 0]
        self.calls -= calls
        self.failures -= failures
        self.slow_calls -= slow_calls

    def recount(self) -> None:
        """Make the sums anew from the buckets."""
        self.calls, self.failures, self.slow_calls = map(sum, zip(*self._buckets, strict=True))
