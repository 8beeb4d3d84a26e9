"""JSON and server-sent events as they go to a client."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def to_json(value: Any) -> bytes:
    """*value*, which came out of JSON or is a text, as JSON; half a surrogate pair in it is escaped, as it came."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


_SEPARATORS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
"""Characters at which no event ends, but by which many clients split its lines (``str.splitlines``), as JSON too."""


def event(value: Any, name: str = "") -> bytes:
    """One server-sent event with *value* as its data, and a name where the format has one."""
    head = f"event: {name}\n".encode() if name else b""
    data = to_json(value)
    if not data.isascii():
        for separator, escaped in _SEPARATORS:
            data = data.replace(separator, escaped)
    return b"%sdata: %s\n\n" % (head, data)
