"""The health monitor: when it probes, what it makes of that, and that it ends."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest

from failsafe.clock import Random
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError, RouterClosed
from failsafe.events import (
    Alert,
    AttemptFinished,
    CircuitState,
    Event,
    NetworkChanged,
    ProbeFinished,
    StatusChanged,
    WatchChanged,
)
from failsafe.faults import Fault
from failsafe.health import ProviderStatus
from failsafe.monitor import HealthMonitor
from failsafe.monitoring_config import AlertConfig, MonitorConfig, ProbeConfig, StoreConfig
from failsafe.policy_config import CircuitBreakerConfig, RateLimiterConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, FakeProvider
from failsafe.telemetry.views import TargetState
from failsafe.testing import (
    FakeClock,
    RecordedEvents,
    ScriptedProvider,
    answer,
    failing,
    refusal,
    scripted_router,
    taking,
)
from failsafe.workers import Handle

QUIET = AlertConfig(log=False)
STEADY = MonitorConfig(jitter=0.0)
NO_RETRIES = RetryConfig(max_retries=0)
CAP = 10.0
MEANT = pytest.mark.usefixtures("expect_logs")


class Inline:
    """Stands in for workers: what is given to it runs at once, in the thread of the test."""

    def start(self, job: Callable[[], object]) -> object:
        job()
        return self

    def later(self, _delay: float, job: Callable[[], object]) -> None:
        job()

    def close(self, _timeout: float) -> bool:
        return True


class Busy(Inline):
    """Workers that are all busy."""

    def start(self, _job: Callable[[], object]) -> None:
        return None


class Agenda:
    """Stands in for the scheduler's thread: keeps what is planned."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.planned: list[tuple[float, Handle]] = []

    def later(self, delay: float, job: Callable[[], object]) -> Handle:
        handle = Handle(None, job)  # type: ignore[arg-type] # no pool counts what is cancelled
        self.planned.append((self.clock.monotonic() + delay, handle))
        return _Entry(handle)  # type: ignore[return-value]

    def close(self, _timeout: float) -> bool:
        self.planned.clear()
        return True


class _Entry:
    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @property
    def pending(self) -> bool:
        return self._handle.pending

    def cancel(self) -> None:
        self._handle.drop()


class Bench:
    """A monitor whose time is a fake clock's, and whose work is done by :meth:`run`."""

    def __init__(self, *providers: ScriptedProvider, config: MonitorConfig = STEADY, **settings: Any) -> None:
        self.clock = settings.pop("clock", None) or FakeClock()
        self.router = scripted_router(*providers, clock=self.clock, alerts=QUIET, retry=NO_RETRIES, **settings)
        self.events = RecordedEvents()
        self.router.on_event(self.events, sync=True)
        self.monitor = HealthMonitor(self.router, config, random=Random(7))
        self.agenda = Agenda(self.clock)
        self.monitor._schedule = self.agenda  # type: ignore[assignment]
        self.monitor._probes = Inline()  # type: ignore[assignment]

    def __enter__(self) -> Self:
        self.monitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.stop()
        self.router.close()

    def run(self, seconds: float = 0.0) -> None:
        """Let so much time pass, and do what is due in it."""
        end = self.clock.monotonic() + seconds
        while (entry := self._next(end)) is not None:
            self.clock.advance(max(0.0, entry[0] - self.clock.monotonic()))
            job = entry[1].claim()
            assert job is not None
            job()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))

    def _next(self, end: float) -> tuple[float, Handle] | None:
        self.agenda.planned = [entry for entry in self.agenda.planned if entry[1].pending]
        due = [entry for entry in self.agenda.planned if entry[0] <= end]
        return min(due, key=lambda entry: entry[0], default=None)

    def times(self, name: str) -> list[float]:
        """When *name* was probed, seconds since the begin."""
        return [event.at - 1_800_000_000.0 for event in self.events.of(ProbeFinished) if event.provider == name]

    def status(self, name: str = "own") -> ProviderStatus:
        """How *name* is doing."""
        return self.monitor.status()[name]


def own(*outcomes: Any, name: str = "own", **settings: Any) -> ScriptedProvider:
    """A provider that has a list of models; each at a host of its own."""
    return ScriptedProvider(
        name, *outcomes, **{"models": ["gpt-4.1"], "base_url": f"https://{name}.invalid/v1", **settings}
    )


def test_every_provider_is_probed_at_once_and_then_at_its_interval() -> None:
    slow = own(name="slow", probe=ProbeConfig(interval=100))
    with Bench(own(), slow) as bench:
        bench.run(200)
        assert bench.times("own") == [0, 30, 60, 90, 120, 150, 180]
        assert bench.times("slow") == [0, 100, 200]
        assert bench.monitor.status() == {"own": ProviderStatus.HEALTHY, "slow": ProviderStatus.HEALTHY}


def test_intervals_are_jittered_by_the_chance_that_is_given() -> None:
    with Bench(own(), config=MonitorConfig(jitter=0.5)) as bench:
        bench.run(1000)
        times = bench.times("own")
    gaps = {later - earlier for earlier, later in pairwise(times)}
    assert all(15 <= gap <= 45 for gap in gaps)
    assert len({round(gap) for gap in gaps}) > 5


def test_a_provider_whose_probe_is_off_is_judged_by_calls_alone() -> None:
    with Bench(own(probe=ProbeConfig(kind="off"))) as bench:
        bench.run(60)
        assert (bench.times("own"), bench.status()) == ([], ProviderStatus.UNKNOWN)
        bench.router.chat("hi", model="gpt-4.1")
        assert bench.status() is ProviderStatus.HEALTHY
        with pytest.raises(ConfigError, match="it is not probed"):
            bench.monitor.check("own")
        assert bench.monitor.check_all() == {}


def test_calls_make_probes_needless_unless_they_say_nothing() -> None:
    provider = own()
    with Bench(provider) as bench:
        bench.run(25)
        bench.router.chat("hi", model="gpt-4.1")
        bench.run(30)
        assert bench.times("own") == [0]
        bench.run(30)
        assert bench.times("own") == [0, 60]
    with Bench(own(), config=MonitorConfig(jitter=0, skip_busy=False)) as eager:
        eager.run(25)
        eager.router.chat("hi", model="gpt-4.1")
        eager.run(30)
        assert eager.times("own") == [0, 30]


@MEANT
def test_a_rejected_key_of_a_call_does_not_make_a_probe_needless() -> None:
    with Bench(own(answer(), refusal(401), answer()), fallback="nobody") as bench:
        bench.run(25)
        bench.router.chat("hi", model="gpt-4.1")
        bench.run(10)
        assert bench.times("own") == [0, 30]


def test_enough_failures_in_a_row_make_it_down_and_an_answer_brings_it_back() -> None:
    provider = own(answer(), *[failing(Fault.SERVER, status=500)] * 3, answer())
    with Bench(provider) as bench:
        seen = []
        for _ in range(5):
            bench.run(1)
            seen.append(str(bench.status()))
            bench.run(29)
    assert seen == ["healthy", "degraded", "degraded", "down", "healthy"]
    changes = [(event.old, event.new) for event in bench.events.of(StatusChanged)]
    assert changes == [
        ("unknown", "healthy"), ("healthy", "degraded"), ("degraded", "down"), ("down", "healthy"),
    ]  # fmt: skip
    assert "3 failures without an answer between" in bench.events.of(StatusChanged)[2].reason


@MEANT
def test_failures_of_calls_count_as_those_of_probes_do() -> None:
    provider = own(answer(), failing(Fault.SERVER, status=500))
    with Bench(provider, fallback="nobody") as bench:
        bench.run(1)
        for _ in range(3):
            bench.router.chat("hi", model="gpt-4.1")
        assert bench.status() is ProviderStatus.DOWN
        assert len(bench.events.of(AttemptFinished)) == 3


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_misconfigured_provider_is_unknown_with_the_reason_and_never_down(status: int) -> None:
    with Bench(ScriptedProvider("openai", refusal(status))) as bench:
        bench.run(300)
        health = bench.monitor.describe("openai")
        assert health.status is ProviderStatus.UNKNOWN
        assert f"HTTP {status}" in health.reasons[0]
        assert bench.monitor.get_uptime_percentage("openai") is None


def test_a_slow_provider_is_degraded() -> None:
    clock = FakeClock()
    provider = own(taking(clock, 1.5, answer()), probe=ProbeConfig(latency_limit_ms=1000))
    with Bench(provider, clock=clock) as bench:
        bench.run(330)
        health = bench.monitor.describe("own")
        assert health.status is ProviderStatus.DEGRADED
        assert "more than 1500 ms (the limit is 1000 ms)" in health.reasons[0]
        assert {span.state for span in bench.monitor.history("own", 200)} == {TargetState.DEGRADED}
        assert bench.monitor.get_uptime_percentage("own", 200) == 100.0


def test_nothing_is_known_once_nothing_was_seen_for_long() -> None:
    with Bench(own()) as bench:
        bench.run(1)
        bench.monitor.stop()
        bench.clock.advance(74)
        assert bench.status() is ProviderStatus.HEALTHY
        bench.clock.advance(2)
        assert bench.status() is ProviderStatus.UNKNOWN


# Breakers.


@MEANT
def test_a_breaker_recovers_by_completions_alone_without_a_call() -> None:
    breaker = CircuitBreakerConfig(failure_threshold=1, success_threshold=3, timeout=60)
    provider = own(failing(Fault.SERVER, status=500), answer(), probe=ProbeConfig(kind="completion"))
    with Bench(provider, breaker=breaker, fallback="nobody") as bench:
        bench.monitor.pause("own")
        bench.router.chat("hi", model="gpt-4.1")
        bench.monitor.resume("own")
        bench.run(59)
        assert bench.router.breakers.get("own").state is CircuitState.OPEN
        assert (bench.status(), bench.times("own")) == (ProviderStatus.DOWN, [])
        bench.run(2)
        assert bench.status() is ProviderStatus.DEGRADED
        bench.run(60)
        assert bench.router.breakers.get("own").state is CircuitState.CLOSED
        assert bench.status() is ProviderStatus.HEALTHY
        assert [probe.permit for probe in bench.events.of(ProbeFinished)] == [True, True, True]
        assert bench.times("own") == [60, 90, 120]
        assert len(bench.events.of(AttemptFinished)) == 1


@MEANT
def test_an_open_breaker_is_probed_before_its_time_if_that_is_wanted() -> None:
    config = MonitorConfig(jitter=0, probe_open=True)
    provider = own(probe=ProbeConfig(kind="completion"))
    with Bench(provider, config=config) as bench:
        bench.router.breakers.get("own").force_open()
        bench.run(31)
        assert [probe.permit for probe in bench.events.of(ProbeFinished)] == [False, False]
        assert bench.router.breakers.get("own").state is CircuitState.FORCED_OPEN


@MEANT
def test_an_open_breaker_is_down_whatever_a_list_of_models_says() -> None:
    with Bench(own()) as bench:
        bench.run(1)
        bench.router.breakers.get("own").trip("because")
        bench.run(1)
        assert bench.status() is ProviderStatus.DOWN
        assert bench.monitor.describe("own").reasons[0] == "its circuit breaker is open (because)"
        assert bench.events.of(StatusChanged)[-1].new == "down"
        bench.run(60)
        assert bench.times("own")[-1] == 60


# Time.


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_night_of_sleep_or_a_clock_that_was_set_leaves_a_gap_and_no_burst(step: float) -> None:
    with Bench(own(), own(name="other")) as bench:
        bench.run(100)
        probed = len(bench.events.of(ProbeFinished))
        bench.clock._wall_offset += step
        bench.run(0.5 if bench.agenda.planned[0][0] - bench.clock.monotonic() < 0.5 else 5.0)
        bench.run(6)
        assert len(bench.events.of(ProbeFinished)) == probed + 2
        if step > 0:
            states = [span.state for span in bench.monitor.history("own", 3600 + 100)]
            assert TargetState.UNKNOWN in states
            assert bench.monitor.get_uptime_percentage("own", 3700) == 100.0


def test_after_a_gap_nothing_is_known_until_it_is_seen_again() -> None:
    with Bench(own()) as bench:
        bench.run(1)
        bench.clock._wall_offset += 8 * 3600
        bench.monitor._notice_gap(bench.clock.monotonic())
        assert bench.status() is ProviderStatus.UNKNOWN


def test_a_probe_that_found_no_worker_is_made_when_one_is_free() -> None:
    with Bench(own()) as bench:
        bench.monitor._probes = Busy()  # type: ignore[assignment]
        bench.run(12)
        assert bench.times("own") == []
        bench.monitor._probes = Inline()  # type: ignore[assignment]
        bench.run(5)
        assert len(bench.times("own")) == 1


# The network.


@MEANT
def test_when_nobody_can_be_reached_it_is_this_machines_network() -> None:
    gone = failing(Fault.NETWORK, "no route")
    first, second = (
        own(answer(), *[gone] * 4, answer(), name="first"),
        own(answer(), *[gone] * 4, answer(), name="second"),
    )
    with Bench(first, second) as bench:
        bench.run(1)
        bench.run(30)
        assert bench.monitor.status() == {"first": ProviderStatus.UNKNOWN, "second": ProviderStatus.UNKNOWN}
        assert "network is down" in bench.monitor.describe("first").reasons[0]
        failures = [probe for probe in bench.events.of(ProbeFinished) if probe.fault is not None]
        assert [probe.blamed for probe in failures] == [False, False]
        (down,) = bench.events.of(NetworkChanged)
        assert not down.up
        bench.run(95)
        assert [event.up for event in bench.events.of(NetworkChanged)] == [False, True]
        assert set(bench.monitor.status().values()) == {ProviderStatus.HEALTHY}
        assert bench.monitor.get_uptime_percentage("first", 120) == 100.0


def test_one_provider_that_cannot_be_reached_is_to_blame() -> None:
    gone = failing(Fault.NETWORK, "no route")
    with Bench(own(gone, name="first"), own(name="second")) as bench:
        bench.run(61)
        assert bench.events.of(NetworkChanged) == []
        assert bench.monitor.status() == {"first": ProviderStatus.DOWN, "second": ProviderStatus.HEALTHY}


def test_with_one_host_alone_nobody_can_tell_and_the_provider_is_to_blame() -> None:
    with Bench(own(failing(Fault.NETWORK))) as bench:
        bench.run(61)
        assert bench.status() is ProviderStatus.DOWN


@MEANT
def test_a_server_on_this_machine_needs_no_network_and_proves_none() -> None:
    local = own(name="local", base_url="http://127.0.0.1:9/v1")
    gone = failing(Fault.CONNECT_TIMEOUT)
    with Bench(local, own(gone, name="first", connect_timeout=1), own(gone, name="second", connect_timeout=1)) as bench:
        bench.run(1)
        status = bench.monitor.status()
    assert status["local"] is ProviderStatus.HEALTHY
    assert status["first"] is status["second"] is ProviderStatus.UNKNOWN


@MEANT
def test_an_address_that_takes_a_connection_proves_the_network() -> None:
    gone = failing(Fault.NETWORK)
    with FakeProvider("openai") as there:
        config = MonitorConfig(jitter=0, network_check=[f"127.0.0.1:{there.port}"])
        with Bench(own(gone, name="first"), own(gone, name="second"), config=config) as bench:
            bench.run(61)
            assert set(bench.monitor.status().values()) == {ProviderStatus.DOWN}
        there.stop()
        with Bench(own(gone, name="first"), config=config) as bench:
            bench.run(61)
            assert set(bench.monitor.status().values()) == {ProviderStatus.UNKNOWN}


# Pauses.


def test_a_paused_provider_is_not_probed_and_the_time_does_not_count() -> None:
    provider = own(failing(Fault.SERVER, status=500))
    with Bench(provider) as bench:
        bench.monitor.pause("own", "key sk-proj-0123456789abcdef0123456789 is new")
        bench.run(100)
        assert (bench.status(), bench.times("own")) == (ProviderStatus.UNKNOWN, [])
        assert {span.state for span in bench.monitor.history("own", 100)} == {TargetState.PAUSED}
        assert bench.monitor.check("own").fault is Fault.SERVER
        assert bench.monitor.check_all() == {}
        bench.monitor.resume("own")
        bench.run(1)
        assert len(bench.times("own")) == 2
    changes = bench.events.of(WatchChanged)
    assert [event.state for event in changes] == ["paused", "watched"]
    assert "sk-proj" not in changes[0].note


def test_maintenance_ends_by_itself() -> None:
    with Bench(own()) as bench:
        bench.run(1)
        bench.monitor.maintenance("own", "moving", seconds=100)
        bench.run(99)
        assert bench.monitor.describe("own").reasons[0] == "it is in maintenance (moving)"
        bench.run(10)
        assert bench.status() is ProviderStatus.HEALTHY
        assert [event.state for event in bench.events.of(WatchChanged)] == ["maintenance", "watched"]
        bench.monitor.maintenance("own", until=bench.clock.time() + 5)
        bench.run(11)
        assert bench.status() is ProviderStatus.HEALTHY


def test_a_time_of_maintenance_that_makes_no_sense_is_refused() -> None:
    with Bench(own()) as bench:
        with pytest.raises(ConfigError, match="not both"):
            bench.monitor.maintenance("own", seconds=1, until=2)
        with pytest.raises(ConfigError, match="until"):
            bench.monitor.maintenance("own", until=1)
        with pytest.raises(ConfigError, match="seconds"):
            bench.monitor.maintenance("own", seconds=0)
        for method in (bench.monitor.pause, bench.monitor.resume, bench.monitor.describe, bench.monitor.check):
            with pytest.raises(ConfigError, match="one of own is needed"):
                method("other")


# Threads.


@contextmanager
def watched(*providers: FakeProvider, **settings: Any) -> Iterator[tuple[Router, HealthMonitor]]:
    """A monitor on real threads and sockets."""
    configs = [ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key) for each in providers]
    monitor = MonitorConfig(**{"interval": 600.0, "timeout": 5.0, **settings})
    with Router(RouterConfig(providers=configs, monitor=monitor, alerts=QUIET)) as router:
        yield router, HealthMonitor(router)


class Await:
    """A listener that lets a test wait for what it is about."""

    def __init__(self, wanted: Callable[[Event], bool]) -> None:
        self._wanted = wanted
        self._seen = threading.Event()

    def __call__(self, event: Event) -> None:
        if self._wanted(event):
            self._seen.set()

    def wait(self) -> None:
        assert self._seen.wait(CAP)


def test_it_probes_by_itself_and_tells_its_listeners() -> None:
    with FakeProvider("openai") as provider, watched(provider) as (_, monitor):
        healthy = Await(lambda event: isinstance(event, StatusChanged) and event.new == "healthy")
        monitor.on_status(healthy)
        with monitor:
            healthy.wait()
            assert monitor.running
            assert {thread.name.rpartition("-")[0] for thread in threading.enumerate()} >= {"failsafe-monitor"}
            assert monitor.status() == {"openai": ProviderStatus.HEALTHY}
        assert not monitor.running
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("failsafe-monitor")]


def test_a_provider_that_hangs_takes_one_worker_and_is_not_probed_twice_at_once() -> None:
    with FakeProvider("openai") as hanging, FakeProvider("anthropic") as sound:
        hanging.behave(BEHAVIOURS["hang"])
        with watched(hanging, sound, workers=2, timeout=30) as (_, monitor):
            answered = Await(lambda event: isinstance(event, StatusChanged) and event.provider == "anthropic")
            monitor.on_status(answered)
            with monitor:
                answered.wait()
                assert hanging.wait_for_requests(1)
                for each in monitor._providers.values():
                    each.due = 0.0
                for _ in range(3):
                    monitor._tick()
                assert monitor.check("anthropic").fault is None
                assert hanging.count() == 1


def test_stopping_gives_up_what_hangs() -> None:
    with FakeProvider("openai") as provider:
        provider.behave(BEHAVIOURS["hang"])
        with watched(provider, timeout=300) as (router, monitor):
            events = RecordedEvents()
            router.on_event(events, sync=True)
            monitor.start()
            assert provider.wait_for_requests(1)
            assert monitor.stop(CAP)
            assert monitor.stop()
            assert events.of(ProbeFinished) == []


def test_it_can_be_started_again() -> None:
    with FakeProvider("openai") as provider, watched(provider) as (_, monitor):
        for count in (1, 2):
            with monitor:
                assert provider.wait_for_requests(count)
            provider.behave(HEALTHY)


def test_checking_while_a_probe_is_under_way_waits_for_that() -> None:
    with FakeProvider("openai") as provider:
        provider.behave(BEHAVIOURS["hang"])
        with watched(provider, timeout=1.0) as (_, monitor), monitor:
            assert provider.wait_for_requests(1)
            assert monitor.check("openai").fault is Fault.TIMEOUT
            assert provider.count() == 1


def test_all_providers_are_checked_at_once() -> None:
    both = threading.Barrier(2, timeout=CAP)

    def meet(_: object) -> Any:
        both.wait()
        return answer()

    router = scripted_router(own(meet, name="first"), own(meet, name="second"), alerts=QUIET)
    with router:
        monitor = HealthMonitor(router)
        found = monitor.check_all()
        monitor.stop()
    assert {name: probed.fault for name, probed in found.items()} == {"first": None, "second": None}


def test_a_monitor_that_nobody_has_any_more_ends() -> None:
    with FakeProvider("openai") as provider, watched(provider) as (_, monitor):
        monitor.start()
        assert provider.wait_for_requests(1)
        gone = weakref.ref(monitor)
        ended = Await(lambda _: True)
        weakref.finalize(monitor, ended, Event(at=0.0))
        del monitor
        for _ in range(100):
            gc.collect()
            if gone() is None:
                break
            threading.Event().wait(0.05)
        ended.wait()


def test_a_closed_router_ends_its_monitor() -> None:
    with FakeProvider("openai") as provider, watched(provider) as (router, monitor):
        monitor.start()
        assert provider.wait_for_requests(1)
        router.close()
        visit = monitor._providers["openai"].visit
        assert visit is None or visit.done.wait(CAP)
        monitor._see_to(monitor._providers["openai"])
        assert not monitor.running
        with pytest.raises(RouterClosed):
            monitor.check("openai")
        with pytest.raises(RouterClosed):
            HealthMonitor(router).start()
        monitor.stop()


def test_an_interrupted_check_leaves_nothing_behind() -> None:
    def interrupt(_: object) -> Any:
        raise KeyboardInterrupt

    with Bench(own(interrupt, answer())) as bench:
        with pytest.raises(KeyboardInterrupt):
            bench.monitor.check("own")
        assert bench.monitor.check("own").fault is None
        assert bench.status() is ProviderStatus.HEALTHY


def test_a_check_that_is_interrupted_as_it_begins_holds_up_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The visit stayed open, and every later check waited for its end."""
    with Bench(own(answer(), answer())) as bench:
        begin = bench.monitor._begin_visit

        def interrupted(*args: Any) -> Any:
            begin(*args)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(bench.monitor, "_begin_visit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bench.monitor.check("own")
        assert bench.monitor.check("own").fault is None


def test_a_provider_that_cannot_be_probed_as_configured_is_refused_at_once() -> None:
    provider = ScriptedProvider("own", probe=ProbeConfig(kind="completion"))
    with scripted_router(provider) as router, pytest.raises(ConfigError, match=r"own\.probe\.model"):
        HealthMonitor(router)


def test_a_status_that_changes_is_told_to_those_who_are_to_be_told() -> None:
    alerts: list[Alert] = []
    told = threading.Event()

    def tell(alert: Alert) -> None:
        alerts.append(alert)
        told.set()

    with Bench(own(failing(Fault.SERVER, status=500))) as bench:
        forget = bench.monitor.on_alert(tell)
        bench.run(100)
        assert bench.status() is ProviderStatus.DOWN
        for _ in range(100):
            bench.clock.advance(20)
            bench.monitor.alerts.tick()
            if told.wait(0.05):
                break
        forget()
        forget()
    assert [alert.rule for alert in alerts] == ["down"]


def test_listeners_of_alerts_are_kept_when_it_is_started_again() -> None:
    with scripted_router(own(), alerts=QUIET) as router:
        monitor = HealthMonitor(router)
        monitor.on_alert(lambda _: None)
        first = monitor.alerts
        monitor.start()
        monitor.start()
        monitor.stop()
        monitor.start()
        assert monitor.alerts is not first
        assert monitor.stop()


def test_an_error_budget_is_looked_at_once_a_minute(tmp_path: Path) -> None:
    provider = own(probe=ProbeConfig(sla=99.0))
    with Bench(provider, own(name="other"), store=StoreConfig(path=str(tmp_path / "store.db"))) as bench:
        bench.run(1)
        assert bench.router.store is not None
        assert bench.router.store.flush()
        considered: list[tuple[str, float]] = []
        bench.monitor.alerts.consider_budget = (  # type: ignore[method-assign]
            lambda provider, budget, *_, **__: considered.append((provider, budget.sla))
        )
        bench.run(125)
    assert considered == [("own", 99.0)] * 2


def test_a_defect_in_one_look_does_not_end_the_watching() -> None:
    with Bench(own()) as bench:
        bench.run(1)
        bench.monitor._notice_gap = lambda _: 1 / 0  # type: ignore[method-assign, assignment]
        with pytest.raises(ZeroDivisionError):
            bench.run(10)
        del bench.monitor._notice_gap
        bench.run(60)
        assert bench.times("own") == [0, 30, 60]


@MEANT
def test_a_completion_that_may_not_be_asked_now_waits_for_the_next_time() -> None:
    limits = RateLimiterConfig(requests_per_minute=1)
    with Bench(own(probe=ProbeConfig(kind="completion")), rate_limiter=limits) as bench:
        bench.run(31)
        assert bench.times("own") == [0]
        assert bench.monitor.check_all() == {}
        bench.run(60)
        assert len(bench.times("own")) == 2


@MEANT
def test_calls_that_fail_without_a_network_are_held_against_nobody() -> None:
    gone = failing(Fault.NETWORK, "no route")
    with Bench(own(gone, name="first"), own(gone, name="second"), fallback="nobody") as bench:
        bench.run(1)
        for _ in range(5):
            bench.router.chat("hi", model="gpt-4.1")
        bench.router.reset()
        assert set(bench.monitor.status().values()) == {ProviderStatus.UNKNOWN}
        assert bench.monitor._providers["first"].sightings.lately(bench.clock.monotonic()).failed == 0


def test_uptime_is_reckoned_without_a_store() -> None:
    provider = own(*[answer()] * 10, *[failing(Fault.SERVER, status=500)] * 5, answer())
    with Bench(provider) as bench:
        bench.run(600)
        assert bench.monitor.get_uptime_percentage("own", 600) == 75.0
        states = [str(span.state) for span in bench.monitor.history("own", 600)]
        assert states == ["up", "down", "up"]


def test_its_own_settings_say_how_often_it_probes_and_how_its_store_reckons_uptime(tmp_path: Path) -> None:
    provider = own(*[answer()] * 10, failing(Fault.SERVER, status=500))
    seldom = MonitorConfig(interval=300.0, timeout=3.0, jitter=0.0, confirm=1)
    with Bench(provider, config=seldom, store=StoreConfig(path=str(tmp_path / "store.db"))) as bench:
        bench.run(3300)
        assert 10 <= provider.asked <= 12
        assert provider.requests[0].limits.deadline.timeout == 3.0
        states = [str(span.state) for span in bench.monitor.history("own", 2000)]
        assert states == ["up", "down"]


def test_it_shows_how_all_are() -> None:
    with Bench(own()) as bench:
        bench.run(1)
        assert repr(bench.monitor) == "<HealthMonitor [own healthy] watching>"
