"""One provider of one router: its settings, its connection, and what its calls have taught."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import Any

import msgspec

from failsafe import forking
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
from failsafe.models import Answer, Attempt, Failure
from failsafe.provider_rules import preset_of
from failsafe.providers.base import BuiltRequest, Target
from failsafe.providers.registry import dialect_named
from failsafe.providers.request_ids import request_id
from failsafe.secret import Secret
from failsafe.transport.base import Limits, RawAnswer, Transport

_REMEMBERED = 256  # models of one provider: a bound, not a limit anyone meets


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
        self._turn = itertools.count()  # next() is atomic
        self._keys: tuple[Secret | None, ...] = config.keys or (None,)
        self._targets: dict[str, Target] = {}
        self._substitutes: set[tuple[str, str]] = set()
        self._start_afresh()
        self.requests = 0  # guarded by _lock, as are the three below
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
        if target is None:
            target = Target(
                provider=self.name,
                vendor=self.config.vendor,
                model=model,
                info=self.config.model_info(model),
                quirks=self.config.quirks,
                extra=self.config.extra,
            )
            with self._lock:
                if len(self._targets) < _REMEMBERED:
                    self._targets[model] = target
        return target

    def learn_refusal(self, model: str, parameter: str) -> None:
        """Leave *parameter* out of later requests for *model*, since the target was seen to refuse it."""
        target = self.target(model)
        learned = msgspec.structs.replace(target, refused=target.refused | {parameter})
        with self._lock:
            if len(self._targets) < _REMEMBERED or model in self._targets:
                self._targets[model] = learned

    def key_for(self, model: str) -> Secret | Blocked | None:
        """
        The key whose turn it is, or why none may be used now.

        Keys take turns; one that is put off is passed over. None for a provider without a key.
        """
        keys = self._keys
        if len(keys) == 1:
            return self.cooldowns.admit(_fingerprint(keys[0]), model) or keys[0]
        first = next(self._turn)
        soonest: Blocked | None = None
        for offset in range(len(keys)):
            key = keys[(first + offset) % len(keys)]
            blocked = self.cooldowns.admit(_fingerprint(key), model)
            if blocked is None:
                return key
            if soonest is None or blocked.retry_after < soonest.retry_after:
                soonest = blocked
        return soonest

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
        answer = self.dialect.read(body, target)
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
        """Leave alone what *failure* put out of use; None when it put nothing out of use."""
        reaction = REACTIONS[failure.fault]
        of_key = reaction.scope in (Scope.KEY, Scope.KEY_AND_MODEL)
        of_model = reaction.scope is Scope.MODEL or (reaction.scope is Scope.KEY_AND_MODEL and not failure.whole_key)
        scope_key = _fingerprint(key) if of_key else None
        scope_model = model if of_model else None
        seconds = self.cooldowns.strike(scope_key, scope_model, failure) if reaction.scope is not Scope.NONE else 0.0
        if failure.fault is not Fault.AUTH:
            self.give_back(key, model)
        if not seconds:
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
            advice=failure.diagnosis or reaction.advice,
        )

    def notice_substitute(self, asked: str, answered: str) -> bool:
        """Whether it is news that *answered* answers in place of *asked*; local servers name models as they like."""
        if preset_of(self.config).local or (asked, answered) in self._substitutes:
            return False
        with self._lock:
            if len(self._substitutes) < _REMEMBERED:
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
            all_keys=len(self._keys),
            observed=self.requests > 0,
        )

    def stats(self) -> dict[str, Any]:
        """Counts and states as plain values, for ``Router.stats``."""
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
        }

    def reset(self) -> None:
        """Forget every cooldown and rejected key, and close the breaker."""
        self.cooldowns.clear()
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
