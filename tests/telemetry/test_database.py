"""The store's file: who may read it, what is refused, what is set aside, how it is brought up to date."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from failsafe.errors import StoreUnavailable
from failsafe.telemetry import database, location, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


def make(path: Path) -> None:
    database.connect(path).close()


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_new_store_is_readable_by_its_owner_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(database.connect(path)) as connection:
            connection.execute("INSERT INTO models (name) VALUES ('m')")
            files = [path, *(Path(f"{path}{suffix}") for suffix in database.BESIDE)]
            assert [stat.S_IMODE(each.stat().st_mode) for each in files] == [0o600] * 3
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_new_store_has_wal_incremental_vacuum_and_our_mark(path: Path) -> None:
    with closing(database.connect(path)) as connection:

        def pragma(name: str) -> object:
            return connection.execute(f"PRAGMA {name}").fetchone()[0]

        assert (pragma("journal_mode"), pragma("auto_vacuum"), pragma("synchronous")) == ("wal", 2, 1)
        assert (pragma("application_id"), pragma("user_version")) == (database.APPLICATION, schema.VERSION)
        assert tables(connection) >= {"targets", "attempts", "rollup_10", "rollup_900", "leases"}


def test_a_store_in_memory_has_the_same_tables(path: Path) -> None:
    with closing(database.connect(None)) as memory, closing(database.connect(path)) as file:
        assert tables(memory) == tables(file)


def test_reading_changes_nothing(path: Path) -> None:
    make(path)
    with (
        closing(database.connect(path, read_only=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match=r"readonly|query_only"),
    ):
        connection.execute("INSERT INTO models (name) VALUES ('m')")


def test_a_store_that_is_not_there_cannot_be_read(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"there is no store at .*store\.db yet"):
        database.connect(path, read_only=True)
    assert not path.exists()


def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match=f"version {schema.VERSION + 1}.*upgrade"):
            database.connect(path, read_only=read_only)


def test_a_store_of_an_older_version_says_how_it_is_brought_up_to_date(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")
    with pytest.raises(StoreUnavailable, match="failsafe store migrate"):
        database.connect(path, read_only=True)


def test_migrations_lead_from_every_version_to_the_last() -> None:
    steps = (("CREATE TABLE a (x)",), ("ALTER TABLE a ADD COLUMN y", "CREATE TABLE b (x)"), ("DROP TABLE b",))
    for version in range(len(steps) + 1):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            database.migrate(connection, steps[:version])
            assert database.migrate(connection, steps) == version
            assert database.version_of(connection) == len(steps)
            assert tables(connection) == {"a"}


def test_a_migration_that_fails_leaves_the_version_before() -> None:
    steps = (("CREATE TABLE a (x)",), ("CREATE TABLE b (x)", "CREATE TABLE a (x)"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        database.migrate(connection, steps[:1])
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            database.migrate(connection, steps)
        assert (database.version_of(connection), tables(connection)) == (1, {"a"})


def test_the_database_of_another_program_is_refused_and_not_changed(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        database.connect(path)
    with closing(sqlite3.connect(path)) as connection:
        assert tables(connection) == {"theirs"}
        connection.execute("PRAGMA application_id = 4711")
    with pytest.raises(StoreUnavailable, match="another program"):
        database.connect(path)
    assert len(path.read_bytes()) == len(before)


def test_a_file_that_is_no_database_is_not_touched_unless_it_is_called_one(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("milk, eggs, bread" * 100)
    with pytest.raises(StoreUnavailable, match="no database"):
        database.connect(notes)
    assert notes.read_text().startswith("milk")


def test_a_second_connection_gives_up_no_lock_so_that_no_other_process_deletes_the_wal(path: Path) -> None:
    with closing(database.connect(path)) as writing:
        writing.execute("INSERT INTO models (name) VALUES ('first')")
        before = database.identity(Path(f"{path}-wal"))
        database.connect(path).close()
        database.connect(path, read_only=True).close()
        another = (
            "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c: c.execute('DELETE FROM models')\nc.close()"
        )
        subprocess.run([sys.executable, "-c", another, str(path)], check=True, timeout=60)
        assert database.identity(Path(f"{path}-wal")) == before
        writing.execute("INSERT INTO models (name) VALUES ('last')")
        read = "import sqlite3, sys\nprint(*sqlite3.connect(sys.argv[1]).execute('SELECT name FROM models').fetchall())"
        seen = subprocess.run(
            [sys.executable, "-c", read, str(path)], check=True, timeout=60, capture_output=True, text=True
        )
    assert seen.stdout.strip() == "('last',)"


def test_a_file_that_may_not_be_read_is_said_with_what_to_look_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(StoreUnavailable, match="look at its owner and its permissions"):
        database.connect(path)


def test_a_folder_or_a_pipe_in_its_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "folder.db").mkdir()
    for name in ("pipe.db", "folder.db"):
        with pytest.raises(StoreUnavailable, match="no regular file"):
            database.connect(tmp_path / name)


def test_a_folder_that_cannot_be_made_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"cannot be made \(Not a directory\).*FAILSAFE_STORE"):
        database.connect(tmp_path / "file" / "below" / "store.db")


@pytest.mark.parametrize("suffix", database.BESIDE)
def test_what_a_deleted_store_left_beside_itself_is_not_taken_for_the_new_ones(path: Path, suffix: str) -> None:
    path.parent.mkdir()
    Path(f"{path}{suffix}").write_bytes(b"left over")
    with closing(database.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_damaged_file_is_set_aside_and_the_three_latest_are_kept(path: Path) -> None:
    for number in range(5):
        make(path)
        damaged = database.identity(path)
        aside = database.set_aside(path, damaged, 1_800_000_000.0 + number)
        assert aside is not None
        assert aside.exists()
        assert not path.exists()
        assert database.set_aside(path, damaged, 1_800_000_000.0) is None  # another process was quicker
    assert len(list(path.parent.glob("store.db.damaged-*"))) == 3
    assert aside in set(path.parent.iterdir())


def test_damage_is_told_from_what_passes(path: Path) -> None:
    make(path)
    path.write_bytes(b"\xa5" * 8192)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        database.connect(path)
    assert database.is_damage(damaged.value)
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.OperationalError) as mistaken:
        connection.execute("SELECT * FROM nothing")
    assert not database.is_damage(mistaken.value)
    assert not database.is_damage(OSError())


def test_a_network_file_system_is_refused_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = path.parent.parent / "mountinfo"
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:2 / {str(path.parent).replace('state', 'st')} rw - ext4 /dev/sdb rw\n"
        f"3 1 0:3 / {path.parent} rw shared:1 - nfs4 server:/home rw\n"
        "garbage\n"
    )
    monkeypatch.setattr(location, "_MOUNTS", mounts)
    with pytest.raises(StoreUnavailable, match=r"network file system \(nfs4\).*FAILSAFE_STORE"):
        database.connect(path)
    assert location.network_file_system(path.parent.parent) is None
    monkeypatch.setattr(location, "_MOUNTS", path.parent.parent / "nothing")
    assert location.network_file_system(path.parent) is None
