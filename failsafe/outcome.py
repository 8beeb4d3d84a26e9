"""
What an exception means to a breaker and to a retry, looked up in the fault table.

A breaker counts what the service did wrong; a retry repeats what may pass next time. Both read
:data:`failsafe.faults.REACTIONS`, so that an error is judged alike in the router and around a
plain function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

from failsafe import errors
from failsafe.deadline import current_deadline
from failsafe.faults import REACTIONS, BreakerEffect, NextStep

P = ParamSpec("P")

_REFUSALS = (
    errors.BulkheadFull,
    errors.CircuitOpenError,
    errors.RateLimitReached,
    errors.SpendLimitReached,
    errors.TooManyAbandoned,
)
"""A guard's word that the call was not made."""

_NOT_THE_SERVICE = (*_REFUSALS, errors.Cancelled, errors.ConfigError, errors.RouterClosed)
"""Exceptions that say nothing about the service: given up, or never sent."""

_CALLERS_OWN = (errors.Cancelled, errors.ConfigError, errors.InvalidRequest, errors.RouterClosed)
"""What only the caller can put right; an answer in its place would hide it."""

_SEVEREST_FIRST = (BreakerEffect.FAILURE, BreakerEffect.SOFT, BreakerEffect.NEUTRAL)


def _effects() -> dict[type[BaseException], BreakerEffect]:
    """The severest effect of each error class: one class stands for several faults."""
    return {
        reaction.error: effect
        for effect in reversed(_SEVEREST_FIRST)
        for reaction in REACTIONS.values()
        if reaction.breaker is effect
    }


_EFFECTS = _effects()

_MAY_PASS = tuple({row.error for row in REACTIONS.values() if row.step is NextStep.NEXT and not row.alert})
"""Provider faults that pass by themselves; the others need a person, another request or another provider."""


def breaker_effect(error: BaseException) -> BreakerEffect:
    """
    Return what *error*, raised by a protected function, means to its breaker.

    A :class:`failsafe.ProviderFault` is looked up in the fault table by its class (the severest
    row of it). Whatever ends the call from outside (``KeyboardInterrupt``, ``SystemExit``,
    ``GeneratorExit``, cancellation), another breaker's refusal and a wrong setting are neutral.
    So is a ``TimeoutError`` once the deadline in force around the breaker has passed: the caller's own
    hurry cut the attempt, which had no time limit of its own or had not used it up. Every other
    ``Exception`` is a failure, :class:`failsafe.AttemptTimedOut` always.
    """
    if not isinstance(error, Exception) or _says_nothing(error) or _is_the_callers_hurry(error):
        return BreakerEffect.NEUTRAL
    if isinstance(error, errors.ProviderFault):
        for cls in type(error).__mro__:
            if cls in _EFFECTS:
                return _EFFECTS[cls]
    return BreakerEffect.FAILURE


def _says_nothing(error: Exception) -> bool:
    return isinstance(error, _NOT_THE_SERVICE) or _is_cancellation(error)


def _is_cancellation(error: Exception) -> bool:
    # Imported when something failed: it takes a millisecond that a program without failures is spared.
    from concurrent.futures import CancelledError

    return isinstance(error, CancelledError)


def _is_the_callers_hurry(error: Exception) -> bool:
    if not isinstance(error, TimeoutError) or isinstance(error, errors.ProviderFault):
        return False
    deadline = current_deadline()
    return deadline is not None and deadline.expired


def was_refused(error: BaseException) -> bool:
    """Return whether *error* is a breaker's, bulkhead's, limiter's or timeout's word that the call was not made."""
    return isinstance(error, _REFUSALS)


def may_retry(error: Exception, retry_on: tuple[type[Exception], ...]) -> bool:
    """
    Return whether another try makes sense after *error*, which is an instance of one of *retry_on*.

    Never after a guard's refusal (:func:`was_refused`), a cancellation, a wrong setting or a closed router. After a
    :class:`failsafe.ProviderFault` only if the fault table says that it may pass by itself, or
    if *retry_on* asks for it by a class below ``ProviderFault``.
    """
    if _says_nothing(error):
        return False
    if not isinstance(error, errors.ProviderFault) or isinstance(error, _MAY_PASS):
        return True
    asked_for = [cls for cls in retry_on if issubclass(cls, errors.ProviderFault) and cls is not errors.ProviderFault]
    return isinstance(error, tuple(asked_for))


def may_fall_back(error: Exception) -> bool:
    """
    Return whether a :class:`failsafe.Fallback` may answer in place of *error*.

    Not where the caller gave up (cancellation), closed the router, or has to change the request or a setting.
    """
    return not isinstance(error, _CALLERS_OWN) and not _is_cancellation(error)


def add_note(error: Exception, note: str) -> None:
    """Add *note* to *error*, once: some programs raise one object again and again, whose notes must not pile up."""
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def guarded(call: Callable[..., Any], fn: Callable[P, Any], guard: str) -> Callable[P, Any]:
    """
    Return *fn* decorated, so that every call of it goes through ``call(fn, *args, **kwargs)``.

    Args:
        call: A policy's method of that name, or what stands for it.
        fn: The function to be wrapped.
        guard: What wraps it, for the message.

    Raises:
        TypeError: As :func:`refuse_lazy`.
    """
    refuse_lazy(fn, guard)

    @functools.wraps(fn)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        return call(fn, *args, **kwargs)

    return wrapped


def refuse_lazy(fn: Callable[..., object], guard: str) -> None:
    """
    Refuse a function whose work happens after it has returned.

    Args:
        fn: The function to be wrapped.
        guard: What was to wrap it, for the message.

    Raises:
        TypeError: *fn* is a coroutine function or a generator function, so that *guard* would
            see a success before anything had happened.
    """
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        kind = "a coroutine function; failsafe is synchronous: wrap the blocking call inside it"
    elif inspect.isgeneratorfunction(fn):
        kind = "a generator function; take the guard inside it, around the loop that produces the values"
    else:
        return
    raise TypeError(f"{guard} cannot wrap {getattr(fn, '__qualname__', fn)!r}: it is {kind}")
