"""Windows over the recent calls: exact sums, constant cost, any clock."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.windows import CallWindow, CountWindow, TimeWindow

CALLS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)
TIMED_CALLS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 1.0, 1.5, 8.75, 9.0, 10.0, 500.0]), st.booleans(), st.booleans()), max_size=60
)


def sums(window: CallWindow) -> tuple[int, int, int]:
    return window.calls, window.failures, window.slow_calls


def filled(window: CallWindow, *, calls: int, at: float = 0.0) -> CallWindow:
    """*window* with that many calls in it, half of them failed, a third of them slow."""
    for number in range(calls):
        window.add(at, failed=number % 2 == 0, slow=number % 3 == 0)
    return window


# Counting calls.


@given(CALLS, st.integers(1, 20))
def test_a_count_window_is_the_latest_calls(calls: list[tuple[bool, bool]], size: int) -> None:
    window = CountWindow(size)
    for number, (failed, slow) in enumerate(calls, start=1):
        window.add(0.0, failed=failed, slow=slow)
        latest = calls[max(0, number - size) : number]
        assert sums(window) == (len(latest), sum(failed for failed, _ in latest), sum(slow for _, slow in latest))


def test_time_pushes_no_call_out_of_a_count_window() -> None:
    window = filled(CountWindow(10), calls=6)
    window.move_on(1e9)
    assert sums(window) == (6, 3, 2)


def test_a_new_count_window_takes_no_room_for_calls_that_have_not_come() -> None:
    largest, small = CountWindow(1_000_000), CountWindow(10)
    assert sys.getsizeof(largest._marks) == sys.getsizeof(small._marks)


def test_a_full_count_window_stops_growing() -> None:
    window = CountWindow(100)
    filled(window, calls=100)
    before = sys.getsizeof(window._marks)
    filled(window, calls=10_000)
    assert (window.calls, sys.getsizeof(window._marks)) == (100, before)


# Counting time.


@given(TIMED_CALLS)
def test_a_time_window_is_ten_tenths_of_calls(calls: list[tuple[float, bool, bool]]) -> None:
    window = TimeWindow(10.0)
    now, ended = 1000.0, list[tuple[float, bool, bool]]()
    for pause, failed, slow in calls:
        now += pause
        window.add(now, failed=failed, slow=slow)
        ended.append((now, failed, slow))
        recent = [call for call in ended if int(call[0]) > int(now) - 10]  # a tenth is a second here
        assert sums(window) == (len(recent), sum(call[1] for call in recent), sum(call[2] for call in recent))


def test_looking_alone_lets_time_pass() -> None:
    window = filled(TimeWindow(60.0), calls=6, at=600.0)
    window.move_on(659.875)
    assert sums(window) == (6, 3, 2)
    window.move_on(660.0)
    assert sums(window) == (0, 0, 0)


def test_calls_leave_a_time_window_tenth_by_tenth() -> None:
    window = TimeWindow(60.0)
    for second in range(600, 660):
        window.add(float(second), failed=True, slow=False)
    seen = []
    for second in range(660, 726, 6):
        window.move_on(float(second))
        seen.append(window.calls)
    assert seen == [54, 48, 42, 36, 30, 24, 18, 12, 6, 0, 0]


def test_a_clock_that_stands_still_is_one_bucket() -> None:
    window = filled(TimeWindow(60.0), calls=1000, at=5.0)
    assert sums(window) == (1000, 500, 334)


@pytest.mark.parametrize("back", [0.5, 30.0, 3600.0, 1e12])
def test_a_clock_that_goes_back_adds_to_the_newest_bucket_and_loses_nothing(back: float) -> None:
    window = filled(TimeWindow(60.0), calls=6, at=1000.0)
    filled(window, calls=6, at=1000.0 - back)
    assert sums(window) == (12, 6, 4)
    window.move_on(1054.0)
    assert window.calls == 12
    window.move_on(1060.0)
    assert sums(window) == (0, 0, 0)


def test_a_clock_below_zero_is_a_clock() -> None:
    window = filled(TimeWindow(60.0), calls=6, at=-1000.0)
    window.move_on(-961.0)
    assert window.calls == 6
    window.move_on(-940.0)
    assert window.calls == 0


def test_a_long_pause_is_caught_up_with_by_ten_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[None] = []
    empty = TimeWindow._empty_oldest

    def counted(window: TimeWindow) -> None:
        steps.append(None)
        empty(window)

    monkeypatch.setattr(TimeWindow, "_empty_oldest", counted)
    window = filled(TimeWindow(0.001), calls=6, at=0.0)
    steps.clear()
    window.add(1e9, failed=True, slow=True)
    assert (len(steps), sums(window)) == (10, (1, 1, 1))


# After a fork in the middle of things.


@pytest.mark.parametrize("window", [CountWindow(7), TimeWindow(60.0)])
def test_sums_that_a_fork_caught_half_made_are_made_anew(window: CallWindow) -> None:
    filled(window, calls=20, at=1000.0)
    before = sums(window)
    window.calls, window.failures, window.slow_calls = 99, 98, 97
    window.recount()
    assert sums(window) == before
    window.add(1001.0, failed=False, slow=False)
    assert window.failures <= window.calls
