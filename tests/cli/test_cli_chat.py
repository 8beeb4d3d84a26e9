"""``failsafe chat`` against fake providers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from failsafe.cli import chat as chat_module
from failsafe.cli.app import app
from failsafe.models import Adjustment, Attempt, Reply, ToolCall, Usage
from failsafe.sim import BEHAVIOURS, Behaviour, FakeCloud, Healthy
from tests.cli.programs import FAILSAFE, HARD_CAP, ROOT, finished, running


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as started:
        yield started


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    path = tmp_path / "failsafe.toml"
    limits = "timeout = 7\nmax_request_bytes = 4096\n"
    aliases = 'aliases = { fast = ["gpt-4.1-mini", "claude-haiku-4-5"] }\n'
    path.write_text(limits + aliases + cloud.as_toml(), encoding="utf-8")
    path.chmod(0o600)
    return path


def run(*arguments: str, given: str | bytes = "", variables: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["chat", *arguments], input=given, env=variables)


def ask(settings: Path, *arguments: str, given: str | bytes = "") -> Result:
    return run("--config", str(settings), "-m", "fast", *arguments, given=given)


def reply(**changes: object) -> Reply:
    """An answer in which nothing happened but *changes*."""
    plain = Reply(
        content="Hi", provider="openai", model="gpt-4.1-mini-2025-04-14", asked_model="gpt-4.1-mini",
        finish_reason="stop", tool_calls=(), usage=Usage(prompt_tokens=1200, completion_tokens=6),
        id="1", request_id=None, refusal=None,
        reasoning=None, latency_ms=81.3, attempts=(Attempt(provider="openai", model="gpt-4.1-mini", latency_ms=80.0),),
        skipped=(), adjustments=(), provider_data=None, raw=None,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def test_the_answer_goes_to_standard_output_and_nothing_else_does(settings: Path) -> None:
    result = ask(settings, "Say hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "provider openai says: Say hi\n", "")


def test_a_failover_is_told_on_standard_error(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["server-error"])
    result = ask(settings, "Say hi")
    assert (result.exit_code, result.stdout) == (0, "provider anthropic says: Say hi\n")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("answered by anthropic (claude-haiku-4-5")
    assert lines[1].startswith("  1. openai (gpt-4.1-mini): server: HTTP 500")
    assert lines[2].startswith("  2. anthropic (claude-haiku-4-5): answered [")
    assert "  => openai: the provider failed; see its status page" in lines


def test_with_verbose_an_untroubled_call_is_told_too(settings: Path) -> None:
    result = ask(settings, "-v", "Say hi")
    assert result.stdout == "provider openai says: Say hi\n"
    assert "  1. openai (gpt-4.1-mini): answered [" in result.stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"adjustments": (Adjustment(parameter="max_tokens", action="mapped", detail="another name"),)}, None),
        (
            {"adjustments": (Adjustment(parameter="temperature", action="clamped", detail="1.7 to 1"),)},
            "  temperature was clamped: 1.7 to 1",
        ),
        ({"model": "gpt-3.5-turbo"}, "  gpt-4.1-mini was asked for, and gpt-3.5-turbo answered"),
        ({"finish_reason": "length"}, "  the answer ends where the limit on its length was reached"),
        (
            {"finish_reason": "content_filter"},
            "  the answer ends where the provider's content policy stopped it",
        ),
    ],
)
def test_the_receipt_is_shown_when_something_happened(changes: dict[str, object], told: str | None) -> None:
    answered = reply(**changes)
    assert chat_module._eventful(answered) is (told is not None)
    lines = chat_module.receipt(answered).splitlines()
    assert lines[0] == f"answered by openai ({answered.model}) in 81 ms, 1,200 + 6 tokens"
    assert told is None or told in lines


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Hi"),
        ({"content": "", "refusal": "I cannot."}, "I cannot."),
        ({"content": "", "tool_calls": (ToolCall(id="1", name="look_up", arguments='{"x": 1}'),)}, 'look_up({"x": 1})'),
    ],
)
def test_a_refusal_or_a_tool_call_is_printed_where_there_is_no_text(changes: dict[str, object], said: str) -> None:
    assert chat_module._said(reply(**changes)) == said


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_prompt_comes_from_standard_input(settings: Path, arguments: tuple[str, ...]) -> None:
    assert ask(settings, *arguments, given="from a pipe: é").stdout == "provider openai says: from a pipe: é\n"


def test_a_byte_order_mark_is_no_part_of_the_prompt(settings: Path) -> None:
    assert ask(settings, given=b"\xef\xbb\xbfHi").stdout == "provider openai says: Hi\n"


def test_a_prompt_that_begins_with_dashes_follows_two_dashes(settings: Path) -> None:
    assert ask(settings, "--", "--help").stdout == "provider openai says: --help\n"


def test_system_prompt_and_parameters_reach_the_provider(cloud: FakeCloud, settings: Path) -> None:
    ask(settings, "-s", "Be brief", "--max-tokens", "7", "--temperature", "0", "Hi")
    (request,) = cloud["openai"].requests
    assert request.decoded["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    assert (request.decoded["max_completion_tokens"], request.decoded["temperature"]) == (7, 0)


def test_the_whole_reply_as_one_json_object(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["overloaded"])
    result = ask(settings, "--json", "Hi")
    decoded = json.loads(result.stdout)
    assert (decoded["provider"], decoded["content"]) == ("anthropic", "provider anthropic says: Hi")
    assert [attempt["fault"] for attempt in decoded["attempts"]] == ["overloaded", None]
    assert decoded["usage"]["completion_tokens"] > 0
    assert decoded["latency_ms"] > 0
    assert {each.name for each in msgspec.structs.fields(Reply)} - decoded.keys() == {"raw"}
    assert result.stderr == ""


def test_without_a_model_the_alias_default_or_the_first_providers_cheapest_is_asked(settings: Path) -> None:
    assert run("--config", str(settings), "Hi").stdout == "provider openai says: Hi\n"
    text = settings.read_text(encoding="utf-8").replace("aliases = {", 'aliases = { default = ["claude-haiku-4-5"],')
    settings.write_text(text, encoding="utf-8")
    assert run("--config", str(settings), "Hi").stdout == "provider anthropic says: Hi\n"


def test_a_local_server_needs_a_model(tmp_path: Path) -> None:
    path = tmp_path / "failsafe.toml"
    path.write_text('[providers.mine]\nbase_url = "http://127.0.0.1:9/v1"\n', encoding="utf-8")
    path.chmod(0o600)
    result = run("--config", str(path), "Hi")
    assert result.exit_code == 2
    assert "--model is missing: provider mine has no default" in result.stderr


def test_one_provider_is_asked_by_its_name(settings: Path) -> None:
    result = run("--config", str(settings), "-m", "anthropic:claude-haiku-4-5", "Hi")
    assert result.stdout == "provider anthropic says: Hi\n"


@pytest.mark.parametrize(("configured", "options", "timeout"), [("0.3", [], "0.3"), ("7", ["-t", "0.2"], "0.2")])
def test_the_timeout_is_the_options_or_else_the_settings(
    cloud: FakeCloud, settings: Path, configured: str, options: list[str], timeout: str
) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["hang"])
    text = settings.read_text(encoding="utf-8").replace("timeout = 7", f"timeout = {configured}")
    settings.write_text(text, encoding="utf-8")
    result = ask(settings, *options, "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"DeadlineExceeded: no answer within the deadline of {timeout} s\n")


@pytest.mark.usefixtures("expect_logs")
def test_when_all_fail_the_report_has_a_line_for_every_attempt(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["quota"])
    cloud["anthropic"].behave(BEHAVIOURS["permission"])
    result = ask(settings, "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("AllProvidersFailed: no provider answered 'fast' (2 attempts in ")
    assert lines[1].startswith("  1. openai (gpt-4.1-mini): quota: HTTP 429")
    assert lines[2].startswith("  2. anthropic (claude-haiku-4-5): permission: HTTP 403")
    assert any(line.startswith("  => openai: ") for line in lines)


def test_a_request_that_a_provider_refuses_exits_with_1(cloud: FakeCloud, settings: Path) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["bad-request"])
    result = ask(settings, "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("InvalidRequest: openai: HTTP 400")


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("-m", "fsat", "Hi"), "", "did you mean fast?"),
        (("  ",), "", "the prompt is empty"),
        ((), "\n", "the prompt is empty"),
        ((), b"ab\xff", "standard input is not UTF-8 (byte 3)"),
        ((), "x" * 4097, "standard input has more than 4,096 bytes (max_request_bytes"),
        (("x" * 4096,), "", "the request has 4,"),
        (("caf\udcff",), "", "PROMPT is not UTF-8 (byte 4)"),
        (("-s", "\udcff", "Hi"), "", "--system is not UTF-8 (byte 1)"),
        (("-t", "0", "Hi"), "", "0.0 is not in the range x>0"),
        (("-t", "-1", "Hi"), "", "-1.0 is not in the range x>0"),
        (("-t", "nan", "Hi"), "", "nan is not a finite number"),
        (("-t", "inf", "Hi"), "", "inf is not a finite number"),
        (("-t", "soon", "Hi"), "", "'soon' is not a valid number"),
        (("--temperature", "3", "Hi"), "", "3.0 is not in the range 0<=x<=2"),
        (("--temperature", "nan", "Hi"), "", "nan is not a finite number"),
        (("--max-tokens", "0", "Hi"), "", "0 is not in the range x>=1"),
        (("Hi", "there"), "", "unexpected extra argument (there)"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(
    cloud: FakeCloud, settings: Path, arguments: tuple[str, ...], given: str | bytes, said: str
) -> None:
    result = ask(settings, *arguments, given=given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert [provider.count() for provider in cloud] == [0, 0]


def test_without_any_key_the_variables_are_named() -> None:
    result = run("Hi")
    assert result.exit_code == 2
    assert result.stderr.startswith("ConfigError: no provider is configured: none of ")
    assert "OPENAI_API_KEY" in result.stderr


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    result = run("--config", str(tmp_path / "absent.toml"), "Hi")
    assert result.exit_code == 2
    assert "absent.toml" in result.stderr


def test_the_settings_file_may_be_named_by_the_environment(settings: Path) -> None:
    assert run("-m", "fast", "Hi", variables={"FAILSAFE_CONFIG": str(settings)}).stdout == "provider openai says: Hi\n"


def test_a_terminal_without_a_prompt_is_told_what_to_give(settings: Path) -> None:
    near, far = os.openpty()
    command = [*FAILSAFE, "chat", "--config", str(settings)]
    try:
        done = subprocess.run(
            command, stdin=far, capture_output=True, text=True, cwd=ROOT, timeout=HARD_CAP, check=False
        )
    finally:
        os.close(near)
        os.close(far)
    assert done.returncode == 2
    assert 'a PROMPT is needed, e.g. failsafe chat "Say hi"; or pipe one in' in done.stderr


def test_an_invocation_without_standard_input_is_told_the_same(settings: Path) -> None:
    script = f"exec {subprocess.list2cmdline([*FAILSAFE, 'chat', '--config', str(settings)])} <&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=HARD_CAP, check=False)
    assert done.returncode == 2
    assert "a PROMPT is needed" in done.stderr


def test_an_endless_standard_input_is_refused(settings: Path) -> None:
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123 - a device
        command = [*FAILSAFE, "chat", "--config", str(settings)]
        done = subprocess.run(command, stdin=endless, capture_output=True, cwd=ROOT, timeout=HARD_CAP, check=False)
    assert done.returncode == 2
    assert b"standard input has more than 4,096 bytes" in done.stderr


def test_no_log_line_disturbs_standard_error(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["wrong-key"])
    done = finished("chat", "--config", str(settings), "-m", "fast", "Hi")
    assert done.stdout == b"provider anthropic says: Hi\n"
    assert b"left alone" not in done.stderr
    assert done.stderr.startswith(b"answered by anthropic")


def test_a_character_that_the_encoding_has_not_got_does_not_cost_the_answer(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(Behaviour(Healthy(text="caf\u00e9 \u65e5")))
    done = finished("chat", "--config", str(settings), "Hi", variables={"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stdout) == (0, b"caf\xe9 ?\n")


def test_an_argument_is_read_as_utf_8_whatever_the_locale(cloud: FakeCloud, settings: Path) -> None:
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    finished("chat", "--config", str(settings), "caf\u00e9", variables=variables)
    (request,) = cloud["openai"].requests
    assert request.decoded["messages"][0]["content"] == "caf\u00e9"


def test_ctrl_c_ends_a_call_at_once_without_a_traceback(cloud: FakeCloud, settings: Path) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["hang"])
    with running("chat", "--config", str(settings), "-m", "fast", "-t", "600", "Hi") as process:
        assert cloud["openai"].wait_for_requests(1, timeout=HARD_CAP)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (130, "", "")
