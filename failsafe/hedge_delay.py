"""After how long an attempt at one provider counts as slow."""

from __future__ import annotations

from failsafe.hedge import hedge_after, learn_loser, learn_success
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

        One that was given up unanswered counts only if it was slow by then, as :func:`failsafe.hedge.learn_loser` says.
        """
        if answered:
            learn_success(self._recent, seconds)
        else:
            learn_loser(self._recent, seconds, self.seconds)
