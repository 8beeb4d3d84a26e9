"""How long one attempt may take, so that every provider gets its turn before the deadline."""

from __future__ import annotations

import math
from collections.abc import Iterable

SHARE_WITHOUT_HISTORY = 0.1
"""What is kept for a provider that was never answered, as a share of the call's whole time."""
RESERVE_AT_MOST = 0.5
"""What is kept for all providers not yet asked, as a share of the time left."""
BLAMED_AFTER = 1.0
"""Seconds of silence that a provider without history answers for, however short the caller's deadline was."""


def attempt_limit(*, left: float, whole: float, own_limit: float, waiting: Iterable[float | None]) -> float:
    """
    Seconds that one attempt may take.

    A slice of the time left is reserved for every healthy provider not yet tried, so that one
    that hangs cannot eat the deadline.

    Args:
        left: Seconds until the call's deadline; may be infinite.
        whole: Seconds the call was given at its start.
        own_limit: The provider's own ``timeout``, seconds.
        waiting: For each provider that may still be asked, the 95th percentile of its recent
            answers in seconds, or None before the first.
    """
    if left == math.inf:
        return own_limit
    reserve = sum(whole * SHARE_WITHOUT_HISTORY if usual is None else usual for usual in waiting)
    return min(own_limit, left - min(reserve, left * RESERVE_AT_MOST))


def to_blame(*, limit: float, own_limit: float, usual: float | None) -> bool:
    """
    Whether a provider that stayed silent for *limit* seconds has failed, or was only asked in too great a hurry.

    Args:
        limit: Seconds it was given.
        own_limit: The provider's own limit for this, seconds: ``timeout``, or ``connect_timeout`` for a connection.
        usual: The 95th percentile of its recent answers, seconds, or None before the first.
    """
    return limit >= min(own_limit, BLAMED_AFTER if usual is None else usual)
