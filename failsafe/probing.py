"""
Finding out whether a provider works, without a caller's request.

There are three ways. ``models`` asks for the list of models, which is free and tries the key, too. ``completion``
asks for one token of an answer, which costs a little, tries everything that a call needs, and is the only one that
tells a breaker, as one probe of its half-open state. ``connect`` makes a connection, TLS included, and asks nothing.
None of them puts a key, a model or a provider off: calls alone do that. The guide is ``docs/health.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from failsafe import checks
from failsafe.admission import Entry, Refused
from failsafe.clock import Clock
from failsafe.config import RouterConfig
from failsafe.cooldown import Blocked
from failsafe.deadline import CancelToken, Deadline
from failsafe.durations import in_words
from failsafe.endpoint import Endpoint
from failsafe.errors import BulkheadFull, ConfigError, RateLimitReached
from failsafe.events import CircuitState, ProbeFinished
from failsafe.faults import AGAINST_PROVIDER, REACTIONS, BreakerEffect, Fault
from failsafe.masking import mask
from failsafe.models import ChatRequest, Failure, SkipReason
from failsafe.monitoring_config import ProbeConfig
from failsafe.patience import to_blame
from failsafe.provider_rules import preset_of
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.reading import Answered, read_answer
from failsafe.request import build_request
from failsafe.request_size import RequestSize
from failsafe.secret import Secret
from failsafe.transport.base import Limits

MODELS, COMPLETION, CONNECT = "models", "completion", "connect"

KINDS = (MODELS, COMPLETION, CONNECT)
"""How a provider can be probed."""

_PROMPT = "Hi"
_NO_LIST_FOR = 3600.0
"""Seconds for which it is remembered that a server has no list of models."""
_NO_SUCH_PAGE = frozenset({404, 405})
_LARGEST_LIST = 8 * 1024 * 1024
_WAITS_OUT = frozenset({Fault.RATE_LIMIT, Fault.OVERLOADED})
"""Times off that even a probe respects: the provider has said that it is asked too much."""


class Outcome(NamedTuple):
    """
    How a probe went.

    Attributes:
        result: What it was answered, or why it was not.
        blamed: Whether a failure speaks against the provider.
        permit: Whether the breaker has counted it.
        status: The HTTP status, where there was an answer.
    """

    result: Any
    blamed: bool = False
    permit: bool = False
    status: int | None = None


class Prober:
    """
    Probes one provider of one router, with the provider's own settings. Thread-safe.

    Args:
        endpoint: The provider.
        config: The router's settings, where the provider has none of its own.
        clock: The source of time.
    """

    def __init__(self, endpoint: Endpoint, config: RouterConfig, clock: Clock) -> None:
        self.endpoint = endpoint
        settings = endpoint.config.probe or config.probe
        self.settings: ProbeConfig = settings
        """What holds for this provider."""
        self.timeout = settings.timeout or config.monitor.timeout
        """Seconds for one probe, where nobody says otherwise."""
        self.interval = settings.interval or config.monitor.interval
        """Seconds between two probes of a monitor."""
        self._clock = clock
        self._no_list_until = -math.inf

    @property
    def kind(self) -> str:
        """How it is probed: ``models``, ``completion``, ``connect`` or ``off``."""
        if self.settings.kind is not None:
            return self.settings.kind
        return MODELS if self.endpoint.config.models_path else CONNECT

    @property
    def model(self) -> str | None:
        """The model that a completion is asked of; None if nothing says which there is."""
        config = self.endpoint.config
        if self.settings.model is not None:
            return config.serves(self.settings.model) or self.settings.model
        usual = preset_of(config).default_model
        served = None if usual is None else config.serves(usual)
        return served or self._cheapest_listed()

    def _cheapest_listed(self) -> str | None:
        config = self.endpoint.config
        listed = [sent for sent in map(config.serves, config.known_models) if sent is not None]
        return min(listed, key=self._price, default=None)

    def _price(self, model: str) -> float:
        rates = self.endpoint.rates(model, self._clock.time(), 1)
        return math.inf if rates is None else float(rates.input + rates.output)

    def check(self, kind: str | None = None) -> str:
        """
        How a probe of this *kind* (None: as configured) is made.

        Raises:
            ConfigError: It cannot be: the kind is unknown, probing is off, or no model is known to ask.
        """
        name = self.endpoint.name
        kind = self.kind if kind is None else checks.one_of("kind", kind, KINDS)
        if kind == "off":
            raise ConfigError(
                f"providers.{name}.probe.kind = 'off': it is not probed; name a kind ({', '.join(KINDS)})"
            )
        if kind == COMPLETION and self.model is None:
            raise ConfigError(f"providers.{name}.probe.model is missing: nothing says which model to ask; name one")
        return kind

    def probe(
        self, kind: str | None = None, timeout: float | None = None, cancel: CancelToken | None = None
    ) -> ProbeFinished:
        """
        Probe now, and say what came of it; nothing is reported to anybody else.

        Args:
            kind: ``models``, ``completion`` or ``connect``; None: as configured.
            timeout: Seconds, whatever the network does; None: as configured.
            cancel: Ends it from another thread.

        Raises:
            ConfigError: It cannot be probed like this; see :meth:`check`.
            BulkheadFull: As many calls are under way to it as it may have, so that no completion was asked.
            RateLimitReached: A rate limit, or the provider itself, allows no completion now.
        """
        kind = self.check(kind)
        deadline = Deadline.after(self.timeout if timeout is None else timeout, self._clock)
        began = self._clock.monotonic()
        if kind == MODELS and not self._has_list(began):
            kind = CONNECT
        if kind == COMPLETION:
            outcome = self._ask_completion(self._limits(deadline, cancel))
        elif kind == MODELS:
            outcome = self._ask_models(self._limits(deadline, cancel))
            if self._says_there_is_no_list(outcome):
                self._no_list_until = self._clock.monotonic() + _NO_LIST_FOR
                kind = CONNECT
        if kind == CONNECT:
            outcome = self.connect(self._limits(deadline, cancel))
        return self._finished(kind, outcome, began)

    def connect(self, limits: Limits) -> Outcome:
        """Make a connection, as a request would, and ask nothing on it."""
        failure = self.endpoint.transport.connect(limits)
        return Outcome(None) if failure is None else self._failed(failure, limits.deadline.timeout, None)

    def _limits(self, deadline: Deadline, cancel: CancelToken | None) -> Limits:
        config = self.endpoint.config
        return Limits(
            deadline=deadline,
            connect_timeout=min(config.connect_timeout, deadline.timeout),
            max_bytes=min(config.max_answer_bytes, _LARGEST_LIST),
            cancel=cancel,
        )

    def _has_list(self, now: float) -> bool:
        return bool(self.endpoint.config.models_path) and now >= self._no_list_until

    def _says_there_is_no_list(self, outcome: Outcome) -> bool:
        """Whether a server that nobody knows has no such page; of the others it is known that they have one."""
        return self.endpoint.config.preset is None and outcome.status in _NO_SUCH_PAGE

    def _ask_models(self, limits: Limits) -> Outcome:
        endpoint = self.endpoint
        key = self._usable_key("")
        raw = endpoint.transport.send("GET", endpoint.config.models_path, None, key, limits)
        if isinstance(raw, Failure):
            return self._failed(raw, limits.deadline.timeout, None)
        target = Target(provider=endpoint.name, vendor=endpoint.config.vendor, model="")
        reader = _ListReader(endpoint.dialect.name)
        result = read_answer(raw, target, key, config=endpoint.config, dialect=reader, now=self._clock.time())
        if isinstance(result, Failure):
            return self._failed(result, limits.deadline.timeout, None)
        return Outcome(result, status=result.status)

    def _ask_completion(self, limits: Limits) -> Outcome:
        endpoint, model = self.endpoint, self.model or ""
        key = self._usable_key(model)
        request = build_request(_PROMPT, model, {"max_tokens": 1})
        built = self._built(request, endpoint.target(model))
        tokens = float(RequestSize(request, self._clock).tokens)
        counted_at = endpoint.count(key, model, tokens)
        if counted_at is None:
            self._turn_away(endpoint.admission.short_of(_fingerprint(key), model, tokens))
        entered = endpoint.admission.enter(model, tokens, repeated=False, despite_breaker=True)
        if isinstance(entered, Refused):
            self._refuse(entered)
        try:
            result = endpoint.ask(built, endpoint.target(model), key, limits, counted_at)
            return self._settle(entered, result, limits.deadline.timeout)
        except BaseException:
            entered.abandon()
            raise

    def _built(self, request: ChatRequest, target: Target) -> BuiltRequest:
        problem = ""
        try:
            return self.endpoint.dialect.build(request, target)
        except CannotExpress as error:
            problem = str(error)
        raise ConfigError(f"providers.{self.endpoint.name}: {target.model} cannot be asked for a completion: {problem}")

    def _settle(self, entry: Entry, result: Answered | Failure, limit: float) -> Outcome:
        """Tell the breaker, if it has lent the probe one of its places; nobody else learns anything."""
        permit = entry.permit
        counts = not (permit.settled or permit.phase.admits_all)
        if isinstance(result, Answered):
            if counts:
                permit.success()
            outcome = Outcome(result, permit=counts, status=result.status)
            tokens: float | None = result.answer.usage.total_tokens
        else:
            outcome = self._failed(result, limit, self.endpoint.latency.p95)
            effect = REACTIONS[result.fault].breaker
            if counts and (outcome.blamed or effect is BreakerEffect.SOFT):
                permit.failure(result.message, soft=effect is BreakerEffect.SOFT, retry_after=result.retry_after)
                outcome = outcome._replace(permit=True)
            tokens = None
        permit.release()  # does nothing if it is settled
        entry.leave(tokens=tokens)
        return outcome

    def _failed(self, failure: Failure, limit: float, usual: float | None) -> Outcome:
        """Judge as for a call: by the fault table, and leniently where it was only given too little time."""
        config, fault = self.endpoint.config, failure.fault
        blamed = fault in AGAINST_PROVIDER
        if fault is Fault.CONNECT_TIMEOUT:
            blamed = to_blame(limit=limit, own_limit=config.connect_timeout, usual=usual)
        elif fault is Fault.TIMEOUT:
            blamed = to_blame(limit=limit, own_limit=config.timeout, usual=usual)
        return Outcome(failure, blamed=blamed, status=failure.status)

    def _usable_key(self, model: str) -> Secret | None:
        """
        The first key that is not put off, or the first of all: a probe begins no trial and ends none.

        Raises:
            RateLimitReached: The provider has said when to come back, and a completion is to be asked of it.
        """
        endpoint = self.endpoint
        keys: tuple[Secret | None, ...] = endpoint.config.keys or (None,)
        blocks: list[Blocked] = []
        for key in keys:
            block = endpoint.cooldowns.blocked(_fingerprint(key), model or None)
            if block is None:
                return key
            blocks.append(block)
        soonest = min(blocks, key=lambda block: block.retry_after)
        if model and soonest.fault in _WAITS_OUT:
            self._turn_away(soonest)
        return keys[blocks.index(soonest)]

    def _turn_away(self, blocked: Blocked | None) -> NoReturn:
        wait, why = (0.0, "its answers say so") if blocked is None else (blocked.retry_after, blocked.message)
        raise RateLimitReached(self.endpoint.name, why, wait)

    def _refuse(self, refused: Refused) -> NoReturn:
        limit = self.endpoint.admission.limit
        if refused.reason is SkipReason.BULKHEAD and limit is not None:
            raise BulkheadFull(self.endpoint.name, limit.limit)
        raise RateLimitReached(self.endpoint.name, refused.detail, refused.retry_after or 0.0)

    def _finished(self, kind: str, outcome: Outcome, began: float) -> ProbeFinished:
        failure = outcome.result if isinstance(outcome.result, Failure) else None
        return ProbeFinished(
            at=self._clock.time(),
            provider=self.endpoint.name,
            kind=kind,
            fault=None if failure is None else failure.fault,
            message="" if failure is None else mask(failure.message, self.endpoint.config.keys),
            status=outcome.status,
            latency_ms=max(0.0, self._clock.monotonic() - began) * 1000,
            blamed=outcome.blamed,
            permit=outcome.permit,
        )

    @property
    def breaker_state(self) -> CircuitState:
        """The state of the breaker before the model that a completion is asked of."""
        return self.endpoint.admission.breaker(self.model or "").state

    def breaker_waits(self) -> float | None:
        """Seconds until a completion could move the breaker before it; 0: now; None: never, as it is."""
        breaker = self.endpoint.admission.breaker(self.model or "")
        state = breaker.state
        if state is CircuitState.OPEN or state is CircuitState.HALF_OPEN:
            return breaker.retry_after
        return None

    def __repr__(self) -> str:
        return f"<Prober {self.endpoint.name} {self.kind} every {in_words(self.interval)}>"


class _ListReader:
    """Reads a list of models, or whatever other JSON a provider has at that place; an error in it is one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, body: Any, target: Target) -> Any:  # noqa: ARG002 -- as every reader is asked
        """The body, unless it holds an error."""
        if isinstance(body, Mapping) and body.get("error"):
            return Failure(fault=Fault.SERVER, message="an error inside a success")
        return body


def _fingerprint(key: Secret | None) -> str | None:
    return None if key is None else key.fingerprint
