"""
How many tokens a request has, roughly, without anybody's tokenizer.

Four characters of English are about a token (https://help.openai.com/en/articles/4936856, "What are tokens
and how to count them?"); of other alphabets fewer make one, and a Chinese character is 0.6 of one
(https://api-docs.deepseek.com/quick_start/token_usage) or more. Counted are bytes of UTF-8, four to a token, which
comes near all of these: a CJK character has three.

Measured on a page or less of each beside OpenAI's o200k_base: -3 % for English prose, +16 % for Python,
-6 to +4 % for Chinese, Japanese and Korean, +31 % for German, +87 % for Russian, +125 % for Hindi; beside the older
cl100k_base -38 to +16 % for all of them. Rows of digits and of emoji are half of the truth and less. Good
enough to choose a provider; not to bill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from failsafe.catalog import ModelInfo
from failsafe.models import ChatRequest, Message

_BYTES_A_TOKEN = 4
_TOKENS_A_MESSAGE = 4
"""For the role and the separators around a message (OpenAI's cookbook counts three or four)."""
_TOKENS_AN_ATTACHMENT = 800
"""
A picture of about a megapixel; vendors count from 85 to some 1,600, never by the length of its base64.

A recording or a file counts alike, for want of anything better: its length is not known without opening it.
"""
_ATTACHMENTS = frozenset({"image_url", "input_audio", "file"})
_CHUNK = 1 << 16
"""Characters encoded at a time, so that no large text is copied whole."""
_MARKS = 4
"""Bytes of JSON's own around a name and its value: quotes, colon, comma; and a number or a true is as long."""
ASSUMED_ANSWER = 500
"""Tokens that an answer is taken to have where the caller gave no ``max_tokens``."""


def prompt_tokens(request: ChatRequest) -> int:
    """
    Return about how many tokens the prompt of *request* has, its tools and the schema of its answer included.

    A plain ASCII text costs the same whatever its length; other text about a nanosecond a character.
    """
    size = tokens = 0
    for message in request.messages:
        content = message.get("content")
        tokens += _TOKENS_A_MESSAGE
        if isinstance(content, list | tuple):
            tokens += _TOKENS_AN_ATTACHMENT * sum(part.get("type") in _ATTACHMENTS for part in content)
        size += sum(map(_text_size, _texts(message)))
    for name in ("tools", "response_format"):
        if name in request.parameters:
            size += _json_size(request.parameters[name])
    return tokens + -(-size // _BYTES_A_TOKEN)


def _texts(message: Message) -> Iterator[str]:
    """What a model reads of *message*."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif content is not None:
        for part in content:
            yield from (part[key] for key in ("text", "thinking", "reasoning", "refusal") if key in part)
    for call in message.get("tool_calls") or ():
        yield call["function"]["name"]
        yield call["function"]["arguments"]


def _text_size(text: Any) -> int:
    """Its length in UTF-8, in bytes; 0 for what is no text. Half a surrogate pair, refused later, counts as three."""
    if not isinstance(text, str):
        return 0
    if text.isascii():
        return len(text)
    chunks = (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))
    return sum(len(chunk.encode("utf-8", "surrogatepass")) for chunk in chunks)


def _json_size(value: Any) -> int:
    """About its length as JSON, in bytes."""
    if isinstance(value, str):
        return _text_size(value) + 2
    if isinstance(value, Mapping):
        return 2 + sum(len(str(name)) + _MARKS + _json_size(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return 2 + sum(1 + _json_size(item) for item in value)
    return _MARKS


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
