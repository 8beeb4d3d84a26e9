"""
What happened, as values: every attempt, call, transition and cooldown.

Events carry no key and no text of a prompt or an answer. ``at`` is always seconds since
1970-01-01 UTC.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from failsafe.faults import Fault
from failsafe.models import Attempt


class CircuitState(StrEnum):
    """The states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


CLOSED = "closed"
"""In place of an error's name: the reader of a stream has closed it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all events."""

    at: float


class StateChanged(Event, frozen=True, kw_only=True):
    """
    A breaker changed its state.

    Attributes:
        name: The breaker's name.
        old: The state before.
        new: The state after.
        reason: Why, in words.
        retry_after: Seconds until the next probe may be admitted, for ``OPEN``; else None.
    """

    name: str
    old: CircuitState
    new: CircuitState
    reason: str
    retry_after: float | None = None


class AttemptFinished(Event, frozen=True, kw_only=True):
    """One request to one provider came to an end; ``call_id`` joins the attempts of one call."""

    call_id: str
    attempt: Attempt


class CallFinished(Event, frozen=True, kw_only=True):
    """
    A call came to an end.

    Attributes:
        call_id: Joins the call and its attempts.
        asked_model: The model or alias the caller named.
        provider: Who answered, or None.
        model: The model that answered, or None.
        error: The class name of the error the caller got, or None; ``closed`` for a stream that its reader closed.
        attempts: How many requests were sent.
        latency_ms: Milliseconds for the whole call.
    """

    call_id: str
    asked_model: str
    provider: str | None
    model: str | None
    error: str | None
    attempts: int
    latency_ms: float


class PutOff(Event, frozen=True, kw_only=True):
    """
    A provider, a key or a model is left alone for a time: a cooldown, a rejected key, no money.

    Attributes:
        provider: The provider's configured name.
        key: The key's fingerprint, or None when every key is meant.
        model: The model, or None when every model is meant.
        fault: Why.
        seconds: For how long.
        message: What the provider said, masked.
        alert: Whether a person should act.
        advice: What that person should do.
    """

    provider: str
    key: str | None
    model: str | None
    fault: Fault
    seconds: float
    message: str
    alert: bool
    advice: str


class ModelSubstituted(Event, frozen=True, kw_only=True):
    """A provider answered with another model than the one it was asked for."""

    provider: str
    asked_model: str
    model: str
