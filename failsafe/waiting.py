"""One bounded wait: for an event, a time, a deadline or a cancellation, whichever comes first."""

from __future__ import annotations

from threading import Event

from failsafe.clock import Clock
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import Cancelled


def wait_for(
    event: Event, seconds: float, *, clock: Clock, deadline: Deadline | None = None, cancel: CancelToken | None = None
) -> None:
    """
    Block until *event* is set or a bound is reached; which of them it was, the caller finds out for itself.

    Args:
        event: One of the caller's own, which nobody else waits for: a cancellation sets it too.
        seconds: The longest wait.
        clock: The source of waiting.
        deadline: The wait does not go past it.
        cancel: Ends the wait from another thread.

    Raises:
        Cancelled: *cancel* was used, before or during the wait.
    """
    if deadline is not None:
        seconds = min(seconds, deadline.left)
    if cancel is None:
        clock.wait(event, seconds)
        return
    take_back = cancel.on_cancel(event.set)
    try:
        clock.wait(event, seconds)
    finally:
        take_back()
    check_cancelled(cancel)


def check_cancelled(cancel: CancelToken | None) -> None:
    """
    Go on, or raise.

    Raises:
        Cancelled: *cancel* was used.
    """
    if cancel is not None and cancel.cancelled:
        raise Cancelled("the call was cancelled while it waited for its turn")
