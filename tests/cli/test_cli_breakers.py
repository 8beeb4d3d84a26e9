"""``failsafe breakers``: what it lists, and what running programs do when they are told to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.clock import SYSTEM_CLOCK
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.events import CircuitState
from failsafe.monitoring_config import StoreConfig
from failsafe.router import Router
from failsafe.sim import FakeCloud
from failsafe.telemetry import commands
from tests.cli.recorded import add_breaker, add_process, opened, store_with_past
from tests.cli.terminals import shown_by


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["breakers", *arguments, "--store", str(store)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    """A program that is running: a router that records into ``live.db``, and has."""
    with FakeCloud.of("openai", "anthropic") as cloud:
        providers = [ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key) for each in cloud]
        config = RouterConfig(
            providers=providers,
            aliases={"fast": ["gpt-4.1-mini", "claude-haiku-4-5"]},
            store=StoreConfig(path=str(tmp_path / "live.db")),
        )
        with Router(config) as made:
            for name in ("openai", "anthropic"):
                made.chat("Hi", model=f"{name}:{'gpt-4.1-mini' if name == 'openai' else 'claude-haiku-4-5'}")
            assert made.store is not None
            assert made.store.flush()
            yield made


@pytest.fixture
def live(router: Router, tmp_path: Path) -> Path:
    return tmp_path / "live.db"


def test_every_breaker_of_a_running_program_is_listed_the_worst_first(store: Path) -> None:
    result = run(store)
    assert result.exit_code == 0
    first, *others = result.stdout.splitlines()
    assert re.fullmatch(
        rf"breaker gemini of {os.getpid()} app.py, router 0: open, probe in \d+ s \(5 failures \[2J in a row\); "
        r"since 20\S+; opened 2x",
        first,
    )
    assert [line.split()[1] for line in others] == ["anthropic", "openai"]
    assert run(store, "list").stdout.partition("probe")[0] == result.stdout.partition("probe")[0]


def test_a_list_of_one_provider_and_as_json(store: Path) -> None:
    (only,) = json.loads(run(store, "list", "gemini", "--json").stdout)
    assert (only["name"], only["state"], only["threshold"]) == ("gemini", "open", 5)
    assert json.loads(run(store, "--json").stdout)[0]["name"] == "gemini"
    assert run(store, "list", "qqq").stdout == "no breaker of such a name is in a running program\n"


def test_programs_that_have_died_have_no_breakers(tmp_path: Path) -> None:
    result = run(store_with_past(tmp_path / "store.db", alive=False))
    assert (result.exit_code, result.stdout) == (0, "no running program has a breaker\n")


def test_bytes_where_a_text_belongs_are_shown_and_do_not_end_the_command(store: Path) -> None:
    with opened(store) as connection:  # SQLite holds anything in any column, and another user may have put it there
        connection.execute("UPDATE breakers SET reason = x'ff1b'")
    result = run(store)
    assert result.exit_code == 0
    assert "b'\\xff\\x1b'" in result.stdout


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal_and_no_reason_is_lost(store: Path, columns: int) -> None:
    code, lines = shown_by("breakers", "--store", str(store), columns=columns)
    assert code == 0
    assert max(map(len, lines)) <= columns
    assert "5 failures [2J in a row" in "\n".join(lines)


@pytest.mark.usefixtures("expect_logs")
def test_a_running_program_does_what_it_is_told_and_says_so(router: Router, live: Path) -> None:
    result = run(live, "force-open", "openai")
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(rf"{os.getpid()} \S+: openai: forced_open\n", result.stdout)
    states = {name: stats.state for name, stats in router.breakers.stats().items()}
    assert states == {"openai": CircuitState.FORCED_OPEN, "anthropic": CircuitState.CLOSED}
    (answer,) = json.loads(run(live, "reset", "--all", "--json").stdout)
    assert answer["done"] is True
    assert answer["outcome"] == "openai: closed, anthropic: closed"
    assert router.breakers.get("openai").state is CircuitState.CLOSED


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize(
    ("action", "said"),
    [("disable", "openai: disabled"), ("drain", "openai: draining"), ("resume", "openai: takes calls")],
)
def test_every_action_arrives(router: Router, live: Path, action: str, said: str) -> None:
    assert said in run(live, action, "openai", "--process", str(os.getpid())).stdout


@pytest.mark.usefixtures("router")
def test_a_program_that_does_not_answer_is_named_and_is_no_success(live: Path) -> None:
    add_process(live, 77, seen_at=SYSTEM_CLOCK.time(), pid=4711, program="stuck.py")
    result = run(live, "resume", "openai", "--process", "4711", "--wait", "1s")
    assert result.exit_code == 1
    assert result.stdout == "4711 stuck.py: has not answered yet\n"
    assert result.stderr == "nobody has done it\n"
    with opened(live) as connection:
        rows = connection.execute("SELECT process, target, action, until - at FROM commands").fetchall()
    assert rows == [(77, "openai", "resume", pytest.approx(commands.VALID_FOR))]  # for that process alone


@pytest.mark.usefixtures("router")
def test_that_nobody_has_such_a_provider_is_no_success(live: Path) -> None:
    with opened(live) as connection:
        connection.execute("INSERT INTO targets (name, base_url) VALUES ('old', 'http://127.0.0.1:9')")
    result = run(live, "reset", "old")
    assert result.exit_code == 1
    assert result.stdout.endswith(f": {commands.NOT_HERE}\n")


def test_without_a_running_program_nothing_is_sent(tmp_path: Path) -> None:
    path = store_with_past(tmp_path / "store.db", alive=False)
    result = run(path, "reset", "openai")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "no program that records is running: nothing was done\n"
    assert json.loads(run(path, "reset", "openai", "--json").stdout) == []
    with opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM commands").fetchone() == (0,)


def test_a_program_that_does_not_run_is_no_target(store: Path) -> None:
    result = run(store, "reset", "openai", "--process", "1")
    assert result.exit_code == 1
    assert "no program with the number 1 is running" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reset"], "name a PROVIDER, or --all"),
        (["reset", "openai", "--all"], "name a PROVIDER, or --all; not both"),
        (["reset", "opnai"], "did you mean openai?"),
        (["rset", "openai"], "No such command 'rset'"),
        (["reset", "openai", "--wait", "x"], "is no length of time"),
    ],
)
def test_what_names_no_target_is_refused(store: Path, arguments: list[str], said: str) -> None:
    result = run(store, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_store_that_cannot_be_written_exits_with_2(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise sqlite3_error()

    monkeypatch.setattr(commands, "send", refuse)
    result = run(store, "reset", "openai")
    assert result.exit_code == 2
    assert "cannot be used (attempt to write a readonly database)" in result.stderr


def sqlite3_error() -> Exception:
    import sqlite3

    return sqlite3.OperationalError("attempt to write a readonly database")


def test_breakers_of_several_routers_are_told_apart(store: Path) -> None:
    add_breaker(store, "openai", "open", at=SYSTEM_CLOCK.time(), router=3)
    assert "breaker openai of" in run(store, "list", "openai").stdout.splitlines()[0]
    assert ", router 3: open" in run(store, "list", "openai").stdout.splitlines()[0]
