"""
Every error failsafe raises, drawn as one tree.

::

    FailsafeError
    ├── ConfigError (ValueError)
    ├── RouterClosed
    ├── CircuitOpenError
    ├── BulkheadFull
    ├── RateLimitReached
    ├── TooManyAbandoned
    ├── StoreUnavailable
    ├── CallFailed
    │   ├── AllProvidersFailed
    │   ├── DeadlineExceeded (TimeoutError)
    │   ├── StreamInterrupted
    │   ├── SpendLimitReached
    │   └── Cancelled
    └── ProviderFault
        ├── Transient
        │   └── AttemptTimedOut (TimeoutError)
        ├── RateLimited
        ├── QuotaExhausted
        ├── AuthenticationFailed
        ├── PermissionDenied
        ├── ModelNotFound
        ├── Misconfigured
        ├── InvalidRequest (ValueError)
        │   ├── ContextWindowExceeded
        │   └── UnsupportedParameter
        └── ContentFiltered

Errors are plain values: each one pickles with all its attributes, carries no
API key, and never holds a foreign exception (those carry the whole request).
"""

from __future__ import annotations

from typing import Any

from failsafe.durations import in_words


def _restore(cls: type[FailsafeError], args: tuple[Any, ...], state: dict[str, Any]) -> FailsafeError:
    """Rebuild a pickled error without running its constructor."""
    error = cls.__new__(cls, *args)
    error.args = args  # OSError, and so TimeoutError, sets them in its constructor only
    error.__dict__.update(state)
    return error


class FailsafeError(Exception):
    """The base of every error that failsafe raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by message and attributes, whatever the constructor takes."""
        return _restore, (type(self), self.args, self.__dict__.copy())


class ConfigError(FailsafeError, ValueError):
    """A setting is wrong; nothing was sent. The message names the key, the value and the allowed range."""


class StoreUnavailable(FailsafeError):
    """What is recorded cannot be read or written; the message says why. No call ever fails with it. Pickles."""


class RouterClosed(FailsafeError):
    """The router was closed before this call began; make a new one."""


class CircuitOpenError(FailsafeError):
    """
    A breaker refused a call; the protected function was not called.

    Args:
        name: The breaker's name.
        state: The breaker's state, as text (``"open"``, ``"half_open"``, ``"forced_open"``).
        retry_after: Seconds until the breaker may admit a call, or None when only
            a person can reopen it (``forced_open``).
        reason: Why the breaker opened, as text.
    """

    def __init__(self, name: str, state: str, retry_after: float | None, reason: str = "") -> None:
        when = "until it is reset by hand" if retry_after is None else f"for another {in_words(retry_after)}"
        why = f" ({reason})" if reason else ""
        super().__init__(f"circuit breaker {name!r} is {state} {when}{why}; the call was not made")
        self.name = name
        self.state = state
        self.retry_after = retry_after
        self.reason = reason


class BulkheadFull(FailsafeError):
    """
    As many calls as are allowed are under way; the protected function was not called.

    Args:
        name: The bulkhead's name.
        max_concurrent: How many calls may be under way.
        waited: Seconds that this call has waited for its turn.
    """

    def __init__(self, name: str, max_concurrent: int, waited: float = 0.0) -> None:
        after = f" after a wait of {in_words(waited)}" if waited > 0 else ""
        super().__init__(
            f"bulkhead {name!r} is full{after} ({max_concurrent} calls under way); the call was not made; "
            "try again later, or raise max_concurrent or max_wait"
        )
        self.name = name
        self.max_concurrent = max_concurrent
        self.waited = waited


class RateLimitReached(FailsafeError):
    """
    A rate limit of one's own is used up; the protected function was not called.

    Args:
        name: The limiter's name.
        limit: What is used up, as text (``"60 requests a minute"``).
        retry_after: Seconds until there is room.
    """

    def __init__(self, name: str, limit: str, retry_after: float) -> None:
        super().__init__(
            f"rate limiter {name!r} has no room for another {in_words(retry_after)} ({limit}); the call was not made"
        )
        self.name = name
        self.limit = limit
        self.retry_after = retry_after


class TooManyAbandoned(FailsafeError):
    """
    A timeout has given up so many functions that are still running that it starts no further one.

    Args:
        name: The timeout, in words.
        still_running: How many of the functions that were given up have not ended yet.
    """

    def __init__(self, name: str, still_running: int) -> None:
        super().__init__(
            f"{name}: {still_running} functions that were given up are still running; the call was not made; "
            "let the function end by itself (pass current_deadline().left on to what it waits for), or raise "
            "max_abandoned"
        )
        self.name = name
        self.still_running = still_running


class CallFailed(FailsafeError):
    """
    A call through the router ended without an answer.

    Args:
        message: The report: one line an attempt, and what to do.
        attempts: The receipt, a tuple of :class:`failsafe.Attempt` in order.
        skipped: Providers that were not asked and why, a tuple of :class:`failsafe.Skip`.
        retry_after: Seconds until the first provider may be usable again, where known.
    """

    def __init__(
        self,
        message: str,
        *,
        attempts: tuple[Any, ...] = (),
        skipped: tuple[Any, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.skipped = skipped
        self.retry_after = retry_after


class AllProvidersFailed(CallFailed):
    """Every provider that may serve the call failed or had to be left alone, and no further try is allowed."""


class DeadlineExceeded(CallFailed, TimeoutError):
    """The caller's deadline ended before a provider answered."""


class StreamInterrupted(CallFailed):
    """
    A streamed answer broke off after its first piece, and the call does not go on.

    Args:
        message: What broke off and why, the attempts, and what to do.
        partial: Everything received, a :class:`failsafe.Partial`.
        provider: The configured name of the provider whose answer broke off.
        fault: What went wrong, a :class:`failsafe.Fault`; None: the caller's deadline ended.
        **details: As for :class:`CallFailed`.
    """

    def __init__(self, message: str, *, partial: Any, provider: str, fault: Any = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.partial = partial
        self.provider = provider
        self.fault = fault


class SpendLimitReached(CallFailed):
    """
    A cap of one's own on what may be spent leaves nobody to ask; nothing was sent.

    Args:
        message: Which cap, what is spent of it, what the call would have cost, and what to do.
        cap: The setting, as text (``spend.per_day``, ``providers.openai.spend.per_call``).
        limit: USD that it allows, a :class:`decimal.Decimal`; None: it forbids models of unknown price.
        spent: USD spent of it, calls under way included; None for a cap on single calls.
        estimate: USD that the call was estimated to cost; None: its price is not known.
        resets_at: When the cap begins anew, in seconds since 1970-01-01 UTC; None: never.
        **details: As for :class:`CallFailed`; ``retry_after`` is the time until the cap begins anew.
    """

    def __init__(
        self,
        message: str,
        *,
        cap: str = "",
        limit: Any = None,
        spent: Any = None,
        estimate: Any = None,
        resets_at: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.cap = cap
        self.limit = limit
        self.spent = spent
        self.estimate = estimate
        self.resets_at = resets_at


class Cancelled(CallFailed):
    """The caller's :class:`failsafe.CancelToken` ended the call."""


class ProviderFault(FailsafeError):
    """
    One provider refused or spoiled a request.

    Args:
        message: What happened and what to do next. Never contains an API key.
        provider: The provider's configured name, or None for a fault found before sending.
        status: The HTTP status, where there was one.
        request_id: The provider's id of the request, for its support desk.
        code: The provider's own error code or type, as text.
        retry_after: Seconds the provider asked to be left alone.
        attempts: The receipt up to here, a tuple of :class:`failsafe.Attempt`.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        attempts: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.code = code
        self.retry_after = retry_after
        self.attempts = attempts


class Transient(ProviderFault):
    """The service failed in a way that another try, or another provider, may not see."""


class AttemptTimedOut(Transient, TimeoutError):
    """One try used up its own time limit (:class:`failsafe.AttemptTimeout`); another may be quicker."""


class RateLimited(ProviderFault):
    """The provider asked for a slower pace; ``retry_after`` says for how long, in seconds."""


class QuotaExhausted(ProviderFault):
    """The account has no money or allowance left; waiting a moment does not help."""


class AuthenticationFailed(ProviderFault):
    """
    The provider rejected the key.

    ``diagnosis`` says what is probably wrong with it, in words and without the key.
    """

    def __init__(self, message: str, *, diagnosis: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.diagnosis = diagnosis


class PermissionDenied(ProviderFault):
    """The key is valid and may not do this (model, region, project)."""


class ModelNotFound(ProviderFault):
    """The provider does not know the model, or has retired it."""


class Misconfigured(ProviderFault):
    """The address is wrong: a redirect, an unknown path, a method the server refuses."""


class InvalidRequest(ProviderFault, ValueError):
    """The request itself is wrong; no other provider would take it."""


class ContextWindowExceeded(InvalidRequest):
    """The prompt is longer than the model can read."""


class UnsupportedParameter(InvalidRequest):
    """
    The target refuses one parameter.

    ``parameter`` names it, or is None when the provider did not say.
    """

    def __init__(self, message: str, *, parameter: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.parameter = parameter


class ContentFiltered(ProviderFault):
    """The provider's content policy stopped the prompt or the answer; ``partial`` holds the text it let through."""

    def __init__(self, message: str, *, partial: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.partial = partial
