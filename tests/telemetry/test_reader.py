"""What a reader tells of a store: live, at one moment, whatever happens to the file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from failsafe.errors import ConfigError, StoreUnavailable
from failsafe.events import Alert, CircuitState, StateChanged
from failsafe.faults import Fault
from failsafe.models import Usage
from failsafe.pricing import Rates
from failsafe.telemetry import commands, database, settling, uptime
from failsafe.telemetry.reader import Cursor, StoreReader
from failsafe.telemetry.schema import PICODOLLARS, VERSION
from failsafe.telemetry.snapshots import FileSnapshots
from failsafe.telemetry.views import TargetState
from failsafe.testing import FakeClock
from tests.telemetry.past import NOON, PROCESS, A, Past, every_30_s
from tests.test_forking import run

CAP = 30.0
"""Seconds; a hard cap on waiting for another thread."""
UP, DOWN, UNKNOWN = TargetState.UP, TargetState.DOWN, TargetState.UNKNOWN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(path)) as connection:
        yield connection


@pytest.fixture
def past(connection: sqlite3.Connection) -> Past:
    return Past(connection)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOON + 600)


@pytest.fixture
def reader(past: Past, path: Path, clock: FakeClock) -> Iterator[StoreReader]:
    with StoreReader.open(path, clock=clock) as reader:
        yield reader


# Providers.


def test_a_provider_is_known_by_name_and_address(reader: StoreReader, past: Past) -> None:
    assert reader.targets() == []
    assert reader.target("a") is None
    past.answered(0)
    past.answered(0, provider="b")
    assert [target.name for target in reader.targets()] == ["a", "b"]
    found = reader.target("a")
    assert found is not None
    assert (found.base_url, found.interval, found.latency_limit, found.sla) == (A, 30.0, 1000.0, None)
    assert reader.target("a", A) == found
    assert reader.target("a", "https://elsewhere.example") is None


def test_of_two_addresses_of_one_name_the_one_heard_of_last_is_meant(reader: StoreReader, past: Past) -> None:
    past.connection.execute("INSERT INTO targets (id, name, base_url) VALUES (90, 'a', 'http://127.0.0.1:1/v1')")
    past.answered(0)
    found = reader.target("a")
    assert found is not None
    assert found.base_url == A


def test_an_overview_tells_of_each_provider_how_it_was(connection: sqlite3.Connection, path: Path) -> None:
    past = Past(connection, sla=99.0)
    past.answered(*every_30_s(0, 270), ms=200)
    past.failed(300, 301, 302)
    past.answered(330, *every_30_s(360, 600), ms=2000)
    past.answered(0, provider="b")
    with StoreReader.open(path, clock=FakeClock(wall=NOON + 600)) as reader:
        one, other = reader.overview(NOON, NOON + 600)
        assert (one.target.name, one.state, one.last_seen) == ("a", TargetState.DEGRADED, NOON + 600)
        assert one.uptime.percentage == 95.0
        assert one.uptime.downtimes == 1
        assert (one.counts.answered, one.counts.failed, one.counts.slow) == (20, 3, 10)
        assert one.latency.count == 20
        assert one.latency.mean == 1100
        assert one.latency.p50 == pytest.approx(200, rel=0.05)
        assert one.latency.p95 == pytest.approx(2000, rel=0.05)
        assert one.budget is not None
        assert one.budget.used == 30
        assert one.budget.burn_rate == pytest.approx(30 / 600 / 0.01)
        assert one.budget == reader.error_budget(one.target.id, NOON + 600)
        assert (other.state, other.budget, other.uptime.seconds[UP]) == (UNKNOWN, None, 75)
        assert reader.error_budget(other.target.id, NOON + 600) is None
        assert reader.error_budget(4711, NOON + 600) is None
        assert [each.target.name for each in reader.overview(NOON, NOON + 600, [other.target.id])] == ["b"]


def test_a_provider_without_outcomes_in_the_window_is_told_of_all_the_same(reader: StoreReader, past: Past) -> None:
    past.answered(0)
    [found] = reader.overview(NOON + 300, NOON + 600)
    assert (found.counts.answered, found.latency.p50, found.uptime.percentage, found.state) == (0, None, None, UNKNOWN)
    assert found.last_seen == NOON


def test_when_it_was_seen_last_outlives_the_single_probes(reader: StoreReader, past: Past) -> None:
    past.answered(0, 123)
    past.connection.execute("DELETE FROM probes")
    [found] = reader.overview(NOON, NOON + 600)
    assert found.last_seen == NOON + 120
    for width in (10, 60, 900, 86_400):
        past.connection.execute(f"DELETE FROM rollup_{width}")
    [found] = reader.overview(NOON, NOON + 600)
    assert found.last_seen is None


def test_a_window_that_reaches_into_the_future_is_unknown_there(reader: StoreReader, past: Past) -> None:
    past.answered(*every_30_s(0, 600))
    spans = reader.spans(past.target(), NOON, NOON + 700)
    assert [(span.began - NOON, span.ended - NOON, span.state) for span in spans] == [
        (0, 600, UP), (600, 700, UNKNOWN),
    ]  # fmt: skip
    assert reader.uptime(past.target(), NOON, NOON + 700).coverage == pytest.approx(600 / 700)


def test_an_unknown_provider_was_never_seen(reader: StoreReader) -> None:
    assert reader.uptime(4711, NOON, NOON + 60).percentage is None
    assert [span.state for span in reader.spans(4711, NOON, NOON + 60)] == [UNKNOWN]
    assert reader.counts(4711, NOON, NOON + 60).error_rate is None
    assert reader.latency(4711, NOON, NOON + 60).count == 0
    assert reader.points(4711, NOON, NOON + 60) == []


def test_days_are_those_of_the_boundaries(reader: StoreReader, past: Past) -> None:
    past.answered(*every_30_s(0, 300))
    past.failed(330, 331, 332, 360, 390)
    past.answered(400)
    found = reader.days(past.target(), [NOON, NOON + 200, NOON + 400, NOON + 450])
    assert [day.percentage for day in found] == [100.0, 65.0, 100.0]
    assert reader.days(past.target(), [NOON]) == []


def test_last_outcomes_tell_a_monitor_who_has_seen_what(reader: StoreReader, past: Past) -> None:
    past.answered(0)
    past.failed(400, 410)
    past.record(past.attempt(420, fault=Fault.SERVER, blamed=True), process=8)
    found = reader.last_outcomes(past.target(), 300, NOON + 430)
    assert (found.counts.answered, found.counts.failed, found.streak) == (0, 3, 3)
    assert (found.called_at, found.probed_at, found.last_seen) == (NOON + 420, NOON + 410, NOON + 420)
    assert found.process == 8
    assert reader.last_outcomes(past.target(), 1000).counts.answered == 1
    nothing = reader.last_outcomes(4711, 300)
    assert (nothing.counts.failed, nothing.last_seen, nothing.process) == (0, None, None)


# Incidents and faults.


def test_an_incident_tells_what_failed_meanwhile(reader: StoreReader, past: Past) -> None:
    past.answered(*every_30_s(0, 90))
    past.failed(120, 121)
    past.failed(150, fault=Fault.TIMEOUT)
    past.failed(160, fault=Fault.AUTH, blamed=False)  # how it was from here on, nobody knows
    past.answered(180)
    past.failed(590, 591, 592, provider="b")
    one, other = reader.incidents(NOON, NOON + 600)
    assert (one.target.name, one.began, one.ended) == ("a", NOON + 120, NOON + 160)
    assert (one.failures, one.faults) == (3, {"server": 2, "timeout": 1})
    assert (other.target.name, other.began, other.ended) == ("b", NOON + 590, None)
    assert reader.incidents(NOON, NOON + 600, [past.target("b")]) == [other]
    assert reader.incidents(NOON, NOON + 600, []) == []
    assert reader.incidents(NOON, NOON + 600, limit=1) == [other]


def test_an_incident_is_told_whole_however_little_of_it_lies_in_the_window(reader: StoreReader, past: Past) -> None:
    past.answered(0)
    past.failed(*every_30_s(30, 570))
    settling.settle(past.connection, PROCESS, NOON + 400)
    [found] = reader.incidents(NOON + 300, NOON + 310)
    assert (found.began, found.ended, found.failures) == (NOON + 30, None, 19)
    assert reader.incidents(NOON, NOON + 30) == []


def test_the_failures_of_an_incident_and_their_kinds_add_up_though_it_is_the_first_that_was_ever_seen(
    reader: StoreReader, past: Past
) -> None:
    past.failed(0.8176, 1.6, 1.9)  # spans have whole milliseconds
    past.answered(12.1)
    past.failed(13, 14, 15, 100)
    found = reader.incidents(NOON, NOON + 60)[0]
    assert (found.failures, found.faults) == (3, {"server": 3})


def test_an_incident_of_long_ago_tells_its_faults_by_quarters_of_an_hour(reader: StoreReader, past: Past) -> None:
    past.failed(0, 1, 2, 3)
    past.failed(4, fault=Fault.QUOTA, blamed=False)
    past.answered(30)
    past.connection.execute("DELETE FROM probes")
    [found] = reader.incidents(NOON, NOON + 60)
    assert found.faults == {"server": 4}


def test_faults_of_a_short_while_are_counted_one_by_one_and_others_by_the_quarter(
    reader: StoreReader, past: Past
) -> None:
    past.answered(-2000)
    past.failed(0, 10, 20)
    past.record(past.attempt(30, fault=Fault.RATE_LIMIT), past.attempt(31))
    assert reader.faults(past.target(), NOON + 5, NOON + 40) == {"server": 2, "rate_limit": 1}
    assert reader.faults(past.target(), NOON - 7200, NOON + 40) == {"server": 3, "rate_limit": 1}
    assert reader.faults(past.target(), NOON + 900, NOON + 9000) == {}


# Counts and charts.


def test_points_are_as_wide_as_their_window_asks_and_never_too_many(reader: StoreReader, past: Past) -> None:
    past.answered(*range(0, 600, 10), ms=300)
    target = past.target()
    fine = reader.points(target, NOON, NOON + 600)
    assert [point.width for point in fine] == [10] * 60
    assert [point.at - NOON for point in fine[:2]] == [0, 10]
    few = reader.points(target, NOON, NOON + 600, most=7)
    assert len(few) <= 7
    assert {point.width for point in few} == {90}
    assert few[0].latency.p50 == pytest.approx(300, rel=0.05)
    assert {point.width % 10 for point in few} == {0}
    for length, width in ((6 * 3600, 10), (2 * 86_400, 60), (90 * 86_400, 900), (91 * 86_400, 86_400)):
        found = reader.points(target, NOON + 600 - length, NOON + 600, most=100_000)
        assert {point.width for point in found} == {width}
        assert sum(point.counts.answered for point in found) == 60


def test_points_of_streams_tell_when_content_came_and_how_fast(reader: StoreReader, past: Past) -> None:
    past.record(
        past.attempt(0, latency_ms=1200, first_content_ms=200.0, usage=Usage(completion_tokens=50)),
        past.attempt(1, latency_ms=600),
    )
    [found] = reader.points(past.target(), NOON, NOON + 10)
    assert (found.first_content, found.tokens_per_second) == (200.0, 50.0)
    assert found.counts.answered == 2


def test_points_of_what_is_no_longer_kept_finely_are_wider(reader: StoreReader, past: Past) -> None:
    past.answered(*range(0, 600, 10))
    past.connection.execute("DELETE FROM rollup_10 WHERE at < ?", (NOON + 300,))
    found = reader.points(past.target(), NOON, NOON + 600)
    assert {point.width for point in found} == {60}
    assert sum(point.counts.answered for point in found) == 60
    assert {point.width for point in reader.points(past.target(), NOON + 300, NOON + 600)} == {10}


def test_lines_are_the_points_of_all_with_means_alone(reader: StoreReader, past: Past) -> None:
    past.answered(*range(0, 300, 7), ms=200)
    past.failed(*range(300, 600, 11))
    past.answered(5, 17, 599, provider="b", ms=2000)
    for length, most in ((600, 600), (600, 9), (5 * 86_400, 50)):
        window = NOON + 600 - length, NOON + 600
        found = reader.lines(*window, most)
        assert set(found) == {past.target(), past.target("b")}
        for target, line in found.items():
            points = reader.points(target, *window, most)
            assert [(each.at, each.width, each.counts) for each in line] == [
                (each.at, each.width, each.counts) for each in points
            ]
            assert [each.latency.mean for each in line] == [each.latency.mean for each in points]
            assert {each.latency.p95 for each in line} == {None}


def test_a_chart_has_never_more_points_than_it_may_and_ends_with_its_window(reader: StoreReader, past: Past) -> None:
    past.answered(*range(0, 600, 10))
    for ended in (NOON + 600, NOON + 601, NOON + 599.5):
        for most in (-5, 1, 2, 7, 60):
            found = reader.points(past.target(), NOON, ended, most=most)
            assert 1 <= len(found) <= max(1, most)
            assert found[-1].at < ended <= found[-1].at + found[-1].width + 10
    assert len(reader.points(past.target(), NOON + 1, NOON + 601, most=60)) == 59


def test_windows_next_to_each_other_share_nothing_and_leave_nothing_out(reader: StoreReader, past: Past) -> None:
    past.answered(*range(0, 600, 7))
    target = past.target()
    edges = [NOON - 100, NOON + 3, NOON + 61, NOON + 300, NOON + 457, NOON + 599]
    counted = [reader.counts(target, began, ended).answered for began, ended in pairwise(edges)]
    assert sum(counted) == reader.counts(target, edges[0], edges[-1]).answered == 86


def test_what_is_being_counted_belongs_to_a_window_that_ends_now(reader: StoreReader, past: Past) -> None:
    past.answered(595, 600)
    assert reader.counts(past.target(), NOON, NOON + 600).answered == 2
    assert reader.counts(past.target(), NOON, NOON + 599).answered == 1


# What happened.


def tell(rows: list[Any]) -> list[tuple[str, float]]:
    return [(row.kind, row.at - NOON) for row in rows]


def made_up(past: Past) -> None:
    """One row of every kind, and an attempt of another provider."""
    past.record(
        past.attempt(10, call="one", fault=Fault.SERVER, blamed=True, message="no", status=500, maybe_billed=True),
        past.attempt(20, provider="b", call="one", hedge=True),
        past.call(20, provider="b", call="one"),
        StateChanged(at=NOON + 15, name="a", old=CircuitState.CLOSED, new=CircuitState.OPEN, reason="5 failures"),
    )
    past.failed(5)


def test_events_come_in_order_of_time_from_all_tables(reader: StoreReader, past: Past) -> None:
    made_up(past)
    rows = reader.events()
    assert tell(rows) == [
        ("ProbeFinished", 5), ("AttemptFinished", 10), ("StateChanged", 15), ("AttemptFinished", 20),
        ("CallFinished", 20),
    ]  # fmt: skip
    assert [row.provider for row in rows] == ["a", "a", "a", "b", "b"]
    assert {row.process for row in rows} == {PROCESS}
    probe, failure, state, answer, call = (row.data for row in rows)
    assert (probe["kind"], probe["fault"], probe["blamed"], probe["permit"]) == ("models", "server", True, False)
    assert (failure["fault"], failure["status"], failure["message"]) == ("server", 500, "no")
    assert (failure["blamed"], failure["maybe_billed"], failure["hedge"]) == (True, True, False)
    assert (state["new"], state["reason"]) == ("open", "5 failures")
    assert (answer["hedge"], answer["call_id"], answer["model"], answer["cost_usd"]) == (True, "one", "m", None)
    assert (call["asked_model"], call["tag"], call["error"]) == ("fast", "shop", None)


def test_events_can_be_asked_for_by_time_kind_and_provider(reader: StoreReader, past: Past) -> None:
    made_up(past)
    assert tell(reader.events(began=NOON + 10, ended=NOON + 20)) == [("AttemptFinished", 10), ("StateChanged", 15)]
    assert tell(reader.events(kinds=["CallFinished", "ProbeFinished"])) == [("ProbeFinished", 5), ("CallFinished", 20)]
    assert tell(reader.events(kinds=["StateChanged"])) == [("StateChanged", 15)]
    assert tell(reader.events(kinds=["Nonsense"])) == []
    assert tell(reader.events(provider="b")) == [("AttemptFinished", 20), ("CallFinished", 20)]
    assert tell(reader.events(provider="a", kinds=["CallFinished"])) == []
    assert tell(reader.events(provider="' OR 1=1 --")) == []


def test_the_cost_of_an_attempt_is_exact(reader: StoreReader, past: Past) -> None:
    rates = Rates(input=Decimal("0.15"), output=Decimal("0.6"))
    past.record(past.attempt(0, usage=Usage(prompt_tokens=7, completion_tokens=3), rates=rates))
    [row] = reader.events()
    assert row.data["cost_usd"] == Decimal("0.00000285")


def test_pages_of_events_are_all_of_them_once(reader: StoreReader, past: Past) -> None:
    made_up(past)
    past.record(*(past.attempt(30, call=f"same-{number}") for number in range(5)), past.call(30), past.call(30))
    whole = reader.events()
    for size in (1, 2, 3, 100):
        pages: list[Any] = []
        while page := reader.events(after=pages[-1] if pages else None, limit=size):
            assert len(page) <= size
            pages += page
        assert pages == whole


def test_the_newest_events_are_in_order_too(reader: StoreReader, past: Past) -> None:
    made_up(past)
    assert reader.events(newest=True, limit=3) == reader.events()[-3:]
    assert reader.events(newest=True) == reader.events()


def test_events_since_a_cursor_are_those_that_were_written_later(reader: StoreReader, past: Past) -> None:
    made_up(past)
    cursor = reader.cursor()
    past.answered(1)  # what happened before, written later
    assert tell(reader.events(after=cursor)) == [("ProbeFinished", 1)]


def test_news_miss_nothing_and_tell_nothing_twice(reader: StoreReader, past: Past) -> None:
    assert reader.news(Cursor()) == ([], Cursor())
    start = reader.cursor()
    made_up(past)
    rows, cursor = reader.news(start)
    assert rows == reader.events()
    assert reader.news(cursor) == ([], cursor)
    assert cursor == reader.cursor()
    past.answered(1)  # late
    rows, cursor = reader.news(cursor)
    assert tell(rows) == [("ProbeFinished", 1)]


def test_news_in_small_portions_are_all_of_them_once(reader: StoreReader, past: Past) -> None:
    for number in range(4):
        past.record(*(past.attempt(100 - number * 20 + each, call=f"{number}-{each}") for each in range(3)))
        past.record(past.call(100 - number * 20))
    for size in (1, 2, 5):
        cursor, found = Cursor(), []
        while True:
            rows, cursor = reader.news(cursor, limit=size)
            if not rows:
                break
            assert len(rows) <= size
            assert [row.at for row in rows] == sorted(row.at for row in rows)
            found += rows
        assert sorted(found, key=lambda row: (row.at, row.kind, row.id)) == sorted(
            reader.events(), key=lambda row: (row.at, row.kind, row.id)
        )


def test_news_go_on_after_all_rows_of_a_table_were_forgotten(reader: StoreReader, past: Past) -> None:
    made_up(past)
    cursor = reader.cursor()
    past.connection.execute("DELETE FROM attempts")
    past.record(past.attempt(50))  # its number begins anew
    rows, _ = reader.news(cursor)
    assert tell(rows) == [("AttemptFinished", 50)]


def test_no_look_returns_more_than_its_bound(reader: StoreReader, past: Past) -> None:
    made_up(past)
    assert len(reader.events(limit=0)) == len(reader.events(limit=-1)) == 1
    assert len(reader.events(limit=10**12)) == 5


def test_an_event_that_cannot_be_read_is_told_without_its_fields(reader: StoreReader, past: Past) -> None:
    past.connection.execute("INSERT INTO events (at, process, kind, data) VALUES (?, 7, 'Later', '[1]')", (NOON,))
    past.connection.execute("INSERT INTO events (at, process, kind, data) VALUES (?, 7, 'Broken', '{')", (NOON,))
    assert [(row.kind, dict(row.data), row.provider) for row in reader.events()] == [
        ("Later", {}, ""),
        ("Broken", {}, ""),
    ]


# Who is running.


def test_a_program_is_alive_while_it_gives_signs_of_life(reader: StoreReader, past: Past, clock: FakeClock) -> None:
    past.connection.execute("UPDATE processes SET seen_at = ?", (NOON + 595,))
    past.connection.execute(
        "INSERT INTO processes (id, pid, host, program, version, started_at, seen_at, ended_at, dropped) "
        "VALUES (8, 1, 'here', 'over.py', '1', ?, ?, ?, 3)",
        (NOON, NOON + 599, NOON + 599),
    )
    assert [(each.id, each.alive) for each in reader.processes()] == [(8, False), (PROCESS, True)]
    [found] = reader.processes(alive_only=True)
    assert (found.pid, found.program, found.host) == (4711, "shop.py", "here")
    clock.advance(30)
    assert reader.processes(alive_only=True) == []


def test_breakers_are_those_of_programs_that_live(reader: StoreReader, past: Past) -> None:
    made_up(past)
    assert reader.breakers() == []  # it was heard of last ten minutes ago
    [found] = reader.breakers(alive_only=False)
    assert (found.name, found.provider, found.base_url, found.state) == ("a", "a", A, "open")
    assert (found.process, found.pid, found.program, found.reason) == (PROCESS, 4711, "shop.py", "5 failures")
    past.connection.execute("UPDATE processes SET seen_at = ?", (NOON + 599,))
    assert reader.breakers() == [found]


def test_alerts_are_the_last_of_their_window_in_order(reader: StoreReader, past: Past) -> None:
    for number in range(3):
        past.record(
            Alert(at=NOON + number, rule="down", provider="a", severity="critical", title=str(number), message="m")
        )
    past.connection.execute("UPDATE alerts SET acknowledged_at = 5, acknowledged_by = 'ann' WHERE title = '2'")
    assert [each.title for each in reader.alerts()] == ["0", "1", "2"]
    assert [each.title for each in reader.alerts(limit=2)] == ["1", "2"]
    [found] = reader.alerts(NOON + 2)
    assert (found.provider, found.rule, found.severity, found.resolves) == ("a", "down", "critical", False)
    assert (found.acknowledged_at, found.acknowledged_by) == (5, "ann")
    assert reader.alerts(ended=NOON) == []


def test_commands_tell_what_came_of_them(reader: StoreReader, past: Past) -> None:
    assert reader.commands() == []
    first = commands.send(past.connection, target="a", action="reset", now=NOON, sender="ann")
    second = commands.send(past.connection, target="*", action="drain", now=NOON, process=PROCESS)
    commands.note(past.connection, first, PROCESS, NOON, "closed")
    commands.note(past.connection, first, 8, NOON, "no such provider here")
    one, other = reader.commands()
    assert (one.id, one.target, one.action, one.origin, one.process) == (first, "a", "reset", "ann", None)
    assert one.outcomes == {PROCESS: "closed", 8: "no such provider here"}
    assert (other.id, other.process, other.outcomes) == (second, PROCESS, {})
    assert reader.commands(second) == [other]
    assert reader.commands(limit=1) == [other]


# What it cost.


def spend(past: Past, day: str, cost: int, tag: str = "", model: int = 1, target: int = 1, answers: int = 1) -> None:
    past.connection.execute(
        "INSERT INTO costs (day, target, model, tag, answers, prompt, cost, unpriced, duplicates) "
        "VALUES (?, ?, ?, ?, ?, 10, ?, 2, 1)",
        (day, target, model, tag, answers, cost),
    )


def test_costs_are_grouped_exactly_and_the_dearest_come_first(reader: StoreReader, past: Past) -> None:
    past.answered(0)
    past.answered(0, provider="b")
    past.connection.execute("INSERT INTO models (id, name) VALUES (1, 'small'), (2, 'large')")
    a, b = past.target(), past.target("b")
    spend(past, "2026-11-23", 1, target=a)
    spend(past, "2026-11-24", 2 * PICODOLLARS + 1, tag="shop", target=a)
    spend(past, "2026-11-24", 5 * PICODOLLARS, model=2, target=b)
    spend(past, "2026-11-25", 10**18, target=b)
    dear, cheap = reader.costs("2026-11-23", "2026-11-24")
    assert (dear.provider, dear.usd, dear.model, dear.day, dear.tag) == ("b", Decimal(5), "", "", "")
    assert (cheap.provider, cheap.usd) == ("a", Decimal("2.000000000002"))
    assert (cheap.answers, cheap.prompt_tokens, cheap.unpriced, cheap.duplicates) == (2, 20, 4, 2)
    [whole] = reader.costs("2026-11-23", "2026-11-24", by=())
    assert whole.usd == Decimal("7.000000000002")
    rows = reader.costs("2026-11-24", "2026-11-24", by=("day", "model", "tag"))
    assert [(row.day, row.model, row.tag) for row in rows] == [
        ("2026-11-24", "large", ""), ("2026-11-24", "small", "shop"),
    ]  # fmt: skip
    assert len(reader.costs("2026-11-23", "2026-11-25", by=("day", "day"), limit=2)) == 2
    assert reader.costs("2026-11-26", "2026-11-27", by=()) == []


def test_costs_beyond_what_sqlite_can_add_up_are_added_up(reader: StoreReader, past: Past) -> None:
    for day in range(10, 13):
        spend(past, f"2026-11-{day}", 9 * 10**18)
    [whole] = reader.costs("2026-11-01", "2026-11-30", by=())
    assert whole.usd == 27_000_000
    assert reader.spent("2026-11-12", "2026-11") == (9 * 10**18, 27 * 10**18)


def test_costs_are_grouped_by_nothing_else(reader: StoreReader) -> None:
    with pytest.raises(ConfigError, match="by"):
        reader.costs("2026-11-01", "2026-11-30", by=("cost; DROP TABLE costs",))


def test_what_was_spent_today_shows_at_once_and_what_was_spent_before_within_a_minute(
    reader: StoreReader, past: Past, clock: FakeClock
) -> None:
    spend(past, "2026-10-31", 64)
    spend(past, "2026-11-01", 1)
    spend(past, "2026-11-24", 2)
    spend(past, "2026-11-24", 4, target=2)
    assert reader.spent("2026-11-24", "2026-11") == (6, 7)
    assert reader.spent("2026-11-24", "2026-11", target=2) == (4, 4)
    assert reader.spent("2026-11-01", "2026-10") == (1, 64)
    spend(past, "2026-11-24", 8, tag="more")
    spend(past, "2026-11-02", 16)
    assert reader.spent("2026-11-24", "2026-11") == (14, 15)
    clock.advance(60)
    assert reader.spent("2026-11-24", "2026-11") == (14, 31)


def test_what_is_remembered_of_what_was_spent_is_bounded(reader: StoreReader, past: Past) -> None:
    for number in range(1100):
        assert reader.spent(f"{1000 + number}-01-01", "2026-11") == (0, 0)
    assert len(reader._spending._others) <= 1000


def test_the_size_is_that_of_the_file_and_what_is_beside_it(reader: StoreReader, past: Past, path: Path) -> None:
    made_up(past)
    found = reader.size()
    assert found.path == str(path)
    assert found.bytes == sum(each.stat().st_size for each in path.parent.glob("store.db*"))
    assert (found.version, found.free_bytes) == (VERSION, 0)
    assert (found.rows["attempts"], found.rows["probes"], found.rows["calls"]) == (2, 1, 1)
    assert found.oldest == NOON // 86_400 * 86_400


# The file.


def test_what_is_written_shows_in_the_next_look(reader: StoreReader, past: Past) -> None:
    past.answered(0)
    assert reader.counts(past.target(), NOON, NOON + 60).answered == 1
    past.answered(1)
    assert reader.counts(past.target(), NOON, NOON + 60).answered == 2


def test_a_look_sees_one_moment_while_others_write(reader: StoreReader, past: Past, path: Path) -> None:
    past.answered(0)

    def look(connection: sqlite3.Connection) -> tuple[int, int]:
        count = "SELECT count(*) FROM probes"
        before = connection.execute(count).fetchone()[0]
        past.answered(1)  # does not wait for who reads
        return before, connection.execute(count).fetchone()[0]

    assert reader._read(look) == (1, 1)
    assert len(reader.events()) == 2


def test_a_reader_cannot_write(reader: StoreReader) -> None:
    with pytest.raises(StoreUnavailable, match="readonly"):
        reader._read(lambda connection: connection.execute("DELETE FROM targets"))


def test_who_writes_and_has_not_finished_holds_nobody_up(reader: StoreReader, past: Past) -> None:
    past.answered(0)
    past.connection.execute("BEGIN IMMEDIATE")
    past.connection.execute("DELETE FROM probes")
    assert len(reader.events()) == 1
    past.connection.execute("COMMIT")
    assert len(reader.events()) == 0


def replace_file(path: Path, name: str) -> None:
    """Have another store take the file's name."""
    other = path.with_name("other.db")
    with closing(database.connect(other)) as connection:
        connection.execute("INSERT INTO targets (name, base_url) VALUES (?, 'x')", (name,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for suffix in database.BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    other.replace(path)


def test_a_file_that_takes_the_name_of_another_is_read_from_then_on(
    reader: StoreReader, past: Path, path: Path
) -> None:
    assert reader.targets() == []
    replace_file(path, "new")
    assert [target.name for target in reader.targets()] == ["new"]


def test_a_file_that_is_deleted_is_missed_and_read_again_when_it_is_back(
    reader: StoreReader, past: Past, path: Path
) -> None:
    past.connection.close()
    path.unlink()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="there is no store at"):
            reader.targets()
    replace_file(path, "new")
    assert [target.name for target in reader.targets()] == ["new"]


def test_a_file_that_is_replaced_during_a_look_is_looked_at_again(reader: StoreReader, past: Past, path: Path) -> None:
    looks: list[str] = []

    def look(connection: sqlite3.Connection) -> int:
        looks.append("look")
        if len(looks) == 1:
            replace_file(path, "new")
            raise sqlite3.OperationalError("disk I/O error")
        found: int = connection.execute("SELECT count(*) FROM targets").fetchone()[0]
        return found

    assert reader._read(look) == 1
    assert len(looks) == 2


def test_a_file_that_is_replaced_and_cannot_be_read_either_says_so(reader: StoreReader, past: Past, path: Path) -> None:
    def look(connection: sqlite3.Connection) -> None:
        if not path.with_name("mark").exists():
            path.with_name("mark").touch()
            replace_file(path, "new")
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        reader._read(look)
    assert [target.name for target in reader.targets()] == ["new"]


@pytest.mark.parametrize(("version", "advice"), [(VERSION + 1, "upgrade it"), (VERSION - 1, "failsafe store migrate")])
def test_a_store_of_another_version_is_refused_in_words(
    reader: StoreReader, past: Past, path: Path, version: int, advice: str
) -> None:
    past.connection.execute(f"PRAGMA user_version = {version}")
    for look in (reader.targets, lambda: StoreReader.open(path)):
        with pytest.raises(StoreUnavailable, match=f"has version {version}.*{advice}"):
            look()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    for path in (tmp_path / "missing.db", garbage):
        with pytest.raises(StoreUnavailable, match=path.name):
            StoreReader.open(path)


def test_a_damaged_file_is_told_apart_from_a_busy_one(reader: StoreReader, past: Past) -> None:
    def damaged(connection: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with pytest.raises(StoreUnavailable, match=r"malformed.*sets it aside"):
        reader._read(damaged)

    def busy(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database is locked")

    with pytest.raises(StoreUnavailable, match=r"locked.*try again"):
        reader._read(busy)
    assert reader.targets() == []


def test_a_closed_reader_says_that_it_is_closed(past: Past, path: Path) -> None:
    reader = StoreReader.open(path)
    assert repr(reader) == f"<StoreReader {path}>"
    reader.close()
    reader.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        reader.targets()


def test_an_interrupted_look_leaves_the_reader_usable(reader: StoreReader, past: Past) -> None:
    def interrupted(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT count(*) FROM targets").fetchone()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader._read(interrupted)
    past.answered(0)
    assert len(reader.targets()) == 1


def test_many_threads_may_read_and_write_at_once(reader: StoreReader, past: Past, path: Path) -> None:
    past.answered(0)
    failures: list[Exception] = []
    start = threading.Barrier(5)

    def repeat(work: Callable[[], object]) -> None:
        try:
            start.wait(CAP)
            for _ in range(30):
                work()
        except (StoreUnavailable, sqlite3.Error, threading.BrokenBarrierError) as error:
            failures.append(error)

    with closing(database.connect(path)) as other:
        works = [
            lambda: reader.overview(NOON, NOON + 600),
            lambda: reader.news(Cursor()),
            lambda: reader.incidents(NOON, NOON + 600),
            lambda: past.answered(10),
            lambda: settling.settle(other, PROCESS, NOON + 600),
        ]
        threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(CAP)
    assert failures == []
    assert reader.counts(past.target(), NOON, NOON + 600).answered == 31


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reads_over_a_connection_of_its_own(tmp_path: Path) -> None:
    program = f"""
import os
from failsafe.telemetry import database
from failsafe.telemetry.reader import StoreReader

path = {str(tmp_path / "store.db")!r}
connection = database.connect(__import__("pathlib").Path(path))
connection.execute("INSERT INTO targets (name, base_url) VALUES ('a', 'x')")
reader = StoreReader.open(path)
child = os.fork()
if child == 0:
    names = [target.name for target in reader.targets()]
    reader.close()
    os._exit(0 if names == ["a"] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
connection.execute("INSERT INTO targets (name, base_url) VALUES ('b', 'x')")
print(*(target.name for target in reader.targets()))
reader.close()
connection.close()
"""
    assert run(program) == ["a b"]


def test_the_connection_of_a_forked_childs_parent_is_neither_used_nor_closed(past: Past, path: Path) -> None:
    with closing(FileSnapshots(path)) as snapshots:
        inherited = snapshots._connection
        assert inherited is not None
        snapshots._after_fork()  # as in the child
        assert snapshots.read(lambda connection: connection is inherited) is False
        assert inherited.execute("SELECT 1").fetchone() == (1,)
        inherited.close()


# In memory.


def test_a_store_in_memory_is_read_over_its_own_connection() -> None:
    with closing(database.connect(None)) as connection:
        past = Past(connection)
        past.answered(*every_30_s(0, 600))
        lock = threading.Lock()
        reader = StoreReader.over(connection, lock, clock=FakeClock(wall=NOON + 600))
        assert repr(reader) == "<StoreReader in memory>"
        assert reader.uptime(past.target(), NOON, NOON + 600).percentage == 100.0
        assert reader.size().path == ""
        assert reader.size().bytes > 0
        assert not lock.locked()
        reader.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            reader.targets()
        past.answered(630)  # the connection is its owner's and stays open


def test_a_store_in_memory_that_has_ended_says_so() -> None:
    connection = database.connect(None)
    reader = StoreReader.over(connection)
    connection.close()
    with pytest.raises(StoreUnavailable, match="in memory"):
        reader.targets()


def test_an_error_budget_of_a_window_of_ones_own(connection: sqlite3.Connection, path: Path) -> None:
    past = Past(connection, sla=90.0)
    past.answered(0)
    past.failed(300, 301, 302, 330, 360)
    past.answered(390)
    with StoreReader.open(path, clock=FakeClock(wall=NOON + 600)) as reader:
        budget = reader.error_budget(past.target(), NOON + 600, window=600)
        assert budget is not None
        assert (budget.used, budget.sla) == (90, 90.0)
        assert budget.allowed == pytest.approx(60)
        assert reader.uptime(past.target(), NOON + 300, NOON + 390).percentage == 0.0
        assert uptime.percentage(0, 1) == 0.0
