"""``failsafe chat`` against fake providers."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.sim import BEHAVIOURS, FakeCloud


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as started:
        yield started


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    path = tmp_path / "failsafe.toml"
    path.write_text(cloud.as_toml() + '\n[aliases]\nfast = ["gpt-4.1-mini", "claude-haiku-4-5"]\n', encoding="utf-8")
    path.chmod(0o600)
    return path


def run(*arguments: str, given: str | bytes = "") -> Result:
    return CliRunner().invoke(app, arguments, input=given)


def test_the_answer_goes_to_standard_output_and_nothing_else_does(settings: Path) -> None:
    result = run("chat", "--config", str(settings), "-m", "fast", "Say hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "provider openai says: Say hi\n", "")


def test_a_failover_is_told_on_standard_error(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["server-error"])
    result = run("chat", "--config", str(settings), "-m", "fast", "Say hi")
    assert result.stdout == "provider anthropic says: Say hi\n"
    assert "openai (gpt-4.1-mini): server: HTTP 500" in result.stderr
    assert "anthropic (claude-haiku-4-5): answered" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_prompt_comes_from_standard_input(settings: Path, arguments: tuple[str, ...]) -> None:
    result = run("chat", "--config", str(settings), "-m", "fast", *arguments, given="from a pipe")
    assert result.stdout == "provider openai says: from a pipe\n"


def test_system_prompt_and_parameters_reach_the_provider(cloud: FakeCloud, settings: Path) -> None:
    options = ["-s", "Be brief", "--max-tokens", "7", "--temperature", "0"]
    run("chat", "--config", str(settings), "-m", "fast", *options, "Hi")
    (request,) = cloud["openai"].requests
    assert request.decoded["messages"][0] == {"role": "system", "content": "Be brief"}
    assert (request.decoded["max_completion_tokens"], request.decoded["temperature"]) == (7, 0)


def test_the_whole_reply_as_json(settings: Path) -> None:
    reply = json.loads(run("chat", "--config", str(settings), "-m", "fast", "--json", "Hi").stdout)
    assert (reply["provider"], reply["content"]) == ("openai", "provider openai says: Hi")
    assert reply["attempts"][0]["status"] == 200
    assert "raw" not in reply


def test_without_a_model_the_alias_default_or_the_first_providers_cheapest_is_asked(settings: Path) -> None:
    assert run("chat", "--config", str(settings), "Hi").exit_code == 0
    settings.write_text(settings.read_text(encoding="utf-8") + 'default = ["claude-haiku-4-5"]\n', encoding="utf-8")
    assert run("chat", "--config", str(settings), "Hi").stdout == "provider anthropic says: Hi\n"


def test_a_failed_call_exits_with_1_and_a_report(cloud: FakeCloud, settings: Path) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["bad-request"])
    result = run("chat", "--config", str(settings), "-m", "fast", "Hi")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("InvalidRequest: openai: HTTP 400")


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("-m", "fsat", "Hi"), "", "did you mean fast?"),
        (("-m", "fast", "  "), "", "the prompt is empty"),
        (("-m", "fast"), b"\xff\xfe", "standard input is not UTF-8 (byte 1)"),
        (("-m", "fast", "-t", "-1", "Hi"), "", "timeout=-1.0: a number of seconds above 0 is needed"),
        (("-m", "fast", "-t", "nan", "Hi"), "", "timeout=nan"),
        (("-m", "fast", "--temperature", "3", "Hi"), "", "temperature"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(
    cloud: FakeCloud, settings: Path, arguments: tuple[str, ...], given: str | bytes, said: str
) -> None:
    result = run("chat", "--config", str(settings), *arguments, given=given)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert [provider.count() for provider in cloud] == [0, 0]


def test_without_any_key_the_variables_are_named() -> None:
    result = run("chat", "Hi")
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    result = run("chat", "--config", str(tmp_path / "absent.toml"), "Hi")
    assert result.exit_code == 2
    assert "absent.toml" in result.stderr


def test_ctrl_c_ends_a_call_at_once_without_a_traceback(cloud: FakeCloud, settings: Path) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["hang"])
    command = [sys.executable, "-m", "failsafe.cli", "chat", "--config", str(settings), "-m", "fast", "Hi"]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert cloud["openai"].wait_for_requests(1, timeout=20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
