"""Every program of docs/migrating.md runs, and those under "after" are answered while OpenAI is down."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.sim import Behaviour, FakeCloud, RefuseConnections

PAGE = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text(encoding="utf-8")
LONGEST = 50  # seconds for one program, a hard cap: litellm alone takes four to import


def programs(kind: str) -> list[tuple[str, str]]:
    """The programs under "Before" or "After", each with the library it shows."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    found = []
    for section in sections:
        title = section.splitlines()[0]
        for said, program in re.findall(r"([^`]*?)```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            paragraph = said.strip().split("\n\n")[-1]
            if paragraph.startswith("Before") == (kind == "Before"):
                found.append((title, program))
    return found


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as cloud:
        yield cloud


def run(program: str, cloud: FakeCloud, folder: Path) -> str:
    """What *program* prints, in a process of its own that knows the fake providers only."""
    (table,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for each in cloud:
        table = table.replace(f"[providers.{each.name}]\n", f'[providers.{each.name}]\nbase_url = "{each.base_url}"\n')
    (folder / "failsafe.toml").write_text(table, encoding="utf-8")
    (folder / "failsafe.toml").chmod(0o600)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= cloud.as_environment()
    environment |= {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet
        "LITELLM_LOG": "ERROR",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_there_is_a_way_from_each_of_the_four() -> None:
    titles = [title for title, _ in programs("Before")]
    assert titles == ["From a loop around `requests`", "From the OpenAI SDK", "From tenacity and pybreaker",
                      "From LiteLLM's Router"]  # fmt: skip
    assert {title for title, _ in programs("After")} == set(titles)


@pytest.mark.parametrize(("title", "program"), programs("Before"))
def test_what_is_left_behind_runs(title: str, program: str, cloud: FakeCloud, tmp_path: Path) -> None:
    assert run(program, cloud, tmp_path) == "provider openai says: Say hi"


@pytest.mark.parametrize(("title", "program"), programs("After"))
def test_what_takes_its_place_runs(title: str, program: str, cloud: FakeCloud, tmp_path: Path) -> None:
    assert run(program, cloud, tmp_path) in ("provider openai says: Say hi", "models: []")


@pytest.mark.parametrize(("title", "program"), programs("After"))
def test_what_takes_its_place_is_answered_while_openai_is_down(
    title: str, program: str, cloud: FakeCloud, tmp_path: Path
) -> None:
    cloud["openai"].behave(Behaviour(delivery=RefuseConnections()))
    assert run(program, cloud, tmp_path) in ("provider anthropic says: Say hi", "models: []")
