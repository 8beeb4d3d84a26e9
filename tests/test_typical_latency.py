"""How long answers typically take: one slow answer is not the rule, and old ones are forgotten."""

from __future__ import annotations

import math

import pytest

from failsafe.testing import FakeClock
from failsafe.typical_latency import TypicalLatency


def test_nothing_is_known_before_the_first_answer() -> None:
    typical = TypicalLatency(clock=FakeClock())
    assert typical.seconds is None
    assert repr(typical) == "<TypicalLatency ->"
    typical.observe(0.5)
    assert typical.seconds == 0.5
    assert repr(typical) == "<TypicalLatency 0.500 s>"


def test_one_slow_answer_among_many_moves_it_little() -> None:
    clock = FakeClock()
    typical = TypicalLatency(clock=clock)
    for seconds in [0.5] * 40 + [5.0]:
        typical.observe(seconds)
        clock.advance(0.1)
    assert 0.5 < (typical.seconds or 0) < 1.0


def test_it_follows_a_change_within_seconds() -> None:
    clock = FakeClock()
    typical = TypicalLatency(clock=clock)
    typical.observe(0.5)
    for _ in range(60):
        clock.advance(0.1)
        typical.observe(5.0)
    assert (typical.seconds or 0) > 4.5


def test_an_answer_after_a_long_silence_counts_almost_alone() -> None:
    clock = FakeClock()
    typical = TypicalLatency(clock=clock)
    typical.observe(5.0)
    clock.advance(20)
    typical.observe(0.5)
    assert typical.seconds == pytest.approx(0.5, abs=0.01)


def test_what_is_old_is_forgotten() -> None:
    clock = FakeClock()
    typical = TypicalLatency(clock=clock)
    typical.observe(5.0)
    clock.advance(30)
    assert typical.seconds == 5.0
    clock.advance(0.1)
    assert typical.seconds is None


def test_a_clock_that_went_back_and_wrong_numbers_do_no_harm() -> None:
    clock = FakeClock()
    typical = TypicalLatency(clock=clock)
    typical.observe(1.0)
    clock.advance(-100)
    typical.observe(3.0)
    assert typical.seconds == 1.0
    for wrong in (math.nan, math.inf):
        typical.observe(wrong)
    assert typical.seconds == 1.0
    clock.advance(10)
    typical.observe(-5.0)
    assert 0 <= (typical.seconds or 0) < 0.1
