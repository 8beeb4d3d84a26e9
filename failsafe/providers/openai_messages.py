"""
The history of a conversation as one server of the OpenAI dialect takes it.

A plain text is passed on as the caller's own object; a message that is more is copied first.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.models import Message
from failsafe.providers.base import CannotExpress, Target
from failsafe.providers.common import Changes, own_data, plain_text, read_image

_WHOLE_SCHEMA = frozenset({"openai", "azure"})
"""Vendors that take all of OpenAI's messages; the others know neither ``developer`` nor ``refusal``."""

_BOUND_KEYS = frozenset(
    {"provider_data", "reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "extra_content",
     "signature", "thought_signature"}
)  # fmt: skip
_BOUND_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_ANSWER_KEYS = ("annotations", "audio")
"""Fields of OpenAI's answers that come back with the history, and that other servers refuse even when empty."""
_CALL_KEYS = frozenset({"id", "type", "function"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_LONGEST_CALL_ID = 40
_BETWEEN: Message = {"role": "assistant", "content": "OK."}


class History:
    """
    Rewrites the messages of one request for one target. Lives for one ``build``; not thread-safe.

    Args:
        target: Who is going to read them.
        changes: Where each change is noted.
    """

    __slots__ = ("_call_id", "_changes", "_target", "_whole_schema")

    def __init__(self, target: Target, changes: Changes) -> None:
        self._target = target
        self._changes = changes
        self._call_id = target.quirks.tool_call_id
        self._whole_schema = target.vendor in _WHOLE_SCHEMA

    def sent(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages to send; *messages* and what is in them stay as they are."""
        rewritten = [message if _is_plain(message) else self._message(message) for message in messages]
        if self._target.quirks.assistant_between_tool_and_user:
            return self._separated(rewritten)
        return rewritten

    def _separated(self, messages: Sequence[Message]) -> Sequence[Message]:
        """An assistant turn between a tool's result and the user's next word."""
        separated: list[Message] = []
        for message in messages:
            if separated and separated[-1].get("role") == "tool" and message.get("role") == "user":
                self._changes.rewritten("messages", "an assistant turn inserted between a tool result and the user")
                separated.append(_BETWEEN)
            separated.append(message)
        return separated

    def _message(self, message: Message) -> Message:
        """One message that is more than a role and a text, or of a role that not every server knows."""
        own = own_data(message, self._target) or {}
        copy = {key: value for key, value in message.items() if value is not None and key not in _BOUND_KEYS}
        self._note_bound(message, own)
        self._role(copy)
        if not self._whole_schema:
            self._drop_answer_keys(copy)
        if not self._target.quirks.cache_control and copy.pop("cache_control", None):
            self._note_cache()
        if not isinstance(copy.get("content"), str):
            self._content(copy, message)
        if "tool_calls" in copy:
            copy["tool_calls"] = [self._call(call, own) for call in copy["tool_calls"]]
        if self._call_id and "tool_call_id" in copy:
            copy["tool_call_id"] = self._fitting_id(copy["tool_call_id"])
        self._refusal(copy)
        self._restore(copy, message, own)
        return copy

    def _note_bound(self, message: Message, own: Mapping[str, Any]) -> None:
        kept = {*own, "provider_data"} if own else set()
        if self._target.quirks.returns_reasoning:
            kept.add("reasoning_content")
        for key in sorted(_BOUND_KEYS.intersection(message)):
            if message[key] is not None and key not in kept:
                self._changes.dropped(f"messages.{key}", "it belongs to the provider and model it came from")

    def _restore(self, copy: dict[str, Any], message: Message, own: Mapping[str, Any]) -> None:
        """Put back what this provider and model gave with its own turn."""
        if self._target.quirks.returns_reasoning and isinstance(message.get("reasoning_content"), str):
            copy["reasoning_content"] = message["reasoning_content"]
        copy.update({key: value for key, value in own.items() if key in _BOUND_KEYS})

    def _role(self, copy: dict[str, Any]) -> None:
        if copy.get("role") == "developer" and not self._whole_schema:
            copy["role"] = "system"
            self._changes.rewritten("messages.role", "developer to system")

    def _drop_answer_keys(self, copy: dict[str, Any]) -> None:
        for key in _ANSWER_KEYS:
            if copy.pop(key, None):
                self._changes.dropped(f"messages.{key}", "only OpenAI's own API takes it back")

    def _content(self, copy: dict[str, Any], message: Message) -> None:
        parts = copy.get("content")
        if parts is None:
            # Left out or null means the same, and null is what every server knows beside tool calls.
            copy["content"] = None
            return
        kept = [self._part(part) for part in parts if part.get("type") not in _BOUND_PARTS]
        if len(kept) < len(parts):
            self._changes.dropped("messages.content", "thinking belongs to the provider and model it came from")
        copy["content"] = kept or (None if message.get("tool_calls") else "")

    def _note_cache(self) -> None:
        self._changes.dropped("messages.cache_control", f"{self._target.provider} caches by itself")

    def _part(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = part.get("type")
        if "cache_control" in part and not self._target.quirks.cache_control:
            self._note_cache()
            part = {key: value for key, value in part.items() if key != "cache_control"}
        if kind == "image_url":
            return self._image(part)
        if kind == "refusal" and not self._whole_schema:
            self._changes.rewritten("messages.refusal", "to text")
            return {"type": "text", "text": part.get("refusal") or ""}
        if kind == "text" and "signature" in part:
            self._changes.dropped("messages.signature", "it belongs to the provider and model it came from")
            return {key: value for key, value in part.items() if key != "signature"}
        return part

    def _image(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = read_image(part, "messages.content").kind
        if kind not in self._target.quirks.images:
            said = "images by address" if kind == "url" else "images as data"
            raise CannotExpress(f"{self._target.provider} does not take {said}")
        if isinstance(part["image_url"], str):
            self._changes.rewritten("messages.content", "a bare image address to an object with url")
            return {**part, "image_url": {"url": part["image_url"]}}
        return part

    def _call(self, call: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
        """One tool call of the history: its portable part, and what this target gave with it."""
        function = call["function"]
        call_id = self._fitting_id(call["id"]) if self._call_id else call["id"]
        given = own.get("tool_calls")
        restored = given.get(call["id"]) if isinstance(given, Mapping) else None
        plain = call.keys() <= _CALL_KEYS and function.keys() <= _FUNCTION_KEYS
        if plain and not restored and call_id == call["id"]:
            return call
        if not plain:
            self._changes.dropped("messages.tool_calls", "fields that belong to the provider and model they came from")
        portable = {key: function[key] for key in ("name", "arguments") if key in function}
        extra = restored if isinstance(restored, Mapping) else {}
        return {**extra, "id": call_id, "type": "function", "function": portable}

    def _fitting_id(self, call_id: str) -> str:
        fitting = _fitting_id(call_id, self._call_id or "")
        if fitting != call_id:
            self._changes.rewritten("messages.tool_call_id", f"to the form that {self._target.provider} takes")
        return fitting

    def _refusal(self, copy: dict[str, Any]) -> None:
        """Servers other than OpenAI's have no field for a refusal: it becomes the text it is."""
        refusal = None if self._whole_schema else copy.pop("refusal", None)
        if refusal is None:
            return
        self._changes.rewritten("messages.refusal", "to text")
        copy["content"] = plain_text(copy.get("content")) + refusal


def _is_plain(message: Message) -> bool:
    """Whether every server takes *message* as it is: a known role and a text, nothing else."""
    return len(message) == 2 and type(message.get("content")) is str and message.get("role") != "developer"


def _fitting_id(call_id: str, pattern: str) -> str:
    """
    *call_id* itself where it fits *pattern*, else the longest run of its hash's digits that does.

    The same id gives the same digits always, so that calls and their results stay together; the
    id is left alone when no run of letters and digits fits.
    """
    fits = re.compile(pattern).fullmatch
    if fits(call_id):
        return call_id
    digits = _base62(int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()))
    runs = (digits[:length] for length in range(_LONGEST_CALL_ID, 0, -1))
    return next((run for run in runs if fits(run)), call_id)


def _base62(number: int) -> str:
    digits = []
    for _ in range(_LONGEST_CALL_ID):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)
