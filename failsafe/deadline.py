"""How long a call may take, and how it is given up from outside."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from failsafe import forking
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.durations import in_words
from failsafe.errors import ConfigError, DeadlineExceeded
from failsafe.signal_safe import SignalSafeEvent


class Deadline:
    """
    A point in time by which something must have ended.

    Immutable and thread-safe. ``Deadline.after(3.0)`` ends three seconds from now;
    ``Deadline.unlimited()`` never does.
    """

    __slots__ = ("_clock", "expires_at", "timeout")

    def __init__(self, expires_at: float, timeout: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self.expires_at = expires_at
        """On the clock's monotonic scale."""
        self.timeout = timeout
        """Seconds it was given at the start."""
        self._clock = clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """
        A deadline *seconds* from now.

        Raises:
            ConfigError: *seconds* is not a positive, finite number.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= sys.float_info.max:
            from failsafe.encoding import shown  # only errors need it

            raise ConfigError(
                f"timeout={shown(seconds)}: a number of seconds above 0 is needed; Deadline.unlimited() waits for ever"
            )
        return cls(clock.monotonic() + seconds, float(seconds), clock)

    @classmethod
    def unlimited(cls) -> Deadline:
        """A deadline that never comes; say it in so many words where you want it."""
        return cls(math.inf, math.inf)

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.expires_at - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self._clock.monotonic() >= self.expires_at

    def sooner(self, seconds: float) -> Deadline:
        """This deadline, or one *seconds* from now if that comes first."""
        at = self._clock.monotonic() + seconds
        return self if self.expires_at <= at else Deadline(at, seconds, self._clock)

    def from_now(self) -> Deadline:
        """The same point in time as a deadline that begins now: its ``timeout`` is what is left."""
        return Deadline(self.expires_at, self.left, self._clock)

    def check(self) -> None:
        """
        Go on, or raise.

        Raises:
            DeadlineExceeded: No time is left.
        """
        if self.expired:
            raise self.exceeded("{limit} has passed")

    def wait(self, event: threading.Event) -> bool:
        """Block until *event* is set or no time is left; True if it is set."""
        while not self._clock.wait(event, self.left):
            if self.expired:  # else the clock woke up early, or waits no longer than a day at a time
                return event.is_set()
        return True

    def exceeded(self, message: str) -> Exception:
        """The error that says that no time is left; ``{limit}`` in *message* becomes the words for this deadline."""
        return DeadlineExceeded(message.format(limit=f"the deadline of {in_words(self.timeout)}"))

    def __repr__(self) -> str:
        return f"<Deadline {in_words(self.left)} left of {in_words(self.timeout)}>"


_current: ContextVar[Deadline | None] = ContextVar("failsafe_deadline", default=None)


def current_deadline() -> Deadline | None:
    """
    The deadline in force where this is asked, or None.

    A :class:`failsafe.Timeout`, an :class:`failsafe.AttemptTimeout` or the deadline of a
    :class:`failsafe.Retry` around the running function put it there; of several, the one that ends first.
    A function passes its ``left`` on to whatever it waits for. It travels in a context variable: a thread
    that the function starts knows of it only if the context is copied into it
    (``contextvars.copy_context().run``).
    """
    return _current.get()


@contextmanager
def in_force(deadline: Deadline) -> Iterator[Deadline]:
    """Inside the block :func:`current_deadline` is *deadline*, or the outer one if that ends first; yields it."""
    outer = _current.get()
    sooner = deadline if outer is None or deadline.left < outer.left else outer
    token = _current.set(sooner)
    try:
        yield sooner
    finally:
        _current.reset(token)


class CancelToken:
    """
    Gives up a blocked call from another thread.

    Pass it as ``cancel=`` and call :meth:`cancel` from anywhere, a signal handler included: a call that waits on
    the network or in backoff ends within 50 ms with :class:`failsafe.Cancelled`. One token may
    serve many calls; once cancelled it stays so. Thread-safe.
    """

    __slots__ = ("__weakref__", "_callbacks", "_lock", "event")

    def __init__(self) -> None:
        self.event: threading.Event = SignalSafeEvent()
        """Set once cancelled."""
        self._callbacks: dict[object, Callable[[], None]] = {}  # guarded by _lock
        self._lock = threading.RLock()  # a signal handler may cancel while this thread holds the lock
        forking.register(self)

    def _after_fork(self) -> None:
        """Free, in a forked child, the lock that another thread of the parent's may have held."""
        self._lock = threading.RLock()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self.event.is_set()

    def cancel(self) -> None:
        """End every call that uses this token; calling it again does nothing."""
        with self._lock:
            self.event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """
        Have *callback* run once on cancellation, at once if that has happened already.

        *callback* must not block or raise. Returns a function that takes the callback back.
        """
        with self._lock:
            if not self.event.is_set():
                key = object()  # that of no other, however often this one is taken back
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def child(self) -> ChildToken:
        """A token that is cancelled with this one, and can be cancelled alone; close it when its work is done."""
        return ChildToken(self)

    def _forget(self, key: object) -> None:
        with self._lock:
            self._callbacks.pop(key, None)


class ChildToken(CancelToken):
    """
    The token of one piece of work out of several: cancelled with its parent, or alone.

    Made by :meth:`CancelToken.child`. Close it, or leave its ``with`` block, when the work is done: the parent
    then forgets it, and no longer cancels it. To cancel it closes it, too. Thread-safe.
    """

    __slots__ = ("_leave_parent",)

    def __init__(self, parent: CancelToken) -> None:
        super().__init__()
        self._leave_parent = parent.on_cancel(super().cancel)

    def cancel(self) -> None:
        """End every call that uses this token, and none of the parent's others; calling it again does nothing."""
        self._leave_parent()
        super().cancel()

    def close(self) -> None:
        """Have the parent forget this token; calling it again does nothing."""
        self._leave_parent()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
