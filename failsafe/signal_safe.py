"""An event that a signal handler may set."""

from __future__ import annotations

import threading
from contextlib import suppress


class SignalSafeEvent(threading.Event):
    """
    An event as :class:`threading.Event`, which may also be set by a signal handler of the thread that waits for it.

    The standard one takes a lock as a wait begins and ends, and a handler that sets the event just then would wait for
    that lock for ever: it is held by the very thread that the handler interrupts. Here every wait has a lock of its
    own that nobody but :meth:`set` gives back, and all else is single operations. Thread-safe.
    """

    def __init__(self) -> None:
        self._flag = False
        self._waiting: dict[threading.Lock, None] = {}

    def set(self) -> None:
        """Set the flag and wake all who wait."""
        self._flag = True
        for lock in list(self._waiting):
            with suppress(RuntimeError):  # somebody else has set the event at the same time
                lock.release()

    def clear(self) -> None:
        """Reset the flag."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the flag is set, or for *timeout* seconds; whether it is set."""
        lock = threading.Lock()
        lock.acquire()
        self._waiting[lock] = None
        try:
            if self._flag:  # looked at only now: who sets it from here on gives the lock back
                return True
            woken = lock.acquire(timeout=threading.TIMEOUT_MAX if timeout is None else max(0.0, timeout))
            return woken or self._flag
        finally:
            self._waiting.pop(lock, None)
