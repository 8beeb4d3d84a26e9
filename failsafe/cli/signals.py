"""Ends a command in order when it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from failsafe.clock import SYSTEM_CLOCK


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that Ctrl+C and SIGTERM set; a second Ctrl+C interrupts as usual. For the main thread."""
    stopped = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def pause(seconds: float) -> None:
    """Wait for *seconds*; Ctrl+C interrupts as usual."""
    SYSTEM_CLOCK.wait(threading.Event(), seconds)


def wait(stopped: threading.Event, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Wait for *stopped*, or until *goes_on*, which is asked every second, says no."""
    while not stopped.wait(1.0) and goes_on():  # in steps, so that Windows sees Ctrl+C
        pass
