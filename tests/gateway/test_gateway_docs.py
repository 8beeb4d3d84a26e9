"""The guide to the gateway: its example runs, and its tables name what there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from failsafe.gateway import Gateway
from tests.gateway.asking import ask

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")


def test_the_example_lets_in_who_shows_the_token() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "gateway"}
    exec(compile(code, "gateway.md", "exec"), names)
    with names["router"]:
        headers: dict[str, str | None] = {"Host": "llm.example.com"}
        got = ask(names["application"], "/v1/models", token="16-characters-or-more", headers=headers)
    assert [each["id"] for each in got.json["data"]] == ["llama3.2"]


def test_the_table_has_every_argument() -> None:
    section = GUIDE.partition("\n## In a server of your own\n")[2]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert listed == list(inspect.signature(Gateway).parameters)


def test_every_path_is_in_the_table() -> None:
    listed = set(re.findall(r"`(?:GET|POST) (/[\w/]+)", GUIDE))
    source = Path(inspect.getfile(Gateway)).read_text(encoding="utf-8")
    assert listed >= set(re.findall(r'"(/(?:v1/[\w/]+|healthz))"', source))
