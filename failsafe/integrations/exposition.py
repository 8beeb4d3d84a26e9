"""A router's metrics in Prometheus' text format, and its counts as plain JSON values that give nothing away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from failsafe.circuit import BreakerStats
from failsafe.inbound.readiness import readiness
from failsafe.integrations.metrics import COUNTER, INFO, Family, Source, Spread, Value, families
from failsafe.router import Router

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of :func:`metrics`."""

_SHOWN = ("status", "requests", "successes", "failures", "success_rate", "faults", "p95_ms", "in_flight", "draining")
_SHOWN_OF_BREAKERS = ("state", "retry_after", "streak", "opened", "rejected")
_SHOWN_OF_PUT_OFF = ("model", "fault", "retry_after")
_SUFFIXES = {COUNTER: "_total", INFO: "_info"}

Labels = Iterable[tuple[str, str]]


def status(router: Router) -> dict[str, Any]:
    """
    What ``Router.stats()`` says, as JSON values.

    What may hold a provider's own words (the latest fault's message, why a breaker opened) and the fingerprints of
    keys are left out: nobody knows who reads it.
    """
    ready = readiness(router)
    return {
        "pid": os.getpid(),
        "dropped_events": router.dropped_events,
        "providers": {name: {"ready": ready[name], **_shown(stats)} for name, stats in router.stats().items()},
    }


def _shown(stats: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: stats[name] for name in _SHOWN},
        "breaker": _shown_breaker(stats["breaker"]),
        "breakers": {model: _shown_breaker(breaker) for model, breaker in stats["breakers"].items()},
        "put_off": [{name: each[name] for name in _SHOWN_OF_PUT_OFF} for each in stats["put_off"]],
        "retry_budget": stats["retry_budget"],
    }


def _shown_breaker(breaker: BreakerStats) -> dict[str, Any]:
    return {name: getattr(breaker, name) for name in _SHOWN_OF_BREAKERS}


def metrics(source: Source) -> str:
    """
    The metrics of :func:`failsafe.integrations.metrics.families` in Prometheus' text format 0.0.4.

    Each sample carries the process's id: the workers of a server count apart, and whichever is asked answers for
    itself alone, so that without the id their counters would seem to jump back and forth.
    """
    process = ("pid", str(os.getpid()))
    return "".join(line for family in families([source]) for line in _lines(family, process))


def _lines(family: Family, process: tuple[str, str]) -> Iterator[str]:
    kind = family.kind
    name = kind.name + _SUFFIXES.get(kind.type, "")
    yield f"# HELP {name} {kind.help}\n# TYPE {name} {'gauge' if kind.type == INFO else kind.type}\n"
    for values, value in family.samples:
        labels = [*zip(kind.labels, values, strict=True), process]
        yield from _sample(name, labels, value)


def _sample(name: str, labels: list[tuple[str, str]], value: Value) -> Iterator[str]:
    if not isinstance(value, Spread):
        yield f"{name}{_in_braces(labels)} {value:.17g}\n"
        return
    for bound, count in value.up_to:
        yield f"{name}_bucket{_in_braces([*labels, ('le', bound)])} {count}\n"
    yield f"{name}_sum{_in_braces(labels)} {value.total:.17g}\n"
    yield f"{name}_count{_in_braces(labels)} {value.up_to[-1][1]}\n"


def _in_braces(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
    return f"{{{pairs}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
