"""Stores, sources and events for the tests of what is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from failsafe.events import AttemptFinished, CallFinished, Event, ProbeFinished
from failsafe.models import Attempt, Usage
from failsafe.pricing import Rates
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.records import Source, TargetInfo

NOW = 1_800_000_000.0
"""The begin of a quarter of an hour, and 8 hours into a day."""
PROCESS = 77
RATES = Rates(input=Decimal(2), output=Decimal(8), cached_input=Decimal("0.5"))


def source(*names: str, router: int = 0, **info: Any) -> Source:
    """A router over providers of these names, else ``openai`` and ``groq``."""
    return Source(
        {name: TargetInfo(f"https://{name}.example/v1", **info) for name in names or ("openai", "groq")}, router=router
    )


def attempt(
    at: float = NOW, provider: str = "openai", *, tag: str = "", call_id: str = "c1", **fields: Any
) -> AttemptFinished:
    """An answer, unless *fields* say otherwise."""
    given = {"model": "gpt-4.1", "latency_ms": 250.0, "key": "ab12", "status": 200, **fields}
    if "fault" not in given:
        given.setdefault("usage", Usage(prompt_tokens=300, completion_tokens=20))
        given.setdefault("rates", RATES)
    return AttemptFinished(at=at, call_id=call_id, tag=tag, attempt=Attempt(provider=provider, **given))


def call(at: float = NOW, provider: str | None = "openai", **fields: Any) -> CallFinished:
    """A call that was answered, unless *fields* say otherwise."""
    given = {
        "call_id": "c1", "asked_model": "fast", "model": "gpt-4.1" if provider else None, "error": None,
        "attempts": 1, "latency_ms": 260.0, **fields,
    }  # fmt: skip
    return CallFinished(at=at, provider=provider, **given)


def probe(at: float = NOW, provider: str = "openai", **fields: Any) -> ProbeFinished:
    """A probe that was answered, unless *fields* say otherwise."""
    return ProbeFinished(at=at, provider=provider, **{"kind": "models", "latency_ms": 80.0, **fields})


def write(
    connection: sqlite3.Connection, events: Sequence[Event], of: Source | None = None, process: int = PROCESS
) -> Batch:
    """Write *events* in one batch."""
    batch, recorder = Batch(), of or source()
    for event in events:
        batch.add(recorder, event)
    batch.write(connection, process, NOW)
    return batch


def rows(connection: sqlite3.Connection, table: str, order: str = "1") -> list[dict[str, Any]]:
    """All rows of *table*, by column."""
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY {order}")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def dump(connection: sqlite3.Connection) -> list[str]:
    """All that is in a database, as text."""
    return list(connection.iterdump())
