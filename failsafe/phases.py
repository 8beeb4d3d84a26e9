"""
The phases a circuit breaker goes through, each a small record that lives from one transition to the next.

A permit holds the phase it was granted in, so an outcome that arrives after a transition finds
another phase in place and is recognised as stale. Nothing here is thread-safe: the breaker's lock
is held around every method.
"""

from __future__ import annotations

from typing import ClassVar

from failsafe.backoff import ceiling
from failsafe.events import CircuitState
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.rules import ConsecutiveRule, Rule

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

    def __init__(self, generation: int, reason: str = "") -> None:
        self.generation = generation
        self.reason = reason

    def success(self, permit: object, /) -> Move | None:
        """Take note of a success; where it leads, or None."""

    def failure(self, permit: object, /, cause: str, *, soft: bool) -> Move | None:
        """Take note of a failure of the given *cause* (in words); where it leads, or None."""

    def release(self, permit: object, /) -> None:
        """Take back a permit that proved nothing."""

    def wait(self, now: float) -> float | None:
        """Seconds until a call may be admitted; None when there is nothing to wait for."""


class Closed(Phase):
    """Everything passes; a rule watches the outcomes."""

    __slots__ = ("rule",)

    state = CircuitState.CLOSED
    admits_all = True
    counts = True

    def __init__(self, generation: int, config: CircuitBreakerConfig) -> None:
        super().__init__(generation)
        self.rule: Rule = ConsecutiveRule(config.failure_threshold or 2**31)

    def success(self, _permit: object, /) -> Move | None:
        """Ask the rule."""
        reason = self.rule.success()
        return None if reason is None else (CircuitState.OPEN, reason)

    def failure(self, _permit: object, /, cause: str, *, soft: bool) -> Move | None:
        """Ask the rule."""
        reason = self.rule.failure(cause, soft=soft)
        return None if reason is None else (CircuitState.OPEN, reason)


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
    """A few probes pass: enough successes close the breaker, one failure opens it again."""

    __slots__ = ("_lease", "_places", "_wanted", "probes", "successes")

    state = CircuitState.HALF_OPEN
    counts = True

    def __init__(self, generation: int, reason: str, config: CircuitBreakerConfig) -> None:
        super().__init__(generation, reason)
        self._places = config.half_open_max_calls
        self._wanted = config.success_threshold
        self._lease = config.half_open_max_wait or max(config.timeout, _LONGEST_PROBE)
        self.probes: dict[object, float] = {}
        """The permits in flight, oldest first, and when each was granted."""
        self.successes = 0

    def is_full(self) -> bool:
        """Whether every place is taken."""
        return len(self.probes) >= self._places

    def stuck(self, now: float) -> str | None:
        """If every place is taken and the oldest probe's lease is over: the reason to open, in words."""
        if not self.is_full() or self._lease_left(now) > 0:
            return None
        return f"a probe has not answered for {self._lease:g} s"

    def success(self, permit: object, /) -> Move | None:
        """Count; enough of them close the breaker."""
        del self.probes[permit]
        self.successes += 1
        if self.successes < self._wanted:
            return None
        return CircuitState.CLOSED, f"{self.successes} probes succeeded" if self.successes > 1 else "a probe succeeded"

    def failure(self, _permit: object, /, cause: str, *, soft: bool) -> Move | None:
        """The first failed probe opens the breaker, a soft one too."""
        return CircuitState.OPEN, f"a probe {'was put off' if soft else 'failed'}: {cause}"

    def release(self, permit: object, /) -> None:
        """Free the place."""
        del self.probes[permit]

    def wait(self, now: float) -> float | None:
        """Nothing while a place is free, else a guess."""
        # When a probe will answer nobody knows; a second keeps callers from spinning and from giving up.
        return min(_PROBE_PATIENCE, self._lease_left(now)) if self.is_full() else 0.0

    def without_probes(self, config: CircuitBreakerConfig) -> HalfOpen:
        """The same period, a generation on, with every place free and every permit granted so far stale."""
        fresh = HalfOpen(self.generation + 1, self.reason, config)
        fresh.successes = self.successes
        return fresh

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
