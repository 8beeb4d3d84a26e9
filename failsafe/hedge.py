"""When an attempt counts as slow, and how many hedges are paid for: pure decisions."""

from __future__ import annotations

from failsafe.budget import RetryBudget
from failsafe.latency import LatencyWindow
from failsafe.policy_config import HedgeConfig

_AT_ONCE = 5.0
"""Hedges that a quiet program may spend at once: a share of few calls would be none (Finagle's BackupRequestFilter)."""


def hedge_after(config: HedgeConfig, recent: LatencyWindow) -> float | None:
    """
    Return the seconds after which an attempt is slow, or None while too few are known.

    Args:
        config: A fixed delay, or the quantile that stands for it.
        recent: How long the recent attempts took. One that was given up must be among them with the
            time it had: without it the slowest would be missing, the quantile would sink, and hedges multiply.
    """
    if config.delay is not None:
        return config.delay
    if recent.count < config.minimum_calls:
        return None
    return recent.quantile(config.quantile or 1.0)


def hedge_budget(config: HedgeConfig) -> RetryBudget:
    """
    Return a full budget for hedges: each success adds ``config.budget`` of one, and each hedge costs one.

    Fed by successes, so that hedging stops by itself when everything fails; an empty one stops only
    new hedges. With a ``config.budget`` of 0 there are none at all.
    """
    return RetryBudget(_AT_ONCE if config.budget > 0 else 0.0, config.budget)
