"""The rule of uptime: what was observed, what it means for the time between, and what of it makes a percentage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import MonitorConfig
from failsafe.clock import Random
from failsafe.telemetry import uptime
from failsafe.telemetry.uptime import Account, Observation, Outcome, Progress, UptimeRule
from failsafe.telemetry.views import Span, TargetState, Uptime

NOON = 1_800_000_000.0
RULE = UptimeRule(hold=75.0, confirm=3)  # an interval of 30 s, held for 2.5 of them

ANSWERED, SLOW, FAILED, EXCUSED = Outcome.ANSWERED, Outcome.DEGRADED, Outcome.FAILED, Outcome.EXCUSED
UP, DEGRADED, DOWN = TargetState.UP, TargetState.DEGRADED, TargetState.DOWN
PAUSED, MAINTENANCE, UNKNOWN = TargetState.PAUSED, TargetState.MAINTENANCE, TargetState.UNKNOWN


def seen(at: float, outcome: Outcome = ANSWERED, failures: int = 1) -> Observation:
    return Observation(at=NOON + at, outcome=outcome, failures=failures)


def every_30_s(first: float, last: float, outcome: Outcome = ANSWERED) -> list[Observation]:
    return [seen(at, outcome) for at in range(int(first), int(last) + 1, 30)]


def span(began: float, ended: float, state: TargetState) -> Span:
    return Span(began=NOON + began, ended=NOON + ended, state=state)


def observed_spans(observations: Iterable[Observation], rule: UptimeRule, end: float) -> list[Span]:
    """How a provider was up to *end*, settled in one step."""
    account = Account(rule)
    spans = account.settle(observations, end)
    return uptime.merged([*spans, *account.so_far(end)])


def spans_of(
    observations: Iterable[Observation], end: float, watch: Iterable[Span] = ()
) -> list[tuple[float, float, str]]:
    """How it was from noon on, as seconds since noon."""
    times = list(watch)
    observed = observed_spans(uptime.excused(observations, times), RULE, NOON + end)
    tiles = uptime.tiled(observed, times, NOON, NOON + end)
    return [(tile.began - NOON, tile.ended - NOON, tile.state.value) for tile in tiles]


def uptime_of(observations: Iterable[Observation], end: float, watch: Iterable[Span] = ()) -> Uptime:
    times = list(watch)
    observed = observed_spans(uptime.excused(observations, times), RULE, NOON + end)
    return uptime.summed_up(uptime.tiled(observed, times, NOON, NOON + end), NOON, NOON + end)


def test_an_observation_holds_until_the_next_one() -> None:
    assert spans_of([seen(0), seen(30, SLOW), seen(60)], 70) == [(0, 30, "up"), (30, 60, "degraded"), (60, 70, "up")]


def test_an_observation_holds_no_longer_than_its_validity() -> None:
    assert spans_of([seen(0)], 300) == [(0, 75, "up"), (75, 300, "unknown")]


def test_a_gap_is_unknown_and_lowers_nothing() -> None:
    found = uptime_of([*every_30_s(0, 300), *every_30_s(3300, 3600)], 3600)
    assert found.percentage == 100.0
    assert found.seconds[UNKNOWN] == 3300 - 375
    assert found.coverage == pytest.approx((375 + 300) / 3600)


def test_suspend_and_resume_leave_a_gap_however_the_night_ended() -> None:
    found = uptime_of([*every_30_s(0, 600), seen(28_800, FAILED), *every_30_s(28_830, 29_010)], 29_040)
    assert found.percentage == 100.0
    assert found.seconds[UP] == 600 + 75 + 210


def test_a_single_failure_never_lowers_uptime() -> None:
    observations = [*every_30_s(0, 300), seen(330, FAILED), *every_30_s(360, 600)]
    found = uptime_of(observations, 630)
    assert (found.percentage, found.coverage, found.downtimes) == (100.0, 1.0, 0)


def test_what_was_known_before_failures_that_are_not_confirmed_holds_as_long_as_it_would_have() -> None:
    observations = [seen(0), seen(30, FAILED), seen(60, FAILED), seen(90)]
    assert spans_of(observations, 100) == [(0, 75, "up"), (75, 90, "unknown"), (90, 100, "up")]


def test_retries_that_fail_one_after_the_other_and_then_an_answer_are_no_downtime() -> None:
    observations = [seen(0), seen(30, FAILED), seen(31, FAILED), seen(33), seen(60)]
    assert spans_of(observations, 90) == [(0, 90, "up")]


def test_downtime_begins_with_the_first_of_the_failures_that_confirm_it() -> None:
    observations = [seen(0), seen(30, FAILED), seen(60, FAILED), seen(90, FAILED), seen(120, FAILED), seen(150)]
    assert spans_of(observations, 160) == [(0, 30, "up"), (30, 150, "down"), (150, 160, "up")]
    found = uptime_of(observations, 160)
    assert found.percentage == 25.0
    assert found.downtimes == 1


def test_failures_that_are_told_together_confirm_each_other() -> None:
    assert spans_of([seen(0), seen(30, FAILED, failures=3), seen(60)], 60) == [(0, 30, "up"), (30, 60, "down")]


def test_one_answer_among_failures_begins_the_count_anew() -> None:
    observations = [
        seen(0),
        seen(10, FAILED),
        seen(20, FAILED),
        seen(30, SLOW),
        seen(40, FAILED),
        seen(50, FAILED),
        seen(60),
    ]
    assert spans_of(observations, 60) == [(0, 30, "up"), (30, 60, "degraded")]


def test_failures_far_apart_are_in_a_row_all_the_same_and_the_time_between_unknown() -> None:
    observations = [seen(0, FAILED), seen(300, FAILED), seen(600, FAILED)]
    assert spans_of(observations, 700) == [
        (0, 75, "down"), (75, 300, "unknown"), (300, 375, "down"), (375, 600, "unknown"), (600, 675, "down"),
        (675, 700, "unknown"),
    ]  # fmt: skip
    assert uptime_of(observations, 700).downtimes == 1


def test_what_is_not_the_providers_fault_is_unknown_and_no_failure() -> None:
    observations = [seen(0), seen(30, EXCUSED), seen(60, EXCUSED), seen(90, EXCUSED), seen(120)]
    assert spans_of(observations, 130) == [(0, 30, "up"), (30, 120, "unknown"), (120, 130, "up")]


def test_a_rejected_key_among_failures_does_not_hide_that_they_are_in_a_row() -> None:
    observations = [seen(0), seen(30, FAILED), seen(40, EXCUSED), seen(60, FAILED), seen(90, FAILED), seen(120)]
    assert spans_of(observations, 120) == [(0, 30, "up"), (30, 40, "down"), (40, 60, "unknown"), (60, 120, "down")]


def test_after_a_rejected_key_while_it_is_down_the_next_failure_says_down_again() -> None:
    observations = [seen(0, FAILED, 3), seen(30, EXCUSED), seen(60, FAILED), seen(90)]
    assert spans_of(observations, 90) == [(0, 30, "down"), (30, 60, "unknown"), (60, 90, "down")]


def test_a_result_out_of_order_is_put_in_its_place() -> None:
    observations = [seen(0), seen(30, FAILED), seen(60, FAILED), seen(90, FAILED), seen(120)]
    late = [observations[index] for index in (0, 3, 1, 4, 2)]
    assert spans_of(late, 150) == spans_of(observations, 150) == [(0, 30, "up"), (30, 120, "down"), (120, 150, "up")]


def test_a_clock_that_steps_back_makes_no_time_count_twice() -> None:
    before = every_30_s(0, 600)
    again = [seen(at) for at in range(305, 900, 30)]  # the clock went back by five minutes, and on from there
    found = uptime_of([*before, *again], 900)
    assert found.percentage == 100.0
    assert found.seconds[UP] == 900


def test_a_clock_that_steps_back_behind_what_is_settled_changes_nothing_of_that() -> None:
    account = Account(RULE)
    assert account.settle(every_30_s(0, 570), NOON + 600) == [span(0, 600, UP)]
    assert account.settle([seen(at, FAILED) for at in (300, 330, 360)], NOON + 400) == []
    assert account.settle([seen(600), seen(630)], NOON + 660) == [span(600, 660, UP)]


def test_what_is_told_twice_counts_once() -> None:
    observations = [seen(0), seen(30, FAILED), seen(30, FAILED), seen(30, FAILED), seen(60)]
    assert spans_of(observations, 60) == [(0, 60, "up")]


def test_of_an_answer_and_a_failure_at_the_same_moment_the_answer_counts() -> None:
    assert spans_of([seen(0, FAILED, 3), seen(0)], 30) == [(0, 30, "up")]


def test_a_pause_leaves_the_reckoning_and_what_is_observed_in_it_says_nothing() -> None:
    watch = [span(60, 180, PAUSED)]
    observations = [*every_30_s(0, 60), seen(90, FAILED), seen(120, FAILED), seen(150, FAILED), *every_30_s(180, 210)]
    assert spans_of(observations, 240, watch) == [(0, 60, "up"), (60, 180, "paused"), (180, 240, "up")]
    found = uptime_of(observations, 240, watch)
    assert (found.percentage, found.coverage, found.seconds[PAUSED]) == (100.0, 1.0, 120)


def test_maintenance_comes_before_pause_and_both_before_a_missing_network() -> None:
    watch = [span(0, 90, UNKNOWN), span(30, 120, PAUSED), span(60, 150, MAINTENANCE)]
    assert spans_of(every_30_s(0, 180), 200, watch) == [
        (0, 30, "unknown"), (30, 60, "paused"), (60, 150, "maintenance"), (150, 200, "up"),
    ]  # fmt: skip


def test_without_a_network_of_its_own_this_machine_finds_nobody_down() -> None:
    watch = [span(30, 150, UNKNOWN)]
    observations = [seen(0), *every_30_s(30, 120, FAILED), seen(150)]
    found = uptime_of(observations, 180, watch)
    assert (found.percentage, found.seconds[DOWN], found.seconds[UNKNOWN]) == (100.0, 0, 120)


def test_failures_during_a_missing_network_do_not_confirm_the_one_after_it() -> None:
    observations = [seen(0), seen(30, FAILED), seen(60, FAILED), seen(90, FAILED), seen(120)]
    assert "down" not in [state for _, _, state in spans_of(observations, 120, [span(20, 80, UNKNOWN)])]


def test_a_window_that_is_all_pause_has_no_percentage() -> None:
    found = uptime_of(every_30_s(0, 300), 300, [span(0, 300, PAUSED)])
    assert (found.percentage, found.coverage) == (None, 0.0)


@pytest.mark.parametrize(("known", "percentage"), [(35.9, None), (36.0, 100.0)])
def test_below_a_hundredth_of_coverage_there_is_no_percentage(known: float, percentage: float | None) -> None:
    found = uptime.summed_up([span(0, known, UP)], NOON, NOON + 3600)
    assert found.percentage == percentage
    assert found.coverage == pytest.approx(known / 3600)


def test_without_anything_observed_there_is_no_percentage() -> None:
    found = uptime.summed_up([], NOON, NOON + 3600)
    assert (found.percentage, found.coverage, found.seconds[UNKNOWN]) == (None, 0.0, 3600)


def test_an_empty_window_is_no_error() -> None:
    assert uptime.tiled([span(0, 10, UP)], [], NOON, NOON) == []
    assert uptime.summed_up([], NOON, NOON).percentage is None


@pytest.mark.parametrize(
    ("answering", "down", "percentage"),
    [
        (100.0, 0.0, 100.0),
        (99_996.0, 4.0, 99.99),
        (99.99, 0.01, 99.99),
        (2_592_000.0, 0.001, 99.99),
        (1e12, 1e-9, 99.99),
        (2.0, 1.0, 66.66),
        (0.0, 5.0, 0.0),
        (0.7, 0.3, 70.0),
    ],
)
def test_a_percentage_is_rounded_down_and_100_only_without_downtime(
    answering: float, down: float, percentage: float
) -> None:
    assert uptime.percentage(answering, down) == percentage


def test_degraded_time_counts_as_up() -> None:
    found = uptime_of([*every_30_s(0, 60, SLOW), seen(90, FAILED, 3), seen(120)], 120)
    assert found.percentage == 75.0
    assert (found.seconds[DEGRADED], found.seconds[DOWN]) == (90, 30)


def test_days_on_which_the_clocks_change_have_their_true_length() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for year, month, day, hours in [(2026, 3, 29, 23), (2026, 10, 25, 25), (2026, 11, 24, 24)]:
        midnight = datetime(year, month, day, tzinfo=zone)
        began, ended = midnight.timestamp(), (midnight + timedelta(days=1)).timestamp()
        down = Span(began=began, ended=began + 3600, state=DOWN)
        up = Span(began=began + 3600, ended=ended, state=UP)
        [found] = uptime.days([down, up], [began, ended])
        assert found.ended - found.began == hours * 3600
        assert found.percentage == 10_000 * (hours - 1) // hours / 100


def test_days_share_out_what_goes_over_midnight() -> None:
    first, second = uptime.days([span(0, 150, UP), span(150, 200, DOWN)], [NOON, NOON + 100, NOON + 200])
    assert (first.percentage, second.percentage) == (100.0, 50.0)
    assert (first.downtimes, second.downtimes) == (0, 1)


def test_downtimes_are_one_while_nothing_but_the_unknown_lies_between() -> None:
    def times(*spans: Span) -> list[tuple[float, float]]:
        return [(found.began - NOON, found.ended - NOON) for found in uptime.downtimes(spans)]

    assert times(span(0, 10, DOWN), span(10, 20, UNKNOWN), span(20, 30, DOWN)) == [(0, 30)]
    assert times(span(0, 10, DOWN), span(20, 30, DOWN)) == [(0, 30)]
    for between in (UP, DEGRADED, PAUSED, MAINTENANCE):
        assert times(span(0, 10, DOWN), span(10, 20, between), span(20, 30, DOWN)) == [(0, 10), (20, 30)]
    assert times(span(0, 10, DOWN), span(10, 3611, UNKNOWN), span(3611, 3612, DOWN)) == [(0, 10), (3611, 3612)]


def test_an_error_budget_is_the_time_that_an_sla_allows() -> None:
    month, hour = 30 * 86_400.0, 3600.0
    window = uptime.summed_up([span(0, 1000, DOWN), span(1000, month, UP)], NOON, NOON + month)
    last = uptime.summed_up([span(0, 36, DOWN), span(36, hour, UP)], NOON, NOON + hour)
    budget = uptime.error_budget(99.9, window, last)
    assert budget.allowed == pytest.approx(2592)
    assert budget.used == 1000
    assert budget.left == pytest.approx(1592)
    assert budget.burn_rate == pytest.approx(10)  # a hundredth of the hour, of a thousandth allowed


def test_a_broken_error_budget_is_negative_and_its_burn_rate_unknown_when_the_hour_is() -> None:
    window = uptime.summed_up([span(0, 500, DOWN), span(500, 1000, UP)], NOON, NOON + 1000)
    budget = uptime.error_budget(99.0, window, uptime.summed_up([], NOON, NOON + 3600))
    assert budget.left == pytest.approx(-490)
    assert budget.burn_rate is None


def test_a_rule_comes_from_the_settings_of_a_monitor() -> None:
    config = MonitorConfig(interval=20, validity=3, confirm=5, degraded_error_rate=0.2)
    assert UptimeRule.of(config) == UptimeRule(hold=60, confirm=5, degraded=0.2)
    assert UptimeRule.of(config, interval=60) == UptimeRule(hold=180, confirm=5, degraded=0.2)


def test_while_failures_are_in_doubt_their_time_is_not_settled() -> None:
    account = Account(RULE)
    assert account.settle([seen(0), seen(30, FAILED)], NOON + 60) == [span(0, 30, UP)]
    assert account.so_far(NOON + 60) == [span(30, 60, UP)]
    assert account.settle([seen(60, FAILED), seen(90, FAILED)], NOON + 100) == [span(30, 100, DOWN)]
    assert account.so_far(NOON + 110) == [span(100, 110, DOWN)]


def test_an_account_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        uptime.decode('{"progress": 1}')


# Properties.

MOMENTS = st.integers(min_value=0, max_value=600).map(float)
OBSERVATIONS = st.lists(
    st.builds(seen, MOMENTS, st.sampled_from(Outcome), st.integers(min_value=1, max_value=4)), max_size=40
)
WATCH = st.lists(
    st.builds(
        lambda began, length, state: span(began, began + length, state),
        MOMENTS, st.integers(min_value=1, max_value=200).map(float), st.sampled_from((PAUSED, MAINTENANCE, UNKNOWN)),
    ),
    max_size=5,
)  # fmt: skip
RULES = st.builds(
    UptimeRule,
    hold=st.sampled_from((1.0, 10.0, 75.0, 1000.0)),
    confirm=st.integers(min_value=1, max_value=6),
)
END = 700.0


def state_at(at: float, observations: Iterable[Observation], rule: UptimeRule) -> TargetState:
    """The rule once more, as it reads: for one moment, from all observations, without any state."""
    rank = {EXCUSED: 0, FAILED: 1, SLOW: 2, ANSWERED: 3}
    order = sorted(set(observations), key=lambda seen: (seen.at, rank[seen.outcome], seen.failures))
    before = [index for index, seen in enumerate(order) if seen.at <= at]
    while before:
        last = before.pop()
        known = order[last]
        if known.outcome is FAILED and failures_around(order, last) < rule.confirm:
            continue
        if known.outcome is EXCUSED or at >= known.at + rule.hold:
            return UNKNOWN
        return {ANSWERED: UP, SLOW: DEGRADED, FAILED: DOWN}[known.outcome]
    return UNKNOWN


def failures_around(order: Sequence[Observation], index: int) -> int:
    """How many failures lie between the answers around one of them."""
    count = order[index].failures
    for step in (-1, 1):
        at = index + step
        while 0 <= at < len(order) and order[at].outcome in (FAILED, EXCUSED):
            count += order[at].failures if order[at].outcome is FAILED else 0
            at += step
    return count


@given(OBSERVATIONS, RULES)
def test_every_moment_is_as_the_rule_says(observations: list[Observation], rule: UptimeRule) -> None:
    spans = uptime.tiled(observed_spans(observations, rule, NOON + END), [], NOON, NOON + END)
    for tile in spans:
        for at in (tile.began, (tile.began + tile.ended) / 2):
            assert tile.state is state_at(at, observations, rule)
    assert all(earlier.state is not later.state for earlier, later in pairwise(spans))


@given(OBSERVATIONS, RULES, WATCH, MOMENTS, MOMENTS)
def test_the_spans_of_a_window_lie_next_to_each_other_from_end_to_end(
    observations: list[Observation], rule: UptimeRule, watch: list[Span], one: float, other: float
) -> None:
    began, ended = NOON + min(one, other), NOON + max(one, other) + 1
    spans = uptime.tiled(observed_spans(observations, rule, NOON + END), watch, began, ended)
    assert spans[0].began == began
    assert spans[-1].ended == ended
    assert all(earlier.ended == later.began for earlier, later in pairwise(spans))
    assert all(span.began < span.ended for span in spans)


@given(OBSERVATIONS, WATCH)
def test_the_seconds_of_all_states_are_the_window(observations: list[Observation], watch: list[Span]) -> None:
    found = uptime_of(observations, END, watch)
    assert sum(found.seconds.values()) == pytest.approx(END)
    assert 0 <= found.coverage <= 1
    if found.percentage is not None:
        assert 0 <= found.percentage <= 100
        assert (found.percentage == 100) == (found.seconds[DOWN] == 0)


@given(OBSERVATIONS, st.randoms(use_true_random=False))
def test_the_order_in_which_results_come_changes_nothing(observations: list[Observation], chance: Random) -> None:
    shuffled = observations.copy()
    chance.shuffle(shuffled)
    assert observed_spans(shuffled, RULE, NOON + END) == observed_spans(observations, RULE, NOON + END)


@given(OBSERVATIONS, RULES, st.lists(MOMENTS, max_size=12).map(sorted))
def test_settled_in_steps_is_settled_at_once(
    observations: list[Observation], rule: UptimeRule, horizons: list[float]
) -> None:
    progress: Progress | None = None
    steps: list[Span] = []
    began = float("-inf")
    for horizon in [*(NOON + at for at in horizons), NOON + END]:
        account = Account(rule, progress)
        steps += account.settle([seen for seen in observations if began <= seen.at < horizon], horizon)
        known = [seen for seen in observations if seen.at < horizon]
        at_once = uptime.merged([*steps, *account.so_far(horizon)])
        assert at_once == observed_spans(known, rule, horizon)
        progress, saved = uptime.decode(uptime.encode(account.progress, rule))  # as it goes through the store
        assert saved == rule
        began = max(began, horizon)


@given(OBSERVATIONS)
def test_what_is_settled_is_never_taken_back(observations: list[Observation]) -> None:
    account = Account(RULE)
    spans: list[Span] = []
    for horizon in range(0, int(END), 35):
        spans += account.settle([seen for seen in observations if seen.at < NOON + horizon], NOON + horizon)
    assert all(earlier.ended <= later.began for earlier, later in pairwise(spans))


def test_a_progress_that_has_not_begun_goes_through_json() -> None:
    assert uptime.decode(uptime.encode(Progress(), RULE)) == (Progress(), RULE)
