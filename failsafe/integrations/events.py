"""A stream as server-sent events of our own simple form, for a browser's ``EventSource`` or ``fetch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from failsafe.chunks import Chunk
from failsafe.errors import FailsafeError
from failsafe.inbound.wire import event
from failsafe.stream import Stream

_SHOWN = ("text", "reasoning", "refusal", "tool_calls", "finish_reason", "usage")


class Events:
    """
    The events of one stream, as bytes. Not thread-safe, but for :meth:`close`.

    A piece is ``data: {"text": "..."}``; the last one is ``event: done`` with ``finish_reason`` and ``usage``. When an
    answer breaks off, ``event: error`` is the last; ``event: restarted`` and ``event: continued`` say what
    :class:`failsafe.Chunk` says. Fields without a value are left out. Whoever stops reading closes it.

    Args:
        stream: The stream; it is closed at the end.
        describe: The JSON value of the event that says that the answer broke off.
    """

    def __init__(self, stream: Stream, describe: Callable[[FailsafeError], Any]) -> None:
        self._stream = stream
        self._events = _events(stream, describe)

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        """Give up the rest: the provider's socket is closed at once."""
        self._stream.close()


def _events(stream: Stream, describe: Callable[[FailsafeError], Any]) -> Iterator[bytes]:
    try:
        for chunk in stream:
            yield event(_fields(chunk), _name(chunk))
    except FailsafeError as error:
        # The head has left with its status: an event is all that can still be said.
        yield event(describe(error), "error")
    finally:
        stream.close()


def _name(chunk: Chunk) -> str:
    if chunk.event != "delta":
        return chunk.event
    return "done" if chunk.finish_reason is not None else ""


def _fields(chunk: Chunk) -> dict[str, Any]:
    values = ((name, getattr(chunk, name)) for name in _SHOWN)
    return {name: value for name, value in values if value}
