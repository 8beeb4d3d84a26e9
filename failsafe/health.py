"""How a provider is doing, judged from what its calls have shown."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from failsafe.events import CircuitState


class ProviderStatus(StrEnum):
    """How a provider is doing."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """Usable with reservations: some key or model is left alone, or the breaker is probing."""
    DOWN = "down"
    """No call goes there now, or only one that finds out whether it is back."""
    UNKNOWN = "unknown"
    """Nothing was observed yet."""


def judge(*, breakers: Collection[CircuitState], usable_keys: int, some_off: bool, observed: bool) -> ProviderStatus:
    """
    Judge one provider.

    Args:
        breakers: The states of its breakers: one, or one for each model.
        usable_keys: Keys that are not put off for every model; a provider that needs none counts as having one.
        some_off: Whether any key or model is put off.
        observed: Whether any attempt has ended.
    """
    shut = sum(state in (CircuitState.OPEN, CircuitState.FORCED_OPEN) for state in breakers)
    if shut == len(breakers) or usable_keys == 0:
        return ProviderStatus.DOWN
    if shut or CircuitState.HALF_OPEN in breakers or some_off:
        return ProviderStatus.DEGRADED
    return ProviderStatus.HEALTHY if observed else ProviderStatus.UNKNOWN
