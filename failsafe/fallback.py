"""
A last answer, for when everything else has failed.

::

    Fallback([]).call(fetch_news)                      # an empty list instead of an error

    @Fallback(lambda error: cache["news"], on=(OSError, DeadlineExceeded))
    def fetch_news(): ...

The guide is ``docs/composition.md``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from failsafe import checks, forking
from failsafe.outcome import add_note, guarded, may_fall_back

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")

FallbackListener = Callable[[Exception], object]
"""Told of the error that is answered, before the answer is made; the result is ignored, an exception is logged."""

_logger = logging.getLogger("failsafe.fallback")


class FallbackStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    The figures of a fallback at one moment; calls that succeeded by themselves are not counted.

    Attributes:
        answered: Errors that it gave an answer for.
        failed: Errors for which its function had no answer either.
        passed_on: Errors that it does not answer for.
    """

    answered: int
    failed: int
    passed_on: int


class Fallback(Generic[A]):
    """
    Answers in place of a function that failed: with a value, or with what a function makes of the error.

    It answers for every ``Exception`` but those that are the caller's own doing
    (:func:`failsafe.outcome.may_fall_back`: cancellation, a wrong request or setting, a closed router);
    what ends a program is never answered. Thread-safe as far as its function is.

    Args:
        answer: The value; or, if it is callable, a function of the error that returns it. (A value that is
            itself callable: ``lambda error: value``.)
        on: Exception classes: these and only these are answered for, the caller's own doing included.
        on_fallback: Told of each error that is answered, in the thread of the call.

    Raises:
        ConfigError: *on* holds anything but subclasses of ``Exception``.
    """

    __slots__ = ("__weakref__", "_answer", "_answered", "_failed", "_lock", "_on", "_on_fallback", "_passed_on")

    @overload
    def __init__(
        self,
        answer: Callable[[Exception], A],
        *,
        on: type[Exception] | tuple[type[Exception], ...] | None = ...,
        on_fallback: FallbackListener | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        answer: A,
        *,
        on: type[Exception] | tuple[type[Exception], ...] | None = ...,
        on_fallback: FallbackListener | None = ...,
    ) -> None: ...

    def __init__(
        self,
        answer: A | Callable[[Exception], A],
        *,
        on: type[Exception] | tuple[type[Exception], ...] | None = None,
        on_fallback: FallbackListener | None = None,
    ) -> None:
        self._answer = answer
        self._on = None if on is None else _classes(on)
        self._on_fallback = on_fallback
        self._lock = threading.Lock()
        self._answered = 0  # guarded by _lock, as are the other counts
        self._failed = 0
        self._passed_on = 0
        forking.register(self)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R | A:
        """
        Return ``fn(*args, **kwargs)``, or the answer in its place.

        Raises:
            Exception: What *fn* raises and is not answered for, unchanged; or what the answering function
                raises, with a note that names the first error, which it does not hold.
        """
        try:
            return fn(*args, **kwargs)
        except Exception as raised:
            if not self._answers(raised):
                self._count(passed_on=1)
                raise
            error = raised
        # Outside of the handler, so that an error of the answering function does not hold the first as its context.
        try:
            return self._answer_to(error)
        finally:
            del error  # its traceback leads to this frame

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R | A]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        return guarded(self.call, fn, "Fallback")

    def stats(self) -> FallbackStats:
        """All figures of one moment."""
        with self._lock:
            return FallbackStats(answered=self._answered, failed=self._failed, passed_on=self._passed_on)

    def _answers(self, error: Exception) -> bool:
        return may_fall_back(error) if self._on is None else isinstance(error, self._on)

    def _answer_to(self, error: Exception) -> A:
        self._tell(error)
        if not callable(self._answer):
            self._count(answered=1)
            return self._answer
        try:
            answer = self._answer(error)
        except Exception as second:
            self._count(failed=1)
            if second is not error:  # else it decided not to answer
                second.__context__ = None
                add_note(second, f"failsafe: the fallback for {type(error).__name__} failed")
                raise second from None
            raise
        self._count(answered=1)
        return answer

    def _tell(self, error: Exception) -> None:
        if self._on_fallback is None:
            return
        try:
            self._on_fallback(error)
        except Exception:
            _logger.exception("on_fallback failed")

    def _count(self, *, answered: int = 0, failed: int = 0, passed_on: int = 0) -> None:
        with self._lock:
            self._answered += answered
            self._failed += failed
            self._passed_on += passed_on

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<Fallback {stats.answered} answered, {stats.failed} failed>"


def _classes(on: Any) -> tuple[type[Exception], ...]:
    classes = on if isinstance(on, tuple) else (on,)
    if not classes or not all(isinstance(each, type) and issubclass(each, Exception) for each in classes):
        checks.refuse("on", on, "subclasses of Exception are needed, one or a tuple")
    return classes
