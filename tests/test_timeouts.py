from __future__ import annotations

import contextvars
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from failsafe import abandoning, errors
from failsafe.breaker import CircuitBreaker
from failsafe.deadline import CancelToken, Deadline, current_deadline, in_force
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.retrying import Retry
from failsafe.testing import FakeClock
from failsafe.timeouts import AttemptTimeout, Timeout

LONG = 60.0
"""Seconds no test waits for."""

Limit = type[Timeout | AttemptTimeout]
both = pytest.mark.parametrize("kind", [Timeout, AttemptTimeout])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Hanging:
    """A function that hangs until the test is over, whatever its caller does; ``ended`` counts those that returned."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0
        self.threads: list[threading.Thread] = []

    def __call__(self, *args: object, **kwargs: object) -> str:
        self.calls += 1
        self.threads.append(threading.current_thread())
        assert self.release.wait(timeout=LONG)
        return "too late"

    def end(self) -> None:
        self.release.set()
        for thread in self.threads:
            thread.join(timeout=LONG)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    function = Hanging()
    yield function
    function.end()


def left() -> float:
    deadline = current_deadline()
    assert deadline is not None
    return deadline.left


@contextmanager
def interrupted_waits(clock: FakeClock, started: threading.Event) -> Iterator[None]:
    """Ctrl-C reaches whoever waits on *clock*, once *started*."""

    def interrupt() -> None:
        assert started.wait(timeout=LONG)
        raise KeyboardInterrupt

    with clock.during_wait(interrupt):
        yield


# In time.


@both
@pytest.mark.parametrize("abandon", [True, False])
def test_a_result_and_an_error_in_time_pass_unchanged(kind: Limit, abandon: bool) -> None:
    limit = kind(LONG, abandon=abandon)
    assert limit.call(int, "ff", base=16) == 255
    error = OSError("reset")

    def fails() -> None:
        raise error

    with pytest.raises(OSError, match="reset") as caught:
        limit.call(fails)
    assert caught.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert limit.abandoned == 0


@both
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_passes_too(kind: Limit, interruption: type[BaseException]) -> None:
    def ends() -> None:
        raise interruption

    with pytest.raises(interruption):
        kind(LONG).call(ends)


@both
def test_it_decorates(kind: Limit) -> None:
    def add(number: int, *, plus: int = 0) -> int:
        """Add."""
        return number + plus

    decorated = kind(LONG)(add)
    assert (decorated(1, plus=2), decorated.__name__, decorated.__doc__) == (3, "add", "Add.")


@both
def test_functions_whose_work_comes_later_are_refused(kind: Limit) -> None:
    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match=rf"{kind.__name__} cannot wrap .*stream.* generator function"):
        kind(LONG)(stream)


@both
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "3", None])
def test_a_limit_that_makes_no_sense_is_refused_at_once(kind: Limit, seconds: float) -> None:
    with pytest.raises(errors.ConfigError, match=r"seconds = .* a number above 0 is needed"):
        kind(seconds)


@both
def test_the_other_settings_are_checked_too(kind: Limit) -> None:
    with pytest.raises(errors.ConfigError, match="max_abandoned"):
        kind(3, max_abandoned=0)
    with pytest.raises(errors.ConfigError, match="abandon = 1"):
        kind(3, abandon=1)  # type: ignore[arg-type]


@both
def test_its_repr_and_figures(kind: Limit) -> None:
    limit = kind(90)
    assert (repr(limit), limit.seconds, limit.abandon) == (f"<{kind.__name__} 90 s>", 90.0, True)


@both
def test_context_variables_reach_the_function(kind: Limit) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    variable.set("r-17")
    assert kind(LONG).call(variable.get) == "r-17"


@both
def test_the_functions_thread_is_another_one_and_has_ended_with_it(kind: Limit) -> None:
    thread = kind(LONG).call(threading.current_thread)
    thread.join(timeout=LONG)
    assert (thread is threading.current_thread(), thread.daemon, thread.is_alive()) == (False, True, False)
    assert kind(LONG, abandon=False).call(threading.current_thread) is threading.current_thread()


# Too late.


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        (Timeout, errors.DeadlineExceeded, "no result within the deadline of 3 s; the function was left running"),
        (AttemptTimeout, errors.AttemptTimedOut, "no result within the attempt timeout of 3 s; the function was left"),
    ],
)
def test_it_holds_to_its_limit_whatever_the_function_does(
    clock: FakeClock, hanging: Hanging, kind: Limit, error: type[Exception], said: str
) -> None:
    limit = kind(3, clock=clock)
    with pytest.raises(error, match=said) as caught:
        limit.call(hanging)
    assert isinstance(caught.value, TimeoutError)
    assert clock.waits == [3.0]
    assert limit.abandoned == 1
    hanging.end()
    assert limit.abandoned == 0


def test_on_the_machines_clock_too(hanging: Hanging) -> None:
    with pytest.raises(errors.DeadlineExceeded, match=r"deadline of 0\.05 s"):
        Timeout(0.05).call(hanging)
    with pytest.raises(errors.AttemptTimedOut, match=r"attempt timeout of 0\.05 s"):
        AttemptTimeout(0.05).call(hanging)


def test_a_clock_that_wakes_up_early_is_asked_again(clock: FakeClock, hanging: Hanging) -> None:
    """The machine's clock waits a day at most; a longer limit takes several waits."""

    class Hasty(FakeClock):
        def wait(self, event: threading.Event, timeout: float) -> bool:
            return super().wait(event, min(timeout, 2.0))

    hasty = Hasty()
    with pytest.raises(errors.DeadlineExceeded):
        Timeout(5, clock=hasty).call(hanging)
    assert hasty.waits == [2.0, 2.0, 1.0]


@both
def test_an_error_that_comes_too_late_is_dropped_and_holds_nothing(clock: FakeClock, kind: Limit) -> None:
    release, threads = threading.Event(), []

    class Marked:
        """Held by the frame that raises."""

    seen: list[weakref.ref[Marked]] = []

    def fails() -> None:
        marked = Marked()
        seen.append(weakref.ref(marked))
        threads.append(threading.current_thread())
        assert release.wait(timeout=LONG)
        raise OSError("sk-key")

    gc.disable()
    try:
        with pytest.raises(TimeoutError) as caught:
            kind(3, clock=clock).call(fails)
        release.set()
        threads.pop().join(timeout=LONG)
        assert seen[0]() is None, "only the collector would free it"
    finally:
        gc.enable()
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


@both
def test_a_result_that_comes_just_as_the_time_is_up_is_taken(kind: Limit) -> None:
    """The wait ends without the result being seen; it is asked for once more before walking away."""
    ended = threading.Event()

    class Blind(FakeClock):
        def wait(self, event: threading.Event, timeout: float) -> bool:
            assert event.wait(timeout=LONG)
            self.advance(timeout)
            ended.set()
            return False

    assert kind(3, clock=Blind()).call(lambda: "just so") == "just so"
    assert ended.is_set()


def test_too_many_functions_left_behind_refuse_the_next(clock: FakeClock, hanging: Hanging) -> None:
    limit = Timeout(3, max_abandoned=2, clock=clock)
    for _ in range(2):
        with pytest.raises(errors.DeadlineExceeded):
            limit.call(hanging)
    with pytest.raises(errors.TooManyAbandoned, match=r"Timeout 3 s: 2 functions .* still running.* max_abandoned"):
        limit.call(hanging)
    assert (hanging.calls, limit.abandoned) == (2, 2)
    other = AttemptTimeout(LONG, max_abandoned=1)
    assert other.call(lambda: "not affected") == "not affected"
    hanging.end()
    assert limit.abandoned == 0
    with pytest.raises(errors.DeadlineExceeded):
        limit.call(Hanging.__call__, hanging_again := Hanging())
    hanging_again.end()


def test_a_new_timeout_for_each_call_does_not_get_round_the_bound(
    clock: FakeClock, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoning, "_MOST_IN_ALL", 2)
    for _ in range(2):
        with pytest.raises(errors.DeadlineExceeded):
            Timeout(3, clock=clock).call(hanging)
    with pytest.raises(errors.TooManyAbandoned, match="among all timeouts of the process"):
        Timeout(3, clock=clock).call(hanging)
    assert hanging.calls == 2


def test_a_thread_that_cannot_be_had_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    limit = Timeout(3)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        limit.call(int)
    assert limit.abandoned == 0


@both
def test_an_interrupt_while_waiting_leaves_the_function_behind(clock: FakeClock, hanging: Hanging, kind: Limit) -> None:
    started, token = threading.Event(), CancelToken()
    limit = kind(LONG, clock=clock)
    given: list[CancelToken] = []

    def work(cancel: CancelToken) -> None:
        given.append(cancel)
        started.set()
        hanging()

    with interrupted_waits(clock, started), pytest.raises(KeyboardInterrupt):
        limit.call(work, token)
    assert (limit.abandoned, given[0].cancelled, token.cancelled) == (1, True, False)
    assert current_deadline() is None
    hanging.end()
    assert limit.abandoned == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_without_its_parents_stuck_functions(clock: FakeClock, hanging: Hanging) -> None:
    limit = Timeout(3, max_abandoned=1, clock=clock)
    with pytest.raises(errors.DeadlineExceeded):
        limit.call(hanging)
    abandoning._ledger.lock.acquire()  # as another thread might hold it at that moment
    child = os.fork()
    if child == 0:
        sound = limit.abandoned == 0 and abandoning._ledger.total == 0 and abandoning._ledger.lock.acquire(timeout=5)
        os._exit(0 if sound else 1)
    abandoning._ledger.lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert limit.abandoned == 1


# Cancelling.


@both
@pytest.mark.parametrize("by_name", [True, False])
def test_a_token_of_the_function_is_cancelled_when_it_is_left_behind_and_the_callers_is_not(
    clock: FakeClock, kind: Limit, by_name: bool
) -> None:
    ended = threading.Event()

    def work(cancel: CancelToken) -> None:
        assert cancel.event.wait(timeout=LONG)
        ended.set()

    token = CancelToken()
    args, kwargs = ((), {"cancel": token}) if by_name else ((token,), {})
    with pytest.raises(TimeoutError):
        kind(3, clock=clock).call(work, *args, **kwargs)
    assert ended.wait(timeout=LONG)
    assert not token.cancelled, "it may serve other calls"


@both
def test_cancelling_the_callers_token_reaches_the_function(kind: Limit) -> None:
    token, started = CancelToken(), threading.Event()

    def work(cancel: CancelToken) -> str:
        started.set()
        assert cancel.event.wait(timeout=LONG)
        return "cancelled"

    def cancel_it() -> None:
        assert started.wait(timeout=LONG)
        token.cancel()

    canceller = threading.Thread(target=cancel_it)
    canceller.start()
    assert kind(LONG).call(work, cancel=token) == "cancelled"
    canceller.join(timeout=LONG)


def test_a_token_of_long_life_keeps_nothing_of_the_calls(clock: FakeClock, hanging: Hanging) -> None:
    token = CancelToken()
    Timeout(LONG).call(lambda cancel: None, token)
    with pytest.raises(errors.DeadlineExceeded):
        Timeout(3, clock=clock).call(hanging, token)
    assert token._callbacks == {}


# The deadline in force.


@both
@pytest.mark.parametrize("abandon", [True, False])
def test_the_function_can_ask_for_the_time_left(clock: FakeClock, kind: Limit, abandon: bool) -> None:
    assert 0 < kind(LONG, abandon=abandon).call(left) <= LONG
    assert kind(3, abandon=False, clock=clock).call(left) == 3.0
    assert current_deadline() is None


@pytest.mark.parametrize("outer", [2.0, 5.0])
@both
def test_of_nested_limits_the_sooner_counts(clock: FakeClock, kind: Limit, outer: float) -> None:
    around = Timeout(outer, abandon=False, clock=clock)
    assert around.call(kind(3, abandon=False, clock=clock).call, left) == min(outer, 3.0)


@both
def test_an_outer_deadline_that_comes_first_is_the_one_that_is_named(
    clock: FakeClock, hanging: Hanging, kind: Limit
) -> None:
    around = Timeout(2, abandon=False, clock=clock)
    with pytest.raises(errors.DeadlineExceeded, match="the deadline of 2 s"):
        around.call(kind(3, clock=clock).call, hanging)
    assert clock.waits == [2.0]


def test_an_attempt_limit_that_comes_first_is_the_one_that_is_named(clock: FakeClock, hanging: Hanging) -> None:
    around = Timeout(5, abandon=False, clock=clock)
    with pytest.raises(errors.AttemptTimedOut, match="the attempt timeout of 3 s"):
        around.call(AttemptTimeout(3, clock=clock).call, hanging)


@both
def test_a_deadline_that_has_passed_makes_no_call(clock: FakeClock, kind: Limit) -> None:
    calls: list[int] = []
    expired = Deadline.after(1, clock)
    clock.advance(1)
    with in_force(expired), pytest.raises(errors.DeadlineExceeded, match="the deadline of 1 s has passed"):
        kind(3, clock=clock).call(calls.append, 1)
    with pytest.raises(errors.DeadlineExceeded):
        Timeout(expired).call(calls.append, 1)
    assert calls == []


def test_a_given_deadline_is_shared_by_all_calls(clock: FakeClock) -> None:
    shared = Timeout(Deadline.after(5, clock), abandon=False)
    assert shared.call(left) == 5.0
    clock.advance(2)
    assert (shared.call(left), shared.seconds) == (3.0, 5.0)


def test_an_unlimited_deadline_cuts_nothing_and_needs_no_thread() -> None:
    assert Timeout(Deadline.unlimited()).call(threading.current_thread) is threading.current_thread()


def test_to_cut_at_a_limit_in_force_needs_one() -> None:
    assert Timeout(3).cut(threading.current_thread) is threading.current_thread()


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        (Timeout, errors.DeadlineExceeded, "the deadline of 3 s has passed"),
        (AttemptTimeout, errors.AttemptTimedOut, "the attempt timeout of 3 s has passed"),
    ],
)
def test_a_function_that_keeps_to_the_limit_itself_checks_it(
    clock: FakeClock, kind: Limit, error: type[Exception], said: str
) -> None:
    def works_in_steps() -> None:
        while True:
            clock.advance(1)
            deadline = current_deadline()
            assert deadline is not None
            deadline.check()

    with pytest.raises(error, match=said):
        kind(3, abandon=False, clock=clock).call(works_in_steps)


def test_without_a_cut_a_late_result_is_still_a_result(clock: FakeClock) -> None:
    def slow() -> str:
        clock.advance(100)
        return "late"

    assert Timeout(3, abandon=False, clock=clock).call(slow) == "late"


# With others.


def test_an_attempt_that_timed_out_is_tried_again(clock: FakeClock, hanging: Hanging) -> None:
    outcomes: list[Callable[[], str]] = [hanging, lambda: "done"]

    @Retry(RetryConfig(base_delay=0), clock=clock)
    def fetch() -> str:
        # The second one on the machine's clock: the fake one does not wait for a function that is about to return.
        limit = AttemptTimeout(3, clock=clock) if len(outcomes) == 2 else AttemptTimeout(LONG)
        return limit.call(outcomes.pop(0))

    assert fetch() == "done"


def breaker_in_half_open(clock: FakeClock) -> CircuitBreaker:
    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=1, timeout=1), clock=clock)
    breaker.trip()
    clock.advance(1)
    return breaker


def test_a_breaker_counts_an_attempt_that_used_up_its_own_limit(clock: FakeClock, hanging: Hanging) -> None:
    breaker = breaker_in_half_open(clock)
    with Timeout(5, abandon=False, clock=clock)._in_force(), pytest.raises(errors.AttemptTimedOut):
        breaker.call(AttemptTimeout(3, clock=clock).call, hanging)
    assert breaker.state.value == "open"


def test_a_breaker_does_not_count_an_attempt_that_the_deadline_cut(clock: FakeClock, hanging: Hanging) -> None:
    breaker = breaker_in_half_open(clock)
    with Timeout(2, abandon=False, clock=clock)._in_force(), pytest.raises(errors.DeadlineExceeded):
        breaker.call(AttemptTimeout(3, clock=clock).call, hanging)
    stats = breaker.stats()
    assert (stats.state.value, stats.probes_in_flight, stats.failures) == ("half_open", 0, 0)


def test_a_breaker_counts_a_timeout_inside_of_it(clock: FakeClock, hanging: Hanging) -> None:
    breaker = breaker_in_half_open(clock)
    with pytest.raises(errors.DeadlineExceeded):
        breaker.call(Timeout(2, clock=clock).call, hanging)
    assert breaker.state.value == "open"
