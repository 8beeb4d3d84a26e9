"""Whether a router can answer at all: what the health check of a server over it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failsafe.circuit import BreakerStats
from failsafe.events import CircuitState
from failsafe.router import Router


def readiness(router: Router) -> dict[str, bool]:
    """
    For each enabled provider, whether a call that came now might be sent to it.

    A breaker that is open and due for a probe counts as ready: were it not, a server would be taken out of
    service, get no more calls, and nothing could ever close the breaker again.
    """
    keys = {provider.name: max(len(provider.keys), 1) for provider in router.config.providers}
    return {name: _is_ready(stats, keys[name]) for name, stats in router.stats().items()}


def health(router: Router) -> tuple[int, dict[str, Any]]:
    """The status and the JSON body of a health check: 200 while any provider is ready, else 503; it names none."""
    ready = readiness(router)
    able = any(ready.values())
    body = {"status": "ok" if able else "unavailable", "providers": {"ready": sum(ready.values()), "all": len(ready)}}
    return 200 if able else 503, body


def _is_ready(stats: Mapping[str, Any], keys: int) -> bool:
    off = {each["key"] for each in stats["put_off"] if each["model"] is None}  # with the key None: whatever the key
    breakers = list(stats["breakers"].values()) or [stats["breaker"]]
    return not stats["draining"] and None not in off and len(off) < keys and any(map(_admits, breakers))


def _admits(breaker: BreakerStats) -> bool:
    if breaker.state is CircuitState.OPEN:
        return not breaker.retry_after
    return breaker.state is not CircuitState.FORCED_OPEN
