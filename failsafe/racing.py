"""
One call of a :class:`failsafe.Hedge` and its attempts, and what all its calls share.

The caller's thread decides alone what is started and when the call is over; the attempts only hand in how they
ended, and one lock says which of them came first.
"""

from __future__ import annotations

import contextvars
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from failsafe import forking
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken, current_deadline
from failsafe.hedge import hedge_budget
from failsafe.hedge_delay import HedgeDelay
from failsafe.outcome import add_note, may_fall_back, may_retry
from failsafe.policy_config import HedgeConfig
from failsafe.signal_safe import SignalSafeEvent
from failsafe.workers import Handle, Workers

R = TypeVar("R")

_logger = logging.getLogger("failsafe.hedge")


class HedgeStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    A hedge policy at one moment.

    Attributes:
        calls: Calls made.
        hedges: Further attempts that were started because those under way were slow.
        replacements: Further attempts that were made because one had failed.
        wins: Calls that a further attempt answered.
        refused: Further attempts that the budget did not allow.
        unthreaded: Attempts for which there was no free thread: the first then ran in the caller's, unhedged.
        running: Attempts under way in threads, those of calls that are over included.
        delay: Seconds after which an attempt counts as slow now; None while too few are known.
    """

    calls: int
    hedges: int
    replacements: int
    wins: int
    refused: int
    unthreaded: int
    running: int
    delay: float | None


class Shared:
    """
    What the calls of one hedge have in common: threads, budget, experience and counts. Thread-safe.

    Args:
        config: When an attempt is slow, and how many others may follow.
        clock: The source of time and of waiting.
        workers: The threads.
        discard: Called with each result that came too late.
    """

    def __init__(
        self, config: HedgeConfig, clock: Clock, workers: Workers, discard: Callable[[Any], object] | None
    ) -> None:
        self.config = config
        self.clock = clock
        self._workers = workers
        self._discard = discard
        self._delay = HedgeDelay(config)
        self._budget = hedge_budget(config)
        self._closed = False
        self._calls = self._hedges = self._replacements = self._wins = self._refused = self._unthreaded = 0
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._changed = threading.Condition()  # on an RLock, for the sake of signal handlers; guards the counts, too
        self._running: set[Attempt] = set()  # guarded by _changed
        self._closers: set[Attempt] = set()  # those that wait for the others, or have; guarded by _changed

    _after_fork = _start_afresh

    def called(self) -> None:
        """Count a call."""
        with self._changed:
            self._calls += 1

    def slow_after(self) -> float | None:
        """Seconds after which a hedge may start; None: none may."""
        return None if self._closed or not self.config.budget else self._delay.seconds

    def start(self, attempt: Attempt) -> bool:
        """Run *attempt* in a thread; False, and it does not run, if there is none for it."""
        with self._changed:
            self._running.add(attempt)
        try:
            attempt.handle = None if self._closed else self._workers.start(attempt.run_in_thread)
        finally:
            if attempt.handle is None:
                with self._changed:
                    self._unthreaded += 1
                self.ended(attempt)
        return attempt.handle is not None

    def ended(self, attempt: Attempt) -> None:
        """The thread of *attempt* is free."""
        with self._changed:
            self._running.discard(attempt)
            self._closers.discard(attempt)
            self._changed.notify_all()

    def spend(self) -> bool:
        """Pay for a further attempt from the budget."""
        if self._budget.try_spend():
            return True
        with self._changed:
            self._refused += 1
        return False

    def give_back(self) -> None:
        """What was paid for was not begun."""
        self._budget.give_back()

    def began(self, *, hedges: int = 0, replacements: int = 0) -> None:
        """Count further attempts."""
        with self._changed:
            self._hedges += hedges
            self._replacements += replacements

    def learn(self, attempt: Attempt, *, answered: bool) -> None:
        """*attempt* is answered now, or is not by now."""
        if attempt.began_at is not None:
            self._delay.observe(self.clock.monotonic() - attempt.began_at, answered=answered)

    def won(self, attempt: Attempt) -> None:
        """A call is answered, by *attempt*."""
        self._budget.credit()
        if attempt.number:
            with self._changed:
                self._wins += 1

    def drop(self, result: object) -> None:
        """Nobody waits for *result* any more."""
        if self._discard is not None:
            try:
                self._discard(result)
            except Exception:
                _logger.exception("discard failed")

    def stats(self) -> HedgeStats:
        """All figures of one moment."""
        delay = self._delay.seconds
        with self._changed:
            return HedgeStats(
                calls=self._calls,
                hedges=self._hedges,
                replacements=self._replacements,
                wins=self._wins,
                refused=self._refused,
                unthreaded=self._unthreaded,
                running=len(self._running),
                delay=delay,
            )

    def close(self, timeout: float | None, *, workers_too: bool) -> bool:
        """Start nothing in threads any more and wait for what runs there."""
        longest = None if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        end = None if longest is None else SYSTEM_CLOCK.monotonic() + longest
        current = threading.get_ident()
        self._closed = True
        with self._changed:
            excused: set[Attempt] = set()
            own = {attempt for attempt in self._running if attempt.thread == current}
            if own:  # two attempts that close must not wait for each other; whoever else does waits for both
                excused = self._closers
                excused |= own
                self._changed.notify_all()
            ended = self._changed.wait_for(lambda: self._running <= excused, longest)
        if workers_too:
            ended = self._workers.close(None if end is None else max(0.0, end - SYSTEM_CLOCK.monotonic())) and ended
        return ended


Permission = tuple[bool, bool]
"""Whether a further attempt may be made, and whether it was paid for."""

MayFollow = Callable[[Exception, Shared], Permission]


def may_repeat(error: Exception, shared: Shared) -> Permission:
    """Whether the same function may be called again after *error*: a second request, which the budget pays for."""
    paid = may_retry(error, (Exception,)) and shared.spend()
    return paid, paid


def may_fail_over(error: Exception, _shared: Shared) -> Permission:
    """Whether somebody else may be asked after *error*: free, for it is no second request to the same service."""
    return may_fall_back(error), False


class Attempt:
    """One attempt of one call."""

    __slots__ = ("_context", "_race", "began_at", "handle", "number", "settled", "thread", "token")

    def __init__(self, race: Race[Any], number: int) -> None:
        self._race = race
        self._context = contextvars.copy_context()
        self.number = number
        self.token = CancelToken()
        self.thread: int | None = None
        self.handle: Handle | None = None
        self.began_at: float | None = None
        self.settled = False  # guarded by the race's lock

    def run_in_thread(self) -> None:
        """Make the attempt, in a worker."""
        self.thread = threading.get_ident()
        try:
            self._context.run(self._race.make, self)
        finally:
            self._race.shared.ended(self)


class _Outcome(Generic[R]):
    """How an attempt ended: by a result, if there is no error."""

    __slots__ = ("attempt", "error", "result")

    def __init__(self, attempt: Attempt, error: BaseException | None = None) -> None:
        self.attempt = attempt
        self.error = error
        self.result: R


class Race(Generic[R]):
    """
    One call and its attempts.

    Args:
        shared: What it shares with other calls.
        functions: The attempts that may be made, in order.
        may_follow: Whether the next one may be made after an error.
    """

    __slots__ = (
        "_after", "_arrived", "_attempts", "_deadline", "_decided", "_errors", "_functions", "_hedge_at", "_lock",
        "_may_follow", "_news", "_under_way", "shared",
    )  # fmt: skip

    def __init__(self, shared: Shared, functions: Sequence[Callable[[CancelToken], R]], may_follow: MayFollow) -> None:
        self.shared = shared
        self._functions = functions
        self._may_follow = may_follow
        self._deadline = current_deadline()
        self._after = shared.slow_after() if len(functions) > 1 else None
        self._hedge_at = math.inf
        self._attempts: list[Attempt] = []
        self._under_way = 0
        self._errors: list[Exception] = []
        self._news = SignalSafeEvent()  # as a cancellation sets it, too
        self._lock = threading.Lock()
        self._decided = False  # guarded by _lock for writing: there is a winner, or the call is over
        self._arrived: deque[_Outcome[R]] = deque()  # guarded by _lock for writing

    # In the caller's thread.

    def run(self) -> R:
        """Make the attempts; the result of the first that succeeds. :meth:`call_off` comes after it, in any case."""
        if self._after is None or not self._begin_in_thread(self._after):
            self._begin_here()
        while True:
            outcome = self._next_outcome()
            if outcome is None:
                self._hedge()
                continue
            if outcome.error is None:
                self.shared.won(outcome.attempt)
                return outcome.result
            last = self._go_on_after(outcome)
            if last is not None:
                try:
                    raise last
                finally:
                    del last  # its traceback leads to this frame: a cycle that only the collector would end

    def _next_outcome(self) -> _Outcome[R] | None:
        """How the next attempt ended; None if a hedge is due before."""
        while not self._arrived:
            left = math.inf if self._deadline is None else self._deadline.left
            if left <= 0 and self._deadline is not None:
                raise self._deadline.exceeded("none of the attempts brought a result within {limit}")
            seconds = math.inf
            if self._hedge_at < math.inf:
                seconds = self._hedge_at - self.shared.clock.monotonic()
                if seconds <= 0:
                    return None
            self._wait(min(seconds, left))
        self._under_way -= 1
        return self._arrived.popleft()

    def _wait(self, seconds: float) -> None:
        if seconds == math.inf:
            self._news.wait()  # not by the clock: one that a test moves cannot move for ever
        else:
            self.shared.clock.wait(self._news, seconds)
        self._news.clear()

    def _go_on_after(self, outcome: _Outcome[R]) -> BaseException | None:
        """Replace an attempt that failed if that is allowed; the error to raise if the call is over."""
        error, outcome.error = outcome.error, None
        if not isinstance(error, Exception):
            return error  # what ends the program ends the call
        self._errors.append(error)
        return None if self._replace(error) or self._under_way else self._last_error()

    def _replace(self, error: Exception) -> bool:
        if len(self._attempts) >= len(self._functions) or (self._deadline is not None and self._deadline.expired):
            return False
        allowed, paid = self._may_follow(error, self.shared)
        if not allowed:
            return False
        if self._after is None or not self._begin_in_thread(self._after):
            if self._under_way:  # the caller must listen to those
                if paid:
                    self.shared.give_back()
                return False
            self._begin_here()
        self.shared.began(replacements=1)
        return True

    def _last_error(self) -> Exception:
        error = self._errors.pop()
        others = ", ".join(type(each).__name__ for each in self._errors)
        if others:
            add_note(error, f"failsafe: the last of {len(self._attempts)} attempts; the others failed with {others}")
        return error

    def _hedge(self) -> None:
        """Start a further attempt because those under way are slow, if that is allowed."""
        self._hedge_at = math.inf  # if it is not, nobody asks again
        if self._after is None or not self.shared.spend():
            return
        if self._begin_in_thread(self._after):
            self.shared.began(hedges=1)
        else:
            self.shared.give_back()

    def _begin_in_thread(self, after: float) -> bool:
        attempt = self._next_attempt()
        if not self.shared.start(attempt):
            self._attempts.pop()
            return False
        self._under_way += 1
        room = self._under_way <= self.shared.config.max_hedges and len(self._attempts) < len(self._functions)
        self._hedge_at = self.shared.clock.monotonic() + after if room else math.inf
        return True

    def _begin_here(self) -> None:
        attempt = self._next_attempt()
        self._under_way += 1
        self._hedge_at = math.inf  # the caller cannot hedge what it runs itself
        self.make(attempt)

    def _next_attempt(self) -> Attempt:
        attempt = Attempt(self, len(self._attempts))
        self._attempts.append(attempt)
        return attempt

    def call_off(self) -> None:
        """The call is over, however it ended: nobody waits for what is still under way."""
        with self._lock:
            self._decided = True
            unheard = [outcome for outcome in self._arrived if outcome.error is None]  # the caller was interrupted
            self._arrived.clear()
            losers = [attempt for attempt in self._attempts if not attempt.settled]
        self._attempts.clear()  # they lead here, as the tracebacks of the errors do:
        self._errors.clear()  # cycles that only the collector would end
        for attempt in losers:
            if attempt.handle is not None and attempt.handle.cancel():
                self.shared.ended(attempt)
            self.shared.learn(attempt, answered=False)
            attempt.token.cancel()
        for outcome in unheard:
            self.shared.drop(outcome.result)

    # In the thread of the attempt.

    def make(self, attempt: Attempt) -> None:
        """Make *attempt*, and hand in how it ended."""
        if self._decided:
            return
        attempt.began_at = self.shared.clock.monotonic()
        outcome: _Outcome[R]
        try:
            result = self._functions[attempt.number](attempt.token)
        except BaseException as error:  # noqa: BLE001 -- raised in the caller's thread
            outcome = _Outcome(attempt, error)
        else:
            outcome = _Outcome(attempt)
            outcome.result = result
        failed = outcome.error is not None  # the caller takes the error out
        if self._hand_in(outcome):
            self.shared.learn(attempt, answered=not failed)
        elif failed:
            _logger.debug("an attempt that nobody waited for failed: %s", type(outcome.error).__name__)
            outcome.error = None  # its traceback leads to this frame
        else:
            self.shared.drop(outcome.result)

    def _hand_in(self, outcome: _Outcome[R]) -> bool:
        """Whether somebody waits for *outcome*: there is no winner yet, and the call is not over."""
        with self._lock:
            outcome.attempt.settled = True
            if self._decided:
                return False
            self._decided = outcome.error is None
            self._arrived.append(outcome)
        self._news.set()
        return True
