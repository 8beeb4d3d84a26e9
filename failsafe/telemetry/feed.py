"""Attempts, calls, probes and events in the order in which they happened."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from failsafe.telemetry.schema import PICODOLLARS
from failsafe.telemetry.views import EventRow

_HEDGE, _MAYBE_BILLED, _BLAMED, _PERMIT = 1, 2, 4, 8


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far somebody has read: the last row of each table that he has seen. Goes through JSON."""

    attempts: int = 0
    calls: int = 0
    probes: int = 0
    events: int = 0


class _Table(NamedTuple):
    """
    A table of the feed.

    Attributes:
        name: Its name.
        kind: The class of the events in it; "" where each row says so.
        columns: What is read, after ``id, at, process`` and the target's id.
        data: Makes an event's fields out of those.
        by_target: Whether its index leads by target rather than by time.
    """

    name: str
    kind: str
    columns: str
    data: Callable[[tuple[Any, ...]], Mapping[str, Any]]
    by_target: bool


def _usd(cost: int | None) -> Decimal | None:
    return None if cost is None else Decimal(cost) / PICODOLLARS


def _attempt(row: tuple[Any, ...]) -> dict[str, Any]:
    (
        call, model, latency, first_content, fault, status, phase, key, round_, flags, received,
        prompt, cached, written, completion, reasoning, cost, request_id, message,
    ) = row  # fmt: skip
    return {
        "call_id": call,
        "model": model,
        "latency_ms": latency,
        "first_content_ms": first_content,
        "fault": fault,
        "status": status,
        "phase": phase,
        "key": key,
        "round": round_,
        "hedge": bool(flags & _HEDGE),
        "maybe_billed": bool(flags & _MAYBE_BILLED),
        "blamed": bool(flags & _BLAMED),
        "bytes_received": received,
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "completion_tokens": completion,
        "reasoning_tokens": reasoning,
        "cost_usd": _usd(cost),
        "request_id": request_id,
        "message": message or "",
    }


def _call(row: tuple[Any, ...]) -> dict[str, Any]:
    call, asked, model, error, attempts, latency, tag, maybe_billed = row
    return {
        "call_id": call,
        "asked_model": asked,
        "model": model,
        "error": error,
        "attempts": attempts,
        "latency_ms": latency,
        "tag": tag,
        "maybe_billed": maybe_billed,
    }


def _probe(row: tuple[Any, ...]) -> dict[str, Any]:
    kind, fault, status, latency, flags, message = row
    return {
        "kind": kind,
        "fault": fault,
        "status": status,
        "latency_ms": latency,
        "blamed": bool(flags & _BLAMED),
        "permit": bool(flags & _PERMIT),
        "message": message or "",
    }


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    try:
        return msgspec.json.decode(row[1], type=dict[str, Any])
    except msgspec.DecodeError:  # a row that another program has spoiled must not hide the others
        return {}


_MODEL = "(SELECT name FROM models WHERE id = t.model)"

_TABLES = (
    _Table(
        "attempts",
        "AttemptFinished",
        f"call, {_MODEL}, latency, first_content, fault, status, phase, key, round, flags, received, "
        "prompt, cached, written, completion, reasoning, cost, request_id, message",
        _attempt,
        by_target=True,
    ),
    _Table("probes", "ProbeFinished", "kind, fault, status, latency, flags, message", _probe, by_target=True),
    _Table("events", "", "kind, data", _event, by_target=False),
    _Table(
        "calls", "CallFinished", f"call, asked, {_MODEL}, error, attempts, latency, tag, maybe_billed", _call,
        by_target=False,
    ),
)  # fmt: skip
"""In the order in which they are given when they happened at the same moment: a call ends after its attempts."""

_RANKS = {table.kind: rank for rank, table in enumerate(_TABLES)}

Key = tuple[float, int, int]
"""at, the table's rank, id: what rows are ordered by."""


class Wanted(NamedTuple):
    """
    Which rows are asked for.

    Attributes:
        began: From this time on.
        ended: Before this time.
        kinds: Classes of events; none: all.
        targets: Ids of targets, with their names.
        provider: The only provider's name, or None.
        after: The last row that was seen: those that follow it.
        since: A cursor: only what was written down later.
        newest: The last ones, rather than the first.
    """

    began: float
    ended: float
    kinds: frozenset[str]
    targets: Mapping[int, str]
    provider: str | None
    after: Key | None
    since: Cursor | None
    newest: bool


def key_of(row: EventRow) -> Key:
    """The place of *row* in the feed."""
    return row.at, _RANKS.get(row.kind, _RANKS[""]), row.id


def rows_of(connection: sqlite3.Connection, wanted: Wanted, limit: int) -> list[EventRow]:
    """What is *wanted*, in order of time, *limit* rows at most."""
    streams = [
        stream
        for rank, table in enumerate(_TABLES)
        if _concerns(table, wanted.kinds)
        for stream in _streams(connection, rank, table, wanted)
    ]
    merged = heapq.merge(*streams, key=key_of, reverse=wanted.newest)
    found = list(islice(merged, limit))
    return found[::-1] if wanted.newest else found


def _concerns(table: _Table, kinds: Collection[str]) -> bool:
    if not kinds:
        return True
    return table.kind in kinds if table.kind else any(kind not in _RANKS for kind in kinds)


def _streams(connection: sqlite3.Connection, rank: int, table: _Table, wanted: Wanted) -> Iterator[Iterator[EventRow]]:
    """The rows of one table in order; one stream for each target where the index leads by target."""
    if table.by_target:
        for target in wanted.targets:
            yield _stream(connection, rank, table, wanted, ["target = :target"], {"target": target})
        return
    conditions: list[str] = []
    if wanted.provider is not None:
        conditions.append(f"target IN ({', '.join(str(target) for target in wanted.targets) or 'NULL'})")
    bound: dict[str, Any] = {}
    if not table.kind and wanted.kinds:
        names = {f"kind{number}": kind for number, kind in enumerate(sorted(wanted.kinds))}
        conditions.append(f"kind IN ({', '.join(f':{name}' for name in names)})")
        bound.update(names)
    yield _stream(connection, rank, table, wanted, conditions, bound)


def _stream(
    connection: sqlite3.Connection,
    rank: int,
    table: _Table,
    wanted: Wanted,
    conditions: list[str],
    bound: Mapping[str, Any],
) -> Iterator[EventRow]:
    order = "DESC" if wanted.newest else "ASC"
    conditions = [*conditions, "at >= :began", "at < :ended"]
    bound = {**bound, "began": wanted.began, "ended": wanted.ended}
    if wanted.since is not None:
        conditions.append("id > :since")
        bound["since"] = getattr(wanted.since, table.name)
    if wanted.after is not None:
        at, after_rank, after_id = wanted.after
        least = after_id if rank == after_rank else -1 if rank > after_rank else 2**63 - 1
        conditions.append("(at > :at OR (at = :at AND id > :id))")
        bound |= {"at": at, "id": least, "began": max(wanted.began, at)}
    found = connection.execute(
        f"SELECT id, at, process, target, {table.columns} FROM {table.name} t "
        f"WHERE {' AND '.join(conditions)} ORDER BY at {order}, id {order}",
        bound,
    )
    return _made(found, table, wanted.targets)


def _made(rows: Iterable[tuple[Any, ...]], table: _Table, names: Mapping[int, str]) -> Iterator[EventRow]:
    for row in rows:
        number, at, process, target, *rest = row
        yield EventRow(
            id=number,
            at=at,
            process=process,
            kind=table.kind or rest[0],
            provider=names.get(target, ""),
            data=table.data(tuple(rest)),
        )


def cursor_of(connection: sqlite3.Connection) -> Cursor:
    """The cursor of somebody who has seen all that there is."""
    return Cursor(**{table.name: _last(connection, table.name) for table in _TABLES})


def _last(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0)


def news_of(
    connection: sqlite3.Connection, cursor: Cursor, names: Mapping[int, str], limit: int
) -> tuple[list[EventRow], Cursor]:
    """
    What was written down since *cursor*, at most *limit* rows in order of time, and the cursor after that.

    By number, not by time: what a process writes late is not missed, and nothing comes twice.
    """
    last = {table.name: _still_valid(connection, table.name, getattr(cursor, table.name)) for table in _TABLES}
    streams = [_numbered(connection, table, last[table.name], names, limit) for table in _TABLES]
    found: list[EventRow] = []
    for name, row in islice(heapq.merge(*streams, key=lambda entry: entry[1].at), limit):
        last[name] = max(last[name], row.id)
        found.append(row)
    return sorted(found, key=key_of), Cursor(**last)


def _still_valid(connection: sqlite3.Connection, table: str, number: int) -> int:
    """Numbers begin anew in a table that was emptied, and in a file that took the name of another."""
    return number if number <= _last(connection, table) else 0


def _numbered(
    connection: sqlite3.Connection, table: _Table, after: int, names: Mapping[int, str], limit: int
) -> Iterator[tuple[str, EventRow]]:
    rows = connection.execute(
        f"SELECT id, at, process, target, {table.columns} FROM {table.name} t WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    for row in _made(rows, table, names):
        yield table.name, row
