"""How long a provider's answers typically take at present: a plain average that one slow answer does not move far."""

from __future__ import annotations

import math
import threading

from failsafe import forking
from failsafe.clock import SYSTEM_CLOCK, Clock

_DECAY = 2.0
"""Seconds in which all but a third (1/e) of what was before is forgotten, as long as answers come."""
_FORGOTTEN = 30.0
"""Seconds after the last answer from which nothing is known: a limit on the latency must shut nobody out for ever."""


class TypicalLatency:
    """
    An average of durations weighted by time, in both directions alike. Thread-safe; reading takes no lock.

    Beside the peak (:class:`failsafe.peak_ewma.PeakEwma`), which is for comparing providers: where a provider
    is held to a limit, one slow answer among many must not count as the rule.

    Args:
        clock: The source of time.
    """

    __slots__ = ("__weakref__", "_clock", "_lock", "_state")

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state: tuple[float, float] | None = None  # the average, and when the last answer came; replaced as one
        forking.register(self)

    def observe(self, seconds: float) -> None:
        """Take in an answer that took *seconds*; below 0 counts as 0, NaN and infinity are left out."""
        if not math.isfinite(seconds):
            return
        seconds = max(0.0, seconds)
        now = self._clock.monotonic()
        with self._lock:
            if self._state is None:
                self._state = seconds, now
                return
            average, then = self._state
            kept = math.exp(-max(0.0, now - then) / _DECAY)
            self._state = average * kept + seconds * (1.0 - kept), now

    @property
    def seconds(self) -> float | None:
        """Seconds; None before the first answer, and when the last one is half a minute ago."""
        state = self._state
        if state is None or self._clock.monotonic() - state[1] > _FORGOTTEN:
            return None
        return state[0]

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        seconds = self.seconds
        return f"<TypicalLatency {'-' if seconds is None else f'{seconds:.3f} s'}>"
