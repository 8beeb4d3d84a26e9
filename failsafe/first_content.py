"""How long a provider takes to show the first content of an answer, and when it is given up."""

from __future__ import annotations

import threading

from failsafe import forking
from failsafe.latency import LatencyWindow
from failsafe.policy_config import AttemptLimitConfig

_WINDOW = 64
_NEARLY = 0.99
"""What of a limit an attempt must have been given to have been given it: some is gone before it is sent."""
_CALM = 256
"""Answers without an attempt given up after which longer tries begin one step lower again."""
_MOST_DOUBLINGS = 30
_IN_SILENCE = 2.0
"""How much more longer tries may cost while nobody is answered: the breaker keeps most callers away then."""


class FirstContent:
    """
    The limit on an attempt that has shown nothing: some times the slowest of the last 64 first contents.

    An attempt that is cut says nothing about how long it would have taken, so a model that became slower, or is
    slow now and then, would be cut for ever. Therefore single attempts are given longer: twice the limit, and twice as
    much after each of them that stayed silent, too. An answer that is slower than the limit ends that, as the window
    knows it from then on. No more time is spent on longer tries than was lost at the limit before, so that a
    provider that hangs now and then costs twice the limit on the average, however long that lasts; one that answers
    nobody may cost three times the limit.

    Thread-safe; reading takes no lock.

    Args:
        config: Multiple, floor, and how many answers are needed.

    Attributes:
        seconds: The limit for an attempt that begins now; None before there are answers enough, or when it is
            turned off.
    """

    __slots__ = ("__weakref__", "_calm", "_config", "_doublings", "_lock", "_lost", "_usual", "_window", "seconds")

    def __init__(self, config: AttemptLimitConfig) -> None:
        self._config = config
        self._window = LatencyWindow(_WINDOW)
        self.seconds: float | None = None
        self._usual: float | None = None  # the limit without longer tries; guarded by _lock, as are those below
        self._lost = 0.0  # seconds in which attempts were cut, as far as longer tries have not made use of them
        self._doublings = 0  # of the limit, before the next longer try doubles it once more
        self._calm = 0  # answers since an attempt was given up
        self._after_fork()
        forking.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 of 100 showed their first content; None before the first."""
        return self._window.p95

    def began(self, given: float) -> float:
        """
        Note an attempt that is given so many seconds; a longer try is one attempt's alone.

        Returns:
            What it has taken from what longer tries may cost, for :meth:`observe`.
        """
        usual = self._usual
        if usual is None or not _is_longer(given, usual):
            return 0.0
        with self._lock:
            taken = min(given, self._lost)
            self._lost -= taken
            self._decide_locked()
        return taken

    def observe(self, seconds: float, taken: float = 0.0) -> None:
        """Note an attempt that showed its first content after *seconds*, and had *taken* time for a longer try."""
        self._window.add(seconds)
        slowest = self._window.quantile(1.0)
        with self._lock:
            self._calm += 1
            if self._calm % _CALM == 0:
                self._doublings = max(0, self._doublings - 1)
            if self._usual is not None and seconds > self._usual:
                self._lost = 0.0  # what was to be found out is known
            else:
                self._lost += taken  # it did not need the longer time, so another one may have it
            if self._config.enabled and slowest is not None and self._window.count >= self._config.minimum_calls:
                self._usual = max(self._config.floor, self._config.multiple * slowest)
                self._decide_locked()

    def gave_up(self, given: float) -> None:
        """
        Note an attempt that had shown nothing when its time was up.

        One that was given less than the limit (by the caller's deadline, or while the limit was lower) proves nothing
        about it.
        """
        with self._lock:
            if self._usual is None or given < self._usual * _NEARLY:
                return
            silent, self._calm = not self._calm, 0
            if not _is_longer(given, self._usual):
                self._lost += _IN_SILENCE * given if silent else given
            elif given >= self._longer_locked() * _NEARLY:
                self._doublings = min(_MOST_DOUBLINGS, self._doublings + 1)
            self._decide_locked()

    def _longer_locked(self) -> float:
        """Seconds that the next longer try is given."""
        assert self._usual is not None  # noqa: S101 -- its callers have seen to that
        return self._usual * 2.0 ** (self._doublings + 1)

    def _decide_locked(self) -> None:
        """Set the limit for the next attempt."""
        longer = self._longer_locked()
        self._lost = min(self._lost, longer)
        # Each attempt that is cut has been given a little less than the limit.
        self.seconds = longer if self._lost >= longer * _NEARLY else self._usual

    def __repr__(self) -> str:
        limit = "-" if self.seconds is None else f"{self.seconds:.3f} s"
        return f"<FirstContent {self._window.count} answers, limit {limit}>"


def _is_longer(given: float, usual: float) -> bool:
    return given * _NEARLY > usual
