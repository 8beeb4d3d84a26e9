"""When a closed breaker opens: the rules that judge outcomes, apart from the machinery that acts on them."""

from __future__ import annotations

import math

from failsafe.policy_config import CircuitBreakerConfig
from failsafe.windows import CallWindow, CountWindow, TimeWindow

_USUAL_WINDOW = 60.0


class ConsecutiveRule:
    """
    Opens after so many failures in a row.

    A soft failure (a rate limit) is neutral: it neither adds to the count nor clears it.
    A new rule is made for each closed period. Not thread-safe: the breaker's lock is held around every method.

    Args:
        threshold: Failures in a row that open the breaker, at least 1; None only counts them.

    Attributes:
        streak: Failures in a row at this moment; a success sets it to 0.
    """

    __slots__ = ("_threshold", "streak")

    def __init__(self, threshold: int | None) -> None:
        self._threshold = threshold
        self.streak = 0

    def failure(self, cause: str, *, soft: bool) -> str | None:
        """Count a failure of the given *cause* (in words); the reason to open, in words, or None."""
        if soft:
            return None
        self.streak += 1
        if self._threshold is None or self.streak < self._threshold:
            return None
        return f"{self.streak} failures in a row, the last: {cause}" if self.streak > 1 else f"a failure: {cause}"


class RateRules:
    """
    Open when too large a share of the calls in a window failed, or was slow.

    They are judged after every outcome, a success included, once enough calls are in the window. A soft
    failure counts as a failure here: a service that turns away half of the calls is not well, whatever it says.
    New rules, with an empty window, are made for each closed period.
    Not thread-safe: the breaker's lock is held around every method.

    Args:
        config: The window and the thresholds.
    """

    __slots__ = ("_config", "_failure_rate", "_last_cause", "_minimum", "_slow_rate", "window")

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._config = config
        self.window: CallWindow = _window(config)
        self._minimum = min(config.minimum_calls, config.window_size or config.minimum_calls)
        # No share of anything reaches infinity: that rule is off.
        self._failure_rate = config.failure_rate_threshold or math.inf
        self._slow_rate = math.inf if config.slow_call_duration is None else config.slow_call_rate_threshold
        self._last_cause = ""

    def success(self, now: float, slow: bool, /) -> str | None:
        """Take note of a success at *now* (monotonic seconds); the reason to open, in words, or None."""
        window = self.window
        window.add(now, failed=False, slow=slow)
        # Where all is well there is nothing to judge.
        return self._judge() if window.failures or window.slow_calls else None

    def failure(self, now: float, cause: str, slow: bool, /) -> str | None:
        """Take note of a failure of the given *cause* (in words); the reason to open, in words, or None."""
        self._last_cause = cause
        self.window.add(now, failed=True, slow=slow)
        return self._judge()

    def failure_rate(self) -> float | None:
        """The share of failures in the window; None if there is no such rule or no call."""
        return self._share(self.window.failures, self._failure_rate)

    def slow_call_rate(self) -> float | None:
        """The share of slow calls in the window; None if there is no such rule or no call."""
        return self._share(self.window.slow_calls, self._slow_rate)

    def _share(self, count: int, threshold: float) -> float | None:
        return count / self.window.calls if self.window.calls and threshold < math.inf else None

    def _judge(self) -> str | None:
        window = self.window
        calls = window.calls
        if calls < self._minimum:
            return None
        if window.failures / calls >= self._failure_rate:
            rates = _compared(window.failures / calls, self._failure_rate)
            return f"{window.failures} of {calls} calls failed ({rates}), the last: {self._last_cause}"
        if window.slow_calls / calls >= self._slow_rate:
            rates = _compared(window.slow_calls / calls, self._slow_rate)
            return (
                f"{window.slow_calls} of {calls} calls took longer than {self._config.slow_call_duration:g} s ({rates})"
            )
        return None


def _window(config: CircuitBreakerConfig) -> CallWindow:
    if config.window_size is not None:
        return CountWindow(config.window_size)
    return TimeWindow(config.window_seconds or _USUAL_WINDOW)


def _compared(rate: float, threshold: float) -> str:
    return f"{100 * rate:.3g} % >= {100 * threshold:.3g} %"
