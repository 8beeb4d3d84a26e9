"""``failsafe sim`` and what all commands share."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import failsafe
from failsafe.cli import app as app_module
from failsafe.cli.app import app
from failsafe.sim import SUMMARIES
from tests.cli.programs import FAILSAFE, HARD_CAP, ROOT, finished, running, until


def variables_of(exports: str) -> dict[str, str]:
    return dict(line.removeprefix("export ").split("=", 1) for line in exports.splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_finds_the_fake_providers_and_a_signal_ends_them(number: int) -> None:
    with running("sim", "openai", "anthropic=overloaded") as sim:
        assert sim.stdout is not None
        variables = variables_of(sim.stdout.read())  # ends, although the program runs on
        assert sim.poll() is None
        answer = finished("chat", "-m", "gpt-4.1-mini", "Hi", variables=variables)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"provider openai says: Hi\n", b"")
        until(sim.stderr, f"Ctrl+C or kill {sim.pid} stops them")
        sim.send_signal(number)
        assert sim.wait(HARD_CAP) == 0
        assert sim.stderr is not None
        assert sim.stderr.read() == ""


def test_the_toml_of_the_fake_providers_is_a_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "failsafe.toml"
    with running("sim", "--toml", "gemini", "mistral=hang") as sim:
        assert sim.stdout is not None
        path.write_text(sim.stdout.read(), encoding="utf-8")
        path.chmod(0o600)
        answer = finished("chat", "--config", str(path), "-m", "gemini-3.5-flash", "Hi")
        assert (answer.returncode, answer.stdout) == (0, b"provider gemini says: Hi\n")
        sim.send_signal(signal.SIGTERM)
        assert sim.wait(HARD_CAP) == 0


def test_the_fake_providers_as_json() -> None:
    with running("sim", "--json", "gemini", "openai") as sim:
        assert sim.stdout is not None
        first, second = json.loads(sim.stdout.read())
        assert (first["name"], first["dialect"], second["name"]) == ("gemini", "gemini", "openai")
        assert first["base_url"].startswith("http://127.0.0.1:")
        assert second["api_key"].startswith("sk-sim-")
        sim.send_signal(signal.SIGTERM)
        assert sim.wait(HARD_CAP) == 0


def test_what_can_be_faked_as_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["sim", "--list", "--json"]).stdout)
    assert found["behaviours"] == dict(SUMMARIES)
    assert "openai" in found["vendors"]


def test_a_provider_that_no_variable_leads_to_is_named() -> None:
    with running("sim", "gemini") as sim:
        assert sim.stdout is not None
        assert sim.stdout.read() == ""
        assert "gemini: use --toml" in until(sim.stderr, "no variable leads to")


def test_fake_providers_from_a_file_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "cloud.toml"
    path.write_text('[providers.first]\nvendor = "openai"\nbehaviour = "hang"\n[providers.second]\n', encoding="utf-8")
    with running("sim", "--toml", "--file", str(path)) as sim:
        assert sim.stdout is not None
        assert re.findall(r'^\[providers\."(\w+)"\]', sim.stdout.read(), re.MULTILINE) == ["first", "second"]


def test_every_behaviour_is_listed() -> None:
    said = CliRunner().invoke(app, ["sim", "--list"]).stdout
    assert all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in SUMMARIES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--toml", "--json"], "--toml and --json are two forms of the same"),
        (["openai=hagn"], "'hagn' is no behaviour: did you mean hang?"),
        (["opneai"], "'opneai' is no vendor: did you mean openai?"),
        (["openai=qqqqq"], "'qqqqq' is no behaviour: failsafe sim --list"),
        (["=hang"], "'' is no vendor"),
        (["openai", "openai=hang"], "openai is named twice"),
        (["openai", "--file", __file__], "--file says it all"),
        (["--port", "4000", "--file", __file__], "--file says it all"),
        (["--port", "65534"], "leaves too few ports for 3 providers"),
        (["--port", "0"], "0 is not in the range"),
        (["--file", "/nowhere.toml"], "does not exist"),
        (["--file", __file__], "test_cli_programs.py: the simulation's TOML cannot be read"),
        (["--file", sys.executable], "this is not UTF-8"),
    ],
)
def test_wrong_fake_providers_are_refused_with_a_hint(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["sim", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) <= 4  # no list of sixty behaviours


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["sim", "openai", "--port", str(port)])
    assert result.exit_code == 2
    assert f"cannot listen (Address already in use); ports asked for: openai {port}" in result.stderr


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_line_names_it(missing: str) -> None:
    script = f"""
import sys
from importlib.machinery import PathFinder

class NotInstalled:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, NotInstalled)
from failsafe.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"failsafe: the command line needs {missing}; pip install 'failsafe-llm[cli]'\n"


def leaves(command: click.Command) -> Iterator[click.Command]:
    """The commands below *command*, or itself."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from leaves(each)
    else:
        yield command


def paths(command: click.Command, name: str = "") -> Iterator[str]:
    """How *command* and all below it are called."""
    yield name
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            yield from paths(each, f"{name} {below}".strip())


def section(name: str) -> str:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    return page.partition(f"## `failsafe {name}`")[2].partition("\n## ")[0]


def test_the_page_names_every_command_and_option() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `failsafe (\w+)`", page, re.MULTILINE)) == set(app.commands)
    for name, command in app.commands.items():
        listed = {
            each for line in re.findall(r"^- (`-.*?):", section(name), re.MULTILINE) for each in line.split("`")[1::2]
        }
        params = [param for leaf in leaves(command) for param in leaf.params]
        assert listed == {each for param in params if isinstance(param, click.Option) for each in param.opts}, name


@pytest.mark.parametrize("name", ["breakers", "store"])
def test_the_page_names_the_commands_of_a_group(name: str) -> None:
    group = app.commands[name]
    assert isinstance(group, click.Group)
    assert re.findall(rf"^\| `failsafe {name} ([\w-]+)", section(name), re.MULTILINE) == [*group.commands]


def test_every_command_answers_in_json_but_for_one() -> None:
    silent = {
        leaf.name
        for command in app.commands.values()
        for leaf in leaves(command)
        if not any("--json" in param.opts for param in leaf.params)
    }
    assert silent == {"completion"}


@pytest.mark.parametrize("name", [*paths(app)])
def test_every_command_explains_itself_within_80_columns(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "..." not in result.stdout.partition("Commands:")[2]  # no summary is cut off


def test_the_shell_can_complete_the_commands() -> None:
    done = finished(variables={"_FAILSAFE_COMPLETE": "bash_complete", "COMP_WORDS": "failsafe ch", "COMP_CWORD": "1"})
    assert done.stdout.decode().split() == ["plain,chat", "plain,check"]


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"failsafe {failsafe.__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error_in_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*FAILSAFE, "sim", "--list"], stdout=full, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_a_reader_that_goes_away_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*FAILSAFE, "sim", "--list"], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_loggers_of_the_process_are_left_as_they_were() -> None:
    logger = logging.getLogger("failsafe")
    before = (logger.propagate, list(logger.handlers))
    with app_module._own_words_only():
        assert not logger.propagate
    assert (logger.propagate, logger.handlers) == before
