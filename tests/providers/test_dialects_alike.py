"""The caller's mistake is one whoever is asked first: every dialect refuses the same requests, in the same words."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe.catalog import catalog
from failsafe.errors import InvalidRequest
from failsafe.providers.base import Target
from failsafe.providers.registry import dialect_named
from failsafe.request import build_request

HALF = "\ud800"
USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "r"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

MODELS = {
    "openai": "gpt-4.1",
    "mistral": "mistral-small-2603",
    "deepseek": "deepseek-flash",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3.5-flash",
}

MISTAKES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "content": ([{"role": "user", "content": HALF}], {}),
    "system": ([{"role": "system", "content": HALF}, USER], {}),
    "part": ([{"role": "user", "content": [{"type": "text", "text": HALF}]}], {}),
    "name": ([{**USER, "name": HALF}], {}),
    "name-of-result": ([USER, ASKED, {**RESULT, "name": HALF}], {"tools": TOOLS}),
    "result": ([USER, ASKED, {**RESULT, "content": HALF}], {"tools": TOOLS}),
    "refusal": ([USER, {"role": "assistant", "content": None, "refusal": HALF}, USER], {}),
    "unknown-key": ([{**USER, "x": HALF}], {}),
    "reasoning": ([USER, {"role": "assistant", "content": "a", "reasoning": HALF}, USER], {}),
    "user": ([USER], {"user": HALF}),
    "stop": ([USER], {"stop": ["a", HALF]}),
    "metadata": ([USER], {"metadata": {"a": HALF}}),
    "logit_bias": ([USER], {"logit_bias": {HALF: 1}}),
    "tool": ([USER], {"tools": [{"type": "function", "function": {"name": "f", "description": HALF}}]}),
}


def outcome(vendor: str, messages: list[Any], parameters: dict[str, Any]) -> str:
    preset, model = catalog().presets[vendor], MODELS[vendor]
    to = Target(provider=vendor, vendor=vendor, model=model, info=catalog().model(model), quirks=preset.quirks)
    with pytest.raises(InvalidRequest) as caught:
        dialect_named(preset.dialect).build(build_request(messages, "m", parameters), to)
    return str(caught.value)


@pytest.mark.parametrize(("messages", "parameters"), MISTAKES.values(), ids=MISTAKES)
def test_a_text_that_cannot_be_sent_is_refused_by_all_even_where_it_would_be_left_out(
    messages: list[Any], parameters: dict[str, Any]
) -> None:
    refusals = {outcome(vendor, messages, parameters) for vendor in MODELS}
    assert len(refusals) == 1
    assert "half a surrogate pair" in refusals.pop()
