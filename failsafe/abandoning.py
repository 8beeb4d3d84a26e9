"""
Run a function so that its caller can walk away from it.

A Python function cannot be stopped from outside. It can be run in a thread of its own and left there:
the caller goes on at its limit, the thread ends when the function does, and what it brings is dropped.
Each function gets a new thread, so none stays behind that nobody needs, and a function that is stuck
takes no place from another; what is bounded is how many may be stuck.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from failsafe import forking, threads
from failsafe.deadline import CancelToken, ChildToken, Deadline
from failsafe.errors import TooManyAbandoned

R = TypeVar("R")

_LATE = "no result within {limit}; the function was left running and its result will be dropped"

_MOST_IN_ALL = 1000
"""Functions given up and still running in the whole process, however many runners there are."""


class _Job(Generic[R]):
    """One function on its way; what it brought is there once ``done`` is set."""

    __slots__ = ("abandoned", "done", "ended", "error", "result")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.ended = False  # guarded by the ledger's lock
        self.abandoned = False  # guarded by the ledger's lock
        self.result: R
        self.error: BaseException | None = None

    def outcome(self) -> R:
        """Return or raise what the function did."""
        if self.error is None:
            return self.result
        try:
            raise self.error
        finally:
            self.error = None  # its traceback leads to this frame: a cycle that only the collector would end


class _Ledger:
    """How many functions were given up and still run, in the whole process. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # also guards the counts of the runners
        self.total = 0  # guarded by lock
        forking.register(self)

    def _after_fork(self) -> None:
        self.lock = threading.Lock()
        self.total = 0


_ledger = _Ledger()


class Abandoner:
    """
    Runs functions in threads of their own and leaves behind those that take too long. Thread-safe.

    Args:
        name: What errors call it.
        max_abandoned: Functions left behind that may still be running; at this number no further one is
            started. Those that are under way at that moment may still add to it.
    """

    __slots__ = ("__weakref__", "_abandoned", "_max_abandoned", "_name")

    def __init__(self, name: str, max_abandoned: int) -> None:
        self._name = name
        self._max_abandoned = max_abandoned
        self._abandoned = 0  # guarded by the ledger's lock
        forking.register(self)

    @property
    def abandoned(self) -> int:
        """Functions that were left behind and still run."""
        return self._abandoned

    def run(self, deadline: Deadline, fn: Callable[..., R], args: Iterable[Any], kwargs: Mapping[str, Any]) -> R:
        """
        Return ``fn(*args, **kwargs)``, run in another thread with a copy of this one's context variables.

        A :class:`failsafe.CancelToken` among the arguments is replaced by one of the call's own, which is
        cancelled with it, and when *fn* is left behind.

        Args:
            deadline: When to walk away.
            fn: The function.
            args: Its positional arguments.
            kwargs: Its keyword arguments.

        Raises:
            TooManyAbandoned: *fn* was not called.
            DeadlineExceeded: *fn* was left behind (or what else :meth:`Deadline.exceeded` makes of that).
            BaseException: Whatever *fn* raises, unchanged.
        """
        self._check_room()
        tokens: list[ChildToken] = []
        args = [_own(each, tokens) for each in args]
        kwargs = {name: _own(each, tokens) for name, each in kwargs.items()}
        job: _Job[R] = _Job()
        thread = threading.Thread(
            target=self._work,
            args=(job, contextvars.copy_context(), fn, args, kwargs),
            name=f"failsafe-{getattr(fn, '__name__', 'call')}",
            daemon=True,  # a stuck function must not keep the program from ending
        )
        try:
            threads.start(thread)
            in_time = deadline.wait(job.done)
        except BaseException:  # the caller was interrupted, or there is no thread to be had
            self._leave(job, thread, tokens)
            raise
        finally:
            for token in tokens:
                token.close()
        if not in_time and self._leave(job, thread, tokens):
            raise deadline.exceeded(_LATE)
        return job.outcome()

    def _check_room(self) -> None:
        for name, count, most in (
            (self._name, self._abandoned, self._max_abandoned),
            (f"{self._name}, among all timeouts of the process", _ledger.total, _MOST_IN_ALL),
        ):
            if count >= most:
                raise TooManyAbandoned(name, count)

    def _leave(self, job: _Job[R], thread: threading.Thread, tokens: list[ChildToken]) -> bool:
        """Walk away; False if the function has ended in the meantime."""
        with _ledger.lock:
            if job.ended:
                return False
            if thread.ident is not None:
                job.abandoned = True
                self._count_locked(1)
        for token in tokens:
            token.cancel()
        return True

    def _work(
        self, job: _Job[R], context: contextvars.Context, fn: Callable[..., R], args: Any, kwargs: Mapping[str, Any]
    ) -> None:
        try:
            job.result = context.run(fn, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 -- raised again in the caller's thread
            job.error = error
        with _ledger.lock:
            job.ended = True
            if job.abandoned:
                self._count_locked(-1)
                job.error = None  # its traceback leads to this frame: a cycle that only the collector would end
        job.done.set()

    def _count_locked(self, change: int) -> None:
        self._abandoned += change
        _ledger.total += change

    def _after_fork(self) -> None:
        self._abandoned = 0  # their threads are the parent's


def _own(value: object, tokens: list[ChildToken]) -> object:
    """*value*, or for a token one of the call's own that follows it."""
    if not isinstance(value, CancelToken):
        return value
    tokens.append(value.child())
    return tokens[-1]
