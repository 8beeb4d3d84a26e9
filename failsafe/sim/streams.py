"""From the events of a stream to the bytes of it, with the faults of a :class:`StreamShape`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator

from failsafe.sim.behaviour import StreamShape
from failsafe.sim.dialect import Event
from failsafe.sim.wire import Cut, Piece, Wait, to_json


def encode(event: Event, newline: str) -> bytes:
    """One server-sent event, with the empty line that ends it."""
    data = event.data.encode() if isinstance(event.data, str) else to_json(event.data)
    name = "" if event.name is None else f"event: {event.name}{newline}"
    return b"%bdata: %b%b" % (name.encode(), data, (newline * 2).encode())


def stream_pieces(events: Iterable[Event], shape: StreamShape, error: Event) -> Iterator[Piece]:
    """
    The body of a stream, piece by piece.

    Args:
        events: The healthy events.
        shape: How they are written, and where they end.
        error: The event that ``shape.error_after`` asks for.
    """
    yield from _comments(shape)
    if (end := _end(0, shape, error)) is not None:
        yield from end
        return
    for number, event in enumerate(events, start=1):
        if number > 1 and shape.interval:
            yield Wait(shape.interval)
        yield from _packets(encode(event, shape.newline), shape.split)
        if (end := _end(number, shape, error)) is not None:
            yield from end
            return


def _comments(shape: StreamShape) -> Iterator[Piece]:
    line = (shape.comment + shape.newline + (shape.newline if shape.comment else "")).encode()
    sent = 0
    while sent < shape.comments:
        yield line
        yield Wait(shape.comment_interval)
        sent += 1


def _end(number: int, shape: StreamShape, error: Event) -> list[Piece] | None:
    """What ends the stream after event *number* (0: before the first), or None while it goes on."""
    if number == shape.error_after:
        return [_error(error, shape)]
    if number == shape.stall_after:
        return [Wait(math.inf)]
    if number == shape.cut_after:
        return [] if shape.cut == "clean" else [Cut(reset=shape.cut == "reset")]
    return None


def _error(error: Event, shape: StreamShape) -> bytes:
    """The error as an event, or as JSON over several lines without ``data:``."""
    if shape.error_form == "event":
        return encode(error, shape.newline)
    data = [error.data] if shape.error_form == "bare_list" else error.data
    return json.dumps(data, indent=2).encode() + b"\n"


def _packets(data: bytes, size: int | None) -> Iterator[Piece]:
    if size is None:
        yield data
        return
    for start in range(0, len(data), size):
        yield data[start : start + size]


def as_array(events: Iterable[Event]) -> Iterator[Piece]:
    """The events as one JSON array, which is what Gemini sends without ``alt=sse``."""
    opening = b"["
    for event in events:
        yield opening + to_json(event.data)
        opening = b"\r\n,\r\n"
    yield b"]"
