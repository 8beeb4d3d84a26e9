"""``failsafe providers``: claims with their source beside what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.clock import SYSTEM_CLOCK
from tests.cli.recorded import answered, record
from tests.cli.terminals import shown_by
from tests.cli.test_cli_cost import settings


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["providers", *arguments])


def data(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return {each["provider"]: each for each in json.loads(result.stdout)}


@pytest.fixture
def store(tmp_path: Path) -> str:
    path, now = tmp_path / "store.db", SYSTEM_CLOCK.time()
    record(path, [answered(now - second, ms=200.0) for second in range(600, 0, -10)])
    return str(path)


def test_claims_come_with_source_and_date_and_unknown_is_said() -> None:
    found = data()
    claims = found["holysheep"]["claims"]
    assert (claims["sla"], claims["payment"], claims["free_credit"]) == (
        99.9, ["WeChat Pay", "Alipay"], "on registration",
    )  # fmt: skip
    assert (claims["source"], claims["as_of"]) == ("holysheep.ai, articles", "2026-04-20")
    assert found["openai"]["claims"] is None
    assert found["holysheep"]["measured"] == {
        "p50_ms": None, "p95_ms": None, "uptime": None, "coverage": 0.0, "answered": 0,
    }  # fmt: skip
    gpt = next(each for each in found["holysheep"]["models"] if each["model"] == "gpt-4.1")
    assert (gpt["input"], gpt["output"], gpt["assumed"], gpt["source"]) == (2, 8, True, "holysheep.ai, articles")


def test_every_model_of_a_provider_is_listed_once() -> None:
    names = [each["model"] for each in data("holysheep")["holysheep"]["models"]]
    assert names == [
        "gpt-4.1",
        "gpt-4.1-mini",
        "claude-sonnet-4.5",
        "gemini-2.5-flash",
        "gemini-2.5-pro",
        "deepseek-v3.2",
    ]


def test_what_was_measured_stands_beside_the_claims(store: str) -> None:
    measured = data("--store", store, "--window", "10m")["openai"]["measured"]
    assert measured["answered"] in (59, 60)
    assert measured["p95_ms"] == pytest.approx(200, rel=0.06)
    assert measured["uptime"] == 100


def test_another_server_of_the_name_is_not_measured_for_it(store: str, tmp_path: Path) -> None:
    config = settings(tmp_path, '[providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\n')
    found = data("--store", store, "--config", config)
    assert found["openai"]["configured"] is True
    assert found["openai"]["measured"]["answered"] == 0


def test_providers_of_the_settings_come_first_and_need_no_key(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        '[providers.mine]\nbase_url = "https://llm.example.com/v1"\nprices = { big = { input = 1, output = 2 } }\n'
        'models = ["big"]\napi_key = "env:NO_SUCH_VARIABLE"\n',
    )
    found = data("--config", config)
    assert next(iter(found)) == "mine"
    assert (found["mine"]["configured"], found["openai"]["configured"]) == (True, False)
    assert found["mine"]["models"][0]["input"] == 1


def test_lines_have_everything(store: str) -> None:
    shown = run("holysheep", "openai", "--store", store).stdout.splitlines()
    assert shown[0] == (
        "holysheep: 6 models; gpt-4.1-mini $0.40 in and $1.60 out for a million; SLA 99.9 %; "
        "pays with WeChat Pay, Alipay; free credit on registration; claims to add at most 50 ms; "
        "claims read in holysheep.ai, articles, 2026-04-20; seen in 30d: p50 -, p95 -, up -"
    )
    assert shown[1] == (
        "holysheep: gpt-4.1: $2.00 in and $8.00 out for a million; assumed; holysheep.ai, articles, 2026-05-30"
    )
    (openai,) = [line for line in shown if line.startswith("openai: ") and "models" in line]
    assert "SLA -; pays with -; free credit -; seen in 30d: p50 1" in openai


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("names", [[], ["holysheep", "groq"]])
def test_it_fits_a_terminal(store: str, columns: int, names: list[str]) -> None:
    code, shown = shown_by("providers", *names, "--store", store, columns=columns)
    assert code == 0
    assert max(map(len, shown)) <= columns
    assert any("WeChat Pay" in line for line in shown)


def test_an_unknown_name_is_told_what_there_is() -> None:
    result = run("holyshep")
    assert result.exit_code == 2
    assert "did you mean 'holysheep'?" in result.stderr


def test_a_store_that_was_named_has_to_be_there() -> None:
    assert run("--store", "/nowhere/store.db").exit_code == 2
    assert run().exit_code == 0
