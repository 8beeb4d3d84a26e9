"""Counts the calls under way, so that closing can wait for them."""

from __future__ import annotations

import threading

from failsafe import forking
from failsafe.errors import RouterClosed


class Gate:
    """Lets calls in until it is closed, then waits for the last one to leave. Thread-safe."""

    def __init__(self) -> None:
        self._closed = False
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._emptied = threading.Condition(threading.Lock())
        self.inside = 0  # guarded by _emptied; a forked child runs none of its parent's calls

    _after_fork = _start_afresh

    def enter(self) -> None:
        """
        Count one call in.

        Raises:
            RouterClosed: :meth:`close` was called before.
        """
        with self._emptied:
            if self._closed:
                raise RouterClosed("this router is closed; make a new one")
            self.inside += 1

    def leave(self) -> None:
        """Count one call out."""
        with self._emptied:
            self.inside -= 1
            if self._closed and not self.inside:
                self._emptied.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """Let nobody in any more and wait until all have left, *timeout* seconds at most; True if all have."""
        with self._emptied:
            self._closed = True
            return self._emptied.wait_for(lambda: not self.inside, timeout)
