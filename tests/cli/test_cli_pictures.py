"""What the commands draw at a terminal, without one: every picture fits, and says what the lines say."""

from __future__ import annotations

import importlib
import io
import json
import os
import pty
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from failsafe.cli import keys, output, status
from failsafe.cli.app import app
from failsafe.cli.standing import Choice, Watcher
from failsafe.cli.store_access import Followed
from failsafe.cli.tail import _Following, _Wanted
from failsafe.clock import SYSTEM_CLOCK
from tests.cli.recorded import add_process, answered, opened, record, store_with_past


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


@pytest.fixture
def draw(store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command that takes its output for a terminal of so many columns."""

    def run(*arguments: str, columns: int = 80, path: Path = store) -> Result:
        module = importlib.import_module(f"failsafe.cli.{arguments[0]}")
        monkeypatch.setattr(module, "in_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        command = arguments[0].removesuffix("_view")
        result = CliRunner().invoke(app, [command, *arguments[1:], "--store", str(path)])
        monkeypatch.delenv("COLUMNS")
        return result

    return run


@pytest.mark.parametrize("columns", [30, 60, 80, 100, 120, 200])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status"], "gemini"),
        (["breakers"], "5 failures [2J in a row"),
        (["history", "openai"], "X"),
        (["store", "size"], "attempts"),
    ],
)
def test_every_picture_fits(draw: Callable[..., Result], arguments: list[str], said: str, columns: int) -> None:
    result = draw(*arguments, columns=columns)
    assert result.exit_code == (arguments[0] == "status")
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= columns or arguments == ["store", "size"]  # whose path is not cut
    assert said.split(maxsplit=1)[0] in result.stdout or "█" in result.stdout


def test_a_long_line_of_what_happened_is_not_cut(draw: Callable[..., Result]) -> None:
    result = draw("tail", "-n", "1", "-p", "gemini", columns=30)
    (line,) = result.stdout.splitlines()
    assert line.endswith("no answer [2J within 30 s")


def test_brackets_of_a_tag_or_a_program_are_text_and_no_markup(draw: Callable[..., Result], tmp_path: Path) -> None:
    store = tmp_path / "brackets.db"
    now = SYSTEM_CLOCK.time()
    with opened(store):
        pass
    add_process(store, seen_at=now, program="[/nothing] :cat:")
    record(store, [answered(now - 5, tag=tag) for tag in ("[masked]", "[/red]", "[link=https://evil.example]here[/]")])
    spent = draw("cost_view", "--by", "tag", columns=120, path=store).stdout
    assert "[masked] " in spent
    assert "[/red] " in spent
    assert "[link=https://evil.example]here[/] " in spent
    assert "[/nothing] :cat:" in draw("status", columns=120, path=store).stdout


def test_a_picture_of_nothing(draw: Callable[..., Result], tmp_path: Path) -> None:
    with opened(tmp_path / "empty.db"):
        pass
    said = draw("status", path=tmp_path / "empty.db").stdout
    assert "nothing is recorded yet" in said
    assert "no program that records is running" in said


def test_many_programs_are_counted_and_old_providers_too(draw: Callable[..., Result], store: Path) -> None:
    now = SYSTEM_CLOCK.time()
    for number in range(2, 15):
        add_process(store, number, seen_at=now, pid=5000 + number)
    with opened(store) as connection:
        connection.execute("INSERT INTO targets (name, base_url) VALUES ('a', ''), ('b', '')")
    said = draw("status").stdout
    assert "and 4 more" in said
    assert "2 providers were not observed for 30 days" in said


class _Once(threading.Event):
    """Set by the first wait."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


def _watcher(store: Path) -> Watcher:
    return Watcher(str(store), Choice(providers=(), old=False, window=3600.0))


def test_changes_as_lines_and_as_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Followed(store) as followed:
        status._print_changes(followed, _watcher(store), _Once(), as_json=False)
        status._print_changes(followed, _watcher(store), _Once(), as_json=True)
    said = capsys.readouterr().out.splitlines()
    half = len(said) // 2
    assert said[0].endswith(" provider anthropic: up")
    assert [json.loads(line)["subject"] for line in said[half:]] == [line.split()[1] for line in said[:half]]


def test_a_picture_drawn_over_itself_ends_with_its_last_turn(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Followed(store) as followed:
        status._draw(followed, _watcher(store), _Once())
    with Followed(store.with_name("none.db")) as missing:
        status._draw(missing, _watcher(store), _Once())
        assert "there is no store" in str(status._look(missing, _watcher(store)))
    assert capsys.readouterr().err == ""


def test_the_key_q_ends_the_waiting() -> None:
    stopped = threading.Event()
    status._wait(stopped, lambda: "xQ")
    assert stopped.is_set()


def test_keys_are_read_at_once_and_the_terminal_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    near, far = pty.openpty()
    with open(far, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(far)
        with keys.pressed_keys() as read:
            assert read() == ""
            os.write(near, b"q")
            assert read() == "q"
            assert termios.tcgetattr(far) != before
        assert termios.tcgetattr(far) == before
        monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: -1)  # another program is in the foreground
        with keys.pressed_keys() as read:
            assert read() == ""
            assert termios.tcgetattr(far) == before
    os.close(near)
    os.close(far)


@pytest.mark.parametrize("stdin", [None, io.StringIO("q")])
def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch, stdin: Any) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with keys.pressed_keys() as read:
        assert read() == ""


def test_progress_is_shown_on_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with output.progress() as tell:
        tell("half")
    assert shown.getvalue() == "\r\x1b[Khalf\r\x1b[K"
    monkeypatch.setenv("TERM", "dumb")
    with output.progress() as tell:
        tell("more")
    assert "more" not in shown.getvalue()


def test_that_nobody_reads_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stdout:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", stdout)
        assert output.has_reader()
        os.close(reader)
        assert not output.has_reader()
    monkeypatch.setattr(sys, "stdout", None)
    assert output.has_reader()
    assert not output.in_terminal()
    output.flush()


def _kinds(rows: Any) -> list[str]:
    return [row.data["model"] for row in rows]


def test_following_begins_with_the_last_and_misses_nothing(store: Path) -> None:
    wanted = _Wanted(frozenset({"AttemptFinished"}), "openai")
    with Followed(store) as followed:
        rows = _Following(followed, wanted, 2).rows(threading.Event())
        assert _kinds(next(rows)) == ["gpt-4.1"] * 2
        record(store, [answered(SYSTEM_CLOCK.time(), model="new")])
        assert _kinds(next(rows)) == ["new"]
        assert _kinds(next(rows)) == []


def test_following_reads_a_new_file_from_its_begin(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = store.with_name("other.db")
    record(other, [answered(SYSTEM_CLOCK.time() - 5, model=f"model-{number}") for number in range(3)])
    with Followed(store) as followed:
        rows = _Following(followed, _Wanted(frozenset(), None), 0).rows(threading.Event())
        assert _kinds(next(rows)) == []
        for suffix in ("-wal", "-shm"):
            Path(f"{store}{suffix}").unlink(missing_ok=True)
        other.replace(store)
        assert _kinds(next(rows)) == ["model-0", "model-1", "model-2"]
        store.unlink()
        assert _kinds(next(rows)) == []
        assert _kinds(next(rows)) == []
        record(store, [answered(SYSTEM_CLOCK.time(), model="again")])
        assert _kinds(next(rows)) == ["again"]
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition("; ")[2] for line in said] == [
        "what follows is in the new one", "waiting for it", "what follows is in the new one",
    ]  # fmt: skip


def test_following_ends_when_it_is_stopped(store: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    with Followed(store) as followed:
        assert [*_Following(followed, _Wanted(frozenset(), None), 5).rows(stopped)] == []
