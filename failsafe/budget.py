"""
A retry budget: extra tries are paid for by successes.

A token bucket fed by successes, not a share of live traffic: when everything fails, nothing feeds
it, and retries stop by themselves instead of multiplying the load.
"""

from __future__ import annotations

import threading

from failsafe import checks, forking

_UNITS = 1_000_000
"""Parts of a token. Whole numbers, so that ten tenths are one."""


class RetryBudget:
    """
    Holds up to *capacity* tokens, full at the start; an extra try costs one, a success earns *per_success*.

    Thread-safe, and nothing in it blocks: an empty budget means no extra try, now.

    Args:
        capacity: Most tokens held; 0 allows no extra try at all. Also what a quiet client may spend at once.
        per_success: Tokens earned by each success, 0 to 1.

    Raises:
        ConfigError: A value is out of range.
    """

    __slots__ = ("__weakref__", "_capacity", "_lock", "_per_success", "_units")

    def __init__(self, capacity: float = 10.0, per_success: float = 0.1) -> None:
        self._capacity = round(checks.number("capacity", capacity, least=0) * _UNITS)
        self._per_success = round(checks.number("per_success", per_success, least=0, most=1) * _UNITS)
        self._lock = threading.Lock()
        self._units = self._capacity  # guarded by _lock for writing
        forking.register(self)

    @property
    def available(self) -> float:
        """Tokens held at this moment."""
        return self._units / _UNITS

    def try_spend(self) -> bool:
        """Take one token for an extra try; False, and nothing taken, if there is none."""
        with self._lock:
            if self._units < _UNITS:
                return False
            self._units -= _UNITS
            return True

    def give_back(self) -> None:
        """Put back one token that was taken for a try which was never made."""
        with self._lock:
            self._units = min(self._capacity, self._units + _UNITS)

    def credit(self) -> None:
        """Earn the tokens of one success."""
        if self._units == self._capacity:  # the healthy case, without the lock; at worst one credit is lost
            return
        with self._lock:
            self._units = min(self._capacity, self._units + self._per_success)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<RetryBudget {self.available:g}/{self._capacity / _UNITS:g}>"
