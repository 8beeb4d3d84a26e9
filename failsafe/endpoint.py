"""One provider of one router: its settings, its connection, and what its calls have taught."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from failsafe import forking
from failsafe.backoff import a_little_later
from failsafe.breaker import CircuitBreaker
from failsafe.budget import RetryBudget
from failsafe.clock import Clock, Random
from failsafe.config import ProviderConfig
from failsafe.cooldown import Blocked, Cooldowns
from failsafe.events import PutOff
from failsafe.faults import REACTIONS, Fault, Scope
from failsafe.health import ProviderStatus, judge
from failsafe.latency import LatencyWindow
from failsafe.masking import mask
from failsafe.models import Adjustment, Answer, Attempt, Failure
from failsafe.providers.base import BuiltRequest, Target
from failsafe.providers.registry import dialect_named
from failsafe.providers.request_ids import request_id
from failsafe.secret import Secret
from failsafe.transport.base import Limits, RawAnswer, Transport

_REMEMBERED = 256  # models of one provider: a bound, not a limit anyone meets
_REFUSED_FOR = 3600.0
"""Seconds for which a parameter is left out that a target was seen to refuse; then it is tried again."""
_LENGTH = frozenset({"max_tokens", "max_completion_tokens"})


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer with what only the HTTP answer around it tells."""

    answer: Answer
    status: int
    request_id: str | None
    bytes_received: int


class Endpoint:
    """
    What a router knows and keeps of one provider. Thread-safe.

    Args:
        config: The provider's settings.
        rank: Its place in the list, the priority where none is set.
        breaker: Its circuit breaker.
        transport: Its connection to the network.
        clock: The source of time.
        random: The source of chance.
    """

    def __init__(
        self,
        config: ProviderConfig,
        *,
        rank: int,
        breaker: CircuitBreaker,
        transport: Transport,
        clock: Clock,
        random: Random,
    ) -> None:
        self.config = config
        self.name = config.name
        self.priority = rank if config.priority is None else config.priority
        self.weight = config.weight
        self.dialect = dialect_named(config.dialect)
        self.breaker = breaker
        self.transport = transport
        self.budget = RetryBudget()
        self.cooldowns = Cooldowns(clock, random)
        self.latency = LatencyWindow()
        self._clock = clock
        self._random = random
        self._keys: tuple[Secret | None, ...] = config.keys or (None,)
        self._start_afresh()
        # Written under _lock, read without; the values are replaced, never changed.
        self._targets: dict[str, Target] = {}
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

    def key_for(self, model: str) -> Secret | Blocked | None:
        """
        The key whose turn it is, or why none may be used now.

        Keys take turns for each model; one that is put off is passed over. None for a provider
        without a key.
        """
        keys = self._keys
        if len(keys) == 1:
            return self.cooldowns.admit(_fingerprint(keys[0]), model) or keys[0]
        first = next(self._turns.get(model) or self._begin_turns(model))
        soonest: Blocked | None = None
        for offset in range(len(keys)):
            key = keys[(first + offset) % len(keys)]
            blocked = self.cooldowns.admit(_fingerprint(key), model)
            if blocked is None:
                return key
            if soonest is None or blocked.retry_after < soonest.retry_after:
                soonest = blocked
        return soonest

    def _begin_turns(self, model: str) -> Iterator[int]:
        # By model, or two models that are asked for in turn would each have a key to themselves.
        with self._lock:
            shared = model if len(self._turns) < _REMEMBERED else next(iter(self._turns))
            return self._turns.setdefault(shared, itertools.count())

    def blocked(self, model: str) -> Blocked | None:
        """Why no key may be used for *model* now, the one that comes free first; None if one may. Changes nothing."""
        if not self.cooldowns.any:
            return None
        blocks = [self.cooldowns.blocked(_fingerprint(key), model) for key in self._keys]
        waiting = [block for block in blocks if block is not None]
        return min(waiting, key=lambda block: block.retry_after) if len(waiting) == len(blocks) else None

    def ask(self, built: BuiltRequest, target: Target, key: Secret | None, limits: Limits) -> Answered | Failure:
        """Send one request and make an answer or a failure of whatever comes back."""
        raw = self.transport.send("POST", built.path, built.body, key, limits)
        if isinstance(raw, Failure):
            return raw
        if not 200 <= raw.status < 300:
            return self._classify(raw, target.model, key)
        answer = self._read(raw, target)
        identity = request_id(raw.headers, self.config.keys)
        if isinstance(answer, Failure):
            return msgspec.structs.replace(
                answer,
                message=mask(answer.message, self.config.keys),
                status=raw.status,
                request_id=identity,
                bytes_received=len(raw.body),
            )
        return Answered(answer=answer, status=raw.status, request_id=identity, bytes_received=len(raw.body))

    def _classify(self, raw: RawAnswer, model: str, key: Secret | None) -> Failure:
        from failsafe.providers.classify import classify  # a program whose calls succeed never needs it

        return classify(
            raw.status,
            raw.headers,
            raw.body,
            vendor=self.config.vendor,
            dialect=self.dialect.name,
            model=model,
            clock_time=self._clock.time(),
            secrets=self.config.keys,
            key=key,
            provider=self.name,
        )

    def _read(self, raw: RawAnswer, target: Target) -> Answer | Failure:
        body = _decode(raw)
        if isinstance(body, Failure):
            return body
        try:
            answer = self.dialect.read(body, target)
        except Exception as error:  # noqa: BLE001 -- an answer that nobody foresaw costs an attempt, not the call
            what = f"an answer that could not be read ({type(error).__name__})"
            return Failure(fault=Fault.MALFORMED, message=f"HTTP {raw.status} with {what}", maybe_billed=True)
        if isinstance(answer, Failure) and answer.fault is Fault.SERVER:
            from failsafe.providers.classify import classify_error_in_success

            return classify_error_in_success(
                body,
                answer,
                vendor=self.config.vendor,
                dialect=self.dialect.name,
                model=target.model,
                secrets=self.config.keys,
            )
        return answer

    def succeeded(self, key: Secret | None, model: str, took: float) -> None:
        """Note an answer that took *took* seconds."""
        self.latency.add(took)
        self.budget.credit()
        self.cooldowns.succeeded(_fingerprint(key), model)

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
                self.last_fault = attempt.message

    def status(self) -> ProviderStatus:
        """How this provider is doing."""
        usable = sum(self.cooldowns.blocked(_fingerprint(key), None) is None for key in self._keys)
        return judge(
            breaker=self.breaker.state,
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
            "breaker": self.breaker.stats(),
            "put_off": self.cooldowns.listing(),
            "retry_budget": self.budget.available,
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
        self.budget = RetryBudget()
        self.breaker.reset()

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.status()} {self.successes}/{self.requests} answered, {self.breaker!r}>"


def _fingerprint(key: Secret | None) -> str | None:
    return None if key is None else key.fingerprint


def _decode(raw: RawAnswer) -> Any:
    """The decoded JSON, or a Failure that says what came instead."""
    try:
        return msgspec.json.decode(raw.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # judged below, outside of the handler: the exception holds the body
    start = raw.body[:256].lstrip().lower()
    if not start:
        what = "an empty body"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        what = "HTML instead of JSON"
    else:
        what = f"{len(raw.body)} bytes that are not JSON"
    return Failure(fault=Fault.MALFORMED, message=f"HTTP {raw.status} with {what}", maybe_billed=True)
