"""
A conversation in OpenAI's chat form as Anthropic's ``system`` and ``messages``.

Source of the form: anthropics/anthropic-sdk-python ``types/message_param.py`` and its neighbours;
the rules of every mapping are in ``docs/dialects-native.md``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

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

_LEGAL_ID = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_EMPTY = "an empty text, which Anthropic refuses"
_REASONING = frozenset({"thinking", "redacted_thinking"})

Block = dict[str, Any]


class History:
    """
    What became of a conversation. Lives for one ``build``; not thread-safe.

    Args:
        messages: The conversation, as ``failsafe.request`` checked it; never changed.
        target: Whom it goes to.
        changes: Where changes are noted.

    Attributes:
        system: Text blocks of the system prompt, in order.
        turns: ``{"role", "content"}``, users and assistants taking turns; the first is the user's.
        calls_tools: Whether an assistant turn calls a tool.

    Raises:
        CannotExpress: Anthropic cannot be told this: no user message, an assistant speaks first,
            a content part it does not read, images for a model that reads none, a tool call whose
            arguments are not the JSON text of an object.
        InvalidRequest: An image's address is no address.
    """

    def __init__(self, messages: Sequence[Message], target: Target, changes: Changes) -> None:
        self.system: list[Block] = []
        self._turns = Turns("Anthropic", "content", changes)
        self.turns = self._turns.all
        self.calls_tools = False
        self._target = target
        self._changes = changes
        self._ids = _ToolIds(changes)
        for index, message in enumerate(messages):
            self._add(message, f"messages[{index}]")
        self._turns.check_order()

    @property
    def ends_with_assistant(self) -> bool:
        """Whether the model is asked to go on with a text begun for it."""
        return bool(self.turns[-1]["role"] == "assistant")

    @property
    def answers_unthinking_call(self) -> bool:
        """Whether it ends with the results of tool calls that a turn without a thinking block made."""
        if len(self.turns) < 2 or self.turns[-1]["content"][0]["type"] != "tool_result":
            return False
        return text_of(self.turns[-2]["content"][0].get("type")) not in _REASONING

    def trim_end(self) -> None:
        """Take the trailing space off a last assistant text, which Anthropic refuses."""
        last = self.turns[-1]["content"][-1]
        if last.get("type") == "text" and last["text"] != last["text"].rstrip():
            self.turns[-1]["content"][-1] = {**last, "text": last["text"].rstrip()}
            self._changes.rewritten("messages", "space at the end of the last assistant text taken off")

    def _add(self, message: Message, place: str) -> None:
        note_unsent(message, place, self._changes, "cache_control")
        role = message["role"]
        if role in ("system", "developer"):
            self.system += _marked(self._blocks(message, place), message)
            if self.turns:
                self._changes.rewritten(place, "a system text amid the conversation, moved to the front")
        elif role == "assistant":
            self._turns.add("assistant", _marked(self._assistant_blocks(message, place), message), role)
        elif role == "tool":
            self._turns.add("user", _marked([self._tool_result(message, place)], message), role)
        else:
            self._turns.add("user", _marked(self._blocks(message, place), message), role)

    def _assistant_blocks(self, message: Message, place: str) -> list[Block]:
        calls = past_calls(message, place)
        self.calls_tools = self.calls_tools or bool(calls)
        own = _own_blocks(message, calls, self._target)
        note_foreign(message, self._changes, own_used=own is not None)
        ids = [self._ids.made(call.id) for call in calls]
        if own is not None:
            return _with_ids(own, ids)
        blocks = self._blocks(message, place)
        return blocks + [
            {"type": "tool_use", "id": id_, "name": call.name, "input": call.arguments}
            for id_, call in zip(ids, calls, strict=True)
        ]

    def _tool_result(self, message: Message, place: str) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": self._ids.answered(message["tool_call_id"])}
        content = self._blocks(message, place)
        if content:
            cached = any("cache_control" in part for part in content)
            block["content"] = content if cached else "".join(part["text"] for part in content)
        return block

    def _blocks(self, message: Message, place: str) -> list[Block]:
        """The content of *message* as blocks, without empty texts and reasoning."""
        content = message.get("content")
        if not content and message.get("refusal"):
            content = message["refusal"]
        blocks = []
        for index, part in enumerate(parts_of(content)):
            block = self._block(part, message["role"], f"{place}.content[{index}]")
            if block is not None and block["type"] == "text" and not block["text"].strip():
                if not is_empty_assistant(message):
                    self._changes.dropped(f"{place}.content", _EMPTY)
            elif block is not None:
                blocks.append(block)
        return blocks

    def _block(self, part: Mapping[str, Any], role: str, place: str) -> Block | None:
        kind = part.get("type")
        if kind == "text":
            return _cached({"type": "text", "text": part["text"]}, part)
        if kind == "refusal":
            return {"type": "text", "text": plain_text(part.get("refusal"))}
        if kind == "image_url" and role == "user":
            return _cached(self._image(part, place), part)
        if kind in REASONING_PARTS:
            return None
        raise CannotExpress(f"{place}: Anthropic's dialect has no {kind} in a {role} message")

    def _image(self, part: Mapping[str, Any], place: str) -> Block:
        image = read_image(part, place)
        if self._target.info.images is False or image.kind not in self._target.quirks.images:
            raise CannotExpress(f"{place}: {self._target.model} does not read such an image")
        holder = part["image_url"]
        if isinstance(holder, Mapping) and holder.get("detail") not in (None, "auto"):
            self._changes.dropped(f"{place}.image_url.detail", "Anthropic has no levels of detail")
        if image.kind == "url":
            return {"type": "image", "source": {"type": "url", "url": image.url}}
        return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}


class _ToolIds:
    """
    Tool-call ids in the shape Anthropic takes, each one used once.

    An id of another shape is replaced by a hash of it, the same one in every request, so that
    prompt caches still match; an id that a second call uses again gets a number.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._used: set[str] = set()
        self._sent: dict[str, str] = {}

    def made(self, given: str) -> str:
        """The id to send for a call."""
        legal = _LEGAL_ID.fullmatch(given) is not None
        base = given if legal else f"call_{hashlib.sha256(given.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
        sent, count = base, 1
        while sent in self._used:
            count += 1
            sent = f"{base}-{count}"
        if sent != given:
            self._changes.rewritten("messages", "tool-call ids brought into Anthropic's form, each used once")
        self._used.add(sent)
        self._sent[given] = sent
        return sent

    def answered(self, given: str) -> str:
        """The id to send for a result: that of the latest call with the id *given*."""
        return self._sent.get(given) or self.made(given)


def _cached(block: Block, part: Mapping[str, Any]) -> Block:
    """*block* with the mark of the prompt cache that the caller set on its *part*."""
    return {**block, "cache_control": part["cache_control"]} if part.get("cache_control") else block


def _marked(blocks: list[Block], message: Message) -> list[Block]:
    """*blocks* with the mark of the prompt cache that the caller set on the whole *message* on the last one."""
    return [*blocks[:-1], _cached(blocks[-1], message)] if blocks else blocks


def _own_blocks(message: Message, calls: Sequence[PastCall], target: Target) -> list[Block] | None:
    """
    The blocks in which *target* itself gave this answer, or None.

    They count only while they say what the message says: an answer that the caller edited is sent
    as edited, without the thinking that led to the old one.
    """
    stored = (own_data(message, target) or {}).get("content")
    if not isinstance(stored, list | tuple) or not all(isinstance(block, Mapping) for block in stored):
        return None
    text = "".join(map(_said, stored))
    uses = [(use.get("id"), use.get("name"), use.get("input") or {}) for use in stored if use.get("type") == "tool_use"]
    if text != plain_text(message.get("content")) or uses != [(call.id, call.name, call.arguments) for call in calls]:
        return None
    return [dict(block) for block in stored if block.get("type") != "text" or text_of(block.get("text")).strip()]


def _said(block: Mapping[str, Any]) -> str:
    """What of *block* a model of another vendor would be given as text: a text, or the summary of what was before."""
    kind = block.get("type")
    if kind == "compaction":
        return plain_text(block.get("content"))
    return plain_text([block]) if kind == "text" else ""


def _with_ids(blocks: list[Block], ids: Sequence[str]) -> list[Block]:
    """*blocks* whose tool calls have the ids *ids*, in order."""
    left = iter(ids)
    return [{**block, "id": next(left)} if block.get("type") == "tool_use" else block for block in blocks]
