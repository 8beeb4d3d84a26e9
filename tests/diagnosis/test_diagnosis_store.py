"""The store: where it is, whether it can be used, and what running programs say in it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.diagnosis import store, store_look
from failsafe.diagnosis.finding import Finding, Level
from failsafe.diagnosis.store import StoreFacts
from failsafe.errors import FailsafeError
from failsafe.monitoring_config import StoreConfig
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, FakeProvider
from failsafe.telemetry import database, location
from failsafe.telemetry.views import ProcessRow
from tests.diagnosis.looking import KEY, examined, only, problems, settings_of

URL = "https://api.openai.com/v1"
NOW = 1_795_000_000.0


class Recorded(NamedTuple):
    """A store that a test writes into."""

    path: Path
    connection: sqlite3.Connection

    def process(self, pid: int, program: str = "app.py", **changes: Any) -> int:
        now = SYSTEM_CLOCK.time()
        row = {"started_at": now - 60, "seen_at": now, "ended_at": None, "dropped": 0, **changes}
        written = self.connection.execute(
            "INSERT INTO processes (pid, host, program, version, started_at, seen_at, ended_at, dropped) "
            "VALUES (?, 'here', ?, '1', ?, ?, ?, ?)",
            (pid, program, row["started_at"], row["seen_at"], row["ended_at"], row["dropped"]),
        )
        return int(written.lastrowid or 0)

    def target(self, name: str, base_url: str = URL) -> int:
        self.connection.execute("INSERT OR IGNORE INTO targets (name, base_url) VALUES (?, ?)", (name, base_url))
        found = self.connection.execute("SELECT id FROM targets WHERE name = ? AND base_url = ?", (name, base_url))
        return int(found.fetchone()[0])

    def breaker(self, process: int, target: int, **changes: Any) -> None:
        now = SYSTEM_CLOCK.time()
        row = {
            "router": 1, "name": "openai", "state": "open", "reason": "5 failures in a row", "changed_at": now - 30,
            "retry_at": now + 30, "streak": 5, "threshold": 5, "opened": 1, "seen_at": now, **changes,
        }  # fmt: skip
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        self.connection.execute(
            f"INSERT INTO breakers (process, target, {names}) VALUES (?, ?, {marks})", (process, target, *row.values())
        )


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    path = tmp_path / "store.db"
    with closing(database.connect(path)) as connection:
        yield Recorded(path, connection)


def looked(path: Path, **settings: Any) -> StoreFacts:
    return store_look.look(StoreConfig(**settings), {"FAILSAFE_STORE": str(path)})


def judged(path: Path, **settings: Any) -> list[Finding]:
    return list(store.judge(looked(path, **settings)))


def told(facts: StoreFacts, name: str = "openai") -> list[Finding]:
    return list(store.of_provider(facts, name, URL, SYSTEM_CLOCK.time()))


def test_a_store_that_is_right_is_not_told(recorded: Recorded) -> None:
    assert judged(recorded.path) == []
    facts = looked(recorded.path)
    assert (facts.exists, facts.origin, facts.path) == (True, "FAILSAFE_STORE", str(recorded.path))
    assert facts.bytes > 0


def test_a_store_that_is_not_made_yet_is_not_made_and_not_told(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    assert judged(path) == []
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("config", "environ", "said"),
    [
        (StoreConfig(), {"FAILSAFE_STORE": "off"}, "FAILSAFE_STORE=off"),
        (StoreConfig(enabled=False), {}, "store.enabled in the settings"),
    ],
)
def test_a_store_that_is_off_is_right(config: StoreConfig, environ: dict[str, str], said: str) -> None:
    (finding,) = store.judge(store_look.look(config, environ))
    assert (finding.level, finding.code) == (Level.OK, "store-off")
    assert said in finding.found


def test_a_relative_path_is_told() -> None:
    (finding,) = store.judge(store_look.look(StoreConfig(), {"FAILSAFE_STORE": "store.db"}))
    assert (finding.level, finding.code) == (Level.ERROR, "store-unreadable")
    assert "an absolute path, or off, is needed" in finding.found


def test_a_store_on_a_network_file_system_is_told(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 98:0 / {os.path.realpath(tmp_path)} rw,noatime - nfs4 server:/home rw\n")
    monkeypatch.setattr(location, "_MOUNTS", mounts)
    (finding,) = judged(recorded.path)
    assert (finding.level, finding.code) == (Level.ERROR, "store-network")
    assert "(nfs4)" in finding.found


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    path.chmod(0o600)
    (finding,) = judged(path)
    assert (finding.level, finding.code) == (Level.ERROR, "store-unreadable")


def test_a_newer_store_is_told(recorded: Recorded) -> None:
    recorded.connection.execute("PRAGMA user_version = 99")
    (finding,) = judged(recorded.path)
    assert finding.code == "store-unreadable"
    assert "version 99" in finding.found


def test_a_folder_that_cannot_be_written_is_told(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the system, which says yes to root whatever the modes are."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
    (finding,) = judged(recorded.path)
    assert (finding.level, finding.code) == (Level.ERROR, "store-unwritable")
    assert finding.do[0] == f"$ chmod u+w {recorded.path}"


@pytest.mark.parametrize(("free", "level"), [(0, Level.ERROR), (50 * 2**20, Level.WARNING), (2**30, None)])
def test_a_full_disk_is_told(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, free: int, level: Level | None
) -> None:
    usage = shutil.disk_usage(recorded.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    found = judged(recorded.path)
    assert [(each.level, each.code) for each in found] == ([(level, "store-disk")] if level else [])


def test_a_store_near_its_limit_is_noted(recorded: Recorded) -> None:
    recorded.connection.execute("CREATE TABLE filler (data BLOB)")
    recorded.connection.execute("INSERT INTO filler VALUES (zeroblob(10 * 1024 * 1024))")
    (finding,) = judged(recorded.path, max_bytes=10 * 1024 * 1024)
    assert (finding.level, finding.code) == (Level.NOTE, "store-large")


def test_a_store_that_others_can_read_is_told(recorded: Recorded) -> None:
    recorded.path.chmod(0o644)
    (finding,) = judged(recorded.path)
    assert (finding.code, finding.do) == ("store-readable", (f"$ chmod 600 {recorded.path}",))


def test_events_that_a_running_program_could_not_record_are_told(recorded: Recorded) -> None:
    recorded.process(4711, "worker.py", dropped=12_345)
    recorded.process(4712, "old.py", dropped=5, ended_at=SYSTEM_CLOCK.time())
    (finding,) = judged(recorded.path)
    assert (finding.level, finding.code) == (Level.WARNING, "store-dropped")
    assert finding.found == "worker.py (process 4711) could not record 12,345 events"


def test_many_programs_are_counted_rather_than_listed() -> None:
    row = ProcessRow(
        id=1, pid=1, host="h", program="p", version="1", started_at=0, seen_at=0, ended_at=None, dropped=1, alive=True
    )
    (finding,) = store.judge(StoreFacts(path="/s", processes=(row,) * 5))
    assert "and 2 more could not record 5 events" in finding.found


def test_a_damaged_store_that_was_set_aside_is_noted(recorded: Recorded) -> None:
    aside = recorded.path.with_name("store.db.damaged-20261124T120000")
    aside.touch()
    (finding,) = judged(recorded.path)
    assert (finding.level, finding.code) == (Level.NOTE, "store-damaged")
    assert str(aside) in finding.found


def test_open_breakers_of_running_programs_are_told_with_since_when_and_why(recorded: Recorded) -> None:
    target = recorded.target("openai")
    for pid in (4711, 4712):
        recorded.breaker(recorded.process(pid), target)
    dead = recorded.process(4713, "dead.py", ended_at=SYSTEM_CLOCK.time())
    recorded.breaker(dead, target)
    (finding,) = told(looked(recorded.path))
    assert (finding.level, finding.code, finding.subject) == (Level.WARNING, "breaker-open", "openai")
    assert finding.found.startswith("2 running programs have its circuit breaker open since ")
    assert ": 5 failures in a row; the next try is due in " in finding.found
    assert "app.py (4711)" in finding.why
    assert "app.py (4712)" in finding.why
    assert finding.do[-1] == "$ failsafe breakers reset openai"


def test_the_breaker_of_another_server_of_that_name_is_not_told(recorded: Recorded) -> None:
    recorded.breaker(recorded.process(4711), recorded.target("openai", "http://127.0.0.1:9/v1"))
    recorded.breaker(recorded.process(4712), recorded.target("openai"), state="closed")
    assert told(looked(recorded.path)) == []


def test_a_breaker_that_was_opened_by_hand_is_told_as_such(recorded: Recorded) -> None:
    recorded.breaker(recorded.process(4711), recorded.target("openai"), state="forced_open", retry_at=None)
    (finding,) = told(looked(recorded.path))
    assert finding.found.startswith("one running program has its circuit breaker open since ")
    assert finding.do[0].startswith("somebody has opened it by hand")


def put_off(recorded: Recorded, **data: Any) -> None:
    now = SYSTEM_CLOCK.time()
    said = {
        "at": now - 10, "provider": "openai", "key": "1a2b3c4d", "model": None, "fault": "auth", "seconds": 60.0,
        "message": "HTTP 401", "alert": True, "advice": "replace the key", **data,
    }  # fmt: skip
    process, target = recorded.process(4711), recorded.target("openai")
    recorded.connection.execute(
        "INSERT INTO events (at, process, target, kind, data) VALUES (?, ?, ?, 'PutOff', ?)",
        (said["at"], process, target, json.dumps(said)),
    )


def test_a_key_that_a_program_leaves_alone_is_noted_once(recorded: Recorded) -> None:
    put_off(recorded)
    put_off(recorded)
    put_off(recorded, model="gpt-6-luna", key=None, at=SYSTEM_CLOCK.time() - 100)
    (finding,) = told(looked(recorded.path))
    assert (finding.level, finding.code) == (Level.NOTE, "put-off")
    assert finding.found.startswith("a program leaves the key 1a2b3c4d alone for another ")
    assert finding.found.endswith(": HTTP 401")
    assert finding.do == ("replace the key",)


@pytest.mark.usefixtures("expect_logs")
def test_what_programs_of_a_real_router_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with FakeProvider("openai", key=KEY, behaviour=BEHAVIOURS["server-error"]) as provider:
        described = settings_of(provider)
        config = RouterConfig(
            providers=[ProviderConfig(name="openai", **described)],
            store=StoreConfig(path=str(path)),
            retry=RetryConfig(max_retries=0),
            breaker=CircuitBreakerConfig(failure_threshold=1, timeout=600),
        )
        with Router(config) as router:
            with pytest.raises(FailsafeError):
                router.chat("hello", model="gpt-6-luna")
            assert router.store is not None
            assert router.store.flush()
            provider.behave(BEHAVIOURS["healthy"])
            report = examined(tmp_path, {"openai": described}, environ={"FAILSAFE_STORE": str(path)})
    finding = only(report)
    assert finding.code == "breaker-open"
    assert f"({os.getpid()})" in finding.why


def test_where_the_settings_say_the_store_is_wins(tmp_path: Path, recorded: Recorded) -> None:
    recorded.path.chmod(0o644)
    with FakeProvider("openai", key=KEY) as provider:
        report = examined(
            tmp_path,
            {"openai": settings_of(provider)},
            above=f'store = "{recorded.path}"\n',
            environ={"FAILSAFE_STORE": "off"},
            offline=True,
        )
    assert problems(report).keys() == {"store-readable"}
