"""What the guide of the store says is so: its examples run, its queries answer, its figures are those of the rule."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from failsafe.faults import Fault
from failsafe.telemetry import database, schema, settling
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.views import TargetState
from failsafe.testing import FakeClock
from tests.telemetry.past import NOON, PROCESS, Past, every_30_s
from tests.test_policy_docs import DOCS, run_examples

GUIDE = (DOCS / "store.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("store.md")
    printed = capsys.readouterr().out.splitlines()
    assert printed[-4:] == ["openai up 100.0 2880 0.1", "48 1800 60", "[]", "CallFinished shop"]


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_finds_something(query: str, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(database.connect(path)) as writer:
        shift = NOON - sqlite_now(writer) + 600
        past = Past(writer)
        past.answered(*(each - shift for each in every_30_s(0, 300)))
        past.record(
            past.attempt(300 - shift, call="one", fault=Fault.SERVER, blamed=True),
            past.attempt(301 - shift, provider="b", call="one"),
        )
        writer.execute(
            "INSERT INTO calls (at, process, call, asked, attempts, latency, tag, maybe_billed) "
            "VALUES (1, 7, 'one', 'm', 2, 3, '', 0)"
        )
        writer.execute("INSERT INTO costs (day, target, model, tag, cost) VALUES (date(), 1, 1, 'shop', 2500000000000)")
        writer.execute(
            "INSERT INTO breakers VALUES (7, 0, 'a', 1, 'open', 'because', 1, unixepoch() + 9, 0, 5, 1, unixepoch())"
        )
        writer.execute("UPDATE processes SET seen_at = unixepoch()")
        settling.settle(writer, PROCESS, float(sqlite_now(writer)))
        with closing(database.connect(path, read_only=True)) as reader:
            assert reader.execute(query).fetchall()


def sqlite_now(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT unixepoch()").fetchone()[0]
    return found


@pytest.mark.parametrize(
    ("told", "failing", "missing", "fault"),
    [
        ("an answer each time", 0, 0, None),
        ("one failure", 1, 0, None),
        ("two failures in a row", 2, 0, None),
        ("three failures in a row", 3, 0, None),
        ("the laptop slept for five minutes", 0, 10, None),
        ("the key was rejected throughout", 20, 0, Fault.AUTH),
    ],
)
def test_the_table_of_examples_is_right(told: str, failing: int, missing: int, fault: Fault | None) -> None:
    [row] = re.findall(rf"^\| {told} \| (\d+) s \| (\d+) s \| (\d+) s \| (\S+) \| (\S+) % \|$", GUIDE, re.MULTILINE)
    up, down, unknown, percentage, coverage = row
    with closing(database.connect(None)) as connection:
        past = Past(connection)
        moments = list(every_30_s(0, 570))
        first = 0 if failing == len(moments) else 5
        past.failed(*moments[first : first + failing], fault=fault or Fault.SERVER, blamed=fault is None)
        past.answered(*moments[:first], *moments[first + failing + missing :])
        found = StoreReader.over(connection, clock=FakeClock(wall=NOON + 600)).uptime(1, NOON, NOON + 600)
    assert (found.seconds[TargetState.UP], found.seconds[TargetState.DOWN]) == (float(up), float(down))
    assert found.seconds[TargetState.UNKNOWN] == float(unknown)
    assert found.percentage == (None if percentage == "none" else float(percentage))
    assert found.coverage == pytest.approx(float(coverage) / 100)


def test_every_table_is_described() -> None:
    tables = {
        match.group(1)
        for statement in schema.VERSION_1
        if (match := re.search(r"CREATE TABLE (\w+)", statement)) is not None
    }
    described = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", GUIDE, re.MULTILINE))))
    assert tables <= described
