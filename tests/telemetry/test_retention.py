"""What is old is forgotten, and the file stays within its size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from failsafe.events import Event, NetworkChanged, StatusChanged, WatchChanged
from failsafe.faults import Fault
from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry import database, retention
from failsafe.telemetry.texts import CallTexts
from tests.telemetry.batches import NOW, attempt, call, dump, probe, rows, write

HOUR, DAY = 3600.0, 86_400.0
MIB = 1024 * 1024
CONFIG = StoreConfig(keep_attempts=2 * DAY, keep_history=400 * DAY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(database.connect(tmp_path / "store.db")) as connection:
        yield connection


def tidy(store: sqlite3.Connection, config: StoreConfig = CONFIG, now: float = NOW) -> int:
    """Tidy until all is done; how many steps that took."""
    for step in range(1, 1000):
        if not retention.tidy(store, config, now):
            return step
    raise AssertionError("there is always more to do")


def add(store: sqlite3.Connection, table: str, **values: Any) -> None:
    store.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        tuple(values.values()),
    )


def ages(store: sqlite3.Connection, table: str, column: str = "at") -> list[float]:
    """Days before now."""
    return sorted((NOW - row[column]) / DAY for row in rows(store, table))


def everything(at: float) -> list[Event]:
    return [
        attempt(at), attempt(at, "groq", fault=Fault.SERVER, blamed=True), call(at), probe(at),
        StatusChanged(at=at, provider="openai", old="up", new="down", reason="?"),
        CallTexts(at=at, call_id="c1", prompt="[]", answer="a"),
    ]  # fmt: skip


# By age.


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        ("attempts", 2), ("calls", 2), ("probes", 2), ("texts", 2), ("rollup_10", 30), ("rollup_60", 180),
        ("rollup_900", 400), ("rollup_86400", 400), ("faults", 400), ("events", 400),
    ],
)  # fmt: skip
def test_each_kind_is_kept_for_its_time(store: sqlite3.Connection, table: str, kept: int) -> None:
    for days in (1.2, 2.1, 29, 31, 179, 181, 399, 402):
        write(store, everything(NOW - days * DAY))

    tidy(store)

    left = [days for days in (1.2, 2.1, 29, 31, 179, 181, 399, 402) if days < kept]
    assert sorted(set(ages(store, table))) == pytest.approx(left, abs=1)


def test_counts_are_never_kept_for_longer_than_history(store: sqlite3.Connection) -> None:
    for days in (1, 9, 11, 40):
        write(store, everything(NOW - days * DAY))

    tidy(store, StoreConfig(keep_attempts=DAY, keep_history=10 * DAY))

    for table in ("rollup_10", "rollup_60", "rollup_900", "events", "faults", "costs"):
        column = "day" if table == "costs" else "at"
        assert len({row[column] for row in rows(store, table)}) == 2, table


def test_costs_of_days_that_history_reaches_are_kept(store: sqlite3.Connection) -> None:
    days = [399, 400, 401, 500]
    write(store, [attempt(NOW - age * DAY) for age in days])

    tidy(store)

    oldest = datetime.fromtimestamp(NOW - 400 * DAY, UTC).date().isoformat()
    assert min(row["day"] for row in rows(store, "costs")) == oldest
    assert len(rows(store, "costs")) == 2


def test_what_is_rare_is_kept_for_its_time(store: sqlite3.Connection) -> None:
    for age in (1, 399, 401):
        at = NOW - age * DAY
        add(store, "alerts", at=at, process=1, rule="down", severity="info", title="", message="", resolves=0)
        add(store, "watch", target=1, state="paused", began=at - 5, ended=at)
        add(store, "spans", target=1, began=at - 5, ended=at, state="up")
        add(store, "commands", at=at, until=at, target="*", action="reset", origin="me")
        add(store, "leases", name=f"lease {age}", holder=1, until=at - 1)
    add(store, "leases", name="held", holder=1, until=NOW + 30)
    write(store, [attempt()])
    for command in (1, 2, 3):
        add(store, "outcomes", command=command, process=1, at=NOW, outcome="done")

    tidy(store)

    assert ages(store, "alerts") == [1, 399]
    assert ages(store, "watch", "ended") == [1, 399]
    assert ages(store, "spans", "ended") == [1, 399]
    assert ages(store, "commands") == [1]
    assert [row["command"] for row in rows(store, "outcomes")] == [1]
    assert [row["name"] for row in rows(store, "leases")] == ["held"]


def process(store: sqlite3.Connection, number: int, seen: float, *, ended: bool = False, started: float = 0.0) -> None:
    add(
        store, "processes", id=number, pid=number, host="here", program="p", version="1", started_at=started,
        seen_at=seen, ended_at=seen if ended else None,
    )  # fmt: skip


def test_programs_that_are_gone_leave_their_breakers_behind_and_then_go(store: sqlite3.Connection) -> None:
    process(store, 1, NOW - 10)
    process(store, 2, NOW - 2 * HOUR)
    process(store, 3, NOW - 10, ended=True)
    process(store, 4, NOW - 3 * DAY)
    for number in (1, 2, 3, 4):
        add(
            store, "breakers", process=number, router=1, name="openai", target=1, state="closed", reason="",
            changed_at=0, streak=0, opened=0, seen_at=NOW,
        )  # fmt: skip

    tidy(store)

    assert [row["process"] for row in rows(store, "breakers")] == [1]
    assert [row["id"] for row in rows(store, "processes", "id")] == [1, 2, 3]


def test_a_step_forgets_so_many_and_says_that_there_is_more(store: sqlite3.Connection) -> None:
    old = NOW - 3 * DAY
    write(store, [attempt(old + number / 100) for number in range(5000)])
    write(store, [call(old + number / 100) for number in range(5000)])

    assert retention.tidy(store, CONFIG, NOW)
    assert len(rows(store, "attempts")) == 3000
    assert len(rows(store, "calls")) == 5000

    assert 4 <= tidy(store) <= 8
    assert not rows(store, "attempts")
    assert not rows(store, "calls")


def test_nothing_is_done_where_nothing_is_to_do(store: sqlite3.Connection) -> None:
    write(store, everything(NOW - 60))
    before = dump(store)

    assert tidy(store) == 1
    assert dump(store) == before


def test_what_claims_to_be_of_later_keeps_nothing_from_going(store: sqlite3.Connection) -> None:
    write(store, everything(NOW + 300 * DAY))
    write(store, everything(NOW - 500 * DAY))

    tidy(store)

    for table in ("attempts", "calls", "probes", "texts", "rollup_10", "events"):
        assert max(ages(store, table)) == pytest.approx(-300, abs=0.01)


# Pauses of programs that are gone.


def pause(store: sqlite3.Connection, number: int, at: float) -> None:
    write(store, [WatchChanged(at=at, provider="openai", state="paused")], process=number)
    write(store, [NetworkChanged(at=at, up=False)], process=number)


def test_a_pause_ends_with_the_program_that_kept_it(store: sqlite3.Connection) -> None:
    process(store, 1, NOW - 2 * HOUR, started=NOW - 5 * HOUR)
    process(store, 2, NOW - 3 * HOUR, started=NOW - 5 * HOUR, ended=True)
    process(store, 3, NOW, started=NOW - 4 * HOUR)
    pause(store, 1, NOW - 4.5 * HOUR)
    store.execute("UPDATE processes SET seen_at = ? WHERE id = 1", (NOW - 2 * HOUR,))

    tidy(store)

    assert [row["ended"] for row in rows(store, "watch")] == [NOW - 2 * HOUR] * 2


def test_a_pause_of_a_program_that_lives_goes_on(store: sqlite3.Connection) -> None:
    process(store, 1, NOW - 10, started=NOW - 5 * HOUR)
    pause(store, 1, NOW - 4.5 * HOUR)

    tidy(store)

    assert [row["ended"] for row in rows(store, "watch")] == [None, None]


def test_a_pause_of_nobody_known_goes_on(store: sqlite3.Connection) -> None:
    pause(store, 1, NOW - 4.5 * HOUR)

    tidy(store)

    assert [row["ended"] for row in rows(store, "watch")] == [None, None]


# By size.


def size(store: sqlite3.Connection) -> float:
    """MiB of the file."""
    page, pages, _ = retention._pages(store)
    return page * pages / MIB


def fill(store: sqlite3.Connection, count: int, start: float, message: str = "x" * 1900) -> None:
    write(
        store,
        [attempt(start + number / 2, fault=Fault.SERVER, message=message, blamed=True) for number in range(count)],
    )


SMALL = StoreConfig(max_bytes=10 * MIB)


def test_the_oldest_attempts_make_room(store: sqlite3.Connection) -> None:
    for turn in range(40):
        fill(store, 200, NOW - 40 * 100 + turn * 100)
        while retention.make_room(store, SMALL):
            pass
        assert size(store) <= 10

    kept = [row["at"] for row in rows(store, "attempts", "id")]
    assert 1500 < len(kept) < 5000
    assert kept == sorted(kept)
    assert kept[-1] == pytest.approx(NOW - 100 + 99.5)
    assert sum(row["failed"] for row in rows(store, "rollup_10")) == 8000


def test_what_one_step_cannot_do_is_left_to_the_next(
    store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for turn in range(40):
        fill(store, 200, NOW - 40 * 100 + turn * 100)
    monkeypatch.setattr(retention, "_CHUNKS", 1)

    assert retention.make_room(store, SMALL)
    assert len(rows(store, "attempts")) == 6000


def test_whichever_single_records_are_oldest_go_first(store: sqlite3.Connection) -> None:
    write(
        store, [CallTexts(at=NOW - 900 + number, call_id="c", prompt="x" * 20_000, answer="y") for number in range(200)]
    )
    fill(store, 800, NOW - 500)
    write(store, [call(NOW + number, asked_model="x" * 200) for number in range(4000)])
    assert size(store) > 6

    while retention.make_room(store, SMALL):
        pass

    assert len(rows(store, "texts")) < 200
    assert len(rows(store, "calls")) == 4000


def test_there_is_room_until_there_is_none(store: sqlite3.Connection) -> None:
    fill(store, 800, NOW)
    before = dump(store)

    assert not retention.make_room(store, SMALL)
    assert dump(store) == before


def test_counts_go_when_nothing_else_is_left_and_the_finest_first(store: sqlite3.Connection) -> None:
    for turn in range(2):
        names = [f"provider {turn}-{number} {'x' * 100}" for number in range(2000)]
        write(store, [probe(NOW + 10 * step, name, latency_ms=50.0) for step in range(6) for name in names])
    store.execute("DELETE FROM probes WHERE id > 100")
    while not retention._is_full(store, SMALL):
        pad(store, "x" * 50_000)

    while retention.make_room(store, SMALL):
        pass

    assert not rows(store, "probes")
    assert 0 < len(rows(store, "rollup_10")) < 24_000
    assert len(rows(store, "rollup_60")) == 4000
    assert len(rows(store, "rollup_86400")) == 4000


def pad(store: sqlite3.Connection, text: str) -> None:
    """Add something that stays."""
    add(store, "alerts", at=NOW, process=1, rule="down", severity="info", title="", message=text, resolves=0)


def test_a_file_that_is_full_of_what_must_stay_is_left_alone(store: sqlite3.Connection) -> None:
    for _ in range(1200):
        pad(store, "x" * 9000)
    assert size(store) > 10

    assert not retention.make_room(store, SMALL)
    assert not retention.tidy(store, SMALL, NOW)
    assert len(rows(store, "alerts")) == 1200


def test_a_file_that_has_become_too_large_shrinks(store: sqlite3.Connection) -> None:
    for turn in range(30):
        fill(store, 300, NOW - 4000 + turn * 100)
    assert size(store) > 15

    tidy(store, SMALL)

    assert size(store) <= 10
    assert store.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_file_that_was_emptied_gives_back_most_of_it(store: sqlite3.Connection) -> None:
    for turn in range(40):
        fill(store, 150, NOW - 3 * DAY + turn * 100)
    whole = size(store)

    tidy(store)

    assert size(store) < whole / 2


def test_a_file_that_cannot_shrink_is_not_tried_for_ever(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "plain.db", isolation_level=None)) as store:
        from failsafe.telemetry import schema

        for statement in schema.VERSION_1:
            store.execute(statement)
        for turn in range(30):
            fill(store, 300, NOW - 4000 + turn * 100)

        tidy(store, SMALL)

        assert size(store) > 10


def test_compacting_leaves_no_gaps_and_loses_nothing(store: sqlite3.Connection) -> None:
    fill(store, 1000, NOW)
    store.execute("DELETE FROM attempts WHERE id % 2")
    before = dump(store)

    retention.compact(store)

    assert retention._pages(store)[2] == 0
    assert dump(store) == before


def test_a_step_that_fails_is_undone(store: sqlite3.Connection) -> None:
    write(store, everything(NOW - 500 * DAY))
    store.execute("CREATE TRIGGER stop BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'no'); END")
    before = dump(store)

    with pytest.raises(sqlite3.IntegrityError):
        retention.tidy(store, CONFIG, NOW)

    assert dump(store) == before
    assert not store.in_transaction


def test_a_tag_for_every_call_fills_no_file_and_what_was_spent_stays_exact(
    store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_CROWDED", 50)
    monkeypatch.setattr(retention, "_KEPT_TAGS", 10)
    for day, count in (("2026-11-23", 40), ("2026-11-24", 60)):
        for number in range(count):
            add(
                store, "costs", day=day, target=number % 2, model=1, tag=f"t{number:02}" if number else "",
                answers=1, cost=number, unpriced=2,
            )  # fmt: skip
    for _ in range(2):  # the second time there is nothing to do
        tidy(store, now=1_795_500_000.0)
        by_day = "SELECT count(*), sum(answers), sum(cost), sum(unpriced) FROM costs GROUP BY day ORDER BY day"
        assert store.execute(by_day).fetchall() == [(40, 40, sum(range(40)), 80), (13, 60, sum(range(60)), 120)]
        kept = {tag for (tag,) in store.execute("SELECT tag FROM costs WHERE day = '2026-11-24'")}
        assert kept == {"", retention.OTHER_TAGS, *(f"t{number}" for number in range(50, 60))}
