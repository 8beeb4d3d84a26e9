"""How one provider fares in one call: what of it may still be asked, and when."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

from failsafe.admission import Refused
from failsafe.cooldown import Blocked
from failsafe.durations import in_words
from failsafe.endpoint import Endpoint
from failsafe.events import CircuitState
from failsafe.faults import REACTIONS, Fault
from failsafe.models import Skip, SkipReason

_REASONS = {
    Fault.AUTH: SkipReason.KEY_OFF,
    Fault.QUOTA: SkipReason.KEY_OFF,
    Fault.PERMISSION: SkipReason.MODEL_OFF,
    Fault.MODEL: SkipReason.MODEL_OFF,
    Fault.MISCONFIGURED: SkipReason.PROVIDER_OFF,
}


class Candidate(NamedTuple):
    """One provider and the model ids it may be asked for, the preferred one first."""

    endpoint: Endpoint
    models: tuple[str, ...]

    @property
    def priority(self) -> int:
        """The provider's priority."""
        return self.endpoint.priority

    @property
    def weight(self) -> float:
        """The provider's weight."""
        return self.endpoint.weight


class Course:
    """
    How one provider fares in one call. Lives in the thread of the call.

    Attributes:
        endpoint: The provider.
        models: The model ids it may still be asked for, best first.
        model: The one it is asked for now.
        tries: How often it was tried, corrected requests and further keys apart.
        keys_left: How many other keys may still be tried in place of a refused one.
        quick_retries: Tries that followed at once upon another one.
        struck: Whether this call has counted against its breaker already.
        dropped: By model, the parameters left out because the target refused them in this call.
        over: Whether it is not to be asked again.
        rests_until: The end of its backoff, on the clock's monotonic scale.
        tokens: What a request of this call counts for, as far as limits on tokens need to know.
        wait_left: Seconds that this call may still wait for a place among the calls under way to it.
        crowded: Whether it had no such place when it was last asked for one.
    """

    __slots__ = (
        "crowded", "dropped", "endpoint", "keys_left", "model", "models", "over", "quick_retries", "rests_until",
        "struck", "tokens", "tries", "wait_left",
    )  # fmt: skip

    def __init__(self, candidate: Candidate, tokens: float = 0.0) -> None:
        self.endpoint, self.models = candidate
        self.tokens = tokens
        self.wait_left = self.endpoint.admission.max_wait
        self.crowded = False
        self.model = self.models[0]
        self.tries = 0
        self.keys_left = len(self.endpoint.config.keys) - 1
        self.quick_retries = 0
        self.struck = False
        self.dropped: dict[str, frozenset[str]] = {}
        self.over = False
        self.rests_until = 0.0

    def forgive(self) -> None:
        """Let the next try not count as a repetition: it is another request, or goes out with another key."""
        self.tries -= 1

    def rule_out(self, model: str) -> None:
        """Ask for *model* no more in this call; without another one the provider is done with."""
        self.models = tuple(other for other in self.models if other != model)
        self.over = self.over or not self.models

    def is_apart_from(self, domains: Collection[str]) -> bool:
        """Whether it shares none of these failure domains."""
        return not any(domain in domains for domain in self.endpoint.config.failure_domains)

    def plainly_open(self, model: str) -> bool:
        """Whether the breaker is sure to refuse *model*; a look that saves work, never a permission."""
        breaker = self.endpoint.admission.breaker(model)
        state = breaker.state
        if state is CircuitState.OPEN:
            return (breaker.retry_after or 0.0) > 0.0
        return state is CircuitState.FORCED_OPEN

    def may_be_asked(self) -> bool:
        """Whether time must be kept for this provider."""
        blocked = self.endpoint.blocked(self.model, self.tokens)
        return not (self.over or self.crowded or self.plainly_open(self.model) or blocked)

    def free_in(self, *, by_itself: bool = False) -> float:
        """
        Seconds until it may be asked, infinite when nobody knows or only a person can change that.

        Args:
            by_itself: Leave out what is off until a person acts (a rejected key, an empty account):
                asking again when its time off ends is a trial, not something a call should wait for.
        """
        if self.crowded and self.wait_left <= 0.0:
            return math.inf
        return min((self._free_in(model, by_itself) for model in self.models), default=math.inf)

    def _free_in(self, model: str, by_itself: bool) -> float:
        breaker = self.endpoint.admission.breaker(model)
        if breaker.state is CircuitState.FORCED_OPEN:
            return math.inf
        block = self.endpoint.blocked(model, self.tokens)
        if block is None:
            return breaker.retry_after or 0.0
        if by_itself and REACTIONS[block.fault].alert:
            return math.inf
        return max(block.retry_after, breaker.retry_after or 0.0)

    def skip(
        self, reason: SkipReason, detail: str, retry_after: float | None = None, fault: Fault | None = None
    ) -> Skip:
        """The line of the receipt that says why it is left alone."""
        return Skip(
            provider=self.endpoint.name,
            model=self.model,
            reason=reason,
            detail=detail,
            retry_after=retry_after,
            fault=fault,
        )

    def skip_refused(self, refused: Refused) -> Skip:
        """As :meth:`skip`, for what refused the request before it was sent."""
        return self.skip(refused.reason, refused.detail, refused.retry_after)

    def skip_open(self) -> Skip:
        """As :meth:`skip`, for a breaker that refuses."""
        return self.skip_refused(self.endpoint.admission.refused_by_breaker(self.model))

    def skip_blocked(self, blocked: Blocked) -> Skip:
        """As :meth:`skip`, for a key or model that is put off."""
        # Of a provider that was tried in this call the receipt has the message already.
        why = str(blocked.fault) if self.tries else f"{blocked.fault}: {blocked.message}"
        detail = f"left alone for another {in_words(blocked.retry_after)} ({why})"
        return self.skip(_REASONS.get(blocked.fault, SkipReason.COOLING), detail, blocked.retry_after, blocked.fault)
