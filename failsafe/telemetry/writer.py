"""Writes what is recorded, in batches, on one thread; keeps it in memory while the file cannot be used."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from failsafe.clock import Clock
from failsafe.errors import StoreUnavailable
from failsafe.events import Event
from failsafe.monitoring_config import MonitorConfig, StoreConfig
from failsafe.telemetry import commands, database, leases, retention, settling
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.commands import Command
from failsafe.telemetry.records import Source

_logger = logging.getLogger("failsafe.store")

HEARTBEAT = 5.0
"""Seconds between two signs of life."""

_COMMANDS = 1.0
"""Seconds between two looks for commands."""
_SETTLE = 15.0
_TIDY = 60.0
_MOST_AT_ONCE = 20_000
"""Events in one transaction: other processes wait for its end."""
_PATIENCE = 5.0
"""Seconds that a transaction waits for another process that is writing."""
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
_MEMORY = 32 * 1024 * 1024
"""Bytes of the store in memory that stands in for the file."""

Entry = tuple[Source, Event]


CarryOut = Callable[[Command], str | None]
"""Does what a command says; what came of it in words, or None if it concerns nobody here."""
Look = Callable[[Batch, Source], None]
"""Puts how the breakers are into a batch."""


class Listener(NamedTuple):
    """What the writer's thread asks of a router that records. Neither function may raise."""

    source: Source
    carry_out: CarryOut | None
    look: Look | None


class Writer:
    """
    The writing half of a store. Lives in one thread at a time.

    Whatever the file does (full, locked, read-only, deleted, damaged), what is recorded is held in memory, up to
    ``config.queue_size`` events, and written once that works again; what exceeds that is dropped and counted. A
    damaged file gets another name and a new one is begun.

    Args:
        path: The file; None: a store in memory.
        config: Its settings.
        clock: The source of time.
        process: This process's id in the store.
        listeners: The routers that record; replaced, never changed.

    Attributes:
        queue: What waits to be written; single operations on it are atomic under the GIL.
        degraded: Why the file cannot be used at present, or None.
        dropped: Events that were lost.
        monitor: How uptime is reckoned; None: as a monitor does by default.
        memory: The store in memory that is read while there is no file, or None; under ``memory_lock``.
    """

    def __init__(
        self,
        path: Path | None,
        config: StoreConfig,
        clock: Clock,
        process: int,
        listeners: tuple[Listener, ...] = (),
    ) -> None:
        self.path = path
        self.process = process
        self.queue: deque[Entry] = deque()
        self.listeners = listeners
        self.degraded: str | None = None
        self.dropped = 0
        self.memory: sqlite3.Connection | None = None
        self.memory_lock = threading.RLock()
        self._config = config
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._beside: list[tuple[int, int] | None] = []
        self._began = clock.time()
        self._unwritten: deque[Batch] = deque()
        self._held = 0  # events in _unwritten
        self._retry_at = 0.0
        self._retries = 0
        self.monitor: MonitorConfig | None = None
        self._due = {"heartbeat": 0.0, "commands": 0.0, "settle": 0.0, "tidy": 0.0}
        self._version_seen: int | None = None
        self._told = False
        self._introduced = False  # to the store in memory

    def open_memory(self) -> sqlite3.Connection:
        """The store in memory, made if need be; the caller holds ``memory_lock``."""
        if self.memory is None:
            self.memory = database.connect(None)
        return self.memory

    def step(self) -> None:
        """Write what waits, and do what is due; never raises an ``Exception``."""
        now = self._clock.time()
        while self.queue:
            self._take(now)
            if self._write(now):
                continue
            if self.path is not None and self._held >= self._config.queue_size:
                break
        if self._unwritten:
            self._write(now)
        self._do_what_is_due(now)

    def close(self) -> None:
        """Say that this process ends, and close the file."""
        now = self._clock.time()
        if self.degraded is None or self.path is None:
            self._attempt(lambda connection: self._say_goodbye(connection, now))
        self._forget_connection()
        with self.memory_lock:
            memory, self.memory = self.memory, None
            self._introduced = False
            if memory is not None:
                memory.close()

    def rest(self) -> None:
        """Close the connection to the file until the next step; nobody may be in one."""
        self._forget_connection()

    def leave_to_parent(self) -> list[sqlite3.Connection]:
        """Let go of the connections in a forked child, where they must not be closed; whoever calls keeps them."""
        kept = [each for each in (self._connection, self.memory) if each is not None]
        self._connection = self.memory = None
        return kept

    # From the queue into batches.

    def _take(self, now: float) -> None:
        batch = Batch()
        queue = self.queue
        for _ in range(_MOST_AT_ONCE):
            try:
                source, event = queue.popleft()
            except IndexError:
                break
            batch.add(source, event, now)
        self._hold(batch)

    def _hold(self, batch: Batch) -> None:
        self._unwritten.append(batch)
        self._held += batch.events
        while self._held > self._config.queue_size and len(self._unwritten) > 1:
            lost = self._unwritten.popleft()
            self._held -= lost.events
            self.dropped += lost.events

    # Into the file.

    def _write(self, now: float) -> bool:
        """Write all that is held; whether that was possible."""
        if self.path is None:
            return self._write_to_memory(now)
        if now < self._retry_at and self._retry_at - now <= _LAST_RETRY:  # a clock set back must not stop it for long
            self._mirror(now)
            return False
        if not self._attempt(lambda connection: self._write_held(connection, now)):
            self._mirror(now)
            return False
        return True

    def _write_held(self, connection: sqlite3.Connection, now: float) -> None:
        while self._unwritten:
            batch = self._unwritten[0]
            batch.write(connection, self.process, now)
            self._unwritten.popleft()
            self._held -= batch.events
            self.dropped += batch.refused
            retention.make_room(connection, self._config)  # whoever fills the file makes room in it

    def _attempt(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Do *work* on the file; whether it succeeded. A damaged file is replaced, and the work tried once more."""
        for last in (False, True):
            try:
                work(self._opened())
            except StoreUnavailable as error:
                self._degrade(str(error))
                return False
            except (sqlite3.Error, OSError) as error:
                if database.is_damage(error) and self._replace_damaged(error) and not last:
                    continue
                self._degrade(f"the store {self.path} cannot be written ({error})")
                return False
            except Exception as error:  # noqa: BLE001 -- a mistake of ours must cost records, never the thread
                _log(logging.ERROR, "what was recorded could not be written", error=error)
                self._drop_held()
                self._degrade(f"the store {self.path} could not be written ({type(error).__name__})")
                return False
            self._recover()
            return True
        return False

    def _drop_held(self) -> None:
        self.dropped += self._held
        self._held = 0
        self._unwritten.clear()

    def _opened(self) -> sqlite3.Connection:
        """The connection to the file that has the name now; a deleted one is made anew."""
        path = self.path
        if path is None:
            memory = self.open_memory()
            if not self._introduced:
                self._introduce(memory)
                self._introduced = True
            return memory
        if self._connection is not None and self._has_moved(path):
            self._forget_connection()
        if self._connection is None:
            self._identity = database.identity(path)  # before: it may be damaged, and then it is this one
            connection = database.connect(path, timeout=_PATIENCE)
            try:
                self._introduce(connection)
                self._identity, self._beside = database.identity(path), _beside(path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _has_moved(self, path: Path) -> bool:
        """Whether the file, or one of those beside it, is not the one any more that the connection uses."""
        return database.identity(path) != self._identity or _beside(path) != self._beside

    def _introduce(self, connection: sqlite3.Connection) -> None:
        from failsafe import __version__

        program = os.path.basename(sys.argv[0] or "") or "python" if hasattr(sys, "argv") else "python"  # noqa: PTH119
        connection.execute(
            "INSERT INTO processes (id, pid, host, program, version, started_at, seen_at, dropped) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, ended_at = NULL",
            (
                self.process, os.getpid(), socket.gethostname(), program, __version__, self._began,
                self._clock.time(), self.dropped,
            ),
        )  # fmt: skip

    def _say_goodbye(self, connection: sqlite3.Connection, now: float) -> None:
        with database.transaction(connection):
            connection.execute(
                "UPDATE processes SET seen_at = ?, ended_at = ?, dropped = ? WHERE id = ?",
                (now, now, self.dropped, self.process),
            )
            connection.execute("DELETE FROM breakers WHERE process = ?", (self.process,))
            connection.execute("DELETE FROM leases WHERE holder = ?", (self.process,))

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._version_seen = None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _replace_damaged(self, error: Exception) -> bool:
        """Set the damaged file aside; whether a new one can be begun."""
        assert self.path is not None  # noqa: S101 -- memory is not damaged
        identity = self._identity or database.identity(self.path)
        self._forget_connection()
        aside = database.set_aside(self.path, identity, self._clock.time())
        if aside is not None:
            said = "the store %s was damaged (%s); it is kept as %s, a new one begun"
            _log(logging.WARNING, said, self.path, error, aside)
            return True
        return database.identity(self.path) != identity  # another process was quicker

    # While the file cannot be used.

    def _degrade(self, reason: str) -> None:
        self._forget_connection()
        self._retries += 1
        self._retry_at = self._clock.time() + min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(self._retries - 1, 10))
        if self.degraded is None and not self._told:
            self._told = True
            _log(logging.WARNING, "%s; what is recorded stays in memory until that works again", reason)
        self.degraded = reason

    def _recover(self) -> None:
        self._retries, self._retry_at = 0, 0.0
        if self.degraded is None or self.path is None:
            return
        self.degraded = None
        self._told = False
        with self.memory_lock:
            memory, self.memory = self.memory, None
            if memory is not None:
                memory.close()
        _log(logging.INFO, "the store %s works again; %d events were lost", self.path, self.dropped)

    def _mirror(self, now: float) -> None:
        """Put what is held into a store in memory, too, so that it can be read meanwhile."""
        for batch in self._unwritten:
            if not batch.mirrored:
                batch.mirrored = True
                self._show(batch, now)

    def _show(self, batch: Batch, now: float) -> None:
        with suppress(sqlite3.Error), self.memory_lock:
            memory = self.open_memory()
            batch.write(memory, self.process, now)
            retention.make_room(memory, replace(self._config, max_bytes=_MEMORY))

    def _write_to_memory(self, now: float) -> bool:
        with self.memory_lock:
            return self._attempt(lambda connection: self._write_held(connection, now))

    # What is due now and then.

    def _do_what_is_due(self, now: float) -> None:
        if self._is_due("heartbeat", HEARTBEAT, now):
            self._look(now)
        if self._is_due("tidy", _TIDY, now):
            self._tidy(now)
        if self.degraded is not None:
            return
        if self._is_due("commands", _COMMANDS, now):
            self._carry_out(now)
        if self._is_due("settle", _SETTLE, now):
            self._attempt_locked(lambda connection: settling.settle(connection, self.process, now, self.monitor))

    def _is_due(self, what: str, every: float, now: float) -> bool:
        if 0 <= now - self._due[what] < every:
            return False
        self._due[what] = now
        return True

    def _attempt_locked(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        if self.path is not None:
            return self._attempt(lambda connection: (work(connection), None)[1])
        with self.memory_lock:
            return self._attempt(lambda connection: (work(connection), None)[1])

    def _look(self, now: float) -> None:
        """Write how the breakers are, and that this process lives."""
        batch = Batch()
        for listener in self.listeners:
            if listener.look is not None:
                listener.look(batch, listener.source)
        if self.degraded is not None and not self._write(now):
            self._show(batch, now)  # it is not held: by the time the file works again it tells nothing any more
            return

        def beat(connection: sqlite3.Connection) -> None:
            self._write_held(connection, now)
            if batch.events:
                batch.write(connection, self.process, now)
            connection.execute(
                "UPDATE processes SET seen_at = ?, dropped = ? WHERE id = ?", (now, self.dropped, self.process)
            )

        self._attempt_locked(beat)

    def _tidy(self, now: float) -> None:
        if self.degraded is not None:
            with suppress(sqlite3.Error), self.memory_lock:
                if self.memory is not None:
                    retention.tidy(self.memory, replace(self._config, max_bytes=_MEMORY), now)
            return

        def tidy(connection: sqlite3.Connection) -> None:
            if leases.acquire(connection, "tidy", self.process, 2 * _TIDY, now):
                for _ in itertools.repeat(None, 20):  # steps; the rest in a minute
                    if not retention.tidy(connection, self._config, now):
                        break

        self._attempt_locked(tidy)

    def _carry_out(self, now: float) -> None:
        found: list[Command] = []

        def look(connection: sqlite3.Connection) -> None:
            version = int(connection.execute("PRAGMA data_version").fetchone()[0])
            if version != self._version_seen:  # else no other connection has written anything
                found.extend(commands.pending(connection, self.process, now))
                self._version_seen = version

        self._attempt_locked(look)
        for command in found:
            self._carry_out_one(command, now)

    def _carry_out_one(self, command: Command, now: float) -> None:
        asked = [each.carry_out(command) for each in self.listeners if each.carry_out is not None]
        said = [each for each in asked if each is not None]
        outcome = "; ".join(dict.fromkeys(said)) or commands.NOT_HERE
        self._attempt_locked(lambda connection: commands.note(connection, command.id, self.process, now, outcome))


def _beside(path: Path) -> list[tuple[int, int] | None]:
    return [database.identity(Path(f"{path}{suffix}")) for suffix in database.BESIDE]


def _log(level: int, message: str, *values: object, error: BaseException | None = None) -> None:
    with suppress(Exception):  # a program's own log handler may raise; that must not end the thread
        _logger.log(level, message, *values, exc_info=error)
