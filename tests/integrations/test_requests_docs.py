"""The section on ``requests`` in the guide: its example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from failsafe.sim import FakeCloud

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "drop-ins.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## A `requests` session\n")[2].partition("\n## ")[0]


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "drop-ins"}
    with FakeCloud.of("openai") as cloud:
        settings = tmp_path / "failsafe.toml"
        settings.write_text(cloud.as_toml() + '\n[aliases]\nfast = ["gpt-4.1-mini"]\n', encoding="utf-8")
        settings.chmod(0o600)
        monkeypatch.chdir(tmp_path)
        (code,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
        exec(compile(code, "drop-ins.md", "exec"), names)
        names["session"].close()
        names["router"].close()
    assert capsys.readouterr().out.splitlines() == ["provider openai says: Name a prime."] * 2
