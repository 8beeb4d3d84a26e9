"""
How long to wait before the next try: pure arithmetic.

The rule is "full jitter" (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/):
U(0, min(cap, base * factor^n)). The cap comes before the jitter, so that clients that have all
reached the cap still do not come back together.
"""

from __future__ import annotations

import math

from failsafe.clock import Random
from failsafe.policy_config import RetryConfig

LATER_AT_MOST = 0.1
"""How much later than a provider asked we come back at most, as a share of the time it named."""


def ceiling(base: float, factor: float, repeats: int, cap: float) -> float:
    """
    Return ``min(cap, base * factor ** repeats)`` for any *repeats*, however large.

    Args:
        base: The value for no repeats, at least 0.
        factor: The growth with each repeat, at least 1.
        repeats: How often it grew, at least 0.
        cap: The largest value returned.
    """
    if base <= 0:
        return 0.0
    # As floats: an integer power of a large exponent would take all memory instead of overflowing.
    try:
        return min(float(cap), base * float(factor) ** repeats)
    except OverflowError:
        return float(cap)


def calculate_delay(attempt: int, config: RetryConfig, random: Random) -> float:
    """
    Return the seconds to wait after try number *attempt* failed.

    Args:
        attempt: The try that failed, counted from 0.
        config: Base, factor, cap, and whether there is jitter.
        random: The source of chance; not asked when ``config.jitter`` is false.

    Returns:
        U(0, c) for c = min(``max_delay``, ``base_delay`` * ``exponential_base`` ** *attempt*),
        or c itself without jitter.
    """
    longest = ceiling(config.base_delay, config.exponential_base, attempt, config.max_delay)
    return longest * random.random() if config.jitter else longest


def a_little_later(seconds: float, random: Random) -> float:
    """Return *seconds* or, by chance, up to a tenth more: never too early, and not all at once."""
    return seconds * (1.0 + LATER_AT_MOST * random.random())


def named_wait(retry_after: object) -> float | None:
    """Return *retry_after* as seconds if it is a number of at least 0 (infinity included), else None."""
    if isinstance(retry_after, bool) or not isinstance(retry_after, int | float):
        return None
    try:
        seconds = float(retry_after)
    except OverflowError:
        return math.inf
    return seconds if seconds >= 0 else None
