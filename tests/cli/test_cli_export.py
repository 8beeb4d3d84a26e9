"""``failsafe export``: every table in every format, and what is left when it goes wrong."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from failsafe.cli.app import app
from failsafe.cli.export_formats import FORMATS, harmless, utc
from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import StateChanged
from failsafe.telemetry import database, extracts, schema
from failsafe.telemetry.extracts import NAMES, Extract, extract, pages
from tests.cli.programs import FAILSAFE, ROOT
from tests.cli.recorded import answered, called, failed, opened, record, store_with_past
from tests.cli.terminals import shown_by

Pages = Iterator[list[list[Any]]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments, "--store", str(store)])


def rows_of(store: Path, name: str) -> int:
    table = "rollup_900" if name == "rollups" else name
    with opened(store) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_row_comes_in_every_format(store: Path, name: str, tmp_path: Path) -> None:
    from pyarrow import parquet

    with opened(store) as connection:
        connection.execute("INSERT INTO spans VALUES (1, 10.0, 20.0, 'up'), (1, 20.0, 30.0, 'down')")
    expected = rows_of(store, name)
    columns = [column.name for column in extract(name).columns]
    as_csv = [*csv.reader(run(store, name).stdout.splitlines())]
    as_json = json.loads(run(store, name, "--json").stdout)
    as_lines = [json.loads(line) for line in run(store, name, "--format", "jsonl").stdout.splitlines()]
    path = tmp_path / "out.parquet"
    result = run(store, name, "-o", str(path))
    as_parquet = parquet.read_table(path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{expected:,} row{'' if expected == 1 else 's'} of {name} in {path}\n"
    assert expected > 0
    assert as_csv[0] == columns == as_parquet.column_names == [*as_json[0]]
    assert [len(as_csv) - 1, len(as_json), len(as_lines), as_parquet.num_rows] == [expected] * 4
    assert as_json == as_lines


def test_an_empty_table_has_its_names_and_an_empty_array(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    database.connect(path).close()
    assert run(path, "calls").stdout.startswith("at,id,call_id,")
    assert run(path, "calls", "--json").stdout == "[]\n"
    assert run(path, "calls", "--format", "jsonl").stdout == ""
    assert run(path, "calls", "-o", str(tmp_path / "calls.parquet")).exit_code == 0


def test_figures_are_exact_and_times_are_utc(tmp_path: Path) -> None:
    from pyarrow import parquet

    path, out = tmp_path / "store.db", tmp_path / "attempts.parquet"
    record(path, [answered(1795523400.25), failed(1795523401.0)])
    good, bad = csv.DictReader(run(path, "attempts").stdout.splitlines())
    assert (good["at"], good["cost_usd"], good["hedge"]) == ("2026-11-24T12:30:00.250Z", "0.000123456789", "false")
    assert (bad["cost_usd"], bad["fault"], bad["maybe_billed"], bad["blamed"]) == ("", "overloaded", "true", "true")
    assert '"cost_usd":0.000123456789,' in run(path, "attempts", "--json").stdout
    run(path, "attempts", "-o", str(out))
    first, second = parquet.read_table(out).to_pylist()
    assert first["cost_usd"] == Decimal("0.000123456789")
    assert (first["at"].isoformat(), first["prompt_tokens"]) == ("2026-11-24T12:30:00.250000+00:00", 100)
    assert second["cost_usd"] is None


def test_an_event_comes_with_its_fields(store: Path) -> None:
    moved = json.loads(run(store, "events", "--format", "jsonl").stdout.splitlines()[0])
    assert (moved["kind"], moved["provider"], moved["data"]["new"]) == ("StateChanged", "gemini", "open")


def test_from_and_to_cut_the_time(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    now = SYSTEM_CLOCK.time()
    record(path, [called(now - seconds) for seconds in (7000, 3500, 100)])
    assert len(run(path, "calls", "--from", "1h").stdout.splitlines()) == 3
    assert len(run(path, "calls", "--from", "1h", "--to", "10m").stdout.splitlines()) == 2
    assert len(run(path, "calls", "--to", "now").stdout.splitlines()) == 4


def test_costs_go_by_days_and_one_that_has_begun_belongs_to_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    record(path, [answered(1795523400.0 + 86_400 * day) for day in range(3)])  # 24, 25 and 26 November, 12:30 UTC

    def days(*arguments: str) -> list[str]:
        return [row["day"] for row in csv.DictReader(run(path, "costs", *arguments).stdout.splitlines())]

    assert days() == ["2026-11-24", "2026-11-25", "2026-11-26"]
    assert days("--from", "2026-11-25T13:00Z") == ["2026-11-25", "2026-11-26"]
    assert days("--to", "2026-11-25T00:00Z") == ["2026-11-24"]
    assert days("--to", "2026-11-25T00:00:01Z") == ["2026-11-24", "2026-11-25"]


def test_rollups_have_the_length_that_is_asked_for(store: Path) -> None:
    for text, seconds in (("10s", 10), ("1m", 60), ("1d", 86_400)):
        row = next(csv.DictReader(run(store, "rollups", "--every", text).stdout.splitlines()))
        assert row["seconds"] == str(seconds)
        assert 1 <= float(row["p50_ms"]) <= float(row["p99_ms"])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", '=HYPERLINK("http://x")', "＝1"])  # noqa: RUF001
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    path = tmp_path / "store.db"
    record(path, [failed(1.0, message=text), called(2.0, tag=text)])
    message = next(csv.DictReader(run(path, "attempts").stdout.splitlines()))["message"]
    assert message.startswith(("'", " "))
    tag = json.loads(run(path, "calls", "--json").stdout)[0]["tag"]
    assert tag.strip() == text.strip()  # other formats hold it as it is


@given(st.text())
def test_harmless_text_is_changed_only_where_it_must_be(text: str) -> None:
    shown = harmless(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert "\x1b" not in shown
    if text.isprintable() and not text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")):  # noqa: RUF001
        assert shown == text


def test_what_is_no_time_is_empty() -> None:
    assert [utc(each) for each in (math.inf, 1e18, 0.0)] == [None, None, "1970-01-01T00:00:00.000Z"]


def test_the_file_is_for_its_owner_alone_and_replaces_nothing(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    assert run(store, "calls", "-o", str(path)).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine", encoding="utf-8")
    refused = run(store, "calls", "-o", str(path))
    assert refused.exit_code == 2
    assert f"{path} is there already; --force replaces it" in refused.stderr
    assert path.read_text(encoding="utf-8") == "mine"
    assert run(store, "calls", "-o", str(path), "--force").exit_code == 0
    assert path.read_text(encoding="utf-8").startswith("at,id,")


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("form", [*FORMATS])
def test_nothing_is_left_of_a_file_that_could_not_be_written(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException | type[BaseException],
    form: str,
) -> None:
    def break_off(store: sqlite3.Connection, wanted: Extract, began: object, ended: object) -> Pages:
        yield from pages(store, wanted, began, ended, 100)
        raise problem

    monkeypatch.setattr(extracts, "pages", break_off)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "kept").write_text("mine", encoding="utf-8")
    result = run(store, "calls", "--format", form, "-o", str(folder / "kept"), "--force")
    assert result.exit_code == (130 if problem is KeyboardInterrupt else 1)
    assert [path.name for path in folder.iterdir()] == ["kept"]
    assert (folder / "kept").read_text(encoding="utf-8") == "mine"


def test_a_signal_ends_it_between_two_pages(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(store: sqlite3.Connection, wanted: Extract, began: object, ended: object) -> Pages:
        for number, page in enumerate(pages(store, wanted, began, ended, 10)):
            assert number < 2, "it goes on"
            os.kill(os.getpid(), signal.SIGTERM)
            yield page

    monkeypatch.setattr(extracts, "pages", interrupted)
    assert run(store, "calls", "-o", str(tmp_path / "calls.csv")).exit_code == 130
    assert not [path for path in tmp_path.iterdir() if "calls.csv" in path.name]


def test_a_device_is_written_directly(store: Path) -> None:
    assert run(store, "calls", "-o", os.devnull).exit_code == 0
    assert Path(os.devnull).is_char_device()
    assert run(store, "calls", "-o", "-").stdout.startswith("at,id,")


def test_a_reader_that_has_enough_ends_it_quietly(store: Path) -> None:
    with subprocess.Popen(
        [*FAILSAFE, "export", "attempts", "--store", str(store)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["qqq"], "is not one of"),
        (["calls", "--format", "xml"], "is not one of"),
        (["calls", "--json", "--format", "csv"], "contradict"),
        (["calls", "--from", "soon"], "is no time"),
        (["calls", "-o", "/nowhere/calls.csv"], "/nowhere/calls.csv: No such file or directory"),
        (["calls", "--from", "1h", "--to", "2h"], "--from is not before --to"),
    ],
)
def test_what_makes_no_sense_is_refused(store: Path, arguments: list[str], said: str) -> None:
    result = run(store, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr


def test_parquet_is_nothing_for_a_terminal(store: Path) -> None:
    code, lines = shown_by("export", "calls", "--format", "parquet", "--store", str(store), columns=120)
    assert code == 2
    assert "name a file with -o" in "\n".join(lines)


def test_without_pyarrow_one_line_names_the_extra(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run(store, "calls", "-o", str(tmp_path / "calls.parquet"))
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: Parquet needs pyarrow; pip install 'failsafe-llm[parquet]'\n",
    )
    assert not (tmp_path / "calls.parquet").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_pages_of_any_size_give_every_row_once_and_in_order(store: Path, name: str, size: int) -> None:
    wanted = extract(name)
    span: tuple[Any, Any] = ("", "a") if wanted.by_day else (-math.inf, math.inf)
    with opened(store) as connection:
        connection.execute(
            "INSERT INTO spans VALUES (1, 10.0, 20.0, 'up'), (1, 20.0, 30.0, 'down'), (2, 1.0, 9.0, 'up')"
        )
        expected = [row for page in pages(connection, wanted, *span) for row in page][:200]
        got: list[list[Any]] = []
        for page in pages(connection, wanted, *span, page=size):
            assert len(page) <= size
            assert not connection.in_transaction  # nothing is held while they are written
            got += page
            if len(got) >= 200:
                break
    assert got[:200] == expected
    assert len(expected) == min(200, rows_of(store, name))


def test_spans_that_reach_into_the_time_belong_to_it(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as connection:
        connection.execute(
            "INSERT INTO spans VALUES (1, 10.0, 20.0, 'up'), (1, 20.0, 30.0, 'down'), (1, 40.0, 50.0, 'up')"
        )
        found = [row[0] for page in pages(connection, extract("spans"), 25.0, 40.0) for row in page]
    assert found == [20.0]


def test_rows_that_come_meanwhile_do_not_disturb(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    record(path, [called(float(at)) for at in range(1, 11)])
    with opened(path) as connection:
        taken = pages(connection, extract("calls"), -math.inf, math.inf, page=4)
        first = next(taken)
        record(path, [called(20.0)])
        with opened(path) as other:
            other.execute("DELETE FROM calls WHERE id IN (1, 2, 6)")
        ids = [row[1] for page in [first, *taken] for row in page]
    assert ids == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]


def test_many_rows_take_no_more_memory_than_a_few(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with opened(path) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) "
            "INSERT INTO calls SELECT i, i, 1, 'call-' || i, 'fast', NULL, NULL, NULL, 1, 10.0, '', 0 FROM n"
        )

        def peak(limit: float) -> int:
            tracemalloc.start()
            with Path(os.devnull).open("wb") as nowhere:
                writer = FORMATS["csv"](nowhere, extract("calls").columns)
                for page in pages(connection, extract("calls"), -math.inf, limit, page=1000):
                    writer.write(page)
                writer.finish()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        peak(10.0)
        assert peak(math.inf) < 2 * peak(3000.0)


def test_every_table_that_can_be_taken_out_has_its_own_columns() -> None:
    for width in schema.ROLLUPS:
        assert extract("rollups", width).columns[1].sql == str(width)
    assert {column.name for name in NAMES for column in extract(name).columns} >= {"provider", "cost_usd", "state"}


def test_a_move_of_a_breaker_without_a_target_is_taken_out_too(tmp_path: Path) -> None:
    from failsafe.events import CircuitState

    path = tmp_path / "store.db"
    event = StateChanged(at=1.0, name="mine", old=CircuitState.CLOSED, new=CircuitState.OPEN, reason="x")
    record(path, [event])
    with opened(path) as connection:
        connection.execute("DELETE FROM targets")
    (row,) = json.loads(run(path, "events", "--json").stdout)
    assert (row["provider"], row["base_url"], row["pid"]) == ("", "", None)
