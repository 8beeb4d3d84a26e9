"""What failsafe's own tests use, for the tests of programs that use failsafe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class FakeClock:
    """
    A :class:`failsafe.clock.Clock` that stands still until told to move.

    ``wait`` moves it by the whole timeout at once (unless the event is set already), so code that
    sleeps under it takes no time; ``waits`` lists every such wait in seconds. Thread-safe.

    Args:
        start: The first value of :meth:`monotonic`, seconds.
        wall: The first value of :meth:`time`, seconds since 1970-01-01 UTC.
    """

    def __init__(self, start: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = start  # guarded by _lock
        self._wall_offset = wall - start
        self.waits: list[float] = []
        self._during_wait: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds on the fake scale."""
        with self._lock:
            return self._now

    def time(self) -> float:
        """Fake seconds since 1970-01-01 UTC; moves with :meth:`monotonic`."""
        return self.monotonic() + self._wall_offset

    def advance(self, seconds: float) -> None:
        """Move time forward by *seconds*."""
        with self._lock:
            self._now += seconds

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Move time forward by *timeout* seconds, unless *event* is set; True if it is set."""
        self.waits.append(timeout)
        for callback in self._during_wait:
            callback()
        if not event.is_set():
            self.advance(timeout)
        return event.is_set()

    @contextmanager
    def during_wait(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run *callback* at the start of every wait inside the block, e.g. to cancel a token."""
        self._during_wait.append(callback)
        try:
            yield
        finally:
            self._during_wait.remove(callback)
