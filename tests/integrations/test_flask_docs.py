"""The Flask section of the guide: its example runs, and its table names the settings that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from failsafe.integrations.flask_settings import _SOURCES, FlaskSettings
from failsafe.testing import answer, streaming
from tests.integrations.apps import events_in, text_of
from tests.router_bench import Bench

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "drop-ins.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## Flask\n")[2].partition("\n## ")[0]


def test_the_example_answers_and_streams() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "drop-ins"}
    exec(compile(code, "drop-ins.md", "exec"), names)
    bench = Bench((answer("forty-two"), streaming("forty-", "two")), aliases={"fast": ["gpt-4.1"]})
    client = names["create_app"](FAILSAFE_ROUTER=bench.router).test_client()
    assert client.post("/ask", json={"question": "how many?"}).json == {"answer": "forty-two", "by": "a"}
    assert text_of(events_in(client.post("/stream", json={"question": "how many?"}).data)) == "forty-two"


def test_the_table_has_every_setting() -> None:
    listed = set(re.findall(r"^\| `(FAILSAFE_\w+)` \|", SECTION, re.MULTILINE))
    own = {f"FAILSAFE_{field.name.upper()}" for field in fields(FlaskSettings)}
    assert listed == own | set(_SOURCES)
