"""Counts the calls under way, so that closing can wait for them."""

from __future__ import annotations

import threading

from failsafe import forking
from failsafe.errors import RouterClosed


class Gate:
    """
    Lets calls in until it is closed, then waits for the last one to leave. Thread-safe.

    Entering and leaving take no lock: each is one operation on a dict. Closing may be asked for in
    the middle of a call, by a signal handler or a listener: the calls of a thread that is closing,
    which cannot go on while it waits, are not waited for.
    """

    def __init__(self) -> None:
        self._closed = False
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._emptied = threading.Condition()  # on an RLock, for the sake of signal handlers
        self._closing: list[int] = []  # threads in close(); guarded by _emptied
        self._inside: dict[object, int] = {}  # each call with its thread; a forked child runs none of its parent's

    _after_fork = _start_afresh

    @property
    def closed(self) -> bool:
        """Whether nobody is let in any more."""
        return self._closed

    @property
    def inside(self) -> int:
        """How many calls are under way."""
        return len(self._inside)

    @property
    def calls(self) -> list[object]:
        """The calls under way."""
        return list(self._inside)

    def enter(self, call: object) -> None:
        """
        Count *call* in.

        Raises:
            RouterClosed: :meth:`close` was called before.
        """
        self._inside[call] = threading.get_ident()  # before the look at _closed: close() does the two in turn
        if self._closed:
            self.leave(call)
            raise RouterClosed("this router is closed; make a new one")

    def leave(self, call: object) -> bool:
        """Count *call* out; False, and nothing is done, if it is not inside."""
        try:
            return self._inside.pop(call, None) is not None
        finally:  # an interrupt must not leave close() waiting
            if self._closed:
                with self._emptied:
                    self._emptied.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """
        Let nobody in any more and wait until all others have left.

        Args:
            timeout: Seconds to wait at most; None waits for the last.

        Returns:
            True if all have left.
        """
        self._closed = True
        longest = None if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        with self._emptied:
            self._closing.append(threading.get_ident())
            self._emptied.notify_all()
            try:
                return self._emptied.wait_for(self._is_empty, longest)
            finally:
                self._closing.remove(threading.get_ident())

    def _is_empty(self) -> bool:
        return all(thread in self._closing for thread in list(self._inside.values()))
