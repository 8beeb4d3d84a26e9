"""
The state machine of a circuit breaker: who is admitted, what an outcome changes.

:class:`failsafe.breaker.CircuitBreaker` is the shell around it. One lock covers the bookkeeping
and nothing else: the clock, the random source and the listeners are asked outside it.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from types import TracebackType
from typing import Self

import msgspec

from failsafe import forking
from failsafe.backoff import named_wait
from failsafe.clock import Clock, Random
from failsafe.durations import in_words
from failsafe.events import CircuitState
from failsafe.faults import BreakerEffect
from failsafe.listeners import StateListeners
from failsafe.outcome import breaker_effect
from failsafe.phases import Closed, Disabled, ForcedOpen, HalfOpen, Open, Phase, closed, open_time
from failsafe.policy_config import CircuitBreakerConfig

_MOST_WAITING = 10_000
"""Successes that may wait for the lock; from then on threads do."""


class BreakerStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    A breaker at one moment.

    Attributes:
        name: The breaker's name.
        state: Its state.
        reason: Why it opened, in words; empty while closed or disabled.
        retry_after: Seconds until it may admit a call; None when there is nothing to wait for.
        streak: Failures in a row, while closed.
        calls_in_window: Calls whose rates are judged, while closed; None without a rate rule.
        failure_rate: The share of them that failed, soft failures included (0 to 1); None without such a rule or call.
        slow_call_rate: The share of them that was slow (0 to 1); None without such a rule or call.
        half_open_successes: Successful probes so far, while half-open.
        probes_in_flight: Probes not yet settled, while half-open.
        opened: How often it opened.
        rejected: How many calls it refused.
        successes: Successes recorded.
        failures: Failures recorded.
        soft_failures: Soft failures recorded (rate limits), not among ``failures``.
    """

    name: str
    state: CircuitState
    reason: str
    retry_after: float | None
    streak: int = 0
    calls_in_window: int | None = None
    failure_rate: float | None = None
    slow_call_rate: float | None = None
    half_open_successes: int = 0
    probes_in_flight: int = 0
    opened: int
    rejected: int
    successes: int
    failures: int
    soft_failures: int


class Permit:
    """
    The right to make one call, to be settled once: by ``success()``, ``failure()`` or ``release()``.

    Whatever comes after the first settlement, or after the breaker has moved on, does nothing. As a
    context manager it settles itself by how the block ends. Thread-safe; it may be settled in another
    thread than the one that acquired it.
    """

    __slots__ = ("_circuit", "_due", "acquired_at", "phase")

    def __init__(self, circuit: Circuit, phase: Phase, acquired_at: float = 0.0) -> None:
        self._circuit = circuit
        self.phase = phase
        self.acquired_at = acquired_at
        """On the clock's monotonic scale; 0 where no rule asks how long a call takes."""
        self._due = True  # deleted by the settlement

    @property
    def generation(self) -> int:
        """The breaker's count of transitions when the permit was granted."""
        return self.phase.generation

    @property
    def settled(self) -> bool:
        """Whether it was settled while that still counted."""
        return not hasattr(self, "_due")

    def claim(self) -> bool:
        """Whether the caller may settle it; of many threads one may, and only once."""
        try:
            del self._due  # one step under the GIL
        except AttributeError:
            return False
        return True

    def success(self, duration: float | None = None) -> None:
        """
        The call succeeded.

        Args:
            duration: Seconds it took, where a better measure is known than the time since the permit was
                granted, such as the time to the first token. Garbage counts as absent.
        """
        self._circuit.succeed(self, duration)

    def failure(
        self,
        cause: BaseException | str | None = None,
        *,
        soft: bool = False,
        retry_after: float | None = None,
        duration: float | None = None,
    ) -> None:
        """
        The call failed.

        Args:
            cause: What it failed with, for the breaker's reason: words, which must hold no secret, or an
                exception, of which only the class name is kept.
            soft: Neutral to the streak of a closed breaker, as a rate limit is; a failure in the window; fails a probe.
            retry_after: Seconds the service asked to be left alone; if this failure opens the breaker,
                it stays open at least that long (at most ``max_timeout``). Garbage counts as absent.
            duration: Seconds it took, as for :meth:`success`.
        """
        self._circuit.fail(
            self,
            _in_words(cause),
            soft=soft,
            retry_after=named_wait(retry_after),
            duration=duration,
        )

    def release(self) -> None:
        """The call proved nothing: it was cancelled, never sent, or the caller's own mistake."""
        self._circuit.release(self)

    def settle(self, error: BaseException | None) -> None:
        """Settle by what the call raised, or None if it returned: see :func:`failsafe.outcome.breaker_effect`."""
        if error is None:
            self.success()
            return
        effect = breaker_effect(error)
        if effect is BreakerEffect.NEUTRAL:
            self.release()
            return
        retry_after = getattr(error, "retry_after", None)
        self.failure(error, soft=effect is BreakerEffect.SOFT, retry_after=retry_after)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    def __repr__(self) -> str:
        return f"<Permit {self._circuit.name} generation {self.generation}{' settled' if self.settled else ''}>"


def _in_words(cause: BaseException | str | None) -> str:
    if cause is None:
        return "cause not given"
    return cause if isinstance(cause, str) else type(cause).__name__


class _Tally:
    """
    A count that grows without a lock.

    Thread-safe: the next number of :func:`itertools.count` is one step under the GIL.

    Attributes:
        add: Counts one more.
    """

    __slots__ = ("_looks", "_numbers", "add")

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._looks = 0
        self.add = self._numbers.__next__

    def look_locked(self) -> int:
        """The count; a lock that all who look have in common is held."""
        self._looks += 1  # looking takes a number too
        return next(self._numbers) - self._looks


class Circuit:
    """
    Phases, permits and counters of one breaker. Thread-safe.

    Args:
        name: The breaker's name.
        config: Thresholds and times.
        clock: Asked for the time, never under the lock.
        random: The source of jitter, never asked under the lock.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_config",
        "_failed_half_opens",
        "_failures",
        "_lock",
        "_opened",
        "_random",
        "_rejected",
        "_slow_after",
        "_soft_failures",
        "_successes",
        "_waiting",
        "listeners",
        "name",
        "phase",
    )

    def __init__(self, name: str, config: CircuitBreakerConfig, clock: Clock, random: Random) -> None:
        self.name = name
        self.listeners = StateListeners(name, clock)
        self._config = config
        self._clock = clock
        self._random = random
        self._slow_after = config.slow_call_duration
        self._lock = threading.Lock()
        # Written under _lock. One reference, so that reading it without the lock is consistent.
        self.phase: Phase = closed(0, config)
        self._failed_half_opens = 0  # in a row; guarded by _lock, as the counters are
        self._opened = 0
        self._rejected = 0
        self._successes = _Tally()  # needs no lock to grow
        self._failures = 0
        self._soft_failures = 0
        self._waiting: deque[tuple[Phase, float, bool]] = deque()  # taken from under _lock
        forking.register(self)

    def admit(self) -> Permit | None:
        """A permit, or None: refused. A transition that this causes and its first permit are one step."""
        phase = self.phase
        if phase.admits_all:
            return Permit(self, phase, self.acquisition_time())
        now, chance = self._clock.monotonic(), self._draw()
        with self._lock:
            permit = self._admit_locked(now, chance)
            if permit is None:
                self._rejected += 1
        try:
            self.listeners.tell()
        except BaseException:  # the program is ending, or was interrupted: nobody will ever settle the permit
            if permit is not None:
                self.release(permit)
            raise
        return permit

    def succeed(self, permit: Permit, duration: object) -> None:
        """Settle *permit*: the call succeeded, in *duration* seconds (None or garbage: as measured here)."""
        phase = permit.phase
        if phase.admits_all:
            if phase is self.phase and phase.counts and permit.claim():
                self.pass_by(phase, permit.acquired_at, duration)
            return
        now, chance = self._clock.monotonic(), self._draw()
        slow = self._is_slow(permit.acquired_at, now, duration)
        with self._lock:
            if not self._take_locked(permit):
                return
            self._successes.add()
            move = phase.success(permit, now, slow)
            if move is not None:
                self._move_locked(*move, now=now, chance=chance)
        self.listeners.tell()

    def pass_by(self, phase: Phase, acquired_at: float, duration: object = None) -> None:
        """
        Record a success in *phase*, which admits all, so that a call needs no permit for it.

        Most successes of a healthy service end here without the lock. The others are queued, and whoever
        has the lock takes them along: threads that all waited for it would take turns at every call.
        """
        if phase is not self.phase or not phase.counts:
            return
        if type(phase) is Closed and not phase.rule.streak:
            # As if it had come before whatever another thread does by now: with no streak to clear it only counts.
            self._successes.add()
            return
        now = self._clock.monotonic()
        slow = self._slow_after is not None and self._is_slow(acquired_at, now, duration)
        self._waiting.append((phase, now, slow))
        chance = self._draw()
        # Asked again after letting go: what was queued in between found the lock taken.
        while self._waiting and (not self._lock.locked() or len(self._waiting) > _MOST_WAITING):
            with self._lock:
                self._catch_up_locked(chance)
        if self.listeners.pending:
            self.listeners.tell()

    def fail(
        self, permit: Permit, cause: str, *, soft: bool, retry_after: float | None, duration: object = None
    ) -> None:
        """Settle *permit*: the call failed, after *duration* seconds (None or garbage: as measured here)."""
        now, chance = self._clock.monotonic(), self._draw()
        slow = self._is_slow(permit.acquired_at, now, duration)
        with self._lock:
            self._catch_up_locked(chance)
            if not self._take_locked(permit):
                return
            if soft:
                self._soft_failures += 1
            else:
                self._failures += 1
            move = permit.phase.failure(permit, cause, now, slow, soft=soft)
            if move is not None:
                self._move_locked(*move, now=now, chance=chance, asked=retry_after)
        self.listeners.tell()

    def release(self, permit: Permit) -> None:
        """Settle *permit*: the call proved nothing."""
        with self._lock:
            if self._take_locked(permit):
                permit.phase.release(permit)

    def trip(self, reason: str) -> None:
        """Open, from closed or half-open; in other states do nothing."""
        now, chance = self._clock.monotonic(), self._draw()
        with self._lock:
            self._catch_up_locked(chance)
            if self.phase.counts:
                self._move_locked(CircuitState.OPEN, reason, now=now, chance=chance)
        self.listeners.tell()

    def put(self, state: CircuitState, reason: str) -> None:
        """Go to CLOSED, FORCED_OPEN or DISABLED by hand; results under way no longer count, the growth is forgotten."""
        now, chance = self._clock.monotonic(), self._draw()
        with self._lock:
            self._catch_up_locked(chance)
            if state is CircuitState.CLOSED or state is not self.phase.state:
                self._move_locked(state, reason, now=now)
        self.listeners.tell()

    def wait(self) -> float | None:
        """Seconds until a call may be admitted; None when there is nothing to wait for."""
        now = self._clock.monotonic()
        with self._lock:
            return self.phase.wait(now)

    def stats(self) -> BreakerStats:
        """All figures of one moment."""
        now, chance = self._clock.monotonic(), self._draw()
        with self._lock:
            self._catch_up_locked(chance)
            stats = self._stats_locked(now)
        self.listeners.tell()
        return stats

    def _stats_locked(self, now: float) -> BreakerStats:
        phase = self.phase
        return BreakerStats(
            name=self.name,
            state=phase.state,
            reason=phase.reason,
            retry_after=phase.wait(now),
            opened=self._opened,
            rejected=self._rejected,
            successes=self._successes.look_locked(),
            failures=self._failures,
            soft_failures=self._soft_failures,
            **phase.figures(now),
        )

    def _draw(self) -> float:
        return self._random.random() if self._config.timeout_jitter else 0.0

    def acquisition_time(self) -> float:
        """The time to remember for a call that begins now; 0 where no rule asks how long a call takes."""
        return 0.0 if self._slow_after is None else self._clock.monotonic()

    def _is_slow(self, acquired_at: float, now: float, duration: object) -> bool:
        if self._slow_after is None:
            return False
        told = named_wait(duration)
        return (now - acquired_at if told is None else told) > self._slow_after

    def _catch_up_locked(self, chance: float) -> None:
        """Record the successes that found the lock taken; those of an earlier phase are stale by now."""
        while self._waiting:
            phase, now, slow = self._waiting.popleft()
            if phase is self.phase:
                self._successes.add()
                move = phase.success(None, now, slow)
                if move is not None:
                    self._move_locked(*move, now=now, chance=chance)

    def _take_locked(self, permit: Permit) -> bool:
        """Whether *permit* is current and unsettled and its outcome counts; it is settled from now on."""
        return permit.phase is self.phase and permit.phase.counts and permit.claim()

    def _admit_locked(self, now: float, chance: float) -> Permit | None:
        if isinstance(self.phase, Open) and now >= self.phase.until:
            why = f"the open time of {in_words(self.phase.open_for)} is over"
            self._move_locked(CircuitState.HALF_OPEN, why, now=now)
        phase = self.phase
        if isinstance(phase, HalfOpen):
            return self._probe_locked(phase, now, chance)
        # Closed or disabled: another thread was faster than our look without the lock.
        return Permit(self, phase, now) if phase.admits_all else None

    def _probe_locked(self, phase: HalfOpen, now: float, chance: float) -> Permit | None:
        stuck = phase.stuck(now)
        if stuck:
            self._move_locked(CircuitState.OPEN, stuck, now=now, chance=chance)
            return None
        if phase.is_full():
            return None
        permit = Permit(self, phase, now)
        phase.probes[permit] = now
        return permit

    def _move_locked(
        self, state: CircuitState, reason: str, *, now: float, chance: float = 0.0, asked: float | None = None
    ) -> None:
        """Begin the next phase and queue the news of it."""
        old = self.phase
        generation = old.generation + 1
        open_for = None
        if state is CircuitState.OPEN:
            self._failed_half_opens += isinstance(old, HalfOpen)
            open_for = open_time(self._config, self._failed_half_opens, chance, asked)
            self._opened += 1
            self.phase = Open(generation, reason, now, open_for)
        elif state is CircuitState.HALF_OPEN:
            self.phase = HalfOpen(generation, old.reason, self._config)
        else:
            self._failed_half_opens = 0
            self.phase = self._resting(state, generation, reason)
        if old.state is not state:
            self.listeners.note(now, old.state, state, reason, open_for)

    def _resting(self, state: CircuitState, generation: int, reason: str) -> Phase:
        if state is CircuitState.CLOSED:
            return closed(generation, self._config)
        return ForcedOpen(generation, reason) if state is CircuitState.FORCED_OPEN else Disabled(generation)

    def _after_fork(self) -> None:
        """Free, in a forked child, the lock and the places of probes that only the parent's threads can settle."""
        self._lock = threading.Lock()
        self.listeners.after_fork()
        self.phase.after_fork()
        if isinstance(self.phase, HalfOpen):
            self.phase = self.phase.without_probes(self._config)
