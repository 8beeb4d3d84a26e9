"""The hedge around any function: a further attempt while the first is slow, and the first success wins."""

from __future__ import annotations

import contextvars
import functools
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from failsafe import errors
from failsafe.breaker import CircuitBreaker
from failsafe.clock import SYSTEM_CLOCK, Random
from failsafe.deadline import CancelToken, Deadline, current_deadline, in_force
from failsafe.hedge_delay import HedgeDelay
from failsafe.hedging import Hedge, HedgeStats
from failsafe.policy_config import HedgeConfig
from failsafe.testing import FakeClock
from failsafe.workers import Handle, Job, Workers

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 10.0
AT_ONCE = HedgeConfig(delay=0.0)
NEVER = HedgeConfig(delay=3600.0)


@contextmanager
def hedging(config: HedgeConfig = AT_ONCE, **settings: Any) -> Iterator[Hedge]:
    hedge = Hedge(config, **settings)
    try:
        yield hedge
    finally:
        assert hedge.close(LONGEST)


def until_cancelled(token: CancelToken) -> str:
    """Loses, and then brings a result all the same."""
    assert token.event.wait(LONGEST)
    return "late"


def broken(_token: CancelToken) -> str:
    raise OSError("broken")


def fast(_token: CancelToken) -> str:
    return "fast"


class Turns:
    """Does something else each time it is called."""

    def __init__(self, *turns: Callable[[], Any]) -> None:
        self._turns = iter(turns)
        self._lock = threading.Lock()
        self.calls = 0

    def __call__(self) -> Any:
        with self._lock:
            self.calls += 1
            turn = next(self._turns)
        return turn()

    def myself(self) -> Turns:
        return self


def raises(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


def counts(hedge: Hedge) -> tuple[int, int, int, int]:
    stats = hedge.stats()
    return stats.hedges, stats.replacements, stats.wins, stats.refused


# How long an attempt takes.


def test_a_slow_attempt_that_was_given_up_counts_and_a_fast_one_does_not() -> None:
    delay = HedgeDelay(HedgeConfig(minimum_calls=20))
    for _ in range(20):
        delay.observe(1.0, answered=True)
    assert delay.seconds == 1.0
    for _ in range(20):
        delay.observe(0.001, answered=False)
    assert delay.seconds == 1.0
    for _ in range(20):
        delay.observe(1.5, answered=False)
    assert delay.seconds == 1.5


def test_nothing_is_hedged_before_enough_calls_are_known_and_none_takes_a_thread() -> None:
    clock = FakeClock()
    with hedging(HedgeConfig(minimum_calls=3), clock=clock) as hedge:
        threads = {hedge.call(threading.get_ident) for _ in range(3)}
        assert threads == {threading.get_ident()}
        assert hedge.stats().delay == 0.0
        assert hedge.call(threading.get_ident) != threading.get_ident()


def test_a_loser_is_taken_note_of_by_how_long_it_had_run() -> None:
    """Else the window holds only what was fast enough to survive, and hedges multiply."""
    clock = FakeClock()
    begun = threading.Event()

    def slow(token: CancelToken) -> str:
        begun.set()
        return until_cancelled(token)

    def overtaker(_token: CancelToken) -> str:
        assert begun.wait(LONGEST)
        clock.advance(7.0)
        return "won"

    config = HedgeConfig(delay=2.0, budget=1.0)
    with hedging(config, clock=clock) as hedge:
        assert hedge.race(slow, overtaker) == "won"
        window = hedge._shared._delay._recent
        assert window.count == 2
        assert window.quantile(1) == pytest.approx(9.0, abs=2.0)  # the delay was over before or after it began
        assert window.quantile(0) == 7.0


# Calls.


def test_a_fast_call_is_made_once() -> None:
    with hedging(NEVER) as hedge:
        assert hedge.call(divmod, 7, 2) == (3, 1)
        assert hedge.call(int, "11", base=2) == 3
        assert hedge.stats() == HedgeStats(
            calls=2, hedges=0, replacements=0, wins=0, refused=0, unthreaded=0, running=0, delay=3600.0
        )


def test_a_slow_call_is_made_again_and_the_second_answer_wins() -> None:
    go_on = threading.Event()
    work = Turns(lambda: go_on.wait(LONGEST), lambda: "fast")
    with hedging() as hedge:
        assert hedge.call(work) == "fast"
        assert counts(hedge) == (1, 0, 1, 0)
        assert hedge.stats().running == 1
        go_on.set()


def test_the_first_answer_wins_though_a_hedge_was_started() -> None:
    first, second = threading.Event(), threading.Event()

    def slow() -> str:
        assert first.wait(LONGEST)
        return "slow"

    def hedged() -> str:
        first.set()
        assert second.wait(LONGEST)
        return "hedge"

    with hedging() as hedge:
        assert hedge.call(Turns(slow, hedged)) == "slow"
        assert counts(hedge) == (1, 0, 0, 0)
        second.set()


def test_the_hedge_comes_after_the_delay_and_the_next_after_another_one() -> None:
    clock = FakeClock()
    asked: list[float] = []
    release = threading.Event()

    def slow() -> str:
        asked.append(clock.monotonic())
        if len(asked) == 3:
            release.set()
        assert release.wait(LONGEST)
        return "done"

    with hedging(HedgeConfig(delay=2.0, max_hedges=2), clock=clock) as hedge:
        assert hedge.call(slow) == "done"
        assert clock.waits == [2.0, 2.0]
        assert counts(hedge)[0] == 2


def test_it_decorates() -> None:
    with hedging(NEVER) as hedge:

        @hedge
        def double(number: int) -> int:
            """Twice as much."""
            return 2 * number

        assert double(4) == 8
        assert double.__doc__ == "Twice as much."
        with pytest.raises(TypeError, match="hedge cannot wrap"):

            @hedge
            def numbers() -> Iterator[int]:
                yield 1


def test_grpc_10145_a_failure_starts_the_next_at_once() -> None:
    work = Turns(raises(OSError("reset")), lambda: "second")
    with hedging(NEVER) as hedge:
        assert hedge.call(work) == "second"
        assert counts(hedge) == (0, 1, 1, 0)
        assert hedge._shared._budget.available == pytest.approx(4.05)


def test_a_failure_is_replaced_also_while_no_delay_is_known() -> None:
    with hedging(HedgeConfig()) as hedge:
        assert hedge.call(Turns(raises(OSError("reset")), threading.get_ident)) == threading.get_ident()


def test_there_are_no_more_attempts_than_max_hedges_allows() -> None:
    work = Turns(*[raises(OSError(str(number))) for number in range(9)])
    with hedging(HedgeConfig(delay=3600.0, max_hedges=2)) as hedge, pytest.raises(OSError, match="2"):
        hedge.call(work)
    assert work.calls == 3


@pytest.mark.parametrize(
    "error", [errors.InvalidRequest("no"), errors.AuthenticationFailed("no"), errors.Cancelled("")]
)
def test_a_failure_that_another_attempt_cannot_help_is_raised_at_once(error: Exception) -> None:
    work = Turns(raises(error))
    with hedging(NEVER) as hedge, pytest.raises(type(error)) as raised:
        hedge.call(work)
    assert raised.value is error
    assert work.calls == 1


def test_a_failure_waits_for_the_attempt_that_is_under_way() -> None:
    second = threading.Event()

    def fails_late() -> str:
        assert second.wait(LONGEST)
        raise OSError("the first broke")

    def other() -> str:
        second.set()
        return "second"

    with hedging() as hedge:
        assert hedge.call(Turns(fails_late, other)) == "second"


def test_grpc_7222_an_empty_budget_means_that_the_failure_is_raised_now() -> None:
    work = Turns(*[raises(OSError(str(number))) for number in range(20)])
    with hedging(HedgeConfig(delay=3600.0, budget=0.01)) as hedge:
        for _ in range(5):
            with pytest.raises(OSError, match=r"\d"):
                hedge.call(work)
        assert work.calls == 10
        with pytest.raises(OSError, match="10") as raised:
            hedge.call(work)
        assert not hasattr(raised.value, "__notes__")
        assert counts(hedge) == (0, 5, 0, 1)


def test_an_empty_budget_stops_new_hedges_and_no_running_one() -> None:
    """failsafe-go#141: exhaustion killed hedges in flight."""
    go_on = threading.Event()
    clock = FakeClock()
    with hedging(HedgeConfig(delay=1.0, budget=0.01, max_hedges=10), clock=clock) as hedge:
        started = threading.Semaphore(0)

        def slow() -> str:
            started.release()
            assert go_on.wait(LONGEST)
            return "done"

        answers: list[str] = []
        caller = threading.Thread(target=lambda: answers.append(hedge.call(slow)))
        caller.start()
        for _ in range(6):
            assert started.acquire(timeout=LONGEST)
        go_on.set()
        caller.join(LONGEST)
        assert answers == ["done"]
        assert counts(hedge)[0] == 5
        assert hedge.stats().refused <= 1


def test_a_refusal_by_a_breaker_inside_moves_on_to_somebody_else_at_no_cost() -> None:
    breaker = CircuitBreaker("inner")
    breaker.force_open()
    with hedging(NEVER) as hedge:
        assert hedge.race(lambda _token: breaker.call(str), fast) == "fast"
        with pytest.raises(errors.CircuitOpenError):
            hedge.call(breaker.call, int)  # the same breaker would refuse again
        assert (hedge._shared._budget.available, counts(hedge)) == (5, (0, 1, 1, 0))
        assert breaker.stats().rejected == 2


def test_no_budget_at_all_means_no_thread_and_no_further_attempt() -> None:
    with hedging(HedgeConfig(delay=0.0, budget=0.0)) as hedge:
        assert hedge.call(threading.get_ident) == threading.get_ident()
        work = Turns(raises(OSError("broken")))
        with pytest.raises(OSError, match="broken"):
            hedge.call(work)
        assert work.calls == 1


def test_context_variables_reach_the_attempts_and_do_not_come_back() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")

    def work() -> str:
        seen = who.get()
        who.set("it")
        return seen

    with hedging(NEVER) as hedge:
        assert [hedge.call(work), hedge.call(Turns(raises(OSError()), work))] == ["me", "me"]
        assert who.get() == "me"


def test_the_deadline_in_force_ends_the_wait_and_is_seen_by_the_attempts() -> None:
    clock, begun, go_on = FakeClock(), threading.Event(), threading.Event()
    seen: list[Deadline | None] = []

    def work() -> bool:
        seen.append(current_deadline())
        begun.set()
        return go_on.wait(LONGEST)

    with hedging(NEVER, clock=clock) as hedge:
        deadline = Deadline.after(3.0, clock)
        with (
            in_force(deadline),
            clock.during_wait(lambda: begun.wait(LONGEST)),  # type: ignore[arg-type]
            pytest.raises(errors.DeadlineExceeded, match="none of the attempts"),
        ):
            hedge.call(work)
        assert (seen, clock.waits) == ([deadline], [3.0])
        go_on.set()


def test_an_attempt_that_has_not_begun_when_the_call_is_over_never_does() -> None:
    clock = FakeClock()
    workers = Workers("test-slow", 1)
    ran: list[str] = []
    with hedging(NEVER, clock=clock, workers=workers) as hedge:
        with (
            workers._pool.lock,  # no thread gets at the attempt
            in_force(Deadline.after(3.0, clock)),
            pytest.raises(errors.DeadlineExceeded),
        ):
            hedge.call(ran.append, "never")
        assert hedge.stats().running == 0
    assert workers.close(LONGEST)
    assert ran == []


def test_no_attempt_is_made_after_the_deadline() -> None:
    clock = FakeClock()

    def too_long() -> None:
        clock.advance(5.0)
        raise OSError("broken")

    work = Turns(too_long)
    with hedging(HedgeConfig(), clock=clock) as hedge:
        with in_force(Deadline.after(3.0, clock)), pytest.raises(OSError, match="broken"):
            hedge.call(work)
        assert work.calls == 1


# Races.


def test_when_all_have_failed_the_race_ends_now_with_the_last_error_and_a_note_of_the_others() -> None:
    functions = [broken, raises(LookupError("two")), raises(OSError("three"))]
    for config in (NEVER, HedgeConfig()):
        with hedging(config) as hedge, pytest.raises(OSError, match="three") as raised:
            hedge.race(*functions)
        note = "failsafe: the last of 3 attempts; the others failed with OSError, LookupError"
        assert raised.value.__notes__ == [note]


def test_an_error_that_is_raised_again_and_again_does_not_gather_notes() -> None:
    error = OSError("the same")
    with hedging(NEVER) as hedge:
        for _ in range(3):
            with pytest.raises(OSError, match="the same"):
                hedge.race(broken, raises(error))
    assert len(error.__notes__) == 1


def test_failover_within_a_race_costs_nothing_of_the_budget() -> None:
    with hedging(HedgeConfig(delay=3600.0, budget=0.0)) as hedge:
        assert hedge.race(raises(errors.AuthenticationFailed("no")), fast) == "fast"
        assert counts(hedge) == (0, 1, 1, 0)


def test_what_is_the_callers_own_mistake_is_not_tried_elsewhere() -> None:
    with hedging(NEVER) as hedge, pytest.raises(errors.InvalidRequest):
        hedge.race(raises(errors.InvalidRequest("no")), fast)


def test_whoever_loses_is_told_and_its_result_is_discarded() -> None:
    discarded: list[object] = []
    with hedging(discard=discarded.append) as hedge:
        assert hedge.race(until_cancelled, fast) == "fast"
    assert discarded == ["late"]


def test_a_late_failure_is_swallowed(expect_logs: pytest.LogCaptureFixture) -> None:
    def fails_late(token: CancelToken) -> str:
        assert token.event.wait(LONGEST)
        raise OSError("sk-secret")

    with expect_logs.at_level(logging.DEBUG, "failsafe.hedge"), hedging() as hedge:
        assert hedge.race(fails_late, fast) == "fast"
        assert hedge.close(LONGEST)
    assert expect_logs.messages == ["an attempt that nobody waited for failed: OSError"]


def test_a_result_that_cannot_be_discarded_hurts_nobody(expect_logs: pytest.LogCaptureFixture) -> None:
    with hedging(discard=raises(OSError("cannot close"))) as hedge:
        assert hedge.race(until_cancelled, fast) == "fast"
    assert [record.getMessage() for record in expect_logs.records] == ["discard failed"]


def test_no_more_than_max_hedges_run_beside_a_slow_one_and_one_that_fails_makes_room() -> None:
    asked: list[str] = []
    both, all_three = threading.Event(), threading.Event()

    def first(token: CancelToken) -> str:
        asked.append("first")
        return until_cancelled(token)

    def second(_token: CancelToken) -> str:
        asked.append("second")
        both.set()
        assert all_three.wait(LONGEST)
        raise OSError("broken")

    def third(_token: CancelToken) -> str:
        asked.append("third")
        return "third"

    with hedging() as hedge:
        answers: list[str] = []
        caller = threading.Thread(target=lambda: answers.append(hedge.race(first, second, third)))
        caller.start()
        assert both.wait(LONGEST)
        assert asked == ["first", "second"]
        all_three.set()
        caller.join(LONGEST)
        assert (answers, asked) == (["third"], ["first", "second", "third"])
        assert counts(hedge) == (1, 1, 1, 0)


def test_an_interrupt_of_the_waiting_caller_cancels_all() -> None:
    """As by Ctrl+C; what arrives afterwards is discarded."""

    begun = threading.Event()
    discarded: list[object] = []

    class Interrupted:
        monotonic = staticmethod(SYSTEM_CLOCK.monotonic)
        time = staticmethod(SYSTEM_CLOCK.time)

        @staticmethod
        def wait(event: threading.Event, timeout: float) -> bool:
            assert begun.wait(LONGEST)
            raise KeyboardInterrupt

    def ask(token: CancelToken) -> str:
        begun.set()
        return until_cancelled(token)

    with hedging(NEVER, clock=Interrupted(), discard=discarded.append) as hedge, pytest.raises(KeyboardInterrupt):
        hedge.race(ask, fast)
    assert discarded == ["late"]


def test_a_result_that_arrived_while_the_caller_was_interrupted_is_discarded() -> None:
    class Interrupted:
        monotonic = staticmethod(SYSTEM_CLOCK.monotonic)
        time = staticmethod(SYSTEM_CLOCK.time)

        @staticmethod
        def wait(event: threading.Event, timeout: float) -> bool:
            assert event.wait(LONGEST)
            raise KeyboardInterrupt

    discarded: list[object] = []
    with hedging(NEVER, clock=Interrupted(), discard=discarded.append) as hedge:
        with pytest.raises(KeyboardInterrupt):
            hedge.call(lambda: "unheard")
        assert discarded == ["unheard"]


def test_what_ends_a_program_reaches_the_caller_at_once() -> None:
    with hedging(NEVER) as hedge, pytest.raises(SystemExit):
        hedge.race(raises(SystemExit(3)), fast)


def test_an_error_leaves_no_cycle_behind_that_only_the_collector_would_end() -> None:
    watched: list[weakref.ref[Any]] = []

    class Broken(Exception):
        pass

    def breaks(_token: CancelToken) -> None:
        error = Broken()
        watched.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    def rise_and_fall(hedge: Hedge, *functions: Callable[[CancelToken], None]) -> None:
        with suppress(Broken):
            hedge.race(*functions)

    with hedging(NEVER) as hedge, hedging(HedgeConfig()) as sequential:
        gc.collect()
        gc.disable()
        try:
            rise_and_fall(hedge, breaks, breaks)
            rise_and_fall(sequential, breaks, breaks)
            rise_and_fall(sequential, breaks)
            assert hedge.close(LONGEST)
            assert [each() for each in watched] == [None] * 5
        finally:
            gc.enable()


def test_a_call_leaves_no_cycle_behind() -> None:
    result: Any = Turns()
    with hedging(NEVER) as hedge, hedging(HedgeConfig()) as sequential:
        gc.collect()
        gc.disable()
        try:
            watched = weakref.ref(result)
            assert hedge.call(result.myself) is sequential.call(result.myself) is result
            del result
            assert hedge.close(LONGEST)
            assert watched() is None
        finally:
            gc.enable()


# Threads.


def test_where_all_threads_are_taken_a_call_runs_in_its_own_unhedged() -> None:
    go_on, busy = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        assert go_on.wait(LONGEST)

    with hedging(NEVER, max_threads=1) as hedge:
        occupier = threading.Thread(target=hedge.call, args=(occupy,))
        occupier.start()
        assert busy.wait(LONGEST)
        assert hedge.call(threading.get_ident) == threading.get_ident()
        assert hedge.race(broken, fast) == "fast"
        assert hedge.stats().unthreaded == 3
        go_on.set()
        occupier.join(LONGEST)


class FewStarts(Workers):
    """Starts the first jobs only; an event tells of each that it turns down."""

    def __init__(self, most: int) -> None:
        super().__init__("test-few", 8)
        self._left = most
        self.turned_down = [threading.Event(), threading.Event()]

    def start(self, job: Job) -> Handle | None:
        self._left -= 1
        if self._left >= 0:
            return super().start(job)
        self.turned_down[-1 - self._left].set()
        return None


def test_a_hedge_for_which_there_is_no_thread_is_not_paid_for() -> None:
    workers = FewStarts(1)
    with hedging(HedgeConfig(delay=1.0), clock=FakeClock(), workers=workers) as hedge:
        assert hedge.call(workers.turned_down[0].wait, LONGEST) is True
        assert hedge._shared._budget.available == 5
        assert (counts(hedge), hedge.stats().unthreaded) == ((0, 0, 0, 0), 1)
    assert workers.close(LONGEST)


@pytest.mark.parametrize("races", [False, True])
def test_a_failure_for_whose_replacement_there_is_no_thread_leaves_the_others_to_it(races: bool) -> None:
    workers = FewStarts(2)
    as_hedge, as_replacement = workers.turned_down

    def fails(*_: object) -> str:
        assert as_hedge.wait(LONGEST)
        raise OSError("broken")

    def slow(*_: object) -> str:
        assert as_replacement.wait(LONGEST)
        return "slow"

    config = HedgeConfig(delay=1.0, max_hedges=2)
    with hedging(config, clock=FakeClock(), workers=workers) as hedge:
        answer = hedge.race(fails, slow, fast) if races else hedge.call(Turns(fails, slow))
        assert answer == "slow"
        assert counts(hedge)[:2] == (1, 0)
        assert hedge._shared._budget.available == pytest.approx(4.05)
    assert workers.close(LONGEST)


def test_given_workers_are_used_and_not_closed() -> None:
    workers = Workers("test-shared", 2)
    with hedging(NEVER, workers=workers) as hedge:
        assert hedge.call(lambda: threading.current_thread().name).startswith("test-shared")
    done = threading.Event()
    assert workers.start(done.set)
    assert done.wait(LONGEST)
    assert workers.close(LONGEST)


def test_hedges_within_hedges_of_the_same_threads_do_not_wait_for_each_other() -> None:
    with hedging(NEVER, max_threads=1) as hedge:
        assert hedge.call(lambda: hedge.call(lambda: hedge.call(int))) == 0


def test_a_closed_hedge_calls_and_does_not_hedge() -> None:
    hedge = Hedge(AT_ONCE)
    assert hedge.close(LONGEST)
    assert hedge.call(threading.get_ident) == threading.get_ident()
    assert hedge.close(LONGEST)


def test_closing_tells_when_an_attempt_does_not_end() -> None:
    go_on, begun = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(LONGEST)

    hedge = Hedge(NEVER)
    caller = threading.Thread(target=hedge.call, args=(slow,))
    caller.start()
    assert begun.wait(LONGEST)
    assert hedge.close(0.0) is False
    go_on.set()
    caller.join(LONGEST)
    assert hedge.close() is True


def test_hedged_functions_may_close_it_also_two_at_once() -> None:
    hedge = Hedge(NEVER)
    together = threading.Barrier(2)
    closed: list[bool] = []

    def work() -> None:
        together.wait(LONGEST)
        closed.append(hedge.close())

    callers = [threading.Thread(target=hedge.call, args=(work,)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(LONGEST)
    assert closed == [True, True]
    assert hedge.close(LONGEST)


def test_a_hedge_that_nobody_has_any_more_leaves_no_thread() -> None:
    hedge = Hedge(NEVER)
    hedge.call(int)
    del hedge
    gc.collect()  # the suite looks for threads after each test


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_hedges_with_threads_of_its_own() -> None:
    code = """
import os, threading
from failsafe.hedging import Hedge
from failsafe.policy_config import HedgeConfig
hedge = Hedge(HedgeConfig(delay=3600.0))
go_on, begun = threading.Event(), threading.Event()
def slow():
    begun.set()
    go_on.wait()
threading.Thread(target=hedge.call, args=(slow,), daemon=True).start()
begun.wait()
child = os.fork()
if child == 0:
    print(hedge.call(threading.get_ident) != threading.get_ident(), hedge.stats().running, hedge.close(10), flush=True)
    os._exit(0)
os.waitpid(child, 0)
go_on.set()
print(hedge.close(10))
"""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (answer.stdout, answer.stderr) == ("True 0 True\nTrue\n", "")


# All at once.


class Tally(list[str]):
    def add(self, what: str) -> str:
        self.append(what)
        return what


def test_wins_failures_and_cancellations_at_once_have_one_winner_each_and_lose_nothing() -> None:
    """grpc-java#10007, #10314, #13034: committing against cancelling, deadlock, leak of the losers."""
    made, dropped, answered, failed = (Tally() for _ in range(4))

    def backend(chance: Random) -> Callable[[CancelToken], str]:
        kind, pause = chance.randrange(4), chance.choice((0.0, 0.0001, 0.0004, 0.001))

        def ask(token: CancelToken) -> str:
            token.event.wait(pause)
            if kind == 0:
                raise OSError("broken")
            if kind == 1 and token.cancelled:
                raise errors.Cancelled("lost")
            return made.add("answer")

        return ask

    def work(seed: int) -> None:
        chance = Random(seed)
        for _ in range(250):
            try:
                answered.add(hedge.race(*[backend(chance) for _ in range(3)]))
            except OSError:
                failed.add("failure")

    config = HedgeConfig(delay=0.0002, budget=1.0, max_hedges=2)
    with hedging(config, max_threads=12, discard=dropped.add) as hedge:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        assert hedge.close(LONGEST)
        assert len(answered) + len(failed) == 1500
        assert len(made) == len(answered) + len(dropped)
        assert (hedge.stats().calls, hedge.stats().running) == (1500, 0)
        assert len(answered) > 0 < len(failed)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(errors.ConfigError, match="max_threads = 0"):
        Hedge(max_threads=0)
    with pytest.raises(errors.ConfigError, match="HedgeConfig"):
        Hedge({"delay": 1})  # type: ignore[arg-type]
    with hedging() as hedge, pytest.raises(TypeError, match="at least one function"):
        hedge.race()


def test_the_repr_counts() -> None:
    with hedging(NEVER) as hedge:
        hedge.call(functools.partial(int, 3))
        assert repr(hedge) == "<Hedge 1 calls, 0 hedges, 0 won>"
