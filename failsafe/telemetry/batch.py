"""
Turns events into rows and counts, and writes them in one transaction.

Whatever has come into a batch can be written more than once: again after a failure, and into another database. It
therefore holds no number that a database has given; those are looked up as it is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, ClassVar, NamedTuple

from failsafe.events import (
    Alert,
    AttemptFinished,
    CallFinished,
    CallStarted,
    CommandCarriedOut,
    Event,
    ModelSubstituted,
    NetworkChanged,
    ProbeFinished,
    PutOff,
    StateChanged,
    StatusChanged,
    WatchChanged,
)
from failsafe.faults import Fault
from failsafe.telemetry import rollups, rows, statements
from failsafe.telemetry.costs import CostSum
from failsafe.telemetry.database import transaction
from failsafe.telemetry.numbering import MOST_CLAIMED, Numbers
from failsafe.telemetry.outcomes import Outcome, outcome_of
from failsafe.telemetry.records import Source, Target
from failsafe.telemetry.rollups import Identity, Span, Tally
from failsafe.telemetry.rows import Absurd, BreakerLook, Row
from failsafe.telemetry.schema import ROLLUPS
from failsafe.telemetry.texts import CallTexts

_SHORTEST = ROLLUPS[0]
_QUARTER = 900
_DAY = 86_400
_LATEST = 2.0**35
"""Seconds since 1970-01-01 UTC: a thousand years from now."""
_EPOCH = date(1970, 1, 1)

_REFUSED_BY_SQLITE = (
    TypeError, ValueError, OverflowError,  # UnicodeEncodeError is a ValueError
    sqlite3.InterfaceError, sqlite3.ProgrammingError,
)  # fmt: skip
"""What a value raises that SQLite cannot hold."""


class _Sums(NamedTuple):
    """What is added up, ready to be written."""

    spans: Mapping[int, Mapping[tuple[int, Identity], Span]]
    costs: Mapping[tuple[int, Identity, str, str], Row]


class Batch:
    """
    Events on their way into the store. Not thread-safe; once it was written, nothing is added to it.

    Attributes:
        events: How many have come in.
        refused: Of those, how many are left out, as they say what cannot be (NaN, a time a thousand years from now).
        mirrored: For whoever holds it: whether it was also written elsewhere.
    """

    def __init__(self) -> None:
        self.events = 0
        self.refused = 0
        self.mirrored = False
        self._targets: dict[Target, None] = {}
        self._attempts: dict[tuple[Target, str], list[Row]] = {}
        self._calls: dict[tuple[Target | None, str | None], list[Row]] = {}
        self._probes: dict[Target, list[Row]] = {}
        self._texts: list[Row] = []
        self._rare: list[tuple[Target | None, Row]] = []
        self._alerts: list[tuple[Target | None, Row]] = []
        self._breakers: list[tuple[Target, Row, str]] = []
        self._watch: list[tuple[Target | None, float, str, str]] = []
        self._faults: dict[tuple[int, Target, Fault], int] = {}
        self._costs: dict[tuple[int, Target, str, str], CostSum] = {}
        self._tallies: dict[tuple[int, Target], Tally] = {}
        self._sums: _Sums | None = None

    def add(self, source: Source, event: Event, now: float | None = None) -> None:
        """
        Take *event* in. Never raises an ``Exception``: what cannot be is left out and counted.

        Args:
            source: Who has recorded it.
            event: Any event; those that the store does not keep are passed over.
            now: Seconds since 1970-01-01 UTC; what claims to come from more than a day later is left out.
        """
        self.events += 1
        try:
            at = float(event.at)
            if not 0.0 <= at <= (_LATEST if now is None else now + _DAY):
                raise Absurd  # noqa: TRY301 -- it ends where all that is wrong with an event ends
            handler = self._HANDLERS.get(type(event)) or self._handler_of(event)
            handler(self, source, event, at)
        except Exception:  # noqa: BLE001 -- whatever a subclass of somebody's does: no other event must be lost with it
            self.refused += 1

    def breaker_snapshot(self, source: Source, name: str, stats: BreakerLook, threshold: int | None, at: float) -> None:
        """
        Take in how the breaker called *name* is at the moment.

        Args:
            source: Whose it is.
            name: The breaker's name: ``provider``, or ``provider:model``.
            stats: How it is.
            threshold: How many failures in a row open it, or None.
            at: The moment, seconds since 1970-01-01 UTC.
        """
        self.events += 1
        row = rows.breaker_row(name, stats, threshold, source.router, at)
        self._breakers.append((self._about(source.target_of_breaker(name)), row, statements.BREAKER_SEEN))

    # Each of these looks at all that it needs before it keeps any of it, so that an event is taken in or left out.

    def _add_attempt(self, source: Source, event: AttemptFinished, at: float) -> None:
        attempt, tag = event.attempt, event.tag
        target, model, fault = source.target(attempt.provider), attempt.model, attempt.fault
        if tag.__class__ is not str or model.__class__ is not str:
            raise Absurd
        cost = source.reckoner.picodollars(attempt)
        row = rows.attempt_row(event, at, cost)
        outcome = outcome_of(fault, blamed=attempt.blamed)

        answered = target, model
        group = self._attempts.get(answered)
        if group is None:
            group = self._attempts[self._about(target), model] = []
        group.append(row)
        if fault is None:
            tally = self._tally(at, target)
            latency, first_content = row[2], row[3]
            tally.latencies.append(latency)
            if first_content is not None:
                tally.streams.append((first_content, row[14] or 0, latency - first_content))
        elif outcome is not None:
            self._count_fault(at, target, fault, outcome)
        if fault is None or attempt.maybe_billed:
            key = int(at // _DAY), target, model, tag
            costs = self._costs.get(key)
            if costs is None:
                costs = self._costs[key] = CostSum()
            costs.add(attempt, cost)

    def _add_call(self, source: Source, event: CallFinished, at: float) -> None:
        model, provider = event.model, event.provider
        row = rows.call_row(event, at)
        if model is not None and model.__class__ is not str:
            raise Absurd
        target = None if provider is None else source.target(provider)
        group = self._calls.get((target, model))
        if group is None:
            group = self._calls[target and self._about(target), model] = []
        group.append(row)

    def _add_texts(self, _source: Source, event: CallTexts, at: float) -> None:
        self._texts.append(rows.texts_row(event, at))

    def _add_probe(self, source: Source, event: ProbeFinished, at: float) -> None:
        target, fault = source.target(event.provider), event.fault
        row, outcome = rows.probe_row(event, at), outcome_of(fault, blamed=event.blamed)
        self._probes.setdefault(self._about(target), []).append(row)
        if fault is None:
            self._tally(at, target).latencies.append(row[4])
        elif outcome is not None:
            self._count_fault(at, target, fault, outcome)

    def _tally(self, at: float, target: Target) -> Tally:
        key = int(at // _SHORTEST), target
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(at)
        elif at < tally.first:
            tally.first = at
        return tally

    def _count_fault(self, at: float, target: Target, fault: Fault, outcome: Outcome) -> None:
        self._tally(at, target).count(outcome)
        key = int(at // _QUARTER), target, fault
        self._faults[key] = self._faults.get(key, 0) + 1

    def _add_rare(self, source: Source, event: Any, at: float) -> Target | None:
        row = rows.event_row(event, at)
        target = self._about(source.target(event.provider)) if event.provider else None
        self._rare.append((target, row))
        return target

    def _add_network(self, _source: Source, event: NetworkChanged, at: float) -> None:
        row, note = rows.event_row(event, at), rows.masked(event.reason)
        self._rare.append((None, row))
        self._watch.append((None, at, "online" if event.up else "offline", note))

    def _add_watch(self, source: Source, event: WatchChanged, at: float) -> None:
        state, note = rows.word(event.state), rows.masked(event.note)
        self._watch.append((self._add_rare(source, event, at), at, state, note))

    def _add_alert(self, source: Source, event: Alert, at: float) -> None:
        row = rows.alert_row(event, at)
        self._alerts.append((self._add_rare(source, event, at), row))

    def _add_state(self, source: Source, event: StateChanged, at: float) -> None:
        state, row = rows.state_row(event, source.router, at), rows.event_row(event, at)
        target = self._about(source.target_of_breaker(event.name))
        self._rare.append((target, row))
        self._breakers.append((target, state, statements.BREAKER_CHANGED))

    def _pass_over(self, _source: Source, _event: Event, _at: float) -> None:
        """It is for those alone who listen."""

    def _about(self, target: Target) -> Target:
        """Take note that *target* will need its number."""
        self._targets[target] = None
        return target

    _HANDLERS: ClassVar[dict[type, Callable[[Batch, Source, Any, float], object]]] = {
        AttemptFinished: _add_attempt,
        CallFinished: _add_call,
        CallStarted: _pass_over,
        CallTexts: _add_texts,
        ProbeFinished: _add_probe,
        StateChanged: _add_state,
        PutOff: _add_rare,
        ModelSubstituted: _add_rare,
        StatusChanged: _add_rare,
        NetworkChanged: _add_network,
        WatchChanged: _add_watch,
        Alert: _add_alert,
        CommandCarriedOut: _add_rare,
    }

    def _handler_of(self, event: Event) -> Callable[[Batch, Source, Any, float], object]:
        """What takes in an event of somebody's subclass; raises ``StopIteration`` if there is nothing."""
        return next(self._HANDLERS[kind] for kind in type(event).__mro__ if kind in self._HANDLERS)

    def write(self, connection: sqlite3.Connection, process: int, now: float) -> None:
        """
        Write all of it in one transaction, or nothing.

        Args:
            connection: To a store, outside of a transaction.
            process: Who writes: the process's id in the store.
            now: Seconds since 1970-01-01 UTC: the process is alive by then.

        Raises:
            sqlite3.Error: It was not written; it may be tried again, there or elsewhere.
        """
        rollups.register(connection)
        try:
            self._write(connection, process, now)
        except _REFUSED_BY_SQLITE:
            if not self._leave_out_unfit():
                raise
            self._write(connection, process, now)

    def _write(self, connection: sqlite3.Connection, process: int, now: float) -> None:
        sums = self._sums
        if sums is None:
            sums = self._sums = self._summed()
        with transaction(connection):
            numbers = Numbers(connection, self._targets)
            self._write_calls(connection, process, numbers)
            self._write_rare(connection, process, numbers)
            _write_sums(connection, sums, numbers)
            _many(connection, statements.FAULTS, [
                (slot * _QUARTER, numbers.target(target), fault._value_, count)
                for (slot, target, fault), count in self._faults.items()
            ])  # fmt: skip
            connection.execute(statements.ALIVE, (now, process))

    def _write_calls(self, connection: sqlite3.Connection, process: int, numbers: Numbers) -> None:
        for (target, model), group in self._attempts.items():
            head = process, numbers.target(target), numbers.model(rows.word(model))
            connection.executemany(statements.ATTEMPTS, [head + row for row in group])
        for (who, answered), group in self._calls.items():
            said = None if answered is None else numbers.model(rows.word(answered), MOST_CLAIMED)
            about = process, numbers.target(who), said
            connection.executemany(statements.CALLS, [about + row for row in group])
        for target, group in self._probes.items():
            probed = process, numbers.target(target)
            connection.executemany(statements.PROBES, [probed + row for row in group])
        _many(connection, statements.TEXTS, [(process, *row) for row in self._texts])

    def _write_rare(self, connection: sqlite3.Connection, process: int, numbers: Numbers) -> None:
        for statement, entries in ((statements.EVENTS, self._rare), (statements.ALERTS, self._alerts)):
            _many(connection, statement, [(process, numbers.target(target), *row) for target, row in entries])
        for target, row, statement in self._breakers:
            connection.execute(statement, (process, numbers.target(target), *row))
        for watched, at, state, note in self._watch:
            number = numbers.target(watched)
            connection.execute(statements.WATCH_ENDS, (at, number, state))
            if state not in _USUAL:
                connection.execute(statements.WATCH_BEGINS, (number, state, at, note, number))

    def _summed(self) -> _Sums:
        """What is added up, over all targets that are one in the store though several routers have configured them."""
        spans: dict[tuple[int, Identity], Span] = {}
        for (slot, target), tally in self._tallies.items():
            span, place = tally.span(target.info.latency_limit), (slot * _SHORTEST, target.identity)
            known = spans.get(place)
            spans[place] = span if known is None else known.merged(span)
        by_width = {_SHORTEST: spans}
        for width in ROLLUPS[1:]:
            spans = by_width[width] = rollups.longer(spans, width)
        costs: dict[tuple[int, Identity, str, str], Row] = {}
        for (day, target, model, tag), cost in self._costs.items():
            key, row = (day, target.identity, rows.word(model), rows.word(tag)), cost.row()
            earlier = costs.get(key)
            costs[key] = row if earlier is None else tuple(map(sum, zip(earlier, row, strict=True)))
        return _Sums(by_width, costs)

    def _leave_out_unfit(self) -> bool:
        """Leave out the rows that SQLite cannot hold; whether there were any."""
        before = self.refused
        for group in (*self._attempts.values(), *self._calls.values(), *self._probes.values(), self._texts):
            group[:] = self._fit(group, lambda row: row)
        self._rare = self._fit(self._rare, lambda entry: entry[1])
        self._alerts = self._fit(self._alerts, lambda entry: entry[1])
        self._breakers = self._fit(self._breakers, lambda entry: entry[1])
        return self.refused > before

    def _fit(self, entries: list[Any], row_of: Callable[[Any], Row]) -> list[Any]:
        kept = [entry for entry in entries if rows.fits(row_of(entry))]
        self.refused += len(entries) - len(kept)
        return kept


_USUAL = ("watched", "online")


def _write_sums(connection: sqlite3.Connection, sums: _Sums, numbers: Numbers) -> None:
    for width, spans in sums.spans.items():
        # In ascending order, so that they are put in side by side.
        ready = sorted(span.row(at, numbers.identity(target)) for (at, target), span in spans.items())
        _many(connection, statements.ROLLUP[width], ready)
    _many(connection, statements.COSTS, [
        ((_EPOCH + timedelta(day)).isoformat(), numbers.identity(target), numbers.model(model), tag, *row)
        for (day, target, model, tag), row in sums.costs.items()
    ])  # fmt: skip


def _many(connection: sqlite3.Connection, statement: str, ready: list[Row]) -> None:
    if ready:
        connection.executemany(statement, ready)
