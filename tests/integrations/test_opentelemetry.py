"""Calls as spans and metrics, seen through OpenTelemetry's own SDK: whose child, from when to when, and what of it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, SamplingResult
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, server_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry, generate_latest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import AllProvidersFailed, ConfigError, StreamInterrupted
from failsafe.events import AttemptFinished, CallFinished, CallStarted, CircuitState
from failsafe.faults import Fault
from failsafe.integrations import genai, opentelemetry, prometheus
from failsafe.models import Attempt
from failsafe.policy_config import CircuitBreakerConfig, HedgeConfig, RetryConfig
from failsafe.pricing import Price
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, FakeCloud
from failsafe.testing import SentRequest, answer, failing, refusal, streaming
from tests.router_bench import BROKEN, Bench, takes

LOST: dict[str, Any] = {"retry": RetryConfig(max_retries=0)}
MODEL = "gpt-4.1"
HARD_CAP = 10.0


class Traced:
    """A bench whose router is instrumented, with what its spans and metrics end up in."""

    def __init__(self, bench: Bench, sampler: Sampler | None = None, **options: Any) -> None:
        self.bench = bench
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.uninstrument = opentelemetry.instrument(bench.router, self.tracers, self.meters, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """What has ended, in the order in which it began."""
        return tuple(
            sorted(self.exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, bool(span.parent)))
        )

    @property
    def call(self) -> ReadableSpan:
        (call,) = [span for span in self.spans if span.name.startswith(("chat ", "embeddings "))]
        return call

    @property
    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith("attempt ")]

    def points(self, name: str) -> list[Any]:
        """The data points of one metric."""
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def at(self, seconds: float) -> int:
        """The bench's wall clock that many seconds before now, in nanoseconds."""
        return int((self.bench.clock.time() - seconds) * 1e9)


def of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert span.context is not None
    assert parent.context is not None
    return (
        span.parent is not None
        and span.parent.span_id == parent.context.span_id
        and span.context.trace_id == parent.context.trace_id
    )


def close_to(nanoseconds: int | None, expected: int) -> bool:
    return nanoseconds is not None and abs(nanoseconds - expected) < 1_000_000  # seconds since 1970 as a float


class TestSpans:
    def test_a_call_has_a_child_for_every_attempt(self) -> None:
        bench: Bench = Bench(takes(lambda: bench, 0.25, BROKEN), takes(lambda: bench, 0.5, answer()))
        traced = Traced(bench)
        bench.ask(tag="nightly")
        call = traced.call
        assert (call.name, call.kind) == (f"chat {MODEL}", SpanKind.CLIENT)
        assert close_to(call.start_time, traced.at(0.75))
        assert close_to(call.end_time, traced.at(0))
        first, second = traced.attempts
        assert is_child(first, call)
        assert is_child(second, call)
        assert close_to(first.start_time, traced.at(0.75))
        assert close_to(first.end_time, traced.at(0.5))
        assert close_to(second.start_time, traced.at(0.5))
        assert close_to(second.end_time, traced.at(0))
        assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
        assert call.status.status_code is StatusCode.UNSET

    def test_what_a_call_says_of_itself(self) -> None:
        prices = {MODEL: Price(input=Decimal(2), output=Decimal(8))}
        traced = Traced(Bench(BROKEN, answer(), of_provider={"prices": prices}))
        reply = traced.bench.ask(tag="nightly")
        assert of(traced.call) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": MODEL,
            "gen_ai.response.model": reply.model,
            "gen_ai.provider.name": "openai",
            "gen_ai.usage.input_tokens": reply.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": reply.usage.completion_tokens,
            "server.address": "b.example",
            "server.port": 443,
            "failsafe.call_id": of(traced.call)["failsafe.call_id"],
            "failsafe.provider": "b",
            "failsafe.attempts": 2,
            "failsafe.cost_usd": float(reply.cost_usd or 0),
            "failsafe.tag": "nightly",
        }

    def test_what_a_failed_attempt_says_of_itself(self) -> None:
        traced = Traced(Bench(BROKEN, answer()))
        traced.bench.ask()
        assert of(traced.attempts[0]) == {
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": MODEL,
            "server.address": "a.example",
            "server.port": 443,
            "error.type": "server",
            "http.response.status_code": 500,
            "failsafe.provider": "a",
            "failsafe.round": 1,
            "failsafe.hedge": False,
            "failsafe.phase": "done",
            "failsafe.bytes_received": of(traced.attempts[0])["failsafe.bytes_received"],
            "failsafe.fault": "server",
            "failsafe.blamed": True,
            "failsafe.maybe_billed": of(traced.attempts[0])["failsafe.maybe_billed"],
        }

    def test_tokens_stand_on_the_call_alone_lest_somebody_adds_them_up_twice(self) -> None:
        traced = Traced(Bench(answer()))
        traced.bench.ask()
        assert "gen_ai.usage.input_tokens" in of(traced.call)
        assert not any(name.startswith("gen_ai.usage") for name in of(traced.attempts[0]))

    def test_a_lost_call_is_an_error_of_its_class(self) -> None:
        traced = Traced(Bench(BROKEN, BROKEN, **LOST))
        traced.bench.lose()
        assert traced.call.status.status_code is StatusCode.ERROR
        assert of(traced.call)["error.type"] == "AllProvidersFailed"
        assert of(traced.call)["server.address"] == "b.example"  # whoever was asked last
        assert len(traced.attempts) == 2

    def test_a_call_that_asked_nobody_is_a_span_without_children(self, expect_logs: object) -> None:
        traced = Traced(Bench(answer(), **LOST))
        traced.bench.router.breakers.get("a").force_open()
        traced.bench.lose()
        assert traced.attempts == []
        assert of(traced.call)["failsafe.attempts"] == 0
        assert "server.address" not in of(traced.call)

    def test_the_routers_own_last_answer_is_no_error_of_the_call(self) -> None:
        traced = Traced(Bench(BROKEN, fallback="sorry", **LOST))
        traced.bench.ask()
        assert traced.call.status.status_code is StatusCode.UNSET
        assert of(traced.call)["failsafe.fallback"] is True

    def test_an_interrupted_call_ends_its_span(self) -> None:
        def interrupted(_request: SentRequest) -> Any:
            raise KeyboardInterrupt

        traced = Traced(Bench(interrupted))
        with pytest.raises(KeyboardInterrupt):
            traced.bench.ask()
        assert of(traced.call)["error.type"] == "KeyboardInterrupt"
        assert nothing_is_kept(traced)

    def test_embeddings_are_called_so(self) -> None:
        traced = Traced(Bench(BROKEN, **LOST))
        with pytest.raises(AllProvidersFailed):
            traced.bench.router.embed("hi", model="text-embedding-3-small")
        assert traced.call.name == "embeddings text-embedding-3-small"
        assert of(traced.call)["gen_ai.operation.name"] == "embeddings"

    def test_a_cancelled_attempt_is_no_error_of_its_provider(self) -> None:
        attempt = Attempt(provider="a", model=MODEL, fault=Fault.CANCELLED, hedge=True)
        assert "error.type" not in genai.of_attempt(attempt, None)
        assert genai.of_attempt(attempt, None)["failsafe.hedge"] is True


class TestParents:
    def test_the_parent_is_what_is_current_where_the_call_is_made(self) -> None:
        traced = Traced(Bench(answer()))
        tracer = traced.tracers.get_tracer("program")
        with tracer.start_as_current_span("request") as request:
            traced.bench.ask()
        assert traced.call.parent == request.get_span_context()

    def test_without_one_a_call_begins_a_trace(self) -> None:
        traced = Traced(Bench(answer()))
        traced.bench.ask()
        traced.bench.ask()
        calls = [span for span in traced.spans if span.name.startswith("chat")]
        assert [span.parent for span in calls] == [None, None]
        assert len({span.context.trace_id for span in calls if span.context}) == 2

    def test_threads_keep_to_themselves(self) -> None:
        traced = Traced(Bench((*[BROKEN, answer()] * 8, answer()), answer()))
        tracer = traced.tracers.get_tracer("program")
        parents: dict[int, str] = {}

        def work(number: int) -> None:
            with tracer.start_as_current_span(f"work {number}") as span:
                parents[span.get_span_context().span_id] = span.get_span_context().trace_id  # type: ignore[assignment]
                traced.bench.ask()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(64)))
        calls = [span for span in traced.spans if span.name.startswith("chat")]
        assert len(calls) == 64
        assert {span.parent.span_id for span in calls if span.parent} == parents.keys()
        for span in calls:
            children = [child for child in traced.attempts if is_child(child, span)]
            assert len(children) == of(span)["failsafe.attempts"]

    def test_the_context_of_the_caller_is_left_as_it_was(self) -> None:
        traced = Traced(Bench((streaming("one", "two"), answer())))
        token = otel_context.attach(baggage.set_baggage("tenant", "7"))
        try:
            before = otel_context.get_current()
            stream = traced.bench.router.stream("hi", model=MODEL)
            assert otel_context.get_current() == before
            list(stream)
            traced.bench.ask()
            assert otel_context.get_current() == before
        finally:
            otel_context.detach(token)

    def test_a_sampler_sees_what_is_asked_before_anything_is_sent(self) -> None:
        seen: list[Any] = []

        class Noting(Sampler):
            def should_sample(
                self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None,
                links: Any = None, trace_state: Any = None,
            ) -> SamplingResult:  # fmt: skip
                seen.append((name, dict(attributes), traced.bench.asked()["a"]))
                return ALWAYS_OFF.should_sample(parent_context, trace_id, name)

            def get_description(self) -> str:
                return "noting"

        traced = Traced(Bench(answer()), Noting())
        traced.bench.ask()
        (name, attributes, asked), *children = seen
        assert (name, asked) == (f"chat {MODEL}", 0)
        assert attributes["gen_ai.operation.name"] == "chat"
        assert attributes["gen_ai.request.model"] == MODEL
        assert children == []  # nobody needs to decide on the children of what is not recorded
        assert traced.spans == ()

    def test_what_is_sampled_out_is_counted_all_the_same(self) -> None:
        traced = Traced(Bench(answer()), ParentBased(ALWAYS_OFF))
        traced.bench.ask()
        assert traced.spans == ()
        (point,) = traced.points(genai.DURATION)
        assert point.count == 1


class TestStreams:
    def test_the_span_ends_with_the_stream_and_its_parent_is_whoever_opened_it(self) -> None:
        bench: Bench = Bench((takes(lambda: bench, 0.5, streaming("one", "two")),))
        traced = Traced(bench)
        tracer = traced.tracers.get_tracer("program")
        with tracer.start_as_current_span("request") as request:
            stream = bench.router.stream("hi", model=MODEL)
        assert [span.name for span in traced.spans] == ["request"]
        bench.clock.advance(2)
        reader = threading.Thread(target=lambda: list(stream))
        reader.start()
        reader.join(HARD_CAP)
        (call,) = [span for span in traced.spans if span.name.startswith("chat")]
        assert call.parent == request.get_span_context()
        assert close_to(call.start_time, traced.at(2.5))
        assert close_to(call.end_time, traced.at(0))
        attributes = of(call)
        assert attributes["gen_ai.request.stream"] is True
        assert attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.5)
        assert attributes["gen_ai.usage.output_tokens"] == 2
        (attempt,) = traced.attempts
        assert is_child(attempt, call)
        assert of(attempt)["failsafe.time_to_first_content"] == pytest.approx(0.5)

    def test_one_that_its_reader_closes_is_no_error(self) -> None:
        traced = Traced(Bench((streaming("one", "two"),)))
        with traced.bench.router.stream("hi", model=MODEL) as stream:
            next(stream)
        assert traced.call.status.status_code is StatusCode.UNSET
        assert of(traced.call)["failsafe.closed"] is True
        assert of(traced.attempts[0])["failsafe.fault"] == "cancelled"

    def test_one_that_breaks_off_is(self) -> None:
        traced = Traced(Bench((streaming("half", failing(Fault.DISCONNECTED)),)))
        with pytest.raises(StreamInterrupted):
            list(traced.bench.router.stream("hi", model=MODEL))
        assert of(traced.call)["error.type"] == "StreamInterrupted"
        assert of(traced.attempts[0])["error.type"] == "disconnected"

    def test_one_that_another_provider_takes_over_has_two_children(self) -> None:
        broken = streaming("half", failing(Fault.DISCONNECTED))
        traced = Traced(Bench((broken,), (streaming("whole"),)))
        list(traced.bench.router.stream("hi", model=MODEL, on_interrupt="restart"))
        assert [span.name for span in traced.attempts] == ["attempt a", "attempt b"]
        assert of(traced.call)["failsafe.provider"] == "b"

    def test_one_that_is_dropped_ends_with_the_garbage_or_with_the_next_call(self) -> None:
        traced = Traced(Bench((streaming("one", "two"), answer())))
        stream = traced.bench.router.stream("hi", model=MODEL)
        next(stream)
        del stream
        gc.collect()
        traced.bench.ask()
        assert sorted(
            of(span).get("failsafe.closed", False) for span in traced.spans if span.name.startswith("chat")
        ) == [
            False,
            True,
        ]
        assert nothing_is_kept(traced)


def listener_of(traced: Traced) -> Any:
    return opentelemetry._instrumented[traced.bench.router]


def nothing_is_kept(traced: Traced) -> bool:
    listener = listener_of(traced)
    return not listener._calls and not listener._late


class TestBreakers:
    def test_a_transition_is_an_event_of_the_call_that_brought_it_about(self, expect_logs: object) -> None:
        bench = Bench(BROKEN, answer(), breaker=CircuitBreakerConfig(failure_threshold=1))
        traced = Traced(bench)
        bench.ask()
        (event,) = traced.call.events
        assert event.name == "failsafe.breaker.state_changed"
        assert dict(event.attributes or {}) == {
            "failsafe.breaker": "a",
            "failsafe.breaker.old_state": "closed",
            "failsafe.breaker.state": "open",
        }
        assert close_to(event.timestamp, traced.at(0))

    def test_what_is_put_off_is_an_event_too(self) -> None:
        traced = Traced(Bench(refusal(429, "slow down", code="rate_limit_exceeded", retry_after="20"), answer()))
        traced.bench.ask()
        (event,) = traced.call.events
        assert event.name == "failsafe.put_off"
        assert dict(event.attributes or {})["failsafe.fault"] == "rate_limit"
        assert dict(event.attributes or {})["failsafe.retry_after"] >= 20  # type: ignore[operator] # a number

    def test_what_a_person_does_between_two_calls_belongs_to_neither(self, expect_logs: object) -> None:
        traced = Traced(Bench(answer(), answer()))
        traced.bench.ask()
        traced.bench.router.breakers.get("b").trip()
        traced.bench.clock.advance(1)
        traced.bench.ask()
        assert [event for span in traced.spans for event in span.events] == []
        (point,) = traced.points("failsafe.breaker.transitions")
        assert dict(point.attributes) == {"failsafe.provider": "b", "failsafe.breaker.state": "open"}

    def test_the_state_of_every_breaker_is_observed_and_requests_under_way(self, expect_logs: object) -> None:
        traced = Traced(Bench((streaming("one", "two"),), answer()))
        traced.bench.router.breakers.get("b").trip()
        states = {
            (point.attributes["failsafe.provider"], point.attributes["failsafe.breaker.state"]): point.value
            for point in traced.points("failsafe.breaker.state")
        }
        assert {key for key, value in states.items() if value} == {("a", "closed"), ("b", "open")}
        assert len(states) == 2 * len(CircuitState)
        with traced.bench.router.stream("hi", model=MODEL):
            under_way = {point.attributes["failsafe.provider"]: point.value
                         for point in traced.points("failsafe.attempts.in_flight")}  # fmt: skip
        assert under_way == {"a": 1, "b": 0}


def started(number: int, at: float = 1.0) -> CallStarted:
    return CallStarted(at=at, call_id=f"c{number}", asked_model=MODEL)


def finished(number: int, attempts: int = 1, **details: Any) -> CallFinished:
    usual = {"at": 2.0, "asked_model": MODEL, "provider": "a", "model": MODEL, "error": None, "latency_ms": 1000.0}
    return CallFinished(call_id=f"c{number}", attempts=attempts, **{**usual, **details})


class TestBounds:
    def test_calls_that_never_end_are_given_up_from_the_oldest_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opentelemetry, "_MOST_CALLS", 5)
        traced = Traced(Bench(answer()))
        listener = listener_of(traced)
        for number in range(8):
            listener(started(number))
        assert list(listener._calls) == ["c3", "c4", "c5", "c6", "c7"]
        assert [of(span)["failsafe.call_id"] for span in traced.spans] == ["c0", "c1", "c2"]
        assert {of(span)["failsafe.outcome"] for span in traced.spans} == {"abandoned"}
        listener(finished(0))  # it ended after all: nothing is left to be done about it
        assert len(traced.spans) == 3

    def test_a_hedge_that_ends_after_its_call_is_a_child_all_the_same(self) -> None:
        traced = Traced(Bench(answer()))
        listener = listener_of(traced)
        listener(started(1))
        listener(AttemptFinished(at=2.0, call_id="c1", attempt=Attempt(provider="a", model=MODEL, started_at=1.5)))
        listener(finished(1, attempts=2))
        late = Attempt(provider="a", model=MODEL, fault=Fault.CANCELLED, hedge=True, started_at=1.2, latency_ms=1000)
        listener(AttemptFinished(at=2.2, call_id="c1", attempt=late))
        assert len(traced.attempts) == 2
        assert all(is_child(span, traced.call) for span in traced.attempts)
        assert nothing_is_kept(traced)

    def test_hedges_that_never_end_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opentelemetry, "_MOST_LATE", 3)
        traced = Traced(Bench(answer()))
        listener = listener_of(traced)
        for number in range(9):
            listener(started(number))
            listener(finished(number, attempts=3))
        assert list(listener._late) == ["c6", "c7", "c8"]

    def test_news_that_no_call_takes_up_do_not_pile_up(self, expect_logs: object) -> None:
        traced = Traced(Bench(answer()))
        breaker = traced.bench.router.breakers.get("a")
        for _ in range(100):
            breaker.trip()
            breaker.reset()
        assert len(listener_of(traced)._news.events) <= 16

    def test_a_call_that_began_before_is_counted_and_has_no_span(self) -> None:
        bench = Bench((streaming("one", "two"),))
        with bench.router.stream("hi", model=MODEL) as stream:
            traced = Traced(bench)
            list(stream)
        assert traced.spans == ()
        (point,) = traced.points("failsafe.attempt.duration")
        assert point.count == 1

    def test_a_clock_that_is_set_back_makes_no_span_end_before_it_begins(self) -> None:
        traced = Traced(Bench(answer()))
        listener = listener_of(traced)
        listener(started(1, at=1000.0))
        listener(finished(1, attempts=0, at=400.0, latency_ms=250.0))
        assert (traced.call.start_time, traced.call.end_time) == (1000 * 10**9, 1000_250_000_000)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_ends_no_span_of_its_parent(self) -> None:
        traced = Traced(Bench((streaming("one", "two"),)))
        with traced.bench.router.stream("hi", model=MODEL):
            read, write = os.pipe()
            child = os.fork()
            if not child:  # pragma: no cover -- in the child
                try:
                    os.write(write, str(len(listener_of(traced)._calls)).encode())
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            assert os.read(read, 10) == b"0"
            os.close(read)
            os.close(write)
        assert len(traced.spans) == 2


class TestMetrics:
    def test_durations_are_of_whole_calls_and_in_the_recommended_buckets(self) -> None:
        bench: Bench = Bench(takes(lambda: bench, 0.25, BROKEN), takes(lambda: bench, 0.5, answer()))
        traced = Traced(bench)
        reply = bench.ask()
        (point,) = traced.points("gen_ai.client.operation.duration")
        assert point.sum == pytest.approx(0.75)
        assert point.explicit_bounds == genai.DURATION_BUCKETS
        assert dict(point.attributes) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": MODEL,
            "gen_ai.response.model": reply.model,
            "server.address": "b.example",
            "server.port": 443,
        }

    def test_tokens_are_told_apart_by_their_type(self) -> None:
        traced = Traced(Bench(answer()))
        usage = traced.bench.ask().usage
        points = traced.points("gen_ai.client.token.usage")
        assert {point.attributes["gen_ai.token.type"]: point.sum for point in points} == {
            "input": usage.prompt_tokens,
            "output": usage.completion_tokens,
        }
        assert {tuple(point.explicit_bounds) for point in points} == {genai.TOKEN_BUCKETS}

    def test_errors_have_a_type_and_attempts_a_metric_of_their_own(self) -> None:
        traced = Traced(Bench(BROKEN, BROKEN, **LOST))
        traced.bench.lose()
        (point,) = traced.points(genai.DURATION)
        assert point.attributes["error.type"] == "AllProvidersFailed"
        attempts = traced.points("failsafe.attempt.duration")
        assert sorted((each.attributes["failsafe.provider"], each.attributes["error.type"]) for each in attempts) == [
            ("a", "server"),
            ("b", "server"),
        ]
        assert traced.points(genai.TOKEN_USAGE) == []

    def test_first_chunks_are_of_streams_alone(self) -> None:
        bench: Bench = Bench((takes(lambda: bench, 0.3, streaming("one")), answer()))
        traced = Traced(bench)
        list(bench.router.stream("hi", model=MODEL))
        bench.ask()
        (point,) = traced.points(genai.TIME_TO_FIRST_CHUNK)
        assert (point.count, point.sum) == (1, pytest.approx(0.3))

    def test_money(self) -> None:
        prices = {MODEL: Price(input=Decimal(2), output=Decimal(8))}
        traced = Traced(Bench((streaming("one", "two"), answer()), of_provider={"prices": prices}))
        cost = traced.bench.router.stream("hi", model=MODEL)
        cost.close()
        reply = traced.bench.ask()
        (point,) = traced.points("failsafe.cost")
        assert point.value == pytest.approx(float(reply.cost_usd or 0))
        (billed,) = traced.points("failsafe.maybe_billed")
        assert billed.value == 1

    def test_names_that_callers_make_up_end_in_one_series(self, expect_logs: object) -> None:
        traced = Traced(Bench(answer()))
        for number in range(150):
            traced.bench.ask(model=f"made-up-{number}")
        points = traced.points("failsafe.attempt.duration")
        assert len(points) == 100  # the model that answered has a name, too; and the last one is "other"
        assert sum(point.count for point in points) == 150

    def test_two_routers_are_told_apart_by_their_names(self, expect_logs: object) -> None:
        traced, second = Traced(Bench(answer()), name="front"), Bench(answer())
        end = opentelemetry.instrument(second.router, traced.tracers, traced.meters, name="batch")
        traced.bench.ask()
        second.ask()
        assert {point.attributes["failsafe.router"] for point in traced.points(genai.DURATION)} == {"front", "batch"}
        assert {point.attributes["failsafe.router"] for point in traced.points("failsafe.attempts.in_flight")} == {
            "front",
            "batch",
        }
        assert {of(span)["failsafe.router"] for span in traced.spans} == {"front", "batch"}
        end()
        assert {point.attributes["failsafe.router"] for point in traced.points("failsafe.attempts.in_flight")} == {
            "front"
        }

    def test_a_closed_router_is_observed_no_more(self) -> None:
        traced = Traced(Bench(answer()))
        traced.bench.router.close()
        assert traced.points("failsafe.breaker.state") == []


class TestEnding:
    def test_after_uninstrument_nothing_is_told(self) -> None:
        traced = Traced(Bench((streaming("one", "two"), answer())))
        stream = traced.bench.router.stream("hi", model=MODEL)
        traced.uninstrument()
        traced.uninstrument()
        assert of(traced.call)["failsafe.outcome"] == "abandoned"
        list(stream)
        traced.bench.ask()
        assert len(traced.spans) == 1
        assert not traced.bench.router._reporter.bus.starts

    def test_twice_is_refused_and_again_after_the_end_is_not(self) -> None:
        traced = Traced(Bench(answer()))
        with pytest.raises(ConfigError, match="is instrumented already"):
            opentelemetry.instrument(traced.bench.router)
        traced.uninstrument()
        traced.uninstrument = opentelemetry.instrument(traced.bench.router, traced.tracers, traced.meters)
        traced.bench.ask()
        assert len(traced.spans) == 2

    def test_a_router_is_not_kept_alive(self) -> None:
        router = Router(RouterConfig(providers=[ProviderConfig(name="a", base_url="https://a.example/v1")]))
        meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        end = opentelemetry.instrument(router, TracerProvider(shutdown_on_exit=False), meters)
        gone = weakref.ref(router)
        del router
        gc.collect()
        assert gone() is None
        end()

    def test_without_an_sdk_calls_go_on_as_ever(self) -> None:
        bench = Bench(BROKEN, answer())
        end = opentelemetry.instrument(bench.router, trace.NoOpTracerProvider())
        assert bench.ask().provider == "b"
        end()


def all_of(cloud: FakeCloud) -> list[ProviderConfig]:
    return [ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key) for each in cloud]


class TestOverSockets:
    """Real providers on this machine, and hedges in threads of their own."""

    def test_a_hedge_that_wins_and_the_attempt_that_lost_are_children_of_one_call(self) -> None:
        with FakeCloud.of("openai", "anthropic") as cloud:
            cloud["openai"].behave(BEHAVIOURS["hang"])
            hedge, models = HedgeConfig(delay=0.01, budget=1.0), {"any": ["gpt-4.1-mini", "claude-haiku-4-5"]}
            config = RouterConfig(providers=all_of(cloud), hedge=hedge, aliases=models, timeout=HARD_CAP)
            with Router(config) as router:
                traced = Traced(Bench(answer()))
                end = opentelemetry.instrument(router, traced.tracers, traced.meters)
                with traced.tracers.get_tracer("program").start_as_current_span("request") as request:
                    assert router.chat("hi", model="any").provider == "anthropic"
                end()
        call = traced.call
        assert call.parent == request.get_span_context()
        assert {span.name for span in traced.attempts} == {"attempt openai", "attempt anthropic"}
        assert all(is_child(span, call) for span in traced.attempts)
        hedged = {span.name: of(span)["failsafe.hedge"] for span in traced.attempts}
        assert hedged == {"attempt openai": False, "attempt anthropic": True}
        assert of(call)["gen_ai.provider.name"] == "anthropic"
        assert of(call)["server.address"] == "127.0.0.1"
        lost = next(span for span in traced.attempts if span.name == "attempt openai")
        assert of(lost)["failsafe.fault"] == "cancelled"
        assert lost.status.status_code is StatusCode.UNSET

    def test_streams_in_many_threads_end_up_under_their_own_parents(self) -> None:
        with FakeCloud.of("openai") as cloud, Router(RouterConfig(providers=all_of(cloud))) as router:
            traced = Traced(Bench(answer()))
            end = opentelemetry.instrument(router, traced.tracers, traced.meters)
            tracer = traced.tracers.get_tracer("program")

            def work(number: int) -> int:
                with tracer.start_as_current_span(f"work {number}") as span:
                    stream = router.stream("hi", model="gpt-4.1", timeout=HARD_CAP)
                list(stream)  # read where another span is current, or none
                return span.get_span_context().span_id

            with ThreadPoolExecutor(8) as pool:
                parents = set(pool.map(work, range(32)))
            end()
        calls = [span for span in traced.spans if span.name == "chat gpt-4.1"]
        assert {span.parent.span_id for span in calls if span.parent} == parents
        assert all(of(span)["gen_ai.response.time_to_first_chunk"] > 0 for span in calls)
        assert len(traced.attempts) == 32


def test_the_exporters_add_no_frame_between_a_call_and_its_request() -> None:
    depths: list[int] = []

    def deep(_request: SentRequest) -> Any:
        frame, depth = sys._getframe(), 0
        while frame.f_back is not None:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        return answer()

    bench = Bench(deep)
    bench.ask()
    end = opentelemetry.instrument(bench.router)
    ends = prometheus.register(bench.router, CollectorRegistry())
    bench.ask()
    end()
    ends()
    assert depths[0] == depths[1]


SECRET = "the-secret-of-the-prompt"


def everything_in(traced: Traced) -> Iterator[str]:
    for span in traced.spans:
        yield span.to_json()
    data = traced.reader.get_metrics_data()
    assert data is not None
    yield data.to_json()


def test_nothing_of_a_prompt_an_answer_or_a_key_is_told(expect_logs: object) -> None:
    told = refusal(401, f"no such key sk-proj-7f3a9c52e1d84b60 for {SECRET}", code="invalid_api_key")
    broken = refusal(500, f"could not parse {SECRET}")
    traced = Traced(Bench(told, broken, answer(SECRET), breaker=CircuitBreakerConfig(failure_threshold=1)))
    traced.bench.router.chat(SECRET, model=MODEL)
    assert len(traced.attempts) == 3
    for text in everything_in(traced):
        assert SECRET not in text
        assert "sk-proj" not in text


def test_every_name_is_one_of_the_conventions_or_our_own(expect_logs: object) -> None:
    known = {
        value
        for module in (gen_ai_attributes, server_attributes, error_attributes, http_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    bench = Bench((BROKEN, streaming("one"), answer()), answer(), breaker=CircuitBreakerConfig(failure_threshold=1))
    traced = Traced(bench, name="front")
    bench.ask(tag="nightly")
    bench.router.reset()
    list(bench.router.stream("hi", model=MODEL))
    names = {name for span in traced.spans for name in of(span)}
    names |= {name for span in traced.spans for event in span.events for name in (event.attributes or {})}
    assert {name for name in names if not name.startswith("failsafe.")} <= known
    conventional = {value for name, value in vars(gen_ai_metrics).items() if name.isupper() and isinstance(value, str)}
    assert {genai.DURATION, genai.TOKEN_USAGE, genai.TIME_TO_FIRST_CHUNK} <= conventional


@pytest.mark.parametrize(
    ("settings", "system", "address", "port"),
    [
        ({"preset": "gemini"}, "gcp.gemini", "generativelanguage.googleapis.com", 443),
        ({"preset": "mistral"}, "mistral_ai", "api.mistral.ai", 443),
        ({"preset": "xai"}, "x_ai", "api.x.ai", 443),
        ({"preset": "anthropic"}, "anthropic", "api.anthropic.com", 443),
        ({"base_url": "http://127.0.0.1:8000/v1"}, "openai", "127.0.0.1", 8000),
        ({"base_url": "http://gpu.example/v1", "allow_http": True}, "openai", "gpu.example", 80),
        ({"base_url": "https://[::1]:4000/v1"}, "openai", "::1", 4000),
    ],
)
def test_providers_are_called_as_the_conventions_call_them(
    settings: dict[str, Any], system: str, address: str, port: int
) -> None:
    config = RouterConfig(providers=[ProviderConfig(name="mine", api_key="k" * 20, **settings)])
    (peer,) = genai.peers(config).values()
    assert (peer.name, peer.system, peer.address, peer.port) == ("mine", system, address, port)


@pytest.mark.usefixtures("expect_logs")
def test_a_key_that_a_caller_gives_as_a_tag_or_a_model_stands_in_no_span_no_metric_and_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    bench = Bench(answer(), of_provider={"models": None})
    registry = CollectorRegistry()
    prometheus.register(bench.router, registry)
    traced = Traced(bench)
    bench.ask(model=key, tag=key)
    told = " ".join(f"{span.name} {of(span)}" for span in traced.spans)
    assert of(traced.call)["failsafe.tag"] == "[masked]"
    assert "chat [masked]" in told
    assert key not in told
    assert key not in str(traced.reader.get_metrics_data())
    assert key not in generate_latest(registry).decode()
    assert key not in caplog.text
