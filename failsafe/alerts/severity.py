"""How urgent an alert is."""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.events import Alert

CRITICAL = "critical"
"""Somebody has to act now; sent in quiet hours, too."""
WARNING = "warning"
"""Somebody should look at it."""
INFO = "info"
"""Good to know: mostly that something is over."""

_RANKS = {INFO: 0, WARNING: 1, CRITICAL: 2}


def rank(severity: str) -> int:
    """A number that is the higher the more urgent *severity* is."""
    return _RANKS.get(severity, 0)


def highest(alerts: Iterable[Alert]) -> str:
    """The severity of the most urgent of *alerts*."""
    return max((alert.severity for alert in alerts), key=rank, default=INFO)
