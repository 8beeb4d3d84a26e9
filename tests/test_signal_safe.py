"""An event that is set by a signal handler at any moment of a wait in the same thread."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.deadline import CancelToken
from failsafe.signal_safe import SignalSafeEvent

LONG = 10.0
"""Seconds after which a wait has failed to end."""


def traced(function: Callable[[], object], at_line: Callable[[str], None]) -> None:
    """Run *function* and call *at_line* with each line of code before it runs."""

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        if what == "line":
            at_line(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)


def lines_until_it_blocks(wait: Callable[[float], object]) -> int:
    lines: list[str] = []
    traced(lambda: wait(0.0), lines.append)
    return next(number for number, line in enumerate(lines, start=1) if "lock.acquire(timeout=" in line)


def ends(wait: Callable[[float], bool], handler: Callable[[], None], after: int) -> bool | None:
    """What an hour's *wait* returns if *handler* interrupts it after so many lines; None if it does not end."""
    answers: list[bool] = []
    left = iter(range(after))

    def at_line(_: str) -> None:
        if next(left, None) == after - 1:
            handler()

    thread = threading.Thread(target=traced, args=(lambda: answers.append(wait(3600.0)), at_line), daemon=True)
    thread.start()
    thread.join(LONG)
    return answers[0] if answers else None


def test_a_wait_ends_whichever_of_its_lines_a_handler_interrupts() -> None:
    lines = lines_until_it_blocks(SignalSafeEvent().wait)
    assert lines > 4
    for after in range(1, lines + 1):
        event = SignalSafeEvent()
        assert ends(event.wait, event.set, after) is True, after


def test_a_signal_handler_may_cancel_at_any_line_of_a_backoff() -> None:
    def backoff(token: CancelToken) -> Callable[[float], bool]:
        return lambda seconds: SYSTEM_CLOCK.wait(token.event, seconds)

    for after in range(1, lines_until_it_blocks(backoff(CancelToken())) + 1):
        token = CancelToken()
        assert ends(backoff(token), token.cancel, after) is True, after


def test_it_wakes_all_who_wait_and_whoever_comes_later() -> None:
    event = SignalSafeEvent()
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(event.wait())) for _ in range(8)]
    for thread in threads:
        thread.start()
    event.set()
    for thread in threads:
        thread.join(LONG)
    assert answers == [True] * 8
    assert event.wait(0.0)
    assert event.is_set()
    assert event._waiting == {}


def test_it_is_waited_for_no_longer_than_asked_and_can_be_used_again() -> None:
    event = SignalSafeEvent()
    assert not event.wait(0.001)
    assert not event.wait(-1.0)
    event.set()
    event.clear()
    assert not event.wait(0.0)
    assert event._waiting == {}


def test_many_threads_that_set_and_wait_at_once_lose_no_wake_up() -> None:
    for _ in range(200):
        event, together = SignalSafeEvent(), threading.Barrier(4)
        answers: list[bool] = []

        def wait(
            event: SignalSafeEvent = event, together: threading.Barrier = together, answers: Any = answers
        ) -> None:
            together.wait(LONG)
            answers.append(event.wait(LONG))

        def give(event: SignalSafeEvent = event, together: threading.Barrier = together) -> None:
            together.wait(LONG)
            event.set()

        threads = [threading.Thread(target=each) for each in (wait, wait, give, give)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert answers == [True, True]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_wait_leaves_nothing_behind(kind: type[BaseException]) -> None:
    event = SignalSafeEvent()

    def at_line(line: str) -> None:
        if "lock.acquire(timeout=" in line:
            raise kind

    with pytest.raises(kind):
        traced(event.wait, at_line)
    assert event._waiting == {}
