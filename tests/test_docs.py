"""What the guides say exists."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import pytest

import failsafe

ROOT = Path(__file__).resolve().parents[1]

NAMES_OF_THE_ARTICLE = [
    "AIRouter",
    "AIResponse",
    "HolySheepProvider",
    "ProviderStatus",
    "RetryConfig",
    "calculate_delay",
    "retry_with_backoff",
    "call_with_retry",
    "RetryableError",
    "NonRetryableError",
    "retry_decorator",
    "CircuitBreakerManager.get_breaker",
    "CircuitBreakerManager.get_all_stats",
    "get_stats",
    "AIHealthMonitor",
    "continuous_health_check",
]


def blocks(language: str) -> list[str]:
    """The code blocks of the README in *language*."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_readme_opens_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\$ (make \w+)", text, re.MULTILINE)[:2] == ["make demo", "make test"]
    assert text.index("make test") < 300


@pytest.mark.parametrize("code", blocks("python"))
def test_the_examples_of_the_readme_are_python_and_import_what_there_is(code: str) -> None:
    compile(code, "README.md", "exec")
    for names in re.findall(r"^from failsafe import (.+)$", code, re.MULTILINE):
        assert set(names.split(", ")) <= set(failsafe.__all__)


def test_the_settings_of_the_readme_make_a_router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = blocks("toml")
    for name in re.findall(r"env:(\w+)", settings):
        monkeypatch.setenv(name, f"sk-{name.lower()}")
    path = tmp_path / "failsafe.toml"
    path.write_text(settings, encoding="utf-8")
    path.chmod(0o600)
    with failsafe.Router.from_file(path) as router:
        assert router.providers == ("openai", "anthropic")
        assert router.config.aliases == {"fast": ("gpt-4.1-mini", "claude-haiku-4-5")}


def test_the_index_leads_to_every_guide() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    guides = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {guide for guide in guides if f"]({guide})" not in index} == set()


def origin() -> str:
    return (ROOT / "docs" / "origin.md").read_text(encoding="utf-8")


def rows() -> dict[str, str]:
    """The table of names: what stands in the first column, and the rest of its row."""
    found: dict[str, str] = {}
    for line in origin().partition("## The keys")[0].splitlines():
        if line.startswith("| `"):
            first, _, rest = line.removeprefix("| ").partition(" | ")
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first), rest)
    return found


@pytest.mark.parametrize("name", NAMES_OF_THE_ARTICLE)
def test_every_name_of_the_article_has_its_row(name: str) -> None:
    assert name in rows()


def test_every_row_names_ours_or_says_that_there_is_none() -> None:
    silent = [name for name, rest in rows().items() if not re.match(r"`failsafe\.|not in this version", rest)]
    assert silent == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`failsafe\.([\w.]+)`", origin()))))
def test_every_name_of_ours_in_origin_exists(path: str) -> None:
    assert reduce(getattr, path.split("."), failsafe) is not None


def test_our_keys_of_get_stats_exist() -> None:
    section = origin().partition("## The keys of `get_stats`")[2].partition("\n## ")[0]
    ours = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:]
    named = {name for cell in ours for name in re.findall(r"`(\w+)`", cell)}
    with failsafe.Router([failsafe.ProviderConfig(name="a", base_url="https://a.example/v1")]) as router:
        stats = router.stats()["a"]
    known = {*stats, *stats["breaker"].__struct_fields__}
    assert named
    assert named <= known
