"""Events as log records: the words, and the level a person would want."""

from __future__ import annotations

import logging

import pytest

from failsafe.events import (
    AttemptFinished,
    CallFinished,
    CircuitState,
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
from failsafe.models import Attempt
from failsafe.telemetry.logs import log_event


def put_off(*, alert: bool, key: str | None = "ab12cd34", model: str | None = "m") -> PutOff:
    return PutOff(
        at=0, provider="a", key=key, model=model, fault=Fault.RATE_LIMIT, seconds=20.04, message="slow", alert=alert,
        advice="add a key",
    )  # fmt: skip


def state(new: CircuitState) -> StateChanged:
    return StateChanged(at=0, name="a", old=CircuitState.CLOSED, new=new, reason="why")


def call(error: str | None) -> CallFinished:
    return CallFinished(
        at=0, call_id="call-1", asked_model="m", provider=None if error else "a", model="m", error=error, attempts=2,
        latency_ms=12.3,
    )  # fmt: skip


CASES: list[tuple[Event, int, str]] = [
    (
        AttemptFinished(at=0, call_id="call-1", attempt=Attempt(provider="a", model="m", latency_ms=12.3)),
        logging.DEBUG,
        "call-1 a answered in 12 ms",
    ),
    (
        AttemptFinished(
            at=0,
            call_id="call-1",
            attempt=Attempt(provider="a", model="m", latency_ms=12.3, fault=Fault.SERVER, message="it broke"),
        ),
        logging.INFO,
        "call-1 a failed after 12 ms: server: it broke",
    ),
    (call(None), logging.DEBUG, "call-1 answered by a in 12 ms"),
    (call("closed"), logging.DEBUG, "call-1 closed by its reader after 12 ms"),
    (call("AllProvidersFailed"), logging.INFO, "call-1 failed with AllProvidersFailed after 2 attempts in 12 ms"),
    (state(CircuitState.OPEN), logging.WARNING, "breaker a: closed -> open (why)"),
    (state(CircuitState.HALF_OPEN), logging.INFO, "breaker a: closed -> half_open (why)"),
    (put_off(alert=True), logging.WARNING, "a (key ab12cd34 m) left alone for 20 s: slow; add a key"),
    (put_off(alert=False, key=None), logging.INFO, "a (m) left alone for 20 s: slow; add a key"),
    (put_off(alert=False, key=None, model=None), logging.INFO, "a left alone for 20 s: slow; add a key"),
    (
        ModelSubstituted(at=0, provider="a", asked_model="m", model="n"),
        logging.WARNING,
        "a answered with n where m was asked",
    ),
    (
        ProbeFinished(at=0, provider="a", kind="models", latency_ms=12.3),
        logging.DEBUG,
        "probe of a (models) answered in 12 ms",
    ),
    (
        ProbeFinished(at=0, provider="a", kind="connect", latency_ms=12.3, fault=Fault.NETWORK, message="refused"),
        logging.INFO,
        "probe of a (connect) failed after 12 ms: network: refused",
    ),
    (
        StatusChanged(at=0, provider="a", old="healthy", new="down", reason="3 failures in a row"),
        logging.INFO,
        "a: healthy -> down (3 failures in a row)",
    ),
    (
        NetworkChanged(at=0, up=False, reason="nobody can be reached"),
        logging.WARNING,
        "this machine's network is gone (nobody can be reached)",
    ),
    (NetworkChanged(at=0, up=True, reason="a answers"), logging.INFO, "this machine's network is back (a answers)"),
    (WatchChanged(at=0, provider="a", state="paused", note="moving"), logging.INFO, "a is paused from now on (moving)"),
    (WatchChanged(at=0, provider="a", state="watched"), logging.INFO, "a is watched from now on"),
    (
        CommandCarriedOut(at=0, action="reset", provider="a", origin="ann@box", outcome="closed"),
        logging.WARNING,
        "command reset of ann@box for a: closed",
    ),
]


@pytest.mark.parametrize(("event", "level", "text"), CASES)
def test_each_event_in_words_and_at_its_level(
    event: Event, level: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "failsafe"):
        log_event(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, text)]


def test_an_event_of_another_kind_is_no_concern_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "failsafe"):
        log_event(Event(at=0))
    assert caplog.records == []
