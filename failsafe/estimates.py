"""
How many tokens a request has, roughly, without anybody's tokenizer.

Four characters of English are about a token (https://help.openai.com/en/articles/4936856, "What are tokens
and how to count them?"); of other alphabets fewer make one, of Chinese, Japanese and Korean one or two.
Counted are bytes of UTF-8, four to a token, which comes near all of these: a CJK character has three.
Expect the truth between half and twice the estimate. Good enough to choose a provider; not to bill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from failsafe.catalog import ModelInfo
from failsafe.models import ChatRequest

_BYTES_A_TOKEN = 4
_TOKENS_A_MESSAGE = 4
"""For the role and the separators around a message (OpenAI's cookbook counts three or four)."""
_TOKENS_AN_IMAGE = 800
"""A picture of about a megapixel; vendors count from 85 to some 1,600, never by the length of its base64."""
ASSUMED_ANSWER = 500
"""Tokens that an answer is taken to have where the caller gave no ``max_tokens``."""


def prompt_tokens(request: ChatRequest) -> int:
    """Return about how many tokens the prompt of *request* has, its tools included."""
    counted = sum(_TOKENS_A_MESSAGE + _content_tokens(message.get("content")) for message in request.messages)
    counted += sum(_json_tokens(message["tool_calls"]) for message in request.messages if message.get("tool_calls"))
    tools = request.parameters.get("tools")
    return counted + (_json_tokens(tools) if tools else 0)


def _content_tokens(content: Any) -> int:
    if isinstance(content, str):
        return _text_tokens(content)
    if not isinstance(content, list | tuple):
        return 0
    return sum(_part_tokens(part) for part in content)


def _part_tokens(part: Any) -> int:
    if not isinstance(part, Mapping):
        return 0
    texts = (part.get(key) for key in ("text", "thinking", "reasoning", "refusal"))
    length = sum(_text_tokens(text) for text in texts if isinstance(text, str))
    return length or _TOKENS_AN_IMAGE


def _text_tokens(text: str) -> int:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // _BYTES_A_TOKEN)


def _json_tokens(value: Any) -> int:
    return len(msgspec.json.encode(value, enc_hook=repr)) // _BYTES_A_TOKEN


def answer_tokens(request: ChatRequest) -> int:
    """Return how many tokens the answer may have: ``max_tokens``, or what an answer is assumed to have."""
    most = request.parameters.get("max_tokens")
    return most if isinstance(most, int) else ASSUMED_ANSWER


def fits(info: ModelInfo, prompt: int, most: int | None) -> bool:
    """
    Return whether a prompt of about *prompt* tokens, and *most* of answer if that was asked for, fits the model.

    A model of unknown size fits everything.
    """
    return info.context_window is None or prompt + (most or 0) <= info.context_window
