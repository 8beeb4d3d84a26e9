"""How a provider is doing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failsafe.events import CircuitState
from failsafe.health import ProviderStatus, Signs, assess, enough, judge
from failsafe.monitoring_config import MonitorConfig

HEALTHY, DEGRADED = ProviderStatus.HEALTHY, ProviderStatus.DEGRADED
DOWN, UNKNOWN = ProviderStatus.DOWN, ProviderStatus.UNKNOWN

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


CONFIG = MonitorConfig()
WORKING = Signs(silent_for=10.0, answered=10, failed=0, p95_ms=200.0)
CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN
FORCED_OPEN = CircuitState.FORCED_OPEN

ROWS: list[tuple[str, dict[str, Any], ProviderStatus, str]] = [
    ("works", {}, HEALTHY, "10 answers and 0 failures in the last 5 min, 95 % within 200 ms"),
    ("never seen", {"silent_for": None}, UNKNOWN, "nothing was observed yet"),
    ("long unseen", {"silent_for": 76.0}, UNKNOWN, "nothing was observed for 76 s, more than 2.5 intervals of 30 s"),
    ("seen just in time", {"silent_for": 75.0}, HEALTHY, "10 answers and 0 failures"),
    ("paused", {"watch": "paused", "note": "holidays"}, UNKNOWN, "watching it is paused (holidays)"),
    ("in maintenance", {"watch": "maintenance"}, UNKNOWN, "it is in maintenance"),
    ("paused while its breaker is open", {"watch": "paused", "breakers": (OPEN,)}, UNKNOWN, "watching it is paused"),
    ("no network here", {"offline": True, "streak": 9}, UNKNOWN, "this machine's network is down"),
    ("no network, breaker open", {"offline": True, "breakers": (OPEN,)}, UNKNOWN, "this machine's network is down"),
    ("breaker open", {"breakers": (OPEN,), "breaker_reason": "5 in a row"}, DOWN, "its circuit breaker is open (5 in"),
    ("forced open", {"breakers": (FORCED_OPEN,)}, DOWN, "its circuit breaker is open"),
    ("breaker open, unseen", {"breakers": (OPEN,), "silent_for": None}, DOWN, "its circuit breaker is open"),
    ("every model's breaker open", {"breakers": (OPEN, FORCED_OPEN)}, DOWN, "all its circuit breakers are open"),
    ("one model's breaker open", {"breakers": (OPEN, CLOSED)}, DEGRADED, "1 of its 2 circuit breakers are open"),
    ("breaker half-open", {"breakers": (HALF_OPEN,)}, DEGRADED, "its circuit breaker is half-open"),
    ("breaker disabled", {"breakers": (CircuitState.DISABLED,)}, HEALTHY, "10 answers"),
    ("one failure", {"streak": 1}, DEGRADED, "1 failure since its last answer (3 make it down)"),
    ("two failures", {"streak": 2}, DEGRADED, "2 failures since its last answer (3 make it down)"),
    ("three failures", {"streak": 3}, DOWN, "3 failures without an answer between (3 make it down)"),
    ("three failures long ago", {"streak": 3, "silent_for": 80.0}, UNKNOWN, "nothing was observed for 80 s"),
    ("few fail", {"answered": 99, "failed": 4}, HEALTHY, "99 answers and 4 failures"),
    ("some fail", {"answered": 19, "failed": 1}, DEGRADED, "1 of 20 failed in the last 5 min (the limit is 5 %)"),
    ("half fail", {"answered": 5, "failed": 5}, DOWN, "5 of 10 failed in the last 5 min (the limit is 50 %)"),
    ("too few to tell", {"answered": 5, "failed": 4}, HEALTHY, "5 answers and 4 failures"),
    ("slow", {"latency_limit_ms": 199.0}, DEGRADED, "5 % of its answers took more than 200 ms (the limit is 199 ms)"),
    ("at the limit", {"latency_limit_ms": 200.0}, HEALTHY, "10 answers"),
    ("too few to be slow", {"latency_limit_ms": 1.0, "answered": 9}, HEALTHY, "9 answers"),
    ("a key is off", {"put_off": ("key a1 is left alone",)}, DEGRADED, "key a1 is left alone"),
    ("its key is wrong", {"silent_for": None, "excused": "auth: no"}, UNKNOWN, "what was seen last says nothing"),
    ("its key went wrong", {"silent_for": 80.0, "excused": "quota: empty"}, UNKNOWN, "what was seen last says nothing"),
    ("its key has just gone wrong", {"excused": "auth: no"}, DEGRADED, "it was last seen to work, but then: auth: no"),
]  # fmt: skip


@pytest.mark.parametrize(("signs", "status", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_table_of_statuses(signs: dict[str, Any], status: ProviderStatus, reason: str) -> None:
    health = assess(msgspec.structs.replace(WORKING, **signs), CONFIG)
    assert health.status is status
    assert health.reasons[0].startswith(reason)


def test_every_reason_is_told_and_the_first_has_decided() -> None:
    signs = msgspec.structs.replace(WORKING, breakers=(OPEN,), streak=3, put_off=("key a1 is left alone",))
    health = assess(signs, CONFIG)
    assert health.status is DOWN
    assert [reason.split(" ")[0] for reason in health.reasons] == ["its", "3", "key"]
    assert health.signs is signs


@pytest.mark.parametrize("fault", ["auth", "quota", "permission", "misconfigured"])
@pytest.mark.parametrize("silent_for", [None, 1.0, 1000.0])
def test_what_is_wrong_with_a_key_alone_never_makes_a_provider_down(fault: str, silent_for: float | None) -> None:
    signs = Signs(silent_for=silent_for, excused=f"{fault}: no", put_off=("key a1 is left alone",))
    assert assess(signs, CONFIG).status in (UNKNOWN, DEGRADED)


def test_rates_are_judged_from_as_many_as_probes_alone_make() -> None:
    assert [enough(interval, CONFIG) for interval in (1, 30, 60, 100, 3600)] == [10, 10, 5, 3, 3]
    signs = Signs(silent_for=1.0, answered=2, failed=3, interval=60.0, streak=0)
    assert assess(signs, CONFIG).status is DOWN


def test_the_limits_are_those_of_the_settings() -> None:
    config = MonitorConfig(confirm=1, degraded_error_rate=0.2, down_error_rate=0.9, minimum_calls=1)
    assert assess(msgspec.structs.replace(WORKING, streak=1), config).status is DOWN
    assert assess(msgspec.structs.replace(WORKING, failed=2), config).status is HEALTHY
    assert assess(msgspec.structs.replace(WORKING, failed=5), config).status is DEGRADED
