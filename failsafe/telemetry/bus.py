"""Hands events to listeners without letting one slow a call down."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue

from failsafe import forking, threads
from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import Event

Listener = Callable[[Event], object]
"""Called with one event; the result is ignored."""

_logger = logging.getLogger("failsafe.events")


class _Subscription:
    """One listener, until it is taken off."""

    __slots__ = ("ended", "listener", "starts")

    def __init__(self, listener: Listener, starts: bool) -> None:
        self.listener = listener
        self.starts = starts
        self.ended = False

    def deliver(self, event: Event) -> None:
        if self.ended:
            return
        try:
            self.listener(event)
        except Exception:
            # A listener is a guest: its mistake must not become the caller's failed call.
            _logger.exception("a listener failed on %s", type(event).__name__)


_Entry = tuple[tuple[_Subscription, ...], Event] | None
"""An event with those who are to hear of it; None ends the thread."""


class EventBus:
    """
    Delivers every event to every listener, in order.

    A plain listener runs on the bus's own thread, off a bounded queue: when the listeners cannot
    keep up, events are dropped and counted, and no call waits. A listener registered with
    ``sync=True`` runs in the thread that emits. What a listener raises is logged and goes no
    further; only what ends a program (``KeyboardInterrupt``, ``SystemExit``) passes out of a
    ``sync`` one.

    The thread starts with the first event for a plain listener, is a daemon, and ends with
    :meth:`close` or with the bus itself; a program that ends normally waits up to a second for what
    is still queued. Thread-safe; may be used from listeners and signal handlers.

    Args:
        capacity: The most events that wait for plain listeners (a few more when many threads emit at once).
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self.active = False
        """Whether anyone listens; look here before building an event."""
        self.starts = False
        """Whether anyone wants to hear that a call begins; look here before :meth:`emit_start`."""
        self.dropped = 0
        """Events that did not fit into the queue, or came after the end."""
        self._capacity = capacity
        self._closed = False
        self._sync: tuple[_Subscription, ...] = ()  # replaced under _lock, read without
        self._plain: tuple[_Subscription, ...] = ()  # replaced under _lock, read without
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may emit while this thread holds it
        self._thread: threading.Thread | None = None  # guarded by _lock
        # The thread holds the queue and nothing that leads to the bus, so that the bus can be collected.
        self._queue: SimpleQueue[_Entry] = SimpleQueue()
        weakref.finalize(self, self._queue.put, None).atexit = False

    _after_fork = _start_afresh  # the parent delivers what it has queued; emit starts a thread of the child's

    def subscribe(self, listener: Listener, *, sync: bool = False, starts: bool = False) -> Callable[[], None]:
        """
        Have *listener* called with every event from now on.

        Args:
            listener: Called with one event; should not block for long.
            sync: Run it in the emitting thread, before the call goes on.
            starts: Call it also with what :meth:`emit_start` is given.

        Returns:
            A function that ends the subscription; calling it twice does no harm.
        """
        subscription = _Subscription(listener, starts)
        with self._lock:
            if sync:
                self._sync = (*self._sync, subscription)
            else:
                self._plain = (*self._plain, subscription)
            self._look_who_listens_locked()
        return lambda: self._end(subscription)

    def _end(self, subscription: _Subscription) -> None:
        subscription.ended = True
        with self._lock:
            self._sync = tuple(other for other in self._sync if other is not subscription)
            self._plain = tuple(other for other in self._plain if other is not subscription)
            self._look_who_listens_locked()

    def _look_who_listens_locked(self) -> None:
        self.active = bool(self._sync or self._plain)
        self.starts = any(subscription.starts for subscription in (*self._sync, *self._plain))

    def emit(self, event: Event) -> None:
        """Deliver *event*; returns at once but for the ``sync`` listeners."""
        for subscription in self._sync:
            subscription.deliver(event)
        if self._plain:
            self._enqueue(self._plain, event)

    def emit_start(self, event: Event) -> None:
        """As :meth:`emit`, to those alone who want to hear that something begins."""
        for subscription in self._sync:
            if subscription.starts:
                subscription.deliver(event)
        plain = tuple(subscription for subscription in self._plain if subscription.starts)
        if plain:
            self._enqueue(plain, event)

    def _enqueue(self, subscriptions: tuple[_Subscription, ...], event: Event) -> None:
        if self._closed or self._queue.qsize() >= self._capacity:
            self._drop()
            return
        self._queue.put((subscriptions, event))
        if self._thread is None:
            self._start()

    def _drop(self) -> None:
        with self._lock:
            self.dropped += 1

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=_deliver_from, args=(self._queue,), name="failsafe-events", daemon=True)
            try:
                threads.start(thread)
            except RuntimeError:  # no thread to be had: the next event tries again, and the queue is bounded
                return
            self._thread = thread
            _running.add(self)

    def close(self, timeout: float = 1.0) -> None:
        """Deliver what waits, for at most *timeout* seconds, and end the thread; the rest is dropped. Idempotent."""
        self._closed = True
        self._queue.put(None)
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout)
        if thread.is_alive():  # stuck in a listener; it ends when that returns
            self._empty()

    def _empty(self) -> None:
        try:
            while True:
                if self._queue.get_nowait() is not None:
                    self._drop()
        except Empty:
            self._queue.put(None)


def _deliver_from(queue: SimpleQueue[_Entry]) -> None:
    while _deliver_next(queue):
        pass


def _deliver_next(queue: SimpleQueue[_Entry]) -> bool:
    """Deliver one event; a function of its own, so that the thread holds no listener while it waits for the next."""
    entry = queue.get()
    if entry is None:
        return False
    subscriptions, event = entry
    for subscription in subscriptions:
        try:
            subscription.deliver(event)
        except BaseException:  # sys.exit() in a listener must not end the thread of the others
            _logger.exception("a listener tried to end its thread on %s", type(event).__name__)
    return True


_running: weakref.WeakSet[EventBus] = weakref.WeakSet()


@atexit.register
def _close_all(within: float = 1.0) -> None:
    """Let a program that ends deliver what its routers have queued, all of them together within a second."""
    end = SYSTEM_CLOCK.monotonic() + within
    for bus in list(_running):
        bus.close(max(0.0, end - SYSTEM_CLOCK.monotonic()))
