"""How targets were over time: what is settled, and what has come since."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from itertools import islice
from math import inf

from failsafe.monitoring_config import MonitorConfig
from failsafe.telemetry import settling, uptime
from failsafe.telemetry.uptime import Account
from failsafe.telemetry.views import Span, TargetState

_ROWS_AT_ONCE = 20_000
_MOMENT = 0.001
_JUST_NOW = 1.0
"""Seconds by which what has just happened may lie after the moment at which it is looked at."""


class History:
    """
    How some targets were, as it is known at one moment.

    Args:
        connection: To the store, in the transaction in which all is asked.
        intervals: The targets: each one's interval between two probes, seconds.
        now: That moment, seconds since 1970-01-01 UTC.
        config: How what is not settled yet is read; None: as whoever has settled last did.

    Attributes:
        now: As given.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        intervals: Mapping[int, float],
        now: float,
        config: MonitorConfig | None = None,
    ) -> None:
        self._connection = connection
        self.now = now
        self._horizon = settling.horizon_of(connection)
        saved = settling.progress_of(connection, intervals, self._horizon, config)
        self._rules = {target: rule for target, (_, rule) in saved.items()}
        self._accounts = {target: Account(rule, progress) for target, (progress, rule) in saved.items()}
        self._since: dict[int, list[Span]] = {target: [] for target in intervals}
        self._read_on()

    def _read_on(self) -> None:
        """Take in what came after the horizon; a great deal of it where nobody has settled for long."""
        only = next(iter(self._rules)) if len(self._rules) == 1 else None
        end = self.now + _JUST_NOW
        watch = settling.watch_of(self._connection, self._horizon, end)
        rows = iter(settling.rows_between(self._connection, self._horizon, end, only))
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            found = settling.observations_by_target(chunk, self._rules, watch)
            for target, seen in found.items():
                settled = seen[-1].at // settling.BUCKET * settling.BUCKET + settling.BUCKET
                self._since[target] += self._accounts[target].settle(seen, settled)
        for target, account in self._accounts.items():
            self._since[target] += [*account.settle((), end), *account.so_far(end)]

    def streak(self, target: int) -> int:
        """Failures of *target* since its last answer."""
        return self._accounts[target].progress.streak

    def state(self, target: int, at: float) -> TargetState:
        """How *target* was right before a moment, or is now if that has not come yet."""
        began = self.now if at >= self.now else at - _MOMENT
        return self._tiles(target, began, began + _MOMENT, known_until=self.now + _MOMENT)[-1].state

    def downtimes(self, target: int, began: float, ended: float) -> list[Span]:
        """The times in which *target* was down and that touch a window, whole: also what lies outside of it."""
        spans = self.observed(target, began - uptime.SAME_DOWNTIME, inf)
        if not spans:
            return []
        found = uptime.downtimes(self.spans(target, spans[0].began, self.now))
        return [down for down in found if down.began < ended and down.ended > began]

    def spans(self, target: int, began: float, ended: float) -> list[Span]:
        """How *target* was in a window, without a gap; what has not come yet is unknown."""
        return self._tiles(target, began, ended, known_until=self.now)

    def _tiles(self, target: int, began: float, ended: float, known_until: float) -> list[Span]:
        watch = settling.watch_of(self._connection, began, ended)
        observed = uptime.clipped(self.observed(target, began, ended), began, known_until)
        return uptime.tiled(observed, settling.watch_for(watch, target), began, ended)

    def observed(self, target: int, began: float, ended: float) -> list[Span]:
        """What was observed of *target* from a window on; times that come before that left out."""
        return uptime.merged([*self._settled(target, began, ended), *self._since[target]])

    def _settled(self, target: int, began: float, ended: float) -> list[Span]:
        rows = self._connection.execute(
            "SELECT began, ended, state FROM spans WHERE target = :target AND began < :ended AND began >= "
            "coalesce((SELECT max(began) FROM spans WHERE target = :target AND began <= :began), :began) "
            "ORDER BY began",
            {"target": target, "began": began, "ended": ended},
        )
        return [Span(began=first, ended=last, state=TargetState(state)) for first, last, state in rows]


def intervals(connection: sqlite3.Connection, targets: Collection[int] | None = None) -> dict[int, float]:
    """The interval between two probes of each of *targets* (None: of all); of one that is not there, the usual one."""
    found: dict[int, float] = dict(connection.execute("SELECT id, interval FROM targets").fetchall())
    if targets is None:
        return found
    usual = MonitorConfig().interval
    return {target: found.get(target, usual) for target in targets}
