"""Hands events to listeners without letting one slow a call down."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from failsafe import forking
from failsafe.events import Event

Listener = Callable[[Event], None]

_logger = logging.getLogger("failsafe.events")


class EventBus:
    """
    Delivers every event to every listener, in order.

    A plain listener runs on the bus's own thread, off a bounded queue: when the listeners cannot
    keep up, events are dropped and counted, and no call waits. A listener registered with
    ``sync=True`` runs in the thread that emits. What a listener raises is logged and goes no
    further. Thread-safe; the thread starts with the first plain listener and is a daemon.

    Args:
        capacity: The most events that wait for plain listeners.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self.active = False
        """Whether anyone listens; look here before building an event."""
        self.dropped = 0
        """Events that did not fit into the queue."""
        self._capacity = capacity
        self._start_afresh()
        self._sync: tuple[Listener, ...] = ()  # replaced under _changed, read without
        self._plain: tuple[Listener, ...] = ()  # replaced under _changed, read without
        forking.register(self)

    def _start_afresh(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[Event] = deque()  # guarded by _changed
        self._thread: threading.Thread | None = None  # guarded by _changed
        self._closing = False  # guarded by _changed

    _after_fork = _start_afresh  # the parent's thread does not exist in the child; emit starts one

    def subscribe(self, listener: Listener, *, sync: bool = False) -> Callable[[], None]:
        """
        Have *listener* called with every event from now on.

        Args:
            listener: Called with one event; should not block for long.
            sync: Run it in the emitting thread, before the call goes on.

        Returns:
            A function that ends the subscription; calling it twice does no harm.
        """
        with self._changed:
            if sync:
                self._sync = (*self._sync, listener)
            else:
                self._plain = (*self._plain, listener)
            self.active = True
        return lambda: self._unsubscribe(listener)

    def _unsubscribe(self, listener: Listener) -> None:
        with self._changed:
            self._sync = tuple(other for other in self._sync if other is not listener)
            self._plain = tuple(other for other in self._plain if other is not listener)
            self.active = bool(self._sync or self._plain)

    def emit(self, event: Event) -> None:
        """Deliver *event*; returns at once but for the ``sync`` listeners."""
        for listener in self._sync:
            _deliver(listener, event)
        if self._plain:
            self._enqueue(event)

    def _enqueue(self, event: Event) -> None:
        with self._changed:
            if self._closing or len(self._waiting) >= self._capacity:
                self.dropped += 1
                return
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="failsafe-events", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closing:
                        return
                    self._changed.wait()
                event = self._waiting.popleft()
            for listener in self._plain:
                _deliver(listener, event)

    def close(self, timeout: float = 1.0) -> None:
        """Deliver what waits, for at most *timeout* seconds, and end the thread; idempotent."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)


def _deliver(listener: Listener, event: Event) -> None:
    try:
        listener(event)
    except Exception:
        # A listener is a guest: its mistake must not become the caller's failed call.
        _logger.exception("a listener failed on %s", type(event).__name__)
