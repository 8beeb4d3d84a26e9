"""Times as options and as text."""

from __future__ import annotations

import click
import pytest

from failsafe.cli.times import LENGTH, MOMENT, named, rough, shown, stamp
from failsafe.clock import SYSTEM_CLOCK


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86_400), ("1.5h", 5400), ("2w", 1_209_600)],
)
def test_lengths(text: str, seconds: float) -> None:
    assert LENGTH.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "0s", "1y", "nan", "1e9d", "٣s", "99999999d"])
def test_lengths_of_no_sense(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no length of time"):
        LENGTH.convert(text, None, None)


def test_moments_are_local_unless_they_say_otherwise() -> None:
    assert MOMENT.convert("2026-11-24T12:30Z", None, None) == 1795523400.0
    assert MOMENT.convert("2026-11-24T12:30+02:00", None, None) == 1795516200.0
    here = MOMENT.convert("2026-11-24T12:30", None, None)
    assert stamp(here).startswith("2026-11-24T12:30:00")
    assert stamp(MOMENT.convert("2026-11-24", None, None)).startswith("2026-11-24T00:00:00")
    assert abs(MOMENT.convert("2h", None, None) - (SYSTEM_CLOCK.time() - 7200)) < 60


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "24", "99999999d"])
def test_moments_of_no_sense(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        MOMENT.convert(text, None, None)


def test_lengths_in_one_number() -> None:
    assert [rough(each) for each in (-5, 0.4, 119, 120, 7199, 7200, 48 * 3600, 1e7)] == [
        "0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "2 d", "115 d",
    ]  # fmt: skip
    assert [named(each) for each in (90, 900, 3600, 86_400, 604_800)] == ["90s", "15m", "1h", "24h", "7d"]


def test_what_is_of_today_is_shown_without_its_day() -> None:
    now = SYSTEM_CLOCK.time()
    assert len(shown(now, now)) == 8
    assert len(shown(now - 2 * 86_400, now)) == 19
