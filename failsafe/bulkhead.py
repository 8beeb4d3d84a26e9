"""
A bulkhead: so many calls to one service at once, and no more.

::

    bulkhead = Bulkhead("billing", BulkheadConfig(max_concurrent=10, max_wait=2.0))
    bulkhead.call(charge, order)         # raises BulkheadFull if ten others are still under way after 2 s

    slot = bulkhead.try_acquire()        # the primitive under it: a slot, or None
    if slot is not None:
        with slot:
            charge(order)

The guide is ``docs/limits.md``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from failsafe import checks
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import BulkheadFull
from failsafe.outcome import refuse_lazy
from failsafe.policy_config import BulkheadConfig
from failsafe.slots import ConcurrencyStats, LimitRule, Slot, Slots, pushback_of
from failsafe.waiting import check_cancelled

__all__ = ["Bulkhead", "ConcurrencyLimit", "ConcurrencyStats", "Slot"]

P = ParamSpec("P")
R = TypeVar("R")


class _Entered(threading.local):
    """The slots of the ``with`` blocks that this thread is in, innermost last."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []


class ConcurrencyLimit:
    """
    What :class:`Bulkhead` and :class:`failsafe.AdaptiveConcurrency` have in common: slots for calls under way.

    Waiting calls are served in the order in which they came; nobody overtakes them. Each ``with`` block has its own
    slot; blocks nest (which takes a slot each), and threads do not disturb each other (inside a generator that several
    threads may resume, use ``with limit.acquire():``). Thread-safe: no lock is held while the protected function runs.
    In a forked child the slots of the parent are forgotten: they count in the parent alone.
    """

    __slots__ = ("__weakref__", "_entered", "_max_wait", "_slots")

    def __init__(self, name: str, limit: int | LimitRule, max_wait: float, clock: Clock) -> None:
        self._slots = Slots(checks.text("name", name), limit, clock)
        self._max_wait = max_wait
        self._entered = _Entered()

    @property
    def name(self) -> str:
        """What errors and the repr call it."""
        return self._slots.name

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._slots.in_flight

    @property
    def limit(self) -> int:
        """Calls that may be under way at this moment."""
        return self._slots.limit

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._slots.waiting

    @property
    def is_full(self) -> bool:
        """Whether a further call would have to wait; never decide by it: another thread may be faster."""
        return self.in_flight >= self.limit

    def stats(self) -> ConcurrencyStats:
        """All figures of one moment."""
        return self._slots.stats()

    def try_acquire(self) -> Slot | None:
        """Return a slot, which must be released, or None: do not make the call. Never waits."""
        return self._slots.take()

    def acquire(
        self, *, max_wait: float | None = None, deadline: Deadline | None = None, cancel: CancelToken | None = None
    ) -> Slot:
        """
        Return a slot, which must be released, if need be after a wait.

        Args:
            max_wait: Seconds to wait at most (0 to a day); None: those of the settings.
            deadline: The wait does not go past it.
            cancel: Ends the wait from another thread.

        Raises:
            BulkheadFull: No slot came free in time; do not make the call.
            Cancelled: *cancel* was used.
            ConfigError: *max_wait* is out of range.
        """
        check_cancelled(cancel)
        seconds = self._max_wait
        if max_wait is not None:
            seconds = checks.number("max_wait", max_wait, least=0, most=86_400)
        if seconds > 0:
            return self._slots.take_in_turn(seconds, deadline, cancel)
        slot = self._slots.take()
        if slot is None:
            raise BulkheadFull(self.name, self.limit)
        return slot

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, made while a slot is held.

        Raises:
            BulkheadFull: *fn* was not called.
            Exception: Whatever *fn* raises, unchanged.
        """
        with self.acquire():
            return fn(*args, **kwargs)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        refuse_lazy(fn, f"{type(self).__name__} {self.name!r}")

        @functools.wraps(fn)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.acquire():
                return fn(*args, **kwargs)

        return guarded

    def __enter__(self) -> Slot:
        slot = self.acquire()
        self._entered.slots.append(slot)
        return slot

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Empty only if the block is left in another thread than it was entered in, which the class forbids.
        if self._entered.slots:
            self._entered.slots.pop().release(pushback=pushback_of(error))

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<{type(self).__name__} {self.name} {stats.in_flight}/{stats.limit} in flight, {stats.waiting} waiting>"


class Bulkhead(ConcurrencyLimit):
    """
    Lets so many calls be under way at once; further ones wait their turn, or are refused.

    Everything else is as in :class:`ConcurrencyLimit`. Thread-safe.

    Args:
        name: What errors and the repr call it.
        config: How many, and how long a further call waits.
        clock: Where it gets time and waiting from.

    Raises:
        ConfigError: *name* is empty or not printable.
    """

    __slots__ = ("config",)

    def __init__(self, name: str, config: BulkheadConfig, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config.max_concurrent, config.max_wait, clock)
        self.config = config
