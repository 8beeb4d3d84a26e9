"""
Forgets what is old, and keeps the file within its size.

What is kept how long: single attempts, calls, probes, texts, programs that have ended and commands for
``keep_attempts``; counts of ten seconds for 30 days and of a minute for 180 days, if that is not longer than
``keep_history``; everything else for ``keep_history``. When the file is full, the oldest goes before its time: first
single attempts, calls, probes and texts, then counts of ten seconds, events, counts of a minute and of a quarter
of an hour. Costs, counts by day and alerts stay.

Each transaction is short, so that no other program waits for long. A page that is freed is used again before
the file grows.
"""

# Every statement is put together from names that stand in this file.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime

from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry.database import transaction
from failsafe.telemetry.statements import COST_SUMS

_DAY = 86_400.0
_KEEP_10 = 30 * _DAY
_KEEP_60 = 180 * _DAY
_SILENT = 3600.0
"""Seconds after which a program that is not heard of is held to be gone."""

_ROWS = 2000
"""The most rows that a step forgets for their age."""
_CHUNK = 2000
_CHUNKS = 20
"""How often a step forgets so many rows to make room: as many as the largest batch brings."""
_PAGES = 500
"""The most pages that a step gives back to the file system."""

_ROOM = 0.1
"""The share of ``max_bytes`` that is kept free for what is written between two looks,"""
_ROOM_BYTES = 4 * 1024 * 1024
"""but so many bytes at least,"""
_MOST_ROOM = 0.4
"""up to this share."""

OTHER_TAGS = "(other)"
"""What the smallest tags of a day are booked under that has too many."""
_CROWDED = 5000
"""Rows of one day in ``costs`` that are too many,"""
_KEPT_TAGS = 1000
"""and the tags that are then kept apart: those that cost most."""

_SINGLE = ("attempts", "calls", "probes", "texts")
_NEXT_TO_GO = ("rollup_10", "events", "rollup_60", "rollup_900")


def tidy(connection: sqlite3.Connection, config: StoreConfig, now: float) -> bool:
    """
    Do one step of what is to be done; whether there is more.

    Args:
        connection: To the store, outside of a transaction.
        config: How long and how much is kept.
        now: Seconds since 1970-01-01 UTC.

    Raises:
        sqlite3.Error: The step was not done.
    """
    more = make_room(connection, config)
    with transaction(connection):
        _close_watches(connection, now)
        _fold_tags(connection)
        more = _forget(connection, config, now) or more
    return _give_back(connection, config) or more


def make_room(connection: sqlite3.Connection, config: StoreConfig) -> bool:
    """
    If the file is nearly full, forget the oldest, in a few short transactions; whether that was not enough yet.

    It takes a few microseconds while there is room, so that it can be called after each write.

    Raises:
        sqlite3.Error: The step was not done.
    """
    for _ in range(_CHUNKS):
        if not _is_full(connection, config):
            return False
        with transaction(connection):
            if not _forget_oldest(connection):
                return False
    return _is_full(connection, config)


def compact(connection: sqlite3.Connection) -> None:
    """
    Write the file anew, without gaps; needs as much free space as the file takes, and that nobody else writes.

    Raises:
        sqlite3.Error: It was not done; the file is as before.
    """
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


# By size.


def _is_full(connection: sqlite3.Connection, config: StoreConfig) -> bool:
    size, pages, free = _pages(connection)
    room = max(_ROOM * config.max_bytes, min(_ROOM_BYTES, _MOST_ROOM * config.max_bytes))
    return (pages - free) * size > config.max_bytes - room


def _pages(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """The size of a page, how many the file has, and how many of those are free."""
    names = ("page_size", "page_count", "freelist_count")
    size, count, free = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return size, count, free


def _forget_oldest(connection: sqlite3.Connection) -> bool:
    """Forget the oldest of what matters least; False if there is none."""
    begins = {
        table: row[0]
        for table in _SINGLE
        if (row := connection.execute(f"SELECT at FROM {table} ORDER BY id").fetchone())
    }
    if begins:
        table = min(begins, key=lambda name: begins[name])
        return bool(_forget_first(connection, table, "id", _CHUNK))
    return any(_forget_first(connection, table, "id" if table == "events" else "at", _CHUNK) for table in _NEXT_TO_GO)


def _forget_first(connection: sqlite3.Connection, table: str, order: str, most: int, where: str = "1") -> int:
    """
    Forget the first rows of *table* in the *order* of its key, about *most* of them; how many.

    A stretch of a table is forgotten many times faster than row by row.
    """
    last = connection.execute(
        f"SELECT max({order}) FROM (SELECT {order} FROM {table} WHERE {where} ORDER BY {order} LIMIT {most})"
    ).fetchone()[0]
    if last is None:
        return 0
    return connection.execute(f"DELETE FROM {table} WHERE {order} <= ? AND {where}", (last,)).rowcount


def _give_back(connection: sqlite3.Connection, config: StoreConfig) -> bool:
    """Give free pages back to the file system if the file is too large, or holds many; whether there is more."""
    size, pages, free = _pages(connection)
    too_many = max(pages - config.max_bytes // size, free - max(pages // 4, _ROOM_BYTES // size))
    spare = min(free, too_many)
    if spare <= 0:
        return False
    # One page a step, without a row: execute() would take the first step alone.
    connection.executescript(f"PRAGMA incremental_vacuum({min(spare, _PAGES)})")
    return _pages(connection)[1] < pages and spare > _PAGES


# By age.


def _forget(connection: sqlite3.Connection, config: StoreConfig, now: float) -> bool:
    """Forget what is older than it is kept, up to so many rows; whether there may be more."""
    left = _ROWS
    for forgotten in _forgotten(connection, config, now):
        left -= forgotten
        if left <= 0:
            return True
    return False


def _forgotten(connection: sqlite3.Connection, config: StoreConfig, now: float) -> Iterable[int]:
    """Forget one kind after the other; how many rows of each."""
    attempts, history = now - config.keep_attempts, now - config.keep_history
    targets = [row[0] for row in connection.execute("SELECT id FROM targets ORDER BY id")]
    for table in ("attempts", "probes"):
        for target in targets:
            yield _delete(connection, table, "id", "target = ? AND at < ?", target, attempts)
    yield _delete(connection, "calls", "id", "at < ?", attempts)
    yield _delete(
        connection, "texts", "id", f"id IN (SELECT id FROM texts ORDER BY id LIMIT {_ROWS}) AND at < ?", attempts
    )
    for table, begin in (
        ("rollup_10", max(history, now - _KEEP_10)),
        ("rollup_60", max(history, now - _KEEP_60)),
        ("rollup_900", history),
        ("rollup_86400", history - _DAY),  # the span ends a day after its begin
        ("faults", history),
    ):
        yield _forget_first(connection, table, "at", _ROWS, f"at < {int(begin)}")
    yield _delete(connection, "events", "id", "at < ?", history)
    yield _delete(connection, "alerts", "id", "at < ?", history)
    yield _delete(connection, "watch", "id", "ended < ?", history)
    for target in targets:
        yield _delete(
            connection, "spans", "began", "target = ? AND began < ? AND ended < ?", target, history, history,
            also="target = ? AND ", of=(target,),
        )  # fmt: skip
    day = datetime.fromtimestamp(max(0.0, history), UTC).date().isoformat()
    yield _forget_first(connection, "costs", "day", _ROWS, f"day < '{day}'")
    gone = "(SELECT id FROM processes WHERE ended_at IS NOT NULL OR seen_at < ?)"
    yield connection.execute(f"DELETE FROM breakers WHERE process IN {gone}", (now - _SILENT,)).rowcount
    yield _delete(connection, "processes", "id", "seen_at < ?", attempts)
    yield _delete(connection, "leases", "name", "until < ?", now - _DAY)
    yield _delete(connection, "commands", "id", "until < ?", attempts)
    yield _delete(connection, "outcomes", "command", "command NOT IN (SELECT id FROM commands)")


def _delete(
    connection: sqlite3.Connection,
    table: str,
    key: str,
    where: str,
    *values: float,
    also: str = "",
    of: tuple[int, ...] = (),
) -> int:
    """Delete rows of *table*, at most so many; *key* tells them apart, within what *also* says."""
    return connection.execute(
        f"DELETE FROM {table} WHERE {also}{key} IN (SELECT {key} FROM {table} WHERE {where} LIMIT {_ROWS})",
        (*of, *values),
    ).rowcount


def _fold_tags(connection: sqlite3.Connection) -> None:
    """
    Book the smallest tags of a day that has too many under one, so that a tag for every call does not fill the file.

    What was spent stays exact.
    """
    crowded = connection.execute(
        "SELECT day FROM costs GROUP BY day HAVING count(*) > ? ORDER BY day LIMIT 1", (_CROWDED,)
    ).fetchone()
    if crowded is None:
        return
    within = {"day": crowded[0], "other": OTHER_TAGS, "kept": _KEPT_TAGS}
    smallest = (
        "day = :day AND tag IN (SELECT tag FROM costs WHERE day = :day AND tag NOT IN ('', :other) "
        "GROUP BY tag ORDER BY sum(cost) DESC, tag LIMIT -1 OFFSET :kept)"
    )
    sums = ", ".join(f"sum({name})" for name in COST_SUMS)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in COST_SUMS)
    connection.execute(
        f"INSERT INTO costs (day, target, model, tag, {', '.join(COST_SUMS)}) "
        f"SELECT day, target, model, :other, {sums} FROM costs WHERE {smallest} GROUP BY target, model "
        f"ON CONFLICT (day, target, model, tag) DO UPDATE SET {added}",
        within,
    )
    connection.execute(f"DELETE FROM costs WHERE {smallest}", within)


def _close_watches(connection: sqlite3.Connection, now: float) -> None:
    """End what was begun by programs that are gone: a pause is over with whoever kept it."""
    connection.execute(
        "UPDATE watch SET ended = max(began, (SELECT max(coalesce(ended_at, seen_at)) FROM processes p "
        "WHERE p.started_at <= watch.began)) WHERE ended IS NULL "
        "AND EXISTS (SELECT 1 FROM processes p WHERE p.started_at <= watch.began) "
        "AND NOT EXISTS (SELECT 1 FROM processes p WHERE p.started_at <= watch.began "
        "AND p.ended_at IS NULL AND p.seen_at >= ?)",
        (now - _SILENT,),
    )
