"""The headers by which an answer shows whose it is: request ids and rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate

Headers = tuple[tuple[str, str], ...]

_ID_HEADERS: Mapping[str, tuple[str, ...]] = {
    "openai": ("x-request-id",),
    "anthropic": ("request-id",),
    "gemini": (),
    "deepseek": (),
    "holysheep": ("x-request-id",),
    "generic": ("x-request-id",),
    "azure": ("x-request-id", "apim-request-id"),
    "openrouter": ("X-Generation-Id",),
    "groq": ("x-request-id",),
    "mistral": ("mistral-correlation-id",),
    "xai": ("x-request-id",),
    "together": ("x-request-id",),
}

_FIXED: Mapping[str, Headers] = {
    "openai": (
        ("openai-organization", "org-sim"),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "12"),
    ),
    "anthropic": (("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),),
    "azure": (("x-ms-region", "Simulated East"),),
}

_REQUESTS_A_MINUTE = 10_000
_TOKENS_A_MINUTE = 2_000_000


def request_id_headers(vendor: str, request_id: str) -> Headers:
    """The header in which *vendor* names the request, if it does."""
    return tuple((name, request_id) for name in _ID_HEADERS[vendor])


def fixed_headers(vendor: str) -> Headers:
    """What stands in every answer of *vendor*."""
    return _FIXED.get(vendor, ())


def rate_limit_headers(vendor: str, now: float, wait: float | None) -> Headers:
    """
    The rate limits as *vendor* states them, if it does.

    Args:
        vendor: Whose.
        now: Seconds since 1970, for reset times that are dates.
        wait: Seconds until the used-up limit is reset; None: no limit is used up.
    """
    if vendor in ("openai", "groq"):
        return _openai_limits(wait)
    if vendor == "anthropic":
        return _anthropic_limits(now, wait)
    if vendor == "azure":  # known to be meaningless at times
        return (("x-ratelimit-remaining-requests", "-1"), ("x-ratelimit-remaining-tokens", "0"))
    return ()


def _openai_limits(wait: float | None) -> Headers:
    left = _REQUESTS_A_MINUTE - 1 if wait is None else 0
    reset = "6ms" if wait is None else _go_duration(wait)
    return (
        ("x-ratelimit-limit-requests", str(_REQUESTS_A_MINUTE)),
        ("x-ratelimit-limit-tokens", str(_TOKENS_A_MINUTE)),
        ("x-ratelimit-remaining-requests", str(left)),
        ("x-ratelimit-remaining-tokens", str(_TOKENS_A_MINUTE - 20)),
        ("x-ratelimit-reset-requests", reset),
        ("x-ratelimit-reset-tokens", "0s"),
    )


def _anthropic_limits(now: float, wait: float | None) -> Headers:
    headers: list[tuple[str, str]] = []
    for kind, limit in (("requests", _REQUESTS_A_MINUTE), ("tokens", _TOKENS_A_MINUTE)):
        used_up = wait is not None and kind == "requests"
        seconds = wait if used_up and wait is not None else 0
        headers += [
            (f"anthropic-ratelimit-{kind}-limit", str(limit)),
            (f"anthropic-ratelimit-{kind}-remaining", "0" if used_up else str(limit - 1)),
            (f"anthropic-ratelimit-{kind}-reset", f"{datetime.fromtimestamp(now + seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"),
        ]
    return tuple(headers)


def _go_duration(seconds: float) -> str:
    """Seconds as Go writes a duration: ``12ms``, ``1.5s``, ``6m0s``, ``1h2m3s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{rest:.0f}s"
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:g}s"


def http_date(when: float) -> str:
    """Seconds since 1970 as an HTTP date (RFC 9110 section 5.6.7)."""
    return formatdate(when, usegmt=True)
