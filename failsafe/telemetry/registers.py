"""The store's registers: providers, programs, breakers, alerts, commands, and how large it all is."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

from failsafe.telemetry.database import BESIDE, version_of
from failsafe.telemetry.schema import ROLLUPS
from failsafe.telemetry.views import (
    AlertRow,
    BreakerRow,
    CommandRow,
    ProcessRow,
    StoreSize,
    Target,
)

SILENT = 20.0
"""Seconds without a sign of life after which a program counts as dead; it gives one every five."""

Sighting = tuple[float, int]
"""When, and by which process."""


def targets(connection: sqlite3.Connection) -> list[Target]:
    """Every provider that was recorded, by name."""
    rows = connection.execute(
        "SELECT id, name, base_url, interval, latency_limit, sla FROM targets ORDER BY name, base_url"
    )
    return [
        Target(id=number, name=name, base_url=base_url, interval=interval, latency_limit=limit, sla=sla)
        for number, name, base_url, interval, limit, sla in rows
    ]


def last_call(connection: sqlite3.Connection, target: int) -> Sighting | None:
    """When an attempt ended last, and whose it was, among those that are kept."""
    return _last_of(connection, "attempts", target)


def last_probe(connection: sqlite3.Connection, target: int) -> Sighting | None:
    """When it was probed last, and by whom, among the probes that are kept."""
    return _last_of(connection, "probes", target)


def _last_of(connection: sqlite3.Connection, table: str, target: int) -> Sighting | None:
    found: Sighting | None = connection.execute(
        f"SELECT at, process FROM {table} WHERE target = ? ORDER BY at DESC LIMIT 1",
        (target,),
    ).fetchone()
    return found


def last_seen(connection: sqlite3.Connection, target: int) -> float | None:
    """When a target was observed last; to within ten seconds where the attempts and probes are no longer kept."""
    sightings = [each for each in (last_call(connection, target), last_probe(connection, target)) if each]
    return max(sightings)[0] if sightings else _last_counted(connection, target)


def _last_counted(connection: sqlite3.Connection, target: int) -> float | None:
    """The begin of the last span of the rollups in which something was counted, from the widest to the finest."""
    found: int | None = None
    for width in reversed(ROLLUPS):
        latest = connection.execute(
            f"SELECT max(at) FROM rollup_{width} WHERE at >= ? AND target = ?",
            (found or 0, target),
        ).fetchone()[0]
        if latest is None:
            break
        found = latest
    return None if found is None else float(found)


def processes(connection: sqlite3.Connection, now: float, alive_only: bool, limit: int) -> list[ProcessRow]:
    """Programs that record or have recorded, the latest first."""
    rows = connection.execute(
        "SELECT id, pid, host, program, version, started_at, seen_at, ended_at, dropped, "
        "ended_at IS NULL AND seen_at >= :since AS alive FROM processes "
        "WHERE alive OR NOT :alive_only ORDER BY started_at DESC, id LIMIT :limit",
        {"since": now - SILENT, "alive_only": alive_only, "limit": limit},
    )
    return [
        ProcessRow(
            id=number,
            pid=pid,
            host=host,
            program=program,
            version=version,
            started_at=started,
            seen_at=seen,
            ended_at=ended,
            dropped=dropped,
            alive=bool(alive),
        )
        for number, pid, host, program, version, started, seen, ended, dropped, alive in rows
    ]


def breakers(connection: sqlite3.Connection, now: float, alive_only: bool, limit: int) -> list[BreakerRow]:
    """Breakers, by provider and name, then by program."""
    rows = connection.execute(
        "SELECT b.process, coalesce(p.pid, 0), coalesce(p.program, ''), b.router, b.name, "
        "coalesce(t.name, ''), coalesce(t.base_url, ''), b.state, b.reason, b.changed_at, b.retry_at, b.streak, "
        "b.threshold, b.opened, b.seen_at "
        "FROM breakers b LEFT JOIN processes p ON p.id = b.process LEFT JOIN targets t ON t.id = b.target "
        "WHERE NOT :alive_only OR (p.ended_at IS NULL AND p.seen_at >= :since) "
        "ORDER BY t.name, b.name, b.process, b.router LIMIT :limit",
        {"since": now - SILENT, "alive_only": alive_only, "limit": limit},
    )
    names = BreakerRow.__struct_fields__
    return [BreakerRow(**dict(zip(names, row, strict=True))) for row in rows]


def alerts(connection: sqlite3.Connection, began: float, ended: float, limit: int) -> list[AlertRow]:
    """The last alerts of a window, in order of time."""
    rows = connection.execute(
        "SELECT a.id, a.at, coalesce(t.name, ''), a.rule, a.severity, a.title, a.message, a.resolves, "
        "a.acknowledged_at, a.acknowledged_by FROM alerts a LEFT JOIN targets t ON t.id = a.target "
        "WHERE a.at >= ? AND a.at < ? ORDER BY a.at DESC, a.id DESC LIMIT ?",
        (began, ended, limit),
    ).fetchall()
    return [
        AlertRow(
            id=number,
            at=at,
            provider=provider,
            rule=rule,
            severity=severity,
            title=title,
            message=message,
            resolves=bool(resolves),
            acknowledged_at=acknowledged_at,
            acknowledged_by=acknowledged_by,
        )
        for number, at, provider, rule, severity, title, message, resolves, acknowledged_at, acknowledged_by in rows[
            ::-1
        ]
    ]


def commands(connection: sqlite3.Connection, command: int | None, limit: int) -> list[CommandRow]:
    """The last commands in the order in which they were sent, or one of them."""
    rows = connection.execute(
        "SELECT id, at, until, process, target, action, origin FROM commands "
        "WHERE :command IS NULL OR id = :command ORDER BY id DESC LIMIT :limit",
        {"command": command, "limit": limit},
    ).fetchall()
    made: defaultdict[int, dict[int, str]] = defaultdict(dict)
    if rows:
        outcomes = connection.execute(
            "SELECT command, process, outcome FROM outcomes WHERE command BETWEEN ? AND ? ORDER BY at",
            (rows[-1][0], rows[0][0]),
        )
        for number, process, outcome in outcomes:
            made[number][process] = outcome
    return [
        CommandRow(
            id=number,
            at=at,
            until=until,
            process=process,
            target=target,
            action=action,
            origin=origin,
            outcomes=made[number],
        )
        for number, at, until, process, target, action, origin in reversed(rows)
    ]


def size(connection: sqlite3.Connection) -> StoreSize:
    """Bytes and rows."""
    path: str = connection.execute("PRAGMA database_list").fetchone()[2] or ""
    page_size, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    ).fetchall()
    oldest = [connection.execute(f"SELECT min(at) FROM rollup_{width}").fetchone()[0] for width in ROLLUPS]
    oldest += [connection.execute(f"SELECT min(at) FROM {table}").fetchone()[0] for table in ("events", "calls")]
    return StoreSize(
        path=path,
        bytes=sum(map(_bytes_of, [path, *(path + suffix for suffix in BESIDE)])) if path else pages * page_size,
        free_bytes=free * page_size,
        version=version_of(connection),
        rows={name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for (name,) in names},
        oldest=min((float(at) for at in oldest if at is not None), default=None),
    )


def _bytes_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
