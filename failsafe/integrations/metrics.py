"""
What is exported of a router, as values: the families of metrics, and their samples of one moment.

How they are written is the exporter's affair (``exposition`` for plain text, ``prometheus`` for the client
library), so that both say the same. ``docs/prometheus.md`` lists them.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from failsafe import __version__
from failsafe.circuit import BreakerStats
from failsafe.events import CircuitState
from failsafe.health import ProviderStatus
from failsafe.inbound.readiness import readiness
from failsafe.integrations.tally import ANSWERED, FAILED, KINDS, AttemptCounts, Durations, Tally
from failsafe.router import Router

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"

WINDOWS = {"1h": 3600.0, "24h": 86_400.0, "30d": 30 * 86_400.0}
"""Over which uptime is told, seconds."""

_logger = logging.getLogger("failsafe.metrics")


class Watcher(Protocol):
    """What is asked of a monitor: :class:`failsafe.HealthMonitor` has it."""

    def get_uptime_percentage(self, provider: str, window: float = ...) -> float | None:
        """The percentage of the last *window* seconds in which *provider* was up; None: not known."""


class Source(NamedTuple):
    """
    A router to export.

    Attributes:
        router: The router.
        tally: What its events have told.
        name: What tells it from other routers of the process, or "".
        monitor: Who watches its providers, or None.
    """

    router: Router
    tally: Tally
    name: str = ""
    monitor: Watcher | None = None


class Spread(NamedTuple):
    """A histogram's value: how many are no greater than each bound (the last one is infinite), and their sum."""

    up_to: tuple[tuple[str, int], ...]
    total: float


Value = float | Spread


class Kind(NamedTuple):
    """
    One family of metrics, without samples.

    Attributes:
        name: Without the suffixes that its type brings with it (``_total``, ``_bucket``, ``_info``).
        type: ``counter``, ``gauge``, ``histogram`` or ``info``.
        help: What it says.
        labels: The names of its labels.
    """

    name: str
    type: str
    help: str
    labels: tuple[str, ...]


class Family(NamedTuple):
    """One family of metrics with its samples: the values of its labels, and the value."""

    kind: Kind
    samples: list[tuple[tuple[str, ...], Value]]


def _kinds(*rows: tuple[str, str, str, str]) -> dict[str, Kind]:
    return {name: _kind(name, kind, labels.split(), text) for name, kind, labels, text in rows}


def _kind(name: str, kind: str, labels: list[str], text: str) -> Kind:
    if kind == INFO:
        return Kind("failsafe", kind, text, tuple(labels))
    return Kind(f"failsafe_{name}", kind, text, ("router", *labels))


KINDS_BY_NAME: Mapping[str, Kind] = _kinds(
    ("calls", COUNTER, "model outcome", "Calls that ended, by the model asked for and how they ended."),
    ("call_duration_seconds", HISTOGRAM, "outcome", "Whole calls, with all their attempts and waits."),
    ("attempts", COUNTER, "provider model fault", "Requests that ended, by what went wrong."),
    ("attempt_duration_seconds", HISTOGRAM, "provider model outcome", "Single requests."),
    ("time_to_first_content_seconds", HISTOGRAM, "provider model", "From sending to the first content of a stream."),
    ("hedges", COUNTER, "provider model", "Requests that were sent beside a slow one."),
    ("tokens", COUNTER, "provider model kind", "Tokens of answers, each counted under one kind."),
    ("cost_usd", COUNTER, "provider model", "What answers of known price cost, USD."),
    ("unpriced_answers", COUNTER, "provider model", "Answers whose price is not known."),
    ("maybe_billed_attempts", COUNTER, "provider model", "Failed requests that may be charged for all the same."),
    ("put_offs", COUNTER, "provider fault", "Times that a key, a model or a provider was left alone."),
    ("probes", COUNTER, "provider kind fault", "Probes that ended, by what went wrong."),
    ("breaker_opened", COUNTER, "provider model", "Times that the breaker opened."),
    ("breaker_rejected", COUNTER, "provider model", "Requests that the breaker refused."),
    ("breaker_state", GAUGE, "provider model state", "1 for the state that the breaker is in, else 0."),
    ("provider_status", GAUGE, "provider status", "1 for how the provider is doing, else 0."),
    ("provider_ready", GAUGE, "provider", "Whether a call that came now might be sent to it."),
    ("draining", GAUGE, "provider", "Whether new calls are held off."),
    ("in_flight", GAUGE, "provider", "Requests under way."),
    ("put_off", GAUGE, "provider", "Keys and models that are left alone now."),
    ("retry_budget", GAUGE, "provider", "Extra tries left."),
    ("uptime_ratio", GAUGE, "provider window", "Share of the known time in which it was up."),
    ("events_dropped", COUNTER, "", "Events that no listener saw."),
    ("store_degraded", GAUGE, "", "Whether the store records nothing at the moment."),
    ("store_events_dropped", COUNTER, "", "Events that the store did not take."),
    ("info", INFO, "version", "The version of failsafe."),
)

_Rows = dict[str, dict[tuple[str, ...], Any]]


def empty_families() -> list[Family]:
    """Every family, without samples."""
    return [Family(kind, []) for kind in KINDS_BY_NAME.values()]


def families(sources: Iterable[Source]) -> list[Family]:
    """
    Every family, with the samples of all *sources*.

    Asks no provider and, but for the uptime that a monitor tells, no disk. Thread-safe.
    """
    rows: _Rows = defaultdict(dict)
    for source in sources:
        for name, labels, value in _samples(source):
            _put(rows[name], (source.name, *labels), value)
    rows["info"] = {(__version__,): 1.0}
    return [Family(kind, list(rows[name].items())) for name, kind in KINDS_BY_NAME.items()]


def _put(found: dict[tuple[str, ...], Any], labels: tuple[str, ...], value: Value) -> None:
    # Breakers of models that go by the name "other" together are added up.
    found[labels] = found[labels] + value if labels in found and not isinstance(value, Spread) else value


_Sample = tuple[str, tuple[str, ...], Value]


def _samples(source: Source) -> Iterator[_Sample]:
    everything = source.router.stats()
    with source.tally.counted():
        yield from _counts(source.tally)
        yield from _breakers(source.tally, everything)
    yield from _gauges(source.router, everything)
    yield "events_dropped", (), float(source.router.dropped_events)
    yield from _store(source.router)
    yield from _uptimes(source)


def _counts(tally: Tally) -> Iterator[_Sample]:
    for (model, outcome), count in tally.calls.items():
        yield "calls", (model, outcome), float(count)
    for outcome, durations in tally.call_durations.items():
        yield "call_duration_seconds", (outcome,), spread(durations)
    for target, counts in tally.attempts.items():
        for name, labels, value in _attempts(counts):
            yield name, (*target, *labels), value
    for (provider, fault), count in tally.put_offs.items():
        yield "put_offs", (provider, fault), float(count)
    for labels, count in tally.probes.items():
        yield "probes", labels, float(count)


def _attempts(counts: AttemptCounts) -> Iterator[_Sample]:
    for fault, count in counts.faults.items():
        yield "attempts", (fault,), float(count)
    for outcome, durations in ((ANSWERED, counts.answered), (FAILED, counts.failed)):
        if len(durations):
            yield "attempt_duration_seconds", (outcome,), spread(durations)
    if len(counts.first_content):
        yield "time_to_first_content_seconds", (), spread(counts.first_content)
    for kind, count in zip(KINDS, counts.tokens, strict=True):
        yield "tokens", (kind,), float(count)
    yield "hedges", (), float(counts.hedges)
    yield "cost_usd", (), float(counts.usd)
    yield "unpriced_answers", (), float(counts.unpriced)
    yield "maybe_billed_attempts", (), float(counts.maybe_billed)


def spread(durations: Durations) -> Spread:
    """*durations* as a histogram's value."""
    up_to, seen = [], 0
    for bound, count in zip((*map(str, durations.bounds), "+Inf"), durations.counts, strict=True):
        seen += count
        up_to.append((bound, seen))
    return Spread(tuple(up_to), durations.total)


def _breakers(tally: Tally, everything: Mapping[str, Mapping[str, Any]]) -> Iterator[_Sample]:
    """Every breaker that calls go through; ``model`` is "" for the one of a whole provider."""
    for name, stats in everything.items():
        breakers: Mapping[str, BreakerStats] = stats["breakers"] or {"": stats["breaker"]}
        for model, breaker in breakers.items():
            target = (name, tally.names.of(model) if model else "")
            yield "breaker_opened", target, float(breaker.opened)
            yield "breaker_rejected", target, float(breaker.rejected)
            for state in CircuitState:
                yield "breaker_state", (*target, state.value), float(breaker.state is state)


def _gauges(router: Router, everything: Mapping[str, Mapping[str, Any]]) -> Iterator[_Sample]:
    ready = readiness(router)
    for name, stats in everything.items():
        yield "provider_ready", (name,), float(ready[name])
        for status in ProviderStatus:
            yield "provider_status", (name, status.value), float(stats["status"] == status.value)
        for key in ("draining", "in_flight", "retry_budget"):
            yield key, (name,), float(stats[key])
        yield "put_off", (name,), float(len(stats["put_off"]))


def _store(router: Router) -> Iterator[_Sample]:
    store = getattr(router, "store", None)
    if store is not None:
        yield "store_degraded", (), float(store.degraded is not None)
        yield "store_events_dropped", (), float(store.dropped)


def _uptimes(source: Source) -> Iterator[_Sample]:
    if source.monitor is None:
        return
    for provider in source.router.providers:
        for window, seconds in WINDOWS.items():
            try:
                percentage = source.monitor.get_uptime_percentage(provider, seconds)
            except Exception:  # what cannot be told must not hide all the rest
                _logger.exception("the monitor could not tell the uptime of %s", provider)
                return
            if percentage is not None:
                yield "uptime_ratio", (provider, window), percentage / 100
