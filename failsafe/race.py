"""
One attempt of a call and the hedges beside it: who is started, who wins, who is called off.

The first attempt runs in the caller's thread. A hedge runs in a worker, which begins it once the first
has been slow for a time; the first answer wins, and the sockets of the others are closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import NamedTuple

from failsafe.attempts import Attempts, Ending
from failsafe.budget import RetryBudget
from failsafe.clock import Clock
from failsafe.course import Course
from failsafe.deadline import CancelToken, Deadline
from failsafe.models import Skip
from failsafe.policy_config import HedgeConfig
from failsafe.providers.base import BuiltRequest
from failsafe.reading import Answered
from failsafe.secret import Secret
from failsafe.workers import Handle, Workers

_GRACE = 0.02
"""Seconds to wait for the end of what lost, so that the receipt can tell how far it came; closing takes less."""


class Ready(NamedTuple):
    """A request that waits for nothing but the breaker's permit."""

    built: BuiltRequest
    key: Secret | None


class Start(NamedTuple):
    """An attempt that may begin: the provider, the request for it, and the seconds that it may take."""

    course: Course
    ready: Ready
    limit: float


class Finished(NamedTuple):
    """An attempt that has ended, or was refused."""

    course: Course
    built: BuiltRequest
    outcome: Ending


class Hedges(NamedTuple):
    """What the hedged calls of one router have in common. Thread-safe."""

    config: HedgeConfig
    budget: RetryBudget
    workers: Workers


Choose = Callable[[Collection[Course]], Start | None]
"""Whom to ask beside the given providers; None if there is nobody. Takes no time worth speaking of."""


class _Runner(NamedTuple):
    """An attempt under way, and the token that calls it off."""

    cancel: CancelToken
    started_at: float
    start: Start


class Race:
    """
    One attempt, and its hedges. Used once; :meth:`run` is called in the thread of the call.

    Args:
        hedges: Settings, budget and workers of the router.
        attempts: Sends, and keeps the receipt.
        choose: Whom to ask beside the first; called in a worker, by one at a time.
        deadline: When the call must have ended.
        cancel: Ends the call from another thread, or None.
        clock: The source of time.

    Attributes:
        finished: The hedges that have ended or were refused, in that order; complete once :meth:`run` has returned
            without an answer.
    """

    def __init__(
        self,
        hedges: Hedges,
        attempts: Attempts,
        choose: Choose,
        deadline: Deadline,
        cancel: CancelToken | None,
        clock: Clock,
    ) -> None:
        self._hedges = hedges
        self._attempts = attempts
        self._choose = choose
        self._deadline = deadline
        self._cancel = cancel
        self._clock = clock
        self._lock = threading.Lock()
        # Both are set and cleared under _lock, so that they say what is so.
        self._decided = threading.Event()  # there is a winner, or no hedge is under way
        self._quiet = threading.Event()  # no hedge is under way
        self._decided.set()
        self._quiet.set()
        self._over = False  # guarded by _lock, as is all below
        self._winner: Finished | None = None
        self._begun = 0
        self._claimed: list[Course] = []
        self._running: dict[Course, _Runner] = {}
        self._first: _Runner | None = None
        self._next: Handle | None = None
        self._extra_tries: RetryBudget
        self.finished: list[Finished] = []

    def run(self, first: Start, *, may_wait: bool = False) -> Finished:
        """
        Make the *first* attempt, with hedges once it is slow.

        Args:
            first: The attempt.
            may_wait: Whether it waits for a place among the calls under way to its provider; a hedge never does.

        Returns:
            The first answer, whoever it came from; without one, how the first attempt ended.
        """
        runner = self._first = self._runner(first)
        self._extra_tries = first.course.endpoint.admission.budget
        self._claimed.append(first.course)
        try:
            self._schedule(first.course)
            outcome = self._attempts.make(
                first.course, first.ready.built, first.ready.key, first.limit, may_wait=may_wait, cancel=runner.cancel
            )
            return self._decide(Finished(first.course, first.ready.built, outcome))
        finally:
            self._call_off()

    def _decide(self, own: Finished) -> Finished:
        """Settle the race, now that the first attempt has ended."""
        with self._lock:
            if self._winner is None and isinstance(own.outcome, Answered):
                self._winner = own
            # Without a hedge under way there is nothing to wait for, and none may begin any more.
            self._over = self._winner is not None or not self._running
            over = self._over
        if not over:
            self._clock.wait(self._decided, self._deadline.left + _GRACE)
        self._call_off()
        self._clock.wait(self._quiet, _GRACE)
        with self._lock:
            winner, late = self._winner, list(self._running.values())
        for runner in late:
            self._attempts.unreported(runner.start.course, runner.start.ready.key, runner.started_at)
        if winner is None:
            return own
        self._hedges.budget.credit()
        return winner

    def _call_off(self) -> None:
        """End whatever is under way, and begin nothing more."""
        with self._lock:
            self._over = True
            scheduled, self._next = self._next, None
            runners = [*self._running.values()] if self._first is None else [self._first, *self._running.values()]
        if scheduled is not None:
            scheduled.cancel()
        for runner in runners:
            runner.cancel.cancel()

    def _runner(self, start: Start) -> _Runner:
        token = CancelToken() if self._cancel is None else self._cancel.child()
        return _Runner(token, self._clock.time(), start)

    def _schedule(self, slow: Course) -> None:
        """Have a hedge begin once the attempt at *slow* that begins now is slow."""
        delay = None if slow.endpoint.hedge is None else slow.endpoint.hedge.seconds
        if delay is not None:
            self._next = self._hedges.workers.later(delay, self._hedge)

    # In a worker.

    def _hedge(self) -> None:
        """Make one further attempt, and another at once if that fails."""
        with self._lock:
            runner = self._begin_locked()
        while runner is not None:
            runner = self._run_hedge(runner)

    def _begin_locked(self) -> _Runner | None:
        may_begin = not self._over and self._winner is None and self._begun < self._hedges.config.max_hedges
        if not may_begin or not self._paid():
            return None
        start = self._choose(self._claimed)
        if start is None:
            self._refund()
            return None
        self._begun += 1
        self._claimed.append(start.course)
        runner = self._running[start.course] = self._runner(start)
        self._quiet.clear()
        self._decided.clear()
        self._schedule(start.course)
        return runner

    def _run_hedge(self, runner: _Runner) -> _Runner | None:
        course, ready, limit = runner.start
        outcome: Ending | None = None
        try:
            outcome = self._attempts.make(course, ready.built, ready.key, limit, cancel=runner.cancel, hedge=True)
        finally:  # an interrupted worker must leave nobody waiting
            follower = self._ended(runner, outcome)
        return follower

    def _ended(self, runner: _Runner, outcome: Ending | None) -> _Runner | None:
        """Take note of how a hedge ended; the next one to begin at once, if any."""
        runner.cancel.cancel()  # it has ended; this only takes the caller's token off its hands
        follower: _Runner | None = None
        won = False
        with self._lock:
            try:
                del self._running[runner.start.course]
                if outcome is not None:
                    won = self._note_locked(runner, outcome)
                    follower = self._begin_locked()
            finally:  # whatever happened, nobody must go on waiting
                if not self._running:
                    self._quiet.set()
                if won or not self._running:
                    self._decided.set()
        if won:
            self._call_off()
        return follower

    def _note_locked(self, runner: _Runner, outcome: Ending) -> bool:
        """Take note of an outcome; whether it wins the race."""
        ended = Finished(runner.start.course, runner.start.ready.built, outcome)
        self.finished.append(ended)
        if isinstance(outcome, Skip):
            self._refund()
            self._begun -= 1
        if self._winner is not None or not isinstance(outcome, Answered):
            return False
        self._winner = ended
        return True

    def _paid(self) -> bool:
        """
        Whether another attempt is paid for: by the router's budget for hedges, and the first provider's extra tries.

        Not by the budget of who is asked: a provider that only stands in has hardly any successes to fill it.
        """
        if not self._hedges.budget.try_spend():
            return False
        if self._extra_tries.try_spend():
            return True
        self._hedges.budget.give_back()
        return False

    def _refund(self) -> None:
        """Give back what a hedge that was never sent has cost."""
        self._hedges.budget.give_back()
        self._extra_tries.give_back()
