"""
What has happened, in one file that all programs of a user share.

::

    store = open_store(StoreConfig())            # the same for all who ask for this file in this process
    recorder = store.recorder({"openai": TargetInfo("https://api.openai.com/v1")})
    recorder.record(event)                       # an append to a bounded queue; a thread writes
    with store.reader() as reader:
        reader.overview(began, ended)

The guide is ``docs/store.md``.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from failsafe import forking, threads
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.errors import StoreUnavailable
from failsafe.events import Event
from failsafe.monitoring_config import MonitorConfig, StoreConfig
from failsafe.signal_safe import SignalSafeEvent
from failsafe.telemetry import database
from failsafe.telemetry.fork_gate import GATE
from failsafe.telemetry.location import locate
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.records import Source, TargetInfo
from failsafe.telemetry.writer import CarryOut, Listener, Look, Writer

__all__ = ["Recorder", "Store", "TargetInfo", "open_store"]

T = TypeVar("T")

_logger = logging.getLogger("failsafe.store")

_GATHER = 0.25
"""Seconds for which events are gathered into one transaction."""
_TURN = 1.0
"""Seconds between two looks at what else is due, while there is nothing to write."""
_RARE = 2.0
"""Seconds that a rare transaction waits for another process that is writing."""
_AT_EXIT = 1.0
"""Seconds that a program which ends waits for all its stores together."""


class Store:
    """
    One file with what has happened, written by one thread of this process. Thread-safe.

    The thread starts with the first event, is a daemon, and ends when the last recorder is closed or collected; a
    program that ends waits up to a second for what is still queued. Nothing here raises into a call.

    Args:
        path: The file; None: a store in memory, which ends with its last recorder.
        config: How long and how much is kept.
        clock: What the time is; the thread's own waits are real.

    Attributes:
        process_id: This process in the store: a random number, as the system uses its own ones again.
    """

    def __init__(self, path: Path | None, config: StoreConfig | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.path = path
        self.config = config or StoreConfig()
        self._clock = clock
        self._monitor: MonitorConfig | None = None
        self._recorders = 0  # guarded by _lock
        self._lost = 0  # guarded by _lock
        self._start_afresh(())
        forking.register(self)
        GATE.keep(self)

    def _start_afresh(self, listeners: tuple[Listener, ...]) -> None:
        self._lock = threading.RLock()  # a finalizer may release a recorder while this thread holds it
        self.process_id = (int.from_bytes(os.urandom(6), "big") >> 1) or 1
        self._writer = Writer(self.path, self.config, self._clock, self.process_id, listeners)
        self._writer.monitor = self._monitor
        self._queue = self._writer.queue
        self._wake = SignalSafeEvent()
        self._hurry = SignalSafeEvent()
        self._flushes: list[SignalSafeEvent] = []  # single operations, atomic under the GIL
        self._idle = True
        self._ending = False
        self._thread: threading.Thread | None = None  # guarded by _lock for writing

    def _before_fork(self) -> None:
        self._writer.rest()

    def _after_fork(self) -> None:
        """The parent writes what it has queued; the child begins anew, as another process."""
        _left_to_parent.extend(self._writer.leave_to_parent())
        _running.discard(self)
        self._start_afresh(self._writer.listeners)

    def recorder(
        self,
        targets: Mapping[str, TargetInfo],
        *,
        carry_out: CarryOut | None = None,
        look: Look | None = None,
        router: int = 0,
    ) -> Recorder:
        """
        What a router records through.

        Args:
            targets: Its providers by name.
            carry_out: Does what a command says, on the store's thread; what came of it in words, or None.
            look: Puts how its breakers are into a batch, every few seconds.
            router: Its number within this process.
        """
        listener = Listener(Source(targets, router=router), carry_out, look)
        with self._lock:
            self._recorders += 1
            self._ending = False
            self._writer.listeners = (*self._writer.listeners, listener)
        return Recorder(self, listener)

    def put(self, source: Source, event: Event) -> None:
        """Have *event* written soon; drops and counts it when too much is waiting."""
        queue = self._queue
        waiting = len(queue)
        if waiting >= self.config.queue_size:
            with self._lock:
                self._lost += 1
            return
        queue.append((source, event))
        if self._idle:
            self._begin()
        elif waiting > self.config.queue_size // 2:
            self._hurry.set()

    def _begin(self) -> None:
        self._idle = False
        self._wake.set()
        with self._lock:  # which the thread holds as it ends
            if self._thread is not None:
                return
            thread = threading.Thread(target=_write_from, args=(self,), name="failsafe-store", daemon=True)
            try:
                threads.start(thread)
            except RuntimeError:  # no thread to be had: the next event tries again, and the queue is bounded
                self._idle = True
                return
            self._thread = self._thread or thread  # a signal handler may have come in between, and been quicker
            _running.add(self)

    def claim(self) -> bool:
        """Whether the current thread is the one that writes; also if whoever started it was interrupted right after."""
        with self._lock:
            self._thread = self._thread or threading.current_thread()
            _running.add(self)
            return self._thread is threading.current_thread()

    def turn(self) -> bool:
        """One turn of the thread: gather, write, see what else is due; whether it goes on."""
        if not self._queue:
            self._idle = True  # from here on, whoever puts something wakes this thread
            if not (self._queue or self._flushes or self._ending):
                self._wake.wait(_TURN)
        self._idle = False
        self._wake.clear()
        if self._queue and not (self._flushes or self._ending):
            self._hurry.wait(_GATHER)
        self._hurry.clear()
        flushes = [self._flushes.pop() for _ in range(len(self._flushes))]
        try:
            with GATE.using():
                self._writer.step()
        finally:
            for flushed in flushes:
                flushed.set()
        return not (self._ending and not self._queue and self._has_ended())

    def _has_ended(self) -> bool:
        with GATE.using():
            self._writer.close()  # if somebody begins to record meanwhile, the next step opens it again
        with self._lock:
            self._idle = True
            if not self._ending or self._queue or self._flushes:
                return False
            self._thread = None
            _running.discard(self)
            return True

    @property
    def degraded(self) -> str | None:
        """Why the file cannot be used at present, or None; what is recorded is in memory meanwhile."""
        return self._writer.degraded

    @property
    def dropped(self) -> int:
        """Events that were lost, because too many waited or could not be written."""
        return self._writer.dropped + self._lost

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that was recorded so far is written; whether it was, within *timeout* seconds."""
        done = SignalSafeEvent()
        with self._lock:
            if self._thread is None and not self._queue:
                return self.degraded is None
            self._flushes.append(done)
        self._begin()
        self._hurry.set()
        return done.wait(timeout) and self.degraded is None

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for at most *timeout* seconds, and end the thread; the next event starts another."""
        self.end()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def end(self) -> None:
        """Have the thread end soon; for finalizers, too."""
        self._ending = True
        self._wake.set()
        self._hurry.set()

    def judge_by(self, monitor: MonitorConfig) -> None:
        """
        Reckon uptime as *monitor* says, from now on; what is settled stays as it is.

        Of several in one process, the last word counts; of several processes, that of the one whose turn it is.
        """
        self._monitor = self._writer.monitor = monitor

    def reader(self) -> StoreReader:
        """
        What reads: the file, or what is in memory while the file cannot be used.

        Raises:
            StoreUnavailable: The file cannot be read.
        """
        writer = self._writer
        with writer.memory_lock:
            memory = writer.open_memory() if self.path is None else writer.memory
        if memory is not None:
            return StoreReader.over(memory, writer.memory_lock, clock=self._clock, monitor=self._monitor)
        assert self.path is not None  # noqa: S101 -- a store without a file is in memory
        return StoreReader.open(self.path, clock=self._clock, monitor=self._monitor)

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Do *work* in one transaction on a connection of its own; for what is rare, and never in a call's way.

        Raises:
            StoreUnavailable: The file cannot be used, or another process kept it for more than two seconds.
        """
        with GATE.using():
            return self._transact(work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        writer = self._writer
        problem = ""
        try:
            if self.path is None:
                with writer.memory_lock:
                    connection = writer.open_memory()
                    with database.transaction(connection):
                        return work(connection)
            with closing(database.connect(self.path, timeout=_RARE)) as connection, database.transaction(connection):
                return work(connection)
        except (sqlite3.Error, OSError) as error:
            problem = str(error)
        raise StoreUnavailable(f"the store {self.path or 'in memory'} cannot be used now ({problem})")

    def release(self, listener: Listener) -> None:
        """A recorder is done; the last one ends the thread."""
        with self._lock:
            self._writer.listeners = tuple(each for each in self._writer.listeners if each is not listener)
            self._recorders -= 1
            if self._recorders <= 0:
                self.end()

    def __repr__(self) -> str:
        state = f"degraded: {self.degraded}" if self.degraded else f"{len(self._queue)} waiting"
        return f"<Store {self.path or 'in memory'} {state}>"


class Recorder:
    """
    What one router records through. Thread-safe; may be used by signal handlers and finalizers.

    Attributes:
        store: Where it goes.
        record: Has an event written soon; returns at once.
        source: What is known of its providers.
    """

    __slots__ = ("__weakref__", "_release", "record", "source", "store")

    def __init__(self, store: Store, listener: Listener) -> None:
        self.store = store
        self.source = listener.source
        self.record: Callable[[Event], None] = partial(store.put, listener.source)
        self._release = weakref.finalize(self, store.release, listener)
        self._release.atexit = False

    def close(self, timeout: float = 1.0) -> None:
        """Record nothing more; wait up to *timeout* seconds for what was recorded to be written. Idempotent."""
        if self._release.alive:
            self._release()
            self.store.flush(timeout)


def _write_from(store: Store) -> None:
    if store.claim():
        while _turn_of(store):
            pass


def _turn_of(store: Store) -> bool:
    """One turn; nothing that a listener does, such as ``sys.exit()``, ends the thread that writes for all."""
    try:
        return store.turn()
    except BaseException:
        with suppress(Exception):
            _logger.exception("a turn of the store's thread failed")
        threading.Event().wait(_TURN)
        return True


class _Stores:
    """The stores of this process by file, as long as somebody uses them. Thread-safe."""

    def __init__(self) -> None:
        self._start_afresh()
        self._open: weakref.WeakValueDictionary[str, Store] = weakref.WeakValueDictionary()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()

    _after_fork = _start_afresh

    def get(self, path: Path, config: StoreConfig, clock: Clock) -> Store:
        """The store of this file, made if need be."""
        name = os.path.realpath(path)
        with self._lock:
            store = self._open.get(name)
            if store is None:
                store = self._open[name] = Store(path, config, clock=clock)
            return store


_stores = _Stores()
_left_to_parent: list[sqlite3.Connection] = []
"""Connections of a forked child's parent: closing them here would do things to the parent's file."""
_running: weakref.WeakSet[Store] = weakref.WeakSet()


def open_store(config: StoreConfig, *, clock: Clock = SYSTEM_CLOCK) -> Store | None:
    """
    The store that *config* names, one for each file and process; None if nothing is to be recorded.

    Of several settings for one file, those of whoever asks first hold.

    Raises:
        ConfigError: The path is not absolute.
    """
    path = locate(config)
    return None if path is None else _stores.get(path, config, clock)


@atexit.register
def _close_all() -> None:
    """Let a program that ends write what is queued, to all files together within a second."""
    end = SYSTEM_CLOCK.monotonic() + _AT_EXIT
    running = list(_running)
    for store in running:
        store.end()
    for store in running:
        store.close(max(0.0, end - SYSTEM_CLOCK.monotonic()))
