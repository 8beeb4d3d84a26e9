"""Events reach listeners, and no listener reaches a call."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from failsafe.events import CallFinished, Event, ModelSubstituted
from failsafe.telemetry.bus import EventBus, _close_all
from failsafe.telemetry.reporter import Reporter
from failsafe.testing import answer
from tests.router_bench import Bench

ROOT = Path(__file__).resolve().parents[1]


def event(number: int = 0) -> ModelSubstituted:
    return ModelSubstituted(at=float(number), provider="a", asked_model="m", model="n")


def bus_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "failsafe-events"]


class Held:
    """A listener that blocks until it is let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go_on = threading.Event()
        self.seen: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        self.arrived.set()
        self.go_on.wait(10)


def test_plain_listeners_get_every_event_in_order_on_a_thread_of_their_own() -> None:
    bus, threads = EventBus(), set()
    seen: list[float] = []

    def listener(event: Event) -> None:
        seen.append(event.at)
        threads.add(threading.current_thread().name)

    bus.subscribe(listener)
    for number in range(1000):
        bus.emit(event(number))
    bus.close()
    assert seen == list(range(1000))
    assert threads == {"failsafe-events"}
    assert bus.dropped == 0


def test_sync_listeners_run_in_the_thread_that_emits_and_start_none() -> None:
    bus, threads = EventBus(), []
    bus.subscribe(lambda _: threads.append(threading.current_thread()), sync=True)
    bus.emit(event())
    assert threads == [threading.current_thread()]
    assert bus_threads() == []


def test_a_bus_nobody_listens_to_is_not_active() -> None:
    bus = EventBus()
    assert not bus.active
    end_sync = bus.subscribe(print, sync=True)
    end_plain = bus.subscribe(print)
    end_sync()
    assert bus.active
    end_plain()
    end_plain()
    assert not bus.active


def test_ending_one_of_two_subscriptions_of_a_listener_leaves_the_other() -> None:
    bus = EventBus()
    seen: list[Event] = []
    end = bus.subscribe(seen.append, sync=True)
    bus.subscribe(seen.append, sync=True)
    end()
    end()
    bus.emit(event())
    assert len(seen) == 1


def test_a_listener_that_was_taken_off_hears_nothing_more_of_what_still_waits() -> None:
    bus, held = EventBus(), Held()
    seen: list[Event] = []
    bus.subscribe(held)
    end = bus.subscribe(seen.append)
    bus.emit(event(1))
    bus.emit(event(2))
    assert held.arrived.wait(10)
    end()
    held.go_on.set()
    bus.close()
    assert seen == []
    assert len(held.seen) == 2


def test_what_does_not_fit_is_dropped_and_counted_and_nobody_waits() -> None:
    bus, held = EventBus(capacity=5), Held()
    bus.subscribe(held)
    bus.emit(event())
    assert held.arrived.wait(10)
    for number in range(20):
        bus.emit(event(number))
    assert bus.dropped == 15
    held.go_on.set()
    bus.close()
    assert len(held.seen) == 6


def test_what_a_listener_raises_is_logged_and_the_others_still_hear(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("mine")

    bus.subscribe(broken)
    bus.subscribe(broken, sync=True)
    bus.subscribe(seen.append)
    bus.emit(event())
    bus.close()
    assert len(seen) == 1
    assert [record.message for record in caplog.records] == ["a listener failed on ModelSubstituted"] * 2


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_plain_listener_that_wants_to_end_its_thread_silences_nobody(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bus = EventBus()
    seen: list[Event] = []

    def leaving(event: Event) -> None:
        raise kind

    bus.subscribe(leaving)
    bus.subscribe(seen.append)
    bus.emit(event(1))
    bus.emit(event(2))
    bus.close()
    assert [each.at for each in seen] == [1, 2]
    assert len(caplog.records) == 2


def test_a_sync_listener_may_end_the_program() -> None:
    bus = EventBus()

    def leaving(event: Event) -> None:
        raise SystemExit

    bus.subscribe(leaving, sync=True)
    with pytest.raises(SystemExit):
        bus.emit(event())


def test_a_listener_may_subscribe_emit_and_take_itself_off() -> None:
    bus = EventBus()
    seen: list[Event] = []

    def listener(event: Event) -> None:
        end()
        bus.subscribe(seen.append, sync=True)
        bus.emit(event)

    end = bus.subscribe(listener, sync=True)
    bus.emit(event())
    assert len(seen) == 1


def test_after_closing_plain_listeners_hear_nothing_and_the_loss_is_counted() -> None:
    bus = EventBus()
    seen: list[Event] = []
    bus.subscribe(seen.append)
    bus.close()
    bus.close()
    bus.emit(event())
    assert seen == []
    assert bus.dropped == 1
    assert bus_threads() == []


def test_closing_does_not_wait_for_a_listener_that_hangs_and_drops_the_rest() -> None:
    bus, held = EventBus(), Held()
    bus.subscribe(held)
    for number in range(4):
        bus.emit(event(number))
    assert held.arrived.wait(10)
    bus.close(timeout=0.01)
    held.go_on.set()
    for thread in bus_threads():
        thread.join(10)
    assert bus_threads() == []
    assert len(held.seen) == 1
    assert bus.dropped == 3


def test_a_listener_may_close_the_bus_from_its_own_thread() -> None:
    bus, closed = EventBus(), threading.Event()

    def listener(event: Event) -> None:
        bus.close()
        closed.set()

    bus.subscribe(listener)
    bus.emit(event())
    assert closed.wait(10)
    for thread in bus_threads():
        thread.join(10)
    assert bus_threads() == []


def test_where_no_thread_can_be_started_the_events_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = EventBus()
    seen: list[Event] = []
    bus.subscribe(seen.append)

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    bus.emit(event(1))
    monkeypatch.undo()
    bus.emit(event(2))
    bus.close()
    assert [each.at for each in seen] == [1, 2]


def test_threads_that_emit_at_once_start_one_thread() -> None:
    bus, barrier = EventBus(), threading.Barrier(8)
    seen: list[Event] = []
    bus.subscribe(seen.append)

    def emit() -> None:
        barrier.wait(10)
        bus.emit(event())

    threads = [threading.Thread(target=emit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(bus_threads()) == 1
    bus.close()
    assert len(seen) == 8


def test_two_hundred_routers_that_are_dropped_with_a_listener_leave_no_thread() -> None:
    dropped = []
    for _ in range(200):
        bench = Bench(answer())
        router = bench.router
        router.on_event(lambda _, router=router: router.providers)  # type: ignore[misc]
        bench.ask()
        dropped.append(weakref.ref(router))
        del bench, router
    # A thread holds the listeners of the event that it delivers; once they are through, only the collector is needed.
    for _ in range(100):
        gc.collect()
        if not bus_threads() and not any(ref() for ref in dropped):
            break
        for thread in bus_threads():
            thread.join(0.05)
    assert bus_threads() == []
    assert [ref for ref in dropped if ref()] == []


def test_events_of_a_dropped_bus_are_still_delivered() -> None:
    bus, held = EventBus(), Held()
    bus.subscribe(held)
    for number in range(3):
        bus.emit(event(number))
    assert held.arrived.wait(10)
    (thread,) = bus_threads()
    del bus
    gc.collect()
    held.go_on.set()
    thread.join(10)
    assert [each.at for each in held.seen] == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_delivers_its_own_events_and_not_its_parents() -> None:
    code = """
import os
from failsafe.events import ModelSubstituted
from failsafe.telemetry.bus import EventBus
event = lambda at: ModelSubstituted(at=at, provider="a", asked_model="m", model="n")
bus = EventBus()
bus.subscribe(lambda event: print(os.getpid() == parent, event.at, flush=True))
parent = os.getpid()
bus.emit(event(1))
child = os.fork()
if child == 0:
    bus.emit(event(2))
    bus.close()
    os._exit(0)
os.waitpid(child, 0)
bus.emit(event(3))
bus.close()
"""
    assert sorted(run(code)) == ["False 2", "True 1", "True 3"]


def test_a_program_that_ends_without_closing_still_delivers_what_waits() -> None:
    code = """
from failsafe.events import ModelSubstituted
from failsafe.telemetry.bus import EventBus
bus = EventBus()
bus.subscribe(lambda event: print(event.at))
for number in range(100):
    bus.emit(ModelSubstituted(at=number, provider="a", asked_model="m", model="n"))
"""
    assert run(code) == [str(number) for number in range(100)]


def test_what_runs_at_the_end_of_a_program_closes_every_bus_that_has_a_thread() -> None:
    buses = [EventBus() for _ in range(3)]
    seen: list[Event] = []
    for bus in buses:
        bus.subscribe(seen.append)
        bus.emit(event())
    _close_all()
    assert len(seen) == 3
    assert bus_threads() == []


def test_a_program_ends_within_two_seconds_however_many_listeners_hang() -> None:
    code = """
import threading, time
from failsafe.events import ModelSubstituted
from failsafe.telemetry.bus import EventBus
buses = [EventBus() for _ in range(10)]
for bus in buses:
    bus.subscribe(lambda event: threading.Event().wait())
    bus.emit(ModelSubstituted(at=1, provider="a", asked_model="m", model="n"))
import atexit
began = time.monotonic()
atexit._run_exitfuncs()
print(time.monotonic() - began < 2, flush=True)
"""
    assert run(code) == ["True"]


def run(code: str) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stderr == ""
    return answer.stdout.split("\n")[:-1]


class Raising(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("disk full")


def test_a_log_handler_that_raises_reaches_no_call(expect_logs: pytest.LogCaptureFixture) -> None:
    handler = Raising()
    seen: list[Event] = []
    reporter = Reporter(EventBus())
    reporter.bus.subscribe(seen.append, sync=True)
    logging.getLogger("failsafe").addHandler(handler)
    try:
        reporter.emit(event())
    finally:
        logging.getLogger("failsafe").removeHandler(handler)
    assert len(seen) == 1


def test_successes_are_wanted_by_listeners_and_by_the_debug_level() -> None:
    reporter, logger = Reporter(EventBus()), logging.getLogger("failsafe")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        assert reporter.for_successes() is None
        logger.setLevel(logging.DEBUG)
        assert reporter.for_successes()
        logger.setLevel(logging.INFO)
        end: Callable[[], None] = reporter.bus.subscribe(print)
        assert reporter.for_successes()
        end()
        assert reporter.for_successes() is None
    finally:
        logger.setLevel(level)


def test_the_last_call_before_closing_is_told() -> None:
    bench = Bench(answer())
    seen: list[Event] = []
    bench.router.on_event(seen.append)
    bench.ask()
    bench.router.close()
    assert isinstance(seen[-1], CallFinished)
