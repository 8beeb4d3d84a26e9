"""Jobs that run after a delay, in few threads, and not at all once they are cancelled."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from failsafe import workers as module
from failsafe.errors import ConfigError
from failsafe.testing import FakeClock
from failsafe.workers import Workers

LONGEST = 10.0


@pytest.fixture
def pool() -> Iterator[Workers]:
    workers = Workers("test-worker", 2)
    yield workers
    assert workers.close(LONGEST)


def test_a_job_runs_in_a_thread_of_its_own(pool: Workers) -> None:
    ran: list[str] = []
    done = threading.Event()

    def job() -> None:
        ran.append(threading.current_thread().name)
        done.set()

    pool.later(0.0, job)
    assert done.wait(LONGEST)
    assert ran[0].startswith("test-worker-")


def test_a_cancelled_job_never_begins(pool: Workers) -> None:
    ran: list[int] = []
    handle = pool.later(3600.0, lambda: ran.append(1))
    assert handle.pending
    assert handle.cancel()
    assert not handle.cancel()
    assert not handle.pending
    done = threading.Event()
    pool.later(0.0, done.set)
    assert done.wait(LONGEST)
    assert ran == []


def test_a_job_that_has_begun_cannot_be_cancelled(pool: Workers) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        assert go_on.wait(LONGEST)

    handle = pool.later(0.0, job)
    assert begun.wait(LONGEST)
    assert not handle.cancel()
    go_on.set()


def test_an_earlier_job_does_not_wait_for_a_later_one(pool: Workers) -> None:
    pool.later(3600.0, lambda: None)
    done = threading.Event()
    pool.later(0.0, done.set)
    assert done.wait(LONGEST)
    assert pool.threads <= 2


def test_a_job_does_not_wait_for_one_that_runs(pool: Workers) -> None:
    together = threading.Barrier(2)
    done = [threading.Event(), threading.Event()]

    def job(place: int) -> None:
        together.wait(LONGEST)
        done[place].set()

    pool.later(0.0, lambda: job(0))
    pool.later(0.0, lambda: job(1))
    assert all(event.wait(LONGEST) for event in done)


def test_what_is_due_while_all_threads_are_busy_runs_late_and_in_order(pool: Workers) -> None:
    go_on = threading.Event()
    busy = [threading.Event(), threading.Event()]

    def occupy(place: int) -> None:
        busy[place].set()
        assert go_on.wait(LONGEST)

    for place in (0, 1):
        pool.later(0.0, lambda place=place: occupy(place))  # type: ignore[misc]
        assert busy[place].wait(LONGEST)
    order: list[int] = []
    one_at_a_time = threading.Lock()
    finished = threading.Event()

    def note(number: int) -> None:
        with one_at_a_time:
            order.append(number)
            if len(order) == 3:
                finished.set()

    for number in range(3):
        pool.later(0.0, lambda number=number: note(number))  # type: ignore[misc]
    assert pool.threads == 2
    go_on.set()
    assert finished.wait(LONGEST)
    assert sorted(order) == [0, 1, 2]


def test_no_thread_exists_without_a_job() -> None:
    workers = Workers("test-worker", 2)
    assert workers.threads == 0
    assert workers.close(0.0)


def test_an_idle_thread_ends_by_itself() -> None:
    workers = Workers("test-worker", 2, idle=0.001)
    done = threading.Event()
    workers.later(0.0, done.set)
    assert done.wait(LONGEST)
    for thread in list(workers._threads):
        thread.join(LONGEST)
        assert not thread.is_alive()
    assert workers.threads == 0
    again = threading.Event()
    workers.later(0.0, again.set)
    assert again.wait(LONGEST)
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


def test_closing_drops_what_is_pending_joins_what_runs_and_refuses_what_comes() -> None:
    workers = Workers("test-worker", 2)
    begun, go_on = threading.Event(), threading.Event()
    ran: list[str] = []

    def job() -> None:
        begun.set()
        assert go_on.wait(LONGEST)
        ran.append("job")

    workers.later(0.0, job)
    workers.later(3600.0, lambda: ran.append("never"))
    assert begun.wait(LONGEST)
    assert workers.close(0.0) is False
    go_on.set()
    assert workers.close(LONGEST) is True
    assert ran == ["job"]
    handle = workers.later(0.0, lambda: ran.append("never"))
    assert not handle.pending
    assert not handle.cancel()
    assert workers.refused == 1
    assert workers.threads == 0


def test_a_job_may_close_its_own_pool() -> None:
    workers = Workers("test-worker", 2)
    closed: list[bool] = []
    done = threading.Event()

    def job() -> None:
        closed.append(workers.close(LONGEST))
        done.set()

    workers.later(0.0, job)
    assert done.wait(LONGEST)
    assert closed == [True]
    assert workers.close(LONGEST)


def test_cancelled_jobs_are_dropped_and_not_only_marked(pool: Workers) -> None:
    pool.later(3600.0, lambda: None)
    for _ in range(10_000):
        pool.later(1800.0, lambda: None).cancel()
    assert pool.pending < 300


def test_a_program_that_schedules_without_end_is_bounded(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PENDING", 10)
    handles = [pool.later(3600.0, lambda: None) for _ in range(12)]
    assert [handle.pending for handle in handles] == [True] * 10 + [False] * 2
    assert pool.refused == 2


def test_a_job_is_due_by_the_given_clock() -> None:
    clock = FakeClock()
    workers = Workers("test-worker", 1, clock=clock)
    ran, again = threading.Event(), threading.Event()
    workers.later(60.0, ran.set)
    clock.advance(60.0)
    workers.later(0.0, again.set)  # wakes the thread that waits
    assert again.wait(LONGEST)
    assert ran.is_set()
    assert workers.close(LONGEST)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_no_threads_and_no_jobs_and_works() -> None:
    workers = Workers("test-worker", 2)
    workers.later(3600.0, lambda: None)
    child = os.fork()
    if child == 0:
        try:
            done = threading.Event()
            clean = workers.threads == 0 and workers.pending == 0
            workers.later(0.0, done.set)
            os._exit(0 if clean and done.wait(LONGEST) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert workers.close(LONGEST)


def test_threads_that_schedule_and_cancel_at_once_lose_nothing() -> None:
    workers = Workers("test-worker", 4)
    ran = threading.Semaphore(0)
    lock, count = threading.Lock(), [0, 0]

    def job() -> None:
        with lock:
            count[0] += 1
        ran.release()

    def schedule() -> None:
        for number in range(300):
            handle = workers.later(0.0005 if number % 3 else 0.0, job)
            if number % 2 and handle.cancel():
                with lock:
                    count[1] += 1

    threads = [threading.Thread(target=schedule) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    for _ in range(1200 - count[1]):
        assert ran.acquire(timeout=LONGEST)
    assert sum(count) == 1200
    assert workers.close(LONGEST)


def test_the_repr_tells_threads_and_jobs() -> None:
    workers = Workers("test-worker", 2)
    assert repr(workers) == "<Workers test-worker 0/2 threads, 0 pending>"


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_threads = 0"):
        Workers("x", 0)
    with pytest.raises(ConfigError, match="idle = 0"):
        Workers("x", 1, idle=0)
