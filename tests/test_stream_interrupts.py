"""Ctrl+C, a signal or a listener at any step of a stream: nothing stays held, nothing is told twice, nothing hangs."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from failsafe.deadline import CancelToken
from failsafe.errors import Cancelled, StreamInterrupted
from failsafe.events import AttemptFinished, CallFinished, Event
from failsafe.faults import Fault
from failsafe.policy_config import BulkheadConfig, CircuitBreakerConfig
from failsafe.testing import answer, failing, streaming
from tests.router_bench import Bench
from tests.stream_bench import nothing_is_held, opened
from tests.test_failover_safety import on_trial
from tests.test_forking import run

pytestmark = pytest.mark.usefixtures("expect_logs")

LONG = 10.0
"""Seconds after which a test has failed that waits for a thread."""


class Strike(KeyboardInterrupt):
    """What the interrupts of these tests raise."""


class Striking:
    """
    Raises where the library begins to run one of its functions, which is where Python looks for signals.

    Spared are finalizers, as Python ignores what is raised in them, and the innermost steps of a probe and of a key's
    trial, which have leases that end by themselves.
    """

    def __init__(self, left: int, *, amid_finalizers: bool = False) -> None:
        self._left = left
        self._amid_finalizers = amid_finalizers
        self.struck = False

    def __call__(self, frame: FrameType, what: str, _: Any) -> None:
        ours = str(frame.f_globals.get("__name__")).startswith("failsafe.")
        if what == "call" and ours and not self.struck and not self._spares(frame):
            self._left -= 1
            if self._left < 0:
                self.struck = True
                raise Strike

    def _spares(self, frame: FrameType) -> bool:
        if frame.f_code.co_name == "__del__" or frame.f_globals["__name__"] in ("failsafe.phases", "failsafe.cooldown"):
            return True
        finalizer: FrameType | None = frame
        while finalizer is not None and finalizer.f_code.co_name != "__del__":
            finalizer = finalizer.f_back
        return (finalizer is not None) is not self._amid_finalizers

    def run(self, function: Callable[[], object]) -> None:
        """Call *function* and be struck."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            function()
        except (Strike, StreamInterrupted):
            pass
        finally:
            sys.settrace(before)


def held_bench() -> Bench:
    """A bench whose first call is the only probe, has its key on trial and takes the only place."""
    bench = Bench(
        streaming("Hel", "lo"),
        answer("from b"),
        breaker=CircuitBreakerConfig(half_open_max_calls=1, success_threshold=1),
        bulkhead=BulkheadConfig(max_concurrent=1),
    )
    on_trial(bench)
    return bench


def read_all(bench: Bench, token: CancelToken) -> None:
    list(opened(bench, cancel=token))


def stop_early(bench: Bench, token: CancelToken) -> None:
    with opened(bench, cancel=token) as stream:
        next(stream)


def drop(bench: Bench, token: CancelToken) -> None:
    next(opened(bench, cancel=token))


@pytest.mark.parametrize("go", [read_all, stop_early, drop])
def test_an_interrupt_at_any_function_of_ours_leaves_nothing_held_and_tells_nothing_twice(
    go: Callable[[Bench, CancelToken], None],
) -> None:
    struck = 0
    for number in range(2000):
        bench, token, striking = held_bench(), CancelToken(), Striking(number)
        striking.run(partial(go, bench, token))
        bench.router.status()
        assert nothing_is_held(bench), number
        assert bench.endpoint().requests <= 1, number
        told = Counter(type(event) for event in bench.events)
        assert told[CallFinished] <= 1, number
        assert told[AttemptFinished] <= bench.endpoint().requests, number
        if not striking.struck:
            break
        struck += 1
    assert 50 < struck < 2000


def test_an_interrupt_amid_the_collection_of_a_dropped_stream_leaves_nothing_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python prints what is raised in a finalizer and goes on, so that nobody would return what was held."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    struck = 0
    for number in range(500):
        bench, striking = held_bench(), Striking(number, amid_finalizers=True)
        streams = [opened(bench)]
        striking.run(streams.clear)
        bench.router.status()
        assert nothing_is_held(bench), number
        if not striking.struck:
            break
        struck += 1
    assert 20 < struck < 500


def test_a_stream_that_was_never_handed_over_is_told_all_the_same() -> None:
    bench = held_bench()
    call = bench.router._open

    def interrupted(*arguments: Any) -> Any:
        raise_at = sys.gettrace()
        striking = Striking(0)

        def trace(frame: FrameType, what: str, argument: Any) -> None:
            if frame.f_code.co_qualname == "Stream.__init__":
                striking(frame, what, argument)

        sys.settrace(trace)
        try:
            return call(*arguments)
        finally:
            sys.settrace(raise_at)

    bench.router._open = interrupted  # type: ignore[method-assign,assignment]
    with pytest.raises(Strike):
        opened(bench)
    assert nothing_is_held(bench)
    assert [type(event) for event in bench.events if isinstance(event, AttemptFinished | CallFinished)] == [
        AttemptFinished,
        CallFinished,
    ]
    assert bench.endpoint().requests == 1


# A router that is closed amid its own code.


def left_behind(bench: Bench) -> None:
    """Have the garbage collector find a stream in the middle of the library's own code."""
    knot: list[Any] = [opened(bench)]
    knot.append(knot)
    del knot
    exec("gc.collect()", {"__name__": "failsafe.breaker", "gc": gc})
    assert len(bench.router._left_behind) == 1


def within(seconds: float, function: Callable[[], bool]) -> bool | None:
    """What *function* returns in another thread; None if it hangs."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


def test_a_signal_handler_that_closes_the_router_amid_a_locked_step_does_not_block() -> None:
    bench = held_bench()
    left_behind(bench)

    def handler() -> bool:
        return bench.router.close()

    names = {"__name__": "failsafe.breaker", "lock": bench.router.breakers.get("a")._circuit._lock, "handler": handler}
    exec("def step():\n    with lock:\n        return handler()", names)
    assert within(LONG, names["step"]) is True  # type: ignore[arg-type]
    assert bench.router._gate.inside == 0
    bench.router.status()
    assert nothing_is_held(bench)


def test_closing_amid_a_step_gives_up_in_time_while_another_call_is_under_way() -> None:
    bench = held_bench()
    left_behind(bench)
    under_way = object()
    bench.router._gate.enter(under_way)
    names = {"__name__": "failsafe.breaker", "handler": lambda: bench.router.close(timeout=0.01)}
    exec("def step():\n    return handler()", names)
    assert within(LONG, names["step"]) is False  # type: ignore[arg-type]
    bench.router._gate.leave(under_way)
    assert bench.router.close(timeout=0)


# Whole answers and closed ones.


def test_a_last_answer_that_another_thread_has_closed_does_not_look_like_an_empty_one() -> None:
    bench = Bench(failing(Fault.SERVER), fallback="Sorry.")
    stream = opened(bench)
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join(LONG)
    with pytest.raises(Cancelled):
        next(stream)
    with pytest.raises(RuntimeError, match="was not read to its end"):
        stream.response  # noqa: B018


def test_an_answer_that_was_whole_when_another_thread_closed_it_stays_so() -> None:
    bench = held_bench()
    stream = opened(bench)

    def listener(event: Event) -> None:
        if isinstance(event, CallFinished):
            thread = threading.Thread(target=stream.close)
            thread.start()
            thread.join(LONG)

    bench.router.on_event(listener, sync=True)
    assert [chunk.text for chunk in stream] == ["Hel", "lo", ""]
    assert stream.response.content == "Hello"
    assert list(stream) == []


# The end of the interpreter.

UNDER_WAY = """
from failsafe.testing import ScriptedProvider, scripted_router, streaming
router = scripted_router(ScriptedProvider("openai", streaming("Hel", "lo")))
stream = router.stream("hi", model="gpt-4.1")
next(stream)
"""


@pytest.mark.parametrize(
    "more", ["router.on_event(print)\n", "knot = [stream]\nknot.append(knot)\ndel stream, knot\n", ""]
)
def test_a_program_that_ends_with_a_stream_under_way_ends_at_once_and_prints_nothing(more: str) -> None:
    assert run(UNDER_WAY + more) == []


def test_a_finalizer_at_the_end_of_the_interpreter_starts_no_thread_that_nobody_would_ever_run() -> None:
    answers = run("""
import threading
from failsafe import threads
class Last:
    def __del__(self, start=threads.start, make=threading.Thread, show=print):
        try:
            start(make(target=show))
        except RuntimeError as error:
            show(error)
last = Last()
""")
    assert answers == ["can't start a thread while the interpreter ends"]
