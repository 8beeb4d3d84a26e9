"""What holds for every conversation that the native dialects send, whatever it holds."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo
from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.base import Dialect, Target
from failsafe.providers.gemini import GeminiDialect
from failsafe.request import build_request

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("f", "g")]
TEXT = st.sampled_from(["", " ", "hello", '{"a": 1}', "ünï"])
CALL_ID = st.sampled_from(["call_1", "call_2", "functions.f:0", "toolu_x", "é", "x" * 80])
ARGUMENTS = st.sampled_from(["", "{}", '{"a": 1}'])
STORED: st.SearchStrategy[list[Any]] = st.lists(
    st.sampled_from([{}, {"type": "text", "text": "hello"}, {"text": "hello"}, {"type": []}, {"thought": 1}, None]),
    max_size=2,
)
OWN_DATA = st.fixed_dictionaries({}, optional={"content": STORED, "parts": STORED})
FOREIGN = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": TEXT,
        "provider_data": st.fixed_dictionaries({"provider": st.just("p"), "model": st.just("m"), "data": OWN_DATA}),
    },
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant that calls tools, and the results in any order."""
    ids = draw(st.lists(CALL_ID, min_size=1, max_size=3, unique=True))
    functions = [{"name": draw(st.sampled_from("fg")), "arguments": draw(ARGUMENTS)} for _ in ids]
    calls = [
        {"id": identity, "type": "function", "function": function}
        for identity, function in zip(ids, functions, strict=True)
    ]
    results = [
        {"role": "tool", "tool_call_id": identity, "content": draw(TEXT)} for identity in draw(st.permutations(ids))
    ]
    return [{"role": "assistant", "content": draw(TEXT | st.none()), "tool_calls": calls, **draw(FOREIGN)}, *results]


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A user's first word, and whatever may follow it."""
    said = st.builds(lambda role, text: [{"role": role, "content": text}], st.sampled_from(["user", "system"]), TEXT)
    spoken = st.builds(lambda text, more: [{"role": "assistant", "content": text, **more}], TEXT, FOREIGN)
    turns = draw(st.lists(said | spoken | exchanges(), max_size=6))
    return [{"role": "user", "content": "hello"}, *(message for turn in turns for message in turn)]


def body_for(dialect: Dialect, messages: list[dict[str, Any]], thinking: str) -> dict[str, Any]:
    request = build_request(messages, "m", {"tools": TOOLS, "reasoning_effort": "low"})
    before = copy.deepcopy(messages)
    built = dialect.build(request, Target(provider="p", vendor="p", model="m", info=ModelInfo(thinking=thinking)))
    assert messages == before
    body: dict[str, Any] = json.loads(built.body)
    return body


@given(conversations(), st.sampled_from(["budget", "adaptive"]))
def test_anthropic_is_sent_alternating_turns_whose_results_answer_the_calls_before_them(
    messages: list[dict[str, Any]], thinking: str
) -> None:
    turns = body_for(AnthropicDialect(), messages, thinking)["messages"]
    assert [turn["role"] for turn in turns] == [("user", "assistant")[index % 2] for index in range(len(turns))]
    called: list[str] = []
    for turn in turns:
        assert turn["content"]
        results = [block["tool_use_id"] for block in turn["content"] if block.get("type") == "tool_result"]
        if turn["role"] == "user":
            assert sorted(results) == sorted(called)
            kinds = [block["type"] for block in turn["content"]]
            assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        called = [block["id"] for block in turn["content"] if block.get("type") == "tool_use"]
        assert all(re.fullmatch("[a-zA-Z0-9_-]+", identity) for identity in called)
        assert all(block["text"].strip() for block in turn["content"] if block.get("type") == "text")


@given(conversations(), st.sampled_from(["budget", "level"]))
def test_gemini_is_sent_alternating_turns_whose_results_stand_as_the_calls_before_them(
    messages: list[dict[str, Any]], thinking: str
) -> None:
    contents = body_for(GeminiDialect(), messages, thinking)["contents"]
    assert [content["role"] for content in contents] == [("user", "model")[index % 2] for index in range(len(contents))]
    called: list[str] = []
    for content in contents:
        assert content["parts"]
        results = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        if content["role"] == "user":
            assert results == called
        called = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
