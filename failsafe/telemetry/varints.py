"""Whole numbers as LEB128 varints, seven bits a byte, as https://protobuf.dev/programming-guides/encoding describes."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 2**53
"""The largest number that is written; what is above counts as this."""

_CONTINUED = 128
"""The bit of a byte that says that another one follows."""
_LONGEST = 4096
"""More bytes are never read."""


def to_varints(numbers: Sequence[int]) -> bytes:
    """*numbers*, none of them negative, as bytes."""
    if max(numbers, default=0) < _CONTINUED:  # they are their own varints
        return bytes(numbers)
    out = bytearray()
    for number in numbers:
        rest = min(number, MOST)
        while rest >= _CONTINUED:
            out.append(rest & (_CONTINUED - 1) | _CONTINUED)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def from_varints(data: object) -> Sequence[int]:
    """The numbers that :func:`to_varints` has written; none if anything is wrong with *data*. Never raises."""
    if not data or not isinstance(data, bytes) or len(data) > _LONGEST:
        return b""
    if data.isascii():
        return data
    numbers = []
    number = shift = 0
    for byte in data:
        number |= (byte & (_CONTINUED - 1)) << shift
        if byte >= _CONTINUED:
            shift += 7
            if shift > MOST.bit_length():
                return b""
            continue
        if number > MOST:
            return b""
        numbers.append(number)
        number = shift = 0
    return b"" if shift else numbers
