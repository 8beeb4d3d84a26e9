"""
Server-sent events out of bytes, cut anywhere. Does no I/O.

Source: WHATWG HTML, "Server-sent events"; what servers do beside it is in ``docs/streaming.md``.
"""

from __future__ import annotations

import re

import msgspec

Event = tuple[str, bytes]
"""What stood after ``event:`` ("" without), and the data lines joined by a newline."""

_BOM = b"\xef\xbb\xbf"
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*")
_KNOWN = frozenset({b"data", b"event", b"id", b"retry"})
_BEGIN_ANEW = (b"data:", b"event:")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?')
"""A JSON string, or the rest of a line in which one has no end: so that no byte is looked at twice."""
_NO_EVENTS: tuple[Event, ...] = ()


class EventTooLarge(Exception):
    """One event is larger than allowed; the message says how large it may be. Never leaves the library."""


class EventParser:
    """
    Takes the bytes of one stream and gives its events. Not thread-safe.

    The events are the same however the bytes are cut, and the work is linear in them.

    Lenient where servers are: lines may end in CR, LF or both, the space after ``data:`` may be missing, the last
    event may lack its empty line, and JSON that stands there without ``data:`` (Gemini reports errors so) is an
    event of its own, over as many lines as its brackets are open. Whatever else is no field at all becomes an event
    too, so that a garbled line is noticed; and so does a field that nobody knows with a brace in it, which looks like
    data whose name was damaged.

    Args:
        most: Bytes that one event may have.
    """

    __slots__ = ("_after_cr", "_at_start", "_depth", "_loose", "_most", "_rest")

    def __init__(self, most: int = 16 * 1024 * 1024) -> None:
        self._most = most
        self._rest = bytearray()  # what follows the last empty line
        self._loose = bytearray()  # lines that are no fields, while a bracket in them is open
        self._depth = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> tuple[Event, ...] | list[Event]:
        """
        Take in the next bytes and return the events that are complete now.

        Raises:
            EventTooLarge: One event is larger than allowed; those that were complete before it are lost with it.
        """
        if self._at_start:
            data = self._without_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._with_plain_ends(data)
        if self._rest:
            data = self._with_rest(data)
        blocks = data.split(b"\n\n")
        last = blocks.pop()
        if last:
            self._rest += last
        if len(data) > self._most:
            self._check_size(max(map(len, (*blocks, last.removesuffix(b"\n")))))
        return self._read_blocks(blocks) if blocks else _NO_EVENTS

    def close(self) -> list[Event]:
        """The events that only the end of the stream completes; of a cut one nothing is left. Never raises."""
        events: list[Event] = []
        last, self._rest = bytes(self._rest), bytearray()
        unended = self._read_block(last, events)
        if unended is not None and _is_whole(unended[1]):
            events.append(unended)
        self._give_up_loose(events)
        return events

    def _with_rest(self, data: bytes) -> bytes:
        """*data* behind what is still unread, if an event ends in it; else nothing: it waits with the rest."""
        rest = self._rest
        looked_at = len(rest) - 1
        rest += data
        if rest.find(b"\n\n", looked_at) < 0:
            self._check_size(len(rest) - rest.endswith(b"\n"))
            return b""
        data = bytes(rest)
        rest.clear()
        return data

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise EventTooLarge(f"an event larger than {self._most / 2**20:.3g} MiB")

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self._rest) + data
        self._rest.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _with_plain_ends(self, data: bytes) -> bytes:
        """*data* with a newline for each end of a line, wherever a CR and its LF were torn apart."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_blocks(self, blocks: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for block in blocks:
            # The usual event is one line.
            if block.startswith(b"data: ") and b"\n" not in block and not self._loose:
                events.append(("", block[6:]))
            elif block:
                event = self._read_block(block, events)
                self._check_size(len(self._loose))
                if event is not None:
                    events.append(event)
        return events

    def _read_block(self, block: bytes, events: list[Event]) -> Event | None:
        """The event that the lines up to an empty one make up; those of lines that are no fields go to *events*."""
        name, data = "", []
        for line in block.split(b"\n"):
            begins = self._depth <= 0 or line.startswith(_BEGIN_ANEW)
            field, colon, value = line.partition(b":")
            if not begins or not _is_field(field, colon, value):
                self._gather(line)
                continue
            if self._loose:
                self._give_up_loose(events)
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        if self._depth <= 0 and self._loose:
            self._give_up_loose(events)
        return (name, b"\n".join(data)) if data else None

    def _gather(self, line: bytes) -> None:
        """A line that is no field: JSON over one line or several, or garbage."""
        if not line.strip():
            return
        self._loose += line + b"\n"
        bare = _STRING.sub(b"", line)
        self._depth += bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")

    def _give_up_loose(self, events: list[Event]) -> None:
        loose, self._loose, self._depth = bytes(self._loose), bytearray(), 0
        if loose:
            events.append(("", loose.strip()))


def _is_field(name: bytes, colon: bytes, value: bytes) -> bool:
    """Whether a line is a field or a comment."""
    if name in _KNOWN or (colon and not name):
        return True
    return _NAME.fullmatch(name) is not None and b"{" not in value


def _is_whole(data: bytes) -> bool:
    if data.strip() == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
