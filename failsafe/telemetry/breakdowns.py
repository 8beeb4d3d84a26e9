"""Which faults came up, and what failed while a provider was down."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from math import inf

from failsafe.faults import AGAINST_PROVIDER
from failsafe.telemetry import coverage, tallies
from failsafe.telemetry.coverage import Kept
from failsafe.telemetry.views import Incident, Span, Target

_HOUR = 3600.0
_QUARTER = 900
_BLAMED = 4
_ROUNDED = 0.001
"""By how much a time of observation may be earlier than what was observed: it is a whole millisecond."""


def faults(connection: sqlite3.Connection, target: int, began: float, ended: float) -> dict[str, int]:
    """How often each fault came up, the most frequent first; of more than an hour, or long ago, by quarters of it."""
    if ended - began <= _HOUR and _is_kept(connection, target, began):
        return _ordered(_single(connection, target, began, ended, flag=None))
    return _ordered(_counted(connection, target, began, ended))


def incidents(connection: sqlite3.Connection, downtimes: Iterable[tuple[Span, Target]], now: float) -> list[Incident]:
    """What failed in each time that a target was down."""
    there = coverage.kept(connection)
    return [_incident(connection, target, down, now, there) for down, target in downtimes]


def _incident(connection: sqlite3.Connection, target: Target, down: Span, now: float, there: Kept) -> Incident:
    still = down.ended >= now
    ended = inf if still else down.ended
    if ended - down.began <= _HOUR and _is_kept(connection, target.id, down.began):
        found = _single(connection, target.id, down.began, ended, flag=_BLAMED)
        failures = found.total()
    else:
        found = _counted(connection, target.id, down.began, ended)
        found = Counter({fault: count for fault, count in found.items() if fault in AGAINST_PROVIDER})
        failures = tallies.failures(connection, coverage.cover(down.began // 10 * 10, ended, there), target.id)
    return Incident(
        target=target,
        began=down.began,
        ended=None if still else down.ended,
        failures=failures,
        faults=_ordered(found),
    )


def _is_kept(connection: sqlite3.Connection, target: int, at: float) -> bool:
    """Whether the single attempts and probes of a target reach back to a moment."""
    oldest = [
        connection.execute(f"SELECT min(at) FROM {table} WHERE target = ?", (target,)).fetchone()[0]
        for table in ("attempts", "probes")
    ]
    return any(found is not None and found <= at + _ROUNDED for found in oldest)


def _single(connection: sqlite3.Connection, target: int, began: float, ended: float, flag: int | None) -> Counter[str]:
    found: Counter[str] = Counter()
    for table in ("attempts", "probes"):
        rows = connection.execute(
            f"SELECT fault, count(*) FROM {table} WHERE target = :target AND at >= :began AND at < :ended "
            "AND fault IS NOT NULL AND (:flag IS NULL OR flags & :flag) GROUP BY fault",
            {"target": target, "began": began, "ended": ended, "flag": flag},
        )
        for fault, count in rows:
            found[fault] += count
    return found


def _counted(connection: sqlite3.Connection, target: int, began: float, ended: float) -> Counter[str]:
    rows = connection.execute(
        "SELECT fault, sum(count) FROM faults WHERE target = ? AND at >= ? AND at < ? GROUP BY fault",
        (target, began // _QUARTER * _QUARTER, ended),
    )
    return Counter(dict(rows.fetchall()))


def _ordered(found: Counter[str]) -> dict[str, int]:
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
