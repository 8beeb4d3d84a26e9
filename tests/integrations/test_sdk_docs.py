"""The section on the SDKs in the guide: its examples run, and what it says of errors is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from failsafe import errors
from failsafe.inbound.openai import _CODES
from failsafe.inbound.statuses import _STATUSES, status_of
from failsafe.sim import FakeCloud
from tests.acceptance.routers import said_by

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "drop-ins.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## The OpenAI and Anthropic SDKs\n")[2].partition("\n## ")[0]


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "drop-ins"}
    with FakeCloud.of("openai") as cloud:
        settings = cloud.as_toml() + '\n[aliases]\nfast = ["gpt-4.1-mini"]\n'
        (tmp_path / "failsafe.toml").write_text(settings, encoding="utf-8")
        (tmp_path / "failsafe.toml").chmod(0o600)
        monkeypatch.chdir(tmp_path)
        for code in re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL):
            exec(compile(code, "drop-ins.md", "exec"), names)
        for opened in ("client", "claude", "router"):
            names[opened].close()
    answers, embedded = [said_by("openai", "Name a prime.")] * 3, "2 1536"
    assert capsys.readouterr().out.splitlines() == [*answers, embedded]


def rows() -> list[tuple[list[str], str, str, str]]:
    table = re.findall(r"^\| (`\w+Error|`\w+`.*?) \| (\d+) \| `(\w+)` \| `(\w+)` \|$", SECTION, re.MULTILINE)
    return [
        (re.findall(r"`(\w+)`", named), status, of_openai, of_anthropic)
        for named, status, of_openai, of_anthropic in table
    ]


@pytest.mark.parametrize(("named", "status", "of_openai", "of_anthropic"), rows())
def test_errors_become_what_the_table_says(named: list[str], status: str, of_openai: str, of_anthropic: str) -> None:
    assert named
    for name in named:
        assert status_of(getattr(errors, name)("why")) == int(status)
    assert _raised_for(int(status), openai) == of_openai
    assert _raised_for(int(status), anthropic) == of_anthropic


def _raised_for(status: int, sdk: Any) -> str:
    """The name of what *sdk* raises for *status*."""
    library = pytest.importorskip("httpx2")
    answer = library.Response(status, json={"error": {"message": "why", "type": "x"}})
    http = library.Client(transport=library.MockTransport(lambda _: answer))
    make = sdk.OpenAI if sdk is openai else sdk.Anthropic
    with make(api_key="k", max_retries=0, http_client=http) as client, pytest.raises(sdk.APIStatusError) as raised:
        client.get("/x", cast_to=object)
    return type(raised.value).__name__


def test_the_table_is_read() -> None:
    assert [status for _, status, _, _ in rows()] == ["400", "404", "503", "402", "504"]


def test_every_code_of_an_error_is_listed() -> None:
    for _, code in _CODES:
        assert f"`{code}`" in SECTION or code == "rate_limit_exceeded"


def test_no_status_is_left_out() -> None:
    listed = {int(status) for status in re.findall(r"\| (\d{3}) \|", SECTION)}
    assert {status for _, status in _STATUSES} - listed <= {429, 502}
