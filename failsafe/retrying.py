"""
Try a function again when it fails.

::

    @retry
    def fetch(): ...

    @retry(config=RetryConfig(max_retries=4, retry_on=(OSError,)), deadline=10.0)
    def fetch(): ...

    retry_call(fetch, url, config=RetryConfig(max_retries=1))

``max_retries`` counts the extra tries: 2 means at most three calls. The guide is ``docs/retry.md``.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

import msgspec

from failsafe.backoff import a_little_later, calculate_delay, named_wait
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.deadline import CancelToken, Deadline
from failsafe.durations import in_words
from failsafe.errors import Cancelled
from failsafe.outcome import may_retry, refuse_lazy
from failsafe.policy_config import RetryConfig

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("failsafe.retry")
_DEFAULTS = RetryConfig()
_RANDOM = new_random()


class RetryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    A try that failed and will be repeated, as ``on_retry`` is told of it.

    Attributes:
        tries: How many tries were made so far.
        error: What the last one raised.
        wait: Seconds until the next one begins.
    """

    tries: int
    error: Exception
    wait: float


RetryListener = Callable[[RetryAttempt], object]
"""Told before each wait, in the thread of the call; the result is ignored, an exception is logged."""


class _Retrying:
    """The settings of one decorator or call; what lives for one call is in the arguments. Thread-safe."""

    __slots__ = ("_cancel", "_clock", "_config", "_deadline", "_on_retry", "_random")

    def __init__(
        self,
        config: RetryConfig,
        clock: Clock,
        random: Random | None,
        deadline: Deadline | float | None,
        on_retry: RetryListener | None,
        cancel: CancelToken | None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._random = random or _RANDOM
        self._deadline = deadline
        self._on_retry = on_retry
        self._cancel = cancel
        self._deadline_of_call()  # a bad number is refused now, not at the first call

    def run(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        """Call *fn* until it succeeds or another try is not allowed."""
        deadline = self._deadline_of_call()
        if deadline is not None:
            deadline.check()
        tries = 0
        while True:
            if self._cancel is not None:
                self._check_cancelled(tries)
            try:
                return fn(*args, **kwargs)
            except self._config.retry_on as error:
                tries += 1
                wait = self._wait_after(error, tries, deadline)
                if isinstance(wait, str):
                    _add_note(error, f"failsafe: {_counted(tries)}, then gave up: {wait}")
                    raise
                self._tell(RetryAttempt(tries=tries, error=error, wait=wait))
            # Outside of the handler, so that a cancellation does not hold the foreign error as its context.
            self._clock.wait(threading.Event() if self._cancel is None else self._cancel.event, wait)

    def _deadline_of_call(self) -> Deadline | None:
        if self._deadline is None or isinstance(self._deadline, Deadline):
            return self._deadline
        return Deadline.after(self._deadline, self._clock)

    def _check_cancelled(self, tries: int) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled(f"the call was cancelled after {_counted(tries)}")

    def _wait_after(self, error: Exception, tries: int, deadline: Deadline | None) -> float | str:
        """Seconds to wait before the next try, or why there is none."""
        config = self._config
        if not may_retry(error, config.retry_on):
            return "another try would not help"
        if tries > config.max_retries:
            return f"max_retries is {config.max_retries}"
        wait = calculate_delay(tries - 1, config, self._random)
        named = named_wait(getattr(error, "retry_after", None))
        if named is not None:
            if named > config.retry_after_cap:
                return f"retry_after of {named:g} s is above retry_after_cap ({config.retry_after_cap:g} s)"
            wait = max(wait, a_little_later(named, self._random) if config.jitter else named)
        if deadline is not None and wait >= deadline.left:
            return f"waiting {in_words(wait)} would pass the deadline"
        return wait

    def _tell(self, attempt: RetryAttempt) -> None:
        if self._on_retry is None:
            return
        try:
            self._on_retry(attempt)
        except Exception:
            _logger.exception("on_retry failed")


def _counted(tries: int) -> str:
    return "1 try" if tries == 1 else f"{tries} tries"


def _add_note(error: Exception, note: str) -> None:
    # Some programs raise one exception object again and again; its notes must not grow without end.
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


@overload
def retry(fn: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry(
    fn: None = None,
    /,
    *,
    config: RetryConfig = ...,
    clock: Clock = ...,
    random: Random | None = ...,
    deadline: Deadline | float | None = ...,
    on_retry: RetryListener | None = ...,
    cancel: CancelToken | None = ...,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def retry(
    fn: Callable[P, R] | None = None,
    /,
    *,
    config: RetryConfig = _DEFAULTS,
    clock: Clock = SYSTEM_CLOCK,
    random: Random | None = None,
    deadline: Deadline | float | None = None,
    on_retry: RetryListener | None = None,
    cancel: CancelToken | None = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """
    Decorate a function to be tried again when it fails: ``@retry`` or ``@retry(config=...)``.

    Tried again are the exceptions in ``config.retry_on``, except those that another try cannot help
    (:func:`failsafe.outcome.may_retry`). Between tries it waits with exponential backoff and full jitter,
    and at least as long as the exception's ``retry_after`` says, up to ``config.retry_after_cap``; an
    exception that asks for more ends the tries. In the end the last exception itself is raised, with a
    note that tells the number of tries. The decorated function is as thread-safe as *fn*.

    Args:
        fn: The function.
        config: How often, how fast, on what.
        clock: The source of time and of waiting.
        random: The source of chance; None takes one that all share.
        deadline: No wait goes past it. A number gives each call that many seconds; the tries themselves are not cut.
        on_retry: Told of each try that will be repeated, before the wait.
        cancel: Ends the wait and the tries from another thread.

    Raises:
        TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        ConfigError: *deadline* is not a positive number.

    The decorated function raises what *fn* raises, :class:`failsafe.DeadlineExceeded` if the deadline has
    passed before the first try, and :class:`failsafe.Cancelled` once *cancel* was used.
    """
    retrying = _Retrying(config, clock, random, deadline, on_retry, cancel)
    if fn is not None:
        return _decorated(fn, retrying)
    return lambda fn: _decorated(fn, retrying)


def _decorated(fn: Callable[P, R], retrying: _Retrying) -> Callable[P, R]:
    refuse_lazy(fn, "retry")

    @functools.wraps(fn)
    def tried(*args: P.args, **kwargs: P.kwargs) -> R:
        return retrying.run(fn, args, kwargs)

    return tried


def retry_call(
    fn: Callable[..., R],
    /,
    *args: Any,
    config: RetryConfig = _DEFAULTS,
    clock: Clock = SYSTEM_CLOCK,
    random: Random | None = None,
    deadline: Deadline | float | None = None,
    on_retry: RetryListener | None = None,
    cancel: CancelToken | None = None,
    **kwargs: Any,
) -> R:
    """
    Return ``fn(*args, **kwargs)``, tried again when it fails; everything else is as in :func:`retry`.

    Keyword arguments of *fn* that have the name of one of ours need a ``functools.partial``.
    """
    return _Retrying(config, clock, random, deadline, on_retry, cancel).run(fn, args, kwargs)
