"""A store whose past a test makes up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from failsafe.events import AttemptFinished, CallFinished, Event, ProbeFinished
from failsafe.faults import Fault
from failsafe.models import Attempt
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.records import Source, TargetInfo

NOON = 1_800_014_400.0
"""A multiple of a day less a few hours: 12:00 UTC."""
PROCESS = 7

A, B = "https://a.example/v1", "https://b.example/v1"


class Past:
    """
    Writes what is made up, as a program would have.

    Args:
        connection: To the store.
        sla: What is expected of the provider ``a``.
    """

    def __init__(self, connection: sqlite3.Connection, sla: float | None = None) -> None:
        self.connection = connection
        self.source = Source({"a": TargetInfo(A, 30.0, 1000.0, sla), "b": TargetInfo(B, 30.0)})
        connection.execute(
            "INSERT INTO processes (id, pid, host, program, version, started_at, seen_at) "
            "VALUES (?, 4711, 'here', 'shop.py', '1.0', ?, ?)",
            (PROCESS, NOON - 3600, NOON),
        )

    def record(self, *events: Event, process: int = PROCESS) -> None:
        """Write *events*, in one batch."""
        batch = Batch()
        for event in events:
            batch.add(self.source, event)
        assert not batch.refused
        batch.write(self.connection, process, NOON)

    def answered(self, *at: float, provider: str = "a", ms: float = 100.0) -> None:
        """Probes that were answered, so many seconds after noon."""
        self.record(*(ProbeFinished(at=NOON + each, provider=provider, kind="models", latency_ms=ms) for each in at))

    def failed(
        self, *at: float, provider: str = "a", fault: Fault = Fault.SERVER, blamed: bool = True, process: int = PROCESS
    ) -> None:
        """Probes that failed."""
        events = [
            ProbeFinished(at=NOON + each, provider=provider, kind="models", fault=fault, message="no", blamed=blamed)
            for each in at
        ]
        self.record(*events, process=process)

    def attempt(self, at: float, provider: str = "a", call: str = "", tag: str = "", **details: Any) -> AttemptFinished:
        """An attempt, to be recorded."""
        made = Attempt(provider=provider, model="m", latency_ms=details.pop("latency_ms", 100.0), **details)
        return AttemptFinished(at=NOON + at, call_id=call or f"call-{at:g}", attempt=made, tag=tag)

    def call(self, at: float, provider: str | None = "a", call: str = "", error: str | None = None) -> CallFinished:
        """A call, to be recorded."""
        return CallFinished(
            at=NOON + at, call_id=call or f"call-{at:g}", asked_model="fast", provider=provider, model="m",
            error=error, attempts=1, latency_ms=100.0, tag="shop",
        )  # fmt: skip

    def watched(self, state: str, began: float, ended: float | None, target: int | None = None) -> None:
        """A time in which a provider, or all of them, was not watched as usual."""
        self.connection.execute(
            "INSERT INTO watch (target, state, began, ended) VALUES (?, ?, ?, ?)",
            (target, state, NOON + began, None if ended is None else NOON + ended),
        )

    def target(self, name: str = "a") -> int:
        """The id of a provider."""
        (found,) = self.connection.execute("SELECT id FROM targets WHERE name = ?", (name,)).fetchone()
        return int(found)


def every_30_s(first: float, last: float) -> Iterable[float]:
    """From *first* to *last*, both with it, seconds."""
    return range(int(first), int(last) + 1, 30)
