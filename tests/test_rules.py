"""The rules that open a closed breaker, by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe.policy_config import CircuitBreakerConfig
from failsafe.rules import ConsecutiveRule, RateRules
from failsafe.windows import CountWindow, TimeWindow


def rates(**settings: Any) -> RateRules:
    return RateRules(CircuitBreakerConfig(**settings))


def told(rules: RateRules, outcomes: str, at: float = 0.0) -> list[str | None]:
    """What *rules* say after each outcome: ``.`` a success, ``x`` a failure, in capitals or ``:`` a slow one."""
    return [
        rules.success(at, each == ":") if each in ".:" else rules.failure(at, "OSError", each == "X")
        for each in outcomes
    ]


# The streak.


def test_the_streak_opens_at_its_threshold() -> None:
    rule = ConsecutiveRule(3)
    assert [rule.failure("OSError", soft=False) for _ in range(3)] == [
        None,
        None,
        "3 failures in a row, the last: OSError",
    ]


def test_a_soft_failure_is_neutral_to_the_streak() -> None:
    rule = ConsecutiveRule(2)
    rule.failure("OSError", soft=False)
    assert rule.failure("RateLimited", soft=True) is None
    assert rule.streak == 1


def test_without_a_threshold_the_streak_is_only_counted() -> None:
    rule = ConsecutiveRule(None)
    assert {rule.failure("OSError", soft=False) for _ in range(1000)} == {None}
    assert rule.streak == 1000


# Which window.


def test_without_a_window_of_its_own_a_rate_is_taken_over_a_minute() -> None:
    rules = rates(failure_rate_threshold=0.5)
    assert isinstance(rules.window, TimeWindow)
    told(rules, "...", at=600.0)
    rules.window.move_on(659.0)
    assert rules.window.calls == 3
    rules.window.move_on(660.0)
    assert rules.window.calls == 0


def test_the_window_is_as_set() -> None:
    assert isinstance(rates(failure_rate_threshold=0.5, window_size=10).window, CountWindow)
    short = rates(failure_rate_threshold=0.5, window_seconds=1.0)
    told(short, "...", at=600.0)
    short.window.move_on(601.0)
    assert short.window.calls == 0


# The failure rate.


def test_no_rate_is_judged_before_enough_calls_are_in() -> None:
    said = told(rates(failure_rate_threshold=0.5, minimum_calls=4), "xxxx")
    assert said == [None, None, None, "4 of 4 calls failed (100 % >= 50 %), the last: OSError"]


def test_a_window_smaller_than_the_minimum_takes_its_place() -> None:
    said = told(rates(failure_rate_threshold=1.0, window_size=3, minimum_calls=20), "xxx")
    assert said[-1] == "3 of 3 calls failed (100 % >= 100 %), the last: OSError"


@pytest.mark.parametrize(("failures", "opens"), [(11, False), (12, True)])
def test_the_threshold_itself_opens(failures: int, *, opens: bool) -> None:
    said = told(rates(failure_rate_threshold=0.6, minimum_calls=20), "." * (20 - failures) + "x" * failures)
    assert said[:-1] == [None] * 19
    assert said[-1] == ("12 of 20 calls failed (60 % >= 60 %), the last: OSError" if opens else None)


@pytest.mark.parametrize("share", [n / 100 for n in range(1, 101)])
def test_a_threshold_in_percent_is_met_by_exactly_so_many_of_a_hundred(share: float) -> None:
    count = round(100 * share)
    assert told(rates(failure_rate_threshold=share, minimum_calls=100), "." * (100 - count) + "x" * count)[-1]
    assert not told(rates(failure_rate_threshold=share, minimum_calls=100), "." * (101 - count) + "x" * (count - 1))[-1]


def test_a_success_that_makes_enough_calls_may_open_and_names_the_last_failure() -> None:
    said = told(rates(failure_rate_threshold=0.5, minimum_calls=3), "xx.")
    assert said[-1] == "2 of 3 calls failed (66.7 % >= 50 %), the last: OSError"


def test_failures_that_have_left_the_window_do_not_count() -> None:
    said = told(rates(failure_rate_threshold=0.5, window_size=4, minimum_calls=4), "x.....x....x")
    assert set(said) == {None}


# The slow-call rate.


def test_slow_successes_open() -> None:
    rules = rates(slow_call_duration=5, slow_call_rate_threshold=0.45, minimum_calls=20)
    assert told(rules, "." * 11 + ":" * 9)[-1] == "9 of 20 calls took longer than 5 s (45 % >= 45 %)"


def test_a_slow_failure_counts_as_slow_too() -> None:
    rules = rates(slow_call_duration=0.25, minimum_calls=2)
    assert told(rules, "XX")[-1] == "2 of 2 calls took longer than 0.25 s (100 % >= 100 %)"


def test_a_slow_call_and_a_failed_one_do_not_add_up() -> None:
    rules = rates(failure_rate_threshold=0.75, slow_call_duration=5, slow_call_rate_threshold=0.75, minimum_calls=4)
    assert set(told(rules, "xx::")) == {None}


def test_failures_have_the_first_word_where_both_rates_are_broken() -> None:
    rules = rates(failure_rate_threshold=0.5, slow_call_duration=5, minimum_calls=2)
    assert str(told(rules, "XX")[-1]).startswith("2 of 2 calls failed")


def test_each_rate_is_told_only_where_it_is_judged() -> None:
    failing, slow = rates(failure_rate_threshold=0.5), rates(slow_call_duration=5)
    assert (failing.failure_rate(), failing.slow_call_rate()) == (None, None), "no call yet"
    for rules in (failing, slow):
        told(rules, "x:..")
    assert (failing.failure_rate(), failing.slow_call_rate()) == (0.25, None)
    assert (slow.failure_rate(), slow.slow_call_rate()) == (None, 0.25)
