"""How long a request may take, by what its headers say."""

from __future__ import annotations

import math

import msgspec

from failsafe.gateway.guard import Environ, Refused

_READ_TIMEOUTS = ("HTTP_X_STAINLESS_TIMEOUT", "HTTP_X_STAINLESS_READ_TIMEOUT")
"""What the SDKs say that they wait for the next bytes: for a whole answer, so long as it has not come."""


class _Streamed(msgspec.Struct):
    """Of a request's body only whether it asks for a stream."""

    stream: bool | None = None


def time_limit(environ: Environ, body: bytes, most: float) -> float:
    """
    Seconds for the call: what the request asks for, and never more than *most*.

    ``X-Request-Timeout`` comes first. The SDKs' own header counts for whole answers only: for a stream they mean the
    time between two of its pieces.

    Raises:
        Refused: ``X-Request-Timeout`` is no number of seconds above 0.
    """
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if asked is not None:
        seconds = _seconds(asked)
        if seconds is None:
            raise Refused(400, "X-Request-Timeout needs a number of seconds above 0")
        return min(seconds, most)
    said = [seconds for seconds in (_seconds(environ.get(name, "")) for name in _READ_TIMEOUTS) if seconds]
    return most if not said or _is_stream(body) else min(*said, most)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _is_stream(body: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(body, type=_Streamed).stream)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # whoever reads it for good will say what is wrong with it
