"""``failsafe store``: where it is, how it is, and what is done to it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.cli import store_file
from failsafe.cli.app import app
from failsafe.cli.store_file import condition_of, migrated, rewritten, shrunk, size_of
from failsafe.errors import StoreUnavailable
from failsafe.telemetry import database, schema
from failsafe.telemetry.location import Location
from tests.cli.recorded import opened, store_with_past
from tests.cli.terminals import shown_by


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, ["store", *arguments], env=variables)


def at(path: Path, *, whole: bool = False) -> store_file.Condition:
    return condition_of(Location(path, "default"), whole=whole)


def test_the_path_alone_goes_to_standard_output(store: Path) -> None:
    result = run("--store", str(store))
    assert (result.exit_code, result.stdout) == (0, f"{store}\n")
    assert result.stderr.startswith("by --store; ")
    assert result.stderr.endswith(" kB, version 1\n")


def test_who_has_said_where_it_is(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "failsafe.toml"
    settings.write_text(f'[store]\npath = "{store}"\n', encoding="utf-8")
    settings.chmod(0o600)
    by_setting = run("path", "--config", str(settings))
    assert (by_setting.stdout, by_setting.stderr.partition(";")[0]) == (f"{store}\n", "by store in the settings")
    by_variable = run("path", FAILSAFE_STORE=str(store))
    assert (by_variable.stdout, by_variable.stderr.partition(";")[0]) == (
        f"{store}\n",
        "by the variable FAILSAFE_STORE",
    )
    monkeypatch.delenv("FAILSAFE_STORE")
    by_default = run("path")
    assert by_default.stdout == f"{os.environ['XDG_STATE_HOME']}/failsafe/store.db\n"
    assert by_default.stderr == "by default; not there yet\n"
    assert by_default.exit_code == 0


def test_a_store_that_is_off_says_who_has_turned_it_off(tmp_path: Path) -> None:
    result = run("path", FAILSAFE_STORE="off")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "off\n", "by the variable FAILSAFE_STORE\n")
    settings = tmp_path / "failsafe.toml"
    settings.write_text('store = "off"\n', encoding="utf-8")
    settings.chmod(0o600)
    assert run("path", "--config", str(settings)).stderr == "by store in the settings\n"
    assert json.loads(run("path", "--json", FAILSAFE_STORE="off").stdout)["path"] is None


def test_wrong_settings_of_the_store_are_refused(tmp_path: Path) -> None:
    settings = tmp_path / "failsafe.toml"
    settings.write_text("[store]\nkeep_attemps = 3\n", encoding="utf-8")
    settings.chmod(0o600)
    result = run("path", "--config", str(settings))
    assert result.exit_code == 2
    assert "store.keep_attemps: there is no such setting (did you mean 'keep_attempts'?)" in result.stderr


def test_a_damaged_file_is_named_so(store: Path) -> None:
    store.write_bytes(b"SQLite format 3\0" + os.urandom(30_000))
    result = run("path", "--store", str(store))
    assert result.exit_code == 1
    assert result.stdout == f"{store}\n"
    assert "problem: " in result.stderr
    assert "\nproblem: it is " in result.stderr or "database of another program" in result.stderr


def test_damage_within_is_found_when_the_whole_file_is_read(store: Path) -> None:
    with opened(store) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = bytearray(store.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    store.write_bytes(content)
    assert not at(store).damaged
    found = at(store, whole=True)
    assert found.damaged
    assert run("path", "--check", "--store", str(store)).exit_code == 1


def test_a_newer_version_is_named_so(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA user_version = 99")
    found = json.loads(run("path", "--json", "--store", str(store)).stdout)
    assert found["version"] == 99
    assert "this failsafe knows versions up to" in found["problems"][0]
    for command in (["size"], ["compact"], ["compact", "--full"], ["migrate"]):
        result = run(*command, "--store", str(store))
        assert result.exit_code == 2, command
        assert "has version 99" in result.stderr


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.execute("PRAGMA application_id = 7")
    before = path.read_bytes()
    for command in ("path", "size", "compact", "migrate"):
        assert run(command, "--store", str(path)).exit_code in (1, 2)
    assert path.read_bytes() == before


def test_a_network_file_system_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "network_file_system", lambda path: "nfs4")
    monkeypatch.setattr(database, "network_file_system", lambda path: "nfs4")
    found = at(store)
    assert found.file_system == "nfs4"
    assert "lies on a network file system (nfs4)" in found.problems[0]


def test_what_may_not_be_written_is_named(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may write everything
    found = at(store)
    assert not found.writable
    assert found.problems[0].startswith("it is read-only for this user")
    assert not at(tmp_path / "none" / "yet" / "store.db").writable


def test_the_size_and_the_rows(store: Path) -> None:
    result = run("size", "--store", str(store))
    assert result.exit_code == 0
    assert "rows attempts: 1080" in result.stdout.splitlines()
    assert result.stdout.splitlines()[1].endswith("+00:00") or "it goes back to " in result.stdout
    assert json.loads(run("size", "--json", "--store", str(store)).stdout)["rows"]["attempts"] == 1080
    code, lines = shown_by("store", "size", "--store", str(store))
    assert code == 0
    assert any(line.split() == ["attempts", "1,080"] for line in lines)


def test_an_empty_store_has_nothing_in_it(tmp_path: Path) -> None:
    database.connect(tmp_path / "store.db").close()
    assert "nothing is in it yet" in run("size", "--store", str(tmp_path / "store.db")).stdout


@pytest.mark.parametrize("command", ["size", "compact", "migrate"])
def test_no_command_makes_a_store(tmp_path: Path, command: str) -> None:
    result = run(command, "--store", str(tmp_path / "none.db"))
    assert result.exit_code == 2
    assert "there is no store at" in result.stderr
    assert not (tmp_path / "none.db").exists()


def filled(path: Path) -> Path:
    """A store most of which is free."""
    with opened(path) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
            "INSERT INTO calls SELECT 1000000 + i, i, 1, 'call-' || i, 'fast', NULL, NULL, NULL, 1, 10, '', 0 FROM n"
        )
        connection.execute("DELETE FROM calls")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path


@pytest.mark.parametrize("options", [[], ["--full"]])
def test_compacting_gives_back_what_is_free_and_keeps_the_rest(store: Path, options: list[str]) -> None:
    filled(store)
    with opened(store) as recording:  # as a running program has it open
        before = size_of(store)
        result = run("compact", *options, "--json", "--store", str(store))
        done = json.loads(result.stdout)
        assert recording.execute("SELECT count(*) FROM attempts").fetchone() == (1080,)
    assert (done["before"], result.exit_code) == (before, 0)
    assert done["after"] < before / 2
    assert at(store, whole=True).problems == ()
    assert stat.S_IMODE(store.stat().st_mode) == 0o600


def test_compacting_goes_step_by_step_and_can_be_stopped_between(store: Path) -> None:
    filled(store)
    stopped, told = threading.Event(), list[str]()

    def tell(text: str) -> None:
        told.append(text)
        stopped.set()

    shrunk(store, tell, stopped)
    assert len(told) <= 1
    shrunk(store, told.append, threading.Event())
    assert told[-1].startswith("100 %")


def test_writing_anew_can_be_stopped_amid_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store)
    monkeypatch.setattr(store_file, "_INSTRUCTIONS", 100)
    stopped = threading.Event()
    before = size_of(store)
    rewritten(store, lambda text: stopped.set(), stopped)
    assert size_of(store) >= before
    assert at(store, whole=True).problems == ()


def test_writing_anew_needs_room(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Full)
    with pytest.raises(StoreUnavailable, match="make room, or leave out --full"):
        rewritten(store, lambda text: None, threading.Event())


def test_a_store_that_somebody_keeps_is_said_to_be_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = database.connect
    monkeypatch.setattr(database, "connect", lambda path, **options: real(path, **{**options, "timeout": 0.05}))
    with opened(store) as other:
        other.execute("BEGIN IMMEDIATE")
        result = run("compact", "--full", "--store", str(store))
        other.execute("ROLLBACK")
    assert result.exit_code == 2
    assert "locked" in result.stderr


def test_a_store_of_this_version_is_left_as_it_is(store: Path) -> None:
    result = run("migrate", "--store", str(store))
    assert (result.exit_code, result.stdout) == (0, f"{store} has version 1, which is this program's: nothing to do\n")
    assert json.loads(run("migrate", "--json", "--store", str(store)).stdout)["copy"] is None
    assert [path.name for path in store.parent.glob("store.db.v*")] == []


@pytest.fixture
def _next_version(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is of the next version, and the store, which is made before, of this one."""
    later = (*schema.MIGRATIONS, ("CREATE TABLE added (x)",))
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    monkeypatch.setattr(schema, "VERSION", len(later))
    monkeypatch.setattr(database.migrate, "__defaults__", (later,))


@pytest.mark.usefixtures("_next_version")
def test_an_older_store_is_brought_to_this_version_and_kept_as_it_was(store: Path) -> None:
    assert "run: failsafe store migrate" in at(store).problems[0]
    result = run("migrate", "--store", str(store))
    assert result.exit_code == 0
    (copy,) = store.parent.glob("store.db.v1-*T*")
    assert result.stdout == f"{store} had version 1, and has version 2 now; as it was, it is kept as {copy}\n"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(store_file.raw(copy)) as connection:
        assert database.version_of(connection) == 1
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (1080,)
    assert at(store).version == 2
    assert at(store).problems == ()


@pytest.mark.usefixtures("_next_version")
def test_nothing_is_migrated_when_the_copy_cannot_be_made(store: Path) -> None:
    def tell(text: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        migrated(store, 0.0, tell)
    assert [path.name for path in store.parent.glob("store.db.v*")] == []
    assert at(store).version == 1
