"""Settings and variables: none, unreadable ones, of which the rest is looked at all the same, and misnamed ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from failsafe.diagnosis import settings, settings_look
from failsafe.diagnosis.examination import Report, Wanted, examine
from failsafe.diagnosis.finding import Level
from failsafe.errors import ConfigError
from failsafe.sim import FakeProvider
from tests.diagnosis.looking import examined, only, problems, settings_of, written

KEY = "sk-proj-MARKED0123456789abcdef"
OTHER_KEY = "sk-ant-api03-MARKED0123456789"


def of_environment(**environ: str) -> Report:
    report = examine(Wanted(offline=True), environ={"FAILSAFE_STORE": "off", **environ})
    assert "MARKED" not in repr(report.findings)
    return report


def test_without_any_settings_it_is_explained_how_to_begin() -> None:
    report = of_environment()
    finding = only(report)
    assert (finding.level, finding.code, finding.subject) == (Level.ERROR, "nothing-configured", "settings")
    assert finding.do[0].endswith("$ failsafe demo")
    assert any("export OPENAI_API_KEY=" in step for step in finding.do)
    assert any("failsafe.toml" in step for step in finding.do)
    assert report.exit_code == 1
    assert report.origin == ""


def test_a_variable_that_was_meant_for_a_key_is_told_where_there_is_none() -> None:
    found = problems(of_environment(OPENAI_KEY=KEY))
    assert found["nothing-configured"].why == "OPENAI_KEY is set, but OPENAI_API_KEY is what is read"
    assert found["variable-name"].do == ('$ export OPENAI_API_KEY="$OPENAI_KEY"',)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("OPEN_AI_API_KEY", "OPENAI_API_KEY"),
        ("OPENAI_API_TOKEN", "OPENAI_API_KEY"),
        ("CLAUDE_API_KEY", "ANTHROPIC_API_KEY"),
        ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        ("GROK_API_KEY", "XAI_API_KEY"),
        ("GEMINI_KEY", "GEMINI_API_KEY"),
    ],
)
def test_a_misnamed_variable_is_recognised(wrong: str, right: str) -> None:
    assert settings.misnamed({wrong: "x"}) == [(wrong, right)]


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "STRIPE_API_KEY", "FAILSAFE_SERVE_TOKEN", "OPENAI_API_KEY", "SSH_KEY"],
)
def test_a_variable_of_something_else_is_left_alone(name: str) -> None:
    assert settings.misnamed({name: "x"}) == []


def test_a_variable_that_is_set_and_empty_is_told() -> None:
    found = problems(of_environment(OPENAI_API_KEY="", ANTHROPIC_API_KEY=OTHER_KEY))
    assert found.keys() == {"variable-empty"}
    assert found["variable-empty"].found == "OPENAI_API_KEY is set and empty, which counts as not set"


def test_a_variable_that_a_file_names_and_that_is_not_set_is_told(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        report = examined(tmp_path, {"openai": {"api_key": "env:NOT_SET_ANYWHERE"}, "good": settings_of(provider)})
    finding = problems(report)["provider-settings"]
    assert "the environment variable NOT_SET_ANYWHERE is not set" in finding.found
    assert finding.do[0].startswith("export the variable in the shell that starts the program")


def test_a_placeholder_in_a_variable_is_told_and_the_others_are_looked_at() -> None:
    report = of_environment(OPENAI_API_KEY="YOUR_API_KEY", ANTHROPIC_API_KEY=OTHER_KEY)
    assert problems(report)["provider-settings"].subject == "openai"
    finding = problems(report)["provider-settings"]
    assert finding.found == "the key in OPENAI_API_KEY is a placeholder; put the real key there"
    assert finding.do[-1] == "$ export OPENAI_API_KEY='...'"
    assert [facts.name for facts in report.providers] == ["anthropic"]
    assert report.exit_code == 2


def test_an_address_that_no_key_may_go_to_is_told() -> None:
    finding = problems(of_environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="https://gateway.test/v1"))
    assert "FAILSAFE_ALLOW_KEY_HOST" in finding["provider-settings"].found


def test_azure_without_its_address_is_told(expect_logs: pytest.LogCaptureFixture) -> None:
    found = problems(of_environment(AZURE_OPENAI_API_KEY="MARKED0123456789", OPENAI_API_KEY=KEY))
    assert found["address-missing"].found == "AZURE_OPENAI_API_KEY is set without AZURE_OPENAI_ENDPOINT"


def test_of_settings_with_one_wrong_provider_the_others_are_looked_at(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        report = examined(
            tmp_path,
            {"broken": {"base_url": "http://127.0.0.1:1/v1", "timeot": 3}, "openai": settings_of(provider)},
        )
        assert provider.count() == 1
    found = problems(report)
    assert found.keys() == {"provider-settings"}
    assert "there is no such setting (did you mean 'timeout'?)" in found["provider-settings"].found
    assert [each.subject for each in report.findings if each.code == "answers"] == ["openai"]
    assert report.exit_code == 2


def test_of_settings_that_are_wrong_elsewhere_the_providers_are_looked_at(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        report = examined(tmp_path, {"openai": settings_of(provider)}, above="timeout = -3\n")
        assert provider.count() == 1
    assert only(report).code == "settings-unreadable"
    assert "timeout = -3" in only(report).found
    assert report.exit_code == 2


@pytest.mark.parametrize("text", ["[providers.openai\n", "providers = 3\n", "\xff" * 3])
def test_what_is_no_settings_file_is_told_and_the_machine_is_looked_at(text: str, tmp_path: Path) -> None:
    path = tmp_path / "failsafe.toml"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    report = examine(Wanted(path=path), environ={"FAILSAFE_STORE": "off", "ANTHROPIC_API_KEY": ""})
    assert problems(report).keys() == {"settings-unreadable", "variable-empty"}
    assert report.providers == ()
    assert report.exit_code == 2


def test_a_file_that_others_can_write_names_nobody_a_key_is_sent_to(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        path = written(tmp_path, {"openai": settings_of(provider)})
        path.chmod(0o666)
        report = examine(Wanted(path=path, timeout=2.0), environ={"FAILSAFE_STORE": "off"})
        assert provider.connections == 0
    finding = only(report)
    assert "others can write the file" in finding.found
    assert finding.do == (f"$ chmod go-w {path}",)


def test_a_file_with_a_key_that_others_can_read_is_told_with_the_command(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        path = written(tmp_path, {"openai": settings_of(provider)})
        path.chmod(0o644)
        report = examine(Wanted(path=path, timeout=2.0), environ={"FAILSAFE_STORE": "off"})
    finding = only(report)
    assert finding.code == "settings-unreadable"
    assert finding.do == (f"$ chmod 600 {path}",)
    assert report.exit_code == 2


def test_a_file_without_a_key_that_others_can_read_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    with FakeProvider("openai", key=KEY) as provider:
        path = written(tmp_path, {"openai": settings_of(provider, api_key="env:SOME_KEY")})
        path.chmod(0o644)
        report = examine(Wanted(path=path, timeout=2.0), environ={"FAILSAFE_STORE": "off"})
    assert (only(report).level, only(report).code) == (Level.NOTE, "settings-readable")
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("named", "said"), [("relative.toml", "an absolute path is needed"), ("/nowhere/failsafe.toml", "cannot be read")]
)
def test_a_wrong_failsafe_config_is_told(named: str, said: str) -> None:
    report = of_environment(FAILSAFE_CONFIG=named, OPENAI_API_KEY=KEY)
    assert only(report).code == "settings-unreadable"
    assert said in only(report).found
    assert report.exit_code == 2


def test_offline_nobody_is_asked(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        report = examined(tmp_path, {"openai": settings_of(provider)}, offline=True)
        assert provider.connections == 0
    assert {each.code for each in report.findings} == {"key-plausible", "alone", "store-off"}


def test_only_the_providers_that_are_named_are_looked_at(tmp_path: Path) -> None:
    with FakeProvider("openai") as one, FakeProvider("anthropic") as other:
        both = {"openai": settings_of(one), "anthropic": settings_of(other, api_key="MARKED0123456789")}
        report = examined(tmp_path, both, providers=("openai",))
        assert (one.count(), other.count()) == (1, 0)
    assert problems(report) == {}


def test_a_provider_that_nobody_knows_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider, pytest.raises(ConfigError, match="did you mean 'openai'"):
        examined(tmp_path, {"openai": settings_of(provider)}, providers=("opnai",))


def test_a_provider_of_the_catalogue_may_be_named_that_is_not_configured() -> None:
    wanted = Wanted(offline=True, providers=("groq",))
    report = examine(wanted, environ={"FAILSAFE_STORE": "off"})
    (finding,) = [each for each in report.findings if each.subject == "groq"]
    assert finding.found == "is known, and is not configured: its key goes into GROQ_API_KEY"
    assert report.exit_code == 0
    assert "nothing-configured" not in problems(report)


def test_a_provider_with_an_address_of_ones_own_cannot_be_looked_at_without_it() -> None:
    with pytest.raises(ConfigError, match="export AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY"):
        examine(Wanted(offline=True, providers=("azure",)), environ={"FAILSAFE_STORE": "off"})


def test_the_way_to_a_vendors_own_address_is_no_matter_of_spelling() -> None:
    wanted = Wanted(providers=("groq",), timeout=2.0)
    finding = problems(examine(wanted, environ={"FAILSAFE_STORE": "off"}))["dns-failed"]
    assert "mistyped" not in finding.why
    assert finding.do[-1] == "$ getent hosts api.groq.com"


def test_a_named_provider_whose_settings_are_wrong_is_no_unknown_one(tmp_path: Path) -> None:
    report = examined(tmp_path, {"mine": {"base_url": "nonsense"}}, providers=("mine",))
    assert problems(report).keys() == {"provider-settings"}


def test_findings_that_name_the_provider_is_switched_off_are_right(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        settings_ = {"openai": settings_of(provider), "xai": {"api_key": "env:NOT_SET", "enabled": False}}
        report = examined(tmp_path, settings_)
    assert [each.level for each in report.findings if each.subject == "xai"] == [Level.OK]
    assert problems(report) == {}


def test_a_file_of_ones_own_in_the_usual_place_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "failsafe"
    folder.mkdir(mode=0o700)
    assert settings_look.usual_path() == str(folder / "failsafe.toml")
    with FakeProvider("openai") as provider:
        path = written(folder, {"openai": settings_of(provider)})
        report = examine(Wanted(timeout=2.0), environ={"FAILSAFE_STORE": "off"})
    assert report.origin == str(path)
    assert problems(report) == {}


def test_the_process_own_variables_are_looked_at_unless_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setattr(os, "environ", _Copy(os.environ))
    assert "variable-empty" in problems(examine(Wanted(offline=True)))


class _Copy(dict[str, str]):
    """Variables as a plain mapping."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
