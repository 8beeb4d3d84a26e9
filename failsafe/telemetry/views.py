"""
What is read out of the store, as values.

All are frozen. Times are seconds since 1970-01-01 UTC, latencies milliseconds, costs USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec


class TargetState(StrEnum):
    """How a provider was for a time."""

    UP = "up"
    DEGRADED = "degraded"
    """It answered, but slowly or not always."""
    DOWN = "down"
    """It failed as often in a row as it takes to be sure."""
    PAUSED = "paused"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"
    """Not observed, or only what says nothing about it: a rejected key, an empty account, this machine offline."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A provider at an address, as recorded; ``interval`` in seconds, ``latency_limit`` in ms, ``sla`` in per cent."""

    id: int
    name: str
    base_url: str
    interval: float = 30.0
    latency_limit: float | None = None
    sla: float | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which a provider was one way."""

    began: float
    ended: float
    state: TargetState


class Uptime(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much of a window a provider was up.

    Attributes:
        began: The window's begin.
        ended: Its end.
        percentage: (up + degraded) / (up + degraded + down) in per cent, rounded down to two decimals; 100 only
            without any downtime. None: less than a hundredth of the window is known.
        coverage: The share of the window, times of pause and maintenance apart, that is known (0 to 1).
        seconds: Of each state.
        downtimes: How often it was down.
    """

    began: float
    ended: float
    percentage: float | None
    coverage: float
    seconds: Mapping[TargetState, float]
    downtimes: int = 0


class ErrorBudget(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much longer a provider may be down within its SLA.

    Attributes:
        sla: The percentage of time it is expected to be up.
        allowed: Seconds that it may be down in the window.
        used: Seconds that it was.
        left: The difference; negative once it is broken.
        burn_rate: How many times faster than evenly it was used up over the last hour; None: not known.
    """

    sla: float
    allowed: float
    used: float
    left: float
    burn_rate: float | None = None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of answers in milliseconds, each quantile within 5 %; None without any."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes of attempts and probes; see the table ``rollup_10`` in :mod:`failsafe.telemetry.schema`."""

    answered: int = 0
    failed: int = 0
    excused: int = 0
    other: int = 0
    slow: int = 0

    @property
    def error_rate(self) -> float | None:
        """Failures that speak against the provider, as a share of those and the answers; None without any."""
        judged = self.answered + self.failed
        return self.failed / judged if judged else None


class LastOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a provider did a short while ago.

    Attributes:
        counts: Outcomes of that time.
        latency: Of its answers.
        streak: Failures in a row since it answered last, however long ago that is.
        called_at: When a call to it ended last, or None; its failures count, too.
        probed_at: When it was probed last, or None.
        process: Whose call or probe was the later one, by its id in the store; None: nobody's is kept.
    """

    counts: Counts
    latency: Latency
    streak: int = 0
    called_at: float | None = None
    probed_at: float | None = None
    process: int | None = None

    @property
    def last_seen(self) -> float | None:
        """When it was observed last, by a call or a probe."""
        return max(filter(None, (self.called_at, self.probed_at)), default=None)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """
    One span of time on a chart.

    Attributes:
        at: Its begin.
        width: Its length, seconds.
        counts: Outcomes.
        latency: Of its answers.
        first_content: Mean milliseconds until the first content, where answers came as streams.
        tokens_per_second: Mean, of streams after their first content.
    """

    at: float
    width: float
    counts: Counts
    latency: Latency
    first_content: float | None = None
    tokens_per_second: float | None = None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """One provider over a window."""

    target: Target
    uptime: Uptime
    counts: Counts
    latency: Latency
    budget: ErrorBudget | None
    state: TargetState
    """At the window's end."""
    last_seen: float | None
    """When it was observed last."""


class ProcessRow(msgspec.Struct, frozen=True, kw_only=True):
    """A program that records, or has recorded."""

    id: int
    pid: int
    host: str
    program: str
    version: str
    started_at: float
    seen_at: float
    ended_at: float | None
    dropped: int
    alive: bool
    """Whether it was heard of a short while ago and has not said that it ends."""


class BreakerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit breaker as one router of one process sees it; see the table ``breakers``."""

    process: int
    pid: int
    program: str
    router: int
    name: str
    provider: str
    base_url: str
    state: str
    reason: str
    changed_at: float
    retry_at: float | None
    streak: int
    threshold: int | None
    opened: int
    seen_at: float


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something that happened, as recorded.

    Attributes:
        id: Its place among the rows of its ``kind``'s table.
        at: When.
        process: Who recorded it.
        kind: The class of the event: ``AttemptFinished``, ``CallFinished``, ``ProbeFinished``, ``StateChanged``, ...
        provider: Whom it is about, or "".
        data: Its fields.
    """

    id: int
    at: float
    process: int
    kind: str
    provider: str
    data: Mapping[str, Any]


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which a provider was down; ``ended`` is None while it is."""

    target: Target
    began: float
    ended: float | None
    failures: int
    faults: Mapping[str, int]


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was spent, by whatever the rows are grouped by; the rest is "".

    Attributes:
        usd: Of the answers whose price is known.
        unpriced: Answers whose price is not known.
        duplicates: Failed attempts that may have been billed.
        duplicates_usd: About what those would have cost, where the answer of their call tells how long; None where
            that was not reckoned: the store does not keep it.
    """

    day: str = ""
    provider: str = ""
    model: str = ""
    tag: str = ""
    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    duplicates: int = 0
    duplicates_usd: Decimal | None = None


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert, as recorded."""

    id: int
    at: float
    provider: str
    rule: str
    severity: str
    title: str
    message: str
    resolves: bool
    acknowledged_at: float | None
    acknowledged_by: str | None


class CommandRow(msgspec.Struct, frozen=True, kw_only=True):
    """A command, and what each process that has seen it made of it, by the process's id."""

    id: int
    at: float
    until: float
    process: int | None
    target: str
    action: str
    origin: str
    outcomes: Mapping[int, str]


class StoreSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large the store is: bytes of the file and of what stands beside it, and rows by table."""

    path: str
    bytes: int
    free_bytes: int
    version: int
    rows: Mapping[str, int]
    oldest: float | None
