"""Jobs that run after a delay, in few threads, and not at all once they are cancelled."""

from __future__ import annotations

import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failsafe import workers as module
from failsafe.clock import Random
from failsafe.errors import ConfigError
from failsafe.testing import FakeClock
from failsafe.workers import Workers

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 10.0


@pytest.fixture
def pool() -> Iterator[Workers]:
    workers = Workers("test-worker", 2)
    yield workers
    assert workers.close(LONGEST)


def until(condition: Callable[[], bool]) -> None:
    """Come back once *condition* holds; looks again and again, for what no event tells of."""
    for _ in range(int(LONGEST * 1000)):
        if condition():
            return
        threading.Event().wait(0.001)
    pytest.fail("it did not come to that")


class Held:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go_on.wait(LONGEST)


def occupy(workers: Workers, number: int) -> list[Held]:
    """Keep so many threads of *workers* busy."""
    jobs = [Held() for _ in range(number)]
    for job in jobs:
        assert workers.start(job)
        assert job.begun.wait(LONGEST)
    return jobs


def leads(workers: Workers) -> bool:
    """Whether a thread waits for the first job."""
    with workers._pool.lock:
        return workers._pool._leading


# Running.


def test_no_thread_exists_before_the_first_job() -> None:
    workers = Workers("test-worker", 2)
    assert (workers.threads, workers.pending) == (0, 0)
    assert workers.close(0.0)


def test_a_job_runs_in_a_daemon_thread_that_bears_the_pools_name(pool: Workers) -> None:
    ran: list[threading.Thread] = []
    done = threading.Event()

    def job() -> None:
        ran.append(threading.current_thread())
        done.set()

    pool.later(0.0, job)
    assert done.wait(LONGEST)
    assert ran[0].name.startswith("test-worker-")
    assert ran[0].daemon


def test_an_earlier_job_does_not_wait_for_a_later_one(pool: Workers) -> None:
    pool.later(3600.0, lambda: None)
    until(lambda: leads(pool))
    done = threading.Event()
    pool.later(0.0, done.set)
    assert done.wait(LONGEST)


def test_a_job_does_not_wait_for_one_that_runs(pool: Workers) -> None:
    together = threading.Barrier(3)
    pool.later(0.0, lambda: together.wait(LONGEST))
    pool.later(0.0, lambda: together.wait(LONGEST))
    together.wait(LONGEST)


def test_while_all_threads_are_busy_jobs_wait_and_run_late_in_the_order_of_their_due_times() -> None:
    clock = FakeClock()
    order: list[str] = []
    workers = Workers("test-worker", 1, clock=clock)
    (held,) = occupy(workers, 1)
    for delay, name in ((3.0, "last"), (1.0, "first"), (2.0, "third"), (1.0, "second")):
        workers.later(delay, functools.partial(order.append, name))
    done = threading.Event()
    workers.later(4.0, done.set)
    clock.advance(60.0)
    assert workers.threads == 1
    held.go_on.set()
    assert done.wait(LONGEST)
    assert order == ["first", "second", "third", "last"]
    assert workers.close(LONGEST)


def test_a_job_is_due_by_the_given_clock() -> None:
    clock = FakeClock()
    workers = Workers("test-worker", 1, clock=clock)
    early, ran = threading.Event(), threading.Event()
    workers.later(60.0, ran.set)
    workers.later(0.0, early.set)
    assert early.wait(LONGEST)
    assert not ran.is_set()
    clock.advance(60.0)
    workers.later(3600.0, lambda: None)  # by its clock, the thread should have looked long ago
    assert ran.wait(LONGEST)
    assert workers.close(LONGEST)


def test_what_a_job_raises_is_logged_and_ends_nothing(pool: Workers, expect_logs: pytest.LogCaptureFixture) -> None:
    def exits() -> None:
        raise SystemExit

    done = threading.Event()
    pool.later(0.0, exits)
    pool.later(0.0, done.set)
    assert done.wait(LONGEST)
    pool.close(LONGEST)
    assert [record.name for record in expect_logs.records] == ["failsafe.workers"]


def test_start_takes_a_job_only_if_a_thread_is_free_for_it(pool: Workers) -> None:
    jobs = occupy(pool, 2)
    assert pool.start(lambda: None) is None
    for job in jobs:
        job.go_on.set()
    until(lambda: pool._pool.running == 0)
    done = threading.Event()
    assert pool.start(done.set)
    assert done.wait(LONGEST)


def test_jobs_started_together_all_run_at_once() -> None:
    workers = Workers("test-worker", 8)
    for _ in range(50):
        together = threading.Barrier(9)
        with workers._pool.lock:  # no thread looks before all are there
            handles = [workers.start(lambda together=together: together.wait(LONGEST)) for _ in range(8)]  # type: ignore[misc]
            assert workers.start(together.wait) is None
        assert all(handles)
        together.wait(LONGEST)
        until(lambda: workers._pool.running == 0)
    assert workers.close(LONGEST)


def test_where_no_thread_can_be_had_start_says_so_and_a_later_job_waits_for_one(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done, late = threading.Event(), threading.Event()
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert pool.start(done.set) is None
    pool.later(0.0, late.set)
    monkeypatch.undo()
    assert pool.threads == 0
    pool.later(0.0, done.set)
    assert done.wait(LONGEST)
    assert late.is_set() or late.wait(LONGEST)


# Cancelling.


def test_a_cancelled_job_never_begins_and_is_let_go_at_once(pool: Workers) -> None:
    job = Held()
    watched = weakref.ref(job)
    handle = pool.later(3600.0, job)
    del job
    assert handle.pending
    assert handle.cancel()
    assert watched() is None
    assert handle.cancel()
    assert not handle.pending


def test_a_job_that_has_begun_cannot_be_cancelled(pool: Workers) -> None:
    job = Held()
    handle = pool.later(0.0, job)
    assert job.begun.wait(LONGEST)
    assert not handle.cancel()
    assert not handle.pending
    job.go_on.set()


def test_cancelling_takes_no_lock(pool: Workers) -> None:
    """A signal handler may interrupt the thread that holds it."""
    handle = pool.later(3600.0, lambda: None)
    answer: list[bool] = []
    with pool._pool.lock:
        thread = threading.Thread(target=lambda: answer.append(handle.cancel()))
        thread.start()
        thread.join(LONGEST)
    assert answer == [True]


def test_a_signal_handler_may_use_the_pool_while_its_thread_is_in_it(pool: Workers) -> None:
    done = threading.Event()
    seen: list[Any] = []

    def handler(number: int, frame: object) -> None:
        seen.append(pool.later(3600.0, lambda: None).cancel())
        seen.append(pool.start(done.set))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pool._pool.lock:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert done.wait(LONGEST)
    assert seen[0] is True
    assert seen[1]


def test_cancelled_jobs_are_dropped_and_not_only_marked(pool: Workers) -> None:
    """A thousand calls a second that might be hedged after half an hour must not keep millions of dead entries."""
    pool.later(3600.0, lambda: None)
    for _ in range(10_000):
        pool.later(1800.0, lambda: None).cancel()
    assert pool.pending < 200


def test_dropping_keeps_the_live_jobs_in_order() -> None:
    chance = Random(3)
    clock = FakeClock()
    order: list[int] = []
    workers = Workers("test-worker", 1, clock=clock)
    (held,) = occupy(workers, 1)
    kept: list[int] = []
    for _ in range(2000):
        due = chance.randrange(1, 1000)
        handle = workers.later(due, functools.partial(order.append, due))
        if chance.random() < 0.9:
            assert handle.cancel()
        else:
            kept.append(due)
    assert workers.pending < 3 * len(kept)
    done = threading.Event()
    workers.later(5000.0, done.set)
    clock.advance(10_000.0)
    held.go_on.set()
    assert done.wait(LONGEST)
    assert order == sorted(kept)
    assert workers._pool.dropped == workers._pool.cancelled
    assert workers.close(LONGEST)


def test_no_thread_is_woken_for_a_job_that_is_not_the_next(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.later(100.0, lambda: None)
    until(lambda: leads(pool))
    sent: list[object] = []
    monkeypatch.setattr(module._Pool, "send_for_locked", sent.append)
    for _ in range(1000):
        pool.later(100.0, lambda: None).cancel()
    assert sent == []


def test_what_is_pending_is_bounded(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PENDING", 10)
    handles = [pool.later(3600.0, lambda: None) for _ in range(12)]
    assert [handle.pending for handle in handles] == [True] * 10 + [False] * 2
    assert handles[-1].cancel()  # it never will begin
    assert pool.refused == 2


# Ending.


def test_idle_threads_end_and_come_back() -> None:
    workers = Workers("test-worker", 3, idle=0.001)
    for _ in range(3):
        for job in occupy(workers, 3):
            job.go_on.set()
        until(lambda: workers.threads == 0)
    assert workers.close(LONGEST)


def test_threads_beyond_the_one_that_waits_for_a_late_job_end() -> None:
    workers = Workers("test-worker", 3, idle=0.001)
    handle = workers.later(3600.0, lambda: None)
    for job in occupy(workers, 3):
        job.go_on.set()
    until(lambda: workers.threads == 1)
    handle.cancel()
    until(lambda: workers.threads == 0)
    assert workers.close(LONGEST)


def test_closing_drops_what_is_pending_joins_what_runs_and_refuses_what_comes() -> None:
    workers = Workers("test-worker", 2)
    (held,) = occupy(workers, 1)
    threads = set(workers._pool.crew)
    ran: list[str] = []
    dropped = workers.later(3600.0, lambda: ran.append("never"))
    assert workers.close(0.0) is False
    assert not dropped.pending
    assert dropped.cancel()
    held.go_on.set()
    assert workers.close(LONGEST) is True
    assert not any(thread.is_alive() for thread in threads)
    assert workers.close() is True
    refused = workers.later(0.0, lambda: ran.append("never"))
    assert not refused.pending
    assert refused.cancel()
    assert workers.start(lambda: ran.append("never")) is None
    assert (ran, workers.refused, workers.threads) == ([], 1, 0)


def test_closing_does_not_drop_what_start_has_accepted() -> None:
    """Its caller waits for it."""
    for _ in range(50):
        workers = Workers("test-worker", 4)
        ran = threading.Semaphore(0)
        with workers._pool.lock:
            for _ in range(4):
                assert workers.start(ran.release)
            workers._pool.closed = True
        assert workers.close(LONGEST)
        for _ in range(4):
            assert ran.acquire(timeout=LONGEST)


def test_jobs_may_close_their_own_pool_also_two_at_once() -> None:
    workers = Workers("test-worker", 2)
    closed: list[bool] = []
    together = threading.Barrier(2)

    def job() -> None:
        together.wait(LONGEST)
        closed.append(workers.close())

    assert workers.start(job)
    assert workers.start(job)
    assert workers.close(LONGEST)
    assert closed == [True, True]


def test_the_threads_of_a_pool_that_nobody_has_any_more_end() -> None:
    workers = Workers("test-worker", 2, idle=3600.0)
    workers.later(3000.0, lambda: None)
    pool = workers._pool
    until(lambda: pool._leading)
    threads = set(pool.crew)
    del workers
    gc.collect()
    for thread in threads:
        thread.join(LONGEST)
        assert not thread.is_alive()


def test_a_waiting_thread_holds_no_job_and_no_pool_alive(pool: Workers) -> None:
    job = Held()
    job.go_on.set()
    watched = weakref.ref(job)
    assert pool.start(job)
    assert job.begun.wait(LONGEST)
    until(lambda: leads(pool))
    del job
    gc.collect()
    assert watched() is None


def run(code: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stderr == ""
    return answer.stdout


def test_a_program_ends_while_jobs_run_and_wait_and_nothing_is_printed() -> None:
    code = """
import atexit, threading
from failsafe.workers import Workers
workers = Workers("w", 3)
begun = threading.Event()
def job():
    begun.set()
    while True: threading.Event().wait(0.0001)
workers.start(job)
workers.later(3600, print)
begun.wait()
atexit.register(lambda: workers.later(0.0, int))
print("end")
"""
    assert run(code) == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_no_threads_and_no_jobs_and_works_whoever_held_the_lock() -> None:
    code = """
import os, threading
from failsafe.workers import Workers
workers = Workers("w", 2)
closed = Workers("c", 2)
closed.close()
parents = workers.later(3600, print)
locked, go_on = threading.Event(), threading.Event()
def hold():
    with workers._pool.lock:
        locked.set()
        go_on.wait()
threading.Thread(target=hold, daemon=True).start()
locked.wait()
child = os.fork()
if child == 0:
    done = threading.Event()
    state = workers.threads, workers.pending, parents.cancel(), closed.start(print)
    workers.later(0.0, done.set)
    print(state, done.wait(10), workers.close(10), flush=True)
    os._exit(0)
go_on.set()
os.waitpid(child, 0)
print(parents.pending, workers.close(10))
"""
    assert run(code).splitlines() == ["(0, 0, True, None) True True", "True True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_job_that_forks_does_not_become_a_worker_of_the_child() -> None:
    code = """
import os, threading
from failsafe.workers import Workers
workers = Workers("w", 2)
done = threading.Event()
answer = []
def job():
    child = os.fork()
    if child:
        answer.append(os.waitpid(child, 0)[1])
        done.set()
workers.start(job)
done.wait(10)
print(answer, workers.close(10))
"""
    assert run(code) == "[0] True\n"


# All at once.


def test_threads_that_schedule_start_and_cancel_at_once_lose_nothing() -> None:
    workers = Workers("test-worker", 4, idle=0.001)
    ran = threading.Semaphore(0)
    never: list[int] = []  # for each job that will not run

    def schedule(delay: float, *, cancels: bool) -> None:
        handle = workers.later(delay, ran.release)
        if cancels and handle.cancel():
            never.append(1)

    def use(seed: int) -> None:
        chance = Random(seed)
        for _ in range(400):
            if chance.random() < 0.7:
                schedule(chance.choice((0.0, 0.0003, 0.002)), cancels=chance.random() < 0.5)
            elif workers.start(ran.release) is None:
                never.append(1)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    for _ in range(1600 - len(never)):
        assert ran.acquire(timeout=LONGEST)
    assert workers.close(LONGEST)
    assert not ran.acquire(blocking=False)


def test_the_repr_tells_threads_and_jobs() -> None:
    assert repr(Workers("test-worker", 2)) == "<Workers test-worker 0/2 threads, 0 pending>"


@pytest.mark.parametrize("settings", [{"max_threads": 0}, {"idle": 0}, {"name": ""}])
def test_wrong_values_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Workers(**{"name": "x", "max_threads": 1, **settings})
