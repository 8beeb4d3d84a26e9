"""
What ``prometheus_client`` is told where several processes answer as one: in its multiprocess mode, as under gunicorn.

There a collector of one's own is not asked. What can be added up over the workers is therefore written into the
library's own metrics, event by event; what is only so at one moment in one process (requests under way, a retry
budget) is left out, but for the states of breakers.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from failsafe import forking
from failsafe.events import AttemptFinished, CallFinished, CircuitState, Event, ProbeFinished, PutOff, StateChanged
from failsafe.integrations.metrics import COUNTER, HISTOGRAM, KINDS_BY_NAME
from failsafe.integrations.tally import (
    ANSWERED,
    DURATIONS,
    FAILED,
    FIRST_CONTENTS,
    KINDS,
    NONE,
    Names,
    known_models,
    outcome_of,
    tokens_by_kind,
)
from failsafe.models import Attempt, Usage
from failsafe.router import Router

_VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_BUCKETS = {"time_to_first_content_seconds": FIRST_CONTENTS}
_OF_ONE_PROCESS = frozenset({"breaker_rejected", "events_dropped", "store_events_dropped"})
"""Counters that are read off a router, and not told by events."""


def is_multiprocess() -> bool:
    """Whether the client library is in its multiprocess mode."""
    return any(os.environ.get(name) for name in _VARIABLES)


class _Shared(NamedTuple):
    """The library's metrics by the names of ours, which all routers of a process write into."""

    counters: Mapping[str, Counter]
    histograms: Mapping[str, Histogram]
    states: Gauge


@functools.cache
def _shared() -> _Shared:
    # In no registry: the files are collected, and a registry would tell the same again.
    kinds = KINDS_BY_NAME.items()
    state = KINDS_BY_NAME["breaker_state"]
    return _Shared(
        counters={
            name: Counter(kind.name, kind.help, kind.labels, registry=None)
            for name, kind in kinds
            if kind.type == COUNTER and name not in _OF_ONE_PROCESS
        },
        histograms={
            name: Histogram(kind.name, kind.help, kind.labels, buckets=_BUCKETS.get(name, DURATIONS), registry=None)
            for name, kind in kinds
            if kind.type == HISTOGRAM
        },
        states=Gauge(state.name, state.help, state.labels, multiprocess_mode="liveall", registry=None),
    )


def share(router: Router, name: str) -> Callable[[], None]:
    """
    Write what the events of *router* tell into the files of this process, under the label *name*.

    Returns:
        A function that ends it.
    """
    return router.on_event(_Writer(router, name), sync=True)


class _Writer:
    """Writes one router's events into the shared metrics. Thread-safe."""

    def __init__(self, router: Router, name: str) -> None:
        self._router = name
        self._names = Names(known_models(router.config))
        self._shared = _shared()
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # guards what is in _names; a signal handler may make a call

    _after_fork = _start_afresh

    def __call__(self, event: Event) -> None:
        match event:
            case AttemptFinished():
                self._attempt(event.attempt)
            case CallFinished():
                outcome = outcome_of(event)
                self._count("calls", self._model(event.asked_model), outcome)
                self._time("call_duration_seconds", event.latency_ms, outcome)
            case StateChanged():
                self._state(event)
            case PutOff():
                self._count("put_offs", event.provider, event.fault.value)
            case ProbeFinished():
                self._count("probes", event.provider, event.kind, event.fault.value if event.fault else NONE)

    def _attempt(self, attempt: Attempt) -> None:
        target = (attempt.provider, self._model(attempt.model))
        fault = NONE if attempt.fault is None else attempt.fault.value
        self._count("attempts", *target, fault)
        outcome = ANSWERED if attempt.fault is None else FAILED
        self._time("attempt_duration_seconds", attempt.latency_ms, *target, outcome)
        if attempt.first_content_ms is not None:
            self._time("time_to_first_content_seconds", attempt.first_content_ms, *target)
        if attempt.hedge:
            self._count("hedges", *target)
        if attempt.maybe_billed:
            self._count("maybe_billed_attempts", *target)
        if attempt.usage is not None:
            self._usage(attempt, attempt.usage, target)

    def _usage(self, attempt: Attempt, usage: Usage, target: tuple[str, str]) -> None:
        for kind, count in zip(KINDS, tokens_by_kind(usage), strict=True):
            if count:
                self._count("tokens", *target, kind, by=count)
        cost = attempt.cost_usd
        if cost is None:
            self._count("unpriced_answers", *target)
        elif cost > 0:
            self._count("cost_usd", *target, by=float(cost))

    def _state(self, event: StateChanged) -> None:
        provider, _, model = event.name.partition(":")
        target = (provider, self._model(model) if model else "")
        if event.new is CircuitState.OPEN:
            self._count("breaker_opened", *target)
        for state in CircuitState:
            self._shared.states.labels(self._router, *target, state.value).set(event.new is state)

    def _count(self, name: str, *labels: str, by: float = 1) -> None:
        self._shared.counters[name].labels(self._router, *labels).inc(by)

    def _time(self, name: str, milliseconds: float, *labels: str) -> None:
        self._shared.histograms[name].labels(self._router, *labels).observe(milliseconds / 1000)

    def _model(self, name: str) -> str:
        with self._lock:
            return self._names.of(name)
