"""
What a provider's answers said is left of its rate limits: do not send what will be refused.

A reading is old when it arrives: it was taken when its request reached the provider, which a long
answer tells a minute later; other requests have been sent since, and answers overtake each other. So
a reading counts from the moment its request was *sent*, every request that was sent after that is
subtracted from it, and its reset is reckoned from there.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence

import msgspec

from failsafe import forking
from failsafe.clock import Clock

_OFF_AT_MOST = 3600.0
"""Seconds that a reading counts at most, as the fault table has it for a rate limit; a later reset counts as that."""
_MOST_PAIRS = 1024  # a bound on memory, as model names come from callers; the one first over makes room
_SENDS_KEPT = 512  # how many requests can be under way at once and still be told apart from those before
_ON_ITS_WAY = 1.0
"""Seconds until a request is counted there, at worst (DNS, connecting, TLS); by so much may one overtake another."""
_UNCOUNTED = frozenset({"output_tokens"})
"""Dimensions of which nobody knows beforehand what a request will take; only having none left counts."""


class Reading(msgspec.Struct, frozen=True):
    """
    What one answer said of one limit.

    Attributes:
        dimension: ``requests``, ``tokens``, ``input_tokens`` or ``output_tokens``.
        remaining: What was left; infinite: plenty, no need to count.
        reset: Seconds from the answer until the limit is whole again.
        limit: The limit itself, where it is known.
        gradual: Whether it comes back steadily, as in a token bucket, and not all at once.
    """

    dimension: str
    remaining: float
    reset: float = 0.0
    limit: float = math.inf
    gradual: bool = False


class _Left(msgspec.Struct):
    """What is left of one dimension of one key and model."""

    sent_at: float
    """When the request was sent whose answer said so."""
    stated: float
    remaining: float
    """What was stated less what was sent since; below 0 when too much was under way."""
    limit: float
    until: float
    """When it is forgotten."""


_Where = tuple[str | None, str]


class LearntLimits:
    """
    What is left of one provider's limits, by key and model. Thread-safe.

    Only little is worth counting: answers that say "plenty" leave nothing behind, and while nothing
    is, :meth:`wait` tests one attribute and :meth:`sent` notes the request without a lock.
    Whatever is known is forgotten at the reset that the provider stated, at the latest after an hour,
    so no estimate made here keeps a provider shut for longer than it said itself.

    Args:
        clock: The source of time.

    Attributes:
        any: Whether anything is known to be short.
    """

    __slots__ = ("__weakref__", "_clock", "_forget_next", "_known", "_latest", "_lock", "_sends", "any")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[_Where, dict[str, _Left]] = {}  # guarded by _lock
        self._forget_next = math.inf  # guarded by _lock; never later than the first end of a reading
        self._sends: deque[tuple[float, str | None, str, float]] = deque(maxlen=_SENDS_KEPT)  # append is atomic
        self._latest = -math.inf
        self.any = False  # written under _lock
        forking.register(self)

    def wait(self, key: str | None, model: str, tokens: float = 0.0) -> float:
        """
        Seconds until a request would be accepted; 0.0 if nothing speaks against sending it now. Changes nothing.

        Args:
            key: The fingerprint of the key.
            model: The model's name.
            tokens: What the request is estimated to take of the limit on tokens; 0 if nobody knows.
        """
        if not self.any:
            return 0.0
        now = self._clock.monotonic()
        with self._lock:
            return self._wait_locked(key, model, tokens, now)

    def sent(self, key: str | None, model: str, tokens: float = 0.0) -> float:
        """
        Count a request that is about to be sent, with what it is estimated to take.

        Returns:
            When that was: what :meth:`update` needs to know with the answer. No two requests have the same.
        """
        at = self._clock.monotonic()
        if at <= self._latest:
            at = math.nextafter(self._latest, math.inf)
        self._latest = at
        if self.any:
            with self._lock:
                self._sent_locked(at, key, model, tokens)
        else:  # in the instant in which the first reading arrives, it may miss this one
            self._sends.append((at, key, model, tokens))
        return at

    def try_send(self, key: str | None, model: str, tokens: float = 0.0) -> float | None:
        """
        Count a request and return as :meth:`sent` does, unless :meth:`wait` has something against it: then None.

        One step, so that of several threads only as many come through as there is room for.
        """
        if not self.any:
            return self.sent(key, model, tokens)
        at = self._clock.monotonic()
        with self._lock:
            if self._wait_locked(key, model, tokens, at):
                return None
            if at <= self._latest:
                at = math.nextafter(self._latest, math.inf)
            self._latest = at
            self._sent_locked(at, key, model, tokens)
        return at

    def update(self, key: str | None, model: str, readings: Sequence[Reading], sent_at: float) -> None:
        """
        Take in what an answer said.

        The answer of a request that was sent later knows more, and replaces what is known. One sent
        earlier may have been overtaken on its way by a moment: it can only lower what is known.
        Readings that are no sensible numbers are left out.

        Args:
            key: The fingerprint of the key it was asked with.
            model: The model that was asked.
            readings: What it said; anything :func:`failsafe.providers.limit_headers.readings` returns.
            sent_at: What :meth:`sent` returned for its request (or when it was sent, on the clock's scale).
        """
        if not self.any and not _any_short(readings):
            return
        now = self._clock.monotonic()
        with self._lock:
            self.any = True  # from here on requests are counted under the lock
            self._sweep_locked(now)
            for reading in readings:
                self._take_in_locked((key, model), reading, sent_at, now)
            self.any = bool(self._known)

    def clear(self) -> None:
        """Forget everything that was said."""
        with self._lock:
            self._known.clear()
            self._forget_next = math.inf
            self.any = False

    def _wait_locked(self, key: str | None, model: str, tokens: float, now: float) -> float:
        self._sweep_locked(now)
        longest = 0.0
        for dimension, left in self._known.get((key, model), {}).items():
            need = _taken(dimension, tokens)
            # What is larger than the limit itself never fits: whether it may be sent all the same, the provider says.
            short = left.remaining <= 0 or left.remaining < need <= left.limit
            if short and left.until - now > longest:
                longest = left.until - now
        return longest

    def _sent_locked(self, at: float, key: str | None, model: str, tokens: float) -> None:
        self._sends.append((at, key, model, tokens))
        for dimension, left in self._known.get((key, model), {}).items():
            left.remaining -= _taken(dimension, tokens)

    def _take_in_locked(self, where: _Where, reading: Reading, sent_at: float, now: float) -> None:
        if not (reading.remaining >= 0 and reading.reset >= 0):  # NaN as well
            return
        held = self._known.get(where, {}).get(reading.dimension)
        if held is not None and sent_at < held.sent_at:
            if held.sent_at - sent_at <= _ON_ITS_WAY and reading.remaining < held.stated:
                held.remaining -= held.stated - reading.remaining
                held.stated = reading.remaining
            return
        # A quick answer, as every refusal is, has just been taken; a slow one when its request was counted.
        until = min(now, sent_at + _ON_ITS_WAY) + min(reading.reset, _OFF_AT_MOST)
        if until > now and reading.remaining < math.inf:
            since = self._sent_since_locked(where, reading.dimension, sent_at)
            remaining = _refilled(reading, max(0.0, now - sent_at)) - since
            left = _Left(sent_at, reading.remaining, remaining, reading.limit, until)
            self._keep_locked(where, reading.dimension, left)
        elif held is not None:
            self._drop_locked(where, reading.dimension)

    def _keep_locked(self, where: _Where, dimension: str, left: _Left) -> None:
        if where not in self._known and len(self._known) >= _MOST_PAIRS:
            del self._known[min(self._known, key=self._end_locked)]
        self._known.setdefault(where, {})[dimension] = left
        self._forget_next = min(self._forget_next, left.until)

    def _drop_locked(self, where: _Where, dimension: str) -> None:
        del self._known[where][dimension]
        if not self._known[where]:
            del self._known[where]

    def _end_locked(self, where: _Where) -> float:
        return max(left.until for left in self._known[where].values())

    def _sent_since_locked(self, where: _Where, dimension: str, sent_at: float) -> float:
        taken = 0.0
        for at, key, model, tokens in reversed(self._sends.copy()):  # others may append without the lock just now
            if at <= sent_at:
                break
            if (key, model) == where:
                taken += _taken(dimension, tokens)
        return taken

    def _sweep_locked(self, now: float) -> None:
        """Forget what is over."""
        if now < self._forget_next:
            return
        for where, known in list(self._known.items()):
            kept = {dimension: left for dimension, left in known.items() if left.until > now}
            if kept:
                self._known[where] = kept
            else:
                del self._known[where]
        self._forget_next = min(
            (left.until for known in self._known.values() for left in known.values()), default=math.inf
        )
        self.any = bool(self._known)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<LearntLimits {len(self._known)} short>"


def _any_short(readings: Sequence[Reading]) -> bool:
    for reading in readings:  # noqa: SIM110 -- a generator for any() takes three times as long, on every answer
        if reading.remaining < math.inf:
            return True
    return False


def _refilled(reading: Reading, age: float) -> float:
    """
    What is left *age* seconds after *reading*, if nothing was sent since.

    What comes back steadily has come back in part: without this, long answers of a busy program
    would shut the provider. Of nothing, nothing is counted on before the reset.
    """
    if not (reading.gradual and reading.remaining > 0 and reading.remaining < reading.limit < math.inf):
        return reading.remaining
    return min(reading.limit, reading.remaining + (reading.limit - reading.remaining) * age / reading.reset)


def _taken(dimension: str, tokens: float) -> float:
    """What a request takes of a limit; an estimate that is no sensible number counts as none."""
    if dimension == "requests":
        return 1.0
    return tokens if dimension not in _UNCOUNTED and 0 <= tokens < math.inf else 0.0
