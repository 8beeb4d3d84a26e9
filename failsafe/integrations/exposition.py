"""A router's counts in Prometheus' text format, and as plain JSON values that give nothing away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from failsafe.circuit import BreakerStats
from failsafe.events import CircuitState
from failsafe.inbound.readiness import readiness
from failsafe.router import Router

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of :func:`metrics`."""

_SHOWN = ("status", "requests", "successes", "failures", "success_rate", "faults", "p95_ms", "in_flight", "draining")
_SHOWN_OF_BREAKERS = ("state", "retry_after", "streak", "opened", "rejected")
_SHOWN_OF_PUT_OFF = ("model", "fault", "retry_after")

Labels = Mapping[str, str]


class _Family(NamedTuple):
    """One metric with its samples, each with its labels."""

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[Labels, float]]


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


def metrics(router: Router) -> str:
    """
    The counts in Prometheus' text format 0.0.4.

    Each sample carries the process's id: the workers of a server count apart, and whichever is asked answers for
    itself alone, so that without the id their counters would seem to jump back and forth.
    """
    process = {"pid": str(os.getpid())}
    return "".join(line for family in _families(router) for line in _lines(family, process))


def _families(router: Router) -> Iterator[_Family]:
    everything = router.stats()

    def each(key: str) -> list[tuple[Labels, float]]:
        return [({"provider": name}, float(stats[key])) for name, stats in everything.items()]

    ready = [({"provider": name}, float(able)) for name, able in readiness(router).items()]
    yield _Family("failsafe_provider_ready", "gauge", "Whether a call that came now might be sent to it.", ready)
    yield _Family("failsafe_attempts_total", "counter", "Attempts that ended.", each("requests"))
    yield _Family("failsafe_successes_total", "counter", "Attempts that were answered.", each("successes"))
    yield _Family("failsafe_faults_total", "counter", "Faults seen, by kind.", list(_faults(everything)))
    yield _Family("failsafe_in_flight", "gauge", "Attempts under way.", each("in_flight"))
    yield _Family("failsafe_draining", "gauge", "Whether new calls are held off.", each("draining"))
    yield _Family("failsafe_retry_budget", "gauge", "Extra tries left.", each("retry_budget"))
    yield _Family(
        "failsafe_put_off",
        "gauge",
        "Keys and models that are left alone now.",
        [({"provider": name}, float(len(stats["put_off"]))) for name, stats in everything.items()],
    )
    yield _Family(
        "failsafe_latency_p95_seconds",
        "gauge",
        "95th percentile of the latest answers' times.",
        [({"provider": n}, stats["p95_ms"] / 1000) for n, stats in everything.items() if stats["p95_ms"] is not None],
    )
    breakers = list(_breakers(everything))
    yield _Family(
        "failsafe_breaker_state",
        "gauge",
        "1 for the state that the breaker is in.",
        [
            ({**labels, "state": str(state)}, float(breaker.state is state))
            for labels, breaker in breakers
            for state in CircuitState
        ],
    )
    yield _Family(
        "failsafe_breaker_opened_total",
        "counter",
        "How often the breaker opened.",
        [(labels, float(breaker.opened)) for labels, breaker in breakers],
    )
    yield _Family(
        "failsafe_breaker_rejected_total",
        "counter",
        "Attempts that the breaker refused.",
        [(labels, float(breaker.rejected)) for labels, breaker in breakers],
    )
    dropped: list[tuple[Labels, float]] = [({}, float(router.dropped_events))]
    yield _Family("failsafe_events_dropped_total", "counter", "Events that no listener saw.", dropped)


def _faults(everything: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Labels, float]]:
    for name, stats in everything.items():
        for fault, count in stats["faults"].items():
            yield {"provider": name, "fault": fault}, float(count)


def _breakers(everything: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Labels, BreakerStats]]:
    """Every breaker that calls go through; ``model`` is "" for the one of a whole provider."""
    for name, stats in everything.items():
        for model, breaker in stats["breakers"].items() or [("", stats["breaker"])]:
            yield {"provider": name, "model": model}, breaker


def _lines(family: _Family, common: Labels) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    for labels, value in family.samples:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in {**labels, **common}.items())
        yield f"{family.name}{{{pairs}}} {value:.17g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
