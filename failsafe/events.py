"""
What happened, as values: every attempt, call, transition and cooldown.

Events carry no key and no text of a prompt or an answer. ``at`` is always seconds since
1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """One request to one provider came to an end; ``call_id`` joins the attempts of one call, ``tag`` is the call's."""

    call_id: str
    attempt: Attempt
    tag: str = ""


class CallStarted(Event, frozen=True, kw_only=True):
    """
    A call begins; :class:`CallFinished` follows. Only listeners that ask for it (``starts=True``) are told.

    Attributes:
        call_id: Joins the call and its attempts.
        asked_model: The model or alias the caller named.
        operation: ``chat`` or ``embeddings``.
        stream: Whether the caller reads the answer piece by piece.
        tag: The caller's own word for what the call is for, or "".
    """

    call_id: str
    asked_model: str
    operation: str = "chat"
    stream: bool = False
    tag: str = ""


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
        tag: The caller's own word for what the call was for, or "".
        maybe_billed: How many attempts failed and may be charged for all the same.
    """

    call_id: str
    asked_model: str
    provider: str | None
    model: str | None
    error: str | None
    attempts: int
    latency_ms: float
    tag: str = ""
    maybe_billed: int = 0


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


class ProbeFinished(Event, frozen=True, kw_only=True):
    """
    A provider was probed.

    Attributes:
        provider: Its configured name.
        kind: ``models``, ``completion`` or ``connect``.
        fault: What went wrong, or None.
        message: What went wrong, for a person; masked.
        status: The HTTP status, where there was an answer.
        latency_ms: Milliseconds it took.
        blamed: Whether the failure speaks against the provider, rather than against a key, a setting or this machine.
        permit: Whether the breaker has counted it, as one probe of its half-open state.
    """

    provider: str
    kind: str
    fault: Fault | None = None
    message: str = ""
    status: int | None = None
    latency_ms: float = 0.0
    blamed: bool = False
    permit: bool = False


class StatusChanged(Event, frozen=True, kw_only=True):
    """A monitor's judgement of a provider changed: ``old`` and ``new`` are statuses, ``reason`` says why in words."""

    provider: str
    old: str
    new: str
    reason: str


class NetworkChanged(Event, frozen=True, kw_only=True):
    """This machine's own network went (``up`` is False) or came back; what fails meanwhile is no provider's fault."""

    up: bool
    reason: str = ""


class WatchChanged(Event, frozen=True, kw_only=True):
    """
    A provider is watched otherwise from now on.

    Attributes:
        provider: Its configured name.
        state: ``paused``, ``maintenance`` or ``watched``.
        note: Why, in the words of whoever did it.
    """

    provider: str
    state: str
    note: str = ""


class Alert(Event, frozen=True, kw_only=True):
    """
    Something that a person should know of.

    Attributes:
        rule: Which rule reports it, of :data:`failsafe.monitoring_config.ALERT_RULES`.
        provider: Whom it is about, or "" for all together.
        severity: ``critical``, ``warning`` or ``info``.
        title: What happened, in one line.
        message: More about it, and what to do.
        resolves: Whether it says that something is over.
        details: Figures that belong to it, by name.
    """

    rule: str
    provider: str
    severity: str
    title: str
    message: str
    resolves: bool = False
    details: Mapping[str, str | float | int | None] = {}


class CommandCarriedOut(Event, frozen=True, kw_only=True):
    """
    A command that came through the store was carried out.

    Attributes:
        action: ``reset``, ``force_open``, ``disable``, ``drain`` or ``resume``.
        provider: Whom it names, or "" for all.
        origin: Who sent it: user, machine and process.
        outcome: What came of it, in words.
    """

    action: str
    provider: str
    origin: str
    outcome: str
