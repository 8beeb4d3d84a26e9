"""
What the headers of an answer say is left of the provider's rate limits.

Every answer passes through here, so it costs next to nothing while plenty is left: a look-up a
limit and a comparison of whole numbers. Only what is little is read in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from failsafe.learnt_limits import Reading

_LITTLE = 0.1
"""The share of its limit below which what is left is little."""


class _Limit(msgspec.Struct, frozen=True):
    """
    Where one limit is stated. Names are in lower case.

    ``few`` is little whatever the limit: 64 requests, or 64 of a thousand tokens each, that may
    be under way at the same time. ``many`` is plenty whatever the limit; it spares a look-up.
    """

    dimension: str
    remaining: str
    limit: str
    reset: str
    few: int
    many: int
    plenty: Reading
    gradual: bool
    zero_means_nothing: bool
    seconds: Callable[[str, str, float], float | None]


_Values = Mapping[str, Sequence[str]]
"""By a header's name in lower case, a sequence whose second member is its value."""


def _duration(text: str, _date: str, _now: float) -> float | None:
    """Seconds as a number, or as a Go duration (https://pkg.go.dev/time#ParseDuration)."""
    from failsafe.providers import hints

    seconds = hints.number(text)
    return hints.go_duration(text) if seconds is None else seconds


def _point_in_time(text: str, date: str, now: float) -> float | None:
    """Seconds to an RFC 3339 date, from the answer's own ``Date``."""
    from failsafe.providers import hints

    return hints.until(hints.rfc3339(text), {"date": date}, now)


def _epoch(text: str, _date: str, now: float) -> float | None:
    """Seconds to a time in milliseconds since 1970."""
    from failsafe.providers import hints

    milliseconds = hints.number(text)
    return None if milliseconds is None else max(0.0, milliseconds / 1000 - now)


def _limit(
    dimension: str,
    name: str,
    *,
    seconds: Callable[[str, str, float], float | None] = _duration,
    gradual: bool = False,
    zero_means_nothing: bool = False,
) -> _Limit:
    of_requests = dimension == "requests"
    return _Limit(
        dimension=dimension,
        remaining=name.format("remaining"),
        limit=name.format("limit"),
        reset=name.format("reset"),
        few=64 if of_requests else 65_536,
        many=1024 if of_requests else 1_048_576,
        plenty=Reading(dimension, math.inf),
        gradual=gradual,
        zero_means_nothing=zero_means_nothing,
        seconds=seconds,
    )


_BY_DIALECT: dict[str, tuple[_Limit, ...]] = {
    # Whether a stranger's limits come back steadily or all at once, nobody knows; all at once is on the safe side.
    "openai": (_limit("requests", "x-ratelimit-{}-requests"), _limit("tokens", "x-ratelimit-{}-tokens")),
    # "the token bucket algorithm", https://docs.claude.com/en/api/rate-limits
    "anthropic": (
        _limit("requests", "anthropic-ratelimit-requests-{}", seconds=_point_in_time, gradual=True),
        _limit("tokens", "anthropic-ratelimit-tokens-{}", seconds=_point_in_time, gradual=True),
        _limit("input_tokens", "anthropic-ratelimit-input-tokens-{}", seconds=_point_in_time, gradual=True),
        _limit("output_tokens", "anthropic-ratelimit-output-tokens-{}", seconds=_point_in_time, gradual=True),
    ),
}
_BY_VENDOR: dict[str, tuple[_Limit, ...]] = {
    # The reset is the time until the limit is back "to its initial state": a 60 RPM limit with one request used
    # says 1s, https://platform.openai.com/docs/guides/rate-limits
    "openai": (
        _limit("requests", "x-ratelimit-{}-requests", gradual=True),
        _limit("tokens", "x-ratelimit-{}-tokens", gradual=True),
    ),
    # -1 and 0 mean nothing there.
    "azure": (
        _limit("requests", "x-ratelimit-{}-requests", zero_means_nothing=True),
        _limit("tokens", "x-ratelimit-{}-tokens", zero_means_nothing=True),
    ),
    # Its requests are those of a day, and "reset" is when all of them are back. That one is back much sooner says
    # only the retry-after of a refusal, so this limit is left to that.
    "groq": (_limit("tokens", "x-ratelimit-{}-tokens", gradual=True),),
    # On its own refusals only.
    "openrouter": (_limit("requests", "x-ratelimit-{}", seconds=_epoch),),
    "deepseek": (),
}


def readings(headers: Mapping[str, str], *, vendor: str, dialect: str, now: float) -> tuple[Reading, ...]:
    """
    Return what an answer of any status says of its limits; empty where it says nothing.

    What there is plenty of has ``remaining`` infinite: at least a tenth of the limit and 64 requests
    (or 65,536 tokens), or 1024 requests (1,048,576 tokens) whatever the limit is. What is little but
    comes without a time at which it is reset is left out, as is what cannot be read. Pure; never raises.

    Args:
        headers: The answer's headers; names in any case.
        vendor: Whose rules the answer follows.
        dialect: How it was asked, for vendors without rules of their own.
        now: Seconds since 1970-01-01 UTC, used where the answer has no ``Date`` of its own.
    """
    limits = _BY_VENDOR.get(vendor)
    if limits is None:
        limits = _BY_DIALECT.get(dialect, ())
    if not limits:
        return ()
    values: _Values = getattr(headers, _WITHIN.get(headers.__class__.__name__, ""), None) or _by_lower_name(headers)
    found: list[Reading] = []
    for limit in limits:
        entry = values.get(limit.remaining)
        if entry is not None:
            reading = _read(entry[1], limit, values, now)
            if reading is not None:
                found.append(reading)
    return tuple(found) if found else ()


_WITHIN = {"HTTPHeaderDict": "_container", "CaseInsensitiveDict": "_store"}
"""
Where urllib3's and requests' headers keep theirs: by the name in lower case, a sequence of the name and its value.

Through the front door a name they do not have costs 400 ns, which is more than all the rest here.
"""


def _by_lower_name(headers: Mapping[str, str]) -> _Values:
    return {str(name).lower(): (str(name), str(value)) for name, value in headers.items()}


def _read(text: str, limit: _Limit, values: _Values, now: float) -> Reading | None:
    """What *text* says is left of *limit*; None if it says nothing."""
    remaining = _count(text)
    if remaining is None:
        return None
    if remaining >= limit.few and (remaining >= limit.many or not _is_little(remaining, limit, values)):
        return limit.plenty
    return _little(remaining, limit, values, now)


def _count(text: str) -> int | None:
    """A whole number, decimals cut off; None where it is none. ``int`` alone would take ``-1`` and ``1_0``."""
    if text.isdecimal() and len(text) < 19:  # a usual one
        return int(text)
    from failsafe.providers import hints

    number = hints.number(text)
    return None if number is None else int(number)


def _is_little(remaining: int, limit: _Limit, values: _Values) -> bool:
    whole = _whole(limit, values)
    return whole is not None and remaining < whole * _LITTLE


def _whole(limit: _Limit, values: _Values) -> int | None:
    entry = values.get(limit.limit)
    return None if entry is None else _count(entry[1])


def _little(remaining: int, limit: _Limit, values: _Values, now: float) -> Reading | None:
    """What is little of *limit*, with its reset; None if that is not said."""
    if limit.zero_means_nothing and not remaining:
        return None
    reset, date = values.get(limit.reset), values.get("date")
    seconds = None if reset is None else limit.seconds(reset[1], "" if date is None else date[1], now)
    if seconds is None:
        return None
    whole = _whole(limit, values)
    return Reading(
        dimension=limit.dimension,
        remaining=float(remaining),
        reset=seconds,
        limit=math.inf if not whole else float(whole),
        gradual=limit.gradual,
    )
