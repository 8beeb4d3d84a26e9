"""How everything stands at one moment, as ``failsafe status`` tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from failsafe.cli.times import DAY, MONTH
from failsafe.events import CircuitState
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.views import BreakerRow, Overview, ProcessRow, Target, TargetState, Uptime

_SEVERITY = (
    CircuitState.CLOSED, CircuitState.DISABLED, CircuitState.HALF_OPEN, CircuitState.OPEN, CircuitState.FORCED_OPEN,
)  # fmt: skip
"""Of breakers: what lets fewer calls through is worse."""

_BARRED = frozenset({CircuitState.HALF_OPEN, CircuitState.OPEN, CircuitState.FORCED_OPEN})
_TROUBLED = frozenset({TargetState.DOWN, TargetState.DEGRADED})
_REFRESH = 60.0
"""Seconds for which the uptime of 30 days, the dearest figure, is good enough."""


class BreakerStanding(msgspec.Struct, frozen=True, kw_only=True):
    """
    The breakers of one provider in all running processes.

    Attributes:
        state: Of the worst.
        reason: Why that one is in that state.
        retry_at: When that one may admit its next probe.
        streak: Its failures in a row.
        threshold: The streak that opens it.
        count: How many there are.
        barred: How many of them let not every call through.
    """

    state: str
    reason: str
    retry_at: float | None
    streak: int
    threshold: int | None
    count: int
    barred: int


class ProviderStanding(msgspec.Struct, frozen=True, kw_only=True):
    """
    One provider at an address.

    Attributes:
        uptime_24h: Per cent of the last day; None: too little of it is known.
        coverage_24h: The share of the last day that is known.
        p50_ms: Of the answers in the window.
        p95_ms: Of the answers in the window.
        error_rate: Failures that speak against it, as a share of those and the answers in the window.
        breaker: None: no running process has one.
        last_seen: When it was observed last.
    """

    provider: str
    base_url: str
    state: TargetState
    uptime_24h: float | None
    coverage_24h: float
    uptime_30d: float | None
    coverage_30d: float
    p50_ms: float | None
    p95_ms: float | None
    answered: int
    failed: int
    error_rate: float | None
    breaker: BreakerStanding | None
    last_seen: float | None

    @property
    def in_trouble(self) -> bool:
        """Whether it is down or degraded, or a breaker keeps calls from it."""
        return self.state in _TROUBLED or (self.breaker is not None and self.breaker.barred > 0)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything at one moment.

    Attributes:
        at: When.
        store: The file that says so.
        window: Seconds over which latencies and errors are counted.
        in_trouble: Whether any provider is.
        hidden: Providers that were not observed for 30 days, and are left out.
    """

    at: float
    store: str
    window: float
    in_trouble: bool
    providers: Sequence[ProviderStanding]
    processes: Sequence[ProcessRow]
    hidden: int = 0


class Choice(NamedTuple):
    """What of the store is asked for: providers by name (none: all), old ones too, seconds of the window."""

    providers: tuple[str, ...]
    old: bool
    window: float


class Watcher:
    """Reads how everything stands, again and again. Not thread-safe."""

    def __init__(self, store: str, choice: Choice) -> None:
        self._store = store
        self._choice = choice
        self._months: dict[int, Uptime] = {}
        self._months_at = float("-inf")

    def look(self, reader: StoreReader, now: float) -> Standing:
        """How everything stands *now*."""
        if not 0 <= now - self._months_at < _REFRESH:
            self._months.clear()
            self._months_at = now
        breakers = _by_target(reader.breakers(alive_only=True))
        named = [
            target for target in reader.targets() if target.name in self._choice.providers or not self._choice.providers
        ]
        overviews = (
            reader.overview(now - self._choice.window, now, targets=[target.id for target in named]) if named else []
        )
        shown = [each for each in overviews if self._choice.old or _is_recent(each, breakers, now)]
        providers = [self._provider(reader, each, breakers, now) for each in shown]
        providers.sort(key=lambda each: (each.provider, each.base_url))
        return Standing(
            at=now,
            store=self._store,
            window=self._choice.window,
            in_trouble=any(each.in_trouble for each in providers),
            providers=providers,
            processes=reader.processes(alive_only=True),
            hidden=len(overviews) - len(shown),
        )

    def _provider(
        self, reader: StoreReader, overview: Overview, breakers: Mapping[tuple[str, str], list[BreakerRow]], now: float
    ) -> ProviderStanding:
        target = overview.target
        day = reader.uptime(target.id, now - DAY, now)
        month = self._month(target, lambda: reader.uptime(target.id, now - MONTH, now))
        return ProviderStanding(
            provider=target.name,
            base_url=target.base_url,
            state=overview.state,
            uptime_24h=day.percentage,
            coverage_24h=day.coverage,
            uptime_30d=month.percentage,
            coverage_30d=month.coverage,
            p50_ms=overview.latency.p50,
            p95_ms=overview.latency.p95,
            answered=overview.counts.answered,
            failed=overview.counts.failed,
            error_rate=overview.counts.error_rate,
            breaker=worst(breakers.get((target.name, target.base_url), ())),
            last_seen=overview.last_seen,
        )

    def _month(self, target: Target, read: Callable[[], Uptime]) -> Uptime:
        if target.id not in self._months:
            self._months[target.id] = read()
        return self._months[target.id]


def _is_recent(overview: Overview, breakers: Mapping[tuple[str, str], object], now: float) -> bool:
    seen = overview.last_seen
    return (overview.target.name, overview.target.base_url) in breakers or (seen is not None and now - seen < MONTH)


def _by_target(rows: Iterable[BreakerRow]) -> dict[tuple[str, str], list[BreakerRow]]:
    found: dict[tuple[str, str], list[BreakerRow]] = {}
    for row in rows:
        found.setdefault((row.provider, row.base_url), []).append(row)
    return found


def severity(state: str) -> int:
    """How bad a breaker's state is; of one that a newer program has written, worst of all."""
    return _SEVERITY.index(CircuitState(state)) if state in set(CircuitState) else len(_SEVERITY)


def worst(rows: Sequence[BreakerRow]) -> BreakerStanding | None:
    """The worst of *rows*, of several such the one that changed last; None without any."""
    if not rows:
        return None
    row = max(rows, key=lambda each: (severity(each.state), each.changed_at))
    return BreakerStanding(
        state=row.state,
        reason=row.reason,
        retry_at=row.retry_at,
        streak=row.streak,
        threshold=row.threshold,
        count=len(rows),
        barred=sum(each.state in _BARRED for each in rows),
    )
