"""
A small, bounded pool of threads that runs jobs at once or after a delay.

Most jobs that are put off are cancelled before they are due: a call is hedged only when it is slow. So that is
what costs least: a job is one entry of a heap, to cancel it takes no lock, and a thread is woken only for a job
that is due sooner than the moment at which some thread looks anyway.

One of the threads that have nothing to run is the leader: it waits until the first job is due. The others rest
until the leader has taken a job, and one of them is sent for to lead in its place.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import weakref
from collections import deque
from collections.abc import Callable

from failsafe import checks, forking, threads
from failsafe.clock import SYSTEM_CLOCK, Clock

Job = Callable[[], object]
"""What is run; the result is ignored, what it raises is logged."""

_MOST_PENDING = 100_000
_SWEEP_FROM = 64  # fewer cancelled jobs than this are not worth a sweep

_NEVER = math.inf
_AT_ONCE = -math.inf

_logger = logging.getLogger("failsafe.workers")


class Handle:
    """One job that was given to the pool. Thread-safe."""

    __slots__ = ("_dropped", "_job", "_pool")

    def __init__(self, pool: _Pool, job: Job | None) -> None:
        self._pool = pool
        self._job = [] if job is None else [job]  # whoever takes it out decides: pop() is atomic under the GIL
        self._dropped = job is None

    def cancel(self) -> bool:
        """
        See that the job never begins; takes no lock, so that a signal handler may call it, too.

        Returns:
            True if it has not begun and never will; False if it has begun.
        """
        if self.drop():
            pool = self._pool
            pool.cancelled = next(pool.cancellations)
        return self._dropped

    @property
    def pending(self) -> bool:
        """Whether the job may still begin."""
        return bool(self._job)

    def drop(self) -> bool:
        """Take the job out, so that it never begins; False if somebody else has taken it. For the pool."""
        try:
            self._job.pop()
        except IndexError:
            return False
        self._dropped = True
        return True

    def claim(self) -> Job | None:
        """Take the job out in order to run it; None if somebody else has taken it. For the pool."""
        try:
            return self._job.pop()
        except IndexError:
            return None


class Workers:
    """
    Runs jobs in a few daemon threads that exist only while there is something to wait for.

    Thread-safe; may be used from jobs and signal handlers. A job that is due while every thread is busy is run
    late, in the order of the due times. What a job raises is logged and ends nothing. Keep the object: with it,
    its threads and what is pending go away. A forked child begins without threads and without its parent's jobs.

    Args:
        name: What its threads are called.
        max_threads: Most threads at once (1 to 10,000).
        clock: Says when a job is due; the waiting itself is real.
        idle: Seconds after which a thread without anything to wait for ends (above 0, at most 3600).

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(self, name: str, max_threads: int, *, clock: Clock = SYSTEM_CLOCK, idle: float = 5.0) -> None:
        self._name = checks.text("name", name)
        self._max_threads = checks.whole("max_threads", max_threads, least=1, most=10_000)
        self._idle = checks.number("idle", idle, above=0, most=3600)
        self._clock = clock
        self.refused = 0
        """Jobs that :meth:`later` turned away: too many were pending, or the pool was closed."""
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._pool = _Pool(self._name, self._max_threads, self._clock, self._idle)
        # The threads hold the pool and nothing that leads here, so that an owner who forgets to close ends them, too.
        weakref.finalize(self, self._pool.abandon).atexit = False

    def _after_fork(self) -> None:
        parents = self._pool
        parents.orphaned = True
        self._start_afresh()
        self._pool.closed = parents.closed

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._pool.crew)

    @property
    def pending(self) -> int:
        """How many jobs wait for their time, those that were cancelled and not yet dropped included."""
        return len(self._pool.heap)

    def later(self, delay: float, job: Job) -> Handle:
        """
        Run *job* in *delay* seconds (0: as soon as a thread is free). Never blocks.

        Returns:
            A handle that can cancel it. The job never runs if the pool is closed or 100,000 jobs are pending
            already; the handle says so, and ``refused`` counts it.
        """
        pool = self._pool
        handle = Handle(pool, job)
        now = self._clock.monotonic()
        due = now + delay
        with pool.lock:
            if pool.cancelled - pool.dropped > _SWEEP_FROM:
                pool.sweep_locked()
            if pool.closed or len(pool.heap) >= _MOST_PENDING:
                self.refused += 1
                return Handle(pool, None)
            heapq.heappush(pool.heap, (due, next(pool.numbers), handle))
            looks_at = pool.looks_at
            # One that should have looked by now waits by another clock than this one, or was interrupted.
            if due < looks_at or _AT_ONCE < looks_at < now:
                pool.send_for_locked()
        return handle

    def start(self, job: Job) -> Handle | None:
        """
        Run *job* at once if a thread is free for it, or can be had; else return None, and it never runs.

        Once it is accepted, closing the pool does not drop it. Never blocks.
        """
        pool = self._pool
        handle = Handle(pool, job)
        with pool.lock:
            if pool.closed or pool.running + len(pool.at_once) >= self._max_threads:
                return None
            pool.at_once.append(handle)
            if pool.looks_at > _AT_ONCE and not pool.send_for_locked():
                pool.at_once.remove(handle)
                return None
        return handle

    def close(self, timeout: float | None = None) -> bool:
        """
        Take no job any more, drop the pending ones, and wait for those that run. Idempotent.

        A job may call it: it then waits for all others but those that do the same.

        Args:
            timeout: Seconds to wait at most; None waits for the last.

        Returns:
            Whether all have ended.
        """
        end = None if timeout is None else SYSTEM_CLOCK.monotonic() + min(timeout, threading.TIMEOUT_MAX)
        others = self._pool.close(_seconds_to(end))
        for thread in others or ():
            thread.join(_seconds_to(end))
        return others is not None and not any(thread.is_alive() for thread in others)

    def __repr__(self) -> str:
        return f"<Workers {self._name} {self.threads}/{self._max_threads} threads, {self.pending} pending>"


class _Pool:
    """What the threads share. Methods that end in ``_locked`` need the lock held."""

    def __init__(self, name: str, most: int, clock: Clock, idle: float) -> None:
        self._name = name
        self._most = most
        self._clock = clock
        self._idle = idle
        self.closed = False
        self.orphaned = False  # in a forked child: the lock may be held by a thread that is not there
        self.cancellations = itertools.count(1)
        self.cancelled = 0  # jobs cancelled since the start; written without the lock
        self.numbers = itertools.count()  # keeps jobs that are due at the same moment in order
        self.lock = threading.RLock()  # a signal handler may use the pool while this thread holds it
        self._wake = threading.Condition(self.lock)  # the leader waits here,
        self._rest = threading.Condition(self.lock)  # the others here,
        self._gone = threading.Condition(self.lock)  # and whoever closes the pool here
        # All below is guarded by lock.
        self.heap: list[tuple[float, int, Handle]] = []  # replaced, never emptied: a finalizer may come in between
        self.at_once: deque[Handle] = deque()  # each has a thread on its way
        self.dropped = 0  # cancelled jobs that are out of the heap
        self.running = 0  # jobs
        self.crew: set[threading.Thread] = set()
        self._closers: set[threading.Thread] = set()  # those of the crew that wait for the others, or have
        self._leading = False  # whether a thread waits for the first job
        self._resting = 0  # threads that wait to be sent for
        self.looks_at = _NEVER  # when a thread looks for a job that is due; _AT_ONCE: one is on its way

    def sweep_locked(self) -> None:
        """Drop the cancelled jobs if they are more than half of all."""
        if 2 * (self.cancelled - self.dropped) > len(self.heap):
            live = [entry for entry in self.heap if entry[2].pending]
            heapq.heapify(live)
            self.dropped += len(self.heap) - len(live)
            self.heap = live

    def send_for_locked(self) -> bool:
        """Have a thread look for a job; False if none is free and none can be had: the next that is done will look."""
        if self._leading:
            self._wake.notify()
        elif self._resting:
            self._rest.notify()
        elif not self._add_thread_locked():
            self.looks_at = _NEVER
            return False
        self.looks_at = _AT_ONCE
        return True

    def _add_thread_locked(self) -> bool:
        if len(self.crew) >= self._most:
            return False
        thread = threading.Thread(target=_work, args=(self,), name=f"{self._name}-{next(self.numbers)}", daemon=True)
        try:
            threads.start(thread)
        except RuntimeError:  # the machine has no thread left, or the interpreter is ending
            return False
        self.crew.add(thread)
        return True

    def join(self) -> None:
        """Count the current thread in, even if whoever started it was interrupted right after."""
        with self.lock:
            self.crew.add(threading.current_thread())

    def take(self) -> Job | None:
        """Wait until a job is due; None when the current thread is not needed any more, and has left."""
        rested = False
        while not self.orphaned:
            now = self._clock.monotonic()
            with self.lock:
                job = self._due_locked(now)
                if job is not None:
                    return job
                if self.closed or (rested and (self._leading or not self.heap)):
                    self._leave_locked()
                    return None
                rested = self._wait_locked(now)
        return None

    def done(self) -> None:
        """A job has ended."""
        if not self.orphaned:
            with self.lock:
                self.running -= 1

    def _due_locked(self, now: float) -> Job | None:
        while self.at_once:
            job = self._claim_locked(self.at_once.popleft())
            if job is not None:
                return job
        heap = self.heap
        while heap and (heap[0][0] <= now or not heap[0][2].pending):
            job = self._claim_locked(heapq.heappop(heap)[2])
            if job is not None:
                return job
        return None

    def _claim_locked(self, handle: Handle) -> Job | None:
        job = handle.claim()
        if job is None:
            self.dropped += 1
            return None
        self.running += 1
        if not self._leading:  # the current thread was to look, and now somebody else is
            self.looks_at = _NEVER
            if self.at_once or self.heap:
                self.send_for_locked()
        return job

    def _wait_locked(self, now: float) -> bool:
        """Wait until there may be something to do; True after the whole idle time without a word."""
        if self._leading:
            self._resting += 1
            try:
                return not self._rest.wait(self._idle)
            finally:
                self._resting -= 1
        # Never longer than the idle time: nobody can wake a thread whose pool is abandoned while it holds the lock.
        seconds = min(self._idle, max(0.0, self.heap[0][0] - now)) if self.heap else self._idle
        self._leading = True
        self.looks_at = now + seconds
        try:
            return not self._wake.wait(seconds) and seconds == self._idle
        finally:
            self._leading = False
            self.looks_at = _AT_ONCE

    def _leave_locked(self) -> None:
        if not self._leading:
            self.looks_at = _NEVER
        self.crew.discard(threading.current_thread())
        self._gone.notify_all()

    def close(self, timeout: float | None) -> set[threading.Thread] | None:
        """Let no job begin any more; the threads that have left within *timeout* seconds, or None if not all have."""
        current = threading.current_thread()
        with self.lock:
            self.closed = True
            pending, self.heap = self.heap, []
            for _, _, handle in pending:
                handle.drop()
            self._wake.notify_all()
            self._rest.notify_all()
            crew = set(self.crew)
            excused: set[threading.Thread] = set()
            if current in crew:  # two jobs that close must not wait for each other; whoever else does waits for both
                excused = self._closers
                excused.add(current)
                self._gone.notify_all()
            left = self._gone.wait_for(lambda: self.crew <= excused, timeout)
            return crew - excused if left else None

    def abandon(self) -> None:
        """End the threads of a pool that nobody has any more. Called by the garbage collector: must not block."""
        self.closed = True
        self.heap = []
        if self.lock.acquire(blocking=False):
            self._wake.notify_all()
            self._rest.notify_all()
            self.lock.release()


def _work(pool: _Pool) -> None:
    pool.join()
    while _run_next(pool):
        pass


def _run_next(pool: _Pool) -> bool:
    """Run one job; a function of its own, so that the thread holds no job while it waits for the next."""
    job = pool.take()
    if job is None:
        return False
    try:
        job()
    except BaseException:  # sys.exit() in a job must not end the thread of the others
        _logger.exception("a job failed")
    finally:
        pool.done()
    return True


def _seconds_to(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - SYSTEM_CLOCK.monotonic())
