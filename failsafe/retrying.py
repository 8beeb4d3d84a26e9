"""
Try a function again when it fails.

::

    @retry
    def fetch(): ...

    @retry(config=RetryConfig(max_retries=4, retry_on=(OSError,)), deadline=10.0)
    def fetch(): ...

    retry_call(fetch, url, config=RetryConfig(max_retries=1))

    Retry(RetryConfig(max_retries=1), budget=shared).call(fetch, url)

``max_retries`` counts the extra tries: 2 means at most three calls. The guide is ``docs/retry.md``.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

import msgspec

from failsafe import checks
from failsafe.backoff import a_little_later, calculate_delay, named_wait
from failsafe.budget import RetryBudget
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.deadline import CancelToken, Deadline, current_deadline, in_force
from failsafe.durations import in_words
from failsafe.errors import Cancelled
from failsafe.outcome import add_note, may_retry, refuse_lazy, was_refused
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


class Retry:
    """
    Tries a function again when it fails: the policy behind :func:`retry`, for :class:`failsafe.Policy` too.

    What is tried again, how long it waits and what it raises in the end is said at :func:`retry`.
    Thread-safe: what lives for one call is in its arguments.

    Args:
        config: How often, how fast, on what.
        clock: The source of time and of waiting.
        random: The source of chance; None takes one that all share.
        deadline: No wait goes past it, nor past the deadline in force around the call
            (:func:`failsafe.current_deadline`). A number gives each call that many seconds. The function and
            an :class:`failsafe.AttemptTimeout` inside see it as the deadline in force; by itself it cuts no try.
        on_retry: Told of each try that will be repeated, before the wait.
        cancel: Ends the wait and the tries from another thread.
        budget: Pays for extra tries, and is credited with each success; may be shared. While it is empty
            there is no further try. A try that a guard inside refuses costs nothing.

    Raises:
        ConfigError: *deadline* is not a positive number.
    """

    __slots__ = ("__weakref__", "_budget", "_cancel", "_clock", "_deadline", "_on_retry", "_random", "config")

    def __init__(
        self,
        config: RetryConfig = _DEFAULTS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        deadline: Deadline | float | None = None,
        on_retry: RetryListener | None = None,
        cancel: CancelToken | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        checks.instance("config", config, RetryConfig)
        self.config = config
        self._clock = clock
        self._random = random or _RANDOM
        self._deadline = deadline
        self._on_retry = on_retry
        self._cancel = cancel
        self._budget = budget
        if deadline is not None:
            self._deadline_of_call(deadline)  # a bad number is refused now, not at the first call

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, tried again when it fails.

        Raises:
            DeadlineExceeded: The deadline had passed before the first try.
            Cancelled: The token was used.
            Exception: The last that *fn* raised, the very object, with a note that tells why there is no further try.
        """
        return self._call(fn, args, kwargs)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        refuse_lazy(fn, "retry")

        @functools.wraps(fn)
        def tried(*args: P.args, **kwargs: P.kwargs) -> R:
            return self._call(fn, args, kwargs)

        return tried

    def _call(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        if self._deadline is None:
            return self._try(fn, args, kwargs)
        with in_force(self._deadline_of_call(self._deadline)) as deadline:
            deadline.check()
            return self._try(fn, args, kwargs)

    def _try(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        if self._cancel is not None:
            self._check_cancelled(0)
        tries = 0
        while True:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                tries += 1
                wait = self._wait_after(error, tries)
                if wait is None:
                    raise
            else:
                if self._budget is not None:
                    self._budget.credit()
                return result
            # Outside of the handler, so that a cancellation does not hold the foreign error as its context.
            self._pause(wait, tries)

    def _deadline_of_call(self, deadline: Deadline | float) -> Deadline:
        return deadline if isinstance(deadline, Deadline) else Deadline.after(deadline, self._clock)

    def _check_cancelled(self, tries: int) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled(f"the call was cancelled after {_counted(tries)}")

    def _wait_after(self, error: Exception, tries: int) -> float | None:
        """Seconds to wait before the next try, which is paid for, or None: there is none."""
        if tries > 1 and was_refused(error):
            self._give_back()  # the try that just ended was paid for and not made
        if not isinstance(error, self.config.retry_on):
            return None
        wait = self._next_wait(error, tries)
        if not isinstance(wait, str):
            if self._budget is None or self._budget.try_spend():
                self._tell(RetryAttempt(tries=tries, error=error, wait=wait))
                return wait
            wait = "the retry budget is empty"
        add_note(error, f"failsafe: {_counted(tries)}, then gave up: {wait}")
        return None

    def _next_wait(self, error: Exception, tries: int) -> float | str:
        """Seconds to wait before the next try, or why there is none."""
        config = self.config
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
        deadline = current_deadline()  # only now: a first try that succeeds needs none
        if deadline is not None and wait >= deadline.left:
            return f"waiting {in_words(wait)} would pass the deadline"
        return wait

    def _pause(self, wait: float, tries: int) -> None:
        """Wait; whatever ends the call here gives back what was paid for the next try."""
        try:
            self._clock.wait(threading.Event() if self._cancel is None else self._cancel.event, wait)
            self._check_cancelled(tries)
        except BaseException:
            self._give_back()
            raise

    def _give_back(self) -> None:
        if self._budget is not None:
            self._budget.give_back()

    def _tell(self, attempt: RetryAttempt) -> None:
        if self._on_retry is None:
            return
        try:
            self._on_retry(attempt)
        except Exception:
            _logger.exception("on_retry failed")
        except BaseException:  # the program is ending, or was interrupted: there will be no next try
            self._give_back()
            raise

    def __repr__(self) -> str:
        return f"<Retry max_retries={self.config.max_retries}>"


def _counted(tries: int) -> str:
    return "1 try" if tries == 1 else f"{tries} tries"


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
        deadline: No wait goes past it, nor past the one in force around the call
            (:func:`failsafe.current_deadline`). A number gives each call that many seconds; the tries
            themselves are not cut.
        on_retry: Told of each try that will be repeated, before the wait.
        cancel: Ends the wait and the tries from another thread.

    Raises:
        TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        ConfigError: *deadline* is not a positive number.

    The decorated function raises what *fn* raises, :class:`failsafe.DeadlineExceeded` if the deadline has
    passed before the first try, and :class:`failsafe.Cancelled` once *cancel* was used.
    """
    policy = Retry(config, clock=clock, random=random, deadline=deadline, on_retry=on_retry, cancel=cancel)
    return policy if fn is None else policy(fn)


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
    policy = Retry(config, clock=clock, random=random, deadline=deadline, on_retry=on_retry, cancel=cancel)
    return policy.call(fn, *args, **kwargs)
