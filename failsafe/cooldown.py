"""
What of one provider is left alone for a time, and for how long.

A time off belongs to a scope: a key, a model, both, or the whole provider. How long it is says the
fault table (:data:`failsafe.faults.REACTIONS`) or the provider itself; each repetition lengthens it.
This is apart from the circuit breaker on purpose: a rate limit or a rejected key says nothing about
the health of the service.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from failsafe import forking
from failsafe.backoff import LATER_AT_MOST, ceiling, named_wait
from failsafe.clock import Clock, Random
from failsafe.faults import REACTIONS, Fault, Reaction
from failsafe.models import Failure

TRIAL_LEASE = 60.0
"""Seconds after which a trial that nobody settled is given to the next caller."""

_ON_TRIAL = frozenset({Fault.AUTH})
"""Faults after whose time off one call at a time finds out whether it is over."""

_MOST_SCOPES = 1024  # a bound on memory, as model names come from callers; the one first forgotten makes room

_Where = tuple[str | None, str | None]


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why a key and model may not be used now.

    Attributes:
        fault: What it is off for.
        until: When that ends, on the clock's monotonic scale.
        retry_after: Seconds until then.
        message: What the provider said, masked.
    """

    fault: Fault
    until: float
    retry_after: float
    message: str


class _TimeOff(msgspec.Struct):
    """One fault of one scope: its time off and, past it, the memory of its repetitions."""

    message: str
    until: float
    repeats: int = 0
    trial_until: float = 0.0
    forget_at: float = 0.0

    @property
    def end(self) -> float:
        return max(self.until, self.trial_until)


class Cooldowns:
    """
    The times off of one provider. Thread-safe; while nothing is off, asking takes no lock.

    Scopes are pairs of a key's fingerprint and a model, None standing for every key or every model.
    Where several apply, the longest counts. After the time off of a rejected key (``AUTH``) one call
    is admitted on trial: it ends with :meth:`succeeded`, with the next :meth:`strike`, with
    :meth:`give_back`, or after :data:`TRIAL_LEASE` seconds; until then the key stays blocked for others.

    Args:
        clock: The source of time.
        random: The source of chance, so that several processes do not come back together.

    Attributes:
        any: Whether anything is, or lately was, off.
    """

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._scopes: dict[_Where, dict[Fault, _TimeOff]] = {}  # guarded by _lock
        self._forget_next = math.inf  # guarded by _lock; never later than the first forget_at
        self.any = False  # written under _lock
        forking.register(self)

    def blocked(self, key: str | None, model: str | None) -> Blocked | None:
        """Why *key* may not be used for *model* now, or None. Changes nothing, begins no trial."""
        if not self.any:
            return None
        now = self._clock.monotonic()
        with self._lock:
            return self._blocked_locked(key, model, now)

    def admit(self, key: str | None, model: str | None) -> Blocked | None:
        """
        As :meth:`blocked`, for a call that will be made if the answer is None: this may begin a trial.

        A call that is not made after all calls :meth:`give_back`.
        """
        if not self.any:
            return None
        now = self._clock.monotonic()
        with self._lock:
            blocked = self._blocked_locked(key, model, now)
            if blocked is None:
                for fault, time_off in self._matching_locked(key, model):
                    if fault in _ON_TRIAL:
                        time_off.trial_until = now + TRIAL_LEASE
            return blocked

    def give_back(self, key: str | None, model: str | None) -> None:
        """End a trial that proved nothing: the call was not made, or failed for another reason."""
        if not self.any:
            return
        with self._lock:
            for _, time_off in self._matching_locked(key, model):
                time_off.trial_until = 0.0

    def succeeded(self, key: str | None, model: str | None) -> None:
        """Forget repetitions and trials of what *key* and *model* just proved to work; times off still run out."""
        if not self.any:
            return
        now = self._clock.monotonic()
        with self._lock:
            for _, time_off in self._matching_locked(key, model):
                time_off.repeats = 0
                time_off.trial_until = 0.0
                time_off.forget_at = time_off.until
                self._forget_next = min(self._forget_next, time_off.until)
            self._sweep_locked(now)

    def strike(self, key: str | None, model: str | None, failure: Failure) -> float:
        """
        Leave the scope alone for what *failure* deserves; returns for how many seconds that is from now.

        The provider's own ``retry_after`` counts first: never earlier, up to a tenth later by chance, at
        most the fault's ``off_at_most``. Without one it is the fault's ``off_for``, grown with each
        repetition. Failures of calls that were under way when the time off began are no repetitions.
        0 if the fault puts nothing out of use.
        """
        reaction = REACTIONS[failure.fault]
        now, chance = self._clock.monotonic(), self._random.random()
        with self._lock:
            self._sweep_locked(now)
            old = self._scopes.get((key, model), {}).get(failure.fault)
            repeats = 0 if old is None else old.repeats + (now >= old.until)
            seconds = time_off_for(reaction, repeats, failure.retry_after, chance)
            if seconds <= 0:
                return 0.0
            time_off = self._put_off_locked(key, model, now + seconds, failure.fault, failure.message)
            time_off.repeats = repeats
            return time_off.until - now

    def put_off(self, key: str | None, model: str | None, seconds: float, fault: Fault, message: str) -> None:
        """Leave the scope alone for *seconds*; a longer time off for the same fault is not shortened."""
        if not seconds > 0:
            return
        now = self._clock.monotonic()
        with self._lock:
            self._sweep_locked(now)
            self._put_off_locked(key, model, now + seconds, fault, message)

    def clear(self, *, key: str | None = None, model: str | None = None) -> None:
        """Forget everything, or only what is off for this very *key*, this very *model*, or both."""
        with self._lock:
            for where in list(self._scopes):
                if key in (None, where[0]) and model in (None, where[1]):
                    del self._scopes[where]
            self.any = bool(self._scopes)

    def listing(self) -> list[dict[str, Any]]:
        """What is off now, as plain values: key, model, fault, seconds left and the provider's message."""
        now = self._clock.monotonic()
        with self._lock:
            return [
                {
                    "key": key,
                    "model": model,
                    "fault": str(fault),
                    "retry_after": time_off.end - now,
                    "message": time_off.message,
                }
                for (key, model), faults in self._scopes.items()
                for fault, time_off in faults.items()
                if time_off.end > now
            ]

    def _matching_locked(self, key: str | None, model: str | None) -> Iterator[tuple[Fault, _TimeOff]]:
        for where in {(key, model), (key, None), (None, model), (None, None)}:
            yield from self._scopes.get(where, {}).items()

    def _blocked_locked(self, key: str | None, model: str | None, now: float) -> Blocked | None:
        self._sweep_locked(now)
        running = [(time_off.end, fault, time_off) for fault, time_off in self._matching_locked(key, model)]
        end, fault, time_off = max(running, key=lambda entry: entry[0], default=(0.0, None, None))
        if fault is None or time_off is None or end <= now:
            return None
        return Blocked(fault=fault, until=end, retry_after=end - now, message=time_off.message)

    def _put_off_locked(self, key: str | None, model: str | None, until: float, fault: Fault, message: str) -> _TimeOff:
        if (key, model) not in self._scopes and len(self._scopes) >= _MOST_SCOPES:
            self._make_room_locked()
        faults = self._scopes.setdefault((key, model), {})
        time_off = faults.setdefault(fault, _TimeOff(message=message, until=until))
        if until > time_off.until:
            time_off.message, time_off.until = message, until
        time_off.trial_until = 0.0
        reaction = REACTIONS[fault]
        # What grows is remembered for a while after its end, or there would be no repetition to count.
        time_off.forget_at = time_off.until + (reaction.off_at_most if reaction.growth > 1 else 0.0)
        self._forget_next = min(self._forget_next, time_off.forget_at)
        self.any = True
        return time_off

    def _make_room_locked(self) -> None:
        def forgotten_at(where: _Where) -> float:
            return max(time_off.forget_at for time_off in self._scopes[where].values())

        del self._scopes[min(self._scopes, key=forgotten_at)]

    def _sweep_locked(self, now: float) -> None:
        """Drop what is over and no longer remembered."""
        if now < self._forget_next:
            return
        for where, faults in list(self._scopes.items()):
            kept = {
                fault: time_off for fault, time_off in faults.items() if max(time_off.forget_at, time_off.end) > now
            }
            if kept:
                self._scopes[where] = kept
            else:
                del self._scopes[where]
        left = (
            max(time_off.forget_at, time_off.end) for faults in self._scopes.values() for time_off in faults.values()
        )
        self._forget_next = min(left, default=math.inf)
        self.any = bool(self._scopes)

    def _after_fork(self) -> None:
        """Free the lock in a forked child; the parent's trials run out by themselves."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        off = ", ".join(f"{row['key'] or '*'}/{row['model'] or '*'} {row['fault']}" for row in self.listing())
        return f"<Cooldowns {off or 'nothing off'}>"


def time_off_for(reaction: Reaction, repeats: int, retry_after: object, chance: float) -> float:
    """
    Return how many seconds a fault puts its scope out of use; 0: not at all.

    Args:
        reaction: The fault's row of the fault table.
        repeats: How often in a row it had happened before.
        retry_after: Seconds the provider asked for; 0 and garbage count as absent.
        chance: From 0 to 1; lengthens by that share of a tenth.
    """
    later = 1.0 + LATER_AT_MOST * chance
    named = named_wait(retry_after)
    if named:
        return min(reaction.off_at_most, named * later)
    # Growth stops short of the limit, so that chance still tells processes apart that have all reached it.
    limit = max(reaction.off_for, reaction.off_at_most / (1.0 + LATER_AT_MOST))
    return min(reaction.off_at_most, ceiling(reaction.off_for, reaction.growth, repeats, limit) * later)
