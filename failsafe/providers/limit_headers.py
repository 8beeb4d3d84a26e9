"""
What the headers of an answer say is left of the rate limits.

Read on every answer, so it looks at two headers where there is plenty left, and at none that nobody
sends. Only when little is left are the limit and its reset parsed. Pure functions that never raise.

Sources: platform.openai.com "Rate limits in headers" (also Groq, Mistral, Together and most servers of
that dialect); docs.claude.com "Rate limits, response headers". Gemini and DeepSeek send none. Azure sends
-1 and 0 without meaning it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from failsafe.learnt_limits import Reading
from failsafe.providers.hints import limit_reset_at, limit_reset_in

_PLENTY_OF_REQUESTS = 64
_PLENTY_OF_TOKENS = 100_000
"""With more than this left a limit is not looked at any closer, whatever it is."""
_NOTHING: tuple[Reading, ...] = ()
_PLENTY = {
    dimension: Reading(dimension, math.inf) for dimension in ("requests", "tokens", "input_tokens", "output_tokens")
}

_OPENAI = (
    ("requests", "x-ratelimit-remaining-requests", _PLENTY_OF_REQUESTS),
    ("tokens", "x-ratelimit-remaining-tokens", _PLENTY_OF_TOKENS),
)
_ANTHROPIC = (
    ("requests", "anthropic-ratelimit-requests-remaining", _PLENTY_OF_REQUESTS),
    ("input_tokens", "anthropic-ratelimit-input-tokens-remaining", _PLENTY_OF_TOKENS),
    ("output_tokens", "anthropic-ratelimit-output-tokens-remaining", _PLENTY_OF_TOKENS),
)


def readings(headers: Mapping[str, str], *, vendor: str, dialect: str, now: float) -> tuple[Reading, ...]:
    """
    Return what is left of each limit that the answer names: infinite, unparsed, where that is plenty.

    Args:
        headers: The answer's headers, of any status; look-ups must ignore case.
        vendor: Whose rules the answer follows.
        dialect: ``openai``, ``anthropic`` or ``gemini``.
        now: Seconds since 1970-01-01 UTC.
    """
    if dialect == "gemini" or vendor == "azure":
        return _NOTHING
    found = _NOTHING
    for dimension, name, plenty in _ANTHROPIC if dialect == "anthropic" else _OPENAI:
        text = headers.get(name)
        if text is None:
            if dimension == "requests":  # who does not say it of requests says it of nothing
                return _NOTHING
            continue
        # Whatever is no plain number is no reason to hold a request back, and a very long one is plenty.
        if not text.isdecimal() or len(text) > 15 or int(text) >= plenty:
            found += (_PLENTY[dimension],)
        else:
            found += _reading(headers, dimension, name, float(text), now)
    return found


def _reading(
    headers: Mapping[str, str], dimension: str, name: str, remaining: float, now: float
) -> tuple[Reading, ...]:
    if name.startswith("anthropic"):
        reset = limit_reset_at(headers, name.replace("-remaining", "-reset"), now)
    else:
        reset = limit_reset_in(headers, name.replace("-remaining-", "-reset-"))
    return _NOTHING if reset is None else (Reading(dimension, remaining, reset),)
