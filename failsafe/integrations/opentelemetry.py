"""
A router's calls as spans and metrics of OpenTelemetry, by its semantic conventions for generative AI.

::

    from failsafe.integrations import opentelemetry

    uninstrument = opentelemetry.instrument(router)

See ``docs/opentelemetry.md``.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from failsafe import __version__, checks, forking
from failsafe.errors import ConfigError
from failsafe.events import AttemptFinished, CallFinished, CallStarted, CircuitState, Event, PutOff, StateChanged
from failsafe.integrations import genai
from failsafe.integrations.tally import Names, known_models
from failsafe.models import Attempt, Usage
from failsafe.router import Router

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, NoOpMeter, Observation
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
except ModuleNotFoundError as missing:
    needed = f"failsafe.integrations.opentelemetry needs {missing.name}; pip install 'failsafe-llm[otel]'"
    raise ModuleNotFoundError(needed, name=missing.name) from None

__all__ = ["instrument"]

_SCOPE = "failsafe"
_MOST_CALLS = 10_000
"""Calls under way that are remembered; of more, the oldest are given up, lest some that never end pile up."""
_MOST_LATE = 256
"""Ended calls of which an attempt that has lost a race is still to be told."""
_MOST_NEWS = 16
_MOST_SETS = 1000
_LONGEST_NAME = 100
_ABANDONED = "abandoned"

_instrumented: weakref.WeakKeyDictionary[Router, _Listener] = weakref.WeakKeyDictionary()
_lock = forking.RenewedLock()  # guards _instrumented


def instrument(
    router: Router,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    name: str = "",
) -> Callable[[], None]:
    """
    Make a span of every call of *router* with a child for each attempt, and record metrics.

    A span's parent is the context that is current where the call is made. A stream's span ends with the stream.

    Args:
        router: The router.
        tracer_provider: Where spans go; None: OpenTelemetry's global one, which may be set later.
        meter_provider: Where metrics go; likewise.
        name: The attribute ``failsafe.router`` of spans and metrics, to tell routers apart; "": none.

    Returns:
        A function that ends it; calling it twice does no harm.

    Raises:
        ConfigError: *router* is instrumented already; its calls would count twice.
    """
    name = checks.text("name", name, empty=True)
    with _lock:
        if router in _instrumented:
            raise ConfigError(f"{router!r} is instrumented already; call what instrument() returned first")
        listener = _instrumented[router] = _Listener(router, tracer_provider, meter_provider, name)
    end, known = router.on_event(listener, sync=True, starts=True), weakref.ref(router)
    return lambda: _uninstrument(known, listener, end)


def _uninstrument(router: weakref.ref[Router], listener: _Listener, end: Callable[[], None]) -> None:
    end()
    listener.close()
    instrumented = router()
    with _lock:
        if instrumented is not None and _instrumented.get(instrumented) is listener:
            del _instrumented[instrumented]


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


class _Call:
    """
    One call under way.

    Attributes:
        started: How it began.
        span: Its span; None where nobody records it.
        context: What attempts and metrics belong to; None without a span.
        answer: The attempt that was answered, as far as is known.
        last: The attempt that ended last.
        seen: How many have ended.
    """

    __slots__ = ("answer", "context", "last", "seen", "span", "started")

    def __init__(self, started: CallStarted, span: Span | None) -> None:
        self.started = started
        self.span = span
        self.context = None if span is None else trace.set_span_in_context(span)
        self.answer: Attempt | None = None
        self.last: Attempt | None = None
        self.seen = 0


class _News(threading.local):
    """What this thread has brought about at providers since its last attempt: it belongs to the call it is in."""

    def __init__(self) -> None:
        self.events: deque[StateChanged | PutOff] = deque(maxlen=_MOST_NEWS)


class _Listener:
    """Makes spans and metrics of a router's events. Thread-safe; a forked child begins without calls."""

    def __init__(
        self,
        router: Router,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        name: str,
    ) -> None:
        self._common: genai.Attributes = {"failsafe.router": name} if name else {}
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
        self._peers = genai.peers(router.config)
        self._metrics = _Metrics(router, meter_provider, self._common, self._peers)
        self._news = _News()
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may make a call while this thread holds it
        self._calls: dict[str, _Call] = {}  # guarded by _lock
        self._late: dict[str, tuple[_Call, int]] = {}  # guarded by _lock

    _after_fork = _start_afresh  # the parent ends the spans of its own calls

    def __call__(self, event: Event) -> None:
        match event:
            case AttemptFinished():
                self._attempt(event)
            case CallStarted():
                self._begin(event)
            case CallFinished():
                self._finish(event)
            case StateChanged():
                self._metrics.transition(event)
                self._news.events.append(event)
            case PutOff():
                self._news.events.append(event)

    def _begin(self, event: CallStarted) -> None:
        span = self._tracer.start_span(
            f"{event.operation} {genai.word(event.asked_model)[:_LONGEST_NAME]}",
            kind=SpanKind.CLIENT,
            attributes=genai.of_start(event) | self._common,
            start_time=_ns(event.at),
        )
        call = _Call(event, span if span.is_recording() else None)
        given_up: _Call | None = None
        with self._lock:
            self._calls[event.call_id] = call
            if len(self._calls) > _MOST_CALLS:
                given_up = self._calls.pop(next(iter(self._calls)))
        if given_up is not None:
            _give_up(given_up)

    def _attempt(self, event: AttemptFinished) -> None:
        attempt = event.attempt
        call = self._call_of(event.call_id)
        if call is None:  # it began before anybody listened
            self._metrics.attempt(attempt, None)
            return
        call.last = attempt
        if attempt.usage is not None:
            call.answer = attempt
        self._metrics.attempt(attempt, call.context)
        self._tell_news(call)
        if call.span is not None:
            self._attempt_span(event, call)

    def _call_of(self, call_id: str) -> _Call | None:
        with self._lock:
            call = self._calls.get(call_id)
            if call is None:
                late = self._late.pop(call_id, None)
                if late is None:
                    return None
                call, missing = late
                if missing > 1:
                    self._late[call_id] = (call, missing - 1)
            call.seen += 1
            return call

    def _attempt_span(self, event: AttemptFinished, call: _Call) -> None:
        attempt = event.attempt
        span = self._tracer.start_span(
            f"attempt {attempt.provider}",
            call.context,
            SpanKind.CLIENT,
            genai.of_attempt(attempt, self._peers.get(attempt.provider)) | self._common,
            start_time=_ns(attempt.started_at),
        )
        if genai.is_error(attempt):
            span.set_status(Status(StatusCode.ERROR))
        span.end(_ns(event.at))

    def _finish(self, event: CallFinished) -> None:
        with self._lock:
            call = self._calls.pop(event.call_id, None)
            if call is None:
                return
            missing = event.attempts - call.seen
            if missing > 0:
                self._late[event.call_id] = (call, missing)
                if len(self._late) > _MOST_LATE:
                    del self._late[next(iter(self._late))]
        self._tell_news(call)
        # Without an answer, whoever was asked last stands for all.
        provider = event.provider or (call.last.provider if call.last is not None else "")
        error = genai.error_of(event)
        cost = None if call.answer is None else call.answer.cost_usd
        self._metrics.call(event, call, provider, error, cost)
        if call.span is not None:
            attributes = genai.of_end(event, call.answer, cost)
            peer = self._peers.get(provider)
            if peer is not None:
                attributes |= {"failsafe.provider": peer.name, **peer.attributes}
            first_chunk = genai.first_chunk(call.started, call.answer or call.last)
            if first_chunk is not None:
                attributes["gen_ai.response.time_to_first_chunk"] = first_chunk
            if error is not None:
                attributes[genai.ERROR_TYPE] = error
                call.span.set_status(Status(StatusCode.ERROR))
            call.span.set_attributes(attributes)
            # Not event.at: the wall clock may have been set back meanwhile.
            call.span.end(_ns(call.started.at + event.latency_ms / 1000))

    def _tell_news(self, call: _Call) -> None:
        news = self._news.events
        if not news:
            return
        told = list(news)
        news.clear()
        if call.span is not None and call.span.is_recording():
            for event in told:
                if event.at >= call.started.at:  # else it was no part of this call
                    name, attributes = genai.of_news(event)
                    call.span.add_event(name, attributes, _ns(event.at))

    def close(self) -> None:
        """End the spans of all calls under way."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
            self._late.clear()
        self._metrics.close()
        for call in calls:
            _give_up(call)


def _give_up(call: _Call) -> None:
    """End the span of a call of which nobody will tell the end."""
    if call.span is not None:
        call.span.set_attribute("failsafe.outcome", _ABANDONED)
        call.span.end()


class _Metrics:
    """The instruments, and what is recorded with them. Thread-safe."""

    def __init__(
        self,
        router: Router,
        provider: MeterProvider | None,
        common: genai.Attributes,
        peers: dict[str, genai.Peer],
    ) -> None:
        meter = metrics.get_meter(_SCOPE, __version__, provider)
        self._router: weakref.ref[Router] | None = weakref.ref(router)  # None once it is over
        self._silent = isinstance(meter, NoOpMeter)
        self._common = common
        self._peers = peers
        self._models = Names(known_models(router.config))
        self._sets: dict[tuple[object, ...], genai.Attributes] = {}  # guarded by _lock for writing
        self._start_afresh()
        forking.register(self)
        self._duration = meter.create_histogram(
            genai.DURATION, "s", "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=genai.DURATION_BUCKETS,
        )  # fmt: skip
        self._tokens = meter.create_histogram(
            genai.TOKEN_USAGE, "{token}", "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=genai.TOKEN_BUCKETS,
        )  # fmt: skip
        self._first_chunk = meter.create_histogram(
            genai.TIME_TO_FIRST_CHUNK, "s", "Time to the first content of a streamed answer.",
            explicit_bucket_boundaries_advisory=genai.DURATION_BUCKETS,
        )  # fmt: skip
        self._attempts = meter.create_histogram(
            "failsafe.attempt.duration", "s", "Single requests, by what went wrong.",
            explicit_bucket_boundaries_advisory=genai.DURATION_BUCKETS,
        )  # fmt: skip
        self._cost = meter.create_counter("failsafe.cost", "USD", "What answers of known price cost.")
        self._maybe_billed = meter.create_counter(
            "failsafe.maybe_billed", "{attempt}", "Failed requests that may be charged for all the same."
        )
        self._transitions = meter.create_counter(
            "failsafe.breaker.transitions", "{transition}", "Changes of a breaker's state."
        )
        _observe(meter, provider or metrics.get_meter_provider(), self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # guards what is in _models

    _after_fork = _start_afresh

    def _remembered(self, key: tuple[object, ...], make: Callable[[], genai.Attributes]) -> genai.Attributes:
        """The attributes for *key*: most calls have those of the call before."""
        attributes = self._sets.get(key)
        if attributes is None:
            with self._lock:
                attributes = make()
                if len(self._sets) >= _MOST_SETS:  # callers make up names
                    self._sets.clear()
                self._sets[key] = attributes
        return attributes

    def call(self, event: CallFinished, call: _Call, provider: str, error: str | None, cost: Decimal | None) -> None:
        """Record a call that has ended."""
        if self._silent:
            return
        operation, context = call.started.operation, call.context
        attributes = self._remembered(
            (operation, event.asked_model, event.model, provider),
            lambda: self._of_call(operation, event.asked_model, event.model, provider),
        )
        answer = call.answer
        if answer is not None and answer.usage is not None:
            self._usage(answer.usage, attributes, context)
        if cost is not None and cost >= 0:
            self._cost.add(float(cost), attributes, context)
        first_chunk = genai.first_chunk(call.started, answer or call.last)
        if first_chunk is not None:
            self._first_chunk.record(first_chunk, attributes, context)
        if error is not None:
            attributes = {**attributes, genai.ERROR_TYPE: error}
        self._duration.record(event.latency_ms / 1000, attributes, context)

    def _of_call(self, operation: str, asked: str, model: str | None, provider: str) -> genai.Attributes:
        peer = self._peers.get(provider)
        return {
            genai.OPERATION_NAME: operation,
            genai.REQUEST_MODEL: self._models.of(asked),
            **({genai.RESPONSE_MODEL: self._models.of(model)} if model else {}),
            **(peer.attributes if peer is not None else {}),
            **self._common,
        }

    def _usage(self, usage: Usage, attributes: genai.Attributes, context: Context | None) -> None:
        for kind, count in (("input", usage.prompt_tokens), ("output", usage.completion_tokens)):
            if count:  # 0: the provider has not said
                self._tokens.record(count, {**attributes, genai.TOKEN_TYPE: kind}, context)

    def attempt(self, attempt: Attempt, context: Context | None) -> None:
        """Record an attempt that has ended."""
        if self._silent:
            return
        attributes = self._remembered(
            (attempt.provider, attempt.model, attempt.fault, attempt.hedge), lambda: self._of_attempt(attempt)
        )
        self._attempts.record(attempt.latency_ms / 1000, attributes, context)
        if attempt.maybe_billed:
            self._maybe_billed.add(1, attributes, context)

    def _of_attempt(self, attempt: Attempt) -> genai.Attributes:
        return {
            **self._of_target(attempt.provider, attempt.model),
            "failsafe.hedge": attempt.hedge,
            **({} if attempt.fault is None else {genai.ERROR_TYPE: attempt.fault.value}),
        }

    def transition(self, event: StateChanged) -> None:
        """Record a breaker's change of state."""
        provider, _, model = event.name.partition(":")
        with self._lock:
            attributes = self._of_target(provider, model)
        self._transitions.add(1, {**attributes, "failsafe.breaker.state": event.new.value})

    def _of_target(self, provider: str, model: str) -> genai.Attributes:
        of_model: genai.Attributes = {genai.REQUEST_MODEL: self._models.of(model)} if model else {}
        return {"failsafe.provider": provider, **of_model, **self._common}

    def states(self) -> list[Observation]:
        """1 for the state that each breaker is in, else 0; breakers of models without a name of their own together."""
        found: dict[tuple[str, str, str], int] = {}
        everything = self._stats()
        with self._lock:
            for provider, stats in everything.items():
                for model, breaker in (stats["breakers"] or {"": stats["breaker"]}).items():
                    for state in CircuitState:
                        key = (provider, self._models.of(model) if model else "", state.value)
                        found[key] = found.get(key, 0) + (breaker.state is state)
            return [
                Observation(count, {**self._of_target(provider, model), "failsafe.breaker.state": state})
                for (provider, model, state), count in found.items()
            ]

    def in_flight(self) -> list[Observation]:
        """Requests under way at each provider."""
        return [
            Observation(stats["in_flight"], {"failsafe.provider": provider, **self._common})
            for provider, stats in self._stats().items()
        ]

    def _stats(self) -> Mapping[str, Mapping[str, Any]]:
        router = self._router() if self._router is not None else None
        return {} if router is None or router.closed else router.stats()

    def close(self) -> None:
        """Observe no more."""
        self._router = None


_observed: weakref.WeakKeyDictionary[MeterProvider, weakref.WeakSet[_Metrics]] = weakref.WeakKeyDictionary()
_observed_lock = forking.RenewedLock()  # guards _observed


def _observe(meter: Meter, provider: MeterProvider, observed: _Metrics) -> None:
    """
    Have *observed* asked whenever metrics are collected.

    One callback asks all that share a provider: of a second instrument of the same name, an SDK drops the callback,
    and none can ever be taken off again.
    """
    with _observed_lock:
        group = _observed.setdefault(provider, weakref.WeakSet())
        group.add(observed)

    def states(_options: CallbackOptions) -> Iterable[Observation]:
        return [each for one in list(group) for each in one.states()]

    def in_flight(_options: CallbackOptions) -> Iterable[Observation]:
        return [each for one in list(group) for each in one.in_flight()]

    meter.create_observable_gauge("failsafe.breaker.state", [states], "1", "1 for the state that the breaker is in.")
    meter.create_observable_up_down_counter(
        "failsafe.attempts.in_flight", [in_flight], "{attempt}", "Requests under way."
    )
