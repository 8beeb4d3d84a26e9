"""Which dialects there are."""

from __future__ import annotations

from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.base import Dialect
from failsafe.providers.gemini import GeminiDialect
from failsafe.providers.openai import OpenAIDialect

_DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OpenAIDialect(), AnthropicDialect(), GeminiDialect())
}


def dialect_named(name: str) -> Dialect:
    """The dialect called *name* (``openai``, ``anthropic``, ``gemini``); settings were checked for it before."""
    return _DIALECTS[name]
