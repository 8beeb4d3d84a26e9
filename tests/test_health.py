"""How a provider is doing."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe.events import CircuitState
from failsafe.health import ProviderStatus, judge

WELL = {"breakers": [CircuitState.CLOSED], "usable_keys": 1, "some_off": False, "observed": True}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, ProviderStatus.HEALTHY),
        ({"observed": False}, ProviderStatus.UNKNOWN),
        ({"breakers": [CircuitState.DISABLED]}, ProviderStatus.HEALTHY),
        ({"breakers": [CircuitState.HALF_OPEN]}, ProviderStatus.DEGRADED),
        ({"some_off": True}, ProviderStatus.DEGRADED),
        ({"breakers": [CircuitState.OPEN]}, ProviderStatus.DOWN),
        ({"breakers": [CircuitState.FORCED_OPEN], "observed": False}, ProviderStatus.DOWN),
        ({"breakers": [CircuitState.OPEN, CircuitState.CLOSED]}, ProviderStatus.DEGRADED),
        ({"breakers": [CircuitState.OPEN, CircuitState.FORCED_OPEN]}, ProviderStatus.DOWN),
        ({"usable_keys": 0, "some_off": True}, ProviderStatus.DOWN),
    ],
)
def test_judgement(changed: dict[str, Any], status: ProviderStatus) -> None:
    assert judge(**{**WELL, **changed}) is status
