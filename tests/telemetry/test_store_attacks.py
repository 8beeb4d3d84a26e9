"""What the store has to bear: listeners that end threads, files that are swapped, long times without a file."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from failsafe import threads
from failsafe.events import AttemptFinished, CircuitState, NetworkChanged
from failsafe.models import Attempt
from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry import commands, database, writer
from failsafe.telemetry import store as stores
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.records import Source
from failsafe.telemetry.store import Recorder, Store, TargetInfo, open_store
from failsafe.testing import FakeClock

TARGETS = {"a": TargetInfo("https://a.example/v1")}
CAP = 10.0
"""Seconds; a hard cap on waiting for another thread."""


def attempt(number: int = 0, at: float = 1_800_000_000.0) -> AttemptFinished:
    return AttemptFinished(
        at=at + number, call_id=f"call-{number}", attempt=Attempt(provider="a", model="m", latency_ms=5.0)
    )


def calls_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [call for (call,) in connection.execute("SELECT call FROM attempts ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(path: Path, clock: FakeClock) -> Store:
    found = open_store(StoreConfig(path=str(path), queue_size=100), clock=clock)
    assert found is not None
    return found


@pytest.fixture
def recorder(store: Store) -> Iterator[Recorder]:
    recorder = store.recorder(TARGETS)
    yield recorder
    recorder.close(CAP)


@pytest.fixture
def without_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No connection to any file can be had; undone by ``undo()``."""
    connect = database.connect

    def refused(path: Path | None, **options: Any) -> sqlite3.Connection:
        if path is not None:
            raise PermissionError("read-only")
        return connect(path, **options)

    monkeypatch.setattr(writer, "_FIRST_RETRY", 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "connect", refused)
        yield patch


def test_a_listener_that_exits_on_the_stores_thread_does_not_end_the_recording(
    path: Path, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, expect_logs: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stores, "_TURN", 0.01)
    asked = threading.Event()

    def exiting(_command: commands.Command) -> str:
        asked.set()
        raise SystemExit

    recorder = store.recorder(TARGETS, carry_out=exiting)
    recorder.record(attempt(1))
    assert store.flush(CAP)
    store.transact(lambda connection: commands.send(connection, target="*", action="reset", now=clock.time()))
    clock.advance(2)
    store.flush(CAP)
    assert asked.wait(CAP)
    recorder.record(attempt(2))
    assert store.flush(CAP)
    recorder.close(CAP)
    assert calls_in(path) == ["call-1", "call-2"]
    assert "a turn of the store's thread failed" in expect_logs.text


def test_a_log_handler_that_raises_does_not_end_the_recording(
    path: Path,
    store: Store,
    recorder: Recorder,
    without_file: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError(record)

    handler, logger = Raising(), logging.getLogger("failsafe.store")
    logger.addHandler(handler)
    try:
        recorder.record(attempt(1))
        assert not store.flush(CAP)
        assert "read-only" in str(store.degraded)
        without_file.undo()
        recorder.record(attempt(2))
        assert store.flush(CAP)
    finally:
        logger.removeHandler(handler)
    assert calls_in(path) == ["call-1", "call-2"]


def test_an_interrupt_right_after_the_thread_was_started_does_not_let_a_second_one_write(
    path: Path, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threads.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recorder.record(attempt(1))
    for number in range(2, 5):
        recorder.record(attempt(number))
        assert store.flush(CAP)
    assert [each.name for each in threading.enumerate()].count("failsafe-store") == 1
    assert calls_in(path) == [f"call-{number}" for number in range(1, 5)]


def test_a_damaged_file_that_takes_the_name_of_a_good_one_is_set_aside(
    path: Path, store: Store, recorder: Recorder, expect_logs: pytest.LogCaptureFixture
) -> None:
    recorder.record(attempt(1))
    assert store.flush(CAP)
    for suffix in database.BESIDE:
        Path(f"{path}{suffix}").unlink()
    other = path.with_name("other")
    other.write_bytes(b"\xa5" * 65_536)
    other.replace(path)
    recorder.record(attempt(2))
    assert store.flush(CAP)
    assert calls_in(path) == ["call-2"]
    (aside,) = path.parent.glob("store.db.damaged-*")
    assert aside.read_bytes() == b"\xa5" * 65_536


@pytest.mark.parametrize("suffix", database.BESIDE)
def test_what_is_written_after_a_file_beside_it_was_deleted_is_seen_by_others(
    path: Path, store: Store, recorder: Recorder, suffix: str
) -> None:
    recorder.record(attempt(1))
    assert store.flush(CAP)
    Path(f"{path}{suffix}").unlink()
    recorder.record(attempt(2))
    assert store.flush(CAP)
    assert calls_in(path) == ["call-1", "call-2"]


def test_looks_at_breakers_displace_no_event_that_waits_for_the_file(
    path: Path,
    store: Store,
    clock: FakeClock,
    without_file: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    class Closed:
        state, reason, retry_after, streak, opened = CircuitState.CLOSED, "", None, 0, 0

    def look(batch: Batch, source: Source) -> None:
        for number in range(40):
            batch.breaker_snapshot(source, f"a:{number}", Closed(), 5, clock.time())

    recorder = store.recorder(TARGETS, look=look)
    for number in range(50):
        recorder.record(attempt(number))
    for _ in range(10):
        clock.advance(writer.HEARTBEAT)
        assert not store.flush(CAP)
    with store.reader() as reader:
        assert len(reader.breakers(alive_only=False)) == 40
    without_file.undo()
    clock.advance(writer.HEARTBEAT)
    assert store.flush(CAP)
    recorder.close(CAP)
    assert (len(calls_in(path)), store.dropped) == (50, 0)


def test_an_absurd_event_that_was_lost_for_want_of_room_is_counted_once(
    store: Store, recorder: Recorder, without_file: pytest.MonkeyPatch, expect_logs: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for _ in range(60):
            recorder.record(attempt(at=-5.0))
        store.flush(CAP)
    without_file.undo()
    store.flush(CAP)
    assert store.flush(CAP)
    assert store.dropped == 180


def test_the_store_in_memory_that_stands_in_for_the_file_stays_small(
    store: Store,
    recorder: Recorder,
    without_file: pytest.MonkeyPatch,
    monkeypatch: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    most = 10 * 1024 * 1024
    monkeypatch.setattr(writer, "_MEMORY", most)
    for _ in range(100):
        for _ in range(90):
            recorder.record(NetworkChanged(at=1_800_000_000.0, up=True, reason="no word " * 250))
        store.flush(CAP)
    with store.reader() as reader:
        size = reader.size()
    assert 1024 * 1024 < size.bytes - size.free_bytes <= most
