"""
Writes down how providers were, once that cannot change any more.

What all programs have recorded lies in ``rollup_10``; of that, the times before a horizon a minute ago are turned into
``spans``, every now and then, by one process at a time. What follows the horizon is reckoned by whoever reads, so
that it is there at once.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import inf

import msgspec

from failsafe.monitoring_config import MonitorConfig
from failsafe.telemetry import leases, uptime
from failsafe.telemetry.database import transaction
from failsafe.telemetry.uptime import Account, Observation, Outcome, Progress, UptimeRule
from failsafe.telemetry.views import Span, TargetState

LATE = 60.0
"""Seconds within which all processes have written what happened."""

BUCKET = 10
"""Seconds of the finest rollup: what is settled is whole spans of it."""

_LEASE = 60.0
_ROWS_AT_ONCE = 20_000
"""In one transaction: other processes wait for its end."""
_STEPS = 5
_SLOW_SHARE = 0.05
"""Of the answers: a provider is slow when the slowest twentieth is above its latency limit."""

_WATCH_STATES = {
    "paused": TargetState.PAUSED,
    "maintenance": TargetState.MAINTENANCE,
    "offline": TargetState.UNKNOWN,
}

Watch = Mapping[int | None, list[Span]]
"""Times that come before what is observed, by target; None: of all of them."""

Row = tuple[int, int, int, int, int, int, int, int]
"""at, target, first, answered, failed, excused, other, slow."""

_ROWS = (
    "SELECT at, target, first, answered, failed, excused, other, slow FROM rollup_10 "
    "WHERE at >= :began AND at < :ended AND (:target IS NULL OR target = :target) ORDER BY at"
)


def settle(connection: sqlite3.Connection, process: int, now: float, config: MonitorConfig | None = None) -> bool:
    """
    Settle what can be settled, if it is this process's turn; whether there is more to do at once.

    Args:
        connection: To the store, outside of a transaction.
        process: This process, by its id in the store.
        now: Seconds since 1970-01-01 UTC.
        config: How observations are read; None: as a monitor does by default.
    """
    for _ in range(_STEPS):
        with transaction(connection):
            if not leases.acquire(connection, "settle", process, _LEASE, now):
                return False
            if not _settle_step(connection, now, config or MonitorConfig()):
                return False
    return True


def horizon_of(connection: sqlite3.Connection) -> float:
    """Up to when spans are settled; 0: none are."""
    found = connection.execute("SELECT max(horizon) FROM uptime").fetchone()[0]
    return float(found or 0.0)


def progress_of(
    connection: sqlite3.Connection, targets: Mapping[int, float], horizon: float, config: MonitorConfig | None
) -> dict[int, tuple[Progress, UptimeRule]]:
    """
    Where each target's account stands at *horizon*, and the rule by which to go on.

    Args:
        connection: To the store.
        targets: Each one's interval between two probes, seconds.
        horizon: The store's.
        config: How observations are read; None: as whoever has settled last did.
    """
    saved = dict(connection.execute("SELECT target, pending FROM uptime").fetchall())
    found: dict[int, tuple[Progress, UptimeRule]] = {}
    for target, interval in targets.items():
        progress, rule = _decoded(saved.get(target)) or (Progress(), UptimeRule.of(MonitorConfig(), interval))
        if config is not None:
            rule = UptimeRule.of(config, interval)
        found[target] = (msgspec.structs.replace(progress, horizon=max(progress.horizon, horizon)), rule)
    return found


def _decoded(text: str | None) -> tuple[Progress, UptimeRule] | None:
    try:
        return None if text is None else uptime.decode(text)
    except msgspec.DecodeError:  # a later program's; the past is settled all the same
        return None


def watch_of(connection: sqlite3.Connection, began: float, ended: float) -> Watch:
    """The times within a window in which targets were paused, in maintenance, or without a network."""
    found: defaultdict[int | None, list[Span]] = defaultdict(list)
    rows = connection.execute(
        "SELECT target, state, began, ended FROM watch WHERE began < ? AND (ended IS NULL OR ended > ?)", (ended, began)
    )
    for target, state, first, last in rows:
        shown = _WATCH_STATES.get(state)
        if shown is not None:
            found[target].append(Span(began=first, ended=inf if last is None else last, state=shown))
    return found


def watch_for(watch: Watch, target: int) -> list[Span]:
    """Those of them that concern one target."""
    return [*watch.get(None, ()), *watch.get(target, ())]


def rows_between(
    connection: sqlite3.Connection, began: float, ended: float, target: int | None = None
) -> Iterator[Row]:
    """What was recorded of one target, or of all, in order of time; read as it is asked for."""
    return connection.execute(_ROWS, {"began": began, "ended": ended, "target": target})


def observed(row: Row, rule: UptimeRule) -> Observation | None:
    """What the outcomes of ten seconds say about a provider; None: nothing."""
    at, _, first, answered, failed, excused, other, slow = row
    moment = at + min(max(first, 0), BUCKET * 1000 - 1) / 1000
    if answered or other:
        sluggish = slow > _SLOW_SHARE * answered
        failing = failed > 0 and failed >= rule.degraded * (answered + failed)
        return Observation(at=moment, outcome=Outcome.DEGRADED if sluggish or failing else Outcome.ANSWERED)
    if failed:
        return Observation(at=moment, outcome=Outcome.FAILED, failures=failed)
    return Observation(at=moment, outcome=Outcome.EXCUSED) if excused else None


def observations_by_target(
    rows: Iterable[Row], rules: Mapping[int, UptimeRule], watch: Watch
) -> dict[int, list[Observation]]:
    """What *rows* say about each of the targets that *rules* names."""
    found: defaultdict[int, list[Observation]] = defaultdict(list)
    for row in rows:
        rule = rules.get(row[1])
        seen = observed(row, rule) if rule is not None else None
        if seen is not None:
            found[row[1]].append(seen)
    return {target: uptime.excused(seen, watch_for(watch, target)) for target, seen in found.items()}


def _settle_step(connection: sqlite3.Connection, now: float, config: MonitorConfig) -> bool:
    """Settle as much as one transaction should; whether there is more."""
    horizon = horizon_of(connection)
    goal = float((now - LATE) // BUCKET * BUCKET)
    if horizon > now:
        _turn_back(connection, goal)
        return False
    if goal <= horizon:
        return False
    targets: dict[int, float] = dict(connection.execute("SELECT id, interval FROM targets").fetchall())
    at_most = max(_ROWS_AT_ONCE, 2 * len(targets))
    rows = connection.execute(
        f"{_ROWS} LIMIT :most", {"began": horizon, "ended": goal, "target": None, "most": at_most}
    ).fetchall()
    more = len(rows) == at_most
    if more:
        goal = float(rows[-1][0])
        rows = [row for row in rows if row[0] < goal]
    _settle_rows(connection, rows, targets, horizon, goal, config)
    return more


def _settle_rows(
    connection: sqlite3.Connection,
    rows: list[Row],
    targets: Mapping[int, float],
    horizon: float,
    goal: float,
    config: MonitorConfig,
) -> None:
    standing = progress_of(connection, targets, horizon, config)
    rules = {target: rule for target, (_, rule) in standing.items()}
    seen = observations_by_target(rows, rules, watch_of(connection, horizon, goal))
    for target, (progress, rule) in standing.items():
        account = Account(rule, progress)
        spans = account.settle(seen.get(target, ()), goal)
        _write_spans(connection, target, spans)
        connection.execute(
            "INSERT INTO uptime (target, horizon, pending) VALUES (:target, :horizon, :pending) "
            "ON CONFLICT (target) DO UPDATE SET horizon = :horizon, pending = :pending",
            {"target": target, "horizon": goal, "pending": uptime.encode(account.progress, rule)},
        )


def _write_spans(connection: sqlite3.Connection, target: int, spans: Iterable[Span]) -> None:
    for span in spans:
        lengthened = connection.execute(
            "UPDATE spans SET ended = :ended WHERE target = :target AND state = :state AND ended = :began "
            "AND began = (SELECT max(began) FROM spans WHERE target = :target)",
            {"target": target, "state": span.state.value, "began": span.began, "ended": span.ended},
        )
        if not lengthened.rowcount:
            connection.execute(
                "INSERT OR REPLACE INTO spans (target, began, ended, state) VALUES (?, ?, ?, ?)",
                (target, span.began, span.ended, span.state.value),
            )


def _turn_back(connection: sqlite3.Connection, goal: float) -> None:
    """What was settled for times that are yet to come was a wrong clock's: begin again from *goal*."""
    connection.execute("DELETE FROM spans WHERE began >= ?", (goal,))
    connection.execute("UPDATE spans SET ended = :goal WHERE ended > :goal", {"goal": goal})
    for target, pending in connection.execute("SELECT target, pending FROM uptime").fetchall():
        saved = _decoded(pending)
        rule = saved[1] if saved is not None else UptimeRule()
        connection.execute(
            "UPDATE uptime SET horizon = ?, pending = ? WHERE target = ?",
            (goal, uptime.encode(Progress(horizon=goal, given=goal), rule), target),
        )
