"""
JSON bodies: encoding them, and naming the place that cannot be encoded.

A healthy body is encoded in one pass and never searched; only when that fails is the request
walked to find what is wrong with it, so that a person reads ``messages[3].content`` and not a
byte position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

import msgspec

from failsafe.errors import InvalidRequest
from failsafe.masking import mask, shorten
from failsafe.models import ChatRequest

_MOST_NESTED = 100
_SHOWN_CHARACTERS = 80
_HALF_A_PAIR = "half a surrogate pair and cannot be sent; decode the text with errors='replace', or drop it"


def shown(value: object) -> str:
    """*value* for an error message: its repr without anything that looks like a key, at most 80 characters."""
    return shorten(mask(_short_repr(value)), _SHOWN_CHARACTERS)


def _short_repr(value: object) -> str:
    """The repr of *value*, without building megabytes of it or running a stranger's ``__repr__``."""
    if isinstance(value, str | bytes | bytearray):
        return repr(value[: 2 * _SHOWN_CHARACTERS])
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 256 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, Mapping):
        keys = ", ".join(_short_repr(key)[:20] for key in islice(value, 4))
        return f"<{type(value).__name__} with keys {keys}>"
    if isinstance(value, list | tuple):
        return f"<{type(value).__name__} of {len(value)}>"
    return f"<{type(value).__name__}>"


def refuse(place: str, value: object, allowed: str) -> NoReturn:
    """Raise the :class:`InvalidRequest` that says where in the request which value stands, and what is allowed."""
    raise InvalidRequest(f"{place} = {shown(value)}: {allowed}; nothing was sent")


def _encodable(value: object) -> object:
    """What msgspec does not know and JSON can say: mappings other than dict, subclasses of str and numbers."""
    if isinstance(value, Mapping):
        return dict(value)
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_encoder = msgspec.json.Encoder(enc_hook=_encodable)


def encode_body(body: Mapping[str, Any], request: ChatRequest) -> bytes:
    """
    Return *body* as JSON bytes.

    Args:
        body: What a dialect made of the request.
        request: The request it was made of, to name the place in the caller's own terms.

    Raises:
        InvalidRequest: A string holds half a surrogate pair, a value is no JSON value, or the
            nesting is too deep.
    """
    try:
        return _encoder.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = shown(str(error))
    check_fits(request.model, "model")
    check_fits(request.messages, "messages")
    check_fits(request.parameters, "")
    check_fits(request.extra, "extra")
    check_fits(body, "body")
    raise InvalidRequest(f"the request cannot be written as JSON ({reason}); nothing was sent")


def as_json(body: Mapping[str, Any]) -> bytes:
    """*body*, in which everything passed :func:`check_fits`, as JSON bytes."""
    return _encoder.encode(body)


def check_fits(value: object, place: str) -> None:
    """
    Refuse *value* unless JSON can say all of it.

    Args:
        value: Anything.
        place: Its name in the request, "" for the request itself.

    Raises:
        InvalidRequest: It holds half a surrogate pair, NaN or Infinity, something that is no JSON
            value, or nests deeper than 100 levels; the message names the place.
    """
    for where, found, reason in _unfit(value, place, 0):
        refuse(where, found, reason)


def _unfit(value: object, place: str, depth: int) -> Iterator[tuple[str, object, str]]:
    """Every place in *value* that JSON cannot say, with the value there and the reason."""
    if isinstance(value, str):
        yield from _unfit_text(value, place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield place, value, "NaN and Infinity are not JSON; a finite number is needed"
    elif depth > _MOST_NESTED:
        yield place, value, f"nested deeper than {_MOST_NESTED} levels"
    elif isinstance(value, Mapping):
        yield from _unfit_mapping(value, place, depth)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unfit(item, f"{place}[{index}]", depth + 1)
    elif value is not None and not isinstance(value, int):
        yield place, value, "this is no JSON value; text, a number, true, false, null, a list or an object is needed"


def _unfit_text(value: str, place: str) -> Iterator[tuple[str, object, str]]:
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        around = value[max(error.start - 10, 0) : error.start + 10]
        yield place, around, f"character {error.start} is {_HALF_A_PAIR}"


def _unfit_mapping(value: Mapping[Any, Any], place: str, depth: int) -> Iterator[tuple[str, object, str]]:
    for key, item in value.items():
        if not isinstance(key, str | int):
            yield f"a key of {place or 'the request'}", key, "a text is needed"
            continue
        yield from _unfit_text(str(key), f"a key of {place or 'the request'}")
        name = shown(key)[1:-1] if isinstance(key, str) else str(key)
        yield from _unfit(item, f"{place}.{name}" if place else name, depth + 1)


def check_size(body: bytes, limit: int, request: ChatRequest) -> None:
    """
    Refuse a body that is larger than *limit*.

    Args:
        body: The encoded request.
        limit: The most bytes allowed.
        request: The request it was made of, to name its largest message.

    Raises:
        InvalidRequest: The message says the size, the limit and the largest message.
    """
    if len(body) <= limit:
        return
    sizes = [len(_encoder.encode(message)) for message in request.messages]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    raise InvalidRequest(
        f"the request has {len(body):,} bytes, and at most {limit:,} are allowed; "
        f"the largest message is messages[{largest}] with {sizes[largest]:,} bytes; "
        "shorten it, or raise max_request_bytes; nothing was sent"
    )
