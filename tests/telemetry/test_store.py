"""The store as routers use it: what is recorded, by whom, and what happens when the file does not work."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from failsafe.errors import InvalidRequest, StoreUnavailable
from failsafe.events import AttemptFinished, CommandCarriedOut
from failsafe.faults import Fault
from failsafe.models import Attempt
from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry import commands, database, writer
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.store import Recorder, Store, TargetInfo, open_store
from failsafe.testing import FakeClock, answer, failing
from tests.router_bench import Bench

TARGETS = {"a": TargetInfo("https://a.example/v1")}
CAP = 10.0
"""Seconds; a hard cap on waiting for another thread."""


def attempt(number: int = 0, at: float = 1_800_000_000.0) -> AttemptFinished:
    return AttemptFinished(
        at=at + number, call_id=f"call-{number}", attempt=Attempt(provider="a", model="m", latency_ms=5.0)
    )


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def calls_in(path: Path) -> list[str]:
    return [call for (call,) in rows(path, "SELECT call FROM attempts ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Store:
    found = open_store(StoreConfig(path=str(path), queue_size=100), clock=FakeClock())
    assert found is not None
    return found


@pytest.fixture
def recorder(store: Store) -> Iterator[Recorder]:
    recorder = store.recorder(TARGETS)
    yield recorder
    recorder.close(CAP)


def spoiled(store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Callable[[], None]:
    """Have every connection to the file fail, until the function that is returned is called."""
    connect = database.connect

    def failing(path: Path | None, **options: Any) -> sqlite3.Connection:
        if path is not None:
            raise error
        return connect(path, **options)

    monkeypatch.setattr(database, "connect", failing)
    monkeypatch.setattr(writer, "_FIRST_RETRY", 0.0)
    return lambda: monkeypatch.setattr(database, "connect", connect)


def test_what_is_recorded_is_in_the_file_once_it_is_flushed(path: Path, store: Store, recorder: Recorder) -> None:
    for number in range(3):
        recorder.record(attempt(number))
    assert store.flush(CAP)
    assert calls_in(path) == ["call-0", "call-1", "call-2"]
    ((process, pid, ended),) = rows(path, "SELECT id, pid, ended_at FROM processes")
    assert (process, pid, ended) == (store.process_id, os.getpid(), None)


def test_one_file_has_one_store_in_a_process(path: Path, store: Store, tmp_path: Path) -> None:
    assert open_store(StoreConfig(path=str(path))) is store
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    assert open_store(StoreConfig(path=str(tmp_path / "elsewhere" / "store.db"))) is store
    assert open_store(StoreConfig(path=str(tmp_path / "other.db"))) is not store
    assert open_store(StoreConfig(enabled=False)) is None


def test_the_thread_ends_with_the_last_recorder_and_begins_again_with_the_next(path: Path, store: Store) -> None:
    first, second = store.recorder(TARGETS), store.recorder(TARGETS)
    first.record(attempt(1))
    first.close(CAP)
    first.close()  # does no harm
    (thread,) = [each for each in threading.enumerate() if each.name == "failsafe-store"]
    second.record(attempt(2))
    second.close(CAP)
    thread.join(CAP)
    assert not thread.is_alive()
    third = store.recorder(TARGETS)
    third.record(attempt(3))
    third.close(CAP)
    assert calls_in(path) == ["call-1", "call-2", "call-3"]


def test_a_process_that_has_ended_says_so_and_holds_nothing(path: Path, store: Store, recorder: Recorder) -> None:
    recorder.record(attempt())
    recorder.close(CAP)
    store.close(CAP)
    assert rows(path, "SELECT count(*) FROM processes WHERE ended_at IS NOT NULL") == [(1,)]
    assert rows(path, "SELECT count(*) FROM leases") == [(0,)]


def test_a_recorder_that_is_dropped_lets_the_thread_end(path: Path, store: Store) -> None:
    recorder = store.recorder(TARGETS)
    recorder.record(attempt())
    (thread,) = [each for each in threading.enumerate() if each.name == "failsafe-store"]
    del recorder
    gc.collect()
    thread.join(CAP)
    assert not thread.is_alive()
    assert calls_in(path) == ["call-0"]


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(
    path: Path, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_begin", lambda: None)  # nobody takes anything out
    for number in range(150):
        recorder.record(attempt(number))
    assert store.dropped == 50
    monkeypatch.undo()
    assert store.flush(CAP)
    assert len(calls_in(path)) == 100


def test_while_the_file_cannot_be_used_what_is_recorded_is_read_from_memory_and_written_later(
    path: Path,
    store: Store,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    mend = spoiled(store, monkeypatch, sqlite3.OperationalError("database or disk is full"))
    for number in range(3):
        recorder.record(attempt(number))
        assert not store.flush(CAP)
    assert "disk is full" in str(store.degraded)
    with store.reader() as reader:
        assert [each.data["call_id"] for each in reader.events(began=0, ended=2e9, kinds=("AttemptFinished",))] == [
            "call-0",
            "call-1",
            "call-2",
        ]
    with pytest.raises(StoreUnavailable, match="disk is full"):
        store.transact(lambda connection: connection.execute("SELECT 1"))
    mend()
    assert store.flush(CAP)
    assert store.degraded is None
    assert calls_in(path) == ["call-0", "call-1", "call-2"]
    assert store.dropped == 0
    warnings = [record.message for record in expect_logs.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "stays in memory until that works again" in warnings[0]


def test_a_full_disk_loses_nothing_that_fits_into_memory(
    path: Path,
    store: Store,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(writer, "_FIRST_RETRY", 0.0)
    recorder.record(attempt(0))
    assert store.flush(CAP)
    connect, limited = database.connect, [True]

    def full(path: Path | None, **options: Any) -> sqlite3.Connection:
        connection = connect(path, **options)
        if path is not None and limited:
            connection.execute("PRAGMA max_page_count = 1")  # which is as many as there are
        return connection

    monkeypatch.setattr(database, "connect", full)
    store._writer._forget_connection()
    long = AttemptFinished(
        at=1_800_000_000.0,
        call_id="long",
        attempt=Attempt(provider="a", model="m", fault=Fault.SERVER, message="x" * 2000),
    )
    for _ in range(50):
        recorder.record(long)
    assert not store.flush(CAP)
    assert "full" in str(store.degraded)
    limited.clear()
    assert store.flush(CAP)
    assert len(calls_in(path)) == 51
    assert store.dropped == 0


def test_what_is_held_in_memory_is_bounded(
    path: Path,
    store: Store,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    mend = spoiled(store, monkeypatch, PermissionError("read-only"))
    for number in range(500):
        recorder.record(attempt(number))
        if number % 50 == 49:
            store.flush(CAP)
    mend()
    for _ in range(3):  # what waited in the queue is taken once what was held is written
        store.flush(CAP)
    kept = len(calls_in(path))
    assert 100 <= kept <= 200
    assert kept + store.dropped == 500
    assert calls_in(path)[-1] == "call-499" or store.dropped


def test_a_file_that_another_program_holds_for_long_is_written_later(
    path: Path,
    store: Store,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    expect_logs: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.01)
    monkeypatch.setattr(writer, "_FIRST_RETRY", 0.0)
    database.connect(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        recorder.record(attempt(1))
        assert not store.flush(CAP)
        assert "locked" in str(store.degraded)
        other.execute("ROLLBACK")
    recorder.record(attempt(2))
    assert store.flush(CAP)
    assert calls_in(path) == ["call-1", "call-2"]


def test_a_file_that_was_deleted_is_begun_anew(path: Path, store: Store, recorder: Recorder) -> None:
    recorder.record(attempt(1))
    assert store.flush(CAP)
    for each in (path, *(Path(f"{path}{suffix}") for suffix in database.BESIDE)):
        each.unlink()
    recorder.record(attempt(2))
    assert store.flush(CAP)
    assert calls_in(path) == ["call-2"]
    assert rows(path, "SELECT count(*) FROM processes") == [(1,)]


def test_a_damaged_file_is_set_aside_and_another_begun(
    path: Path, store: Store, recorder: Recorder, expect_logs: pytest.LogCaptureFixture
) -> None:
    recorder.record(attempt(1))
    assert store.flush(CAP)
    recorder.close(CAP)
    store.close(CAP)
    path.write_bytes(b"\xa5" * 65_536)
    with_another = store.recorder(TARGETS)
    with_another.record(attempt(2))
    assert store.flush(CAP)
    with_another.close(CAP)
    assert calls_in(path) == ["call-2"]
    (aside,) = path.parent.glob("store.db.damaged-*")
    assert aside.read_bytes() == b"\xa5" * 65_536
    assert "it is kept as" in expect_logs.text


def test_a_mistake_of_ours_costs_records_but_not_the_thread(
    path: Path, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, expect_logs: pytest.LogCaptureFixture
) -> None:
    def mistaken(*_args: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "write", mistaken)
        patch.setattr(writer, "_FIRST_RETRY", 0.0)
        recorder.record(attempt(1))
        store.flush(CAP)
    recorder.record(attempt(2))
    assert store.flush(CAP)
    assert calls_in(path) == ["call-2"]
    assert store.dropped == 1


def test_a_store_in_memory_is_read_by_its_own_process() -> None:
    store = Store(None, clock=FakeClock())
    recorder = store.recorder(TARGETS)
    recorder.record(attempt(1))
    assert store.flush(CAP)
    with store.reader() as reader:
        assert [target.name for target in reader.targets()] == ["a"]
    assert store.transact(lambda connection: connection.execute("SELECT count(*) FROM attempts").fetchone()) == (1,)
    recorder.close(CAP)
    store.close(CAP)


def test_a_rare_transaction_is_done_whole_or_not_at_all(path: Path, store: Store) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO models (name) VALUES ('m')")
        raise LookupError

    with pytest.raises(LookupError):
        store.transact(half)
    assert rows(path, "SELECT * FROM models") == []
    assert store.transact(lambda connection: 7) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_records_as_a_process_of_its_own(path: Path, store: Store, recorder: Recorder) -> None:
    recorder.record(attempt(1))
    assert store.flush(CAP)
    recorder.record(attempt(2))  # which the parent writes
    child = os.fork()
    if child == 0:
        status = 1
        try:
            recorder.record(attempt(3))
            status = 0 if store.flush(CAP) else 2
            store.close(CAP)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.flush(CAP)
    assert sorted(calls_in(path)) == ["call-1", "call-2", "call-3"]
    assert len(rows(path, "SELECT DISTINCT process FROM attempts")) == 2
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


# Routers.


def bench(path: Path) -> Bench:
    return Bench(answer(), store=StoreConfig(path=str(path)))


def test_a_router_records_its_calls(path: Path) -> None:
    recording = bench(path)
    with recording.router as router:
        router.chat("hi", model="gpt-4.1", tag="team")
        assert router.store is not None
        assert router.store.flush(CAP)
    assert rows(path, "SELECT tag, error FROM calls") == [("team", None)]
    assert rows(path, "SELECT name, base_url FROM targets") == [("a", "https://a.example/v1")]
    assert rows(path, "SELECT sum(answered) FROM rollup_10") == [(1,)]


def test_a_router_whose_time_or_network_is_not_real_records_only_where_a_path_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAILSAFE_STORE", str(tmp_path / "store.db"))
    assert Bench(answer()).router.store is None


def test_a_router_that_is_dropped_stops_recording(path: Path) -> None:
    recording = bench(path)
    recording.router.chat("hi", model="gpt-4.1")
    (thread,) = [each for each in threading.enumerate() if each.name == "failsafe-store"]
    del recording
    gc.collect()
    thread.join(CAP)
    assert not thread.is_alive()
    assert rows(path, "SELECT count(*) FROM attempts") == [(1,)]


def test_a_command_reaches_a_running_router_through_the_file(path: Path, expect_logs: pytest.LogCaptureFixture) -> None:
    recording = bench(path)
    done = threading.Event()
    with recording.router as router:
        router.on_event(lambda event: done.set() if isinstance(event, CommandCarriedOut) else None)
        router.chat("hi", model="gpt-4.1")
        assert router.store is not None
        assert router.store.flush(CAP)
        with closing(database.connect(path)) as connection:
            recording.clock.advance(2)  # the time to look again has come
            number = commands.send(connection, target="a", action="force_open", now=recording.clock.time())
            assert done.wait(CAP)
            assert router.store.flush(CAP)
            assert router.breakers.get("a").state == "forced_open"
            assert list(commands.outcomes(connection, number).values()) == ["a: forced_open"]
            assert "command force_open of" in expect_logs.text
            (said,) = rows(path, "SELECT data FROM events WHERE kind = 'CommandCarriedOut'")
            assert "forced_open" in said[0]


def test_a_handler_that_records_amid_the_stores_own_steps_blocks_nobody(store: Store, recorder: Recorder) -> None:
    """As a finalizer would that the garbage collector runs at such a moment."""
    with store._lock:
        recorder.record(attempt(1))
        store.end()
    assert store.flush(CAP)


def test_the_calls_of_a_router_that_is_closed_are_written(path: Path) -> None:
    with bench(path).router as router:
        for _ in range(20):
            router.chat("hi", model="gpt-4.1")
    assert rows(path, "SELECT count(*) FROM calls") == [(20,)]


# Texts.


def test_no_text_is_kept_unless_it_is_asked_for(path: Path) -> None:
    with bench(path).router as router:
        router.chat("a secret plan", model="gpt-4.1")
    assert rows(path, "SELECT * FROM texts") == []
    contents = path.read_bytes() + b"".join(each.read_bytes() for each in path.parent.glob("store.db-*"))
    assert b"secret plan" not in contents


def test_prompts_and_answers_are_kept_where_that_is_asked_for_and_keys_in_them_masked(path: Path) -> None:
    key = "sk-proj-" + "a1B2c3D4" * 5
    recording = Bench(answer("yes"), answer("no"), store=StoreConfig(path=str(path), texts=True))
    with recording.router as router:
        router.chat(f"is {key} valid?", model="gpt-4.1")
    ((call, prompt, said),) = rows(path, "SELECT call, prompt, answer FROM texts")
    assert call == rows(path, "SELECT call FROM calls")[0][0]
    assert "is [masked] valid?" in prompt
    assert key not in prompt
    assert said == "yes"


def test_the_prompt_of_a_call_that_nobody_answered_is_kept_without_an_answer(path: Path) -> None:
    recording = Bench(failing(Fault.BAD_REQUEST), store=StoreConfig(path=str(path), texts=True))
    with recording.router as router, pytest.raises(InvalidRequest):
        router.chat("hi", model="gpt-4.1")
    assert rows(path, "SELECT prompt, answer FROM texts") == [('[{"role":"user","content":"hi"}]', None)]
