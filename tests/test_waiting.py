"""The bounded wait ends by whatever comes first, and leaves nothing behind on a token."""

from __future__ import annotations

from threading import Event

import pytest

from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import Cancelled
from failsafe.testing import FakeClock
from failsafe.waiting import check_cancelled, wait_for


def test_it_waits_its_seconds_and_no_longer() -> None:
    clock = FakeClock()
    wait_for(Event(), 3.0, clock=clock)
    assert clock.waits == [3.0]
    assert clock.monotonic() == 1003.0


def test_it_ends_with_the_event() -> None:
    clock, event = FakeClock(), Event()
    with clock.during_wait(event.set):
        wait_for(event, 3.0, clock=clock)
    assert clock.monotonic() == 1000.0


@pytest.mark.parametrize(("deadline", "expected"), [(1.0, 1.0), (9.0, 3.0)])
def test_it_does_not_go_past_the_deadline(deadline: float, expected: float) -> None:
    clock = FakeClock()
    wait_for(Event(), 3.0, clock=clock, deadline=Deadline.after(deadline, clock))
    assert clock.waits == [expected]


def test_a_cancellation_ends_it() -> None:
    clock, cancel = FakeClock(), CancelToken()
    with clock.during_wait(cancel.cancel), pytest.raises(Cancelled, match="while it waited for its turn"):
        wait_for(Event(), 3.0, clock=clock, cancel=cancel)
    assert clock.monotonic() == 1000.0


def test_a_token_that_serves_many_waits_keeps_nothing_of_them() -> None:
    clock, cancel = FakeClock(), CancelToken()

    def interrupt() -> None:
        raise KeyboardInterrupt

    wait_for(Event(), 3.0, clock=clock, cancel=cancel)
    with clock.during_wait(interrupt), pytest.raises(KeyboardInterrupt):
        wait_for(Event(), 3.0, clock=clock, cancel=cancel)
    assert not cancel._callbacks


def test_an_old_cancellation_is_seen_without_a_wait() -> None:
    cancel = CancelToken()
    check_cancelled(None)
    check_cancelled(cancel)
    cancel.cancel()
    with pytest.raises(Cancelled):
        check_cancelled(cancel)
