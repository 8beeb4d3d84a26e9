"""The state of one exchange: how far it came, until when it may go on, and which socket it holds."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from urllib3.response import BaseHTTPResponse

from failsafe.clock import Clock
from failsafe.deadline import Deadline
from failsafe.models import Phase
from failsafe.transport.base import Limits

_LONGEST_WAIT = 86_400.0  # a socket refuses a timeout of 25 days and more; nobody waits a day in one call


class GaveUp(ConnectionAbortedError):
    """The exchange was cancelled; raised inside the transport only, in the thread of the exchange."""


class Exchange:
    """
    One request and its answer, from the thread that sends to the sockets it uses.

    A context manager: inside it the exchange is the :func:`current` one of its thread, and on leaving, a
    socket it still holds is closed. Whoever reads an answer bit by bit takes these steps one by one. All blocking
    happens in one thread at a time; only :meth:`cancel` may be called from another one, or from a signal handler.

    Args:
        limits: What bounds the exchange.
        clock: Waits for events (the look-up of a name).
    """

    __slots__ = (
        "_forget", "_lock", "_outer", "_process", "_socket", "_wake", "answer", "at_once", "blame", "cancelled",
        "clock", "final", "limit", "limits", "phase", "reached_out", "taken", "wrote",
    )  # fmt: skip

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self.clock = clock
        self.limit: Deadline = limits.deadline
        """What bounds the operation under way: the connect limit until connected, then the deadline."""
        self.phase = Phase.CONNECT
        """How far the exchange came."""
        self.reached_out = False
        """Whether it began to connect; one that a mock answers never does."""
        self.wrote = False
        """Whether a byte of the request may have left."""
        self.answer: BaseHTTPResponse | None = None
        """The answer, once its head was read."""
        self.final: Any = None
        """The standard library's response under :attr:`answer`, once there is one; a mock has none."""
        self.taken = 0
        """Body bytes that were read from :attr:`final`, past urllib3, which counts the others."""
        self.blame = ""
        """Why there is no connection, in words, once that is known."""
        self.at_once = False
        """Whether operations take what lies in this process already, and ask the network for nothing."""
        self.cancelled = False
        """Whether :meth:`cancel` was called."""
        self._outer: Exchange | None = None
        self._forget: Callable[[], None] | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()  # a signal handler may cancel while this thread holds it
        self._socket: socket.socket | None = None  # guarded by _lock
        self._wake: threading.Event | None = None  # guarded by _lock

    def __enter__(self) -> Self:
        self.begin()
        self._outer = getattr(_thread, "exchange", None)  # as resume does, without a call of it in every call
        _thread.exchange = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _thread.exchange = self._outer
        self.end()

    def begin(self) -> None:
        """Heed the caller's cancellation, until :meth:`end`."""
        cancel = self.limits.cancel
        self._forget = cancel.on_cancel(self.cancel) if cancel is not None else None

    def resume(self) -> None:
        """Be the current exchange of this thread, until :meth:`pause`."""
        self._outer = getattr(_thread, "exchange", None)  # a signal handler may send while this thread does
        _thread.exchange = self

    def pause(self) -> None:
        """Let this thread go about other things; the socket is kept."""
        _thread.exchange = self._outer

    def end(self) -> None:
        """
        Close the socket, if one is still held, and heed no cancellation any more. From any thread.

        In a forked child that closes the child's copy, and the parent's exchange goes on.
        """
        if os.getpid() != self._process:
            self._end_copy()
            return
        forget, self._forget = self._forget, None
        try:
            if forget is not None:
                forget()
        finally:  # an interrupt must not leave the socket open
            held = self.release()
            if held is not None:  # not given back to the pool, so its state is unknown
                self._close(held)

    def _close(self, held: socket.socket) -> None:
        with suppress(OSError):
            try:
                if self.answer is not None:
                    self.answer.close()
            finally:
                held.close()

    def _end_copy(self) -> None:
        """Close what a forked child has; a thread that it does not have may hold any lock around it."""
        held, self._socket = self._socket, None
        if held is not None:
            with suppress(OSError):
                os.close(held.detach())

    @property
    def left(self) -> float:
        """Seconds that the operation under way may take, above 0; a socket accepts the number."""
        left = self.limit.left
        if left <= 0.0:
            raise TimeoutError
        return min(left, _LONGEST_WAIT)

    @property
    def maybe_billed(self) -> bool:
        """Whether the server may have read the whole request."""
        return self.phase in _AFTER_SENDING or (self.phase is Phase.SEND and self.wrote)

    @property
    def received(self) -> int:
        """Body bytes read off the wire."""
        return self.taken + self.answer.tell() if self.answer is not None else 0

    def claim(self, held: socket.socket) -> None:
        """
        Hold *held*, in place of any other socket, so that a cancellation wakes what blocks on it.

        Raises:
            GaveUp: The exchange is cancelled.
        """
        with self._lock:
            self._socket = held
        self.check()

    def release(self) -> socket.socket | None:
        """Let go of the socket held and return it; from here on no cancellation touches it."""
        with self._lock:
            held, self._socket = self._socket, None
        return held

    def check(self) -> None:
        """
        Go on, or raise.

        Raises:
            GaveUp: The exchange is cancelled.
        """
        if self.cancelled:
            raise GaveUp

    def waiting(self, wake: threading.Event | None) -> None:
        """Have a cancellation set *wake* while this thread waits on it; None ends that."""
        with self._lock:
            self._wake = wake

    def connecting(self) -> None:
        """
        Begin to connect; trying a second time does not prolong the connect limit.

        Raises:
            GaveUp: The exchange is cancelled.
            TimeoutError: No time is left.
        """
        self.check()
        if not self.reached_out:
            self.reached_out = True
            self.limit = self.limit.sooner(self.limits.connect_timeout)
        if self.limit.expired:
            raise TimeoutError

    def connected(self) -> None:
        """Go on to the request, which only the deadline bounds."""
        self.limit = self.limits.deadline
        self.wrote = False

    def cancel(self) -> None:
        """
        Wake the thread of this exchange from whatever it blocks on. Thread-safe; does not block.

        A forked child does nothing: what it shut down would be its parent's, too.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            self.cancelled = True
            if self._wake is not None:
                self._wake.set()
            if self._socket is not None:
                _shut_down(self._socket)


_AFTER_SENDING = frozenset({Phase.WAIT, Phase.READ})
_thread = threading.local()


def current() -> Exchange:
    """The exchange that this thread is in the middle of."""
    exchange: Exchange = _thread.exchange
    return exchange


def _shut_down(held: socket.socket) -> None:
    """Make whatever blocks on *held* return, handshakes and connects included."""
    # Not held.shutdown(): a TLS socket would first forget its encryption, and the blocked
    # thread would go on reading ciphertext as if it were the answer.
    with suppress(OSError):  # not connected yet, or closed by now: nothing blocks on it
        socket.socket.shutdown(held, socket.SHUT_RDWR)
