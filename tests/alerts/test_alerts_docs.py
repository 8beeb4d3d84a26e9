"""The guide to alerts: its examples run, and its tables say what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from failsafe.alerts.formats import as_json, as_slack
from failsafe.alerts.grouping import Group
from failsafe.alerts.rules import Rules
from failsafe.events import Alert, PutOff
from failsafe.faults import REACTIONS, Fault
from failsafe.loader import load_file
from failsafe.monitoring_config import ALERT_RULES
from tests.test_policy_docs import DOCS, run_examples

PAGE = (DOCS / "alerts.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def table(first: str) -> dict[str, list[str]]:
    """The rows of the table whose first column is called *first*, by the name in it."""
    (rows,) = re.findall(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    cells = ([cell.strip() for cell in row.strip("|").split(" | ")] for row in rows.splitlines())
    return {name.strip("`| "): rest for name, *rest in cells}


def sent() -> Group:
    """The group of the examples."""
    rejected = PutOff(
        at=1_800_000_000.0, provider="openai", key="1a2b3c4d", model=None, fault=Fault.AUTH, seconds=60.0,
        message="the key was rejected", alert=True, advice=REACTIONS[Fault.AUTH].advice,
    )  # fmt: skip
    return Group(at=1_800_000_010.0, alerts=tuple(Rules().of(rejected)))


def test_the_examples_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, expect_logs: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    run_examples("alerts.md")
    first, last = capsys.readouterr().out.split("<Alerts", 1)
    assert first == blocks("text")[0]
    assert last.splitlines() == [" 1 groups sent, 0 dropped>", "test went down"]


def test_the_bodies_are_those_that_are_sent() -> None:
    as_shown, as_slack_shown = (json.loads(block) for block in blocks("json"))
    assert json.loads(as_json(sent(), "9f86d081884c7d65", "worker-3")) == as_shown
    assert json.loads(as_slack(sent(), "9f86d081884c7d65", "worker-3")) == as_slack_shown


def test_the_schema_names_every_field_with_its_type() -> None:
    types = {"integer": int, "number": float, "string": str, "array": list, "boolean": bool, "object": dict}
    body = json.loads(as_json(sent(), "n", "h"))
    for shown, found in ((table("field"), body), (table("field of an alert"), body["alerts"][0])):
        assert {name: types[kind] for name, (kind, _) in shown.items()} == {k: type(v) for k, v in found.items()}
    assert set(table("field of an alert")) == set(Alert.__struct_fields__)


def test_every_rule_is_in_the_table() -> None:
    assert list(table("rule")) == list(ALERT_RULES)


def test_the_settings_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = blocks("toml")
    monkeypatch.setenv("ALERT_WEBHOOK", "https://hooks.example.com/services/x")
    path = tmp_path / "failsafe.toml"
    path.write_text(f'{settings}\n[providers.openai]\napi_key = "sk-0123456789abcdef"\n', encoding="utf-8")
    path.chmod(0o600)
    config = load_file(path).alerts
    assert config.webhook_format == "slack"
    assert config.command == ("/usr/local/bin/page", "--team", "llm")
