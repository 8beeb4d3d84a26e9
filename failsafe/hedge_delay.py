"""After how long an attempt at one provider counts as slow."""

from __future__ import annotations

from failsafe.hedge import hedge_after
from failsafe.latency import LatencyWindow
from failsafe.policy_config import HedgeConfig


class HedgeDelay:
    """
    Watches how long a provider's attempts take. Thread-safe.

    Args:
        config: The delay, or the quantile of the recent attempts that stands for it.
    """

    __slots__ = ("_config", "_recent")

    def __init__(self, config: HedgeConfig) -> None:
        self._config = config
        self._recent = LatencyWindow(config.window_size)

    @property
    def seconds(self) -> float | None:
        """Seconds after which an attempt is slow; None while too few are known."""
        return hedge_after(self._config, self._recent)

    def observe(self, seconds: float, *, answered: bool) -> None:
        """
        Take note of an attempt that ended after *seconds*.

        One that was given up unanswered would have taken longer, nobody knows how much. If it was slow
        by then it counts with what is known: left out, the slowest would be missing, the quantile would
        sink, and hedges would multiply. If it was not it says nothing.
        """
        if answered or self._is_slow(seconds):
            self._recent.add(seconds)

    def _is_slow(self, seconds: float) -> bool:
        slow = self.seconds
        return slow is not None and seconds >= slow
