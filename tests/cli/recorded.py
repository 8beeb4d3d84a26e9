"""A store with a little past, for commands to read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import AttemptFinished, CallFinished, CircuitState, Event, ProbeFinished, PutOff, StateChanged
from failsafe.faults import Fault
from failsafe.models import Attempt, Usage
from failsafe.telemetry import database
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.records import Source, TargetInfo

HERE = 1
"""The process that has recorded everything; it is alive if that is wished."""

ESCAPE = "\x1b[2J"
"""What would clear a terminal if it were printed as it is."""

TARGETS = {
    "openai": TargetInfo("https://api.openai.com/v1", sla=99.9),
    "anthropic": TargetInfo("https://api.anthropic.com"),
    "gemini": TargetInfo("https://generativelanguage.googleapis.com"),
}


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(path)) as connection:
        yield connection


def record(path: Path, events: Sequence[Event], *, process: int = HERE) -> None:
    """Put *events* into the store at *path*."""
    batch, source = Batch(), Source(TARGETS)
    for event in events:
        batch.add(source, event)
    assert batch.refused == 0
    with opened(path) as connection:
        batch.write(connection, process, SYSTEM_CLOCK.time())


def add_process(
    path: Path, number: int = HERE, *, seen_at: float, pid: int | None = None, program: str = "app.py"
) -> None:
    with opened(path) as connection:
        connection.execute(
            "INSERT OR REPLACE INTO processes (id, pid, host, program, version, started_at, seen_at, ended_at, dropped)"
            " VALUES (?, ?, 'here', ?, '0', ?, ?, NULL, 0)",
            (number, pid or os.getpid(), program, seen_at - 4000, seen_at),
        )


def add_breaker(
    path: Path, name: str, state: str, *, at: float, process: int = HERE, reason: str = "",
    retry_at: float | None = None, streak: int = 0, router: int = 0,
) -> None:  # fmt: skip
    with opened(path) as connection:
        connection.execute(
            "INSERT OR IGNORE INTO targets (name, base_url) VALUES (?, ?)", (name, TARGETS[name].base_url)
        )
        (target,) = connection.execute("SELECT id FROM targets WHERE name = ?", (name,)).fetchone()
        connection.execute(
            "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 5, 2, ?)",
            (process, router, name, target, state, reason, at - 30, retry_at, streak, at),
        )


def answered(
    at: float, provider: str = "openai", ms: float = 120.0, model: str = "gpt-4.1", tag: str = ""
) -> AttemptFinished:
    attempt = Attempt(
        provider=provider, model=model, key="sk-...abcd", latency_ms=ms, started_at=at - ms / 1000, bytes_received=900,
        usage=Usage(prompt_tokens=100, completion_tokens=20, cost_usd=Decimal("0.000123456789")),
    )  # fmt: skip
    return AttemptFinished(at=at, call_id=f"call-{at:.3f}", attempt=attempt, tag=tag)


def failed(
    at: float, provider: str = "openai", fault: Fault = Fault.OVERLOADED, message: str = "HTTP 503: try later"
) -> AttemptFinished:
    attempt = Attempt(
        provider=provider, model="gpt-4.1", key="sk-...abcd", fault=fault, status=503, message=message, latency_ms=80.0,
        started_at=at - 0.08, blamed=True, maybe_billed=True,
    )  # fmt: skip
    return AttemptFinished(at=at, call_id=f"call-{at:.3f}", attempt=attempt)


def called(at: float, error: str | None = None, tag: str = "") -> CallFinished:
    return CallFinished(
        at=at, call_id=f"call-{at:.3f}", asked_model="fast", provider=None if error else "openai",
        model=None if error else "gpt-4.1", error=error, attempts=1, latency_ms=130.0, tag=tag,
    )  # fmt: skip


def past(now: float, hours: float = 3.0) -> list[Event]:
    """openai was down for ten minutes an hour ago, anthropic is up, gemini is down now."""
    events: list[Event] = []
    for second in range(int(hours * 3600), 0, -20):
        at = now - second
        if 3600 <= second < 4200:
            events.append(failed(at))
        else:
            events += [answered(at), called(at)]
        events.append(ProbeFinished(at=at + 1, provider="anthropic", kind="models", latency_ms=2345.0))
        if second < 300:
            events.append(failed(at + 2, "gemini", Fault.TIMEOUT, f"no answer{ESCAPE} within 30 s"))
        else:
            events.append(answered(at + 2, "gemini", 700.0, "gemini-3.5-flash"))
    events.append(
        StateChanged(
            at=now - 200, name="gemini", old=CircuitState.CLOSED, new=CircuitState.OPEN, reason="5 failures in a row",
            retry_after=60.0,
        )
    )  # fmt: skip
    events.append(
        PutOff(
            at=now - 190, provider="anthropic", key="sk-...wxyz", model=None, fault=Fault.AUTH, seconds=60.0,
            message="invalid x-api-key", alert=True, advice="put in a valid key",
        )
    )  # fmt: skip
    return events


def store_with_past(path: Path, *, alive: bool = True) -> Path:
    """A store at *path* whose programs are alive, or have died an hour ago."""
    now = SYSTEM_CLOCK.time()
    record(path, past(now))
    seen = now if alive else now - 3600
    add_process(path, seen_at=seen)
    add_breaker(path, "openai", "closed", at=seen, streak=1)
    add_breaker(path, "gemini", "open", at=seen, reason=f"5 failures{ESCAPE} in a row", retry_at=seen + 30)
    add_breaker(path, "anthropic", "closed", at=seen)
    return path
