"""
Limits of time around any function: one for the whole call, one for each try.

::

    Timeout(10.0).call(fetch, url)            # DeadlineExceeded after 10 s, whatever fetch does

    @Retry()
    @AttemptTimeout(3.0)                      # AttemptTimedOut after 3 s, which is tried again
    def fetch(url): ...

    @Timeout(10.0, abandon=False)             # no thread: fetch keeps to the limit itself
    def fetch(url):
        return requests.get(url, timeout=current_deadline().left)

The guide is ``docs/composition.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from failsafe import checks
from failsafe.abandoning import Abandoner
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import Deadline, current_deadline, in_force
from failsafe.durations import in_words
from failsafe.errors import AttemptTimedOut
from failsafe.outcome import guarded

P = ParamSpec("P")
R = TypeVar("R")


class _AttemptLimit(Deadline):
    """The deadline of one try: passing it is a failure of the try, not the end of the call."""

    __slots__ = ()

    def exceeded(self, message: str) -> Exception:
        """The error that says so."""
        return AttemptTimedOut(message.format(limit=f"the attempt timeout of {in_words(self.timeout)}"))


def _positive(seconds: object) -> float:
    return checks.number("seconds", seconds, above=0)


def _cut(abandoner: Abandoner, fn: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
    """Run *fn* until the deadline in force, and walk away then."""
    deadline = current_deadline()
    if deadline is None or deadline.left == math.inf:
        return fn(*args, **kwargs)
    deadline.check()  # what was put off until now (a hedge, say) is not begun to be left behind at once
    return abandoner.run(deadline, fn, args, kwargs)


class _Limit:
    """What both limits of time have in common: whether they walk away, how often they may, and the decorator."""

    __slots__ = ("__weakref__", "_abandoner", "_clock", "abandon")

    def __init__(self, *, abandon: bool, max_abandoned: int, clock: Clock) -> None:
        self._clock = clock
        self.abandon = checks.flag("abandon", abandon)
        """Whether it walks away from the function at the limit."""
        self._abandoner = Abandoner(repr(self)[1:-1], checks.whole("max_abandoned", max_abandoned, least=1, most=1000))

    @property
    def abandoned(self) -> int:
        """Functions that were left behind and still run."""
        return self._abandoner.abandoned

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``fn(*args, **kwargs)``, or raise at the limit."""
        raise NotImplementedError

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        return guarded(self.call, fn, type(self).__name__)


class Timeout(_Limit):
    """
    The time that a whole call may take, all tries and waits included.

    By default the function runs in a thread of its own, and the caller goes on at the limit, whatever the
    function does. Python cannot stop the function: it runs on, unheard, until it ends by itself. Inside
    it, :func:`failsafe.current_deadline` tells the time left; a :class:`failsafe.CancelToken` among its
    arguments is cancelled when it is left behind. With ``abandon=False`` there is no thread and no
    cut: the function, and the policies inside that wait, keep to the limit by themselves.

    Of nested limits, the one that ends first counts. Thread-safe.

    Args:
        seconds: The limit of each call; or a :class:`failsafe.Deadline`, which all calls share.
        abandon: Whether to walk away from the function at the limit.
        max_abandoned: Functions left behind that may still be running (1 to 1000); at this number calls
            are refused. Those under way at that moment may add to it.
        clock: The source of time and of waiting.

    Raises:
        ConfigError: A value is out of range.
    """

    __slots__ = ("_limit",)

    def __init__(
        self,
        seconds: float | Deadline,
        *,
        abandon: bool = True,
        max_abandoned: int = 64,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._limit = seconds if isinstance(seconds, Deadline) else _positive(seconds)
        super().__init__(abandon=abandon, max_abandoned=max_abandoned, clock=clock)

    @property
    def seconds(self) -> float:
        """The limit; of a deadline, what it was given at the start."""
        return self._limit.timeout if isinstance(self._limit, Deadline) else self._limit

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``.

        Raises:
            DeadlineExceeded: There was no result within the limit, or the limit had passed before.
            TooManyAbandoned: *fn* was not called.
            Exception: Whatever *fn* raises, unchanged.
        """
        with self._in_force() as deadline:
            deadline.check()
            return _cut(self._abandoner, fn, args, kwargs) if self.abandon else fn(*args, **kwargs)

    def within(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        As :meth:`call`, but only put the limit in force; cutting is left to what is inside.

        Raises:
            DeadlineExceeded: The limit had passed before.
            Exception: Whatever *fn* raises, unchanged.
        """
        with self._in_force() as deadline:
            deadline.check()
            return fn(*args, **kwargs)

    def cut(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        As :meth:`call`, but walk away at the limit that is in force already; without one, never.

        Raises:
            DeadlineExceeded: There was no result within the limit.
            TooManyAbandoned: *fn* was not called.
            Exception: Whatever *fn* raises, unchanged.
        """
        return _cut(self._abandoner, fn, args, kwargs)

    def _in_force(self) -> AbstractContextManager[Deadline]:
        limit = self._limit
        return in_force(limit if isinstance(limit, Deadline) else Deadline.after(limit, self._clock))

    def __repr__(self) -> str:
        return f"<Timeout {in_words(self.seconds)}>"


class AttemptTimeout(_Limit):
    """
    The time that one try may take: as :class:`failsafe.Timeout`, for the innermost place.

    A try gets *seconds*, or what the deadline in force leaves if that is less. Using up its own limit
    raises :class:`failsafe.AttemptTimedOut`, a failure that a retry repeats and a breaker counts; being cut
    by the deadline raises :class:`failsafe.DeadlineExceeded`, which neither does. Thread-safe.

    Args:
        seconds: The limit of each try.
        abandon: Whether to walk away from the function at the limit.
        max_abandoned: Functions left behind that may still be running (1 to 1000); at this number calls
            are refused. Those under way at that moment may add to it.
        clock: The source of time and of waiting.

    Raises:
        ConfigError: A value is out of range.
    """

    __slots__ = ("seconds",)

    def __init__(
        self, seconds: float, *, abandon: bool = True, max_abandoned: int = 64, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.seconds = _positive(seconds)
        """The limit of each try."""
        super().__init__(abandon=abandon, max_abandoned=max_abandoned, clock=clock)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``.

        Raises:
            AttemptTimedOut: There was no result within the limit.
            DeadlineExceeded: The deadline in force passed before that.
            TooManyAbandoned: *fn* was not called.
            Exception: Whatever *fn* raises, unchanged.
        """
        own = _AttemptLimit(self._clock.monotonic() + self.seconds, self.seconds, self._clock)
        with in_force(own) as deadline:
            deadline.check()
            if not self.abandon:
                return fn(*args, **kwargs)
            return _cut(self._abandoner, fn, args, kwargs)

    def __repr__(self) -> str:
        return f"<AttemptTimeout {in_words(self.seconds)}>"
