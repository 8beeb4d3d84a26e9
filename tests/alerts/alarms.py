"""Alerts made by hand, and a grouping with a clock."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from failsafe.alerts.grouping import Group, Grouping, Moment
from failsafe.events import Alert
from failsafe.monitoring_config import AlertConfig

NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""


def alarm(rule: str = "breaker_open", provider: str = "openai", **details: Any) -> Alert:
    usual: dict[str, Any] = {"severity": "warning", "title": f"{provider}: {rule}", "message": "It is so."}
    return Alert(at=0.0, rule=rule, provider=provider, **{**usual, **details})


def over(rule: str = "breaker_open", provider: str = "openai", **details: Any) -> Alert:
    usual: dict[str, Any] = {"severity": "info", "title": f"{provider}: {rule} over", "message": "It is over."}
    return Alert(at=0.0, rule=rule, provider=provider, resolves=True, **{**usual, **details})


def critical(rule: str = "down", provider: str = "openai", **details: Any) -> Alert:
    return alarm(rule, provider, severity="critical", **details)


class Bench:
    """A grouping, and the time: both scales move together unless the wall's clock is set."""

    def __init__(self, zone: tzinfo | None = None, start: float = NOON, **settings: Any) -> None:
        self.grouping = Grouping(AlertConfig(**settings), zone or ZoneInfo("UTC"))
        self.now = Moment(1000.0, start)

    def consider(self, *alerts: Alert) -> list[bool]:
        return [self.grouping.consider(self._at_now(alert), self.now) for alert in alerts]

    def _at_now(self, alert: Alert) -> Alert:
        fields = {name: getattr(alert, name) for name in alert.__struct_fields__}
        return Alert(**{**fields, "at": self.now.wall})

    def advance(self, seconds: float) -> None:
        self.now = Moment(self.now.steady + seconds, self.now.wall + seconds)

    def due(self, after: float = 0.0) -> Group | None:
        """The group that is sent *after* so many seconds, or None."""
        self.advance(after)
        groups = self.grouping.due(self.now)
        assert len(groups) <= 1
        return groups[0] if groups else None

    def titles(self, after: float = 0.0) -> list[str]:
        group = self.due(after)
        return [] if group is None else [alert.title for alert in group.alerts]

    def next(self) -> float | None:
        """Seconds until something is due, or None."""
        due = self.grouping.next_due(self.now)
        return None if due is None else due - self.now.steady

    def run(self, seconds: float) -> list[Group]:
        """What is sent in *seconds*, if somebody looks whenever it is due."""
        end, sent = self.now.steady + seconds, []
        while (wait := self.next()) is not None and self.now.steady + wait <= end:
            group = self.due(max(wait, 0.0))
            if group is None:
                assert wait > 0, "due, and nothing comes"
            else:
                sent.append(group)
        self.advance(end - self.now.steady)
        return sent
