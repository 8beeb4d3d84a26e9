"""
Reads the store: how providers are and were, what happened, and what it cost.

::

    with StoreReader.open(path) as reader:
        for each in reader.overview(now - 86400, now):
            print(each.target.name, each.uptime.percentage, each.latency.p95)

The guide is ``docs/store.md``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.monitoring_config import MonitorConfig
from failsafe.telemetry import bookkeeping, breakdowns, feed, registers, tallies, uptime
from failsafe.telemetry.bookkeeping import Spending
from failsafe.telemetry.feed import Cursor, Wanted
from failsafe.telemetry.history import History, intervals
from failsafe.telemetry.snapshots import FileSnapshots, SharedSnapshots, Snapshots
from failsafe.telemetry.tallies import Tally
from failsafe.telemetry.views import (
    AlertRow,
    BreakerRow,
    CommandRow,
    CostRow,
    Counts,
    ErrorBudget,
    EventRow,
    Incident,
    LastOutcomes,
    Latency,
    Overview,
    Point,
    ProcessRow,
    Span,
    StoreSize,
    Target,
    Uptime,
)

__all__ = ["Cursor", "StoreReader"]

T = TypeVar("T")

MONTH = 30 * 86_400.0
"""Seconds of the window for which an error budget is reckoned, unless another is asked for."""

_HOUR = 3600.0
_MOST_ROWS = 100_000
"""What one look returns at most, whatever is asked for."""


class StoreReader:
    """
    Reads a store while others write into it, and holds nobody up.

    Every method looks at one moment: what it returns fits together. What has been written shows at once. Windows are
    from a begin up to an end, which does not belong to them. Thread-safe; one method at a time reads, the others wait.
    A file that is deleted or replaced meanwhile is opened anew. Every method raises
    :class:`failsafe.StoreUnavailable` when the store cannot be read, or is of another version.

    Make one with :meth:`open`.
    """

    def __init__(self, snapshots: Snapshots, clock: Clock = SYSTEM_CLOCK, monitor: MonitorConfig | None = None) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self._monitor = monitor
        self._spending = Spending(clock)

    @classmethod
    def open(cls, path: str | Path, *, clock: Clock = SYSTEM_CLOCK, monitor: MonitorConfig | None = None) -> Self:
        """
        A reader of the file at *path*.

        Args:
            path: The file.
            clock: What the time is.
            monitor: How the last minute is read, which is not settled yet; None: as the minutes before.

        Raises:
            StoreUnavailable: It is not there, cannot be read, or is of another version.
        """
        return cls(FileSnapshots(Path(path)), clock, monitor)

    @classmethod
    def over(
        cls,
        connection: sqlite3.Connection,
        lock: AbstractContextManager[object] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        monitor: MonitorConfig | None = None,
    ) -> Self:
        """A reader of a store in memory, over the *connection* of whoever writes; *lock* is held while it is used."""
        return cls(SharedSnapshots(connection, threading.RLock() if lock is None else lock), clock, monitor)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._snapshots.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StoreReader {self._snapshots!r}>"

    def _read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        return self._snapshots.read(look)

    def _end(self, ended: float) -> float:
        """*ended*, or infinity where it includes the present: what is being counted then belongs to the window."""
        return inf if ended >= self._clock.time() else ended

    def _history(self, connection: sqlite3.Connection, targets: Iterable[int] | None) -> History:
        known = intervals(connection, None if targets is None else list(targets))
        return History(connection, known, self._clock.time(), self._monitor)

    # Providers.

    def targets(self) -> list[Target]:
        """Every provider that was recorded, by name."""
        return self._read(registers.targets)

    def target(self, name: str, base_url: str | None = None) -> Target | None:
        """The provider of this name, at this address (None: at the one that was heard of last); None: there is none."""

        def look(connection: sqlite3.Connection) -> Target | None:
            found = [each for each in registers.targets(connection) if each.name == name]
            if base_url is not None:
                found = [each for each in found if each.base_url == base_url]
            if len(found) < 2:
                return found[0] if found else None
            return max(found, key=lambda each: (registers.last_seen(connection, each.id) or 0.0, each.id))

        return self._read(look)

    def overview(self, began: float, ended: float, targets: Sequence[int] | None = None) -> list[Overview]:
        """How each of *targets* (ids; None: all) was in a window, by name."""

        def look(connection: sqlite3.Connection) -> list[Overview]:
            asked = [each for each in registers.targets(connection) if targets is None or each.id in set(targets)]
            counted = tallies.tallies(connection, began, self._end(ended))
            history = self._history(connection, [each.id for each in asked])
            return [self._overview(connection, history, each, counted.get(each.id), began, ended) for each in asked]

        return self._read(look)

    def _overview(
        self,
        connection: sqlite3.Connection,
        history: History,
        target: Target,
        tally: Tally | None,
        began: float,
        ended: float,
    ) -> Overview:
        month = began if target.sla is None else min(began, ended - MONTH)
        spans = history.spans(target.id, month, ended)
        budget = None if target.sla is None else _budget(spans, target.sla, ended, MONTH)
        tally = tally or Tally()
        return Overview(
            target=target,
            uptime=uptime.summed_up(spans, began, ended),
            counts=tally.counts,
            latency=tally.latency,
            budget=budget,
            state=history.state(target.id, ended),
            last_seen=registers.last_seen(connection, target.id),
        )

    def uptime(self, target_id: int, began: float, ended: float) -> Uptime:
        """How much of a window a provider was up."""
        return uptime.summed_up(self.spans(target_id, began, ended), began, ended)

    def spans(self, target_id: int, began: float, ended: float) -> list[Span]:
        """How a provider was at each moment of a window: spans in order, next to each other, from end to end."""
        return self._read(lambda connection: self._history(connection, [target_id]).spans(target_id, began, ended))

    def days(self, target_id: int, boundaries: Sequence[float]) -> list[Uptime]:
        """
        The uptime of each day.

        Args:
            target_id: The provider.
            boundaries: The begin of each day and the end of the last, ascending: midnights of the reader's own time.
        """
        if len(boundaries) < 2:
            return []
        return uptime.days(self.spans(target_id, boundaries[0], boundaries[-1]), boundaries)

    def error_budget(self, target_id: int, ended: float, window: float = MONTH) -> ErrorBudget | None:
        """What is left of the time that a provider may be down in the *window* seconds before *ended*; None: no SLA."""

        def look(connection: sqlite3.Connection) -> ErrorBudget | None:
            target = next((each for each in registers.targets(connection) if each.id == target_id), None)
            if target is None or target.sla is None:
                return None
            spans = self._history(connection, [target_id]).spans(target_id, ended - window, ended)
            return _budget(spans, target.sla, ended, window)

        return self._read(look)

    def incidents(
        self, began: float, ended: float, targets: Sequence[int] | None = None, limit: int = 1000
    ) -> list[Incident]:
        """The last *limit* times in which providers (ids; None: all) were down and that touch a window, by begin."""

        def look(connection: sqlite3.Connection) -> list[Incident]:
            asked = [each for each in registers.targets(connection) if targets is None or each.id in set(targets)]
            history = self._history(connection, [each.id for each in asked])
            found = [(down, each) for each in asked for down in history.downtimes(each.id, began, ended)]
            found.sort(key=lambda entry: (entry[0].began, entry[1].name))
            return breakdowns.incidents(connection, found[-_bounded(limit) :], history.now)

        return self._read(look)

    # What was counted.

    def counts(self, target_id: int, began: float, ended: float) -> Counts:
        """The outcomes of attempts and probes in a window, to within ten seconds at its edges."""
        return self._tally(target_id, began, ended).counts

    def latency(self, target_id: int, began: float, ended: float) -> Latency:
        """The latencies of the answers in a window."""
        return self._tally(target_id, began, ended).latency

    def _tally(self, target_id: int, began: float, ended: float) -> Tally:
        found = self._read(lambda connection: tallies.tallies(connection, began, self._end(ended), target_id))
        return found.get(target_id) or Tally()

    def points(self, target_id: int, began: float, ended: float, most: int = 600) -> list[Point]:
        """
        A chart of a window: at most *most* (1 to 100,000) points, those without any outcome left out.

        Of up to 6 hours, each is a multiple of 10 seconds long, of up to 2 days of a minute, of up to 90 of 15
        minutes, else of a day. They begin at multiples of their length; where that makes one too many, the first,
        of which only a part lies in the window, is left out.
        """
        return self._read(
            lambda connection: tallies.points(connection, target_id, _frame(connection, began, ended, most))
        )

    def lines(self, began: float, ended: float, most: int = 600) -> dict[int, list[Point]]:
        """A chart of every provider at once, by its id: as :meth:`points`, with the mean as the only latency."""
        return self._read(lambda connection: tallies.lines(connection, _frame(connection, began, ended, most)))

    def faults(self, target_id: int, began: float, ended: float) -> dict[str, int]:
        """How often each fault came up in a window, the most frequent first; of more than an hour by quarters of it."""
        return self._read(lambda connection: breakdowns.faults(connection, target_id, began, ended))

    def last_outcomes(self, target_id: int, seconds: float, now: float | None = None) -> LastOutcomes:
        """How a provider did in the last *seconds* before *now* (None: by the clock)."""
        moment = self._clock.time() if now is None else now

        def look(connection: sqlite3.Connection) -> LastOutcomes:
            tally = tallies.tallies(connection, moment - seconds, inf, target_id).get(target_id) or Tally()
            history = History(connection, intervals(connection, [target_id]), moment, self._monitor)
            called, probed = registers.last_call(connection, target_id), registers.last_probe(connection, target_id)
            latest = max(filter(None, (called, probed)), default=None)
            return LastOutcomes(
                counts=tally.counts,
                latency=tally.latency,
                streak=history.streak(target_id),
                called_at=called and called[0],
                probed_at=probed and probed[0],
                process=latest and latest[1],
            )

        return self._read(look)

    # Who is running.

    def processes(self, alive_only: bool = False) -> list[ProcessRow]:
        """The programs that record or have recorded, the latest first."""
        return self._read(
            lambda connection: registers.processes(connection, self._clock.time(), alive_only, _MOST_ROWS)
        )

    def breakers(self, alive_only: bool = True) -> list[BreakerRow]:
        """The breakers of each program, by provider; also those of programs that have died, if not *alive_only*."""
        return self._read(lambda connection: registers.breakers(connection, self._clock.time(), alive_only, _MOST_ROWS))

    # What happened.

    def events(
        self,
        *,
        after: Cursor | EventRow | None = None,
        began: float = -inf,
        ended: float = inf,
        kinds: Iterable[str] = (),
        provider: str | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> list[EventRow]:
        """
        Attempts, calls, probes and events in order of time.

        Args:
            after: Only what follows this row (so that the last row of one page leads to the next), or what was
                written down since this cursor.
            began: From this time on.
            ended: Before this time.
            kinds: Only these classes of events; none: all.
            provider: Only what is about this one.
            limit: The most rows (1 to 100,000).
            newest: The last rows, rather than the first.
        """

        def look(connection: sqlite3.Connection) -> list[EventRow]:
            wanted = Wanted(
                began=began,
                ended=ended,
                kinds=frozenset(kinds),
                targets=_names(connection, provider),
                provider=provider,
                after=feed.key_of(after) if isinstance(after, EventRow) else None,
                since=after if isinstance(after, Cursor) else None,
                newest=newest,
            )
            return feed.rows_of(connection, wanted, _bounded(limit))

        return self._read(look)

    def cursor(self) -> Cursor:
        """Where :meth:`news` goes on from for somebody who wants nothing of the past."""
        return self._read(feed.cursor_of)

    def news(self, cursor: Cursor, limit: int = 1000) -> tuple[list[EventRow], Cursor]:
        """
        What was written down since *cursor*, at most *limit* rows, and the cursor for the next time.

        Nothing is missed and nothing comes twice, whatever time the rows bear: each look is in order by itself, and
        what a process has written late comes late.
        """
        return self._read(
            lambda connection: feed.news_of(connection, cursor, _names(connection, None), _bounded(limit))
        )

    def alerts(self, began: float = -inf, ended: float = inf, limit: int = 1000) -> list[AlertRow]:
        """The last *limit* alerts of a window, in order of time."""
        return self._read(lambda connection: registers.alerts(connection, began, ended, _bounded(limit)))

    def commands(self, command_id: int | None = None, limit: int = 100) -> list[CommandRow]:
        """The last *limit* commands in the order in which they were sent, or that one, with what came of them."""
        return self._read(lambda connection: registers.commands(connection, command_id, _bounded(limit)))

    # What it cost, and what it takes.

    def costs(
        self, first_day: str, last_day: str, by: Sequence[str] = ("provider",), limit: int = _MOST_ROWS
    ) -> list[CostRow]:
        """
        What was spent, the most expensive first.

        Args:
            first_day: In UTC, ``2026-11-24``.
            last_day: It belongs to the time.
            by: What the rows are grouped by: of ``day``, ``provider``, ``model`` and ``tag``. None: one row.
            limit: The most rows.
        """
        return self._read(lambda connection: bookkeeping.costs(connection, first_day, last_day, by, _bounded(limit)))

    def spent(self, day: str, month: str, target: int | None = None) -> tuple[int, int]:
        """
        What was spent on a *day* (``2026-11-24``, UTC) and in a *month* (``2026-11``), in picodollars. Cheap.

        Of the days before *day*, what a process writes late shows within a minute.

        Args:
            day: The day.
            month: The month.
            target: Only with this provider, by its id.
        """
        return self._read(lambda connection: self._spending.spent(connection, day, month, target))

    def size(self) -> StoreSize:
        """How large the store is; counts the rows of every table, which takes a moment where there are millions."""
        return self._read(registers.size)


def _budget(spans: Sequence[Span], sla: float, ended: float, window: float) -> ErrorBudget:
    of_window = uptime.summed_up(spans, ended - window, ended)
    return uptime.error_budget(sla, of_window, uptime.summed_up(spans, ended - min(_HOUR, window), ended))


def _frame(connection: sqlite3.Connection, began: float, ended: float, most: int) -> tallies.Frame:
    return tallies.framed(connection, began, ended, min(most, _MOST_ROWS))


def _names(connection: sqlite3.Connection, provider: str | None) -> Mapping[int, str]:
    return {each.id: each.name for each in registers.targets(connection) if provider in (None, each.name)}


def _bounded(limit: int) -> int:
    return max(1, min(limit, _MOST_ROWS))
