"""What the shell completes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from failsafe.cli.app import app
from failsafe.cli.names import complete_provider
from tests.cli.programs import finished
from tests.cli.recorded import opened, store_with_past


def completed(words: str, **variables: str) -> list[str]:
    """What ``failsafe WORDS`` is completed to, where the last word is begun."""
    line = f"failsafe {words}"
    done = finished(
        variables={
            "_FAILSAFE_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
            **variables,
        }
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return [each.partition(",")[2] for each in done.stdout.decode().splitlines() if each]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_takes(shell: str) -> None:
    result = CliRunner().invoke(app, ["completion", shell])
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_FAILSAFE_COMPLETE={shell}_complete" in result.stdout
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n"], input=result.stdout, text=True, check=True, timeout=30)


def test_an_unknown_shell_is_refused() -> None:
    assert CliRunner().invoke(app, ["completion", "tcsh"]).exit_code == 2


def test_commands_of_a_group_are_completed() -> None:
    assert completed("breakers re") == ["reset", "resume"]
    assert completed("store ") == ["path", "size", "compact", "migrate"]


def test_providers_come_from_the_settings_without_looking_up_a_key(tmp_path: Path) -> None:
    settings = tmp_path / "failsafe.toml"
    settings.write_text(
        '[providers.openai]\napi_key = "env:NOT_SET_ANYWHERE"\n[providers.mine]\nno_such_setting = 1\n',
        encoding="utf-8",
    )
    settings.chmod(0o600)
    assert completed(f"health --config {settings} ") == ["mine", "openai"]
    assert completed("history o", FAILSAFE_CONFIG=str(settings)) == ["openai"]


def test_providers_come_from_the_store_too(tmp_path: Path) -> None:
    store = store_with_past(tmp_path / "store.db")
    with opened(store) as connection:
        connection.execute("INSERT INTO targets (name, base_url) VALUES ('bad\x1b[2Jname', '')")
    assert completed(f"status --store {store} openai ") == ["anthropic", "gemini"]
    assert completed("breakers reset g", FAILSAFE_STORE=str(store)) == ["gemini"]
    assert completed("tail --provider ", FAILSAFE_STORE=str(store)) == ["anthropic", "gemini", "openai"]


def test_providers_come_from_the_keys_in_the_environment() -> None:
    assert completed("health o", OPENAI_API_KEY="sk-proj-abcdefghijkl") == ["openai"]


def test_what_cannot_be_read_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "failsafe.toml"
    broken.write_text("[providers", encoding="utf-8")
    broken.chmod(0o600)
    assert completed("health ", FAILSAFE_CONFIG=str(broken), FAILSAFE_STORE=str(tmp_path / "none.db")) == []
    assert not (tmp_path / "none.db").exists()


def test_names_are_found_in_the_settings_and_the_store(tmp_path: Path) -> None:
    settings = tmp_path / "failsafe.toml"
    settings.write_text("[providers.mine]\n[providers.more]\n", encoding="utf-8")
    settings.chmod(0o600)
    store = store_with_past(tmp_path / "store.db")
    command = click.Command("x", params=[click.Argument(["providers"], nargs=-1)])
    context = click.Context(command)
    context.params = {"path": settings, "store_path": store, "providers": ("mine",)}
    found = complete_provider(context, command.params[0], "")
    assert found == ["anthropic", "gemini", "more", "openai"]
    assert complete_provider(context, command.params[0], "mo") == ["more"]
    context.params = {"path": tmp_path / "none.toml", "store_path": tmp_path / "none.db"}
    assert complete_provider(context, command.params[0], "") == []
