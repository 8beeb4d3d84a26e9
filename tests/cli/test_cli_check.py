"""``failsafe check``: what it finds, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.cli.check import Finding, inspect
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.sim import BEHAVIOURS, FakeCloud

TODAY = date(2026, 11, 24)


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as started:
        yield started


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    path = tmp_path / "failsafe.toml"
    path.write_text(cloud.as_toml(), encoding="utf-8")
    path.chmod(0o600)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def findings(*providers: ProviderConfig, **aliases: list[str]) -> list[Finding]:
    return list(inspect(RouterConfig(providers=providers, aliases=aliases), TODAY))


def provider(name: str, key: str, **settings: object) -> ProviderConfig:
    return ProviderConfig(name=name, api_key=key, **settings)  # type: ignore[arg-type]


def test_a_key_of_another_provider_is_an_error_that_does_not_show_it() -> None:
    found = findings(provider("openai", "sk-or-v1-0123456789abcdef"), provider("anthropic", "sk-ant-api03-abcdefgh"))
    (error,) = [each for each in found if each.level == "error"]
    assert error.subject == "openai"
    assert "looks like a key of openrouter" in error.text
    assert "0123456789" not in error.text


def test_an_only_provider_and_an_alias_that_one_serves_are_warned_of() -> None:
    found = findings(provider("openai", "sk-proj-abcdefghijkl"), fast=["gpt-4.1-mini"])
    warned = {each.subject for each in found if each.level == "warning" and "nobody is left to ask" in each.text}
    assert warned == {"openai", "fast"}


@pytest.mark.parametrize(
    ("model", "level"),
    [("gpt-4.1-mini", "warning"), ("claude-sonnet-4-0", "error"), ("claude-haiku-4-5", None)],
)
def test_the_end_of_a_models_life_is_told(model: str, level: str | None) -> None:
    found = findings(
        provider("openai", "sk-proj-abcdefghijkl"), provider("anthropic", "sk-ant-api03-abcdefgh"), chosen=[model]
    )
    levels = [each.level for each in found if "end of life" in each.text]
    assert levels == ([level] if level else [])


def test_good_settings_exit_with_0(settings: Path) -> None:
    result = run("--config", str(settings))
    assert result.exit_code == 0
    assert "its shape is plausible" in " ".join(result.stdout.split())


def test_live_calls_each_provider_once(cloud: FakeCloud, settings: Path) -> None:
    result = run("--config", str(settings), "--live", "--json")
    answered = [each for each in json.loads(result.stdout) if "answered in" in each["text"]]
    assert [each["subject"] for each in answered] == ["openai", "anthropic"]
    assert [each.count() for each in cloud] == [1, 1]
    assert result.exit_code == 0


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize(
    ("behaviour", "said"), [("wrong-key", "HTTP 401"), ("hang", "no answer"), ("refuse", "refused")]
)
def test_live_tells_what_is_wrong_with_one_and_still_asks_the_other(
    cloud: FakeCloud, settings: Path, behaviour: str, said: str
) -> None:
    cloud["openai"].behave(BEHAVIOURS[behaviour])
    result = run("--config", str(settings), "--live", "--json", "-t", "0.5")
    live = {each["subject"]: each for each in json.loads(result.stdout)[2:]}
    assert live["openai"]["level"] == "error"
    assert said in live["openai"]["text"]
    assert live["anthropic"]["level"] == "ok"
    assert result.exit_code == 1


def test_wrong_settings_exit_with_2_and_name_the_thing(tmp_path: Path) -> None:
    path = tmp_path / "failsafe.toml"
    path.write_text("[providers.openai]\ntimeot = 3\n", encoding="utf-8")
    path.chmod(0o600)
    result = run("--config", str(path))
    assert result.exit_code == 2
    assert "providers.openai.timeot" in result.stderr
    assert "timeout" in result.stderr
