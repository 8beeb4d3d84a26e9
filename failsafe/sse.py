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
_FIELD = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*(?::|\Z)")
_NO_EVENTS: tuple[Event, ...] = ()


class EventTooLarge(Exception):
    """One event is larger than allowed; the message says how large it may be. Never leaves the library."""


class EventParser:
    """
    Takes the bytes of one stream and gives its events. Not thread-safe.

    The work is linear in the bytes, however they are cut.

    Lenient where servers are: lines may end in CR, LF or both, the space after ``data:`` may be missing, the last
    event may lack its empty line, and JSON that stands there without ``data:`` (Gemini reports errors so) is an
    event of its own. Whatever else is no field at all becomes an event too, so that a garbled line is noticed.

    Args:
        most: Bytes that one event may have.
    """

    __slots__ = ("_after_cr", "_at_start", "_loose", "_most", "_rest")

    def __init__(self, most: int = 16 * 1024 * 1024) -> None:
        self._most = most
        self._rest = bytearray()  # what follows the last empty line
        self._loose = bytearray()  # lines that are no fields
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> tuple[Event, ...] | list[Event]:
        """
        Take in the next bytes and return the events that are complete now.

        Raises:
            EventTooLarge: One event is larger than allowed.
        """
        if self._at_start:
            data = self._without_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._with_plain_ends(data)
        rest = self._rest
        if rest:
            looked_at = len(rest) - 1
            rest += data
            if rest.find(b"\n\n", max(looked_at, 0)) < 0:
                self._check_size()
                return _NO_EVENTS
            data = bytes(rest)
            rest.clear()
        blocks = data.split(b"\n\n")
        last = blocks.pop()
        if last:
            rest += last
            self._check_size()
        events: list[Event] = []
        for block in blocks:
            # The usual event is one line.
            if block.startswith(b"data: ") and b"\n" not in block and not self._loose:
                events.append(("", block[6:]))
            elif block:
                self._read_block(block, events)
        return events

    def close(self) -> list[Event]:
        """The events that only the end of the stream completes; of a cut one nothing is left."""
        events: list[Event] = []
        last, self._rest = bytes(self._rest), bytearray()
        if last:
            self._read_block(last, events)
            if events and not _is_whole(events[-1][1]):
                events.pop()
        self._give_up_loose(events)
        return events

    def _check_size(self) -> None:
        if len(self._rest) > self._most or len(self._loose) > self._most:
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

    def _read_block(self, block: bytes, events: list[Event]) -> None:
        """The lines up to an empty one."""
        name, data = "", []
        for line in block.split(b"\n"):
            if self._loose or not (line.startswith(b":") or _FIELD.match(line)):
                self._gather(line, events)
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        if data:
            events.append((name, b"\n".join(data)))

    def _gather(self, line: bytes, events: list[Event]) -> None:
        """A line that is no field, or that follows one such: JSON over several lines, or garbage."""
        if not line.strip():
            return
        if self._loose and line.startswith((b"data:", b"event:")):
            self._give_up_loose(events)
            self._read_block(line, events)
            return
        self._loose += line + b"\n"
        self._check_size()
        if line.rstrip().endswith((b"}", b"]")) and _is_whole(bytes(self._loose)):
            self._give_up_loose(events)

    def _give_up_loose(self, events: list[Event]) -> None:
        loose, self._loose = bytes(self._loose), bytearray()
        if loose.strip():
            events.append(("", loose.strip()))


def _is_whole(data: bytes) -> bool:
    if data.strip() == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
