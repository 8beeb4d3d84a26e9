"""What was spent, out of the table ``costs``."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from failsafe import checks
from failsafe.clock import Clock
from failsafe.telemetry.schema import PICODOLLARS
from failsafe.telemetry.views import CostRow

GROUPS = {
    "day": "c.day",
    "provider": "coalesce(t.name, '')",
    "model": "coalesce(m.name, '')",
    "tag": "c.tag",
}
"""What costs can be grouped by."""

_SUMS = {
    "answers": "answers",
    "prompt_tokens": "prompt",
    "cached_tokens": "cached",
    "cache_write_tokens": "written",
    "completion_tokens": "completion",
    "reasoning_tokens": "reasoning",
    "unpriced": "unpriced",
    "duplicates": "duplicates",
}

_STALE = 60.0
_MOST_REMEMBERED = 1000


def costs(
    connection: sqlite3.Connection, first_day: str, last_day: str, by: Sequence[str], limit: int
) -> list[CostRow]:
    """
    What was spent from one day to another, by *by*, the most expensive first.

    Raises:
        ConfigError: *by* names something that costs cannot be grouped by.
    """
    for name in by:
        checks.one_of("by", name, tuple(GROUPS))
    groups = list(dict.fromkeys(by))
    # Dollars and what is left of them apart: all in one overflows SQLite's integers at nine million dollars.
    columns = [
        *(GROUPS[name] for name in groups),
        *(f"sum(c.{column})" for column in _SUMS.values()),
        f"sum(c.cost / {PICODOLLARS}) AS dollars",
        f"sum(c.cost % {PICODOLLARS}) AS rest",
    ]
    grouped = f"GROUP BY {', '.join(map(str, range(1, len(groups) + 1)))}" if groups else "HAVING count(*) > 0"
    order = ", ".join(map(str, [f"dollars + rest / {PICODOLLARS}.0 DESC", *range(1, len(groups) + 1)]))
    rows = connection.execute(
        f"SELECT {', '.join(columns)} FROM costs c "
        "LEFT JOIN targets t ON t.id = c.target LEFT JOIN models m ON m.id = c.model "
        f"WHERE c.day >= ? AND c.day <= ? {grouped} ORDER BY {order} LIMIT ?",
        (first_day, last_day, limit),
    )
    return [_cost_row([*groups, *_SUMS], row) for row in rows]


def _cost_row(names: Sequence[str], row: Sequence[Any]) -> CostRow:
    *values, dollars, rest = row
    return CostRow(**dict(zip(names, values, strict=True)), usd=dollars + Decimal(rest) / PICODOLLARS)


class Spending:
    """
    What was spent on a day and in its month, for somebody who asks all the time. Used under its reader's lock.

    The days of the month before that day hardly change any more: their sum is looked up once a minute.

    Args:
        clock: Says when a minute is over.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._others: dict[tuple[str, str, int | None], tuple[float, int]] = {}

    def spent(self, connection: sqlite3.Connection, day: str, month: str, target: int | None) -> tuple[int, int]:
        """Picodollars of the day, and of the month with it."""
        today = _sum(connection, "day = :day", day, month, target)
        others = self._of_other_days(connection, day, month, target)
        return today, others + (today if day.startswith(f"{month}-") else 0)

    def _of_other_days(self, connection: sqlite3.Connection, day: str, month: str, target: int | None) -> int:
        now, key = self._clock.monotonic(), (day, month, target)
        known = self._others.get(key)
        if known is None or now - known[0] >= _STALE:
            if len(self._others) >= _MOST_REMEMBERED:
                self._others.clear()
            found = _sum(
                connection, "day >= :month || '-01' AND day <= :month || '-31' AND day <> :day", day, month, target
            )
            known = self._others[key] = now, found
        return known[1]


def _sum(connection: sqlite3.Connection, days: str, day: str, month: str, target: int | None) -> int:
    dollars, rest = connection.execute(
        f"SELECT sum(cost / {PICODOLLARS}), sum(cost % {PICODOLLARS}) FROM costs "
        f"WHERE {days} AND (:target IS NULL OR target = :target)",
        {"day": day, "month": month, "target": target},
    ).fetchone()
    return (dollars or 0) * PICODOLLARS + (rest or 0)
