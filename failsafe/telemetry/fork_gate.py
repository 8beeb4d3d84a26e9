"""
Keeps SQLite still while the program forks.

SQLite keeps a book of the locks that its process has on a file. A child that is forked while there is a connection
takes that book for its own, though it has none of the locks: it would write without them, or wait for ever for one of
SQLite's own that some thread of its parent held (sqlite.org/howtocorrupt.html, 2.6). So whoever is about to fork waits
until nobody uses SQLite, and lets connections be closed that only wait to be used again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

_PATIENCE = 1.0
"""Seconds that a fork waits at most for those who use SQLite, and they for a fork."""


class Keeper(Protocol):
    """Who keeps a connection open between two uses; hashable and weakly referenceable."""

    def _before_fork(self) -> None:
        """Close it; the next use opens another. Nobody is using it. Must not raise."""


class ForkGate:
    """
    Whoever uses SQLite does so within :meth:`using`; a fork waits for them, for a second at most. Thread-safe.

    A thread that forks while it uses SQLite itself waits for the others, and no connection is closed.
    """

    def __init__(self) -> None:
        self._keepers: WeakSet[Keeper] = WeakSet()
        self._start_afresh()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._shut, after_in_parent=self._open, after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._changed = threading.Condition(threading.RLock())  # a signal handler may come while this thread holds it
        self._inside: dict[object, int] = {}  # the threads that use SQLite; guarded by _changed
        self._forking: set[int] = set()  # the threads that fork; guarded by _changed

    def keep(self, keeper: Keeper) -> None:
        """Have *keeper* close its connection before each fork, as long as it lives."""
        self._keepers.add(keeper)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Use SQLite within this block; waits for a fork that is under way."""
        token, thread = object(), threading.get_ident()
        try:
            with self._changed:
                if thread not in self._inside.values():
                    self._changed.wait_for(lambda: not self._forking, _PATIENCE)
                self._inside[token] = thread
            yield
        finally:
            with self._changed:
                self._inside.pop(token, None)
                self._changed.notify_all()

    def _shut(self) -> None:
        thread = threading.get_ident()
        with self._changed:
            self._forking.add(thread)
            self._changed.wait_for(lambda: all(each == thread for each in self._inside.values()), _PATIENCE)
            if not self._inside:
                for keeper in list(self._keepers):
                    keeper._before_fork()  # noqa: SLF001 -- the method is the private half of the protocol above

    def _open(self) -> None:
        with self._changed:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()


GATE = ForkGate()
"""The one of this process."""
