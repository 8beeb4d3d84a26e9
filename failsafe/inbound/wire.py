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


def event(value: Any, name: str = "") -> bytes:
    """One server-sent event with *value* as its data, and a name where the format has one."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%sdata: %s\n\n" % (head, to_json(value))
