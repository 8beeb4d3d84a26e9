"""What may refuse a provider's next request: its limits, its breakers and its retry budget."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from failsafe import forking
from failsafe.adaptive import AdaptiveConcurrency
from failsafe.breaker import CircuitBreaker, CircuitBreakerRegistry
from failsafe.budget import RetryBudget
from failsafe.bulkhead import Bulkhead, Slot
from failsafe.circuit import BreakerStats, Permit
from failsafe.clock import Clock
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.cooldown import Blocked
from failsafe.deadline import CancelToken, Deadline
from failsafe.durations import in_words
from failsafe.errors import BulkheadFull
from failsafe.events import CircuitState
from failsafe.faults import Fault
from failsafe.learnt_limits import LearntLimits
from failsafe.limiter import RateLimiter
from failsafe.models import SkipReason
from failsafe.policy_config import AdaptiveConcurrencyConfig, BulkheadConfig

if TYPE_CHECKING:
    from failsafe.spending import Reservation

_REMEMBERED = 256  # models of one provider: a bound, not a limit anyone meets
_SEVERITY = {
    CircuitState.DISABLED: 0,
    CircuitState.CLOSED: 1,
    CircuitState.HALF_OPEN: 2,
    CircuitState.OPEN: 3,
    CircuitState.FORCED_OPEN: 4,
}
_USED_UP = "the limit of rate_limiter is used up"


class Refused(NamedTuple):
    """Why a provider is not sent a request now, for the receipt; ``retry_after`` in seconds, where known."""

    reason: SkipReason
    detail: str
    retry_after: float | None = None


SENT_ENOUGH = Refused(SkipReason.RATE_LIMIT, "its answers say that its rate limit is used up")
OUT_OF_BUDGET = Refused(SkipReason.RETRY_BUDGET, "its retry budget is used up; successes fill it again")


class Wait(NamedTuple):
    """How long an attempt may wait for a place: at most *seconds*, not past *deadline*, until *cancel* is cancelled."""

    seconds: float
    deadline: Deadline
    cancel: CancelToken | None


class Entry:
    """
    What one attempt holds while it is under way. Lives in the thread of the attempt.

    Attributes:
        permit: Of the breaker; the attempt settles it.
        set_aside: What the attempt may cost, where that is limited; settled with its line of the receipt.
    """

    __slots__ = ("_admission", "_limiter", "_slot", "_tokens", "permit", "set_aside")

    def __init__(
        self, admission: Admission, permit: Permit, slot: Slot | None, limiter: RateLimiter | None, tokens: float
    ) -> None:
        self._admission = admission
        self._slot = slot
        self._limiter = limiter
        self._tokens = tokens
        self.permit = permit
        self.set_aside: Reservation | None = None
        admission.under_way[self] = None

    def leave(self, *, pushback: bool | None = None, tokens: float | None = None, seconds: float | None = None) -> None:
        """
        The attempt has ended, and its permit is settled.

        Args:
            pushback: Whether the provider was too busy; None if that is not known.
            tokens: How many it was charged for, where that is known.
            seconds: How long the provider took, where that is not how long the attempt lasted.
        """
        self._admission.under_way.pop(self, None)
        if self._slot is not None:
            self._slot.release(pushback=pushback, seconds=seconds)
        if self._limiter is not None and tokens is not None:
            self._limiter.correct(self._tokens, tokens)

    def abandon(self) -> None:
        """The attempt was interrupted; nobody knows what became of it."""
        try:
            self.permit.release()
        finally:
            if self.set_aside is not None:
                self.set_aside.hold()
            self.leave()


class Admission:
    """
    Decides whether one provider may be sent another request. Thread-safe.

    The breaker comes last, right before the send, so that nothing else can refuse while a probe's place is held.

    Args:
        config: The provider's settings.
        router: The router's, where the provider has none of its own.
        breakers: Where the breakers live.
        clock: The source of time.

    Attributes:
        budget: Pays for extra tries.
        limit: The limit on calls under way, or None.
        max_wait: Seconds that a call may wait for a place among them.
        learnt: What the provider's answers said is left, or None if that is not to be heeded.
        under_way: The attempts under way; single operations, atomic under the GIL.
    """

    def __init__(
        self, config: ProviderConfig, router: RouterConfig, breakers: CircuitBreakerRegistry, clock: Clock
    ) -> None:
        self._name = config.name
        self._breakers = breakers
        self._breaker_config = config.breaker
        self._per_model = router.breaker_scope == "model"
        self._breaker = breakers.get(config.name, config.breaker)
        self._model_breakers: dict[str, CircuitBreaker] = {}  # written under _lock; values never change
        self._clock = clock
        self._budget_config = config.retry_budget or router.retry_budget
        self._rates = config.rate_limiter or router.rate_limiter
        self._limits_rates = bool(self._rates.requests_per_minute or self._rates.tokens_per_minute)
        self._limiters: dict[str, RateLimiter] = {}  # written under _lock; values never change
        self.learnt = LearntLimits(clock) if self._rates.learn else None
        concurrency = _concurrency(config, router)
        self.max_wait = 0.0 if concurrency is None else concurrency.max_wait
        self.limit = _limit(config.name, concurrency, clock)
        self.fill_budget()
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self.under_way: dict[object, None] = {}

    _after_fork = _start_afresh

    def fill_budget(self) -> None:
        """Begin with a full retry budget."""
        self.budget = RetryBudget(self._budget_config.capacity, self._budget_config.per_success)

    def breaker(self, model: str) -> CircuitBreaker:
        """The breaker before *model*: the provider's, or the model's own."""
        if not self._per_model:
            return self._breaker
        return self._model_breakers.get(model) or self._new_breaker(model)

    def _new_breaker(self, model: str) -> CircuitBreaker:
        with self._lock:
            if len(self._model_breakers) >= _REMEMBERED:
                return self._breaker
            breaker = self._breakers.get(f"{self._name}:{model}", self._breaker_config)
            return self._model_breakers.setdefault(model, breaker)

    @property
    def breakers(self) -> dict[str, CircuitBreaker]:
        """The breakers of single models, by model; empty where the provider has one for all."""
        return dict(self._model_breakers)

    @property
    def all_breakers(self) -> list[CircuitBreaker]:
        """Every breaker that calls go through."""
        return list(self.breakers.values()) or [self._breaker]

    def breaker_stats(self) -> BreakerStats:
        """Of the provider's breaker; where each model has its own, of the one that is worst off."""
        return max((breaker.stats() for breaker in self.all_breakers), key=lambda stats: _SEVERITY[stats.state])

    def reset(self) -> None:
        """Close every breaker, fill the retry budget, and forget what the answers said is left."""
        for breaker in self.all_breakers:
            breaker.reset()
        self.fill_budget()
        if self.learnt is not None:
            self.learnt.clear()

    @property
    def counts_rates(self) -> bool:
        """Whether any rate limit may be short now."""
        return self._limits_rates or (self.learnt is not None and self.learnt.any)

    def counts_tokens(self) -> bool:
        """Whether the next decision may depend on the number of tokens."""
        return self._rates.tokens_per_minute is not None or (self.learnt is not None and self.learnt.any)

    def short_of(self, key: str | None, model: str, tokens: float) -> Blocked | None:
        """Why a request of *tokens* for *model* would be refused if it were sent now; changes nothing."""
        wait, said = 0.0, ""
        if self.learnt is not None and self.learnt.any:
            wait, said = self.learnt.wait(key, model, tokens), SENT_ENOUGH.detail
        if self._limits_rates:
            own = self._limiter(model).wait(tokens)
            wait, said = (own, _USED_UP) if own > wait else (wait, said)
        if wait <= 0.0:
            return None
        return Blocked(fault=Fault.RATE_LIMIT, until=self._clock.monotonic() + wait, retry_after=wait, message=said)

    def _limiter(self, model: str) -> RateLimiter:
        return self._limiters.get(model) or self._new_limiter(model)

    def _new_limiter(self, model: str) -> RateLimiter:
        with self._lock:
            shared = model if len(self._limiters) < _REMEMBERED else next(iter(self._limiters))
            if shared not in self._limiters:
                self._limiters[shared] = RateLimiter(f"{self._name}:{shared}", self._rates, clock=self._clock)
            return self._limiters[shared]

    def enter(
        self, model: str, tokens: float, *, repeated: bool, wait: Wait | None = None, despite_breaker: bool = False
    ) -> Entry | Refused:
        """
        Let one attempt in, or say why not; what was taken by then is given back.

        Args:
            model: What is asked for.
            tokens: Of prompt and answer together, as estimated.
            repeated: Whether the call has tried this provider before, so that its retry budget pays.
            wait: How long to wait for a place among the calls under way; None: not at all.
            despite_breaker: Whether a breaker that refuses is to learn nothing of the attempt, and be passed by.

        Raises:
            Cancelled: The wait was cancelled.
        """
        if not self._limits_rates:
            return self._seated(model, tokens, repeated, wait, None, despite_breaker)
        limiter = self._limiter(model)
        short = limiter.try_acquire(tokens)
        if short > 0.0:
            return Refused(SkipReason.RATE_LIMIT, f"{_USED_UP} for another {in_words(short)}", short)
        outcome: Entry | Refused | None = None
        try:
            outcome = self._seated(model, tokens, repeated, wait, limiter, despite_breaker)
            return outcome
        finally:
            if not isinstance(outcome, Entry):
                limiter.give_back(tokens, requests=1)

    def _seated(
        self,
        model: str,
        tokens: float,
        repeated: bool,
        wait: Wait | None,
        limiter: RateLimiter | None,
        despite_breaker: bool,
    ) -> Entry | Refused:
        if self.limit is None:
            return self._permitted(model, tokens, repeated, None, limiter, despite_breaker)
        slot = _slot(self.limit, wait)
        if slot is None:
            return Refused(SkipReason.BULKHEAD, f"{self.limit.limit} calls to it are under way, as many as it may have")
        outcome: Entry | Refused | None = None
        try:
            outcome = self._permitted(model, tokens, repeated, slot, limiter, despite_breaker)
            return outcome
        finally:
            if not isinstance(outcome, Entry):
                slot.release()

    def _permitted(
        self,
        model: str,
        tokens: float,
        repeated: bool,
        slot: Slot | None,
        limiter: RateLimiter | None,
        despite_breaker: bool,
    ) -> Entry | Refused:
        permit = self.breaker(model).try_acquire()
        if permit is None:
            if not despite_breaker:
                return self.refused_by_breaker(model)
            permit = self.breaker(model).bystander()
        try:
            # After the permit, since whoever is refused there must not pay.
            if repeated and not self.budget.try_spend():
                permit.release()
                return OUT_OF_BUDGET
            return Entry(self, permit, slot, limiter, tokens)
        except BaseException:  # interrupted
            permit.release()
            raise

    def refused_by_breaker(self, model: str) -> Refused:
        """Why the breaker before *model* refuses."""
        stats = self.breaker(model).stats()
        when = "" if stats.retry_after is None else f", next probe in {in_words(stats.retry_after)}"
        why = f" ({stats.reason})" if stats.reason else ""
        return Refused(SkipReason.BREAKER_OPEN, f"its circuit breaker is {stats.state}{when}{why}", stats.retry_after)


def _concurrency(config: ProviderConfig, router: RouterConfig) -> BulkheadConfig | AdaptiveConcurrencyConfig | None:
    """What limits the calls under way; any setting of the provider's comes before the router's."""
    return config.bulkhead or config.adaptive_concurrency or router.bulkhead or router.adaptive_concurrency


def _limit(
    name: str, config: BulkheadConfig | AdaptiveConcurrencyConfig | None, clock: Clock
) -> Bulkhead | AdaptiveConcurrency | None:
    if isinstance(config, BulkheadConfig):
        return Bulkhead(name, config, clock=clock)
    return None if config is None else AdaptiveConcurrency(name, config, clock=clock)


def _slot(limit: Bulkhead | AdaptiveConcurrency, wait: Wait | None) -> Slot | None:
    if wait is None:
        return limit.try_acquire()
    try:
        return limit.acquire(max_wait=wait.seconds, deadline=wait.deadline, cancel=wait.cancel)
    except BulkheadFull:
        return None
