"""Consistent views of the store, for whoever reads: each one sees a single moment and holds up nobody who writes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from failsafe import forking
from failsafe.errors import StoreUnavailable
from failsafe.telemetry import database
from failsafe.telemetry.fork_gate import GATE

T = TypeVar("T")

_BUSY = 5.0
"""Seconds to wait for a process that keeps the whole file, as SQLite does to repair it."""

_left_to_parent: list[sqlite3.Connection] = []
"""Connections of a forked child's parent: closing them here would disturb its locks (sqlite.org/howtocorrupt.html)."""


class Snapshots(Protocol):
    """Where a reader gets its views from. Implementations are thread-safe."""

    def read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """
        What *look* finds at one moment.

        Raises:
            StoreUnavailable: The store cannot be read; the message says why.
        """

    def close(self) -> None:
        """Let go of the store. Idempotent."""


class FileSnapshots:
    """
    Views of a file, over a connection of its own that cannot write.

    When the file is deleted or another takes its name, the next view is of the new one. Thread-safe: one view at a
    time.

    Args:
        path: The file.

    Raises:
        StoreUnavailable: It cannot be read, or is of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closed = False
        self._connection: sqlite3.Connection | None = None  # guarded by _lock
        self._identity: tuple[int, int] | None = None  # guarded by _lock
        self._lock = threading.Lock()
        forking.register(self)
        GATE.keep(self)
        with GATE.using(), self._lock:
            self._opened_locked()

    def _before_fork(self) -> None:
        self._forget_locked()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._connection is not None:
            _left_to_parent.append(self._connection)
            self._connection = None

    def read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """As :meth:`Snapshots.read`; once more if the file was replaced meanwhile."""
        with GATE.using(), self._lock:
            try:
                return self._read_locked(look)
            except sqlite3.Error as error:
                replaced = database.identity(self.path) != self._identity
                self._forget_locked()
                if not replaced:
                    raise self._unavailable(error) from None
            try:
                return self._read_locked(look)
            except sqlite3.Error as error:
                self._forget_locked()
                raise self._unavailable(error) from None

    def _read_locked(self, look: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._opened_locked()
        database.check_version(self.path, database.version_of(connection))
        return _at_one_moment(connection, look)

    def _opened_locked(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnavailable(f"this reader of the store {self.path} is closed; open another")
        if self._connection is not None and database.identity(self.path) != self._identity:
            self._forget_locked()
        if self._connection is None:
            try:
                self._identity = database.identity(self.path)  # before: a file that comes later is noticed next time
                self._connection = database.connect(self.path, read_only=True, timeout=_BUSY)
            except sqlite3.Error as error:
                raise self._unavailable(error) from None
        return self._connection

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        if database.is_damage(error):
            advice = "the next program that records sets it aside and begins a new one"
        else:
            advice = "try again; if that goes on, see which program holds it"
        return StoreUnavailable(f"the store {self.path} cannot be read ({error}); {advice}")

    def _forget_locked(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def close(self) -> None:
        """As :meth:`Snapshots.close`; waits for a view that is being taken."""
        with GATE.using(), self._lock:
            self._closed = True
            self._forget_locked()

    def __repr__(self) -> str:
        return str(self.path)


class SharedSnapshots:
    """
    Views of a store in memory, over the connection of whoever writes. Thread-safe.

    Args:
        connection: It; no transaction may be open while *lock* is free.
        lock: Held by whoever uses the connection.
    """

    def __init__(self, connection: sqlite3.Connection, lock: AbstractContextManager[object]) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock

    def read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """As :meth:`Snapshots.read`."""
        with self._lock:
            if self._connection is None:
                raise StoreUnavailable("this reader of a store in memory is closed; open another")
            try:
                return _at_one_moment(self._connection, look)
            except sqlite3.Error as error:
                raise StoreUnavailable(f"the store in memory cannot be read ({error})") from None

    def close(self) -> None:
        """As :meth:`Snapshots.close`; the connection stays open, as it is another's."""
        self._connection = None

    def __repr__(self) -> str:
        return "in memory"


def _at_one_moment(connection: sqlite3.Connection, look: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN")
    try:
        return look(connection)
    finally:
        with suppress(sqlite3.Error):  # a connection that has failed may have ended it by itself
            connection.execute("ROLLBACK")
