"""Tell listeners about a breaker's transitions: outside its lock, and still in order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from failsafe.clock import Clock
from failsafe.events import CircuitState, StateChanged

StateListener = Callable[[StateChanged], object]
"""Told of each transition, in a thread that uses the breaker, after its lock; the result is ignored."""

_logger = logging.getLogger("failsafe.breaker")


class _Noted(NamedTuple):
    """A transition as noted under the breaker's lock, on the monotonic scale."""

    now: float
    old: CircuitState
    new: CircuitState
    reason: str
    retry_after: float | None


class StateListeners:
    """
    The listeners of one breaker and the transitions they have yet to hear of.

    :meth:`note` is called with the breaker's lock held and only queues; :meth:`tell` is called
    after it and empties the queue, one thread at a time, so that transitions are told in the
    order in which they happened whichever thread gets there first. Thread-safe.
    """

    __slots__ = ("_clock", "_listeners", "_lock", "_name", "_telling", "pending")

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: dict[object, StateListener] = {}  # guarded by _lock; replaced, never changed
        self.pending: deque[_Noted] = deque()
        self._telling = threading.Lock()

    def subscribe(self, listener: StateListener) -> Callable[[], None]:
        """Tell *listener* of every transition from now on; returns a function that ends this."""
        token = object()
        with self._lock:
            self._listeners = {**self._listeners, token: listener}
        return lambda: self._unsubscribe(token)

    def _unsubscribe(self, token: object) -> None:
        with self._lock:
            self._listeners = {key: value for key, value in self._listeners.items() if key is not token}

    def note(self, now: float, old: CircuitState, new: CircuitState, reason: str, retry_after: float | None) -> None:
        """Queue a transition if somebody listens; the breaker's lock is held."""
        if self._listeners:
            self.pending.append(_Noted(now, old, new, reason, retry_after))

    def tell(self) -> None:
        """Tell what is queued, unless a thread (perhaps this one, further up) is at it and will take it along."""
        # Asked again after letting go: what was queued in between found the door shut and relies on us.
        while self.pending and self._telling.acquire(blocking=False):
            try:
                self._empty()
            finally:
                self._telling.release()

    def _empty(self) -> None:
        while self.pending:
            noted = self.pending.popleft()
            event = self._event(noted)
            for listener in self._listeners.values():
                self._tell_one(listener, event)

    def _event(self, noted: _Noted) -> StateChanged:
        ago = max(0.0, self._clock.monotonic() - noted.now)
        return StateChanged(
            at=self._clock.time() - ago,
            name=self._name,
            old=noted.old,
            new=noted.new,
            reason=noted.reason,
            retry_after=noted.retry_after,
        )

    def _tell_one(self, listener: StateListener, event: StateChanged) -> None:
        try:
            listener(event)
        except Exception:
            _logger.exception("a listener of circuit breaker %r failed on %s -> %s", self._name, event.old, event.new)

    def after_fork(self) -> None:
        """Forget, in a forked child, the parent's locks and what the parent will tell."""
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self.pending.clear()
