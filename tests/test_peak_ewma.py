"""How fast a provider is at the moment: peaks at once, recoveries by and by, and never anything but a number."""

from __future__ import annotations

import math
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.errors import ConfigError
from failsafe.peak_ewma import PeakEwma
from failsafe.testing import FakeClock

ANY = st.floats(allow_nan=True, allow_infinity=True)


class Told(FakeClock):
    """A clock that says what it is told, nonsense included."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def peak(clock: FakeClock) -> PeakEwma:
    return PeakEwma(decay=10.0, clock=clock)


def test_nothing_is_known_before_the_first(peak: PeakEwma) -> None:
    assert peak.seconds is None
    assert peak.value(5.0) is None
    assert repr(peak) == "<PeakEwma ->"


def test_the_first_answer_is_the_reading(peak: PeakEwma) -> None:
    peak.observe(0.25)
    assert peak.seconds == 0.25
    assert repr(peak) == "<PeakEwma 0.250 s>"


def test_a_slower_answer_counts_at_once_and_in_full(peak: PeakEwma) -> None:
    for seconds in (0.1, 0.1, 3.0):
        peak.observe(seconds)
    assert peak.seconds == 3.0


def test_faster_answers_draw_it_down_by_the_time_that_has_passed_not_by_their_number(
    peak: PeakEwma, clock: FakeClock
) -> None:
    peak.observe(2.0)
    for _ in range(1000):
        peak.observe(0.0)
    assert peak.seconds == 2.0
    clock.advance(10.0)
    peak.observe(0.0)
    assert peak.seconds == pytest.approx(2.0 / math.e)


def test_a_moments_trouble_is_over_soon(peak: PeakEwma, clock: FakeClock) -> None:
    for _ in range(60):
        clock.advance(1.0)
        peak.observe(0.3)
    peak.observe(3.0)
    clock.advance(30.0)
    assert 0.2 < (peak.seconds or 0.0) < 0.45


def test_who_was_slow_for_long_is_left_alone_for_long_but_not_for_ever(peak: PeakEwma, clock: FakeClock) -> None:
    for _ in range(600):
        clock.advance(1.0)
        peak.observe(3.0)
    clock.advance(30.0)
    assert (peak.seconds or 0.0) > 2.0
    clock.advance(300.0)
    assert (peak.seconds or 0.0) < 0.3


def test_one_lucky_answer_is_not_yet_what_is_usual(peak: PeakEwma, clock: FakeClock) -> None:
    for _ in range(60):
        clock.advance(1.0)
        peak.observe(1.0)
    peak.observe(0.01)
    clock.advance(20.0)
    assert (peak.seconds or 0.0) > 0.7


def test_a_recovered_provider_comes_down_with_its_first_answers(peak: PeakEwma, clock: FakeClock) -> None:
    peak.observe(0.3)
    for _ in range(6):
        clock.advance(10.0)
        peak.observe(3.0)
    for _ in range(3):
        clock.advance(10.0)
        peak.observe(0.3)
    assert (peak.seconds or 0.0) < 0.5


# Failures.


def test_a_fast_failure_does_not_make_a_provider_look_fast(peak: PeakEwma) -> None:
    peak.observe(2.0)
    peak.failed(0.001)
    assert peak.seconds == 4.0


def test_a_failure_before_any_answer_counts_as_a_second(peak: PeakEwma, clock: FakeClock) -> None:
    peak.failed(0.001)
    assert peak.seconds == 1.0
    clock.advance(40.0)
    assert (peak.seconds or 0.0) < 0.02
    peak.observe(0.5)
    assert peak.seconds == 0.5


def test_a_slow_failure_counts_for_the_time_it_took(peak: PeakEwma) -> None:
    peak.observe(0.1)
    peak.failed(30.0)
    assert peak.seconds == 30.0


@pytest.mark.parametrize("took", [0.0, 10.0, 1e9, math.inf])
def test_failures_raise_the_reading_to_a_minute_at_most(peak: PeakEwma, took: float) -> None:
    for _ in range(100):
        peak.failed(took)
    assert peak.seconds == 60.0


def test_a_failure_does_not_lower_what_was_slower_than_a_minute(peak: PeakEwma) -> None:
    peak.observe(90.0)
    peak.failed(0.001)
    assert peak.seconds == 90.0


def test_failures_do_not_become_what_is_usual(peak: PeakEwma, clock: FakeClock) -> None:
    for _ in range(60):
        clock.advance(1.0)
        peak.observe(0.3)
    for _ in range(100):
        peak.failed(0.001)
    clock.advance(70.0)
    assert (peak.seconds or 0.0) < 0.3


# Nonsense.


def test_durations_that_make_no_sense_do_no_harm(peak: PeakEwma) -> None:
    peak.observe(math.nan)
    assert peak.seconds is None
    peak.observe(-1.0)
    assert peak.seconds == 0.0
    peak.observe(math.inf)
    assert peak.seconds == 86_400.0
    peak.failed(math.nan)
    assert peak.seconds == 86_400.0


def test_a_clock_that_went_back_neither_stops_it_nor_ages_it() -> None:
    clock = Told()
    peak = PeakEwma(decay=10.0, clock=clock)
    clock.now = 1000.0
    peak.observe(2.0)
    clock.now = 10.0
    assert peak.seconds == 2.0
    peak.observe(0.0)
    clock.now = 20.0
    peak.observe(0.0)
    assert peak.seconds == pytest.approx(2.0 / math.e)


@given(
    decay=st.floats(min_value=0.0, exclude_min=True, max_value=86_400.0),
    answers=st.lists(st.tuples(ANY, ANY, st.booleans()), max_size=20),
    now=ANY,
)
def test_whatever_it_is_told_it_reads_a_number_between_nothing_and_a_day(
    decay: float, answers: list[tuple[float, float, bool]], now: float
) -> None:
    clock = Told()
    peak = PeakEwma(decay=decay, clock=clock)
    for clock.now, seconds, failed in answers:
        (peak.failed if failed else peak.observe)(seconds)
    reading = peak.value(now)
    assert reading is None or 0.0 <= reading <= 86_400.0


@given(first=st.floats(0, 100), gap=st.floats(0, 1000), later=st.floats(0, 100), second_gap=st.floats(0, 1000))
def test_an_answer_brings_the_reading_closer_to_itself(
    first: float, gap: float, later: float, second_gap: float
) -> None:
    clock = FakeClock(start=0.0)
    peak = PeakEwma(clock=clock)
    peak.observe(first)
    clock.advance(gap)
    peak.observe(first / 2)
    clock.advance(second_gap)
    before = peak.seconds
    assert before is not None
    peak.observe(later)
    after = peak.seconds
    assert after is not None
    assert after == later if later >= before else later <= after + 1e-9 <= before + 2e-9


@pytest.mark.parametrize("decay", [0.0, -1.0, math.nan, math.inf, 86_401.0, "10"])
def test_a_decay_that_makes_no_sense_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="decay = "):
        PeakEwma(decay=decay)


# Threads and forks.


def test_the_clock_is_never_asked_under_the_lock() -> None:
    class Watching(FakeClock):
        held: bool = False

        def monotonic(self) -> float:
            self.held = self.held or watched._lock.locked()
            return super().monotonic()

    clock = Watching()
    watched = PeakEwma(clock=clock)
    watched.observe(1.0)
    watched.failed(1.0)
    assert watched.seconds is not None
    assert not clock.held


def test_threads_lose_no_peak(peak: PeakEwma) -> None:
    barrier = threading.Barrier(4, timeout=30)

    def observe(highest: float) -> None:
        barrier.wait()
        for number in range(500):
            peak.observe(highest if number == 250 else 0.1)

    threads = [threading.Thread(target=observe, args=(float(highest),)) for highest in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert peak.seconds == 4.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_child_of_a_fork_has_a_sound_lock_and_the_figures(peak: PeakEwma) -> None:
    peak.observe(1.0)
    held = peak._lock
    with held:  # as a thread of the parent may
        peak._after_fork()
        peak.observe(2.0)
    assert peak.seconds == 2.0
