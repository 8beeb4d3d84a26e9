"""How long a provider takes to show the first content of an answer, and when it is given up."""

from __future__ import annotations

import threading

from failsafe import forking
from failsafe.latency import LatencyWindow
from failsafe.policy_config import AttemptLimitConfig

_WINDOW = 64
_PILED_UP = 3.0
"""Attempts given up at one limit that widen it."""
_RELIEF = 0.1
"""What an answer takes off them: one cut in ten is borne, since another provider has answered it."""
_NEARLY = 0.99
"""What of the limit an attempt must have been given: some is gone before it is sent."""
_WIDEST_IN_SILENCE = 4.0
"""How far a provider that shows no sign of life widens its limit: each further try costs a caller that long."""


class FirstContent:
    """
    The limit on an attempt that has shown nothing: some times the slowest of the last 64 first contents.

    It doubles when attempts that were given up pile up on a provider that still answers, or at least sends
    something: a model that merely became slower is then waited for, and from its first answer on the window knows.
    A provider that is silent doubles it twice at most. It comes back by halves, each after 64 answers without such an
    attempt. Thread-safe; reading takes no lock.

    Args:
        config: Multiple, floor, and how many answers are needed.

    Attributes:
        seconds: The limit; None before there are answers enough, or when it is turned off.
    """

    __slots__ = ("__weakref__", "_answered", "_calm", "_config", "_factor", "_lock", "_pressure", "_window", "seconds")

    def __init__(self, config: AttemptLimitConfig) -> None:
        self._config = config
        self._window = LatencyWindow(_WINDOW)
        self.seconds: float | None = None
        self._factor = 1.0  # guarded by _lock, as are those below
        self._pressure = 0.0
        self._calm = 0
        self._answered = False
        self._after_fork()
        forking.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 of 100 showed their first content; None before the first."""
        return self._window.p95

    def observe(self, seconds: float) -> None:
        """Note an attempt that showed its first content after *seconds*."""
        self._window.add(seconds)
        slowest = self._window.quantile(1.0)
        with self._lock:
            self._answered = True
            self._pressure = max(0.0, self._pressure - _RELIEF)
            self._calm += 1
            if self._calm >= _WINDOW:
                self._calm, self._factor = 0, max(1.0, self._factor / 2)
            if self._config.enabled and slowest is not None and self._window.count >= self._config.minimum_calls:
                usual = self._config.multiple * slowest
                if seconds >= slowest and self._factor > 1.0:
                    self._factor = 1.0  # what the factor stood in for is known by now
                self.seconds = max(self._config.floor, usual * self._factor)

    def gave_up(self, limit: float, *, alive: bool) -> None:
        """
        Note an attempt that had shown nothing when its time was up.

        Args:
            limit: Seconds it was given. One that was given less than the limit in force (by the caller's deadline, or
                before the limit was widened) proves nothing about the limit.
            alive: Whether the provider had sent anything, be it only the head of its answer.
        """
        with self._lock:
            if self.seconds is None or limit < self.seconds * _NEARLY:
                return
            self._calm = 0
            self._pressure += 1.0
            alive = alive or self._answered
            if self._pressure < _PILED_UP:
                return
            self._pressure, self._answered = 0.0, False
            if alive or self._factor < _WIDEST_IN_SILENCE:
                self._factor *= 2.0
                self.seconds *= 2.0

    def __repr__(self) -> str:
        limit = "-" if self.seconds is None else f"{self.seconds:.3f} s"
        return f"<FirstContent {self._window.count} answers, limit {limit}>"
