"""The commands that run for a while, as programs; and what all commands share."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import failsafe
from failsafe.cli.app import app
from failsafe.sim import SUMMARIES

ROOT = Path(__file__).resolve().parents[2]
FAILSAFE = [sys.executable, "-m", "failsafe.cli"]
HARD_CAP = 30.0


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*FAILSAFE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], line: str) -> None:
    """Read standard error up to *line*."""
    assert process.stderr is not None
    while line not in (said := process.stderr.readline()):
        assert said, f"ended before it said {line!r}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_finds_the_fake_providers_and_a_signal_ends_them(number: int) -> None:
    with running("sim", "openai", "anthropic=overloaded") as sim:
        until(sim, "Ctrl+C stops them")
        assert sim.stdout is not None
        exports = [sim.stdout.readline() for _ in range(4)]
        variables = dict(line.strip().removeprefix("export ").split("=", 1) for line in exports)
        answer = subprocess.run(
            [*FAILSAFE, "chat", "-m", "gpt-4.1-mini", "Hi"],
            env={**os.environ, **variables}, cwd=ROOT, capture_output=True, text=True, timeout=HARD_CAP, check=True,
        )  # fmt: skip
        assert answer.stdout == "provider openai says: Hi\n"
        sim.send_signal(number)
        assert sim.wait(HARD_CAP) == 0


def test_the_toml_of_the_fake_providers_is_a_settings_file(tmp_path: Path) -> None:
    with running("sim", "--toml", "gemini") as sim:
        until(sim, "Ctrl+C stops them")
        sim.send_signal(signal.SIGTERM)
        out, _ = sim.communicate(timeout=HARD_CAP)
    path = tmp_path / "failsafe.toml"
    path.write_text(out, encoding="utf-8")
    path.chmod(0o600)
    with failsafe.Router.from_file(path) as router:
        assert router.providers == ("gemini",)


def test_every_behaviour_is_listed() -> None:
    said = CliRunner().invoke(app, ["sim", "--list"]).stdout
    assert all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in SUMMARIES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["openai=hagn"], "hang"),
        (["openai", "openai"], "names that differ"),
        (["openai", "--file", __file__], "either names or --file"),
    ],
)
def test_wrong_fake_providers_are_refused_with_a_hint(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["sim", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["sim", "openai", "--port", str(port)])
    assert result.exit_code == 2
    assert str(port) in result.stderr


def test_the_demonstration_loses_no_call_and_says_what_a_plain_client_lost() -> None:
    done = subprocess.run(
        [*FAILSAFE, "demo", "--seconds", "4", "--rate", "6"],
        cwd=ROOT, capture_output=True, text=True, timeout=HARD_CAP, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "openai hangs" in done.stdout
    assert "breaker of openai: closed -> open" in done.stdout
    score = re.search(r"with failsafe: (\d+) of (\d+) calls answered, 0 lost", done.stdout)
    plain = re.search(r"without: +(\d+) of \d+ answered, (\d+) lost", done.stdout)
    assert score
    assert plain
    assert score[1] == score[2]
    assert int(plain[2]) > 0


def test_ctrl_c_ends_the_demonstration_with_the_account_so_far() -> None:
    with running("demo", "--plain", "--seconds", "60") as play:
        assert play.stdout is not None
        assert "all three are healthy" in play.stdout.readline()
        play.send_signal(signal.SIGINT)
        out, err = play.communicate(timeout=HARD_CAP)
    assert "with failsafe:" in out
    assert "Traceback" not in err
    assert play.returncode == 0


def test_without_click_one_line_names_the_extra() -> None:
    script = "import sys; sys.modules['click'] = None; from failsafe.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["failsafe: the command line needs click; pip install 'failsafe-llm[cli]'"]


def test_the_page_names_every_command_and_option() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in app.commands.items():
        section = page.partition(f"## `failsafe {name}`")[2].partition("\n## ")[0]
        options = {each.opts[-1] for each in command.params if isinstance(each, click.Option)}
        assert set(re.findall(r"`(--[a-z-]+)", section)) == options - {"--help"}


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"failsafe {failsafe.__version__}\n"
