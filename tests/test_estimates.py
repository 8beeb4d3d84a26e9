"""About how many tokens a request has."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo
from failsafe.estimates import ASSUMED_ANSWER, answer_tokens, fits, prompt_tokens
from failsafe.pricing import Price
from failsafe.request import build_request
from failsafe.request_size import RequestSize
from failsafe.testing import FakeClock

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 50_000}}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "d" * 400, "parameters": {"type": "object"}}}


def tokens(messages: Any, **parameters: Any) -> int:
    return prompt_tokens(build_request(messages, "m", parameters))


def test_four_characters_of_english_are_about_a_token() -> None:
    assert tokens("word " * 800) == 1000 + 4


def test_a_character_of_chinese_is_about_a_token() -> None:
    assert 700 <= tokens("你" * 1000) <= 1100


def test_every_message_counts_with_its_role() -> None:
    one = tokens([{"role": "user", "content": "four"}])
    assert tokens([{"role": "user", "content": "four"}] * 10) == 10 * one


def test_an_image_does_not_count_by_the_length_of_its_base64() -> None:
    content = [{"type": "text", "text": "what is this?"}, IMAGE]
    assert 500 < tokens([{"role": "user", "content": content}]) < 2000


def test_tools_and_tool_calls_count() -> None:
    assert tokens("hi", tools=[TOOL]) > 100
    call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "' + "x" * 4000 + '"}'}}
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]
    assert tokens(history) > 1000


def test_an_empty_text_is_no_image() -> None:
    assert tokens([{"role": "user", "content": [{"type": "text", "text": ""}]}]) < 10


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "A" * 100_000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 100_000}},
    ],
)
def test_no_attachment_counts_by_the_length_of_its_data(part: dict[str, Any]) -> None:
    assert 100 < tokens([{"role": "user", "content": [part]}]) < 2000


def test_the_schema_of_the_answer_counts() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "description": "d" * 400, "minLength": 1}}}
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}
    assert 100 < tokens("hi", response_format=form) < 200


def test_reasoning_and_refusals_of_earlier_turns_count() -> None:
    content: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "x" * 400},
        {"type": "refusal", "refusal": "y" * 400},
    ]
    content += [{"type": "thinking", "thinking": None}]  # what another client kept of a hidden thought
    history = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]
    assert 200 < tokens(history) < 250


def test_a_large_text_is_never_copied_whole() -> None:
    request = build_request("你" * 2_000_000, "m", {})
    tracemalloc.start()
    try:
        estimate = prompt_tokens(request)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert estimate == 1_500_000 + 4
    assert peak < 2_000_000  # the text has 4,000,000 bytes in memory and 6,000,000 in UTF-8


@given(st.text(), st.text())
def test_a_longer_text_is_never_estimated_shorter(one: str, other: str) -> None:
    assert tokens(one + other or "x") >= max(tokens(one or "x"), tokens(other or "x")) - 1


@given(st.text())
def test_any_text_has_an_estimate(text: str) -> None:
    assert tokens([{"role": "user", "content": text}]) >= len(text) // 4


def test_half_a_surrogate_pair_is_no_reason_to_fail() -> None:
    assert tokens([{"role": "user", "content": "\ud800"}]) > 0


def test_an_answer_is_as_long_as_it_may_be_or_is_assumed() -> None:
    assert answer_tokens(build_request("hi", "m", {"max_tokens": 77})) == 77
    assert answer_tokens(build_request("hi", "m", {})) == ASSUMED_ANSWER


@pytest.mark.parametrize(
    ("window", "prompt", "most", "expected"),
    [
        (None, 10**9, None, True),
        (100, 100, None, True),
        (100, 101, None, False),
        (100, 60, 40, True),
        (100, 60, 41, False),
    ],
)
def test_what_fits_a_window(window: int | None, prompt: int, most: int | None, expected: bool) -> None:
    assert fits(ModelInfo(context_window=window), prompt, most) is expected


def test_the_size_of_a_request_is_worked_out_once() -> None:
    size = RequestSize(build_request("word " * 800, "m", {"max_tokens": 100}), FakeClock())
    assert (size.prompt_tokens, size.tokens) == (1004, 1104)
    assert not size.fits(ModelInfo(context_window=1050))
    assert size.cost_usd(()) is None
    price = Price(input=2, output=10)  # type: ignore[arg-type]
    assert size.cost_usd((price,)) == pytest.approx((1004 * 2 + 100 * 10) / 1e6)
