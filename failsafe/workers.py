"""A small, bounded pool of threads that runs jobs after a delay."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
from collections.abc import Callable
from typing import NamedTuple

from failsafe import checks, forking
from failsafe.clock import SYSTEM_CLOCK, Clock

Job = Callable[[], object]
"""What is run; the result is ignored, what it raises is logged."""

_MOST_PENDING = 100_000
_LONGEST_WAIT = 86_400.0  # Condition.wait raises OverflowError far above this
_SWEEP_FROM = 64  # cancelled jobs below this number are not worth a sweep

_NEVER = math.inf

_logger = logging.getLogger("failsafe.workers")


class Handle:
    """One job that was given to the pool. Thread-safe."""

    __slots__ = ("_job", "_pool")

    def __init__(self, pool: Workers, job: Job | None) -> None:
        self._pool = pool
        self._job = [] if job is None else [job]  # taken out by whoever comes first: pop() is atomic under the GIL

    def cancel(self) -> bool:
        """See that the job never begins; False if it has begun, or was cancelled before. Takes no lock."""
        if self._take() is None:
            return False
        self._pool.cancelled += 1
        return True

    @property
    def pending(self) -> bool:
        """Whether the job may still begin."""
        return bool(self._job)

    def _take(self) -> Job | None:
        try:
            return self._job.pop()
        except IndexError:
            return None


class _Due(NamedTuple):
    """A job in the queue; the number keeps those due at the same moment in order."""

    at: float
    number: int
    handle: Handle


class Workers:
    """
    Runs jobs once they are due, in a few daemon threads that exist only while there is something to wait for.

    Thread-safe. A job that is due while every thread is busy is run late, in the order of the due times.
    A forked child begins without threads and without its parent's jobs.

    Args:
        name: What its threads are called.
        max_threads: Most threads at once (at least 1).
        clock: Says when a job is due; the waiting itself is real.
        idle: Seconds after which a thread without anything to wait for ends (above 0).

    Attributes:
        refused: How many jobs were turned away because too many were pending, or the pool was closed.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(self, name: str, max_threads: int, *, clock: Clock = SYSTEM_CLOCK, idle: float = 5.0) -> None:
        self._name = checks.text("name", name)
        self._max_threads = checks.whole("max_threads", max_threads, least=1, most=10_000)
        self._idle = checks.number("idle", idle, above=0, most=3600)
        self._clock = clock
        self._closed = False
        self.refused = 0
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._numbers = itertools.count()
        self._queue: list[_Due] = []  # a heap; guarded by _lock, as is all below
        self._threads: set[threading.Thread] = set()
        self._waiting = 0  # threads that wait for the next job
        self._waits_until = _NEVER  # when the first of them wakes by itself
        self.cancelled = 0  # about how many of the queue; a lost count delays a sweep

    _after_fork = _start_afresh

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    @property
    def pending(self) -> int:
        """How many jobs are queued, those that were cancelled and not yet dropped included."""
        return len(self._queue)

    def later(self, delay: float, job: Job) -> Handle:
        """
        Run *job* in *delay* seconds (0: at once), or not at all: closed, or too much pending. Never blocks.

        Returns:
            A handle that can still cancel it.
        """
        due = self._clock.monotonic() + max(0.0, delay)
        handle = Handle(self, job)
        with self._lock:
            self._sweep_locked()
            if self._closed or len(self._queue) >= _MOST_PENDING:
                self.refused += 1
                return Handle(self, None)
            heapq.heappush(self._queue, _Due(due, next(self._numbers), handle))
            # A thread that wakes before this is due looks again by itself.
            if not self._waiting:
                self._add_thread_locked()
            elif due < self._waits_until:
                self._wake.notify()
        return handle

    def close(self, timeout: float | None = None) -> bool:
        """
        Begin no job any more and wait for those that run. Idempotent; a job may call it, and is not waited for.

        Args:
            timeout: Seconds to wait for all threads together; None waits for the last.

        Returns:
            Whether all have ended.
        """
        with self._lock:
            self._closed = True
            self._queue.clear()
            self._wake.notify_all()
            others = [thread for thread in self._threads if thread is not threading.current_thread()]
        end = None if timeout is None else SYSTEM_CLOCK.monotonic() + timeout
        for thread in others:
            thread.join(None if end is None else max(0.0, end - SYSTEM_CLOCK.monotonic()))
        return not any(thread.is_alive() for thread in others)

    def _sweep_locked(self) -> None:
        if self.cancelled > _SWEEP_FROM and self.cancelled > len(self._queue) // 2:
            self._queue = [due for due in self._queue if due.handle.pending]
            heapq.heapify(self._queue)
            self.cancelled = 0

    def _add_thread_locked(self) -> None:
        if len(self._threads) < self._max_threads:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{next(self._numbers)}", daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # the machine has no thread left, or the interpreter is ending: the job waits
                self._threads.discard(thread)

    def _work(self) -> None:
        try:
            while self._run_next():
                pass
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                if self._queue and not self._waiting:  # somebody counted on this thread
                    self._add_thread_locked()

    def _run_next(self) -> bool:
        """Wait for one job and run it; a function of its own, so that the thread holds no job while it waits."""
        with self._lock:
            handle = self._next_locked()
            if handle is None:
                return False
            if self._queue and not self._waiting:  # the next one must not wait for this one to end
                self._add_thread_locked()
        _run(handle)
        return True

    def _next_locked(self) -> Handle | None:
        """The next job that is due; None when there has been nothing to wait for, or the pool is closed."""
        idle_until = self._clock.monotonic() + self._idle
        while not self._closed:
            while self._queue and not self._queue[0].handle.pending:
                heapq.heappop(self._queue)
                self.cancelled = max(0, self.cancelled - 1)
            now = self._clock.monotonic()
            if self._queue and self._queue[0].at <= now:
                return heapq.heappop(self._queue).handle
            until = self._queue[0].at if self._queue else idle_until
            if until <= now:
                return None
            self._wait_locked(until, until - now)
        return None

    def _wait_locked(self, until: float, seconds: float) -> None:
        self._waiting += 1
        self._waits_until = until if self._waiting == 1 else min(until, self._waits_until)
        try:
            self._wake.wait(min(seconds, _LONGEST_WAIT))
        finally:
            self._waiting -= 1
            self._waits_until = _NEVER  # nobody knows when the others wake; at worst one is woken in vain

    def __repr__(self) -> str:
        return f"<Workers {self._name} {self.threads}/{self._max_threads} threads, {self.pending} pending>"


def _run(handle: Handle) -> None:
    job = handle._take()  # noqa: SLF001 -- the pool and its handles are one thing
    if job is None:
        return
    try:
        job()
    except BaseException:  # sys.exit() in a job must not end the thread of the others
        _logger.exception("a job failed")
