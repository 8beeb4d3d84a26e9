"""``failsafe status``: what it says of providers, breakers and programs, and how it goes on."""

from __future__ import annotations

import json
import re
import signal
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from failsafe.cli.app import app
from failsafe.cli.changes import Changes
from failsafe.cli.standing import ProviderStanding, Standing, severity, worst
from failsafe.cli.status_view import breaker, percent, picture, rate, share
from failsafe.clock import SYSTEM_CLOCK
from failsafe.telemetry import database
from failsafe.telemetry.views import BreakerRow, ProcessRow, TargetState
from tests.cli.programs import HARD_CAP, running, until
from tests.cli.recorded import add_breaker, add_process, answered, opened, record, store_with_past
from tests.cli.terminals import shown_by, terminal


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", "--store", str(store), *arguments])


def row(state: str, *, at: float = 0.0, streak: int = 0, retry_at: float | None = None) -> BreakerRow:
    return BreakerRow(
        process=1, pid=1, program="app.py", router=0, name="openai", provider="openai", base_url="https://a.example",
        state=state, reason=f"because {at:g}", changed_at=at, retry_at=retry_at, streak=streak, threshold=5, opened=1,
        seen_at=at,
    )  # fmt: skip


def standing(*providers: ProviderStanding, processes: tuple[ProcessRow, ...] = (), at: float = 1e9) -> Standing:
    return Standing(
        at=at, store="/s.db", window=3600.0, in_trouble=any(each.in_trouble for each in providers),
        providers=providers, processes=processes,
    )  # fmt: skip


def provider(state: str = "up", *rows: BreakerRow, name: str = "openai", coverage: float = 1.0) -> ProviderStanding:
    return ProviderStanding(
        provider=name, base_url="https://a.example", state=TargetState(state), uptime_24h=99.98, coverage_24h=coverage,
        uptime_30d=100.0, coverage_30d=coverage, p50_ms=85.4, p95_ms=2346.0, answered=250, failed=1,
        error_rate=1 / 251, breaker=worst(rows), last_seen=1e9 - 3,
    )  # fmt: skip


def test_a_line_for_each_provider_and_each_program(store: Path) -> None:
    result = run(store)
    lines = result.stdout.splitlines()
    assert [line.partition(" at ")[0] for line in lines[:3]] == [
        "provider anthropic", "provider gemini", "provider openai",
    ]  # fmt: skip
    assert re.search(r"gemini.*: down; uptime 24h 9\d\.\d\d % of 12 %; .*breaker open, probe in \d+ s;", lines[1])
    assert "; uptime 24h 100 % of 12 %; 30d - of <1 %; in 1h p50 2.33 s; p95 2.33 s; errors 0 % (0 of " in lines[0]
    assert "breaker closed 1/5; seen " in lines[2]
    assert re.fullmatch(r"process \d+ app.py on here: running 66 min; dropped 0", lines[3])
    assert len(lines) == 4


def test_a_provider_that_is_down_exits_with_1_and_those_that_are_up_with_0(store: Path) -> None:
    assert run(store).exit_code == 1
    assert run(store, "openai", "anthropic").exit_code == 0


@pytest.mark.parametrize(("state", "code"), [("closed", 0), ("disabled", 0), ("half_open", 1), ("forced_open", 1)])
def test_a_breaker_that_keeps_calls_away_exits_with_1(store: Path, state: str, code: int) -> None:
    add_breaker(store, "openai", state, at=SYSTEM_CLOCK.time())
    assert run(store, "openai").exit_code == code


def test_of_a_program_that_has_died_no_breaker_counts(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    now = SYSTEM_CLOCK.time()
    record(path, [answered(now - 5)])
    add_process(path, seen_at=now - 600)
    add_breaker(path, "openai", "open", at=now - 600)
    result = run(path)
    assert result.exit_code == 0
    assert "breaker -;" in result.stdout
    assert "no program that records is running" in result.stdout


def test_everything_as_json(store: Path) -> None:
    found = json.loads(run(store, "--json").stdout)
    assert found["in_trouble"] is True
    assert [(each["provider"], each["state"]) for each in found["providers"]] == [
        ("anthropic", "up"), ("gemini", "down"), ("openai", "up"),
    ]  # fmt: skip
    assert found["providers"][1]["breaker"]["state"] == "open"
    assert found["providers"][2]["uptime_30d"] is None
    assert found["processes"][0]["program"] == "app.py"


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    database.connect(tmp_path / "store.db").close()
    result = run(tmp_path / "store.db")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("nothing is recorded yet")


def test_no_store_exits_with_2_and_names_the_file(tmp_path: Path) -> None:
    result = run(tmp_path / "none.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(tmp_path / "none.db") in result.stderr
    assert not (tmp_path / "none.db").exists()


def test_a_store_that_is_off_exits_with_2_and_says_who_has_said_so() -> None:
    result = CliRunner().invoke(app, ["status"], env={"FAILSAFE_STORE": "off"})
    assert result.exit_code == 2
    assert "turned off (by the variable FAILSAFE_STORE)" in result.stderr


def test_the_store_of_the_settings_is_read_without_their_keys(store: Path, tmp_path: Path) -> None:
    settings = tmp_path / "failsafe.toml"
    settings.write_text(f'store = "{store}"\n[providers.openai]\napi_key = "env:NOT_SET_ANYWHERE"\n', encoding="utf-8")
    settings.chmod(0o600)
    result = CliRunner().invoke(app, ["status", "--config", str(settings)])
    assert "provider openai" in result.stdout


def test_a_damaged_store_exits_with_2(tmp_path: Path) -> None:
    path = store_with_past(tmp_path / "store.db")
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 20_000)
    result = run(path)
    assert result.exit_code == 2
    assert result.stderr.startswith("StoreUnavailable: the store ")


def test_who_is_unknown_is_refused(store: Path) -> None:
    result = run(store, "opnai")
    assert result.exit_code == 2
    assert "nothing is recorded of opnai" in result.stderr


def test_providers_not_observed_for_30_days_are_left_out(store: Path) -> None:
    with opened(store) as connection:
        connection.execute("INSERT INTO targets (name, base_url) VALUES ('old', 'http://127.0.0.1:9')")
    assert "old" not in run(store).stdout.replace("not observed", "")
    assert "1 provider was not observed for 30 days; --all shows them too" in run(store).stdout
    assert "provider old at http://127.0.0.1:9: unknown; uptime 24h - of 0 %" in run(store, "--all").stdout


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_table_fits_the_terminal(store: Path, columns: int) -> None:
    code, lines = shown_by("status", "--store", str(store), columns=columns)
    assert code == 1
    assert lines[0].startswith("provider")
    assert max(map(len, lines)) <= columns
    assert ("p95 1h" in lines[0]) is (columns == 120)
    assert ("p50" in lines[0]) is (columns >= 80)
    assert any(line.startswith("gemini") and "down" in line for line in lines)
    assert ("* of the time" in "\n".join(lines)) is (columns < 120)


def test_colours_only_where_they_are_wanted(store: Path) -> None:
    _, coloured = shown_by("status", "--store", str(store), colours=True)
    assert any("\x1b[1;31mdown" in line for line in coloured)
    assert "\x1b" not in run(store).stdout


def test_nothing_recorded_can_move_the_cursor(store: Path) -> None:
    for arguments in (["status"], ["breakers"], ["tail"]):
        _, lines = shown_by(*arguments, "--store", str(store), columns=200)
        assert "\x1b" not in "".join(lines)


def test_two_addresses_of_one_name_are_told_apart() -> None:
    twice = Console(width=120, file=StringIO())
    twice.print(picture(standing(provider(), provider()), 120))
    assert twice.file.getvalue().count("openai (a.example)") == 2  # type: ignore[attr-defined]


def test_watching_at_a_terminal_draws_again_until_q_is_pressed(store: Path) -> None:
    with terminal("status", "--watch", "--store", str(store)) as screen:
        screen.read_until(lambda shown: shown.count(b"of 3 in trouble") >= 2)
        screen.press("q")
        screen.read_until(lambda shown: b"\x1b[?1049l" in shown)
        assert screen.process.wait(HARD_CAP) == 0
    assert screen.shown.count(b"\x1b[?25l") == screen.shown.count(b"\x1b[?25h") == 1  # the cursor is given back


def test_watching_elsewhere_prints_a_line_for_each_change(store: Path) -> None:
    with running("status", "--watch", "--store", str(store)) as process:
        until(process.stdout, "breaker openai: closed")
        add_breaker(store, "openai", "open", at=SYSTEM_CLOCK.time(), reason="5 failures")
        assert re.match(
            r"20\S+ breaker openai: closed -> open \(5 failures\)$", until(process.stdout, "openai: closed")
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(HARD_CAP) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_watching_goes_on_when_the_store_goes_and_comes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with running("status", "--watch", "--json", "--store", str(path)) as process:
        assert "there is no store" in until(process.stdout, '"subject":"store"')
        store_with_past(path)
        until(process.stdout, '"new":"readable"')
        gemini = json.loads(until(process.stdout, '"name":"gemini"'))
        assert (gemini["subject"], gemini["new"]) == ("provider", "down")
        process.send_signal(signal.SIGTERM)
        assert process.wait(HARD_CAP) == 0


def test_watching_ends_when_nobody_reads_on(store: Path) -> None:
    with running("status", "--watch", "--store", str(store)) as process:
        until(process.stdout, "process")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(HARD_CAP) == 0


def test_changes_are_told_once() -> None:
    changes = Changes()
    first = [change.line().partition(" ")[2] for change in changes.since(standing(provider("up", row("closed"))), 0.0)]
    assert first == ["provider openai: up", "breaker openai: closed (because 0)"]
    assert list(changes.since(standing(provider("up", row("closed"))), 1.0)) == []
    (fell,) = changes.since(standing(provider("down", row("closed"))), 2.0)
    assert (fell.subject, fell.old, fell.new) == ("provider", "up", "down")
    assert [change.new for change in changes.since(standing(), 3.0)] == ["gone", "gone"]
    assert [change.reason for change in changes.since("it is gone", 4.0)] == ["it is gone"]
    assert list(changes.since("it is gone", 5.0)) == []
    assert [change.new for change in changes.since(standing(), 6.0)] == ["readable"]


def test_the_worst_breaker_stands_for_all() -> None:
    found = worst([row("closed"), row("open", at=1.0), row("open", at=2.0), row("half_open", at=3.0)])
    assert found is not None
    assert (found.state, found.reason, found.count, found.barred) == ("open", "because 2", 4, 3)
    assert worst([]) is None
    assert severity("something newer") > severity("forced_open")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "-"),
        ([row("closed")], "closed"),
        ([row("closed", streak=3)], "closed 3/5"),
        ([row("open", retry_at=112.0)], "open, probe in 12 s"),
        ([row("open", retry_at=99.0)], "open, probe due"),
        ([row("open"), row("closed")], "open (1 of 2)"),
        ([row("forced_open")], "forced open"),
    ],
)
def test_a_breaker_in_words(rows: list[BreakerRow], said: str) -> None:
    assert breaker(worst(rows), 100.0) == said


def test_figures_say_no_more_than_is_known() -> None:
    assert [percent(each) for each in (None, 100.0, 99.99, 99.9, 0.0)] == ["-", "100 %", "99.99 %", "99.90 %", "0.00 %"]
    assert [share(each) for each in (0.0, 0.004, 0.999, 1.0)] == ["0 %", "<1 %", "99 %", "100 %"]
    shown = [rate(each) for each in (None, 0.0, 0.0001, 0.004, 0.0995, 1.0)]
    assert shown == [
        "-",
        "0 %",
        "<0.1 %",
        "0.4 %",
        "10 %",
        "100 %",
    ]
