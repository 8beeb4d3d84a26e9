"""
The phases a circuit breaker goes through, each a small record that lives from one transition to the next.

A permit holds the phase it was granted in, so an outcome that arrives after a transition finds
another phase in place and is recognised as stale. Nothing here is thread-safe: the breaker's lock
is held around every method.
"""

from __future__ import annotations

from typing import Any, ClassVar

from failsafe.backoff import ceiling
from failsafe.events import CircuitState
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.rules import ConsecutiveRule, RateRules

Move = tuple[CircuitState, str]
"""Where an outcome takes the breaker, and why."""

_PROBE_PATIENCE = 1.0
_LONGEST_OPEN = 300.0
_LONGEST_PROBE = 60.0


class Phase:
    """
    One period between two transitions.

    Attributes:
        generation: Counts the transitions of this breaker.
        reason: Why the service is not (fully) in use, in words; empty while it is.
    """

    __slots__ = ("generation", "reason")

    state: ClassVar[CircuitState]
    admits_all: ClassVar[bool] = False
    """Whether every call is admitted, so that asking needs no lock."""
    counts: ClassVar[bool] = False
    """Whether outcomes are recorded."""
    needs_time: ClassVar[bool] = False
    """Whether a success must be told when it happened; a failure always is."""

    def __init__(self, generation: int, reason: str = "") -> None:
        self.generation = generation
        self.reason = reason

    def success(self, permit: object, now: float, slow: bool, /) -> Move | None:
        """Take note of a success at *now* (monotonic seconds); where it leads, or None."""

    def failure(self, permit: object, cause: str, now: float, slow: bool, /, *, soft: bool) -> Move | None:
        """Take note of a failure of the given *cause* (in words); where it leads, or None."""

    def release(self, permit: object, /) -> None:
        """Take back a permit that proved nothing."""

    def wait(self, now: float) -> float | None:
        """Seconds until a call may be admitted; None when there is nothing to wait for."""

    def figures(self, _now: float, /) -> dict[str, Any]:
        """The fields of :class:`failsafe.BreakerStats` that only this phase has anything to say about."""
        return {}

    def after_fork(self) -> None:
        """Put right, in a forked child, what a thread of the parent may have been in the middle of."""


class Closed(Phase):
    """Everything passes; failures in a row are counted."""

    __slots__ = ("rule",)

    state = CircuitState.CLOSED
    admits_all = True
    counts = True

    def __init__(self, generation: int, config: CircuitBreakerConfig) -> None:
        super().__init__(generation)
        self.rule = ConsecutiveRule(config.failure_threshold)

    def success(self, _permit: object, _now: float, _slow: bool, /) -> Move | None:
        """Clear the streak."""
        self.rule.streak = 0
        return None

    def failure(self, _permit: object, cause: str, _now: float, _slow: bool, /, *, soft: bool) -> Move | None:
        """Ask the rule."""
        reason = self.rule.failure(cause, soft=soft)
        return None if reason is None else (CircuitState.OPEN, reason)

    def figures(self, _now: float, /) -> dict[str, Any]:
        """The streak."""
        return {"streak": self.rule.streak}


class Watched(Phase):
    """Closed, too: everything passes; failures in a row are counted, and the rates in a window judged."""

    __slots__ = ("rates", "rule")

    state = CircuitState.CLOSED
    admits_all = True
    counts = True
    needs_time = True

    def __init__(self, generation: int, config: CircuitBreakerConfig) -> None:
        super().__init__(generation)
        self.rule = ConsecutiveRule(config.failure_threshold)
        self.rates = RateRules(config)

    def success(self, _permit: object, now: float, slow: bool, /) -> Move | None:
        """Clear the streak and ask the rates: a slow success, or the one that makes enough calls, may open."""
        self.rule.streak = 0
        reason = self.rates.success(now, slow)
        return None if reason is None else (CircuitState.OPEN, reason)

    def failure(self, _permit: object, cause: str, now: float, slow: bool, /, *, soft: bool) -> Move | None:
        """Ask every rule; the streak has the first word."""
        streak_broken = self.rule.failure(cause, soft=soft)
        rate_broken = self.rates.failure(now, cause, slow)
        reason = streak_broken or rate_broken
        return None if reason is None else (CircuitState.OPEN, reason)

    def figures(self, now: float, /) -> dict[str, Any]:
        """The streak and the rates at *now*."""
        self.rates.window.move_on(now)
        return {
            "streak": self.rule.streak,
            "calls_in_window": self.rates.window.calls,
            "failure_rate": self.rates.failure_rate(),
            "slow_call_rate": self.rates.slow_call_rate(),
        }

    def after_fork(self) -> None:
        """Make the window's sums anew."""
        self.rates.window.recount()


def closed(generation: int, config: CircuitBreakerConfig) -> Phase:
    """A closed phase with an empty streak and, where a rate is judged, an empty window."""
    return Watched(generation, config) if config.judges_rates else Closed(generation, config)


class Open(Phase):
    """Nothing passes until *open_for* seconds after *opened_at*; outcomes are ignored and move no timer."""

    __slots__ = ("open_for", "until")

    state = CircuitState.OPEN

    def __init__(self, generation: int, reason: str, opened_at: float, open_for: float) -> None:
        super().__init__(generation, reason)
        self.open_for = open_for
        self.until = opened_at + open_for

    def wait(self, now: float) -> float | None:
        """Seconds left of the open time."""
        # A clock that went back must not show more than the whole open time.
        return min(self.open_for, max(0.0, self.until - now))


class HalfOpen(Phase):
    """
    A few probes pass: enough successes close the breaker, one failure opens it again.

    A slow success counts as a success, but when enough of them are in, they close the breaker only if the
    share of slow ones among them would let it stay closed.
    """

    __slots__ = ("_config", "_lease", "_places", "_wanted", "probes", "slow_successes", "successes")

    state = CircuitState.HALF_OPEN
    counts = True
    needs_time = True

    def __init__(self, generation: int, reason: str, config: CircuitBreakerConfig) -> None:
        super().__init__(generation, reason)
        self._config = config
        self._places = config.half_open_max_calls
        self._wanted = config.success_threshold
        self._lease = config.half_open_max_wait or max(config.timeout, _LONGEST_PROBE)
        self.probes: dict[object, float] = {}
        """The permits in flight, oldest first, and when each was granted."""
        self.successes = 0
        self.slow_successes = 0

    def is_full(self) -> bool:
        """Whether every place is taken."""
        return len(self.probes) >= self._places

    def stuck(self, now: float) -> str | None:
        """If every place is taken and the oldest probe's lease is over: the reason to open, in words."""
        if not self.is_full() or self._lease_left(now) > 0:
            return None
        return f"a probe has not answered for {self._lease:g} s"

    def success(self, permit: object, _now: float, slow: bool, /) -> Move | None:
        """Count; enough of them close the breaker, unless too many of them were slow."""
        del self.probes[permit]
        self.successes += 1
        self.slow_successes += slow
        if self.successes < self._wanted:
            return None
        if self.slow_successes and self.slow_successes / self.successes >= self._config.slow_call_rate_threshold:
            return CircuitState.OPEN, self._slowness()
        return CircuitState.CLOSED, f"{self.successes} probes succeeded" if self.successes > 1 else "a probe succeeded"

    def failure(self, _permit: object, cause: str, _now: float, _slow: bool, /, *, soft: bool) -> Move | None:
        """The first failed probe opens the breaker, a soft one too."""
        return CircuitState.OPEN, f"a probe {'was put off' if soft else 'failed'}: {cause}"

    def release(self, permit: object, /) -> None:
        """Free the place."""
        del self.probes[permit]

    def wait(self, now: float) -> float | None:
        """Nothing while a place is free, else a guess."""
        # When a probe will answer nobody knows; a second keeps callers from spinning and from giving up.
        return min(_PROBE_PATIENCE, self._lease_left(now)) if self.is_full() else 0.0

    def figures(self, _now: float, /) -> dict[str, Any]:
        """The probes: those that succeeded, and those in flight."""
        return {"half_open_successes": self.successes, "probes_in_flight": len(self.probes)}

    def without_probes(self, config: CircuitBreakerConfig) -> HalfOpen:
        """The same period, a generation on, with every place free and every permit granted so far stale."""
        fresh = HalfOpen(self.generation + 1, self.reason, config)
        fresh.successes = self.successes
        fresh.slow_successes = self.slow_successes
        return fresh

    def _slowness(self) -> str:
        counted = f"{self.slow_successes} of {self.successes} probes" if self.successes > 1 else "a probe"
        return f"{counted} took longer than {self._config.slow_call_duration:g} s"

    def _lease_left(self, now: float) -> float:
        oldest = next(iter(self.probes.values()))
        return max(0.0, oldest + self._lease - now)


class ForcedOpen(Phase):
    """Nothing passes until somebody resets the breaker."""

    __slots__ = ()

    state = CircuitState.FORCED_OPEN


class Disabled(Phase):
    """Everything passes and nothing is recorded until somebody resets the breaker."""

    __slots__ = ()

    state = CircuitState.DISABLED
    admits_all = True


def open_time(config: CircuitBreakerConfig, failed_half_opens: int, chance: float, asked: float | None) -> float:
    """
    Return how long a breaker stays open, seconds.

    Args:
        config: The open time, its growth, jitter and limit.
        failed_half_opens: Half-open periods in a row that failed; each lengthens by ``timeout_multiplier``.
        chance: From 0 to 1; lengthens by that share of ``timeout_jitter``.
        asked: Seconds the provider asked for: never less than this, unless it is above ``max_timeout``.
    """
    longest = max(config.timeout, _LONGEST_OPEN) if config.max_timeout is None else config.max_timeout
    # Growth stops short of the limit, so that jitter still tells clients apart that have all reached it.
    growth_limit = max(config.timeout, longest / (1.0 + config.timeout_jitter))
    grown = ceiling(config.timeout, config.timeout_multiplier, failed_half_opens, growth_limit)
    wanted = max(grown, asked or 0.0)
    return min(longest, wanted * (1.0 + config.timeout_jitter * chance))
