"""
Slots for calls under way: who holds one, who waits for one, and who is next.

:class:`failsafe.bulkhead.Bulkhead` and :class:`failsafe.adaptive.AdaptiveConcurrency` are the shells around it.
One lock covers the bookkeeping and nothing else: the clock is asked, and waiters are woken, outside it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import TracebackType
from typing import Protocol, Self

import msgspec

from failsafe import forking
from failsafe.clock import Clock
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import BulkheadFull, RateLimited, Transient
from failsafe.signal_safe import SignalSafeEvent
from failsafe.waiting import wait_for

_PUSHBACK = (RateLimited, Transient, TimeoutError)


def pushback_of(error: BaseException | None) -> bool | None:
    """
    Return what the end of a call says about the service's load.

    Args:
        error: What the call raised, or None if it returned.

    Returns:
        False: it answered. True: it pushed back (:class:`failsafe.RateLimited`, :class:`failsafe.Transient`,
        ``TimeoutError``). None: nothing; the caller made a mistake or gave up, or the error is not the service's.
    """
    if error is None:
        return False
    return True if isinstance(error, _PUSHBACK) else None


class ConcurrencyStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    A limit on calls under way at one moment.

    Attributes:
        name: The limit's name.
        in_flight: Calls that hold a slot; above ``limit`` for a while after an adaptive limit has fallen.
        limit: Calls that may hold one.
        waiting: Calls that wait for one.
        rejected: How often a slot was refused since the start, at once or after a wait.
    """

    name: str
    in_flight: int
    limit: int
    waiting: int
    rejected: int


class LimitRule(Protocol):
    """
    Moves a limit by how calls end.

    Not thread-safe: the lock of the slots is held around every method, which must do arithmetic only.
    """

    limit: int
    """Calls that may be under way at this moment."""
    generation: int
    """How often the limit has fallen."""

    def ended(self, *, generation: int, seconds: float, pushback: bool | None, in_flight: int) -> None:
        """
        Take note of a call that has ended.

        Args:
            generation: What the rule's was when the call began.
            seconds: How long it took.
            pushback: As for :meth:`Slot.release`.
            in_flight: Calls under way at its end, itself included.
        """


class Slot:
    """
    The right to have one call under way, to be released once.

    As a context manager it releases itself, and judges how the block ends by :func:`pushback_of`. Thread-safe; it may
    be released in another thread than the one that acquired it.
    """

    __slots__ = ("_slots", "generation", "started_at")

    def __init__(self, slots: Slots, started_at: float, generation: int) -> None:
        self._slots = slots
        self.started_at = started_at
        """On the clock's monotonic scale, where the limit moves; else 0."""
        self.generation = generation
        """How often the limit had fallen when it was granted."""

    def release(self, *, pushback: bool | None = None, seconds: float | None = None) -> None:
        """
        Give it to the longest waiter, or back; later calls do nothing.

        Args:
            pushback: What an adaptive limit learns from the call. True: the service pushed back (429, 529, a timeout).
                False: it answered. None: the call says nothing (cancelled, never sent, the caller's own mistake).
            seconds: How long the service took, where that is known better than by how long the slot was held.
        """
        self._slots.give_back(self, pushback, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._slots.give_back(self, pushback_of(error))

    def __repr__(self) -> str:
        return f"<Slot {self._slots.name}{'' if self._slots.holds(self) else ' released'}>"


class _Waiter:
    """A call in the queue; ``event`` is set once it was handed ``slot``, or cancelled."""

    __slots__ = ("event", "slot")

    def __init__(self) -> None:
        self.event = SignalSafeEvent()  # as a cancellation sets it, too
        self.slot: Slot | None = None  # written under the slots' lock


class Slots:
    """
    Hands out at most ``limit`` slots, waiting calls first, in the order in which they came. Thread-safe.

    While somebody waits no slot is free: whoever gives one back hands it to the longest waiter in the same step, so
    that nobody can overtake.

    Args:
        name: What errors and reprs call it.
        limit: How many, or the rule that says how many.
        clock: Asked for the time, never under the lock.

    Attributes:
        name: What errors and reprs call it.
        limit: How many there are at this moment.
    """

    __slots__ = ("__weakref__", "_clock", "_held", "_lock", "_queue", "_rejected", "_rule", "limit", "name")

    def __init__(self, name: str, limit: int | LimitRule, clock: Clock) -> None:
        self.name = name
        self._rule = None if isinstance(limit, int) else limit  # guarded by _lock
        self.limit: int = limit if isinstance(limit, int) else limit.limit  # guarded by _lock for writing
        self._clock = clock
        self._rejected = 0  # guarded by _lock
        self._start_empty()
        forking.register(self)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        # What is not in here was released, or belongs to the process this one was forked from.
        self._held: set[Slot] = set()  # guarded by _lock for writing
        self._queue: OrderedDict[_Waiter, None] = OrderedDict()  # guarded by _lock for writing; longest waiter first

    @property
    def in_flight(self) -> int:
        """Slots that are held."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def holds(self, slot: Slot) -> bool:
        """Whether *slot* is still to be given back."""
        return slot in self._held

    def stats(self) -> ConcurrencyStats:
        """All figures of one moment."""
        with self._lock:
            return ConcurrencyStats(
                name=self.name,
                in_flight=len(self._held),
                limit=self.limit,
                waiting=len(self._queue),
                rejected=self._rejected,
            )

    def take(self, *, refuse: bool = True) -> Slot | None:
        """A slot, or None: every one is held. Never waits; *refuse* counts the None as a rejection."""
        rule = self._rule
        now = 0.0 if rule is None else self._clock.monotonic()
        with self._lock:
            if len(self._held) < self.limit:
                slot = Slot(self, now, 0 if rule is None else rule.generation)
                self._held.add(slot)
                return slot
            if refuse:
                self._rejected += 1
        return None

    def take_in_turn(self, max_wait: float, deadline: Deadline | None, cancel: CancelToken | None) -> Slot:
        """
        Return a slot, after a wait of at most *max_wait* seconds in the queue.

        Raises:
            BulkheadFull: There was none by then, or by *deadline*.
            Cancelled: *cancel* was used.
        """
        slot = self.take(refuse=False)
        if slot is not None:
            return slot
        began = self._clock.monotonic()
        waiter = _Waiter()
        try:
            if self._join(waiter, began):
                slot = waiter.slot
            else:
                wait_for(waiter.event, max_wait, clock=self._clock, deadline=deadline, cancel=cancel)
                waited = self._clock.monotonic() - began
                if deadline is None or not deadline.expired:
                    slot = self._leave(waiter)
        finally:
            if slot is None:  # refused, cancelled or interrupted, perhaps in the moment in which it was handed one
                self._give_on(waiter)
        if slot is None:
            raise self._refusal(waited)
        return slot

    def give_back(self, slot: Slot, pushback: bool | None, seconds: float | None = None) -> None:
        """Take *slot* out of use, unless that was done, and hand it on."""
        rule = self._rule
        now = 0.0 if rule is None else self._clock.monotonic()
        with self._lock:
            if slot not in self._held:
                return
            if rule is not None:
                took = now - slot.started_at if seconds is None else seconds
                rule.ended(generation=slot.generation, seconds=took, pushback=pushback, in_flight=len(self._held))
                self.limit = rule.limit
            self._held.remove(slot)
            if not self._queue:
                return
            handed = self._hand_on_locked(now)
        for waiter in handed:
            waiter.event.set()

    def _join(self, waiter: _Waiter, now: float) -> bool:
        """Whether *waiter* has a slot at once; else it is the last in the queue."""
        with self._lock:
            if len(self._held) < self.limit:
                self._hand_locked(waiter, now)
                return True
            self._queue[waiter] = None
            return False

    def _leave(self, waiter: _Waiter) -> Slot | None:
        """Take *waiter* out of the queue; the slot that it was handed by then."""
        with self._lock:
            self._queue.pop(waiter, None)
            return waiter.slot

    def _give_on(self, waiter: _Waiter) -> None:
        slot = self._leave(waiter)
        if slot is not None:
            self.give_back(slot, None)

    def _refusal(self, waited: float) -> BulkheadFull:
        with self._lock:
            self._rejected += 1
        return BulkheadFull(self.name, self.limit, waited)

    def _hand_on_locked(self, now: float) -> list[_Waiter]:
        """Hand what is free to those who have waited longest, who are to be woken; several if the limit rose."""
        handed = []
        while self._queue and len(self._held) < self.limit:
            waiter, _ = self._queue.popitem(last=False)
            self._hand_locked(waiter, now)
            handed.append(waiter)
        return handed

    def _hand_locked(self, waiter: _Waiter, now: float) -> None:
        waiter.slot = Slot(self, now, 0 if self._rule is None else self._rule.generation)
        self._held.add(waiter.slot)

    def _after_fork(self) -> None:
        """Free, in a forked child, the lock and the slots that only the parent's threads can give back."""
        self._start_empty()
        if self._rule is not None:
            self.limit = self._rule.limit  # the parent may have been between the two
