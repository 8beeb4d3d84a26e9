"""Quiet hours: over midnight, and when the clocks are set."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.alerts.quiet import QuietHours
from failsafe.errors import ConfigError
from failsafe.monitoring_config import AlertConfig
from tests.alerts.alarms import Bench, alarm, critical

BERLIN = ZoneInfo("Europe/Berlin")
ROOT = Path(__file__).resolve().parents[2]


def wall(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("now", "quiet", "end"),
    [
        ("2027-01-15 21:59:59", False, "2027-01-15 21:59:59"),
        ("2027-01-15 22:00", True, "2027-01-16 07:00"),
        ("2027-01-15 23:59:59", True, "2027-01-16 07:00"),
        ("2027-01-16 00:00", True, "2027-01-16 07:00"),
        ("2027-01-16 06:59:59", True, "2027-01-16 07:00"),
        ("2027-01-16 07:00", False, "2027-01-16 07:00"),
        ("2027-12-31 23:00", True, "2028-01-01 07:00"),
    ],
)
def test_a_night_goes_over_midnight(now: str, quiet: bool, end: str) -> None:
    hours = QuietHours("22:00-07:00", BERLIN)
    assert hours.hold(wall(now)) is quiet
    assert hours.end_after(wall(now)) == wall(end)


def test_hours_of_the_day_do_not() -> None:
    hours = QuietHours("12:30-14:00", BERLIN)
    assert [hours.hold(wall(f"2027-01-15 {time}")) for time in ("12:29", "12:30", "13:59", "14:00", "23:00")] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_the_night_in_which_the_clocks_go_forward_is_an_hour_shorter() -> None:
    hours = QuietHours("22:00-07:00", BERLIN)
    begin = wall("2027-03-27 22:00")
    assert hours.end_after(begin) - begin == 8 * 3600


def test_the_night_in_which_the_clocks_go_back_is_an_hour_longer() -> None:
    hours = QuietHours("22:00-07:00", BERLIN)
    begin = wall("2027-10-30 22:00")
    assert hours.end_after(begin) - begin == 10 * 3600
    assert hours.hold(wall("2027-10-31 02:30", fold=1))


def test_an_end_that_the_clocks_skip_comes_when_they_have_skipped_it() -> None:
    hours = QuietHours("22:00-02:30", BERLIN)
    end = hours.end_after(wall("2027-03-27 23:00"))
    assert not hours.hold(end)
    assert hours.hold(wall("2027-03-28 01:59:59"))
    assert wall("2027-03-28 03:00") <= end <= wall("2027-03-28 03:30")


def test_an_end_that_comes_twice_ends_twice() -> None:
    hours = QuietHours("22:00-02:30", BERLIN)
    first, second = wall("2027-10-31 02:30"), wall("2027-10-31 02:30", fold=1)
    assert hours.end_after(wall("2027-10-31 01:00")) == first
    assert hours.end_after(wall("2027-10-31 02:00", fold=1)) == second
    assert second - first == 3600


@given(
    st.floats(0, 4_000_000_000),
    st.times(),
    st.times(),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_wherever_they_hold_they_end_within_a_day_or_so_and_hold_no_more_then(
    now: float, begin: object, end: object, zone: str
) -> None:
    if str(begin)[:5] == str(end)[:5]:
        return
    hours = QuietHours(f"{str(begin)[:5]}-{str(end)[:5]}", ZoneInfo(zone))
    ends = hours.end_after(now)
    if hours.hold(now):
        assert now < ends <= now + 26 * 3600
        assert not hours.hold(ends)
    else:
        assert ends == now


@pytest.mark.parametrize("text", ["22:00-22:00", "22-7", "24:00-07:00", "22:00", "7:00-8:00", ""])
def test_what_are_no_two_different_times_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="quiet"):
        AlertConfig(quiet=text)


def test_alerts_of_a_night_in_which_the_clocks_are_set_come_at_seven() -> None:
    for evening, morning in (("2027-03-27 23:00", "2027-03-28 07:00"), ("2027-10-30 23:00", "2027-10-31 07:00")):
        bench = Bench(zone=BERLIN, start=wall(evening), quiet="22:00-07:00", repeat=86_400)
        bench.consider(alarm())
        bench.advance(4 * 3600)
        bench.consider(critical("down", "other"))
        groups = bench.run(9 * 3600)
        assert [group.alerts[0].provider for group in groups] == ["other", "openai"]
        assert groups[1].at == wall(morning)


def test_without_a_zone_it_is_the_machine_s() -> None:
    code = """
from failsafe.alerts.quiet import QuietHours
hours = QuietHours("22:00-07:00")
print(hours, hours.hold(1_800_000_000), hours.end_after(1_800_000_000) - 1_800_000_000)
"""  # 08:00 UTC
    for zone, answer in (("UTC", "False 0"), ("Asia/Tokyo", "False 0"), ("America/New_York", "True 14400.0")):
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert found.stdout.split(" ", 2)[2].strip() == answer
