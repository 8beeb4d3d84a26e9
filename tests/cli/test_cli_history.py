"""``failsafe history``: one provider over a time."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from failsafe.cli import history_view
from failsafe.cli.app import app
from failsafe.cli.history_view import LETTERS, Past, lines, strip
from failsafe.telemetry.views import Counts, ErrorBudget, Incident, Latency, Span, Target, TargetState, Uptime
from tests.cli.recorded import opened, store_with_past
from tests.cli.terminals import shown_by

UP, DOWN, UNKNOWN = TargetState.UP, TargetState.DOWN, TargetState.UNKNOWN
TARGET = Target(id=1, name="openai", base_url="https://a.example", sla=99.9)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["history", "--store", str(store), *arguments])


def span(began: float, ended: float, state: TargetState) -> Span:
    return Span(began=began, ended=ended, state=state)


def drawn(*spans: Span, cells: int = 10) -> str:
    return strip(spans, 0.0, 100.0, cells, LETTERS).plain


def test_what_was_is_told_line_by_line(store: Path) -> None:
    result = run(store, "openai")
    assert (result.exit_code, result.stderr) == (0, "")
    said = result.stdout.splitlines()
    assert said[0] == "openai at https://api.openai.com/v1"
    assert said[1].endswith("(24h)")
    assert "12 % of the time that was observed; up 2 h, down 10 min, unknown 20 h" in said[2]
    assert said[3].startswith("sla       99.9 %: down 10 min of 43 min in 30 days, 33 min left")
    assert said[4].startswith("outcomes  510 answered, 30 failed (5.6 %)")
    assert said[5].startswith("latency   p50 121 ms, ")
    assert said[6] == "faults    overloaded 30"
    assert len(said[8]) == 72
    assert said[8].lstrip(".").startswith("-")
    assert "X" in said[8]
    assert " for 10 min: 30 failures (overloaded 30)" in said[-1]


def test_a_window_that_is_over_and_one_with_a_downtime_that_goes_on(store: Path) -> None:
    assert run(store, "openai", "--window", "10m").stdout.endswith("no downtime in this window\n")
    assert " and goes on: 1" in run(store, "gemini", "--window", "1h").stdout
    assert "unknown 60 min" in run(store, "openai", "--window", "1h", "--until", "7d").stdout


def test_everything_as_json(store: Path) -> None:
    (found,) = json.loads(run(store, "openai", "--json").stdout)
    assert found["target"]["name"] == "openai"
    assert found["faults"] == {"overloaded": 30}
    assert [each["failures"] for each in found["incidents"]] == [30]
    assert {each["state"] for each in found["spans"]} == {"up", "down", "unknown"}


def test_each_address_of_a_name_is_shown(store: Path) -> None:
    with opened(store) as connection:
        connection.execute("INSERT INTO targets (name, base_url) VALUES ('openai', 'http://127.0.0.1:9/v1')")
    said = run(store, "openai").stdout
    assert "openai at http://127.0.0.1:9/v1" in said
    assert "uptime    not known: 0 % of the time was observed; unknown 24 h" in said


@pytest.mark.parametrize(("name", "said"), [("opnai", "did you mean openai?"), ("qqq", "provider 'qqq'\n")])
def test_who_is_unknown_is_refused_with_a_guess(store: Path, name: str, said: str) -> None:
    result = run(store, name)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--window", "soon"], ["--window", "0s"], ["--window", "99999d"], ["--until", "then"]]
)
def test_times_of_no_sense_are_refused(store: Path, arguments: list[str]) -> None:
    result = run(store, "openai", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_the_strip_is_as_wide_as_the_terminal(store: Path, columns: int) -> None:
    code, shown = shown_by("history", "openai", "--store", str(store), columns=columns)
    assert code == 0
    assert max(map(len, shown)) <= columns
    (cells,) = [line for line in shown if line and set(line) <= set("▂▅█·")]
    assert len(cells) == min(columns, 144)


def test_a_short_outage_is_seen_in_a_wide_window() -> None:
    assert drawn(span(0, 100, UP)) == "-" * 10
    assert drawn(span(0, 50, UP), span(50, 50.5, DOWN), span(50.5, 100, UP)) == "-----X----"
    assert drawn(span(0, 50, UNKNOWN), span(50, 100, UP)) == ".....-----"
    assert drawn() == "." * 10


def test_a_cell_shows_nothing_of_what_ends_at_its_begin() -> None:
    assert drawn(span(0, 50, DOWN), span(50, 100, UP)) == "XXXXX-----"
    assert drawn(span(-50, 30, DOWN), span(30, 150, UP)) == "XXX-------"


def test_faults_of_whole_quarters_are_named_and_not_counted_beside_the_failures_of_an_incident() -> None:
    one = Incident(target=TARGET, began=0.0, ended=90.0, failures=11, faults={"server": 40, "timeout": 2})
    (line,) = history_view._incidents([one], 100.0)
    assert line.plain.endswith(": 11 failures (server, timeout)")
    (line,) = history_view._incidents([msgspec.structs.replace(one, failures=42)], 100.0)
    assert line.plain.endswith(": 42 failures (server 40, timeout 2)")


def test_many_incidents_are_cut_to_the_last_ones() -> None:
    incidents = [
        Incident(target=TARGET, began=float(at), ended=at + 60.0, failures=1, faults={}) for at in range(0, 2500, 100)
    ]
    past = Past(
        target=TARGET, uptime=Uptime(began=0.0, ended=3000.0, percentage=50.0, coverage=1.0, seconds={UP: 1500.0}),
        budget=ErrorBudget(sla=99.9, allowed=10.0, used=30.0, left=-20.0), counts=Counts(excused=1, other=2, slow=3),
        latency=Latency(), faults={}, incidents=incidents, spans=(),
    )  # fmt: skip
    said = [line.plain for line in lines(past, 4, LETTERS)]
    assert sum(line.startswith("down from ") for line in said) == 20
    assert said[-1] == "and 5 earlier ones; --json has them all"
    assert "broken by 20 s" in said[3]
    assert said[4].endswith("1 failed for reasons of this side, 2 refused, 3 slow")
    assert said[5] == "latency   -"
