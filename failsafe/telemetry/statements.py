"""The statements that a batch is written with."""

# Every statement is put together from names and numbers that stand in this file and in the schema.
# ruff: noqa: S608

from __future__ import annotations

from failsafe.telemetry.schema import ROLLUPS

COST_SUMS = ("answers", "prompt", "cached", "written", "completion", "reasoning", "cost", "unpriced", "duplicates")
"""The columns of ``costs`` that are added up."""

_COUNTS = ("answered", "failed", "excused", "other", "slow", "latency")


def _insert(table: str, *columns: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _added(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = {name} + excluded.{name}" for name in columns)


ATTEMPTS = _insert(
    "attempts", "process", "target", "model",
    "at", "call", "latency", "first_content", "fault", "status", "phase", "key", "round", "flags", "received",
    "prompt", "cached", "written", "completion", "reasoning", "cost", "request_id", "message",
)  # fmt: skip
CALLS = _insert(
    "calls", "process", "target", "model",
    "at", "call", "asked", "error", "attempts", "latency", "tag", "maybe_billed",
)  # fmt: skip
PROBES = _insert("probes", "process", "target", "at", "kind", "fault", "status", "latency", "flags", "message")
TEXTS = _insert("texts", "process", "at", "call", "prompt", "answer")
EVENTS = _insert("events", "process", "target", "at", "kind", "data")
ALERTS = _insert("alerts", "process", "target", "at", "rule", "severity", "title", "message", "resolves")

_BREAKER = _insert(
    "breakers", "process", "target",
    "router", "name", "state", "reason", "changed_at", "retry_at", "streak", "threshold", "opened", "seen_at",
) + " ON CONFLICT (process, router, name) DO UPDATE SET target = excluded.target, "  # fmt: skip

BREAKER_CHANGED = (
    f"{_BREAKER} state = excluded.state, reason = excluded.reason, changed_at = excluded.changed_at, "
    "retry_at = excluded.retry_at, streak = 0, opened = opened + excluded.opened, seen_at = excluded.seen_at "
    "WHERE excluded.seen_at >= seen_at"
)
"""A breaker has changed. If it was looked at since, that look has seen the change."""

BREAKER_SEEN = (
    f"{_BREAKER} changed_at = CASE WHEN state = excluded.state THEN changed_at ELSE excluded.changed_at END, "
    "state = excluded.state, reason = excluded.reason, retry_at = excluded.retry_at, streak = excluded.streak, "
    "threshold = excluded.threshold, opened = excluded.opened, seen_at = excluded.seen_at"
)
"""A breaker was looked at."""

ROLLUP = {
    width: _insert(
        f"rollup_{width}",
        "at", "target", "answered", "failed", "excused", "other", "slow", "first", "latency", "histogram", "streams",
    )
    + f" ON CONFLICT (at, target) DO UPDATE SET {_added(_COUNTS)}, first = min(first, excluded.first), "
    "histogram = merge_histograms(histogram, excluded.histogram), streams = merge_streams(streams, excluded.streams)"
    for width in ROLLUPS
}  # fmt: skip
"""By width of the span; needs the functions of :func:`failsafe.telemetry.rollups.register`."""

FAULTS = (
    _insert("faults", "at", "target", "fault", "count")
    + " ON CONFLICT (at, target, fault) DO UPDATE SET count = count + excluded.count"
)
COSTS = (
    _insert("costs", "day", "target", "model", "tag", *COST_SUMS)
    + f" ON CONFLICT (day, target, model, tag) DO UPDATE SET {_added(COST_SUMS)}"
)

ALIVE = "UPDATE processes SET seen_at = max(seen_at, ?) WHERE id = ?"

_OPEN = "target IS ? AND ended IS NULL"
WATCH_ENDS = f"UPDATE watch SET ended = max(began, ?) WHERE {_OPEN} AND state <> ?"
WATCH_BEGINS = (
    "INSERT INTO watch (target, state, began, note) SELECT ?, ?, ?, ? "
    f"WHERE NOT EXISTS (SELECT 1 FROM watch WHERE {_OPEN})"
)
