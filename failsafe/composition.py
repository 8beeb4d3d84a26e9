"""
Policies put together, in the order that works.

::

    policy = Policy.compose(
        Timeout(10.0),
        Retry(RetryConfig(max_retries=3)),
        CircuitBreaker("search"),
        AttemptTimeout(3.0),
    )
    policy.call(search, "free")

    @policy
    def search(words): ...

The guide is ``docs/composition.md``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NoReturn, ParamSpec, Protocol, TypeVar

from failsafe.deadline import Deadline, current_deadline
from failsafe.errors import ConfigError
from failsafe.outcome import guarded
from failsafe.policy_config import RetryConfig
from failsafe.retrying import Retry
from failsafe.timeouts import AttemptTimeout, Timeout

P = ParamSpec("P")
R = TypeVar("R")


class Guard(Protocol):
    """What every policy has, and a part of a :class:`Policy` needs."""

    def call(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return what becomes of ``fn(*args, **kwargs)``."""


_PLACES = (
    ("failsafe.fallback.Fallback",),
    ("failsafe.timeouts.Timeout",),
    ("failsafe.retrying.Retry",),
    ("failsafe.hedging.Hedge",),
    ("failsafe.bulkhead.Bulkhead", "failsafe.adaptive.AdaptiveConcurrency"),
    ("failsafe.limiter.RateLimiter",),
    ("failsafe.breaker.CircuitBreaker",),
    ("failsafe.timeouts.AttemptTimeout",),
)
"""The order, outermost first. By name, so that composing two policies loads these two only."""

_BULKHEAD, _LIMITER = 4, 5

_RANKS = {name: rank for rank, names in enumerate(_PLACES) for name in names}

_INSTEAD = {
    "AdaptiveConcurrencyConfig": 'AdaptiveConcurrency("its name", config)',
    "BulkheadConfig": 'Bulkhead("its name", config)',
    "CircuitBreakerConfig": 'CircuitBreaker("its name", config)',
    "HedgeConfig": "Hedge(config), and close it in the end",
    "Policy": "its parts: *policy.parts; or Policy.in_order, which takes a policy as a part",
    "RateLimiterConfig": 'RateLimiter("its name", config)',
    "RetryBudget": "Retry(config, budget=...)",
    "RetryBudgetConfig": "Retry(config, budget=RetryBudget(...))",
    "float": "Timeout(seconds) for the whole call or AttemptTimeout(seconds) for each try",
    "int": "Timeout(seconds) for the whole call or AttemptTimeout(seconds) for each try",
}
"""What to give in place of something that is often given by mistake, by its class."""

_PARTS = (
    "a Fallback, Timeout, Deadline, Retry, RetryConfig, Hedge, Bulkhead, AdaptiveConcurrency, RateLimiter, "
    "CircuitBreaker or AttemptTimeout is needed"
)

_Step = Callable[..., Any]
"""Calls its first argument with the others, under one policy."""


class Policy:
    """
    Several policies as one. Made by :meth:`compose` or :meth:`in_order`; immutable, and as thread-safe as its parts.

    Attributes:
        parts: The policies, outermost first.
    """

    __slots__ = ("__weakref__", "_run", "parts")

    def __init__(self, parts: tuple[Guard, ...], steps: Iterable[_Step]) -> None:
        self.parts = parts
        run, *others = reversed(tuple(steps))
        for step in others:
            run = functools.partial(step, run)
        self._run = run

    @classmethod
    def compose(cls, *parts: Guard | Deadline | RetryConfig) -> Policy:
        """
        Put policies in the order in which they work together, whatever order they are given in.

        Outermost first: :class:`failsafe.Fallback`, :class:`failsafe.Timeout`, :class:`failsafe.Retry`,
        :class:`failsafe.Hedge`, :class:`failsafe.Bulkhead` or :class:`failsafe.AdaptiveConcurrency`,
        :class:`failsafe.RateLimiter`, :class:`failsafe.CircuitBreaker`, :class:`failsafe.AttemptTimeout`. A
        :class:`failsafe.Deadline` stands for a ``Timeout``, a :class:`failsafe.RetryConfig` for a ``Retry``.

        The time limit holds for everything inside of it, and cuts where the function is called: the
        policies in between see the cut, and give back what they hold.

        Raises:
            ConfigError: Nothing was given, two of a kind, or something else. The message says what to do.
        """
        if not parts:
            raise ConfigError(f"Policy.compose() without parts: {_PARTS}")
        ordered = tuple(sorted(map(_policy, parts), key=_rank))
        for outer, inner in pairwise(ordered):
            if _rank(outer) == _rank(inner):
                _refuse_two(outer, inner)
        return cls(ordered, _steps_with_one_cut(ordered))

    @classmethod
    def in_order(cls, *parts: Guard | Deadline | RetryConfig) -> Policy:
        """
        Put policies together exactly as given, outermost first: for an order of your own, on purpose.

        Everything that has ``call(fn, *args, **kwargs)`` may be a part, another ``Policy`` too, and the same
        kind may come twice. A ``Timeout`` cuts where it stands.

        Raises:
            ConfigError: Nothing was given, or something that is no policy. The message says what to do.
        """
        if not parts:
            raise ConfigError("Policy.in_order() without parts: policies are needed, outermost first")
        given = tuple(map(_policy_or_guard, parts))
        return cls(given, map(_step, given))

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, called under all parts, or a fallback's answer.

        Raises:
            Exception: What a part raises, or *fn*.
        """
        answer: R = self._run(fn, *args, **kwargs)
        return answer

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        return guarded(self._run, fn, "Policy")

    def __repr__(self) -> str:
        return f"<Policy {' > '.join(map(_label, self.parts))}>"


def _policy(part: object) -> Guard:
    """*part*, or the policy it stands for."""
    if isinstance(part, Deadline):
        return Timeout(part)
    if isinstance(part, RetryConfig):
        return Retry(part)
    if _find_rank(part) is None:
        _refuse(part, _PARTS)
    return part  # type: ignore[return-value] # known by name


def _policy_or_guard(part: object) -> Guard:
    if isinstance(part, Deadline | RetryConfig):
        return _policy(part)
    if isinstance(part, type) or not callable(getattr(part, "call", None)):
        _refuse(part, "an object with call(fn, *args, **kwargs) is needed")
    return part  # type: ignore[return-value] # as far as can be told before the first call


def _refuse(part: object, needed: str) -> NoReturn:
    if isinstance(part, type):
        raise ConfigError(f"{part.__name__} is a class: give an instance of it, {part.__name__}(...)")
    from failsafe.encoding import shown  # only errors need it

    instead = _INSTEAD.get(type(part).__name__)
    raise ConfigError(f"{shown(part)} is no part of a policy: {needed if instead is None else f'give {instead}'}")


def _refuse_two(outer: Guard, inner: Guard) -> NoReturn:
    raise ConfigError(
        f"{_label(outer)} and {_label(inner)} have the same place in the order: give one of them, or put both where "
        "you want them with Policy.in_order(...)"
    )


def _find_rank(part: object) -> int | None:
    for cls in type(part).__mro__:  # a subclass has the place of its base
        rank = _RANKS.get(f"{cls.__module__}.{cls.__qualname__}")
        if rank is not None:
            return rank
    return None


def _rank(part: Guard) -> int:
    rank = _find_rank(part)
    return len(_PLACES) if rank is None else rank


def _label(part: Guard) -> str:
    name = getattr(part, "name", None)
    if isinstance(name, str):
        return f"{type(part).__name__} {name}"
    return repr(part).strip("<>") if isinstance(part, Retry | Timeout | AttemptTimeout) else type(part).__name__


def _steps_with_one_cut(ordered: tuple[Guard, ...]) -> list[_Step]:
    """The steps of *ordered*, of which only the innermost has a thread, cut by whichever limit comes first."""
    timeout = next((part for part in ordered if isinstance(part, Timeout) and part.abandon), None)
    if timeout is None:
        return [_step(part) for part in ordered]
    steps = [timeout.within if part is timeout else _step(part) for part in ordered]
    if not isinstance(ordered[-1], AttemptTimeout):
        return [*steps, timeout.cut]
    return steps if ordered[-1].abandon else [*steps[:-1], timeout.cut, steps[-1]]


def _step(part: Guard) -> _Step:
    rank = _find_rank(part)
    if rank == _BULKHEAD:
        return functools.partial(_in_a_slot, part)
    return functools.partial(_in_turn, part) if rank == _LIMITER else part.call


def _in_a_slot(bulkhead: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Wait for a slot, but not past the deadline in force."""
    with bulkhead.acquire(deadline=current_deadline()):
        return fn(*args, **kwargs)


def _in_turn(limiter: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Wait for the limiter's leave, but not past the deadline in force."""
    limiter.acquire(deadline=current_deadline())
    return fn(*args, **kwargs)
