"""Monitors of several programs: one of them probes, all of them know, and none holds up another that has died."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.events import NetworkChanged, ProbeFinished, WatchChanged
from failsafe.health import ProviderStatus
from failsafe.monitor import HealthMonitor
from failsafe.monitoring_config import AlertConfig, MonitorConfig, StoreConfig
from failsafe.router import Router
from failsafe.sim import FakeProvider
from failsafe.telemetry import leases
from failsafe.telemetry.store import Store, open_store
from failsafe.telemetry.views import TargetState
from failsafe.testing import FakeClock, RecordedEvents
from failsafe.turns import ALONE, LEASE, Place, give_back, is_offline, take
from tests.test_monitor import Bench, own

ROOT = Path(__file__).resolve().parents[1]
CAP = 15.0
PLACE = Place("own", "https://own.invalid/v1", 30.0)

PROGRAM = """
import sys
from failsafe import AlertConfig, HealthMonitor, MonitorConfig, ProviderConfig, Router, RouterConfig, StoreConfig

path, url, key = sys.argv[1:]
config = RouterConfig(
    providers=[ProviderConfig(name="openai", base_url=url, api_key=key)],
    store=StoreConfig(path=path), monitor=MonitorConfig(interval=600.0), alerts=AlertConfig(log=False),
)
router = Router(config)
monitor = HealthMonitor(router)
monitor.start()
print("started", flush=True)
for line in sys.stdin:
    command = line.strip()
    if command == "probe":
        each = monitor._providers["openai"]
        while (visit := each.visit) is not None:
            visit.done.wait(10)
        monitor._see_to(each)
        router.store.flush()  # what one sees, others know a quarter of a second later
        print(each.leased, monitor.status()["openai"], flush=True)
    elif command == "stop":
        monitor.stop()
        router.close()
        print("stopped", flush=True)
        break
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    found = open_store(StoreConfig(path=str(path)))
    assert found is not None
    yield found
    found.close()


class Program:
    """Another program with a monitor of the same provider."""

    def __init__(self, path: Path, provider: FakeProvider) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), provider.base_url, provider.key],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ,
        )  # fmt: skip
        assert self.says() == "started"

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def told(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.says()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(CAP)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def test_of_two_programs_one_probes_and_both_know(path: Path) -> None:
    with FakeProvider("openai") as provider, Program(path, provider) as first:
        assert provider.wait_for_requests(1, CAP)
        assert first.told("probe") == "True healthy"
        probed = provider.count()
        with Program(path, provider) as second:
            assert second.told("probe") == "False healthy"
            assert provider.count() == probed
            assert first.told("stop") == "stopped"
            assert second.told("probe") == "True healthy"
            assert provider.count() > probed


def test_a_program_that_died_keeps_its_turn_for_less_than_three_intervals(store: Store) -> None:
    clock = FakeClock()
    dead = store.process_id + 1
    assert LEASE < 3
    assert store.transact(lambda connection: _acquire(connection, dead, clock.time()))
    assert not take(store, PLACE, 300.0, clock.time() + 74).mine
    assert take(store, PLACE, 300.0, clock.time() + 76).mine
    give_back(store, PLACE)
    assert store.transact(lambda connection: _acquire(connection, dead, clock.time()))


def _acquire(connection: sqlite3.Connection, holder: int, now: float) -> bool:
    return leases.acquire(connection, PLACE.lease, holder, LEASE * PLACE.interval, now)


def test_without_a_store_each_program_probes_for_itself() -> None:
    assert take(None, PLACE, 300.0, 0.0) is ALONE
    assert not is_offline(None)
    give_back(None, PLACE)


@pytest.mark.usefixtures("expect_logs")
def test_a_store_that_is_gone_hinders_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    store = Store(folder)
    assert take(store, PLACE, 300.0, 0.0) is ALONE
    assert not is_offline(store)
    give_back(store, PLACE)


def recording(path: Path, clock: FakeClock | None = None) -> Bench:
    return Bench(own(), store=StoreConfig(path=str(path)), clock=clock or FakeClock())


def flush(*benches: Bench) -> None:
    for bench in benches:
        assert bench.router.store is not None
        assert bench.router.store.flush()


def test_what_is_paused_by_one_is_paused_for_all_and_ended_by_any(path: Path) -> None:
    clock = FakeClock()
    with recording(path, clock) as here, recording(path, clock) as there:
        there.monitor.config = here.monitor.config
        here.run(1)
        here.monitor.pause("own", "moving")
        flush(here)
        there.run(1)
        assert there.monitor.describe("own").reasons[0] == "watching it is paused (moving)"
        assert there.events.of(WatchChanged) == []
        there.monitor.resume("own")
        flush(there)
        here.monitor._consult(here.monitor._providers["own"])
        assert here.status() is not ProviderStatus.DOWN
        assert here.monitor._providers["own"].watch.state == "watched"


def test_a_pause_of_ones_own_that_is_not_written_yet_holds(path: Path) -> None:
    with recording(path) as bench:
        each = bench.monitor._providers["own"]
        bench.monitor.pause("own", "first")
        flush(bench)
        bench.clock.advance(1)
        bench.monitor.resume("own")
        bench.monitor._consult(each)
        assert each.watch.state == "watched"
        bench.clock.advance(1)
        bench.monitor.pause("own", "second")
        bench.monitor._consult(each)
        assert each.watch.note == "second"


def test_uptime_and_history_come_out_of_the_store(path: Path) -> None:
    with recording(path) as bench:
        bench.run(120)
        assert bench.monitor.get_uptime_percentage("own", 100) == 100.0
        assert {span.state for span in bench.monitor.history("own", 100)} == {TargetState.UP}


def test_a_provider_that_another_program_calls_is_not_probed(path: Path) -> None:
    clock = FakeClock()
    with recording(path, clock) as here, Bench(own(), store=StoreConfig(path=str(path)), clock=clock) as there:
        there.router.chat("hi", model="gpt-4.1")
        flush(there)
        here.run(1)
        assert here.events.of(ProbeFinished) == []
        assert here.status() is ProviderStatus.HEALTHY


@pytest.mark.usefixtures("expect_logs")
def test_a_network_that_was_gone_is_back_with_the_first_answer(path: Path) -> None:
    with recording(path) as before:
        before.monitor._network_changed(before.clock.time(), up=False, reason="test")
        flush(before)
    with recording(path) as bench:
        assert bench.status() is ProviderStatus.UNKNOWN
        bench.run(1)
        assert [event.up for event in bench.events.of(NetworkChanged)] == [True]
        assert bench.status() is ProviderStatus.HEALTHY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_watch_until_it_starts_to() -> None:
    with FakeProvider("openai") as provider:
        config = RouterConfig(
            providers=[ProviderConfig(name="openai", base_url=provider.base_url, api_key=provider.key)],
            monitor=MonitorConfig(interval=600.0),
            alerts=AlertConfig(log=False),
        )
        with Router(config) as router, HealthMonitor(router) as monitor:
            assert provider.wait_for_requests(1)
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                _in_child(lambda: _watch_in_child(monitor, writer))
            os.close(writer)
            said = b""
            while part := os.read(reader, 1000):
                said += part
            os.close(reader)
            assert os.waitpid(child, 0)[1] == 0
            assert said == b"False True healthy"
            assert monitor.running


def _in_child(work: Callable[[], None]) -> None:
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _watch_in_child(monitor: HealthMonitor, writer: int) -> None:
    before = monitor.running
    healthy = threading.Event()
    events = RecordedEvents()
    end = monitor._router.on_event(events, sync=True)
    monitor._router.on_event(lambda event: healthy.set() if isinstance(event, ProbeFinished) else None, sync=True)
    with monitor:
        probed = healthy.wait(CAP)
        said = f"{before} {probed} {monitor.status()['openai']}"
    end()
    os.write(writer, said.encode())


def test_a_follower_sees_what_the_prober_sees(path: Path) -> None:
    clock = FakeClock()
    with recording(path, clock) as here, recording(path, clock) as there:
        here.run(1)
        flush(here)
        there.monitor._consult(there.monitor._providers["own"])
        assert there.status() is ProviderStatus.HEALTHY


def test_giving_back_many_leases_waits_for_a_locked_store_but_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [PLACE._replace(name=f"own-{number}") for number in range(20)]
    for each in places:
        assert take(store, each, 300.0, 1_800_000_000.0).mine
    waits: list[str] = []
    transact = store.transact

    def counted(work: Callable[[sqlite3.Connection], object]) -> object:
        waits.append("one")
        return transact(work)

    monkeypatch.setattr(store, "transact", counted)
    give_back(store, *places)
    assert waits == ["one"]
    assert transact(lambda c: c.execute("SELECT count(*) FROM leases").fetchone()) == (0,)
