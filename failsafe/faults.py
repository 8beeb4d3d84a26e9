"""
The fault table: every way a provider can fail, and the one reaction to each.

A fault is recognised once (transport and ``providers.classify``); from then on only
this table decides. Source: the error references of the vendors, gathered in
``docs/faults.md``.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from failsafe import errors


class Fault(StrEnum):
    """What went wrong with one attempt."""

    NETWORK = "network"
    """No connection: DNS, refused, unreachable, TLS, proxy. The request was never written."""
    CONNECT_TIMEOUT = "connect_timeout"
    """No connection within the connect limit. The request was never written."""
    TIMEOUT = "timeout"
    """The request was written and no whole answer came within the attempt's limit."""
    DISCONNECTED = "disconnected"
    """The connection died after a byte of the request was written."""
    TRUNCATED = "truncated"
    """The answer began and stopped short of its end."""
    MALFORMED = "malformed"
    """A success status with an unusable body: HTML, half a JSON, no choices, too large."""
    SERVER = "server"
    """The provider says that it broke: 500, 502, 504, 52x, 408, an error inside a 200."""
    OVERLOADED = "overloaded"
    """The provider says that it has no capacity: 503, 529."""
    CONFLICT = "conflict"
    """409: another try may pass."""
    RATE_LIMIT = "rate_limit"
    """Too many requests or tokens for this key."""
    QUOTA = "quota"
    """No money, credit or allowance left."""
    AUTH = "auth"
    """The key was rejected."""
    PERMISSION = "permission"
    """The key is known and not allowed to do this."""
    MODEL = "model"
    """The model is unknown or retired."""
    MISCONFIGURED = "misconfigured"
    """The address is wrong: redirect, unknown path, method refused."""
    CONTEXT = "context"
    """The prompt is too long for this model or server."""
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    """The target refuses one parameter."""
    BAD_REQUEST = "bad_request"
    """The request is wrong for every target alike."""
    CONTENT_FILTER = "content_filter"
    """The content policy stopped the prompt or the answer."""
    CANCELLED = "cancelled"
    """The caller gave the call up."""


class BreakerEffect(StrEnum):
    """What a fault means for the provider's circuit breaker."""

    FAILURE = "failure"
    """Counts in full."""
    SOFT = "soft"
    """Neutral to the streak of failures; counts in a rate window and fails a probe."""
    NEUTRAL = "neutral"
    """Says nothing about the service; the permit is given back."""


class NextStep(StrEnum):
    """What the call does after a fault."""

    NEXT = "next"
    """Ask the next provider at once; this one again in a later round."""
    NEXT_ONLY = "next_only"
    """Ask the next provider; never this one again in this call."""
    LARGER = "larger"
    """Ask only providers whose model reads more; without one, raise."""
    WITHOUT_PARAMETER = "without_parameter"
    """Drop the refused parameter and ask the same provider once more; else the next; without one, raise."""
    RAISE = "raise"
    """Raise at once."""


class Scope(StrEnum):
    """How much of a provider a fault puts out of use for a time."""

    NONE = "none"
    KEY = "key"
    """This key, for every model."""
    KEY_AND_MODEL = "key_and_model"
    """This key, for this model."""
    MODEL = "model"
    """This model, for every key."""
    PROVIDER = "provider"
    """The whole provider."""


class Reaction(msgspec.Struct, frozen=True, kw_only=True):
    """
    One row of the fault table.

    Attributes:
        error: The exception class a caller sees when this fault ends the call.
        breaker: What the breaker is told.
        step: What the call does next.
        scope: What is put out of use, and
        off_for: for how many seconds when the provider named no time (0: the scope is only
            used when it did), growing by
        growth: this factor with each repetition in a row, up to
        off_at_most: this many seconds, which also caps what a provider may ask for.
        alert: Whether a person should hear of it.
        advice: What the person reading the report should do.
    """

    error: type[errors.ProviderFault]
    breaker: BreakerEffect
    step: NextStep
    scope: Scope = Scope.NONE
    off_for: float = 0.0
    growth: float = 1.0
    off_at_most: float = 3600.0
    alert: bool = False
    advice: str


_HOUR = 3600.0

REACTIONS: dict[Fault, Reaction] = {
    Fault.NETWORK: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="check the address, DNS, proxy and firewall between this machine and the provider",
    ),
    Fault.CONNECT_TIMEOUT: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="check the address, proxy and firewall between this machine and the provider",
    ),
    Fault.TIMEOUT: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="the provider is slow or hangs; a longer timeout= leaves it more time",
    ),
    Fault.DISCONNECTED: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="the connection was cut; see the provider's status page if it goes on",
    ),
    Fault.TRUNCATED: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="the answer was cut short; see the provider's status page if it goes on",
    ),
    Fault.MALFORMED: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="the answer was not a chat completion; check base_url, and what sits between you and the provider",
    ),
    Fault.SERVER: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        advice="the provider failed; see its status page",
    ),
    Fault.OVERLOADED: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.FAILURE,
        step=NextStep.NEXT,
        scope=Scope.PROVIDER,
        advice="the provider is out of capacity; see its status page",
    ),
    Fault.CONFLICT: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.NEXT,
        advice="try again",
    ),
    Fault.RATE_LIMIT: Reaction(
        error=errors.RateLimited,
        breaker=BreakerEffect.SOFT,
        step=NextStep.NEXT,
        scope=Scope.KEY_AND_MODEL,
        off_for=1.0,
        growth=2.0,
        off_at_most=_HOUR,
        advice="slow down, raise the limit with the provider, or add a key or a provider",
    ),
    Fault.QUOTA: Reaction(
        error=errors.QuotaExhausted,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.NEXT,
        scope=Scope.KEY,
        off_for=_HOUR,
        alert=True,
        advice="top up the account or raise its spending limit",
    ),
    Fault.AUTH: Reaction(
        error=errors.AuthenticationFailed,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.NEXT,
        scope=Scope.KEY,
        off_for=60.0,
        growth=2.0,
        off_at_most=_HOUR,
        alert=True,
        advice="replace the key",
    ),
    Fault.PERMISSION: Reaction(
        error=errors.PermissionDenied,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.NEXT,
        scope=Scope.KEY_AND_MODEL,
        off_for=_HOUR,
        alert=True,
        advice="give the key's project access to this model, or use another key",
    ),
    Fault.MODEL: Reaction(
        error=errors.ModelNotFound,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.NEXT_ONLY,
        scope=Scope.MODEL,
        off_for=_HOUR,
        alert=True,
        advice="check the model's name; it may have been retired: run `failsafe check`",
    ),
    Fault.MISCONFIGURED: Reaction(
        error=errors.Misconfigured,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.NEXT_ONLY,
        scope=Scope.PROVIDER,
        off_for=60.0,
        growth=2.0,
        off_at_most=_HOUR,
        alert=True,
        advice="correct base_url; redirects are never followed",
    ),
    Fault.CONTEXT: Reaction(
        error=errors.ContextWindowExceeded,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.LARGER,
        advice="shorten the prompt, or add a model with a larger context window to the alias",
    ),
    Fault.UNSUPPORTED_PARAMETER: Reaction(
        error=errors.UnsupportedParameter,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.WITHOUT_PARAMETER,
        advice="leave the parameter out for this model",
    ),
    Fault.BAD_REQUEST: Reaction(
        error=errors.InvalidRequest,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.RAISE,
        advice="correct the request",
    ),
    Fault.CONTENT_FILTER: Reaction(
        error=errors.ContentFiltered,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.RAISE,
        advice="rephrase the prompt, or set failover_on_content_filter to ask another provider",
    ),
    Fault.CANCELLED: Reaction(
        error=errors.Transient,
        breaker=BreakerEffect.NEUTRAL,
        step=NextStep.RAISE,
        advice="the call was cancelled before its end",
    ),
}
"""The fault table: one row a fault, none missing (a test holds it)."""

AGAINST_PROVIDER = frozenset(fault for fault, row in REACTIONS.items() if row.breaker is BreakerEffect.FAILURE)
"""The faults that speak against the provider, unless it was asked in too great a hurry; its breaker counts them."""
