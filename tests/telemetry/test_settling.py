"""What is settled is what was observed, however it came in, and is written down in few rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import AllProvidersFailed, MonitorConfig, RetryConfig, StoreConfig
from failsafe.clock import Clock
from failsafe.faults import Fault
from failsafe.telemetry import database, leases, settling, uptime
from failsafe.telemetry.history import History, intervals
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.uptime import Observation, Outcome, UptimeRule
from failsafe.testing import FakeClock, ScriptedProvider, answer, failing, scripted_router
from tests.telemetry.past import NOON, PROCESS, Past, every_30_s

RULE = UptimeRule()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(database.connect(None)) as connection:
        yield connection


@pytest.fixture
def past(connection: sqlite3.Connection) -> Past:
    return Past(connection)


def at(seconds: float) -> Clock:
    return FakeClock(wall=NOON + seconds)


def settle(connection: sqlite3.Connection, seconds: float, process: int = PROCESS) -> bool:
    return settling.settle(connection, process, NOON + seconds)


def spans_in(connection: sqlite3.Connection) -> list[tuple[float, float, str]]:
    rows = connection.execute("SELECT began, ended, state FROM spans ORDER BY target, began").fetchall()
    return [(began - NOON, ended - NOON, state) for began, ended, state in rows]


def shown(connection: sqlite3.Connection, target: int, ended: float, now: float) -> list[tuple[float, float, str]]:
    spans = StoreReader.over(connection, clock=at(now)).spans(target, NOON, NOON + ended)
    return [(span.began - NOON, span.ended - NOON, span.state.value) for span in spans]


# What ten seconds say.


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ({"answered": 1}, Outcome.ANSWERED),
        ({"answered": 100, "failed": 4}, Outcome.ANSWERED),
        ({"answered": 95, "failed": 5}, Outcome.DEGRADED),
        ({"answered": 1, "failed": 1}, Outcome.DEGRADED),
        ({"answered": 100, "slow": 5}, Outcome.ANSWERED),
        ({"answered": 100, "slow": 6}, Outcome.DEGRADED),
        ({"answered": 1, "excused": 5}, Outcome.ANSWERED),
        ({"other": 3}, Outcome.ANSWERED),
        ({"other": 3, "failed": 1}, Outcome.DEGRADED),
        ({"failed": 1}, Outcome.FAILED),
        ({"failed": 1, "excused": 7}, Outcome.FAILED),
        ({"excused": 1}, Outcome.EXCUSED),
        ({}, None),
    ],
)
def test_counts_of_ten_seconds_say_how_it_was(counts: dict[str, int], outcome: Outcome | None) -> None:
    columns = ("answered", "failed", "excused", "other", "slow")
    answered, failed, excused, other, slow = (counts.get(name, 0) for name in columns)
    seen = settling.observed((1000, 1, 2500, answered, failed, excused, other, slow), RULE)
    assert (seen and seen.outcome) == outcome
    assert seen is None or seen.at == 1002.5


def test_failures_of_ten_seconds_are_as_many_in_a_row() -> None:
    assert settling.observed((1000, 1, 0, 0, 4, 0, 0, 0), RULE) == Observation(
        at=1000, outcome=Outcome.FAILED, failures=4
    )


@pytest.mark.parametrize(("first", "moment"), [(-5, 1000.0), (10_000, 1009.999), (123_456, 1009.999)])
def test_a_first_outcome_lies_within_its_ten_seconds(first: int, moment: float) -> None:
    seen = settling.observed((1000, 1, first, 1, 0, 0, 0, 0), RULE)
    assert seen is not None
    assert seen.at == moment


def test_the_share_of_failures_that_degrades_is_the_monitors() -> None:
    row = (1000, 1, 0, 80, 20, 0, 0, 0)
    for share, outcome in ((0.2, Outcome.DEGRADED), (0.3, Outcome.ANSWERED)):
        rule = UptimeRule.of(MonitorConfig(degraded_error_rate=share))
        seen = settling.observed(row, rule)
        assert seen is not None
        assert seen.outcome is outcome


# Settling.


def test_thirty_quiet_days_are_one_row(connection: sqlite3.Connection, past: Past) -> None:
    for hour in range(5):
        past.answered(*every_30_s(hour * 3600, hour * 3600 + 3570))
        settle(connection, (hour + 1) * 3600)
    assert spans_in(connection) == [(0, 5 * 3600 - 60, "up")]


def test_the_last_minute_is_not_settled_as_others_may_still_write_it_down(
    connection: sqlite3.Connection, past: Past
) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 305)
    assert spans_in(connection) == [(0, 240, "up")]
    past.failed(250, 255, 260)  # written late, by a busy process
    settle(connection, 365)
    assert spans_in(connection)[:2] == [(0, 250, "up"), (250, 270, "down")]


def test_what_is_not_settled_yet_shows_at_once(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 300)
    past.failed(311, 312, 313)
    assert shown(connection, past.target(), 320, now=314) == [
        (0, 311, "up"), (311, 314, "down"), (314, 320, "unknown"),
    ]  # fmt: skip


def test_what_was_never_settled_shows_all_the_same(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    assert shown(connection, past.target(), 300, now=300) == [(0, 300, "up")]


def test_only_the_holder_of_the_lease_settles(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    assert leases.acquire(connection, "settle", 8, 60, NOON + 290)
    assert not settle(connection, 300)
    assert spans_in(connection) == []
    settle(connection, 300, process=8)
    assert spans_in(connection) == [(0, 240, "up")]
    settle(connection, 400)  # the lease has ended with its holder
    assert spans_in(connection)[-1][1] == 340


def test_a_downtime_that_is_confirmed_after_the_horizon_is_settled_from_its_begin(
    connection: sqlite3.Connection, past: Past
) -> None:
    past.answered(*every_30_s(0, 90))
    past.failed(120)
    settle(connection, 190)  # up to 130: one failure is in doubt
    assert spans_in(connection) == [(0, 120, "up")]
    past.failed(150, 180)
    settle(connection, 250)
    assert spans_in(connection) == [(0, 120, "up"), (120, 190, "down")]
    past.answered(240)
    settle(connection, 310)
    assert spans_in(connection) == [(0, 120, "up"), (120, 240, "down"), (240, 250, "up")]


def test_a_gap_of_days_is_settled_as_unknown(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(0)
    settle(connection, 200)
    past.answered(300_000)
    settle(connection, 300_100)
    assert spans_in(connection) == [(0, 75, "up"), (300_000, 300_040, "up")]


def test_nothing_is_settled_twice(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    for _ in range(3):
        settle(connection, 300)
    assert spans_in(connection) == [(0, 240, "up")]


def test_what_comes_after_its_time_was_settled_changes_nothing(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 400)
    past.failed(100, 101, 102)
    settle(connection, 420)
    assert spans_in(connection) == [(0, 360, "up")]
    assert shown(connection, past.target(), 360, now=420) == [(0, 360, "up")]


def test_a_provider_that_comes_later_is_settled_from_then_on(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 300)
    past.answered(310, 340, provider="b")
    assert shown(connection, past.target("b"), 350, now=350) == [(0, 310, "unknown"), (310, 350, "up")]
    settle(connection, 500)
    assert spans_in(connection) == [(0, 375, "up"), (310, 415, "up")]


def test_a_great_deal_is_settled_in_several_transactions(
    connection: sqlite3.Connection, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_ROWS_AT_ONCE", 10)
    past.answered(*every_30_s(0, 3000))
    past.answered(*every_30_s(0, 3000), provider="b")
    assert settle(connection, 3070)  # there is more: it is gone on with next time
    assert 0 < spans_in(connection)[0][1] < 3000
    while settle(connection, 3070):
        pass
    assert spans_in(connection) == [(0, 3010, "up"), (0, 3010, "up")]


def test_a_great_deal_that_nobody_has_settled_is_read_in_pieces(
    connection: sqlite3.Connection, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failsafe.telemetry.history._ROWS_AT_ONCE", 3)
    past.answered(*every_30_s(0, 600))
    past.answered(*every_30_s(0, 300), provider="b")
    past.failed(330, 331, 332, 360, provider="b")
    reader = StoreReader.over(connection, clock=at(600))
    one, other = reader.overview(NOON, NOON + 600)
    assert one.uptime.seconds[uptime.UP] == 600
    assert (other.uptime.seconds[uptime.UP], other.uptime.seconds[uptime.DOWN]) == (330, 105)


def test_a_clock_that_was_ahead_leaves_nothing_settled_in_the_future(
    connection: sqlite3.Connection, past: Past
) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 300)
    past.answered(*every_30_s(1_000_000, 1_000_300))
    settle(connection, 1_000_300)  # by a machine whose clock was wrong
    past.answered(*every_30_s(330, 600))
    settle(connection, 600)
    assert all(ended <= 540 for _, ended, _ in spans_in(connection))
    past.answered(*every_30_s(630, 900))
    settle(connection, 900)
    assert spans_in(connection)[-1] == (540, 840, "up")


def test_an_account_of_another_version_begins_anew(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 300)
    connection.execute("UPDATE uptime SET pending = '{}'")
    past.answered(*every_30_s(330, 600))
    settle(connection, 700)
    assert spans_in(connection) == [(0, 640, "up")]


def test_observations_in_a_pause_are_settled_as_none(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(0, 30)
    past.failed(60, 70, 80, 90)
    past.answered(120)
    past.watched("paused", 50, 110, past.target())
    settle(connection, 260)
    assert spans_in(connection) == [(0, 60, "up"), (120, 195, "up")]
    assert shown(connection, past.target(), 200, now=260) == [
        (0, 50, "up"), (50, 110, "paused"), (110, 120, "unknown"), (120, 195, "up"), (195, 200, "unknown"),
    ]  # fmt: skip


def test_a_network_that_was_gone_is_unknown_for_all_and_a_pause_for_one(
    connection: sqlite3.Connection, past: Past
) -> None:
    past.answered(*every_30_s(0, 300))
    past.answered(*every_30_s(0, 300), provider="b")
    past.watched("offline", 60, 90)
    past.watched("maintenance", 120, None, past.target("b"))
    past.watched("something new", 0, 300)
    assert shown(connection, past.target(), 300, now=300) == [
        (0, 60, "up"), (60, 90, "unknown"), (90, 300, "up"),
    ]  # fmt: skip
    assert shown(connection, past.target("b"), 300, now=300)[-1] == (120, 300, "maintenance")


def test_the_interval_of_a_provider_says_how_long_an_observation_holds(
    connection: sqlite3.Connection, past: Past
) -> None:
    past.answered(0)
    connection.execute("UPDATE targets SET interval = 100")
    settle(connection, 500)
    assert spans_in(connection) == [(0, 250, "up")]


def test_who_reads_goes_by_the_rule_of_who_settles(connection: sqlite3.Connection, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    settling.settle(connection, PROCESS, NOON + 300, MonitorConfig(confirm=1))
    past.failed(330)
    assert shown(connection, past.target(), 340, now=340)[-1] == (330, 340, "down")


STEPS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["up", "slow", "down", "excused"])), max_size=30)


@given(STEPS, st.lists(st.integers(0, 900), max_size=8).map(sorted))
def test_settled_now_and_then_is_what_is_reckoned_at_once(steps: list[tuple[int, str]], looks: list[int]) -> None:
    moments: list[tuple[int, str]] = []
    for after, outcome in steps:
        moments.append(((moments[-1][0] if moments else 0) + after, outcome))
    with closing(database.connect(None)) as once, closing(database.connect(None)) as stepwise:
        for connection in (once, stepwise):
            past = Past(connection)
            past.answered(-1000)
            recorded = 0
            for look in [*looks, 3000]:
                if connection is stepwise:
                    while recorded < len(moments) and moments[recorded][0] <= look:
                        record(past, *moments[recorded])
                        recorded += 1
                    settle(connection, look)
            for moment in moments[recorded:]:
                record(past, *moment)
        (target,) = intervals(once)
        expected = History(once, intervals(once), NOON + 3000).spans(target, NOON, NOON + 2900)
        settle(stepwise, 3000)
        assert History(stepwise, intervals(stepwise), NOON + 3000).spans(target, NOON, NOON + 2900) == expected
        settled = spans_in(stepwise)
        for earlier, later in pairwise(settled):
            assert earlier[1] <= later[0]
            assert earlier[1] < later[0] or earlier[2] != later[2]


def record(past: Past, moment: int, outcome: str) -> None:
    if outcome in ("up", "slow"):
        past.answered(moment, ms=5000 if outcome == "slow" else 100)
    else:
        past.failed(moment, fault=Fault.AUTH if outcome == "excused" else Fault.SERVER, blamed=outcome == "down")


def test_times_without_an_end_last(connection: sqlite3.Connection, past: Past) -> None:
    past.watched("paused", 0, None)
    [span] = settling.watch_for(settling.watch_of(connection, NOON + 10, NOON + 20), 1)
    assert (span.began, span.ended, span.state) == (NOON, inf, uptime.PAUSED)


def test_a_reader_may_have_a_rule_of_its_own_for_what_is_not_settled(
    connection: sqlite3.Connection, past: Past
) -> None:
    past.answered(*every_30_s(0, 300))
    settle(connection, 300)
    past.failed(330)
    reader = StoreReader.over(connection, clock=at(340), monitor=MonitorConfig(confirm=1))
    assert reader.spans(past.target(), NOON + 320, NOON + 340)[-1].state is uptime.DOWN


def test_a_router_says_how_uptime_is_reckoned_in_its_store(tmp_path: Path) -> None:
    clock = FakeClock(wall=NOON)
    server = ScriptedProvider("a", answer(), failing(Fault.SERVER), max_retries=0)
    with scripted_router(
        server,
        clock=clock,
        retry=RetryConfig(max_retries=0),
        store=StoreConfig(path=str(tmp_path / "store.db")),
        monitor=MonitorConfig(confirm=1),
    ) as router:
        router.chat("hi", model="gpt-4.1")
        clock.advance(30)
        with pytest.raises(AllProvidersFailed):
            router.chat("hi", model="gpt-4.1", timeout=5)
        assert router.store is not None
        assert router.store.flush(10)
        with router.store.reader() as reader:
            [found] = reader.overview(NOON, clock.time())
            assert found.state is uptime.DOWN
