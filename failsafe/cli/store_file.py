"""The store's file as a file: what is wrong with it, and how it is made smaller or brought to another version."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec

from failsafe.errors import StoreUnavailable
from failsafe.telemetry import database, schema
from failsafe.telemetry.location import Location, network_file_system

Progress = Callable[[str], None]
"""Is told how far something has come, in words."""

_STEP = 2000
"""Pages that are given back, or copied, at once: others write between."""
_INSTRUCTIONS = 200_000
"""Of SQLite's, between two looks at whether to stop."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the store's file is.

    Attributes:
        path: The file; None: the store is off.
        origin: Who has said so: ``--store``, ``setting``, ``FAILSAFE_STORE`` or ``default``.
        exists: Whether it is there.
        bytes: Of the file and of what SQLite has beside it.
        version: Of its tables; None: not known.
        file_system: The kind of network file system that it is on, or None.
        writable: Whether this user can write it, or make it.
        damaged: Whether SQLite says so; of the whole file only if that was asked for.
        problems: All that is wrong, in words.
    """

    path: str | None
    origin: str
    exists: bool = False
    bytes: int = 0
    version: int | None = None
    file_system: str | None = None
    writable: bool = True
    damaged: bool = False
    problems: tuple[str, ...] = ()


def condition_of(found: Location, *, whole: bool) -> Condition:
    """How the file at *found* is; *whole*: read all of it to see whether it is sound."""
    path = found.path
    if path is None:
        return Condition(path=None, origin=found.origin)
    exists, kind = path.exists(), network_file_system(path.parent)
    writable = _is_writable(path)
    problems = []
    if not writable:
        problems.append("it is read-only for this user: programs of his keep what happens in memory, and lose it")
    version, damage, problem = None, "", ""
    if exists or kind is not None:
        version, damage, problem = _looked_into(path, whole=whole)
    problems += [each for each in (problem, damage) if each]
    return Condition(
        path=str(path), origin=found.origin, exists=exists, bytes=size_of(path), version=version, file_system=kind,
        writable=writable, damaged=bool(damage), problems=tuple(problems),
    )  # fmt: skip


def _is_writable(path: Path) -> bool:
    """Whether the file and its folder, where SQLite puts files beside it, can be written, or made."""
    existing = path.parent
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return os.access(existing, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def _looked_into(path: Path, *, whole: bool) -> tuple[int | None, str, str]:
    """Its version, in what way it is damaged, and what else is wrong."""
    version = None
    try:
        with closing(raw(path)) as connection:
            version = database.version_of(connection)
        with closing(database.connect(path, read_only=True)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
    except StoreUnavailable as error:
        return version, "", str(error)
    except sqlite3.Error as error:
        if database.is_damage(error):
            return version, f"it is damaged ({error}); the next program that records sets it aside and begins anew", ""
        return version, "", f"it cannot be read ({error})"
    return version, "" if found == "ok" else f"it is damaged ({found.splitlines()[-1]})", ""


def size_of(path: Path) -> int:
    """Bytes of the file at *path* and of what SQLite has beside it."""
    total = 0
    for suffix in ("", *database.BESIDE):
        with suppress(OSError):
            total += Path(f"{path}{suffix}").stat().st_size
    return total


def raw(path: Path) -> sqlite3.Connection:
    """A connection that reads, whatever version the file is of."""
    return sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True, isolation_level=None)


def _of_this_version(path: Path) -> sqlite3.Connection:
    """A connection that writes; never makes a store, nor brings one to another version."""
    database.connect(path, read_only=True).close()
    return database.connect(path)


def shrunk(path: Path, tell: Progress, stopped: threading.Event) -> None:
    """Give what is free within the file back to the file system, step by step, while others write."""
    with closing(_of_this_version(path)) as connection:
        free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
        left = free
        while left and not stopped.is_set():
            connection.execute(f"PRAGMA incremental_vacuum({_STEP})").fetchall()
            before, left = left, int(connection.execute("PRAGMA freelist_count").fetchone()[0])
            if left >= before:  # the file was not made for it
                break
            tell(f"{100 * (free - left) // free} % of what is free is given back")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def rewritten(path: Path, tell: Progress, stopped: threading.Event) -> None:
    """
    Write the whole file anew, without gaps; nobody else can write meanwhile.

    Raises:
        StoreUnavailable: There is not enough room for a second copy.
    """
    needed, free = 2 * size_of(path), shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreUnavailable(
            f"to write {path} anew takes {needed / 1e6:.0f} MB for a while, and {free / 1e6:.0f} MB are free; make "
            "room, or leave out --full"
        )
    with closing(_of_this_version(path)) as connection:
        connection.execute("PRAGMA temp_store = FILE")  # a copy of the whole has no place in memory
        connection.set_progress_handler(stopped.is_set, _INSTRUCTIONS)
        tell("writing it anew")
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError:
            if not stopped.is_set():
                raise
        connection.set_progress_handler(None, 0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def migrated(path: Path, now: float, tell: Progress) -> tuple[int, int, Path | None]:
    """
    Bring the tables to this program's version, after a copy of the file was made.

    Returns:
        The version before, the version after, and the copy; None where there was nothing to do.

    Raises:
        StoreUnavailable: It is of a newer version, or cannot be used.
    """
    if not path.exists():
        raise StoreUnavailable(f"there is no store at {path} yet; it is made by the first program that records into it")
    with closing(raw(path)) as old:
        application = int(old.execute("PRAGMA application_id").fetchone()[0])
        before = database.version_of(old)
        if application != database.APPLICATION or before >= schema.VERSION:
            database.connect(path, read_only=True).close()  # says what is wrong, if anything is
            return before, before, None
        copy = _copied(old, path, before, now, tell)
    with closing(database.connect(path)) as connection:
        return before, database.version_of(connection), copy


def _copied(old: sqlite3.Connection, path: Path, version: int, now: float, tell: Progress) -> Path:
    copy = path.with_name(f"{path.name}.v{version}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}")
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(copy)) as new:
            old.backup(
                new,
                pages=_STEP,
                progress=lambda _status, left, total: tell(f"{100 * (total - left) // max(1, total)} % is copied"),
            )
    except BaseException:
        copy.unlink()
        raise
    return copy
