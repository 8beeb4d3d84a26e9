"""
A rate limiter of one's own: no more requests and tokens a minute than were allowed.

::

    limiter = RateLimiter("openai", RateLimiterConfig(requests_per_minute=500, tokens_per_minute=200_000))
    limiter.acquire(tokens=1200, max_wait=5.0)     # waits for its turn, or raises RateLimitReached
    wait = limiter.try_acquire(tokens=1200)        # the primitive under it: 0.0, or the seconds to wait

Each limit is the generic cell rate algorithm (ITU-T Recommendation I.371, annex A, "virtual
scheduling"), which is a token bucket that keeps one point in time instead of a count and a timer.
The guide is ``docs/limits.md``.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

import msgspec

from failsafe import checks, forking
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import RateLimitReached
from failsafe.outcome import refuse_lazy
from failsafe.policy_config import RateLimiterConfig
from failsafe.signal_safe import SignalSafeEvent
from failsafe.waiting import check_cancelled, wait_for

P = ParamSpec("P")
R = TypeVar("R")

_DAY = 86_400.0
_PLAIN_NUMBERS = frozenset({int, float})
_MOST_TOKENS = 1e9
"""What one call may ask for: a bound against overflow, not a limit anyone meets."""
_LONGEST = 1e9
"""Seconds that one request or token takes at most to come back, for the same reason."""
_MOST_DEBT = 3600.0
"""Seconds after which the bucket is full again, however much more than estimated an answer claims to have used."""
_AT_ONCE = 1e-6
"""Seconds that a call may come early, so that one that waited exactly as told is not refused for rounding."""


class RateLimiterStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    The figures of a rate limiter at one moment.

    Attributes:
        name: The limiter's name.
        requests_left: Requests that may be sent at once; below 0 a debt; None: no such limit.
        tokens_left: Tokens that may be sent at once; below 0 a debt; None: no such limit.
        waiting: Calls that wait for their turn.
        granted: Calls let through since the start.
        refused: Calls refused since the start.
    """

    name: str
    requests_left: float | None
    tokens_left: float | None
    waiting: int
    granted: int
    refused: int


class _Allowance:
    """
    One limit as a token bucket, counted in seconds of allowance. Not thread-safe: its limiter locks.

    The bucket holds ``burst`` seconds' worth and is full at ``full_at``. What costs more than it holds
    is admitted when it is full and leaves a debt.
    """

    __slots__ = ("_burst", "_full_at", "_of_tokens", "_queued", "_seconds_each", "words")

    def __init__(self, per_minute: float, *, of_tokens: bool, burst: float) -> None:
        self.words = f"{per_minute:,.10g} {'tokens' if of_tokens else 'requests'} a minute"
        self._of_tokens = of_tokens
        self._seconds_each = min(60.0 / per_minute, _LONGEST)
        self._burst = max(burst, self._seconds_each)  # one fits, or the figures would never show a whole one
        self._full_at = 0.0
        self._queued = 0.0  # what those ask for who wait for their turn

    def wait(self, now: float, tokens: float, *, behind: bool) -> float:
        """Seconds until a call may go, at or below 0 for at once; *behind* those who wait, or before them."""
        cost = tokens * self._seconds_each if self._of_tokens else self._seconds_each
        if not cost:
            return 0.0
        owed = self._full_at - now if self._full_at > now else 0.0
        if behind:
            owed += self._queued
        room = self._burst - cost
        return owed - room if room > 0 else owed

    def take(self, now: float, tokens: float) -> None:
        cost = tokens * self._seconds_each if self._of_tokens else self._seconds_each
        if self._full_at < now:
            self._full_at = now
        self._full_at += cost

    def correct(self, now: float, requests: float, tokens: float) -> None:
        """Take more, or less than nothing, after the fact: nothing piles up above full or below the bounded debt."""
        seconds = (tokens if self._of_tokens else requests) * self._seconds_each
        corrected = max(self._full_at, now) + seconds
        self._full_at = corrected if seconds < 0 else max(self._full_at, min(corrected, now + _MOST_DEBT))

    def queue(self, tokens: float) -> None:
        self._queued += self._cost(tokens)

    def unqueue(self, tokens: float) -> None:
        self._queued = max(0.0, self._queued - self._cost(tokens))

    def empty_queue(self) -> None:
        self._queued = 0.0  # no rounding error outlives a queue

    def left(self, now: float) -> float:
        return (self._burst - max(self._full_at - now, 0.0)) / self._seconds_each

    def _cost(self, tokens: float) -> float:
        return tokens * self._seconds_each if self._of_tokens else self._seconds_each


class _Turn:
    """One call that waits; its event says: look again."""

    __slots__ = ("event", "granted", "tokens")

    def __init__(self, tokens: float) -> None:
        self.tokens = tokens
        self.event = SignalSafeEvent()  # as a cancellation sets it, too
        self.granted = False


class RateLimiter:
    """
    Lets so many requests and tokens a minute through, both or neither being counted, when they are sent.

    After a pause ``config.burst`` seconds' worth may go at once. A call larger than that goes when the
    bucket is full and leaves a debt, which the calls after it wait for; so no call is impossible, and in any
    span of *t* seconds no more is let through than the rate times *t* plus the larger of the burst and the
    largest single call (less what was given back).

    Thread-safe, and sound after ``fork``. Nothing waits under its lock, and what a call costs does not
    depend on how many wait. Those who wait are served in the order in which they came, whatever their
    size; only the first of them has its eye on the clock. A call that need not wait may overtake them only
    where that takes nothing from them.

    Args:
        name: What errors, figures and the repr call it.
        config: The limits; without any, every call goes through.
        clock: Where it gets the time from, and what it waits on.

    Raises:
        ConfigError: *name* is empty or not printable.
    """

    __slots__ = (
        "__weakref__",
        "_allowances",
        "_clock",
        "_granted",
        "_lock",
        "_refused",
        "_requests",
        "_tokens",
        "_turns",
        "config",
        "name",
    )

    def __init__(self, name: str, config: RateLimiterConfig, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = checks.text("name", name)
        self.config = config
        self._clock = clock
        self._requests = _allowance(config.requests_per_minute, of_tokens=False, burst=config.burst)
        self._tokens = _allowance(config.tokens_per_minute, of_tokens=True, burst=config.burst)
        self._allowances = tuple(each for each in (self._requests, self._tokens) if each is not None)
        self._lock = threading.Lock()
        self._turns: OrderedDict[_Turn, None] = OrderedDict()  # guarded by _lock, as are the allowances and counts
        self._granted = 0
        self._refused = 0
        forking.register(self)

    def try_acquire(self, tokens: float = 0.0) -> float:
        """
        Return 0.0: the request is let through and counted with its *tokens*. Or the seconds until it would be.

        Never waits; a refused call takes nothing. The seconds hold those who wait into account and are
        exact while nothing is corrected (a lower bound where calls wait for both limits).

        Raises:
            ConfigError: *tokens* is not a number from 0 to a billion.
        """
        tokens = _amount(tokens)
        now = self._clock.monotonic()
        with self._lock:
            wait = self._take_locked(now, tokens, behind=True)
            if wait:
                self._refused += 1
            return wait

    def wait(self, tokens: float = 0.0) -> float:
        """
        Return the seconds until :meth:`try_acquire` would let a request of *tokens* through; changes nothing.

        Raises:
            ConfigError: *tokens* is not a number from 0 to a billion.
        """
        tokens = _amount(tokens)
        now = self._clock.monotonic()
        with self._lock:
            return self._wait_for_locked(now, tokens, behind=True)

    def acquire(
        self,
        tokens: float = 0.0,
        *,
        max_wait: float | None = None,
        deadline: Deadline | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """
        Return when the request is let through and counted with its *tokens*.

        What is known to take too long is refused at once. A wait that ends in any other way than with
        the call's turn takes nothing.

        Args:
            tokens: What the request is estimated to use; :meth:`correct` puts it right afterwards.
            max_wait: Most seconds to wait (0 to a day); None: ``config.max_wait``.
            deadline: No wait goes past it.
            cancel: Ends the wait from another thread.

        Raises:
            RateLimitReached: The turn would come, or came, too late.
            Cancelled: *cancel* was used.
            ConfigError: *tokens* or *max_wait* is out of range.
        """
        tokens = _amount(tokens)
        check_cancelled(cancel)
        patience = self.config.max_wait if max_wait is None else checks.number("max_wait", max_wait, least=0, most=_DAY)
        now = self._clock.monotonic()
        give_up_at = now + patience if deadline is None else min(now + patience, deadline.expires_at)
        with self._lock:
            wait = self._take_locked(now, tokens, behind=True)
        if wait:
            if now + wait > give_up_at:
                raise self._refusal(tokens)
            self._stand_in_line(_Turn(tokens), give_up_at, cancel)

    def give_back(self, tokens: float = 0.0, *, requests: int = 0) -> None:
        """
        Return what was taken and not used: *tokens* of an estimate, or *requests* that were never sent.

        The bucket never holds more than it holds when it is full.

        Raises:
            ConfigError: *tokens* or *requests* is out of range.
        """
        self._correct(-checks.whole("requests", requests), -_amount(tokens))

    def correct(self, estimated: float, used: float) -> None:
        """
        Put right the tokens of a call that was let through, now that its usage is known.

        Less than estimated is given back. More becomes a debt, of an hour at most: usage comes
        from outside, and one absurd figure must not shut the limiter. Usage that is no number from 0
        to a billion counts as not known and corrects nothing.

        Raises:
            ConfigError: *estimated* is not a number from 0 to a billion.
        """
        estimated = _amount(estimated)
        if used.__class__ in _PLAIN_NUMBERS and 0 <= used <= _MOST_TOKENS and used != estimated:
            self._correct(0, used - estimated)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, counted as a request without tokens, after waiting ``config.max_wait`` at most.

        Raises:
            RateLimitReached: *fn* was not called.
            Exception: Whatever *fn* raises, unchanged; the request stays counted.
        """
        self.acquire()
        return fn(*args, **kwargs)

    @overload
    def __call__(self, fn: Callable[P, R], /, *, tokens: float | Callable[P, float] = ...) -> Callable[P, R]: ...

    @overload
    def __call__(
        self, fn: None = None, /, *, tokens: float | Callable[..., float] = ...
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def __call__(
        self, fn: Callable[..., Any] | None = None, /, *, tokens: float | Callable[..., float] = 0.0
    ) -> Callable[..., Any]:
        """
        Decorate a function, ``@limiter`` or ``@limiter(tokens=...)``: every call of it is as one through :meth:`call`.

        Args:
            fn: The function.
            tokens: What a call uses: a number, or a function of the call's own arguments.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
            ConfigError: *tokens* is not a number from 0 to a billion; if it is a function, at the call.
        """
        if not callable(tokens):
            _amount(tokens)
        return (lambda fn: self._decorated(fn, tokens)) if fn is None else self._decorated(fn, tokens)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to release: what is counted is the sending."""

    def stats(self) -> RateLimiterStats:
        """All figures of one moment."""
        now = self._clock.monotonic()
        with self._lock:
            return RateLimiterStats(
                name=self.name,
                requests_left=None if self._requests is None else self._requests.left(now),
                tokens_left=None if self._tokens is None else self._tokens.left(now),
                waiting=len(self._turns),
                granted=self._granted,
                refused=self._refused,
            )

    def _take_locked(self, now: float, tokens: float, *, behind: bool) -> float:
        """0.0, and all is taken; or the seconds until it could be, and nothing is."""
        wait = self._wait_for_locked(now, tokens, behind=behind)
        if wait:
            return wait
        for allowance in self._allowances:
            allowance.take(now, tokens)
        self._granted += 1
        return 0.0

    def _wait_for_locked(self, now: float, tokens: float, *, behind: bool) -> float:
        """Seconds until a request of *tokens* fits; 0.0: now."""
        longest = 0.0
        for allowance in self._allowances:
            wait = allowance.wait(now, tokens, behind=behind)
            if wait > longest:
                longest = wait
        return longest if longest > _AT_ONCE else 0.0

    def _stand_in_line(self, turn: _Turn, give_up_at: float, cancel: CancelToken | None) -> None:
        try:
            with self._lock:
                self._queue_locked(turn)
            while not self._its_turn(turn, give_up_at, cancel):
                pass
        except BaseException:
            self._leave(turn)
            raise

    def _its_turn(self, turn: _Turn, give_up_at: float, cancel: CancelToken | None) -> bool:
        """Look whether it is, and wait if not."""
        turn.event.clear()  # before looking: what happens after the look sets it again
        now = self._clock.monotonic()
        patience = give_up_at - now
        with self._lock:
            wait = self._wait_locked(turn, now)
        if wait is not None and not wait:
            return True
        if patience <= 0 or (wait is not None and wait > patience + _AT_ONCE):
            self._leave(turn)
            raise self._refusal(turn.tokens)
        seconds = patience if wait is None else min(wait, patience)
        wait_for(turn.event, seconds, clock=self._clock, cancel=cancel)
        return False

    def _wait_locked(self, turn: _Turn, now: float) -> float | None:
        """0.0: *turn* is granted. The seconds until it can be, or None while others are before it."""
        if next(iter(self._turns), turn) is not turn:
            return None
        wait = self._take_locked(now, turn.tokens, behind=False)
        if not wait:
            turn.granted = True
            self._unqueue_locked(turn)
        return wait

    def _queue_locked(self, turn: _Turn) -> None:
        self._turns[turn] = None
        for allowance in self._allowances:
            allowance.queue(turn.tokens)

    def _unqueue_locked(self, turn: _Turn) -> None:
        if turn not in self._turns:
            return
        del self._turns[turn]
        for allowance in self._allowances:
            allowance.unqueue(turn.tokens)
            if not self._turns:
                allowance.empty_queue()
        self._wake_first_locked()

    def _wake_first_locked(self) -> None:
        first = next(iter(self._turns), None)
        if first is not None:
            first.event.set()

    def _leave(self, turn: _Turn) -> None:
        """End a wait without a call: also one that was interrupted just as its turn had come."""
        now = self._clock.monotonic()
        with self._lock:
            self._unqueue_locked(turn)
            if turn.granted:
                turn.granted = False
                self._granted -= 1
                self._correct_locked(now, -1, -turn.tokens)

    def _correct(self, requests: float, tokens: float) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._correct_locked(now, requests, tokens)

    def _correct_locked(self, now: float, requests: float, tokens: float) -> None:
        for allowance in self._allowances:
            allowance.correct(now, requests, tokens)
        self._wake_first_locked()

    def _refusal(self, tokens: float) -> RateLimitReached:
        now = self._clock.monotonic()
        with self._lock:
            self._refused += 1
            waits = [(each.wait(now, tokens, behind=True), each.words) for each in self._allowances]
        wait, limit = max(waits)
        return RateLimitReached(self.name, limit, max(0.0, wait))

    def _decorated(self, fn: Callable[P, R], tokens: float | Callable[P, float]) -> Callable[P, R]:
        refuse_lazy(fn, f"rate limiter {self.name!r}")

        @functools.wraps(fn)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            self.acquire(tokens(*args, **kwargs) if callable(tokens) else tokens)
            return fn(*args, **kwargs)

        return limited

    def _after_fork(self) -> None:
        """Free the lock in a forked child, where those who waited do not exist."""
        self._lock = threading.Lock()
        self._turns = OrderedDict()  # their events are not touched: the locks within may be held for ever
        for allowance in self._allowances:
            allowance.empty_queue()

    def __repr__(self) -> str:
        words = ", ".join(each.words for each in self._allowances) or "no limit"
        waiting = f", {len(self._turns)} waiting" if self._turns else ""
        return f"<RateLimiter {self.name} {words}{waiting}>"


def _allowance(per_minute: float | None, *, of_tokens: bool, burst: float) -> _Allowance | None:
    return None if per_minute is None else _Allowance(per_minute, of_tokens=of_tokens, burst=burst)


def _amount(tokens: float) -> float:
    if tokens.__class__ in _PLAIN_NUMBERS and 0 <= tokens <= _MOST_TOKENS:
        return tokens
    return checks.number("tokens", tokens, least=0, most=_MOST_TOKENS)
