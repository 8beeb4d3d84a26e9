"""
Putting together what a stream of the OpenAI dialect brings in pieces: content, tool calls, reasoning details.

Each collector lives for one answer, is not thread-safe, and keeps what the answer says and nothing per piece: texts are
UTF-8 in a ``bytearray``, as ``io.StringIO`` keeps small pieces apart, at some 60 bytes each.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from failsafe.chunks import ToolCallDelta
from failsafe.providers.common import made_up_id, plain_text, text_of
from failsafe.providers.openai_answer import thought_of

_TEXT = "text"
_THINKING = "thinking"
_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""Reasoning details that come in pieces, and the field that grows; all others come whole."""


class Said(NamedTuple):
    """What one piece of content adds to the text and to the reasoning."""

    text: str = ""
    thought: str = ""


class ContentPieces:
    """
    A message's content: a text, or parts of different kinds in their order (thinking models of Mistral).

    Attributes:
        kept: Parts so far.
    """

    __slots__ = ("_kind", "_parts", "_text", "kept")

    def __init__(self) -> None:
        self.kept = 0
        self._kind = ""
        self._parts: list[tuple[str, Any]] = []
        self._text = bytearray()

    def write(self, text: str) -> None:
        """Add a piece of text."""
        if self._kind != _TEXT:
            self._begin(_TEXT)
        self._text += text.encode()

    def add(self, content: Any) -> Said:
        """Add a piece of any form: a text, or a list of parts."""
        if isinstance(content, str):
            self.write(content)
            return Said(text=content)
        if not isinstance(content, list):
            return Said()
        said = [self._add_part(part) for part in content]
        return Said("".join(each.text for each in said), "".join(each.thought for each in said))

    def text(self) -> str:
        """All the text so far, without thinking."""
        return "".join(value.decode() for kind, value in self._parts if kind == _TEXT)

    def whole(self) -> str | list[Any] | None:
        """The content of the message: null without any, and a list only where there was more than text."""
        if any(kind != _TEXT for kind, _ in self._parts):
            return [_part(kind, value) for kind, value in self._parts]
        return self.text() or None

    def _add_part(self, part: Any) -> Said:
        text, thought = plain_text([part]), thought_of(part)
        if text:
            self.write(text)
        elif thought:
            if self._kind != _THINKING:
                self._begin(_THINKING)
            self._text += thought.encode()
        elif isinstance(part, dict) and part.get("type") not in (_TEXT, _THINKING, None):
            self._kind = ""
            self._keep("", part)
        return Said(text, thought)

    def _begin(self, kind: str) -> None:
        self._kind = kind
        self._text = bytearray()
        self._keep(kind, self._text)

    def _keep(self, kind: str, value: Any) -> None:
        self._parts.append((kind, value))
        self.kept += 1


def _part(kind: str, value: Any) -> Any:
    if not kind:
        return value
    text = {"type": _TEXT, "text": value.decode()}
    return text if kind == _TEXT else {"type": _THINKING, "thinking": [text]}


class ToolCallPieces:
    """
    The tool calls of one answer, in the order in which they begin.

    The reference numbers each piece and names the call in the first one. Servers leave the number out, repeat name and
    id in every piece, give every call the number 0, or send whole calls; what belongs together is found all the same.

    Attributes:
        kept: Calls so far, and their further fields.
    """

    __slots__ = ("_by_id", "_by_place", "_calls", "kept")

    def __init__(self) -> None:
        self.kept = 0
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_place: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, piece: Any, answer: tuple[Any, ...]) -> ToolCallDelta | None:
        """
        Take in an entry of ``delta.tool_calls``.

        Args:
            piece: The entry.
            answer: What tells this answer from others, for the id of a call that comes without one.

        Returns:
            What it shows; None for what shows nothing.
        """
        if not isinstance(piece, dict):
            return None
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        given, name = text_of(piece.get("id")), text_of(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        call = self._call_of(piece.get("index"), given, name, arguments)
        begins = call is None
        if call is None:
            call = self._begin(piece.get("index"), given, (*answer, len(self._calls), name, arguments))
        named = "" if call.name else name
        self.kept += call.take(piece, given, named, arguments)
        if not (begins or named or arguments):
            return None
        return ToolCallDelta(index=call.number, id=call.id if begins else "", name=named, arguments=arguments)

    def without_arguments(self) -> tuple[ToolCallDelta, ...]:
        """What completes the calls that had no piece of arguments: ``{}``, as for a whole answer. For the end."""
        bare = [call for call in self._calls if not call.arguments]
        for call in bare:
            call.arguments += b"{}"
        return tuple(ToolCallDelta(index=call.number, arguments="{}") for call in bare)

    def whole(self) -> list[dict[str, Any]]:
        """``tool_calls`` of the message."""
        return [call.whole() for call in self._calls]

    def _call_of(self, place: Any, given: str, name: str, arguments: str) -> _Call | None:
        """The call that a piece belongs to, or None for a new one."""
        if isinstance(place, int):
            call = self._by_place.get(place)
        elif given and given in self._by_id:
            return self._by_id[given]
        else:
            call = self._calls[-1] if self._calls else None
        return None if call is None or call.is_not_in(given, name, arguments) else call

    def _begin(self, place: Any, given: str, parts: tuple[Any, ...]) -> _Call:
        free = given and given not in self._by_id
        call = _Call(len(self._calls), given if free else made_up_id(*parts))
        self._calls.append(call)
        self.kept += 1
        self._by_id[call.id] = call
        if isinstance(place, int):
            self._by_place[place] = call
        return call


class _Call:
    """One tool call under way."""

    __slots__ = ("arguments", "extra", "given", "id", "name", "number")

    def __init__(self, number: int, identifier: str) -> None:
        self.number = number
        self.id = identifier
        self.given = ""  # the server's own id for it
        self.name = ""
        self.arguments = bytearray()
        self.extra: dict[str, Any] = {}

    def is_not_in(self, given: str, name: str, arguments: str) -> bool:
        """Whether a piece that may be the next one of this call is the first of another."""
        if given and self.given:
            return given != self.given
        if not name or not self.name:
            return False
        if not self.arguments:
            return name != self.name
        return (name != self.name or arguments.lstrip().startswith("{")) and self._has_all()

    def take(self, piece: dict[str, Any], given: str, name: str, arguments: str) -> int:
        """Add what *piece* says; how many further fields are new."""
        size = len(self.extra)
        self.given = self.given or given
        self.name = self.name or name
        self.arguments += arguments.encode()
        if len(piece) > 1:
            self.extra.update({k: value for k, value in piece.items() if k not in _OWN and value is not None})
        return len(self.extra) - size

    def whole(self) -> dict[str, Any]:
        """The entry of ``tool_calls``."""
        function = {"name": self.name, "arguments": self.arguments.decode()}
        return {"id": self.id, "type": "function", **self.extra, "function": function}

    def _has_all(self) -> bool:
        """Whether the arguments are one whole JSON object, so that nothing can follow."""
        try:
            return isinstance(msgspec.json.decode(self.arguments), dict)
        except (msgspec.DecodeError, RecursionError):
            return False


_OWN = frozenset({"id", "index", "function"})


def _arguments(given: Any) -> str:
    """A piece of arguments; an object, as servers send that do not cut, as its JSON text."""
    if given is None or isinstance(given, str):
        return given or ""
    return json.dumps(given)


class ReasoningDetails:
    """
    ``reasoning_details`` of OpenRouter: texts and summaries grow, all else comes whole.

    Attributes:
        kept: Entries so far.
    """

    __slots__ = ("_entries", "kept")

    def __init__(self) -> None:
        self.kept = 0
        self._entries: list[tuple[dict[str, Any], bytearray]] = []

    def add(self, details: Any) -> None:
        """Take in the list of one delta."""
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict):
                self._add(detail)

    def whole(self) -> list[dict[str, Any]]:
        """``reasoning_details`` of the message."""
        return [_detail(entry, text.decode()) for entry, text in self._entries]

    def _add(self, detail: dict[str, Any]) -> None:
        field = _GROWING.get(text_of(detail.get("type")), "")
        piece = text_of(detail.get(field)).encode()
        if field and self._entries:
            entry, text = self._entries[-1]
            if all(entry.get(key) == detail.get(key) for key in ("type", "index")):
                text += piece
                entry.update({key: value for key, value in detail.items() if value is not None and key != field})
                return
        self._entries.append((dict(detail), bytearray(piece)))
        self.kept += 1


def _detail(entry: dict[str, Any], text: str) -> dict[str, Any]:
    field = _GROWING.get(text_of(entry.get("type")), "")
    return {**entry, field: text} if field and text else entry
