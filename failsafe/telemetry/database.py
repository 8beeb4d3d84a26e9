"""Opens the store's file, and says what is wrong with one that cannot be opened."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from failsafe.errors import StoreUnavailable
from failsafe.telemetry import schema
from failsafe.telemetry.location import network_file_system

APPLICATION = 0x66616C73
"""``PRAGMA application_id`` of a store ("fals"), which tells it from other SQLite files."""

BESIDE = ("-wal", "-shm")
"""What SQLite writes beside the file."""

_USUAL_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_KEPT_DAMAGED = 3
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)


def connect(path: Path | None, *, read_only: bool = False, timeout: float = 5.0) -> sqlite3.Connection:
    """
    A connection to the store at *path*, made and brought to this program's version if need be.

    Transactions are begun and ended by whoever uses it. It may be handed from thread to thread, and used by one at a
    time.

    Args:
        path: The file; None: a store in memory.
        read_only: Change nothing, not even the version; the file must be there.
        timeout: Seconds to wait for another process that is writing.

    Raises:
        StoreUnavailable: It cannot be used; the message says why and what to do.
        sqlite3.Error: SQLite refuses the file; see :func:`is_damage`.
    """
    if path is None:
        return _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
    kind = network_file_system(path.parent)
    if kind is not None:
        raise StoreUnavailable(
            f"the store {path} lies on a network file system ({kind}), where SQLite's WAL does not work; "
            "name a local file in FAILSAFE_STORE, or set it to off"
        )
    if not read_only:
        _make(path)
    elif not path.exists():
        raise StoreUnavailable(f"there is no store at {path} yet; it is made by the first program that records into it")
    _refuse_what_is_no_file(path)
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(os.fspath(path))}?mode={mode}",
        uri=True, timeout=timeout, isolation_level=None, check_same_thread=False,
    )  # fmt: skip
    try:
        _refuse_others(path, connection)
        if not read_only:
            return _prepared(connection)
        connection.execute("PRAGMA query_only = ON")
        check_version(path, version_of(connection))
    except BaseException:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0: there are none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(path: Path | None, version: int) -> None:
    """
    Refuse to read tables of another version than this program's.

    Raises:
        StoreUnavailable: They are newer, or older.
    """
    if version > schema.VERSION:
        raise StoreUnavailable(
            f"the store {path or 'in memory'} has version {version}, and this failsafe knows versions up to "
            f"{schema.VERSION}; upgrade it, or name another file in FAILSAFE_STORE"
        )
    if version < schema.VERSION:
        raise StoreUnavailable(
            f"the store {path or 'in memory'} has version {version}, which is older than {schema.VERSION}; "
            "run: failsafe store migrate"
        )


def _make(path: Path) -> None:
    """Make the file, and its folder, readable by their owner alone, unless they are there."""
    problem = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, _NEW_FILE, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        problem = error.strerror or type(error).__name__
    else:
        os.close(descriptor)
        for suffix in BESIDE:  # of a file that was deleted: they would be taken for this one's
            with suppress(OSError):
                Path(f"{path}{suffix}").unlink()
        return
    raise StoreUnavailable(
        f"the store {path} cannot be made ({problem}); make its folder writable, name another file in FAILSAFE_STORE, "
        "or set it to off"
    )


def _refuse_what_is_no_file(path: Path) -> None:
    """Refuse a folder or a pipe, on which SQLite might hang, and say of a file that nobody lets this user read it."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        if not regular:
            raise StoreUnavailable(f"the store {path} is no regular file; name another in FAILSAFE_STORE")
        if os.access(path, os.R_OK):
            return
        reason = os.strerror(errno.EACCES)
    raise StoreUnavailable(f"the store {path} cannot be read ({reason}); look at its owner and its permissions")


def _refuse_others(path: Path, connection: sqlite3.Connection) -> None:
    """
    Refuse what is no file of ours, so that nobody else's database is changed or moved away.

    SQLite looks, never this program by itself: whoever closes a file gives up all the locks that its process has on
    it, also those of other connections, and another process would then delete the WAL that they write into
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    foreign = False
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if not is_damage(error) or path.suffix in _USUAL_SUFFIXES:
            raise
        foreign = True
    if foreign:
        raise StoreUnavailable(f"{path} is no database; name another file in FAILSAFE_STORE")
    if application not in (APPLICATION, 0):
        raise StoreUnavailable(f"{path} is a database of another program; name another file in FAILSAFE_STORE")


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Settle how the file is written, and bring its tables to this program's version."""
    try:
        if version_of(connection) == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded as long as there is no table
        _check_mode(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the program loses nothing, a power cut may
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA trusted_schema = OFF")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_mode(mode: str) -> None:
    if mode not in ("wal", "memory"):
        raise StoreUnavailable(
            f"SQLite's WAL does not work where the store lies (it says {mode}); name a file on a local disk in "
            "FAILSAFE_STORE, or set it to off"
        )


def migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = schema.MIGRATIONS) -> int:
    """
    Bring the tables to this program's version, all or nothing; the version they had.

    Raises:
        StoreUnavailable: They are of a newer version, or the database is another program's.
    """
    known = len(migrations)
    found = version_of(connection)
    if found == known:
        return found
    with transaction(connection):
        found = version_of(connection)  # another process may have been quicker
        if found > known:
            raise StoreUnavailable(
                f"the store has version {found}, and this failsafe knows versions up to {known}; upgrade it, or name "
                "another file in FAILSAFE_STORE"
            )
        if found == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreUnavailable("this is a database of another program; name another file in FAILSAFE_STORE")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        for steps in migrations[found:]:
            for statement in steps:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {known}")
    return found


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that writes: kept when the block ends, undone when anything is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite may have undone it by itself
            connection.execute("ROLLBACK")
        raise


def is_damage(error: BaseException) -> bool:
    """Whether *error* says that the file is damaged, so that waiting helps nothing."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, sqlite.org/rescode.html
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells one file from another that has taken its name; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def set_aside(path: Path, damaged: tuple[int, int] | None, now: float) -> Path | None:
    """
    Give a damaged file another name, ``store.db.damaged-20261124T120000``; the three latest of those are kept.

    Args:
        path: The store's file.
        damaged: The :func:`identity` of the one that was found to be damaged.
        now: Seconds since 1970-01-01 UTC.

    Returns:
        The new name; None if another process was quicker, or the file cannot be renamed.
    """
    if damaged is None or identity(path) != damaged:
        return None
    aside = Path(f"{path}.damaged-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}")
    try:
        path.rename(aside)
    except OSError:
        return None
    for suffix in BESIDE:
        with suppress(OSError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    earlier = sorted(path.parent.glob(f"{path.name}.damaged-*T??????"))
    for old in earlier[:-_KEPT_DAMAGED]:
        for suffix in ("", *BESIDE):
            with suppress(OSError):
                Path(f"{old}{suffix}").unlink()
    return aside
