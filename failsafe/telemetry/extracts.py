"""
Rows of the store for other programs, page by page: as many as there are, in little memory.

Each page is a look of its own, so that a long extract holds up nobody: a transaction that stays open would keep SQLite
from putting the WAL back into the file. Rows that retention removes meanwhile are left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from failsafe.telemetry import schema
from failsafe.telemetry.histogram import Histogram

PAGE = 5000
"""Rows that are read at once."""


class Kind(StrEnum):
    """What a column holds."""

    TIME = "time"
    """Seconds since 1970-01-01 UTC."""
    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    YES_NO = "yes_no"
    JSON = "json"
    """Text that is JSON."""
    USD = "usd"
    """An exact Decimal, of up to 12 decimals."""


class Column(NamedTuple):
    """
    One column of an extract.

    Attributes:
        name: What it is called.
        kind: What it holds; also None, where something is not known.
        sql: Where it comes from.
        convert: Makes its value of that.
    """

    name: str
    kind: Kind
    sql: str
    convert: Callable[[Any], Any] | None = None


class Extract(NamedTuple):
    """
    What can be taken out of the store.

    Attributes:
        columns: Its columns.
        table: The table, called ``t``, and those joined to it.
        key: The columns of the primary key, by which rows are ordered and pages are found.
        began: Compared with the begin of the time that is asked for.
        ended: Compared with its end, which does not belong to it.
        by_day: Whether those are days such as ``2026-11-24`` rather than seconds.
    """

    columns: tuple[Column, ...]
    table: str
    key: tuple[str, ...]
    began: str = "t.at"
    ended: str = "t.at"
    by_day: bool = False


def _usd(picodollars: int | None) -> Decimal | None:
    return None if picodollars is None else Decimal(picodollars) / schema.PICODOLLARS


def _quantile(share: float) -> Callable[[bytes | None], float | None]:
    return lambda data: Histogram.from_bytes(data).quantile(share) if data else None


def _flag(bit: int) -> str:
    return f"t.flags & {bit} != 0"


def _time(name: str = "at", sql: str = "t.at") -> Column:
    return Column(name, Kind.TIME, sql)


def _text(name: str, sql: str = "") -> Column:
    return Column(name, Kind.TEXT, sql or f"t.{name}")


def _whole(name: str, sql: str = "") -> Column:
    return Column(name, Kind.WHOLE, sql or f"t.{name}")


def _number(name: str, sql: str = "") -> Column:
    return Column(name, Kind.NUMBER, sql or f"t.{name}")


def _yes_no(name: str, sql: str) -> Column:
    return Column(name, Kind.YES_NO, sql, bool)


_PROVIDER = (_text("provider", "coalesce(targets.name, '')"), _text("base_url", "coalesce(targets.base_url, '')"))
_MODEL = _text("model", "coalesce(models.name, '')")
_PROCESS = (
    _whole("pid", "processes.pid"), _text("program", "coalesce(processes.program, '')"),
    _text("host", "coalesce(processes.host, '')"),
)  # fmt: skip
_TARGETS = " LEFT JOIN targets ON targets.id = t.target"
_MODELS = " LEFT JOIN models ON models.id = t.model"
_PROCESSES = " LEFT JOIN processes ON processes.id = t.process"
_COST = Column("cost_usd", Kind.USD, "t.cost", _usd)

_ATTEMPTS = Extract(
    (
        _time(), _whole("id"), *_PROVIDER, _MODEL, _text("call_id", "t.call"), _text("fault"), _whole("status"),
        _text("phase"), _text("key"), _whole("round"), _number("latency_ms", "t.latency"),
        _number("first_content_ms", "t.first_content"), _yes_no("hedge", _flag(1)),
        _yes_no("maybe_billed", _flag(2)), _yes_no("blamed", _flag(4)), _whole("bytes_received", "t.received"),
        _whole("prompt_tokens", "t.prompt"), _whole("cached_tokens", "t.cached"),
        _whole("cache_write_tokens", "t.written"), _whole("completion_tokens", "t.completion"),
        _whole("reasoning_tokens", "t.reasoning"), _COST, _text("request_id"), _text("message"), *_PROCESS,
    ),
    "attempts t" + _TARGETS + _MODELS + _PROCESSES,
    ("t.id",),
)  # fmt: skip

_CALLS = Extract(
    (
        _time(), _whole("id"), _text("call_id", "t.call"), _text("asked_model", "t.asked"), *_PROVIDER, _MODEL,
        _text("error"), _whole("attempts"), _number("latency_ms", "t.latency"), _text("tag"), _whole("maybe_billed"),
        *_PROCESS,
    ),
    "calls t" + _TARGETS + _MODELS + _PROCESSES,
    ("t.id",),
)  # fmt: skip

_PROBES = Extract(
    (
        _time(), _whole("id"), *_PROVIDER, _text("kind"), _text("fault"), _whole("status"),
        _number("latency_ms", "t.latency"), _yes_no("blamed", _flag(4)), _yes_no("permit", _flag(8)), _text("message"),
        *_PROCESS,
    ),
    "probes t" + _TARGETS + _PROCESSES,
    ("t.id",),
)  # fmt: skip

_EVENTS = Extract(
    (_time(), _whole("id"), _text("kind"), *_PROVIDER, Column("data", Kind.JSON, "t.data"), *_PROCESS),
    "events t" + _TARGETS + _PROCESSES,
    ("t.id",),
)

_SPANS = Extract(
    (_time("began", "t.began"), _time("ended", "t.ended"), *_PROVIDER, _text("state")),
    "spans t" + _TARGETS,
    ("t.target", "t.began"),
    began="t.ended",
    ended="t.began",
)

_COSTS = Extract(
    (
        _text("day"), *_PROVIDER, _MODEL, _text("tag"), _whole("answers"), _whole("prompt_tokens", "t.prompt"),
        _whole("cached_tokens", "t.cached"), _whole("cache_write_tokens", "t.written"),
        _whole("completion_tokens", "t.completion"), _whole("reasoning_tokens", "t.reasoning"), _COST,
        _whole("unpriced"), _whole("duplicates"),
    ),
    "costs t" + _TARGETS + _MODELS,
    ("t.day", "t.target", "t.model", "t.tag"),
    began="t.day",
    ended="t.day",
    by_day=True,
)  # fmt: skip


def _rollups(width: int) -> Extract:
    return Extract(
        (
            _time(), _whole("seconds", str(width)), *_PROVIDER, _whole("answered"), _whole("failed"),
            _whole("excused"), _whole("other"), _whole("slow"),
            _number("mean_ms", "CASE WHEN t.answered THEN 1.0 * t.latency / t.answered END"),
            *(Column(f"p{share}_ms", Kind.NUMBER, "t.histogram", _quantile(share / 100)) for share in (50, 90, 95, 99)),
        ),
        f"rollup_{width} t" + _TARGETS,
        ("t.at", "t.target"),
    )  # fmt: skip


_EXTRACTS = {
    "attempts": _ATTEMPTS, "calls": _CALLS, "probes": _PROBES, "events": _EVENTS, "costs": _COSTS, "spans": _SPANS,
}  # fmt: skip

NAMES = ("attempts", "calls", "probes", "events", "rollups", "costs", "spans")
"""What can be taken out."""


def extract(name: str, width: int = 900) -> Extract:
    """What *name* of :data:`NAMES` means; rollups are those of *width* seconds, of ``schema.ROLLUPS``."""
    return _rollups(width) if name == "rollups" else _EXTRACTS[name]


def pages(
    connection: sqlite3.Connection, wanted: Extract, began: object, ended: object, page: int = PAGE
) -> Iterator[list[list[Any]]]:
    """
    The rows of *wanted*, as its columns have them, in pages of up to *page* rows.

    Args:
        connection: To the store, outside of any transaction.
        wanted: What is taken out.
        began: From this time on: seconds since 1970-01-01 UTC, or a day where *wanted* goes by days.
        ended: Before this time.
        page: The most rows at once.
    """
    last: tuple[Any, ...] | None = None
    width = len(wanted.columns)
    converted = [(place, column.convert) for place, column in enumerate(wanted.columns) if column.convert is not None]
    while True:
        statement, bound = _statement(wanted, began, ended, last, page)
        with closing(connection.execute(statement, bound)) as found:
            rows = found.fetchall()
        if rows:
            last = tuple(rows[-1][width:])
            yield [_converted(row[:width], converted) for row in rows]
        if len(rows) < page:
            return


def _converted(row: Sequence[Any], converted: Sequence[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    values = list(row)
    for place, convert in converted:
        values[place] = convert(values[place])
    return values


def _statement(
    wanted: Extract, began: object, ended: object, last: tuple[Any, ...] | None, page: int
) -> tuple[str, tuple[Any, ...]]:
    key = ", ".join(wanted.key)
    columns = ", ".join(column.sql for column in wanted.columns)
    later = f"AND ({key}) > ({', '.join('?' * len(wanted.key))}) " if last is not None else ""
    statement = (
        f"SELECT {columns}, {key} FROM {wanted.table} "  # noqa: S608 -- all of it is written above
        f"WHERE {wanted.began} >= ? AND {wanted.ended} < ? {later}ORDER BY {key} LIMIT ?"
    )
    return statement, (began, ended, *(last or ()), page)
