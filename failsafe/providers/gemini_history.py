"""
A conversation in OpenAI's chat form as Gemini's ``systemInstruction`` and ``contents``.

Source of the form: googleapis/python-genai ``google/genai/types.py`` (``Content``, ``Part``);
ai.google.dev "Function calling" and "Thought signatures". The rules of every mapping are in
``docs/dialects-native.md``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from failsafe.encoding import refuse
from failsafe.models import Message
from failsafe.providers.base import CannotExpress, Target
from failsafe.providers.common import Changes, own_data, plain_text, read_image, text_of
from failsafe.providers.native import (
    REASONING_PARTS,
    PastCall,
    Turns,
    is_empty_assistant,
    note_foreign,
    note_unsent,
    parts_of,
    past_calls,
)

NO_SIGNATURE = "skip_thought_signature_validator"
"""What ai.google.dev "Thought signatures" tells to send with a function call that Gemini did not make."""

_IMAGES_BY_ADDRESS = "Gemini is given images as data: URLs only, as failsafe fetches no address for anyone"

Part = dict[str, Any]


class History:
    """
    What became of a conversation. Lives for one ``build``; not thread-safe.

    Args:
        messages: The conversation, as ``failsafe.request`` checked it; never changed.
        target: Whom it goes to.
        changes: Where changes are noted.

    Attributes:
        system: Parts of the system instruction, in order.
        contents: ``{"role", "parts"}``, user and model taking turns; the first is the user's.

    Raises:
        CannotExpress: Gemini cannot be told this: no user message, an assistant speaks first, an
            image by address, a content part it does not read, images for a model that reads none, a
            tool call whose arguments are not the JSON text of an object.
        InvalidRequest: A tool result answers no call, or an image's address is no address.
    """

    def __init__(self, messages: Sequence[Message], target: Target, changes: Changes) -> None:
        self.system: list[Part] = []
        self._turns = Turns("Gemini", "parts", changes)
        self.contents = self._turns.all
        self._target = target
        self._changes = changes
        self._calls: dict[str, _Called] = {}
        self._order = itertools.count()
        for index, message in enumerate(messages):
            self._add(message, f"messages[{index}]")
        self._turns.check_order()

    def _add(self, message: Message, place: str) -> None:
        note_unsent(message, place, self._changes)
        role = message["role"]
        if role in ("system", "developer"):
            self.system += self._parts(message, place)
            if self.contents:
                self._changes.rewritten(place, "a system text amid the conversation, moved to the front")
        elif role == "assistant":
            self._turns.add("model", self._model_parts(message, place), role)
        elif role == "tool":
            self._add_result(message, place)
        else:
            self._turns.add("user", self._parts(message, place), role)

    def _model_parts(self, message: Message, place: str) -> list[Part]:
        calls = past_calls(message, place)
        own = _own_parts(message, calls, self._target)
        note_foreign(message, self._changes, own_used=own is not None)
        parts = own if own is not None else self._rebuilt_parts(message, calls, place)
        for call, function in zip(calls, _functions(parts), strict=True):
            self._calls[call.id] = _Called(name=call.name, id=function.get("id"), order=next(self._order))
        return parts

    def _rebuilt_parts(self, message: Message, calls: Sequence[PastCall], place: str) -> list[Part]:
        made: list[Part] = [{"functionCall": {"name": call.name, "args": call.arguments}} for call in calls]
        if made and self._target.info.thinking == "level":
            made[0]["thoughtSignature"] = NO_SIGNATURE
            self._changes.rewritten("messages", "a tool call of another model marked as one without a signature")
        return self._parts(message, place) + made

    def _add_result(self, message: Message, place: str) -> None:
        """Add the result of a tool call to the user's turn; the results of one turn stand in the order of its calls."""
        called = self._calls.get(message["tool_call_id"])
        if called is None:
            refuse(f"{place}.tool_call_id", message["tool_call_id"], "the id of an earlier tool call is needed")
        function: dict[str, Any] = {"name": called.name, "response": _response(plain_text(message.get("content")))}
        if called.id is not None:
            function["id"] = called.id
        self._check_text_only(message, place)
        self._turns.add("user", [{"functionResponse": function}], "tool")
        called.answer = function
        self._sort_results()

    def _sort_results(self) -> None:
        orders = {id(called.answer): called.order for called in self._calls.values()}
        parts = self.contents[-1]["parts"]
        first = next(index for index, part in enumerate(parts) if "functionResponse" in part)
        parts[first:] = sorted(parts[first:], key=lambda part: orders.get(id(part.get("functionResponse")), 0))

    def _check_text_only(self, message: Message, place: str) -> None:
        for index, part in enumerate(parts_of(message.get("content"))):
            if part.get("type") != "text":
                raise CannotExpress(f"{place}.content[{index}]: a tool's result is sent to Gemini as text only")

    def _parts(self, message: Message, place: str) -> list[Part]:
        """The content of *message* as parts, without empty texts and reasoning."""
        content = message.get("content")
        if not content and message.get("refusal"):
            content = message["refusal"]
        parts = []
        for index, part in enumerate(parts_of(content)):
            made = self._part(part, message["role"], f"{place}.content[{index}]")
            if made == {"text": ""}:
                if not is_empty_assistant(message):
                    self._changes.dropped(f"{place}.content", "an empty text, which Gemini refuses")
            elif made is not None:
                parts.append(made)
        return parts

    def _part(self, part: Mapping[str, Any], role: str, place: str) -> Part | None:
        kind = part.get("type")
        if kind == "text":
            if part.get("cache_control"):
                self._changes.dropped(f"{place}.cache_control", "Gemini caches by itself")
            return {"text": part["text"]}
        if kind == "refusal":
            return {"text": text_of(part.get("refusal"))}
        if kind == "image_url" and role == "user":
            return self._image(part, place)
        if kind in REASONING_PARTS:
            return None
        raise CannotExpress(f"{place}: Gemini's dialect has no {kind} in a {role} message")

    def _image(self, part: Mapping[str, Any], place: str) -> Part:
        image = read_image(part, place)
        if self._target.info.images is False or "data" not in self._target.quirks.images:
            raise CannotExpress(f"{place}: {self._target.model} does not read images")
        if image.kind == "url":
            raise CannotExpress(f"{place}: {_IMAGES_BY_ADDRESS}")
        holder = part["image_url"]
        if isinstance(holder, Mapping) and holder.get("detail") not in (None, "auto"):
            self._changes.dropped(f"{place}.image_url.detail", "Gemini sets the resolution for the whole request")
        return {"inlineData": {"mimeType": image.media_type, "data": image.data}}


class _Called:
    """A tool call that was sent: its name, Gemini's own id of it if it had one, its place among all, its answer."""

    __slots__ = ("answer", "id", "name", "order")

    def __init__(self, *, name: str, id: str | None, order: int) -> None:  # noqa: A002 -- the wire's word
        self.name = name
        self.id = id
        self.order = order
        self.answer: dict[str, Any] | None = None


def _response(text: str) -> dict[str, Any]:
    """A tool's result as the object Gemini wants: a JSON object as itself, anything else as ``{"result": text}``."""
    if text.lstrip().startswith("{"):
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
    return {"result": text}


def _own_parts(message: Message, calls: Sequence[PastCall], target: Target) -> list[Part] | None:
    """
    The parts in which *target* itself gave this answer, signatures included, or None.

    They count only while they say what the message says: an answer that the caller edited is sent
    as edited, without the signatures of the old one.
    """
    stored = (own_data(message, target) or {}).get("parts")
    if not isinstance(stored, list | tuple) or not all(isinstance(part, Mapping) for part in stored):
        return None
    text = "".join(text_of(part.get("text")) for part in stored if not part.get("thought"))
    said = [(function.get("name"), function.get("args") or {}) for function in _functions(stored)]
    if text != plain_text(message.get("content")) or said != [(call.name, call.arguments) for call in calls]:
        return None
    return [dict(part) for part in stored]


def _functions(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The function calls among *parts*."""
    return [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), Mapping)]
