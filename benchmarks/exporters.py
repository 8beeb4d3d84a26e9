"""
What the exporters cost a healthy call: the same call with and without them, in turns.

Time is that of the thread which makes the calls; the figures are medians of ratios, since absolute times mean nothing
on a shared machine. Run it from the repository's root: ``python benchmarks/exporters.py``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from measure import Goals
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from overhead import MESSAGES, MODEL, _pin, depth, server
from prometheus_client import CollectorRegistry, generate_latest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.integrations import opentelemetry, prometheus
from failsafe.monitoring_config import StoreConfig
from failsafe.router import Router

ROUNDS = 31
CALLS = 200


def plain(address: str, key: str) -> Router:
    """A router over three providers, of which the first answers; nothing else is done about its calls."""
    providers = [ProviderConfig(name=name, base_url=address, api_key=key) for name in ("first", "second", "third")]
    return Router(RouterConfig(providers=providers, store=StoreConfig(enabled=False)))


def with_prometheus(router: Router) -> CollectorRegistry:
    """Have *router* exported; what Prometheus would collect."""
    registry = CollectorRegistry()
    prometheus.register(router, registry)
    return registry


def with_opentelemetry(router: Router, *, spans: bool, metrics: bool) -> None:
    """Have *router* instrumented: with an SDK that exports from a thread of its own, or that samples nothing."""
    tracers = TracerProvider(None if spans else ALWAYS_OFF)
    tracers.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    meters = MeterProvider([InMemoryMetricReader()]) if metrics else NoOpMeterProvider()
    opentelemetry.instrument(router, tracers, meters)


def calling(router: Router) -> Callable[[], object]:
    """One call of *router*."""
    return lambda: router.chat_completion(MESSAGES, model=MODEL, temperature=0.5, timeout=10).content


def seconds(call: Callable[[], object]) -> float:
    """CPU of the calling thread for :data:`CALLS` calls in a row."""
    began = time.thread_time()
    for _ in range(CALLS):
        call()
    return time.thread_time() - began


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals were met."""
    goals = Goals()
    with server() as (address, key):
        _pin(0)
        names = ("plain", "prometheus", "no SDK", "sampled out", "metrics alone", "spans and metrics")
        routers = {name: plain(address, key) for name in names}
        registry = with_prometheus(routers["prometheus"])
        opentelemetry.instrument(routers["no SDK"])
        with_opentelemetry(routers["sampled out"], spans=False, metrics=False)
        with_opentelemetry(routers["metrics alone"], spans=False, metrics=True)
        with_opentelemetry(routers["spans and metrics"], spans=True, metrics=True)
        calls = {name: calling(router) for name, router in routers.items()}
        figures: dict[str, list[float]] = {name: [] for name in names}
        for number in range(ROUNDS + 1):
            for name, call in calls.items():
                figure = seconds(call)
                if number:  # the first round warms up
                    figures[name].append(figure)
        deeper = depth(calls["spans and metrics"]) - depth(calls["plain"])
        began = time.thread_time()
        size = len(generate_latest(registry))
        scraping = time.thread_time() - began
        for router in routers.values():
            router.close()
    ratio = {
        name: statistics.median(figure / base for figure, base in zip(figures[name], figures["plain"], strict=True))
        for name in names[1:]
    }
    for name, figure in ratio.items():
        print(f"CPU of the calling thread, {name} / plain: median {figure:.3f} over {ROUNDS} rounds")
    print(f"one scrape of {size} bytes: {scraping * 1000:.1f} ms; frames that the exporters add to a request: {deeper}")
    goals.at_most("prometheus", ratio["prometheus"], 1.15)
    goals.at_most("opentelemetry_no_sdk", ratio["no SDK"], 1.15)
    goals.at_most("opentelemetry_sampled_out", ratio["sampled out"], 1.15)
    goals.at_most("opentelemetry_metrics", ratio["metrics alone"], 1.5)
    goals.at_most("opentelemetry_spans_and_metrics", ratio["spans and metrics"], 2.0)
    goals.at_most("frames_added", deeper, 0)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
