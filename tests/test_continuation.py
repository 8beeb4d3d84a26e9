"""Going on with an answer that another provider has begun: what is sent, what is refused, and the space at the seam."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.continuation import INSTRUCTION, continued, may_continue, repeated_space
from failsafe.models import ChatRequest
from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.base import Target
from failsafe.providers.gemini import GeminiDialect
from failsafe.providers.openai import OpenAIDialect
from failsafe.request import build_request

TOOL = {"type": "function", "function": {"name": "look_up"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
ANTHROPIC = Target(provider="claude", vendor="anthropic", model="claude-x")


def request(messages: Any = "hi", extra: dict[str, Any] | None = None, **parameters: Any) -> ChatRequest:
    return build_request(messages, "m", parameters, extra)


# What is sent


def test_a_model_that_goes_on_by_itself_gets_the_text_as_its_own_message() -> None:
    asked = request([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}])
    assert continued(asked, "Hello wor", prefill=True).messages == [
        *asked.messages,
        {"role": "assistant", "content": "Hello wor"},
    ]


def test_any_other_is_told_to_go_on() -> None:
    asked = request()
    assert continued(asked, "Hello wor", prefill=False).messages == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello wor"},
        {"role": "user", "content": INSTRUCTION},
    ]


def test_the_instruction_says_where_to_go_on_and_what_not_to_write() -> None:
    for said in ("cut off", "exactly where it stops", "repeat nothing", "no introduction", "no comment"):
        assert said in INSTRUCTION


@pytest.mark.parametrize("prefill", [True, False])
def test_all_else_stays_as_it_was_asked_and_the_request_is_not_changed(prefill: bool) -> None:
    asked = request("hi", {"top_k": 5}, temperature=0.5, tools=[TOOL])
    before = copy.deepcopy(asked)
    going_on = continued(asked, "Hello", prefill=prefill)
    assert asked == before
    assert (going_on.model, going_on.parameters, going_on.extra, going_on.needs) == (
        asked.model, asked.parameters, asked.extra, asked.needs,
    )  # fmt: skip


@pytest.mark.parametrize("prefill", [True, False])
@pytest.mark.parametrize("text", ["", " ", "\n\n\t"])
def test_white_space_alone_is_nothing_to_go_on_with(text: str, prefill: bool) -> None:
    assert continued(request(), text, prefill=prefill) == request()


@pytest.mark.parametrize("prefill", [True, False])
@given(text=st.text(st.characters(codec="utf-8")))
def test_what_is_sent_is_a_request_that_the_caller_might_have_made(prefill: bool, text: str) -> None:
    going_on = continued(request(), text, prefill=prefill)
    assert build_request(going_on.messages, "m", {}) == going_on


@pytest.mark.parametrize("dialect", [AnthropicDialect(), GeminiDialect(), OpenAIDialect()], ids=lambda each: each.name)
def test_every_dialect_can_say_it(dialect: Any) -> None:
    target = Target(provider="p", vendor=dialect.name, model="m")
    sent = dialect.build(continued(request(), "Hello wor", prefill=False), target).body.decode()
    assert sent.index('"hi"') < sent.index('"Hello wor"') < sent.index(INSTRUCTION)


# What cannot be gone on with


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"response_format": {"type": "text"}},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "none"},
        {"logprobs": False},
        {"extra": {"output_config": {"effort": "low"}, "generationConfig": {"responseMimeType": "text/plain"}}},
        {"extra": {"output_config": "strange", "generationConfig": None}},
    ],
)
def test_text_can_be_gone_on_with(parameters: dict[str, Any]) -> None:
    assert may_continue(request(**parameters)) is None


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format json_object"),
        ({"response_format": SCHEMA}, "response_format json_schema"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
            "tool_choice",
        ),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well"}]}, "go on with"),
        ({"extra": {"output_config": {"format": {"type": "json_schema"}}}}, "output_config.format"),
        ({"extra": {"generationConfig": {"responseMimeType": "application/json"}}}, "responseMimeType"),
        ({"extra": {"generationConfig": {"responseSchema": {}}}}, "responseSchema"),
        ({"extra": {"generationConfig": {"responseJsonSchema": {}}}}, "responseJsonSchema"),
    ],
)
def test_what_is_more_than_text_cannot_and_the_reason_names_it(parameters: dict[str, Any], why: str) -> None:
    said = may_continue(request(**parameters))
    assert said is not None
    assert why in said


# The seam

SPACE = st.text(" \n\t\u00a0\u3000", max_size=4)
PIECES = st.lists(st.text(" \nab", max_size=4), max_size=5)


def through(space: str, pieces: list[str]) -> str:
    """What is left of a continuation in *pieces*."""
    left = ""
    for piece in pieces:
        text, space = repeated_space(space, piece)
        left += text
    return left


@pytest.mark.parametrize(
    ("space", "pieces", "left"),
    [
        (" ", [" world"], "world"),
        (" ", ["world"], "world"),
        (" ", ["  world"], " world"),
        (" ", ["", " ", " world"], " world"),
        ("\n\n", ["\n", "\nNext"], "Next"),
        ("\n\n", ["\n", "Next"], "Next"),
        ("\n ", [" Next"], " Next"),
        ("", [" world"], " world"),
        (" ", ["world ", " again"], "world  again"),
        (" ", [" "], ""),
    ],
)
def test_space_that_the_model_repeats_is_left_off(space: str, pieces: list[str], left: str) -> None:
    assert through(space, pieces) == left


@given(SPACE, PIECES)
def test_nothing_but_that_space_is_left_off_and_only_from_the_beginning(space: str, pieces: list[str]) -> None:
    whole = "".join(pieces)
    left = through(space, pieces)
    assert whole.endswith(left)
    gone = whole[: len(whole) - len(left)]
    assert space.startswith(gone)


@given(SPACE, PIECES)
def test_it_does_not_matter_how_the_continuation_is_cut(space: str, pieces: list[str]) -> None:
    assert through(space, pieces) == through(space, ["".join(pieces)])


@given(st.text(" \nab", max_size=8), st.text("ab ", max_size=6))
def test_a_model_that_repeats_all_of_it_leaves_no_trace(begun: str, rest: str) -> None:
    sent = begun.rstrip()
    space = begun[len(sent) :]
    assert begun + through(space, [space + rest]) == sent + space + rest


@given(st.text(" \n\tab\u00a0\u3000", min_size=1, max_size=8).filter(str.strip))
def test_what_anthropic_is_not_sent_is_what_may_be_repeated(begun: str) -> None:
    body = json.loads(AnthropicDialect().build(continued(request(), begun, prefill=True), ANTHROPIC).body)
    (block,) = body["messages"][-1]["content"]
    assert body["messages"][-1]["role"] == "assistant"
    assert begun == block["text"] + begun[len(begun.rstrip()) :]
