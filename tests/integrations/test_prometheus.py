"""What Prometheus is told, read back by the client library's own parser: exact, bounded, well named, and let go of."""

from __future__ import annotations

import gc
import math
import os
import re
import subprocess
import sys
import threading
import urllib.request
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError
from failsafe.events import CLOSED, AttemptFinished, CircuitState, ProbeFinished
from failsafe.faults import Fault
from failsafe.integrations import prometheus, tally
from failsafe.integrations.metrics import KINDS_BY_NAME
from failsafe.integrations.tally import Durations, Names, tokens_by_kind
from failsafe.models import Attempt, Usage
from failsafe.policy_config import RetryConfig
from failsafe.pricing import Price
from failsafe.router import Router
from failsafe.testing import answer, refusal, streaming
from tests.router_bench import BROKEN, LIMITED, Bench, takes

ROOT = Path(__file__).resolve().parents[2]
LOST: dict[str, Any] = {"retry": RetryConfig(max_retries=0)}
MODEL = "gpt-4.1"
HARD_CAP = 20.0


class Exported:
    """A bench whose router a registry of its own exports."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.bench = bench
        self.registry = CollectorRegistry(auto_describe=True)
        self.end = prometheus.register(bench.router, self.registry, **options)

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()

    @property
    def families(self) -> list[Metric]:
        return list(text_string_to_metric_families(self.text))

    def __call__(self, sample: str, **labels: str) -> float | None:
        labels = {"router": "", **labels}
        return self.registry.get_sample_value(f"failsafe_{sample}", labels)

    def total(self, sample: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        wanted = labels.items()
        return sum(
            each.value
            for family in self.registry.collect()
            for each in family.samples
            if each.name == f"failsafe_{sample}" and wanted <= each.labels.items()
        )


def of_a(**labels: str) -> dict[str, str]:
    return {"provider": "a", "model": MODEL, **labels}


class TestCounts:
    def test_attempts_and_calls_are_counted_by_how_they_ended(self) -> None:
        exported = Exported(Bench((BROKEN, answer()), answer()))
        for _ in range(3):
            exported.bench.ask()
        assert exported("attempts_total", **of_a(fault="server")) == 1
        assert exported("attempts_total", **of_a(fault="none")) == 2
        assert exported("attempts_total", provider="b", model=MODEL, fault="none") == 1
        assert exported("calls_total", model=MODEL, outcome="answered") == 3
        assert exported("attempt_duration_seconds_count", **of_a(outcome="failed")) == 1

    def test_what_lost_calls_the_last_answer_and_closed_streams_are_called(self) -> None:
        lost = Exported(Bench(BROKEN, **LOST))
        lost.bench.lose()
        assert lost("calls_total", model=MODEL, outcome="AllProvidersFailed") == 1
        saved = Exported(Bench(BROKEN, fallback="sorry", **LOST))
        saved.bench.ask()
        assert saved("calls_total", model=MODEL, outcome="fallback") == 1
        streamed = Exported(Bench((streaming("one", "two"),)))
        streamed.bench.router.stream("hi", model=MODEL).close()
        assert streamed("calls_total", model=MODEL, outcome=CLOSED) == 1
        assert streamed("maybe_billed_attempts_total", **of_a()) == 1

    def test_a_duration_falls_into_the_range_that_it_ends(self) -> None:
        bench: Bench = Bench(takes(lambda: bench, 0.5, answer()))
        exported = Exported(bench)
        bench.ask()
        answered = of_a(outcome="answered")
        assert exported("attempt_duration_seconds_bucket", **answered, le="0.25") == 0
        assert exported("attempt_duration_seconds_bucket", **answered, le="0.5") == 1
        assert exported("attempt_duration_seconds_sum", **answered) == 0.5
        assert exported("call_duration_seconds_sum", outcome="answered") == 0.5

    def test_the_first_content_of_streams_alone_is_timed(self) -> None:
        bench: Bench = Bench((takes(lambda: bench, 0.7, streaming("one", "two")), answer()))
        exported = Exported(bench)
        list(bench.router.stream("hi", model=MODEL))
        bench.ask()
        assert exported("time_to_first_content_seconds_count", **of_a()) == 1
        assert exported("time_to_first_content_seconds_bucket", **of_a(), le="0.8") == 1
        assert exported("time_to_first_content_seconds_bucket", **of_a(), le="0.4") == 0

    def test_costs_are_exact_however_small_and_whatever_precision_the_program_has_set(self) -> None:
        prices = {MODEL: Price(input=Decimal("0.1"), output=Decimal("0.3"))}
        exported = Exported(Bench(answer(), of_provider={"prices": prices}))
        with localcontext(prec=2):
            replies = [exported.bench.ask() for _ in range(tally._AT_ONCE + 44)]
        cost = replies[0].cost_usd
        assert cost
        assert exported("cost_usd_total", **of_a()) == float(300 * cost)
        assert exported("unpriced_answers_total", **of_a()) == 0

    def test_an_answer_without_a_price_is_counted_as_such(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.ask()
        assert exported("cost_usd_total", **of_a()) == 0
        assert exported("unpriced_answers_total", **of_a()) == 1

    def test_every_token_is_of_one_kind(self) -> None:
        exported = Exported(Bench(answer()))
        usage = exported.bench.ask().usage
        assert exported("tokens_total", **of_a(kind="input")) == usage.prompt_tokens
        assert exported.total("tokens_total", provider="a") == usage.total_tokens

    def test_a_lost_hedge_is_an_attempt_that_was_cancelled(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.router._reporter.emit(
            AttemptFinished(
                at=1.0, call_id="c", attempt=Attempt(provider="a", model=MODEL, fault=Fault.CANCELLED, hedge=True)
            )
        )
        assert exported("hedges_total", **of_a()) == 1
        assert exported("attempts_total", **of_a(fault="cancelled")) == 1

    def test_what_is_left_alone_and_what_was_probed_is_counted(self, expect_logs: object) -> None:
        exported = Exported(Bench((refusal(401, "no such key", code="invalid_api_key"), answer()), answer()))
        exported.bench.ask()
        exported.bench.router._reporter.emit(ProbeFinished(at=1.0, provider="b", kind="models", fault=Fault.NETWORK))
        exported.bench.router._reporter.emit(ProbeFinished(at=2.0, provider="b", kind="models"))
        assert exported("put_offs_total", provider="a", fault="auth") == 1
        assert exported("put_off", provider="a") == 1
        assert exported("probes_total", provider="b", kind="models", fault="network") == 1
        assert exported("probes_total", provider="b", kind="models", fault="none") == 1

    def test_no_call_is_lost_or_counted_twice_among_threads(self) -> None:
        exported = Exported(Bench((*[LIMITED, answer()] * 3, answer()), answer()))
        scraped: list[float] = []
        done = threading.Event()

        def scrape() -> None:
            while not done.is_set():
                scraped.append(exported.total("calls_total"))

        scraper = threading.Thread(target=scrape)
        scraper.start()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: exported.bench.ask(), range(1200)))
        done.set()
        scraper.join(HARD_CAP)
        assert scraped == sorted(scraped)
        assert exported.total("calls_total") == 1200
        assert exported.total("attempts_total") == sum(exported.bench.asked().values())

    def test_what_nobody_looks_at_does_not_pile_up(self) -> None:
        bench = Bench(answer())
        counting = tally.Tally(bench.router)
        for _ in range(5 * tally._AT_ONCE):
            bench.ask()
            assert len(counting._events) <= tally._AT_ONCE
        with counting.counted():
            assert counting.calls.total() == 5 * tally._AT_ONCE

    def test_a_call_does_not_wait_for_somebody_who_counts(self) -> None:
        bench = Bench(answer())
        counting = tally.Tally(bench.router)
        with counting.counted():  # the lock is held: a call that waited for it would never end
            for _ in range(2 * tally._AT_ONCE):
                bench.ask()
        with counting.counted():
            assert counting.calls.total() == 2 * tally._AT_ONCE

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_begins_at_nothing(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.ask()
        read, write = os.pipe()
        child = os.fork()
        if not child:  # pragma: no cover -- in the child
            try:
                exported.bench.ask()
                exported.bench.ask()
                os.write(write, str(exported.total("calls_total")).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 100) == b"2.0"
        os.close(read)
        os.close(write)
        assert exported.total("calls_total") == 1


class TestGauges:
    def test_a_breaker_is_in_one_state_at_a_time(self, expect_logs: object) -> None:
        exported = Exported(Bench(answer(), answer()))
        breaker = exported.bench.router.breakers.get("a")
        for act, state in ((breaker.trip, "open"), (breaker.force_open, "forced_open"), (breaker.reset, "closed")):
            act()
            states = {
                each.value: exported("breaker_state", provider="a", model="", state=each.value) for each in CircuitState
            }
            assert states.pop(state) == 1
            assert set(states.values()) == {0.0}
        assert exported("breaker_opened_total", provider="a", model="") == 1
        assert exported("breaker_opened_total", provider="b", model="") == 0

    def test_how_a_provider_is_doing(self, expect_logs: object) -> None:
        exported = Exported(Bench(answer(), answer()))
        assert exported("provider_status", provider="a", status="unknown") == 1
        exported.bench.ask()
        exported.bench.router.breakers.get("b").force_open()
        exported.bench.router.drain("a")
        assert exported("provider_status", provider="a", status="healthy") == 1
        assert exported("provider_status", provider="b", status="down") == 1
        assert exported("provider_ready", provider="b") == 0
        assert exported("draining", provider="a") == 1
        assert exported("in_flight", provider="a") == 0
        assert exported("retry_budget", provider="a") == 10

    def test_a_request_under_way_is_seen(self) -> None:
        bench = Bench((streaming("one", "two"),))
        exported = Exported(bench)
        with bench.router.stream("hi", model=MODEL):
            assert exported("in_flight", provider="a") == 1
        assert exported("in_flight", provider="a") == 0

    def test_uptime_is_told_by_a_monitor_as_far_as_it_knows(self) -> None:
        exported = Exported(Bench(answer(), answer()), monitor=Monitor({("a", 3600.0): 50.0, ("b", 86_400.0): 99.99}))
        assert exported("uptime_ratio", provider="a", window="1h") == 0.5
        assert exported("uptime_ratio", provider="b", window="24h") == pytest.approx(0.9999)
        assert exported("uptime_ratio", provider="a", window="30d") is None

    def test_a_monitor_that_fails_hides_nothing_else(self, caplog: pytest.LogCaptureFixture) -> None:
        exported = Exported(Bench(answer()), monitor=Monitor({}, broken=True))
        exported.bench.ask()
        assert exported.total("calls_total") == 1
        assert "could not tell the uptime of a" in caplog.text
        caplog.clear()

    def test_a_store_that_records_nothing_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        exported = Exported(Bench(answer()))
        assert exported("store_degraded") is None
        monkeypatch.setattr(Router, "store", Lost(), raising=False)
        assert exported("store_degraded") == 1
        assert exported("store_events_dropped_total") == 7


class Lost:
    degraded = "the disk is full"
    dropped = 7


class Monitor:
    def __init__(self, known: dict[tuple[str, float], float], *, broken: bool = False) -> None:
        self.known = known
        self.broken = broken

    def get_uptime_percentage(self, provider: str, window: float = 86_400.0) -> float | None:
        if self.broken:
            raise OSError("disk I/O error")
        return self.known.get((provider, window))


HOSTILE = ['say "hi"', "back\\slash", "x" * 5000, 'a",evil="1', "naïve {} 日本", "tab\tend", "\u2028"]


class TestLabels:
    @pytest.mark.parametrize("model", HOSTILE)
    def test_a_hostile_name_stays_one_label(self, model: str) -> None:
        exported = Exported(Bench(answer()))
        attempt = AttemptFinished(at=1.0, call_id="c", attempt=Attempt(provider="a", model=model))
        exported.bench.router._reporter.bus.emit(attempt)
        (found,) = [each for each in exported.families if each.name == "failsafe_attempts"]
        (sample,) = found.samples
        usable = model.isprintable() and len(model) <= 100
        assert sample.labels == {"router": "", "provider": "a", "model": model if usable else "other", "fault": "none"}

    def test_names_that_callers_make_up_end_in_one_series(self, expect_logs: object) -> None:
        bench = Bench(answer(), aliases={"smart": ["gpt-4.1"]})
        exported = Exported(bench)
        for number in range(tally.MOST_MODELS + 50):
            bench.ask(model=f"made-up-{number}")
        bench.ask(model="smart")  # of the settings, and so it always has a series of its own
        models = {sample.labels["model"] for family in exported.families if family.name == "failsafe_calls"
                  for sample in family.samples}  # fmt: skip
        assert len(models) == tally.MOST_MODELS + 2
        assert exported("calls_total", model="other", outcome="answered") == 50
        assert exported("calls_total", model="smart", outcome="answered") == 1
        assert exported.total("calls_total") == tally.MOST_MODELS + 51

    def test_breakers_of_made_up_models_share_one_series(self, expect_logs: object) -> None:
        bench = Bench(answer(), breaker_scope="model")
        exported = Exported(bench)
        for number in range(tally.MOST_MODELS + 5):
            bench.ask(model=f"made-up-{number}")
        assert exported("breaker_state", provider="a", model="other", state="closed") == 5
        assert_no_series_comes_twice(exported)

    @given(names=st.lists(st.text(max_size=120), max_size=60), most=st.integers(0, 20))
    def test_labels_are_bounded_and_what_is_kept_is_kept(self, names: list[str], most: int) -> None:
        kept = Names({"known"}, most)
        labels = {kept.of(name) for name in names}
        assert len(labels - {"other", "known"}) <= most
        assert kept.of("known") == "known"
        assert all(label == "other" or label in names for label in labels)


def assert_no_series_comes_twice(exported: Exported) -> None:
    lines = [line.rpartition(" ")[0] for line in exported.text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))


class TestFigures:
    @given(st.lists(st.floats(0, 1000), max_size=50))
    def test_no_duration_is_lost_between_the_bounds(self, seconds: list[float]) -> None:
        durations = Durations((0.1, 1.0, 10.0))
        for each in seconds:
            durations.add(each)
        assert durations.counts == [
            sum(low < each <= high for each in seconds)
            for low, high in ((-1, 0.1), (0.1, 1.0), (1.0, 10.0), (10.0, math.inf))
        ]
        assert len(durations) == len(seconds)

    @given(*[st.integers(-5, 100)] * 5)
    def test_kinds_of_tokens_never_make_a_counter_go_down(
        self, prompt: int, completion: int, cached: int, written: int, reasoning: int
    ) -> None:
        usage = Usage(
            prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached, cache_write_tokens=written,
            reasoning_tokens=reasoning,
        )  # fmt: skip
        kinds = tokens_by_kind(usage)
        assert all(count >= 0 for count in kinds)
        if 0 <= reasoning <= completion and min(cached, written) >= 0 and cached + written <= prompt:
            assert sum(kinds) == usage.total_tokens

    def test_a_provider_that_says_it_pays_back_makes_no_counter_go_down(self) -> None:
        exported = Exported(Bench(answer()))
        usage = Usage(prompt_tokens=1, cost_usd=Decimal(-1))
        event = AttemptFinished(at=1.0, call_id="c", attempt=Attempt(provider="a", model=MODEL, usage=usage))
        exported.bench.router._reporter.bus.emit(event)
        assert exported("cost_usd_total", **of_a()) == 0


class TestSeveralRouters:
    def test_they_are_told_apart_by_their_names(self) -> None:
        first, second = Exported(Bench(answer())), Bench(answer(), BROKEN)
        prometheus.register(second.router, first.registry, name="batch")
        first.bench.ask()
        second.ask()
        second.ask()
        assert first("calls_total", model=MODEL, outcome="answered") == 1
        assert first("calls_total", router="batch", model=MODEL, outcome="answered") == 2
        assert_no_series_comes_twice(first)
        assert len({family.name for family in first.families}) == len(first.families)

    def test_one_name_is_one_routers(self) -> None:
        exported = Exported(Bench(answer()))
        with pytest.raises(ConfigError, match=r"name = '': another router goes by it in this registry; give each"):
            prometheus.register(Bench(answer()).router, exported.registry)
        with pytest.raises(ConfigError, match="exported by this registry already"):
            prometheus.register(exported.bench.router, exported.registry, name="again")
        with pytest.raises(ConfigError, match="name"):
            prometheus.register(Bench(answer()).router, exported.registry, name="two\nlines")

    def test_two_collectors_by_hand_are_refused_by_the_registry(self) -> None:
        registry = CollectorRegistry()
        registry.register(prometheus.FailsafeCollector(Bench(answer()).router))
        with pytest.raises(ValueError, match="Duplicated"):
            registry.register(prometheus.FailsafeCollector(Bench(answer()).router, name="b"))

    def test_a_collector_by_hand_has_as_many_routers_as_are_added(self) -> None:
        first, second = Bench(answer()), Bench(answer())
        collector = prometheus.FailsafeCollector(first.router, name="a")
        end = collector.add(second.router, name="b")
        registry = CollectorRegistry()
        registry.register(collector)
        second.ask()
        assert (
            registry.get_sample_value("failsafe_calls_total", {"router": "b", "model": MODEL, "outcome": "answered"})
            == 1
        )
        end()
        end()
        assert b'router="b"' not in generate_latest(registry)
        collector.close()
        assert generate_latest(registry) == b""


class TestLettingGo:
    def test_a_closed_router_is_exported_no_more_and_its_name_is_free(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.router.close()
        assert exported.text == ""
        assert not registered(exported.registry)
        exported.bench = Bench(answer())
        prometheus.register(exported.bench.router, exported.registry)
        exported.bench.ask()
        assert exported.total("calls_total") == 1

    def test_its_name_is_free_even_before_anybody_has_looked(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.router.close()
        second = Bench(answer())
        prometheus.register(second.router, exported.registry)
        second.ask()
        assert exported.total("calls_total") == 1

    def test_ending_it_takes_it_out_of_the_registry_once(self) -> None:
        exported = Exported(Bench(answer()))
        listeners = len(exported.bench.router._reporter.bus._sync)
        exported.end()
        exported.end()
        assert not registered(exported.registry)
        assert len(exported.bench.router._reporter.bus._sync) == listeners - 1
        exported.end = prometheus.register(exported.bench.router, exported.registry)
        assert registered(exported.registry)

    def test_a_router_is_not_kept_alive(self) -> None:
        registry = CollectorRegistry()
        router = Router(RouterConfig(providers=[ProviderConfig(name="a", base_url="https://a.example/v1")]))
        prometheus.register(router, registry)
        gone = weakref.ref(router)
        del router
        gc.collect()
        assert gone() is None
        assert generate_latest(registry) == b""
        assert not registered(registry)

    def test_a_registry_is_not_kept_alive(self) -> None:
        exported = Exported(Bench(answer()))
        gone = weakref.ref(exported.registry)
        bench = exported.bench
        end = exported.end
        del exported
        gc.collect()
        assert gone() is None
        end()
        bench.ask()


def registered(registry: CollectorRegistry) -> list[Collector]:
    return list(registry._collector_to_names)


# What promtool check metrics looks for, and the naming page of Prometheus.

BASE_UNITS = ("seconds", "bytes", "ratio", "usd")
OTHER_UNITS = re.compile(r"_(ms|milliseconds|minutes|hours|percent|percentage|kb|mb|cents|dollars)(_|$)")


class TestNames:
    def lint(self, families: list[Metric]) -> Iterator[str]:
        for family in families:
            if not re.fullmatch(r"failsafe(_[a-z0-9]+)*", family.name):
                yield f"{family.name}: not snake case"
            if OTHER_UNITS.search(family.name):
                yield f"{family.name}: not a base unit"
            if re.search(r"_(counter|gauge|histogram|total|count|sum|bucket|info)$", family.name):
                yield f"{family.name}: a type's suffix in the name"
            if not family.documentation.endswith(".") or family.documentation[0].islower():
                yield f"{family.name}: no help that is a sentence"
            names = {label for sample in family.samples for label in sample.labels}
            if names & {"le", "quantile", "job", "instance"} and family.type != "histogram":
                yield f"{family.name}: a reserved label"
            yield from (f"{family.name}: label {name}" for name in names if not re.fullmatch(r"[a-z_]+", name))

    def test_every_metric_is_named_by_the_rules(self, expect_logs: object) -> None:
        exported = Exported(Bench((BROKEN, LIMITED, streaming("x"), answer()), answer()), monitor=Monitor({}))
        exported.bench.ask()
        list(exported.bench.router.stream("hi", model=MODEL))
        collected = list(exported.registry.collect())
        assert list(self.lint(collected)) == []
        assert len(collected) == len(KINDS_BY_NAME)

    def test_counters_end_in_total_and_durations_are_seconds(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.ask()
        for family in exported.registry.collect():
            for sample in family.samples:
                assert sample.name.endswith("_total") == (family.type == "counter")
            if family.type == "histogram":
                assert family.name.endswith("_seconds")
        assert set(
            re.findall(r"_(seconds|ratio|usd|bytes)$", "\n".join(k.name for k in KINDS_BY_NAME.values()), re.MULTILINE)
        ) <= set(BASE_UNITS)

    def test_buckets_ascend_and_end_in_infinity(self) -> None:
        exported = Exported(Bench(answer()))
        exported.bench.ask()
        (family,) = [each for each in exported.families if each.name == "failsafe_call_duration_seconds"]
        buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
        bounds = [float(sample.labels["le"]) for sample in buckets]
        assert bounds == sorted(bounds)
        assert bounds[-1] == math.inf
        assert [sample.value for sample in buckets] == sorted(sample.value for sample in buckets)

    def test_the_text_of_flask_says_the_same(self) -> None:
        """Two ways out, one list of metrics: whoever changes from one to the other keeps his dashboards."""
        from tests.integrations.apps import client_of

        bench = Bench((BROKEN, answer()), answer())
        client = client_of(FAILSAFE_ROUTER=bench.router, FAILSAFE_METRICS=True)
        exported = Exported(bench)
        bench.ask()
        bench.ask()
        theirs = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
        ours = {family.name: family for family in exported.families}
        assert theirs.keys() == ours.keys()
        for name, family in ours.items():
            assert (family.type, family.documentation) == (theirs[name].type, theirs[name].documentation)
            without_pid = {(each.name, frozenset(each.labels.items() - {("pid", str(os.getpid()))}), each.value)
                           for each in theirs[name].samples}  # fmt: skip
            assert {(each.name, frozenset(each.labels.items()), each.value) for each in family.samples} == without_pid


class TestOverHttp:
    def test_a_scrape_of_the_client_librarys_own_server(self) -> None:
        exported = Exported(Bench((BROKEN, answer()), answer()))
        exported.bench.ask()
        server, thread = start_http_server(0, addr="127.0.0.1", registry=exported.registry)
        try:
            url = f"http://127.0.0.1:{server.server_port}/metrics"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, timeout=HARD_CAP) as response:
                families = {each.name: each for each in text_string_to_metric_families(response.read().decode())}
            request = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
            with opener.open(request, timeout=HARD_CAP) as response:
                assert response.headers["Content-Type"].startswith("application/openmetrics-text")
                open_metrics = response.read().decode()
        finally:
            server.shutdown()
            server.server_close()
            thread.join(HARD_CAP)
        assert {sample.labels["fault"]: sample.value for sample in families["failsafe_attempts"].samples} == {
            "server": 1.0,
            "none": 1.0,
        }
        assert open_metrics.endswith("# EOF\n")
        assert "# TYPE failsafe info" in open_metrics


class TestImports:
    def run(self, code: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def test_the_library_itself_loads_neither_exporter(self) -> None:
        loaded = "[n for n in sys.modules if n.startswith(('prometheus', 'opentelemetry'))]"
        code = f"import sys, failsafe; failsafe.Router; print({loaded})"
        assert self.run(code).strip() == "[]"

    @pytest.mark.parametrize(
        ("module", "package", "extra"),
        [("prometheus", "prometheus_client", "prometheus"), ("opentelemetry", "opentelemetry", "otel")],
    )
    def test_a_missing_extra_is_named_in_one_line(self, module: str, package: str, extra: str) -> None:
        code = f"import sys; sys.modules['{package}'] = None; import failsafe.integrations.{module}"
        last = self.run(code).strip().splitlines()[-1]
        assert last == (
            f"ModuleNotFoundError: failsafe.integrations.{module} needs {package}; pip install 'failsafe-llm[{extra}]'"
        )


def test_nothing_of_a_prompt_an_answer_or_a_key_is_exported(expect_logs: object) -> None:
    secret = "the-secret-of-the-prompt"
    told = refusal(401, f"no such key sk-proj-7f3a9c52e1d84b60 for {secret}", code="invalid_api_key")
    exported = Exported(Bench((told, answer(secret)), answer(secret)))
    exported.bench.router.chat(secret, model=MODEL)
    assert secret not in exported.text
    assert "sk-proj" not in exported.text
