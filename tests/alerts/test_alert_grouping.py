"""When who is told what: gathered, once, repeated, muted, held back, capped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.alerts.grouping import (
    FLAPPING_WINDOW,
    MOST_IN_A_GROUP,
    MOST_SUBJECTS,
    Grouping,
    Moment,
)
from failsafe.alerts.wording import LONGEST_TITLE
from failsafe.monitoring_config import ALERT_RULES, AlertConfig
from tests.alerts.alarms import NOON, Bench, alarm, critical, over

HOUR = 3600.0


def test_alerts_are_gathered_from_the_first_one_on_and_sent_together() -> None:
    bench = Bench(group=10)
    assert bench.next() is None
    assert bench.consider(alarm(provider="a")) == [True]
    assert bench.next() == 10
    assert bench.due(9.9) is None
    bench.consider(critical("down", "b"))
    group = bench.due(0.1)
    assert group is not None
    assert [alert.provider for alert in group.alerts] == ["b", "a"]  # the most urgent first
    assert (group.severity, group.at, group.withheld) == ("critical", NOON + 10, 0)
    assert bench.due(10) is None


def test_without_gathering_each_is_sent_at_once() -> None:
    bench = Bench(group=0)
    bench.consider(alarm())
    assert bench.titles() == ["openai: breaker_open"]


def test_what_still_holds_is_told_once() -> None:
    bench = Bench()
    assert bench.consider(alarm(), alarm(), alarm()) == [True, False, False]
    assert bench.titles(10) == ["openai: breaker_open"]
    for _ in range(20):
        assert bench.consider(alarm()) == [False]
        assert bench.titles(60) == []


def test_what_still_holds_is_told_again_when_the_time_for_that_has_come() -> None:
    bench = Bench(repeat=4 * HOUR, group=10)
    bench.consider(critical())
    assert bench.titles(10) == ["openai: down"]
    assert bench.next() == 4 * HOUR + 10
    assert bench.titles(4 * HOUR) == []
    group = bench.due(10)
    assert group is not None
    assert [alert.title for alert in group.alerts] == ["still: openai: down (4 h ago)"]
    assert group.alerts[0].at == bench.now.wall
    assert group.alerts[0].details["since"] == NOON
    assert len(bench.run(24 * HOUR)) == 5


def test_whoever_is_not_observed_any_more_is_not_repeated_until_he_is() -> None:
    bench = Bench()
    bench.consider(critical(), alarm("key_rejected"))
    bench.due(10)
    bench.grouping.pause("openai")
    bench.grouping.pause("somebody else")
    assert {alert.rule for group in bench.run(12 * HOUR) for alert in group.alerts} == {"key_rejected"}
    assert bench.consider(critical()) == [False]
    assert bench.titles(10) == ["still: openai: down (12 h ago)"]


def test_the_end_is_told_with_how_long_it_lasted_if_the_begin_was() -> None:
    bench = Bench()
    bench.consider(critical())
    bench.due(10)
    bench.advance(590)
    assert bench.consider(over("recovered")) == [True]
    group = bench.due(10)
    assert group is not None
    assert [(alert.rule, alert.resolves) for alert in group.alerts] == [("recovered", True)]
    assert group.alerts[0].message == "It is over. It lasted for 10 min."
    assert bench.run(48 * HOUR) == []
    assert bench.consider(over("recovered")) == [False]
    assert not bench.grouping._subjects


def test_an_end_without_a_begin_is_not_told() -> None:
    bench = Bench()
    assert bench.consider(over(), over("recovered"), over("spend", details={"period": "day"})) == [False] * 3
    assert bench.run(HOUR) == []


def test_an_end_is_told_once() -> None:
    bench = Bench()
    bench.consider(critical())
    bench.due(10)
    assert bench.consider(over("recovered"), over("recovered")) == [True, False]
    assert len(bench.titles(10)) == 1
    assert bench.consider(over("recovered")) == [False]
    assert bench.run(HOUR) == []


def test_what_comes_and_goes_while_it_is_gathered_is_told_in_one() -> None:
    bench = Bench()
    bench.consider(critical(), over("recovered"))
    group = bench.due(10)
    assert group is not None
    (alert,) = group.alerts
    assert (alert.title, alert.severity, alert.resolves) == ("openai: down, and it is over", "info", True)
    assert alert.message == "It is so."


def test_keys_models_breakers_and_periods_are_told_apart() -> None:
    bench = Bench()
    bench.consider(
        *(alarm("key_rejected", details={"key": key}) for key in ("one", "two")),
        *(alarm("spend", details={"period": period}) for period in ("day", "month")),
        *(alarm(details={"breaker": name}) for name in ("openai:a", "openai:b")),
    )
    group = bench.due(10)
    assert group is not None
    assert len(group.alerts) == 6
    assert bench.consider(over("key_rejected", details={"key": "two"})) == [True]
    assert len(bench.titles(10)) == 1


def test_what_gets_worse_is_told_at_once_and_what_gets_better_is_not() -> None:
    bench = Bench()
    bench.consider(alarm("spend", title="80 %"))
    bench.due(10)
    assert bench.consider(critical("spend", title="100 %")) == [True]
    assert bench.titles(10) == ["100 %"]
    assert bench.consider(alarm("spend", title="90 %")) == [False]
    assert bench.titles(60) == []
    assert bench.consider(critical("spend", title="101 %")) == [True]  # worse than it was
    assert len(bench.titles(10)) == 1


def test_what_flaps_is_summed_up() -> None:
    bench = Bench()
    told: list[str] = []
    for _ in range(21):
        bench.consider(alarm(title="openai: breaker opened"))
        told += [alert.title for group in bench.run(30) for alert in group.alerts]
        bench.consider(over())
        told += [alert.title for group in bench.run(70) for alert in group.alerts]
    assert told[:5] == [
        "openai: breaker opened",
        "openai: breaker_open over",
        "openai: breaker opened",
        "openai: breaker_open over",
        "openai: breaker opened 3 times in 3.33 min",
    ]
    assert len(told) <= 5 + 4
    assert all("times in" in title for title in told[5:])
    assert "openai: breaker opened 6 times in 8.33 min" in told
    assert bench.run(HOUR)[-1].alerts[-1].resolves
    assert bench.run(24 * HOUR) == []


def test_seven_openings_within_one_group_are_one_line() -> None:
    bench = Bench(group=600)
    for _ in range(7):
        bench.consider(alarm(title="openai: breaker opened"))
        bench.advance(50)
        bench.consider(over())
        bench.advance(50)
    assert bench.titles() == ["openai: breaker opened 7 times in 10 min, and it is over"]


def test_a_thousand_openings_are_counted_and_few_remembered() -> None:
    bench = Bench(group=HOUR)
    for _ in range(1000):
        bench.consider(alarm(title="opened"), over())
        bench.advance(1)
    bench.consider(alarm(title="opened"))
    (title,) = bench.titles(HOUR)
    assert title.startswith("opened 1001 times in")
    (subject,) = bench.grouping._subjects.values()
    assert len(subject.openings) == 100


@pytest.mark.parametrize("listed", [True, False])
def test_a_muted_provider_is_not_told_of_and_the_others_are(listed: bool) -> None:
    bench = Bench(mute=["openai"] if listed else [])
    if not listed:
        bench.grouping.mute("openai", None, bench.now)
    bench.consider(critical(), alarm(provider="groq"))
    assert bench.titles(10) == ["groq: breaker_open"]
    assert [group for group in bench.run(3 * HOUR) if any(a.provider == "openai" for a in group.alerts)] == []
    bench.grouping.unmute("openai")
    assert bench.next() == 0
    assert bench.titles() == ["openai: down"]


def test_muting_ends_by_itself_and_what_holds_then_is_told() -> None:
    bench = Bench()
    bench.grouping.mute("openai", 300, bench.now)
    bench.consider(critical())
    bench.consider(alarm(), over())  # came and went
    assert bench.next() == 300
    assert bench.titles(299) == []
    assert bench.titles(1) == ["openai: down"]
    assert bench.titles(60) == []


def test_the_end_of_what_was_told_before_it_was_muted_is_told_after() -> None:
    bench = Bench()
    bench.consider(critical())
    bench.due(10)
    bench.grouping.mute("openai", 300, bench.now)
    bench.consider(over("recovered"))
    assert [alert.title for group in bench.run(299) for alert in group.alerts] == []
    assert bench.titles(1) == ["openai: recovered over"]


def test_in_maintenance_nothing_is_told_whatever_is_unmuted() -> None:
    bench = Bench()
    bench.grouping.suspend("openai")
    bench.grouping.unmute("openai")
    bench.consider(critical())
    assert bench.run(HOUR) == []
    bench.grouping.resume("openai")
    assert bench.titles() == ["openai: down"]


def test_only_the_rules_that_are_on_report() -> None:
    bench = Bench(on=["spend"])
    assert bench.consider(critical(), alarm(), critical("spend")) == [False, False, True]
    assert bench.titles(10) == ["openai: spend"]


def test_recoveries_alone_are_told_where_they_alone_are_on() -> None:
    bench = Bench(on=["recovered"])
    bench.consider(critical())
    assert bench.run(24 * HOUR) == []
    assert bench.consider(over("recovered")) == [True]
    assert bench.titles(10) == ["openai: recovered over"]


def test_recoveries_that_are_off_are_not_told_and_end_it_all_the_same() -> None:
    bench = Bench(on=["down"])
    bench.consider(critical())
    bench.due(10)
    assert bench.consider(over("recovered")) == [False]
    assert bench.run(24 * HOUR) == []
    bench.consider(critical())
    assert bench.titles(10) == ["openai: down"]


def test_no_more_groups_than_allowed_go_out_in_an_hour_and_the_rest_is_counted() -> None:
    bench = Bench(max_per_hour=3, group=10)
    for number in range(10):
        bench.consider(alarm(provider=f"p{number}"))
        group = bench.due(10)
        assert (group is None) == (number >= 3)
    bench.consider(over(provider="p9"))
    assert bench.next() == HOUR - 90
    group = bench.due(HOUR - 90)
    assert group is not None
    assert [alert.provider for alert in group.alerts] == [f"p{number}" for number in range(3, 10)]
    assert group.withheld == 8  # its end is a change, too
    bench.consider(alarm(provider="next"))
    group = bench.due(10)
    assert group is not None
    assert group.withheld == 0


def test_more_alerts_than_a_group_holds_go_into_the_next() -> None:
    bench = Bench()
    bench.consider(*(alarm(provider=f"p{number}") for number in range(MOST_IN_A_GROUP + 5)))
    groups = bench.run(10)
    assert [len(group.alerts) for group in groups] == [MOST_IN_A_GROUP, 5]


def test_a_flood_is_counted_and_not_kept() -> None:
    bench = Bench()
    news = bench.consider(*(alarm(provider=f"p{number}") for number in range(MOST_SUBJECTS + 500)))
    assert news.count(True) == MOST_SUBJECTS == len(bench.grouping._subjects)
    group = bench.due(10)
    assert group is not None
    assert group.withheld == 500


def test_room_is_made_by_forgetting_what_nobody_waits_for() -> None:
    bench = Bench(max_per_hour=1000)
    for number in range(3 * MOST_SUBJECTS):
        assert bench.consider(alarm(provider=f"p{number}")) == [True]
        if number % 50 == 49:
            bench.due(10)
    assert len(bench.grouping._subjects) == MOST_SUBJECTS


def test_those_that_are_muted_do_not_pile_up() -> None:
    bench = Bench()
    for number in range(5000):
        bench.grouping.mute(f"p{number}", 1.0 if number % 2 else None, bench.now)
        bench.grouping.suspend(f"p{number}")
        bench.advance(1)
    assert len(bench.grouping._muted) <= 1000
    assert len(bench.grouping._suspended) <= 1000


def test_a_wall_clock_that_is_set_does_no_harm() -> None:
    bench = Bench(repeat=4 * HOUR)
    bench.consider(critical())
    bench.now = Moment(bench.now.steady + 10, bench.now.wall - 86_400)
    assert bench.titles() == ["openai: down"]
    assert bench.next() == 4 * HOUR + 10
    bench.now = Moment(bench.now.steady + 10, bench.now.wall + 30 * 86_400)
    assert bench.titles() == []
    bench.now = Moment(bench.now.steady + 10, bench.now.wall - 300 * 86_400)
    bench.consider(over("recovered"))
    group = bench.due(10)
    assert group is not None
    assert group.alerts[0].message.endswith("It lasted for 0 s.")


def test_what_waits_as_the_program_ends_is_sent_without_gathering_and_what_is_held_back_is_told_apart() -> None:
    bench = Bench(group=HOUR, quiet="11:00-13:00", mute=["muted"])
    bench.consider(critical(), alarm(), critical("down", "muted"))
    sent, held = bench.grouping.last(bench.now)
    assert sent is not None
    assert held is not None
    assert [alert.rule for alert in sent.alerts] == ["down"]
    assert [(alert.rule, alert.provider) for alert in held.alerts] == [("breaker_open", "openai")]
    assert bench.grouping.last(bench.now) == (None, None)


def test_what_waits_as_the_program_ends_keeps_to_the_limit_of_the_hour() -> None:
    bench = Bench(max_per_hour=1, group=0)
    bench.consider(alarm())
    bench.due()
    bench.consider(alarm(provider="other"))
    sent, held = bench.grouping.last(bench.now)
    assert sent is None
    assert held is not None
    assert held.withheld == 1


def test_a_title_that_grows_is_still_a_title() -> None:
    bench = Bench(repeat=60)
    bench.consider(alarm(title="t" * LONGEST_TITLE))
    bench.due(10)
    assert max(len(alert.title) for group in bench.run(HOUR) for alert in group.alerts) <= LONGEST_TITLE


# The quiet hours' own arithmetic is tested in test_quiet_hours.py.


def test_in_quiet_hours_only_what_is_critical_goes_out_and_the_rest_in_one_group_at_their_end() -> None:
    bench = Bench(quiet="22:00-07:00", start=NOON + 11 * HOUR)  # 23:00
    bench.consider(alarm(provider="a"))
    assert bench.next() == 8 * HOUR
    bench.advance(HOUR)
    bench.consider(critical("down", "b"))
    assert bench.titles(10) == ["b: down"]
    bench.advance(HOUR)
    bench.consider(over("recovered", "b"))  # whoever was woken may go to sleep again
    assert bench.titles(10) == ["b: recovered over"]
    bench.consider(alarm(provider="c"), over(provider="c"), alarm("spend", "d"))
    night = bench.run(6 * HOUR - 21)
    assert night == []
    (morning,) = bench.run(1)
    assert [alert.title for alert in morning.alerts] == [
        "a: breaker_open",
        "c: breaker_open, and it is over",
        "d: spend",
    ]


def test_a_reminder_of_what_is_not_critical_waits_for_the_end_of_the_night() -> None:
    bench = Bench(quiet="22:00-07:00", repeat=4 * HOUR, start=NOON + 7 * HOUR)  # 19:00
    bench.consider(alarm())
    bench.due(10)
    (group,) = bench.run(12 * HOUR)  # until 07:00
    assert group.at == NOON + 19 * HOUR
    assert group.alerts[0].title == "still: openai: breaker_open (12 h ago)"


@pytest.mark.parametrize("steady", [1001.4187256578865117, 0.1, 123_456.789])
def test_outside_of_quiet_hours_nothing_waits_for_the_last_digits_of_the_time(steady: float) -> None:
    bench = Bench(quiet="22:00-07:00", group=0, max_per_hour=1000)
    for wall in (NOON + number / 7 for number in range(50)):
        bench.now = Moment(steady + wall - NOON, wall)
        bench.consider(alarm(provider=str(wall)))
        assert len(bench.titles()) == 1


def test_quiet_hours_that_begin_while_alerts_are_gathered_hold_them_back() -> None:
    bench = Bench(quiet="12:00-13:00", start=NOON - 5)
    bench.consider(alarm())
    assert bench.titles(10) == []
    assert bench.next() == HOUR - 5


RULES = st.sampled_from(ALERT_RULES)
PROVIDERS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("alarm"), RULES, PROVIDERS, st.sampled_from(["info", "warning", "critical"])),
        st.tuples(st.just("over"), RULES, PROVIDERS),
        st.tuples(st.just("advance"), st.floats(0, 5000)),
        st.tuples(st.just("mute"), PROVIDERS, st.none() | st.floats(0, 5000)),
        st.tuples(st.just("unmute"), PROVIDERS),
        st.tuples(st.sampled_from(["suspend", "resume"]), PROVIDERS),
    ),
    max_size=60,
)
SETTINGS = st.fixed_dictionaries(
    {
        "group": st.sampled_from([0.0, 10.0, 3600.0]),
        "repeat": st.sampled_from([60.0, 14_400.0]),
        "max_per_hour": st.sampled_from([1, 3, 30]),
        "quiet": st.sampled_from([None, "22:00-07:00", "12:00-12:30"]),
        "on": st.sampled_from([ALERT_RULES, ("down",), ("recovered", "spend")]),
    }
)


def play(bench: Bench, step: tuple[Any, ...]) -> list[Any]:
    what, *rest = step
    match what:
        case "alarm":
            bench.consider(alarm(rest[0], rest[1], severity=rest[2]))
        case "over":
            bench.consider(over(rest[0], rest[1]))
        case "advance":
            return list(bench.run(rest[0]))
        case "mute":
            bench.grouping.mute(rest[0], rest[1], bench.now)
        case "unmute":
            bench.grouping.unmute(rest[0])
        case "suspend":
            bench.grouping.suspend(rest[0])
        case "resume":
            bench.grouping.resume(rest[0])
    return []


@given(STEPS, SETTINGS)
def test_whatever_comes_limits_are_kept_and_in_the_end_everybody_knows_how_it_is(
    steps: list[tuple[Any, ...]], settings: dict[str, Any]
) -> None:
    bench = Bench(**settings)
    sent = [group for step in steps for group in play(bench, step)]
    for provider in ("a", "b", "c"):
        bench.grouping.resume(provider)
        bench.grouping.unmute(provider)
    sent += bench.run(2 * 86_400)
    moments = [group.at for group in sent]
    most = settings["max_per_hour"]
    assert all(late - early >= HOUR - 1e-3 for early, late in zip(moments, moments[most:], strict=False))
    for group in sent:
        assert group.alerts
        assert {alert.rule for alert in group.alerts} <= {*settings["on"]}
    for subject in bench.grouping._subjects.values():
        assert subject.told == subject.holds
        assert subject.waiting is None or settings["repeat"] == 60


@given(STEPS)
def test_between_two_lines_about_the_same_something_has_changed_or_time_has_passed(
    steps: list[tuple[Any, ...]],
) -> None:
    bench = Bench(group=0, repeat=14_400, max_per_hour=1000)
    changes: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], float] = {}
    for step in steps:
        if step[0] in ("alarm", "over"):
            rule = "down" if step[1] == "recovered" else step[1]
            changes[rule, step[2]] = changes.get((rule, step[2]), 0) + 1
        for group in play(bench, step):
            for alert in group.alerts:
                about = ("down" if alert.rule == "recovered" else alert.rule, alert.provider)
                assert changes.get(about) or group.at - last[about] >= 14_400 - 1e-3
                changes[about], last[about] = 0, group.at


def test_the_default_settings_are_those_of_the_configuration() -> None:
    grouping = Grouping(AlertConfig())
    assert grouping.next_due(Moment(0, 0)) is None
    assert FLAPPING_WINDOW == 600
