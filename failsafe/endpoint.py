"""One provider of one router: its settings, its connection, and what its calls have taught."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from failsafe import forking
from failsafe.admission import Admission
from failsafe.availability import Availability
from failsafe.backoff import a_little_later
from failsafe.clock import Clock, Random
from failsafe.config import ProviderConfig
from failsafe.cooldown import Blocked, Cooldowns
from failsafe.events import PutOff
from failsafe.faults import AGAINST_PROVIDER, REACTIONS, Fault, Scope
from failsafe.first_content import FirstContent
from failsafe.flow import Flow, Silence
from failsafe.health import ProviderStatus, judge
from failsafe.hedge_delay import HedgeDelay
from failsafe.latency import LatencyWindow
from failsafe.models import Adjustment, Attempt, Failure
from failsafe.peak_ewma import PeakEwma
from failsafe.policy_config import AttemptLimitConfig, HedgeConfig, StreamConfig
from failsafe.price_lookup import LookUp
from failsafe.pricing import Prices, Rates, rates_at
from failsafe.providers.base import BuiltRequest, Target
from failsafe.providers.limit_headers import readings
from failsafe.providers.registry import dialect_named
from failsafe.reading import Answered, BodyReader, read_answer
from failsafe.secret import Secret
from failsafe.transport.base import Limits, RawAnswer, Transport
from failsafe.typical_latency import TypicalLatency

_REMEMBERED = 256  # models of one provider: a bound, not a limit anyone meets
_REFUSED_FOR = 3600.0
"""Seconds for which a parameter is left out that a target was seen to refuse; then it is tried again."""
_USUAL_STREAMS = StreamConfig()
_USUAL_LIMIT = AttemptLimitConfig()
_UNSTEADY: Any = object()
_LENGTH = frozenset({"max_tokens", "max_completion_tokens"})


class Endpoint:
    """
    What a router knows and keeps of one provider. Thread-safe.

    Args:
        config: The provider's settings.
        rank: Its place in the list, the priority where none is set.
        admission: What may refuse its next request.
        transport: Its connection to the network.
        clock: The source of time.
        random: The source of chance.
        hedge: When its attempts count as slow, if they are hedged.
        stream: How long a streamed answer may show nothing, where the provider has no such setting of its own.
        attempt_limit: When one that shows nothing is given up, likewise.
        look_up_price: Who is asked for the price of a model that neither the settings nor the catalogue know, or None.
    """

    def __init__(
        self,
        config: ProviderConfig,
        *,
        rank: int,
        admission: Admission,
        transport: Transport,
        clock: Clock,
        random: Random,
        hedge: HedgeConfig | None = None,
        stream: StreamConfig = _USUAL_STREAMS,
        attempt_limit: AttemptLimitConfig = _USUAL_LIMIT,
        look_up_price: LookUp | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self.priority = rank if config.priority is None else config.priority
        self.weight = config.weight
        self.dialect = dialect_named(config.dialect)
        self.admission = admission
        self.transport = transport
        self.cooldowns = Cooldowns(clock, random)
        self.latency = LatencyWindow()
        self.embedding_latency = LatencyWindow()
        self.peak = PeakEwma(clock=clock)
        self.typical = TypicalLatency(clock=clock)
        self.watched = False
        """Whether anybody has asked how fast it is; most routers never do, and their calls are spared the averages."""
        self.hedge = None if hedge is None else HedgeDelay(hedge)
        self.stream = config.stream or stream
        self._attempt_limit = config.attempt_limit or attempt_limit
        self.availability = Availability(clock)
        self._clock = clock
        self._random = random
        self._keys: tuple[Secret | None, ...] = config.keys or (None,)
        self._start_afresh()
        # Written under _lock, read without; the values are replaced, never changed.
        self._targets: dict[str, Target] = {}
        self._look_up_price = look_up_price
        self._prices: dict[str, Prices] = {}
        self._prices_of_answers: dict[tuple[str, str], Prices] = {}
        self._steady_rates: dict[tuple[str, str], Rates | None] = {}
        self._first_contents: dict[str, FirstContent] = {}
        self._refused_until: dict[str, float] = {}
        self._turns: dict[str, Iterator[int]] = {}  # next() of a count is atomic
        self._substitutes: set[tuple[str, str]] = set()  # guarded by _lock, as are the five below
        self._told_until: dict[tuple[str | None, str | None, Fault], float] = {}
        self.requests = 0
        self.successes = 0
        self.faults: Counter[Fault] = Counter()
        self.last_fault: str | None = None
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()

    _after_fork = _start_afresh

    def target(self, model: str) -> Target:
        """What the dialect needs to know to ask for *model*."""
        target = self._targets.get(model)
        if target is None or (target.refused and self._refused_until[model] <= self._clock.monotonic()):
            target = self._remember(
                Target(
                    provider=self.name,
                    vendor=self.config.vendor,
                    model=model,
                    info=self.config.model_info(model),
                    quirks=self.config.quirks,
                    extra=self.config.extra,
                )
            )
        return target

    def _remember(self, target: Target) -> Target:
        with self._lock:
            if len(self._targets) < _REMEMBERED or target.model in self._targets:
                self._refused_until[target.model] = self._clock.monotonic() + _REFUSED_FOR
                self._targets[target.model] = target
        return target

    def price(self, model: str) -> Prices:
        """What *model* costs here; remembered, since it is looked up for every call that asks for costs."""
        prices = self._prices.get(model)
        if prices is None:
            prices = self.config.price(model)
            if not prices and self._look_up_price is not None:
                prices = self._look_up_price(self.config.preset, model)
            if len(self._prices) < _REMEMBERED:
                self._prices[model] = prices
        return prices

    def rates(self, model: str, at: float, prompt_tokens: int, answered: str = "") -> Rates | None:
        """
        What tokens of *model* cost in a call that began *at* (seconds since 1970); None: not known.

        *answered*: The model that says it has answered.
        """
        steady: Rates | None = self._steady_rates.get((model, answered), _UNSTEADY)
        if steady is not _UNSTEADY:  # the usual case, on every call's way
            return steady
        prices = self._price_of_answer(model, answered) if answered and answered != model else self.price(model)
        if len(prices) <= 1 and all(price.always_holds for price in prices):
            rates = prices[0] if prices else None
            if len(self._steady_rates) < _REMEMBERED:
                self._steady_rates[model, answered] = rates
            return rates
        return rates_at(prices, datetime.fromtimestamp(at, UTC), prompt_tokens)

    def _price_of_answer(self, asked: str, answered: str) -> Prices:
        prices = self._prices_of_answers.get((asked, answered))
        if prices is None:
            prices = self.config.price_of_answer(asked, answered) or self.price(answered) or self.price(asked)
            if len(self._prices_of_answers) >= _REMEMBERED:
                self._prices_of_answers.clear()
                self._steady_rates.clear()
            self._prices_of_answers[asked, answered] = prices
        return prices

    def first_content(self, model: str) -> FirstContent:
        """How long answers of *model* take to show their first content."""
        return self._first_contents.get(model) or self._new_first_content(model)

    def _new_first_content(self, model: str) -> FirstContent:
        with self._lock:
            shared = model if len(self._first_contents) < _REMEMBERED else next(iter(self._first_contents))
            return self._first_contents.setdefault(shared, FirstContent(self._attempt_limit))

    def learn_refusals(self, model: str, parameters: Iterable[str], adjustments: Iterable[Adjustment]) -> None:
        """
        Leave *parameters* out of the requests for *model* for an hour: without them it has just answered.

        Not the limit on the length if that was left out altogether: it may have been refused for its
        value, and calls to come would run on without the limit their callers set.

        Args:
            model: The model that answered.
            parameters: What it had refused before.
            adjustments: What was changed about the request that it answered.
        """
        learned = frozenset(parameters)
        if any(change.parameter == "max_tokens" and change.action == "dropped" for change in adjustments):
            learned -= _LENGTH
        target = self.target(model)
        if not learned <= target.refused:
            self._remember(msgspec.structs.replace(target, refused=target.refused | learned))

    def key_for(self, model: str, tokens: float = 0.0) -> Secret | Blocked | None:
        """
        The key whose turn it is, or why none may be used now.

        Keys take turns for each model; one that is put off, or whose rate limit would refuse *tokens*
        more, is passed over. None for a provider without a key.
        """
        keys = self._keys
        if len(keys) == 1:
            return self._admit(keys[0], model, tokens) or keys[0]
        first = next(self._turns.get(model) or self._begin_turns(model))
        soonest: Blocked | None = None
        for offset in range(len(keys)):
            key = keys[(first + offset) % len(keys)]
            blocked = self._admit(key, model, tokens)
            if blocked is None:
                return key
            if soonest is None or blocked.retry_after < soonest.retry_after:
                soonest = blocked
        return soonest

    def _admit(self, key: Secret | None, model: str, tokens: float) -> Blocked | None:
        name = _fingerprint(key)
        # Asked last, because that may begin a trial.
        return self.admission.short_of(name, model, tokens) or self.cooldowns.admit(name, model)

    def _begin_turns(self, model: str) -> Iterator[int]:
        # By model, or two models that are asked for in turn would each have a key to themselves.
        with self._lock:
            shared = model if len(self._turns) < _REMEMBERED else next(iter(self._turns))
            return self._turns.setdefault(shared, itertools.count())

    def blocked(self, model: str, tokens: float = 0.0) -> Blocked | None:
        """Why no key may be used for *model* now, the one that comes free first; None if one may. Changes nothing."""
        if not (self.cooldowns.any or self.admission.counts_rates):
            return None
        blocks = [self._blocked(_fingerprint(key), model, tokens) for key in self._keys]
        waiting = [block for block in blocks if block is not None]
        return min(waiting, key=lambda block: block.retry_after) if len(waiting) == len(blocks) else None

    def _blocked(self, key: str | None, model: str, tokens: float) -> Blocked | None:
        blocks = (self.cooldowns.blocked(key, model), self.admission.short_of(key, model, tokens))
        return max(filter(None, blocks), key=lambda block: block.retry_after, default=None)

    def ask(
        self,
        built: BuiltRequest,
        target: Target,
        key: Secret | None,
        limits: Limits,
        counted_at: float,
        reader: BodyReader | None = None,
    ) -> Answered | Failure:
        """
        Send one request, as :meth:`count` counted it, and make an answer or a failure of whatever comes back.

        What is no chat has a *reader* of its own.
        """
        raw = self.transport.send("POST", built.path, built.body, key, limits)
        if isinstance(raw, Failure):
            return raw
        now = self._clock.time()
        self._learn_limits(raw.headers, target.model, key, counted_at, now)
        return read_answer(raw, target, key, config=self.config, dialect=reader or self.dialect, now=now)

    def open(
        self,
        built: BuiltRequest,
        target: Target,
        key: Secret | None,
        limits: Limits,
        counted_at: float,
        silence: Silence,
    ) -> Flow | Answered | Failure:
        """Send one request for a stream, as :meth:`count` counted it, and wait for its first content."""
        began, given = self._clock.monotonic(), limits.deadline.left
        first_content = self.first_content(target.model)
        taken = first_content.began(given)
        opened = self.transport.open("POST", built.path, built.body, key, limits)
        if isinstance(opened, Failure):
            return _without_content(opened, first_content, given)
        try:
            now = self._clock.time()
            self._learn_limits(opened.headers, target.model, key, counted_at, now)
            if isinstance(opened, RawAnswer):
                return read_answer(opened, target, key, config=self.config, dialect=self.dialect, now=now)
            flow = Flow(
                opened, target, key,
                config=self.config, dialect=self.dialect, first=limits.deadline, silence=silence, now=now,
            )  # fmt: skip
            failure = flow.begin()
            if failure is not None:
                return _without_content(failure, first_content, given)
            flow.first_content = self._clock.monotonic() - began
            first_content.observe(flow.first_content, taken)
        except BaseException:
            if not isinstance(opened, RawAnswer):
                opened.close()
            raise
        return flow

    def _learn_limits(
        self, headers: Mapping[str, str], model: str, key: Secret | None, counted_at: float, now: float
    ) -> None:
        learnt = self.admission.learnt
        if learnt is None:
            return
        said = readings(headers, vendor=self.config.vendor, dialect=self.dialect.name, now=now)
        if said:
            learnt.update(_fingerprint(key), model, said, counted_at)

    def succeeded(self, key: Secret | None, model: str, took: float) -> None:
        """Note an answer that took *took* seconds."""
        self.latency.add(took)
        if self.watched:
            self.peak.observe(took)
            self.typical.observe(took)
        if self.hedge is not None:
            self.hedge.observe(took, answered=True)
        self._answered(key, model)

    def succeeded_streaming(self, key: Secret | None, model: str, first_content: float) -> None:
        """
        Note a streamed answer that showed its first content after *first_content* seconds.

        How long it took as a whole says more about its reader than about the provider.
        """
        if self.watched:
            self.peak.observe(first_content)
            self.typical.observe(first_content)
        self._answered(key, model)

    def succeeded_embedding(self, key: Secret | None, model: str, took: float) -> None:
        """Note embeddings that took *took* seconds: no measure of how long a chat takes."""
        self.embedding_latency.add(took)
        self._answered(key, model)

    def _answered(self, key: Secret | None, model: str) -> None:
        self.admission.budget.credit()
        self.cooldowns.succeeded(_fingerprint(key), model)

    def failed(self, fault: Fault, took: float) -> None:
        """Note an attempt without an answer that lasted *took* seconds."""
        if self.hedge is not None:
            self.hedge.observe(took, answered=False)
        if self.watched and fault in AGAINST_PROVIDER:
            self.peak.failed(took)

    def count(self, key: Secret | None, model: str, tokens: float) -> float | None:
        """
        Count a request that is about to be sent against what the provider's answers said is left.

        Returns:
            When it was counted, for :meth:`ask`; None: it would be refused.
        """
        learnt = self.admission.learnt
        return 0.0 if learnt is None else learnt.try_send(_fingerprint(key), model, tokens)

    def give_back(self, key: Secret | None, model: str) -> None:
        """End the trial of a key that was admitted and not put to the test."""
        self.cooldowns.give_back(_fingerprint(key), model)

    def put_off(self, failure: Failure, key: Secret | None, model: str) -> PutOff | None:
        """
        Leave alone what *failure* put out of use.

        Returns:
            The news of it; None when nothing was put off, or when calls under way only find again
            what a person was told already.
        """
        reaction = REACTIONS[failure.fault]
        of_key = reaction.scope in (Scope.KEY, Scope.KEY_AND_MODEL)
        of_model = reaction.scope is Scope.MODEL or (reaction.scope is Scope.KEY_AND_MODEL and not failure.whole_key)
        scope_key = _fingerprint(key) if of_key else None
        scope_model = model if of_model else None
        seconds = self._strike(scope_key, scope_model, failure) if reaction.scope is not Scope.NONE else 0.0
        if failure.fault is not Fault.AUTH:
            self.give_back(key, model)
        if not seconds or (reaction.alert and not self._is_news((scope_key, scope_model, failure.fault), seconds)):
            return None
        return PutOff(
            at=self._clock.time(),
            provider=self.name,
            key=scope_key,
            model=scope_model,
            fault=failure.fault,
            seconds=seconds,
            message=failure.message,
            alert=reaction.alert,
            advice=reaction.advice,
        )

    def _strike(self, key: str | None, model: str | None, failure: Failure) -> float:
        """Put off, and say for how many seconds; how long an empty account is left alone is the user's choice."""
        if failure.fault is not Fault.QUOTA:
            return self.cooldowns.strike(key, model, failure)
        seconds = a_little_later(self.config.quota_off, self._random)
        self.cooldowns.put_off(key, model, seconds, failure.fault, failure.message)
        return seconds

    def _is_news(self, what: tuple[str | None, str | None, Fault], seconds: float) -> bool:
        """Whether *what* is off anew; calls that were under way when it was first put off find the same again."""
        now = self._clock.monotonic()
        with self._lock:
            if now < self._told_until.get(what, now):
                return False
            if len(self._told_until) >= _REMEMBERED:
                self._told_until.clear()
            self._told_until[what] = now + seconds
        return True

    def notice_substitute(self, asked: str, answered: str) -> bool:
        """Whether it is news that *answered* answers in place of *asked*; local servers name models as they like."""
        if self.config.local:
            return False
        with self._lock:
            if (asked, answered) in self._substitutes or len(self._substitutes) >= _REMEMBERED:
                return False
            self._substitutes.add((asked, answered))
        return True

    def record(self, attempt: Attempt) -> None:
        """Count one finished attempt."""
        with self._lock:
            self.requests += 1
            if attempt.fault is None:
                self.successes += 1
            else:
                self.faults[attempt.fault] += 1
                if attempt.fault is not Fault.CANCELLED:
                    self.last_fault = attempt.message

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self.admission.under_way)

    def status(self) -> ProviderStatus:
        """How this provider is doing."""
        usable = sum(self.cooldowns.blocked(_fingerprint(key), None) is None for key in self._keys)
        return judge(
            breakers=[breaker.state for breaker in self.admission.all_breakers],
            usable_keys=usable,
            some_off=self.cooldowns.any and bool(self.cooldowns.listing()),
            observed=self.requests > 0,
        )

    def stats(self) -> dict[str, Any]:
        """Counts and states, for ``Router.stats``; ``docs/router.md`` lists the keys."""
        with self._lock:
            requests, successes, last_fault = self.requests, self.successes, self.last_fault
            faults = {str(fault): count for fault, count in self.faults.items()}
        p95 = self.latency.p95
        return {
            "status": str(self.status()),
            "requests": requests,
            "successes": successes,
            "failures": requests - successes,
            "success_rate": successes / requests if requests else None,
            "faults": faults,
            "last_fault": last_fault,
            "p95_ms": None if p95 is None else p95 * 1000,
            "breaker": self.admission.breaker_stats(),
            "breakers": {model: breaker.stats() for model, breaker in self.admission.breakers.items()},
            "in_flight": self.in_flight,
            "limit": None if self.admission.limit is None else self.admission.limit.stats(),
            "draining": self.availability.draining,
            "put_off": self.cooldowns.listing(),
            "retry_budget": self.admission.budget.available,
            "refused_parameters": {
                target.model: sorted(target.refused) for target in list(self._targets.values()) if target.refused
            },
        }

    def reset(self) -> None:
        """Forget every cooldown, rejected key and refused parameter, fill the retry budget, and close the breaker."""
        with self._lock:
            self._targets.clear()
            self._told_until.clear()
        self.cooldowns.clear()
        self.admission.reset()

    def __repr__(self) -> str:
        breakers = ", ".join(repr(breaker) for breaker in self.admission.all_breakers[:3])
        return f"<Endpoint {self.name} {self.status()} {self.successes}/{self.requests} answered, {breakers}>"


def _fingerprint(key: Secret | None) -> str | None:
    return None if key is None else key.fingerprint


def _without_content(failure: Failure, first_content: FirstContent, given: float) -> Failure:
    """Note an attempt at a stream that failed before anything was shown."""
    if failure.fault is Fault.TIMEOUT:
        first_content.gave_up(given)
    return failure
