"""
Reading Anthropic's streamed answers.

Source: anthropics/anthropic-sdk-python ``types/raw_message_stream_event.py``, ``lib/streaming/_messages.py`` and the
recorded streams in its tests; platform.claude.com "Streaming Messages". What servers that imitate it leave out is
in ``docs/dialects-native.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.faults import Fault
from failsafe.models import Failure
from failsafe.providers.base import Target
from failsafe.providers.common import arguments_text, text_of
from failsafe.providers.native import broken, malformed

_decode = msgspec.json.Decoder().decode
_CANNOT_DECODE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OTHER_DIALECTS = ("choices", "candidates")
_DONE = b"[DONE]"

Event = dict[str, Any]


class AnthropicStream:
    """
    The :class:`failsafe.providers.base.StreamReader` of Anthropic's Messages API.

    Lives for one answer; not thread-safe. Never raises. Keeps what the answer says and nothing per event.

    Args:
        target: Whose answer it is.

    Attributes:
        finished: Whether a ``stop_reason`` was read.
        done: Whether ``message_stop`` was read.
        text_length: Characters of text, thinking and tool arguments so far.
        kept: Blocks so far.
    """

    __slots__ = (
        "_blocks",
        "_by_index",
        "_calls",
        "_message",
        "_target",
        "_usage",
        "done",
        "finished",
        "kept",
        "text_length",
    )

    def __init__(self, target: Target) -> None:
        self.finished = False
        self.done = False
        self.text_length = 0
        self.kept = 0
        self._target = target
        self._message: Event = {"type": "message", "role": "assistant"}
        self._usage: Event = {}
        self._blocks: list[_Block] = []
        self._by_index: dict[int | None, _Block] = {}
        self._calls = 0

    def read(self, name: str, data: bytes) -> Chunk | Failure | None:
        """Take in one event; see :meth:`failsafe.providers.base.StreamReader.read`."""
        try:
            event = _decode(data)
        except _CANNOT_DECODE:
            return self._without_json(name, data)
        if not isinstance(event, dict):
            return malformed("an event whose data is no JSON object, so no event of Anthropic's")
        kind = event.get("type") or name
        if kind == "content_block_delta":
            return self._read_delta(event)
        reader = self._readers.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            return reader(self, event)
        return self._read_other(name, event)

    def body(self) -> dict[str, Any] | Failure:
        """The message that the events make up; a :class:`Failure` without a ``stop_reason``."""
        if not self.finished:
            return Failure(
                fault=Fault.TRUNCATED,
                message="the stream ended before the answer did: no stop_reason came",
                partial=self._text(),
                maybe_billed=True,
            )
        whole = {**self._message, "content": [block.whole() for block in self._blocks]}
        if self._usage:
            whole["usage"] = dict(self._usage)
        return whole

    def _read_start(self, event: Event) -> None:
        """``message_start``."""
        message = event.get("message")
        if isinstance(message, dict):
            _merge(self._message, message)
            self._merge_usage(message)

    def _read_block_start(self, event: Event) -> Chunk | None:
        """``content_block_start``; some servers put the beginning of the text here, or all of a tool's input."""
        given = event.get("content_block")
        if not isinstance(given, dict):
            return None
        block = self._begin(event, given)
        if block.call is not None:
            delta = ToolCallDelta(index=block.call, id=text_of(given.get("id")), name=text_of(given.get("name")))
            return self._chunk(tool_calls=(delta,))
        if block.kind == "text":
            return self._shown(block, "text", text_of(given.get("text")))
        if block.kind == "thinking":
            return self._shown(block, "reasoning", text_of(given.get("thinking")))
        return None

    def _read_delta(self, event: Event) -> Chunk | None:
        """``content_block_delta``; unknown kinds are left alone, the vendor adds them without a version."""
        delta = event.get("delta")
        if not isinstance(delta, dict):
            return None
        kind = delta.get("type")
        if kind == "text_delta":
            return self._shown(self._block(event, "text"), "text", text_of(delta.get("text")))
        if kind == "input_json_delta":
            return self._arguments_chunk(self._block_with_input(event), text_of(delta.get("partial_json")))
        if kind == "thinking_delta":
            return self._shown(self._block(event, "thinking"), "reasoning", text_of(delta.get("thinking")))
        if kind == "signature_delta":
            self._block(event, "thinking").signature = text_of(delta.get("signature"))
        elif kind == "citations_delta":
            self._block(event, "text").citations.append(delta.get("citation"))
        return None

    def _read_block_stop(self, event: Event) -> Chunk | None:
        """``content_block_stop``."""
        block = self._by_index.get(_index(event))
        return self._close([block]) if block is not None else None

    def _read_message_delta(self, event: Event) -> Chunk | None:
        """``message_delta``; its counts are totals, so later ones replace earlier ones."""
        delta = event.pop("delta", None)
        self._merge_usage(event)
        _merge(self._message, {name: value for name, value in event.items() if name not in ("type", "usage")})
        if isinstance(delta, dict):
            _merge(self._message, delta)
        if not text_of(self._message.get("stop_reason")):
            return None
        self.finished = True
        return self._close(self._blocks)

    def _read_stop(self, event: Event) -> None:  # noqa: ARG002 -- it says nothing but that it is there
        """``message_stop``."""
        self.done = True

    def _read_error(self, event: Event) -> Failure:
        """``error``, in Anthropic's envelope or in that of another server: what it says decides, as for a body."""
        from failsafe.providers.classify import classify_error_in_success  # a stream without errors never needs it

        failure = classify_error_in_success(
            event if event.get("error") else {"error": event},
            broken(None, None, ""),
            vendor=self._target.vendor,
            dialect="anthropic",
            model=self._target.model,
        )
        partial = self._text() if failure.fault is Fault.CONTENT_FILTER else ""
        billed = failure.maybe_billed or self.text_length > 0
        return msgspec.structs.replace(failure, partial=partial, maybe_billed=billed)

    def _read_other(self, name: str, event: Event) -> Failure | None:
        """An event that is none of those Anthropic documents."""
        if name == "error" or (event.get("error") and not event.get("type")) or event.get("object") == "error":
            return self._read_error(event)
        foreign = next((field for field in _OTHER_DIALECTS if isinstance(event.get(field), list)), None)
        if foreign is not None:
            return malformed(f"an event with {foreign}, so the server speaks another dialect than Anthropic's")
        return None

    def _without_json(self, name: str, data: bytes) -> Failure | None:
        said = data.strip()
        if not said:
            return None
        if said == _DONE:  # some proxies end every stream as OpenAI does
            self.done = True
            return None
        if name == "error":
            return self._read_error({"error": said[:1000].decode("utf-8", "replace")})
        return malformed(f"an event of {len(data)} bytes that are not JSON")

    def _merge_usage(self, holder: Event) -> None:
        usage = holder.get("usage")
        if isinstance(usage, dict):
            _merge(self._usage, usage)

    def _begin(self, event: Event, given: Event) -> _Block:
        """A new block; those that are open stay so, as some servers stop none."""
        kind = text_of(given.get("type"))
        block = _Block(kind, given)
        if kind == "tool_use":
            block.call = self._calls
            self._calls += 1
        self._blocks.append(block)
        self.kept += 1
        self._by_index[_index(event)] = block
        return block

    def _block(self, event: Event, kind: str) -> _Block:
        """The block of *kind* that *event* belongs to; a new one where the server did not start it."""
        block = self._by_index.get(_index(event))
        if block is None or block.kind != kind:
            block = self._begin(event, {"type": kind})
        return block

    def _block_with_input(self, event: Event) -> _Block:
        """The same for tools, the server's own included."""
        block = self._by_index.get(_index(event))
        if block is None or block.kind in ("text", "thinking"):
            block = self._begin(event, {"type": "tool_use"})
        return block

    def _close(self, blocks: list[_Block]) -> Chunk | None:
        """For each tool call among *blocks* that had no piece, what its arguments are."""
        deltas = []
        for block in blocks:
            if block.call is not None and not block.told:
                block.told = True
                arguments = arguments_text(block.given.get("input"))
                self.text_length += len(arguments)
                deltas.append(ToolCallDelta(index=block.call, arguments=arguments))
        return self._chunk(tool_calls=tuple(deltas)) if deltas else None

    def _shown(self, block: _Block, field: str, text: str) -> Chunk | None:
        """What follows of the text or the reasoning, if it is anything."""
        if not text:
            return None
        block.grown += text.encode()
        self.text_length += len(text)
        return self._chunk(**{field: text})

    def _arguments_chunk(self, block: _Block, piece: str) -> Chunk | None:
        if not piece:
            return None
        block.grown += piece.encode()
        if block.call is None:  # a tool that the server calls itself
            return None
        block.told = True
        self.text_length += len(piece)
        return self._chunk(tool_calls=(ToolCallDelta(index=block.call, arguments=piece),))

    def _chunk(self, **said: Any) -> Chunk:
        return Chunk(provider=self._target.provider, model=self._target.model, **said)

    def _text(self) -> str:
        return "".join(block.grown.decode() for block in self._blocks if block.kind == "text")

    _readers: ClassVar[dict[str, Callable[[AnthropicStream, Event], Chunk | Failure | None]]] = {
        "message_start": _read_start,
        "content_block_start": _read_block_start,
        "content_block_stop": _read_block_stop,
        "message_delta": _read_message_delta,
        "message_stop": _read_stop,
        "error": _read_error,
    }


class _Block:
    """
    One content block while it grows.

    Attributes:
        kind: Its type.
        given: What it was started with.
        grown: The text, the thinking, or the JSON text of the input, in UTF-8.
        citations: What was cited.
        signature: The signature of the thinking, or "".
        call: Which of the caller's tool calls it is, or None.
        told: Whether a piece of its arguments was shown.
    """

    __slots__ = ("call", "citations", "given", "grown", "kind", "signature", "told")

    def __init__(self, kind: str, given: Event) -> None:
        self.kind = kind
        self.given = given
        self.grown = bytearray()  # io.StringIO keeps small pieces apart, at some 60 bytes each
        self.citations: list[Any] = []
        self.signature = ""
        self.call: int | None = None
        self.told = False

    def whole(self) -> Event:
        """The block as a message that was not streamed has it."""
        text = self.grown.decode()
        if self.kind == "text":
            cited = {"citations": [*self._given_citations(), *self.citations]} if self.citations else {}
            return {**self.given, "text": text, **cited}
        if self.kind == "thinking":
            return {**self.given, "thinking": text, **({"signature": self.signature} if self.signature else {})}
        return {**self.given, "input": _input(text)} if text else self.given

    def _given_citations(self) -> list[Any]:
        given = self.given.get("citations")
        return given if isinstance(given, list) else []


def _input(text: str) -> Any:
    """The object that *text* is; else the text, so that whoever calls the tool sees what the model wrote."""
    try:
        value = _decode(text)
    except _CANNOT_DECODE:
        return text
    return value if isinstance(value, dict) else text


def _index(event: Event) -> int | None:
    index = event.get("index")
    return index if isinstance(index, int) else None


def _merge(into: Event, later: Event) -> None:
    """Later values win, unless they are null."""
    for name, value in later.items():
        if value is not None or name not in into:
            into[name] = value
