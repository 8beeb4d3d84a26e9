"""Reading an answer's body: whole, decompressed and no larger than allowed."""

from __future__ import annotations

from typing import Any

from urllib3.response import BaseHTTPResponse

_CHUNK = 65_536  # bytes read at a time, so that no length a server claims is ever allocated in advance


class Unusable(Exception):
    """The body cannot be used; the message says why. Raised inside the transport only."""


def read_body(raw: Any, most: int) -> bytes:
    """
    The whole body.

    Args:
        raw: A urllib3 response whose body was not read yet.
        most: Bytes allowed, on the wire and decompressed.

    Raises:
        Unusable: It is larger than that, or in an encoding nobody asked for.
        urllib3.exceptions.HTTPError: It stopped early, came late or cannot be decompressed.
    """
    encoded = _is_encoded(raw.headers.get("content-encoding", ""))
    if (raw.length_remaining or 0) > most:
        raise Unusable(_too_large(most))
    first: bytes = raw.read1(_CHUNK, decode_content=encoded)
    if raw.length_remaining == 0 and not encoded:
        return _within(first, most)
    body = bytearray(first)
    while chunk := raw.read1(_CHUNK, decode_content=encoded):
        body += chunk
        if len(body) > most:
            raise Unusable(_too_large(most))
    return _within(bytes(body), most)


def _is_encoded(header: str) -> bool:
    """Whether there is something to decompress."""
    codings = {coding.strip() for coding in header.lower().split(",")} - {"", "identity"}
    unknown = codings.difference(BaseHTTPResponse.CONTENT_DECODERS)
    if unknown:
        raise Unusable("the answer's content-encoding is unknown")
    return bool(codings)


def _within(body: bytes, most: int) -> bytes:
    if len(body) > most:
        raise Unusable(_too_large(most))
    return body


def _too_large(most: int) -> str:
    return f"answer larger than {most / 2**20:.3g} MiB"
