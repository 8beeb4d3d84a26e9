"""Whether two model ids mean the same model."""

from __future__ import annotations

import pytest

from failsafe.model_names import same_model

SAME = [
    ("gpt-4.1", "gpt-4.1"),
    ("gpt-4.1", ""),
    ("gpt-4.1", "gpt-4.1-2025-04-14"),
    ("gpt-4.1-2025-04-14", "gpt-4.1"),
    ("gpt-4", "gpt-4-0613"),
    ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    ("claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
    ("claude-3-5-sonnet", "claude-3-5-sonnet@20241022"),
    ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
    ("mistral-large-latest", "mistral-large-2411"),
    ("gemini-2.5-flash", "models/gemini-2.5-flash"),
    ("gemini-2.5-flash", "gemini-2.5-flash-001"),
    ("gemini-2.5-flash", "gemini-2.5-flash-preview-05-20"),
    ("meta-llama/llama-3.1-8b:free", "meta-llama/llama-3.1-8b"),
    ("openai/gpt-4.1:nitro", "openai/gpt-4.1"),
    ("openai/gpt-4.1", "gpt-4.1-2025-04-14"),
    ("llama3.2", "llama3.2:latest"),
    ("GPT-4.1", "gpt-4.1"),
]
OTHER = [
    ("gpt-4.1", "gpt-4.1-mini"),
    ("gpt-4.1-mini", "gpt-4.1"),
    ("gpt-4o", "gpt-4"),
    ("gpt-4", "gpt-4-turbo"),
    ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13"),
    ("claude-opus-4-1", "claude-sonnet-4-5"),
    ("llama3.2:3b", "llama3.2:70b"),
    ("gpt-4.1", "vendor/"),
    ("gpt-4.1", "-"),
]


@pytest.mark.parametrize(("asked", "answered"), SAME)
def test_the_same(asked: str, answered: str) -> None:
    assert same_model(asked, answered)


@pytest.mark.parametrize(("asked", "answered"), OTHER)
def test_another(asked: str, answered: str) -> None:
    assert not same_model(asked, answered)


def test_a_very_long_name_is_compared_in_no_time() -> None:
    assert not same_model("gpt-4.1", "gpt-4.1-" + "2025-04-14-" * 100_000)
