"""
What an error answer says about when to come back.

Providers say it in headers, in the body, or only in words; servers lie, overflow and mistype.
Whatever is not a plain, finite, non-negative time counts as not said. Nothing is capped here.
Pure functions that never raise; times are seconds, and the wall clock is an argument.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from functools import cache

from failsafe.providers.error_body import ErrorBody

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PIECE = (
    r"\d+(?:\.\d+)?\s*(?:milliseconds?|minutes?|mins?|ms|seconds?|secs?|hours?|hrs?|days?|µs|us|ns|[dhms])(?![a-z])"
)
_DURATION_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)", re.ASCII | re.IGNORECASE)
_GO_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|[dhms]))+", re.ASCII)
_IN_WORDS = re.compile(
    rf"\b(?:try again|retry)\s+(?:in|after)\s+((?:{_PIECE}(?:,?\s+(?:and\s+)?)?)+)",
    re.ASCII | re.IGNORECASE,
)

_OPENAI_DIMENSIONS = ("requests", "tokens")
_ANTHROPIC_DIMENSIONS = ("requests", "tokens", "input-tokens", "output-tokens")


def retry_after(headers: Mapping[str, str], body: ErrorBody, now: float, *, vendor: str = "") -> float | None:
    """
    Return how many seconds a rate-limited answer asks to wait, or None when it does not say.

    The first of these that can be read: what :func:`stated_wait` reads; ``x-ratelimit-reset-*``
    of a dimension that has nothing left (not for Azure, whose numbers there mean nothing);
    ``anthropic-ratelimit-*-reset`` likewise; the message's "try again in 9m38.4s"; for a daily
    quota of Gemini's, the time to the next midnight in California.

    Args:
        headers: The answer's headers; names in any case.
        body: The answer's body.
        now: Seconds since 1970-01-01 UTC, used where the answer has no ``Date`` of its own.
        vendor: Whose rules the answer follows.
    """
    wait = stated_wait(headers, body, now)
    if wait is None:
        wait = _limit_reset(lower(headers), now, vendor)
    if wait is None:
        wait = _wait_in_words(body.message)
    if wait is None and any("perday" in reason.lower() for reason in body.reasons):
        wait = _until_pacific_midnight(now)
    return wait


def stated_wait(headers: Mapping[str, str], body: ErrorBody, now: float) -> float | None:
    """
    Return the seconds to wait that an answer of any status states outright, or None.

    The first of these that can be read: ``retry-after-ms``; ``Retry-After`` in seconds (decimals
    too) or as a date, which counts from the answer's own ``Date``; the body's own field (Gemini's
    ``retryDelay``, OpenRouter's ``retry_after``).
    """
    headers = lower(headers)
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    wait = number(said)
    if wait is None:
        wait = go_duration(said)
    if wait is None:
        wait = until(_http_date(said), headers, now)
    return body.retry_delay if wait is None else wait


def should_retry(headers: Mapping[str, str], body: ErrorBody) -> bool | None:
    """Return what ``x-should-retry`` says (OpenAI, Anthropic), else the body's own word (OpenRouter), else None."""
    said = lower(headers).get("x-should-retry", "").strip().lower()
    return {"true": True, "false": False}.get(said, body.retryable)


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by their names in lower case."""
    return {str(name).lower(): str(value) for name, value in headers.items()}


def number(text: str | None) -> float | None:
    """A plain decimal number as float; ``float`` alone would take ``inf``, ``nan``, ``1_0`` and ``-1``."""
    text = (text or "").strip()
    return _finite(float(text)) if _NUMBER.fullmatch(text) else None


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def rfc3339(text: str) -> datetime | None:
    """A point in time such as ``2026-11-24T12:00:30Z``; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def until(when: datetime | None, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from the answer's own ``Date`` (its server's clock may be wrong, as may ours) to *when*."""
    if when is None:
        return None
    sent = _http_date(headers.get("date", ""))
    return _finite(when.timestamp() - (sent.timestamp() if sent else now))


def go_duration(text: str) -> float | None:
    """``6m0s``, ``1h2m3.5s``, ``12ms``: https://pkg.go.dev/time#ParseDuration."""
    text = text.strip()
    return _sum_of_pieces(text) if _GO_DURATION.fullmatch(text) else None


def _sum_of_pieces(text: str) -> float | None:
    return _finite(sum(float(count) * _unit(word.lower()) for count, word in _DURATION_PIECE.findall(text)))


def _unit(word: str) -> float:
    """Seconds in a unit, written out or short."""
    if word in _UNITS:
        return _UNITS[word]
    return _UNITS["ms"] if word.startswith("milli") else _UNITS[word[0]]


def _wait_in_words(message: str) -> float | None:
    match = _IN_WORDS.search(message)
    return _sum_of_pieces(match[1]) if match else None


def _limit_reset(headers: Mapping[str, str], now: float, vendor: str) -> float | None:
    """When the last of the used-up limits is reset, as the rate-limit headers say."""
    waits = list(_anthropic_resets(headers, now))
    if vendor != "azure":
        waits += _openai_resets(headers)
    return max(waits, default=None)


def _openai_resets(headers: Mapping[str, str]) -> Iterator[float]:
    for dimension in _OPENAI_DIMENSIONS:
        reset = headers.get(f"x-ratelimit-reset-{dimension}", "")
        seconds = go_duration(reset) or number(reset)
        if seconds and number(headers.get(f"x-ratelimit-remaining-{dimension}")) == 0:
            yield seconds


def _anthropic_resets(headers: Mapping[str, str], now: float) -> Iterator[float]:
    for dimension in _ANTHROPIC_DIMENSIONS:
        if number(headers.get(f"anthropic-ratelimit-{dimension}-remaining")) == 0:
            when = rfc3339(headers.get(f"anthropic-ratelimit-{dimension}-reset", ""))
            seconds = until(when, headers, now)
            if seconds:
                yield seconds


@cache
def _pacific() -> tzinfo:
    """Google's time zone; where the machine has no time-zone data, winter time, which only ever waits longer."""
    try:
        from zoneinfo import ZoneInfo

        return ZoneInfo("America/Los_Angeles")
    except (ImportError, LookupError, OSError):
        return timezone(timedelta(hours=-8))


def _until_pacific_midnight(now: float) -> float | None:
    """Seconds until Gemini's daily quotas are reset (https://ai.google.dev/gemini-api/docs/rate-limits)."""
    try:
        today = datetime.fromtimestamp(now, _pacific()).replace(hour=0, minute=0, second=0, microsecond=0)
        return _finite((today + timedelta(days=1)).timestamp() - now)
    except (OverflowError, ValueError, OSError):
        return None
