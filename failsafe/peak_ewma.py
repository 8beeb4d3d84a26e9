"""
How fast a provider is at the moment, judged with suspicion.

The idea is that of Finagle's and linkerd's balancers ("peak EWMA",
https://linkerd.io/2016/03/16/beyond-round-robin-load-balancing-for-latency/): a moving average that
jumps up to any slower answer at once and comes down slowly, so that a provider in trouble loses its
traffic with its first bad answers and wins it back cautiously. What theirs does not have is a second,
calmer level for the time in which a provider is not asked: theirs falls to zero, so that whoever was
not asked for a while looks like the fastest of all.
"""

from __future__ import annotations

import math
import threading

from failsafe import checks, forking
from failsafe.clock import SYSTEM_CLOCK, Clock

_DAY = 86_400.0
_MEMORY = 10.0
"""How many times more slowly the usual level is given up than a peak."""
_LEAST_PENALTY = 1.0
_MOST_PENALTY = 60.0
"""Seconds; bounds of what a failure makes of the level, whatever it was before."""


_State = tuple[float, float, float | None]
"""When the last answer came, the level it left, and what is usual (None until there was a success)."""


class PeakEwma:
    """
    A moving average of durations that follows peaks at once. Thread-safe; readers take no lock.

    Two levels are kept. The upper one is the average proper: a slower answer replaces it, a faster one
    draws it down by ``1 - exp(-dt / decay)`` of the difference, *dt* being the time since the answer
    before. The lower one is what is usual for the provider: it falls at the same pace and rises ten
    times more slowly.

    Without answers the reading drifts from the upper level to the lower one (time constant *decay*),
    and the lower one is itself forgotten ten times more slowly. So a moment's trouble is over soon, a
    provider that was slow for minutes is left alone for minutes, and in the end everybody is asked again.

    Args:
        decay: Seconds in which a peak loses 63 % of its height (above 0, at most a day).
        clock: Where it gets the time from; never asked under the lock.

    Raises:
        ConfigError: *decay* is out of range.
    """

    __slots__ = ("__weakref__", "_clock", "_decay", "_lock", "_memory", "_state")

    def __init__(self, decay: float = 10.0, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._decay = checks.number("decay", decay, above=0, most=_DAY)
        self._memory = self._decay * _MEMORY
        self._clock = clock
        self._lock = threading.Lock()
        self._state: _State | None = None  # guarded by _lock for writing; replaced as one, so readers need no lock
        forking.register(self)

    @property
    def seconds(self) -> float | None:
        """The reading at this moment; None before the first answer or failure."""
        return None if self._state is None else self.value(self._clock.monotonic())

    def value(self, now: float) -> float | None:
        """
        The reading, in seconds, at *now* on the clock's monotonic scale; None before the first answer or failure.

        Reading changes nothing. A *now* before the last answer counts as that moment.
        """
        state = self._state
        return None if state is None else self._read(state, now)

    def observe(self, seconds: float) -> None:
        """Take in an answer that took *seconds*; below 0 counts as 0, above a day as a day, NaN is left out."""
        if seconds != seconds:  # NaN, and cheaper than asking math
            return
        seconds = min(max(0.0, seconds), _DAY)
        now = self._clock.monotonic()
        with self._lock:
            state = self._state
            self._state = (now, seconds, seconds) if state is None else self._followed(state, now, seconds)

    def failed(self, seconds: float) -> None:
        """
        Take in a failure after *seconds*: the reading at least doubles.

        It becomes at least 1 s and at least *seconds*, but a failure raises no reading above 60 s. What
        is usual stays as it is: a server that refuses in a millisecond has not become a fast one.
        """
        now = self._clock.monotonic()
        with self._lock:
            state = self._state
            reading = 0.0 if state is None else self._read(state, now)
            penalty = max(2.0 * reading, _LEAST_PENALTY, seconds)  # NaN comes last: it replaces nothing
            level = max(reading, min(penalty, _MOST_PENALTY))
            self._state = now, level, None if state is None else state[2]

    def _read(self, state: _State, now: float) -> float:
        at, level, usual = state
        elapsed = now - at
        if not elapsed > 0.0:  # also the same moment, a clock that went back, and NaN
            return level
        kept = math.exp(-elapsed / self._decay)
        return level * kept if usual is None else _drifted(level, usual, kept, math.exp(-elapsed / self._memory))

    def _followed(self, state: _State, now: float, seconds: float) -> _State:
        at, level, usual = state
        elapsed = now - at
        kept = remembered = 1.0
        if elapsed > 0.0:
            kept, remembered = math.exp(-elapsed / self._decay), math.exp(-elapsed / self._memory)
        if usual is None:
            reading, usual = level * kept, seconds
        else:
            reading = _drifted(level, usual, kept, remembered)
            usual = seconds + (usual - seconds) * (kept if seconds < usual else remembered)
        level = seconds if seconds >= reading else min(reading, seconds + (level - seconds) * kept)
        return now, level, min(usual, level)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        reading = self.seconds
        return f"<PeakEwma {'-' if reading is None else f'{reading:.3f} s'}>"


def _drifted(level: float, usual: float, kept: float, remembered: float) -> float:
    """Where *level* is after it has *kept* so much of its height above what is *usual* and *remembered*."""
    return usual * remembered + (level - usual) * kept
