"""Alerts as a whole: from events to whoever is told, without delaying anybody."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from failsafe import AlertConfig, Alerts, CircuitBreakerConfig, Fault, RetryConfig, SpendConfig
from failsafe.alerts.grouping import Group
from failsafe.errors import ConfigError, FailsafeError
from failsafe.events import (
    Alert,
    CircuitState,
    Event,
    NetworkChanged,
    PutOff,
    StateChanged,
    StatusChanged,
    WatchChanged,
)
from failsafe.secret import Secret
from failsafe.telemetry.views import ErrorBudget
from failsafe.testing import FakeClock, ScriptedProvider, answer, failing, scripted_router
from tests.alerts.alarms import NOON
from tests.transport.raw_server import Peer, RawServer
from tests.transport.raw_server import answer as raw_answer

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 20.0


class Recorded:
    """A sink that keeps what it is given, and may take its time or fail."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        self.groups: list[Group] = []
        self.names: list[str] = []
        self.stopped = threading.Event()
        self.dropped = 0
        self._during = during

    def deliver(self, group: Group, name: str) -> None:
        self.groups.append(group)
        self.names.append(name)
        self._during()

    def stop(self) -> None:
        self.stopped.set()

    @property
    def titles(self) -> list[list[str]]:
        return [[alert.title for alert in group.alerts] for group in self.groups]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOON)


Make = Callable[..., Alerts]


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Make]:
    """Makes alerts on the fake clock, and closes them; *sinks* and *zone* as for :class:`failsafe.Alerts`."""
    with ExitStack() as stack:

        def alerts(
            *, sinks: Any = (), zone: Any = None, emit: Any = None, secrets: Any = (), **settings: Any
        ) -> Alerts:
            made = Alerts(
                AlertConfig(**settings),
                clock=clock,
                sinks=sinks,
                zone=zone or ZoneInfo("UTC"),
                emit=emit,
                secrets=secrets,
            )
            stack.callback(made.close, LONGEST)
            return made

        yield alerts


def down(provider: str = "openai", at: float = NOON) -> StatusChanged:
    return StatusChanged(at=at, provider=provider, old="healthy", new="down", reason="3 failures in a row")


def up(provider: str = "openai", at: float = NOON) -> StatusChanged:
    return StatusChanged(at=at, provider=provider, old="down", new="healthy", reason="it answers")


def opened(name: str = "openai") -> StateChanged:
    return StateChanged(
        at=NOON, name=name, old=CircuitState.CLOSED, new=CircuitState.OPEN, reason="5 failures in a row"
    )


def passes(alerts: Alerts, clock: FakeClock, seconds: float) -> None:
    """Let *seconds* pass, and what is due then be sent."""
    clock.advance(seconds)
    alerts.tick()
    assert alerts.flush(LONGEST)


def test_what_happens_is_gathered_and_sent_to_every_sink_under_one_name(make: Make, clock: FakeClock) -> None:
    one, other = Recorded(), Recorded()
    alerts = make(sinks=[one, other])
    alerts.consider(down())
    alerts.consider(opened())
    assert alerts.flush(LONGEST)
    assert one.groups == []
    passes(alerts, clock, 10)
    assert one.titles == other.titles == [["openai went down", "openai: breaker opened"]]
    assert one.names == other.names
    assert alerts.sent == 1
    assert repr(alerts) == "<Alerts 1 groups sent, 0 dropped>"


def test_each_group_has_a_name_of_its_own(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    for provider in ("a", "b"):
        alerts.consider(down(provider))
        passes(alerts, clock, 10)
    assert len(set(sink.names)) == 2


def test_the_log_has_each_alert_at_the_level_of_its_severity(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "failsafe.alerts")
    with Alerts(AlertConfig(max_per_hour=3), clock=clock) as alerts:
        alerts.consider(down())
        passes(alerts, clock, 10)
        alerts.consider(opened())
        passes(alerts, clock, 10)
        alerts.consider(up())
        passes(alerts, clock, 10)
        alerts.consider(down())
        passes(alerts, clock, 10)
        passes(alerts, clock, 3600)
    levels = [(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records]
    assert levels == [
        ("CRITICAL", "openai went down"),
        ("WARNING", "openai"),
        ("INFO", "openai is up again"),
        ("CRITICAL", "openai went down"),
        ("WARNING", "1 alerts came while no more groups could be sent in the hour"),
    ]


def test_listeners_are_called_with_each_alert_that_is_sent(make: Make, clock: FakeClock) -> None:
    alerts = make()
    heard: list[Alert] = []
    end = alerts.on_alert(heard.append)
    alerts.consider(down())
    alerts.consider(opened())
    passes(alerts, clock, 10)
    assert [alert.rule for alert in heard] == ["down", "breaker_open"]
    end()
    alerts.consider(down("groq"))
    passes(alerts, clock, 10)
    assert len(heard) == 2


def test_a_listener_that_fails_or_hangs_keeps_nothing_from_the_others(
    make: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    sink, go = Recorded(), threading.Event()
    alerts = make(sinks=[sink])

    def fail(alert: Alert) -> None:
        go.wait(LONGEST)
        raise LookupError(alert.title)

    alerts.on_alert(fail)
    alerts.consider(down())
    clock.advance(10)
    alerts.tick()
    assert not alerts.flush(0.05)
    assert sink.titles == [["openai went down"]]
    go.set()
    assert alerts.flush(LONGEST)
    assert "a listener failed on Alert" in caplog.text


def test_every_change_is_recorded_at_once_and_once_whoever_is_told(make: Make, clock: FakeClock) -> None:
    recorded: list[Event] = []
    alerts = make(emit=recorded.append, mute=["openai"], quiet="11:00-13:00", on=["down", "recovered", "breaker_open"])
    for event in (down(), down(), opened("groq"), up(), up()):
        alerts.consider(event)
    assert [(alert.rule, alert.resolves) for alert in recorded if isinstance(alert, Alert)] == [
        ("down", False),
        ("breaker_open", False),
        ("recovered", True),
    ]
    passes(alerts, clock, 10)
    assert len(recorded) == 3
    assert alerts.sent == 0


def test_a_recorder_that_fails_keeps_nobody_from_being_told(
    make: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise LookupError

    sink = Recorded()
    alerts = make(sinks=[sink], emit=fail)
    alerts.consider(down())
    passes(alerts, clock, 10)
    assert len(sink.groups) == 1
    assert "an alert could not be recorded" in caplog.text


def test_a_sink_that_fails_keeps_nothing_from_the_next(
    make: Make, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise LookupError

    sink = Recorded()
    alerts = make(sinks=[Recorded(fail), sink])
    alerts.consider(down())
    passes(alerts, clock, 10)
    assert len(sink.groups) == 1
    assert "alerts could not be delivered" in caplog.text


def test_a_sink_that_hangs_delays_nobody_who_reports(make: Make, clock: FakeClock) -> None:
    entered, go = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        go.wait(LONGEST)

    sink = Recorded(hang)
    alerts = make(sinks=[sink], group=0)
    alerts.consider(down())
    assert entered.wait(LONGEST)
    for number in range(5000):  # returns, though nothing is delivered
        alerts.consider(down(f"p{number}"))
    alerts.mute("p1")
    alerts.tick()
    assert not alerts.flush(0.01)
    assert len(sink.groups) == 1
    go.set()
    passes(alerts, clock, 0)
    assert sum(len(group.alerts) for group in sink.groups) + sum(group.withheld for group in sink.groups) == 5000


def test_muting_and_unmuting(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink], mute=["listed"])
    alerts.mute("openai")
    alerts.mute("groq", 60)
    for provider in ("openai", "groq", "listed", "other"):
        alerts.consider(down(provider))
    passes(alerts, clock, 10)
    assert sink.titles == [["other went down"]]
    passes(alerts, clock, 50)
    assert sink.titles[1:] == [["groq went down"]]
    alerts.unmute("openai")
    alerts.unmute("listed")
    assert alerts.flush(LONGEST)
    assert sink.titles[2:] == [["openai went down", "listed went down"]]


def test_nothing_is_told_of_a_provider_in_maintenance(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    alerts.consider(WatchChanged(at=NOON, provider="openai", state="maintenance"))
    alerts.consider(opened())
    passes(alerts, clock, 3600)
    assert sink.groups == []
    alerts.consider(WatchChanged(at=NOON, provider="openai", state="watched"))
    assert alerts.flush(LONGEST)
    assert sink.titles == [["openai: breaker opened"]]


def test_alerts_wait_for_this_machine_s_network(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    alerts.consider(NetworkChanged(at=NOON, up=False))
    alerts.consider(down())
    alerts.consider(opened("groq"))
    passes(alerts, clock, 300)
    alerts.consider(up())
    assert sink.groups == []
    alerts.consider(NetworkChanged(at=NOON, up=True))
    assert alerts.flush(LONGEST)
    assert sink.titles == [["openai went down, and it is over", "groq: breaker opened"]]


def test_alerts_wait_no_longer_than_ten_minutes_for_a_network(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    alerts.consider(NetworkChanged(at=NOON, up=False))
    alerts.consider(down())
    passes(alerts, clock, 599)
    assert sink.groups == []
    passes(alerts, clock, 1)
    assert len(sink.groups) == 1


@pytest.mark.parametrize(
    "event",
    [
        WatchChanged(at=NOON, provider="openai", state="paused"),
        StatusChanged(at=NOON, provider="openai", old="down", new="unknown", reason="not observed"),
    ],
)
def test_nobody_is_reminded_that_a_provider_is_down_that_nobody_looks_at(
    make: Make, clock: FakeClock, event: Event
) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink], repeat=3600)
    alerts.consider(down())
    passes(alerts, clock, 10)
    alerts.consider(event)
    passes(alerts, clock, 7200)
    assert len(sink.groups) == 1
    alerts.consider(up())
    passes(alerts, clock, 10)
    assert sink.titles[1:] == [["openai is up again"]]


def test_budgets_and_spending(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    burning = ErrorBudget(sla=99.9, allowed=2592.0, used=60.0, left=2532.0, burn_rate=20.0)
    calm = ErrorBudget(sla=99.9, allowed=2592.0, used=60.0, left=2532.0, burn_rate=1.0)
    unknown = ErrorBudget(sla=99.9, allowed=2592.0, used=60.0, left=2532.0)
    caps = SpendConfig(per_day=10)
    alerts.consider_budget("openai", burning)
    alerts.consider_budget("openai", unknown, NOON)
    alerts.consider_spend("", caps, day=Decimal(9), month=9, now=NOON)
    passes(alerts, clock, 10)
    alerts.consider_budget("openai", calm, NOON + 60)
    alerts.consider_spend("", caps, day=0, month=9)
    passes(alerts, clock, 10)
    assert sink.titles == [
        ["openai: error budget runs out 20 times too fast", "all providers: 90 % of the cap of the day is spent"],
        [
            "openai: its error budget no longer runs out fast",
            "all providers: spending of the day is below 80 % of its cap",
        ],
    ]


def test_what_is_not_urgent_waits_for_the_morning_as_the_wall_s_clock_says(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink], quiet="11:00-13:00")
    alerts.consider(opened())
    passes(alerts, clock, 10)
    assert sink.groups == []
    alerts.tick(NOON + 3600)
    assert alerts.flush(LONGEST)
    assert len(sink.groups) == 1


def test_by_the_real_clock_nobody_needs_to_tick() -> None:
    told = threading.Event()
    with Alerts(AlertConfig(group=0.05), sinks=[Recorded(told.set)]) as alerts:
        alerts.consider(down())
        assert told.wait(LONGEST)


def test_the_settings_say_where_it_goes(
    clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    code = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + os.environ.get('HOOK', ''))"
    with RawServer(raw_answer()) as server:
        monkeypatch.setenv("HOOK", server.url + "/hook")
        config = AlertConfig(
            webhook="env:HOOK", webhook_format="slack", command=[sys.executable, "-c", code, str(out)], log=False
        )
        with Alerts(config, clock=clock) as alerts:
            alerts.consider(down())
            passes(alerts, clock, 10)
        posted = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert posted["attachments"][0]["title"] == "openai went down"
    assert json.loads(out.read_text())["alerts"][0]["rule"] == "down"  # and not the address of the webhook
    assert caplog.records == []


def test_no_configured_key_is_told_to_anybody(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink], secrets=[Secret("a-configured-key")])
    alerts.consider(
        PutOff(
            at=NOON, provider="openai", key="1a2b3c4d", model=None, fault=Fault.AUTH, seconds=60.0,
            message="incorrect key a-configured-key", alert=True, advice="replace the key",
        )
    )  # fmt: skip
    passes(alerts, clock, 10)
    assert "a-configured" not in repr(sink.groups)
    assert "[masked]" in sink.groups[0].alerts[0].message


def test_a_router_is_watched(make: Make, clock: FakeClock, expect_logs: Any) -> None:
    openai = ScriptedProvider("openai", failing(Fault.AUTH, "invalid key"), answer())
    sink = Recorded()
    alerts = make(sinks=[sink])
    with scripted_router(openai, clock=clock, retry=RetryConfig(max_retries=0)) as router:
        alerts.watch(router)
        with pytest.raises(FailsafeError):
            router.chat("hi", model="gpt-4.1")
        clock.advance(70)
        assert router.chat("hi", model="gpt-4.1").content == "hello"
    assert alerts.close(LONGEST)  # the router has delivered its events as it closed
    ((title,),) = sink.titles
    assert title.startswith("openai: key ")
    assert title.endswith(" was rejected, and it is over")


def test_a_router_is_watched_until_that_is_ended(make: Make, clock: FakeClock, expect_logs: Any) -> None:
    sink = Recorded()
    alerts, other = make(sinks=[sink]), make(sinks=[sink])
    with scripted_router(ScriptedProvider("openai", failing(Fault.AUTH)), clock=clock) as router:
        alerts.watch(router)()
        other.watch(router)
        other.close()
        assert not router._reporter.bus.active
        with pytest.raises(FailsafeError):
            router.chat("hi", model="gpt-4.1")
    alerts.close(LONGEST)
    assert sink.groups == []


def test_a_breaker_of_a_router_is_told_with_what_to_do(make: Make, clock: FakeClock, expect_logs: Any) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    openai = ScriptedProvider("openai", failing(Fault.SERVER, "500"))
    with scripted_router(
        openai, clock=clock, breaker=CircuitBreakerConfig(failure_threshold=2), retry=RetryConfig(max_retries=1)
    ) as router:
        alerts.watch(router)
        for _ in range(3):
            with pytest.raises(FailsafeError):
                router.chat("hi", model="gpt-4.1")
    alerts.close(LONGEST)
    (alert,) = sink.groups[0].alerts
    assert alert.title == "openai: breaker opened"
    assert "What to do: the provider failed; see its status page." in alert.message


def test_what_a_watched_router_spends_is_looked_at_now_and_then(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink])
    caps = SpendConfig(per_day=0.01, warn_at=0.001)
    with scripted_router(ScriptedProvider("openai"), clock=clock, spend=caps) as router:
        alerts.watch(router)
        router.chat("hi", model="gpt-4.1", max_tokens=5)
        clock.advance(60)
        router.chat("hi", model="gpt-4.1", max_tokens=5)
    assert alerts.close(LONGEST)
    ((title,),) = sink.titles
    assert title == "all providers: 0 % of the cap of the day is spent"


def test_closing_sends_what_is_still_gathered(make: Make) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink], group=3600)
    alerts.consider(down())
    assert alerts.close(LONGEST)
    assert sink.titles == [["openai went down"]]
    assert sink.stopped.is_set()
    assert alerts.close()
    alerts.consider(down("groq"))
    alerts.tick()
    assert alerts.flush(LONGEST)
    assert len(sink.groups) == 1


def test_closing_at_night_leaves_what_can_wait_to_the_log(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise AssertionError("sent at night")

    alerts = Alerts(AlertConfig(quiet="11:00-13:00"), clock=clock, zone=ZoneInfo("UTC"))
    alerts._sinks = (*alerts._sinks, Recorded(refuse))
    alerts.consider(opened())
    assert alerts.close(LONGEST)
    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        "openai: breaker opened: 5 failures in a row"
    ]


def test_closing_waits_no_longer_than_it_is_told_to(make: Make) -> None:
    sink = Recorded()
    sink._during = lambda: sink.stopped.wait(LONGEST)
    alerts = make(sinks=[sink], group=0)
    alerts.consider(down())
    assert not alerts.close(0.05)  # what hangs is stopped then
    assert sink.stopped.is_set()


def test_a_webhook_that_hangs_is_given_up_on_closing(expect_logs: Any) -> None:
    def hang(peer: Peer) -> None:
        peer.read_request()
        peer.hang()

    with RawServer(hang) as server:
        alerts = Alerts(AlertConfig(webhook=server.url, group=0, log=False))
        alerts.consider(down())
        assert server.asked.wait(LONGEST)
        assert not alerts.close(0.05)
        assert alerts.dropped == 1


def test_closing_from_a_sink_or_a_listener_does_not_wait_for_itself(make: Make, clock: FakeClock) -> None:
    closed: list[bool] = []
    done = threading.Event()

    def close(alerts: Alerts) -> None:
        closed.append(alerts.close(LONGEST))
        done.set()

    alerts = make(sinks=[Recorded(lambda: close(alerts))])
    listened = make()
    listened.on_alert(lambda _: close(listened))
    for each in (alerts, listened):
        done.clear()
        each.consider(down())
        clock.advance(10)
        each.tick()
        assert done.wait(LONGEST)
    assert closed == [False, True]


def test_what_is_forgotten_goes_away_with_what_waits(clock: FakeClock) -> None:
    alerts = Alerts(AlertConfig(), clock=clock, sinks=[Recorded()])
    alerts.consider(down())
    gone = weakref.ref(alerts)
    del alerts
    gc.collect()
    assert gone() is None


def test_nobody_has_a_thread_before_there_is_anything_to_tell(make: Make) -> None:
    before = threading.active_count()
    alerts = make(sinks=[Recorded()])
    alerts.consider(up())
    assert threading.active_count() == before
    alerts.close()
    assert threading.active_count() == before


def test_many_threads_may_report_at_once(make: Make, clock: FakeClock) -> None:
    sink = Recorded()
    alerts = make(sinks=[sink], max_per_hour=1000)
    start = threading.Barrier(8)

    def report(number: int) -> None:
        start.wait(LONGEST)
        for round_ in range(100):
            alerts.consider(down(f"p{number}-{round_}"))
            alerts.consider(opened(f"p{number}-{round_}"))

    threads = [threading.Thread(target=report, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    passes(alerts, clock, 10)
    told = sum(len(group.alerts) + group.withheld for group in sink.groups)
    assert told == 1600


def test_an_address_that_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="webhook"):
        Alerts(AlertConfig(webhook="https://[not-an-address"))


def test_an_address_that_was_copied_with_a_newline_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="control characters") as raised:
        AlertConfig(webhook="https://hooks.example/what-lets-one-write\n")
    assert "what-lets-one-write" not in str(raised.value)


def run(code: str) -> str:
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout + found.stderr


PROGRAM = """
import logging, os, sys, threading
from failsafe import AlertConfig, Alerts, StatusChanged
logging.basicConfig(format="%(message).20s", stream=sys.stdout)
def down(provider):
    return StatusChanged(at=0.0, provider=provider, old="healthy", new="down", reason="")
alerts = Alerts(AlertConfig(group=3600))
"""


def test_a_program_that_ends_without_closing_still_tells() -> None:
    assert run(PROGRAM + "alerts.consider(down('openai'))").splitlines() == ["openai went down: Wh"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_tells_what_it_finds_and_not_what_its_parent_knows() -> None:
    printed = run(
        PROGRAM
        + """
alerts.consider(down('parent'))
alerts._lock.acquire()
if os.fork() == 0:
    done = threading.Thread(target=lambda: (alerts.consider(down('child')), alerts.close()), daemon=True)
    done.start()
    done.join(20)
    sys.stdout.flush()
    os._exit(0)
os.wait()
alerts._lock.release()
alerts.close()
"""
    )
    assert [line[:10] for line in printed.splitlines()] == ["child went", "parent wen"]


def test_what_is_no_alert_starts_no_thread_and_leaves_no_trace(make: Make) -> None:
    alerts = make()
    before = threading.active_count()
    for number in range(100):
        alerts.consider(up(f"p{number}"))
        alerts.consider(WatchChanged(at=NOON, provider=f"p{number}", state="watched"))
    assert threading.active_count() == before
    assert not alerts._grouping._subjects
