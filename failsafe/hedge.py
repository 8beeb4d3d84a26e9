"""
When a further attempt is started although the first has not failed yet: pure decisions.

The idea is the "hedged request" of Dean and Barroso, The Tail at Scale
(https://research.google/pubs/the-tail-at-scale/): ask a second time only after the first has taken longer than
most do, so that a few per cent more requests cut the slowest few per cent of the waits.
"""

from __future__ import annotations

from failsafe.budget import RetryBudget
from failsafe.latency import LatencyWindow
from failsafe.policy_config import HedgeConfig

AT_FIRST = 5.0
"""
Hedges a program may start before it has earned any.

Also the most it can save up. Without it a quiet program would never hedge: at a share of 0.05 the first
hedge would have to wait for twenty answers.
"""


def hedge_after(config: HedgeConfig, recent: LatencyWindow) -> float | None:
    """
    Return the seconds after which an attempt counts as slow; None: not known yet, so nothing is hedged.

    Args:
        config: A fixed delay, or the quantile and how many calls it needs.
        recent: How long the recent calls took, kept by :func:`learn_success` and :func:`learn_loser`.
    """
    if config.delay is not None:
        return config.delay
    if recent.count < config.minimum_calls:
        return None
    return recent.quantile(config.quantile or 1.0)


def hedge_budget(config: HedgeConfig) -> RetryBudget:
    """
    Return the budget that hedges are paid from, one token each.

    Each answered call earns ``config.budget`` tokens, so that in the long run hedges are at most that share of
    the calls, and a service that has stopped answering is not asked twice as often for it. An empty budget
    stops *new* hedges; those under way go on. With a budget of 0 there is no token at all, at the start neither.
    """
    return RetryBudget(AT_FIRST if config.budget > 0 else 0.0, config.budget)


def learn_success(recent: LatencyWindow, seconds: float) -> None:
    """Take note of an attempt that was answered after so many *seconds*."""
    recent.add(seconds)


def learn_loser(recent: LatencyWindow, seconds: float, after: float | None) -> None:
    """
    Take note of an attempt that had run for so many *seconds* without an answer when another one won.

    It would have taken at least that long. Left out, the window would hold only what was fast enough to
    survive: its quantile sinks with every hedge that wins, the next hedge starts earlier, and in the end every
    call is asked twice. A loser that had not run for *after* seconds yet is left out all the same: its
    lower bound says less than the quantile does, and would pull it down.

    Args:
        recent: The window of :func:`hedge_after`.
        seconds: How long it had run.
        after: What :func:`hedge_after` said for this call; None keeps every loser out.
    """
    if after is not None and seconds >= after:
        recent.add(seconds)
