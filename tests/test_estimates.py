"""About how many tokens a request has."""

from __future__ import annotations

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
    one = tokens([{"role": "user", "content": "hi"}])
    assert tokens([{"role": "user", "content": "hi"}] * 10) == 10 * one


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
