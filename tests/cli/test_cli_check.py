"""``failsafe check``: what it finds, and how it exits."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.cli.findings import Finding, ask_all, inspect
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.sim import BEHAVIOURS, FakeCloud
from tests.cli.programs import FAILSAFE, HARD_CAP, ROOT, running

TODAY = date(2026, 11, 24)
OPENAI_KEY = "sk-proj-abcdefghijkl"
ANTHROPIC_KEY = "sk-ant-api03-abcdefgh"


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as started:
        yield started


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    return written(tmp_path, cloud.as_toml())


def written(folder: Path, text: str) -> Path:
    path = folder / "failsafe.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", "--config", str(path), *arguments])


def live(path: Path, *arguments: str) -> tuple[int, dict[str, Finding]]:
    """The exit code, and what asking each provider found."""
    result = run(path, "--live", "--json", *arguments)
    found = [Finding(**each) for each in json.loads(result.stdout)]
    return result.exit_code, {each.subject: each for each in found if not each.text.startswith("key ")}


def findings(*providers: ProviderConfig, today: date = TODAY, **aliases: list[str]) -> list[Finding]:
    return list(inspect(RouterConfig(providers=providers, aliases=aliases), today))


def provider(name: str, key: str, **settings: object) -> ProviderConfig:
    return ProviderConfig(name=name, api_key=key, **settings)  # type: ignore[arg-type]


def test_a_key_of_another_provider_is_an_error_that_does_not_show_it() -> None:
    found = findings(provider("openai", "sk-or-v1-0123456789abcdef"), provider("anthropic", ANTHROPIC_KEY))
    (error,) = [each for each in found if each.level == "error"]
    assert error.subject == "openai"
    assert "(written in the settings): it looks like a key of openrouter" in error.text
    assert "0123456789" not in error.text


def test_where_a_good_key_comes_from_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", OPENAI_KEY)
    key, _ = findings(provider("openai", "env:SOME_KEY"))
    assert (key.level, key.subject) == ("ok", "openai")
    assert key.text.endswith(" from env:SOME_KEY: its shape is plausible")


def test_a_provider_without_a_key_and_one_that_is_off_are_told() -> None:
    found = findings(
        ProviderConfig(name="mine", base_url="http://127.0.0.1:9/v1"), provider("openai", "sk-or-v1-x0", enabled=False)
    )
    assert Finding("ok", "mine", "is used without a key") in found
    assert [each.level for each in found if each.subject == "openai"] == ["ok"]


def test_an_only_provider_and_an_alias_that_one_serves_are_warned_of() -> None:
    found = findings(provider("openai", OPENAI_KEY), fast=["gpt-4.1-mini"])
    warned = {each.subject for each in found if each.level == "warning" and "nobody is left to ask" in each.text}
    assert warned == {"openai", "fast"}


def test_who_serves_an_alias_is_told_in_order() -> None:
    found = findings(
        provider("anthropic", ANTHROPIC_KEY), provider("openai", OPENAI_KEY), fast=["gpt-5.4", "claude-haiku-4-5"]
    )
    assert Finding("ok", "fast", "is served by anthropic, openai, in this order") in found


@pytest.mark.parametrize(
    ("today", "level"), [(date(2026, 11, 14), None), (date(2026, 11, 15), "warning"), (date(2027, 1, 14), "error")]
)
def test_the_end_of_a_models_life_is_told_60_days_ahead(today: date, level: str | None) -> None:
    found = findings(provider("openai", OPENAI_KEY), today=today, fast=["gpt-4.1-mini"])
    ending = [each for each in found if "2027-01-14" in each.text]
    assert [(each.level, each.subject) for each in ending] == ([(level, "fast at openai")] if level else [])
    assert all("the vendor names gpt-6-luna in its place" in each.text for each in ending)


def test_a_models_end_is_told_of_the_models_a_provider_lists_too() -> None:
    found = findings(provider("openai", OPENAI_KEY, models=["gpt-4.1-mini"]), today=date(2027, 2, 1))
    (error,) = [each for each in found if each.level == "error"]
    assert (error.subject, error.text[:41]) == ("openai", "gpt-4.1-mini reached its end of life on 2")


def test_good_settings_exit_with_0_and_print_a_line_a_finding(settings: Path) -> None:
    result = run(settings)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("ok: openai: key ")
    assert lines[0].endswith(" (written in the settings): its shape is plausible")
    assert lines[2] == "no errors, no warnings"


def test_warnings_are_counted_and_exit_with_0(tmp_path: Path) -> None:
    path = written(tmp_path, f'[providers.openai]\napi_key = "{OPENAI_KEY}"\n')
    result = run(path)
    assert result.exit_code == 0
    assert result.stdout.endswith("\nno errors, 1 warning\n")


def test_an_error_exits_with_1(tmp_path: Path) -> None:
    path = written(
        tmp_path, f'[providers.openai]\napi_key = "{ANTHROPIC_KEY}"\n[providers.xai]\napi_key = "{OPENAI_KEY}"\n'
    )
    result = run(path)
    assert result.exit_code == 1
    assert result.stdout.endswith("\n2 errors, no warnings\n")


def test_live_calls_each_provider_once(cloud: FakeCloud, settings: Path) -> None:
    code, found = live(settings)
    assert {name: each.level for name, each in found.items()} == {"openai": "ok", "anthropic": "ok"}
    assert all(" answered in " in each.text for each in found.values())
    assert [each.count() for each in cloud] == [1, 1]
    assert code == 0


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize(
    ("behaviour", "said"), [("wrong-key", "HTTP 401"), ("hang", "no answer within 0.5 s"), ("refuse", "refused")]
)
def test_live_tells_what_is_wrong_with_one_and_still_asks_the_other(
    cloud: FakeCloud, settings: Path, behaviour: str, said: str
) -> None:
    cloud["openai"].behave(BEHAVIOURS[behaviour])
    code, found = live(settings, "-t", "0.5")
    assert found["openai"].level == "error"
    assert found["openai"].text.startswith("asked for ")
    assert said in found["openai"].text
    assert found["anthropic"].level == "ok"
    assert code == 1


def test_a_provider_whose_models_nobody_knows_is_not_asked() -> None:
    (found,) = ask_all([ProviderConfig(name="mine", base_url="http://127.0.0.1:9/v1")], 1.0)
    assert found == Finding("warning", "mine", "was not asked: no model of its is known; list them as models = [...]")


def test_live_asks_all_at_once(cloud: FakeCloud, settings: Path) -> None:
    """Each waits for its answer until the other has got its question."""
    for each in cloud:
        each.behave(BEHAVIOURS["hang"])
    with running("check", "--config", str(settings), "--live", "-t", "600") as process:
        assert all(each.wait_for_requests(1, timeout=HARD_CAP) for each in cloud)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)  # the calls under way end too
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[providers.openai]\ntimeot = 3\n",
            "providers.openai.timeot: there is no such setting (did you mean 'timeout'?)",
        ),
        ("[providers.openai\n", "line 1, column 18: this is not TOML"),
        ('[providers.openai]\napi_key = "env:NOT_SET_ANYWHERE"\n', "NOT_SET_ANYWHERE"),
        ("timeout = -3\n[providers.openai]\napi_key = 'sk-proj-abcdefghijkl'\n", "timeout = -3"),
    ],
)
def test_wrong_settings_exit_with_2_and_name_the_thing(tmp_path: Path, text: str, said: str) -> None:
    result = run(written(tmp_path, text), "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("ConfigError: ")
    assert said in result.stderr


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "x"])
def test_a_timeout_of_no_sense_is_refused(settings: Path, timeout: str) -> None:
    result = run(settings, "--live", "-t", timeout)
    assert result.exit_code == 2
    assert "--timeout" in result.stderr


def test_in_a_terminal_the_findings_are_a_table_that_wraps_between_words(settings: Path) -> None:
    near, far = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"}
    command = [*FAILSAFE, "check", "--config", str(settings)]
    try:
        done = subprocess.run(command, stdout=far, env=environment, cwd=ROOT, timeout=HARD_CAP, check=False)
        shown = os.read(near, 65536).decode().splitlines()
    finally:
        os.close(near)
        os.close(far)
    assert done.returncode == 0
    assert shown[0].startswith("ok  openai     key ")
    assert shown[1].split() == ["shape", "is", "plausible"]
    assert max(map(len, shown)) <= 60
