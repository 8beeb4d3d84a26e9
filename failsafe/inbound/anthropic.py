"""
Answers clients that speak Anthropic's Messages API.

Source of the form: anthropics/anthropic-sdk-python ``types/message.py``, ``types/raw_message_stream_event.py``,
``_exceptions.py``; platform.claude.com "Streaming Messages", "Errors". Every rule is stated in ``docs/inbound.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.inbound.anthropic_question import NO_THREADS, read_question
from failsafe.inbound.base import Question
from failsafe.inbound.fields import arguments_object, joined, made_up
from failsafe.inbound.wire import event
from failsafe.models import Reply, Usage

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OTHER_ERROR = "api_error"


class AnthropicFormat:
    """The :class:`failsafe.inbound.base.Format` of Anthropic's Messages API. Stateless and thread-safe."""

    name = "anthropic"
    request_id_header = "request-id"
    embeddings = None

    def read(self, body: Any, path: str) -> Question:  # noqa: ARG002 -- all is in the body
        """
        The request in a decoded *body*.

        Raises:
            InvalidRequest: It is no request to Messages, or asks for what only Anthropic has (its own tools, files, MCP
                servers).
        """
        return read_question(body)

    def write(self, reply: Reply, question: Question) -> dict[str, Any]:
        """The ``message`` that says what *reply* does; its thinking only if *question* asked for some."""
        return {
            "id": reply.id or made_up("msg_"),
            "type": "message",
            "role": "assistant",
            "model": reply.model or reply.asked_model,
            "content": list(_blocks(reply, thinking=_wants_thinking(question))),
            **_ending(reply),
            "usage": _usage(reply.usage),
        }

    def writer(self, question: Question) -> AnthropicWriter:
        """What writes the answer to *question* as a stream."""
        return AnthropicWriter(thinking=_wants_thinking(question))

    def error(self, status: int, error: Exception) -> dict[str, Any]:
        """The body of an error answer."""
        said: dict[str, Any] = {"type": _ERRORS.get(status, _OTHER_ERROR), "message": str(error)}
        if getattr(error, "code", None) == NO_THREADS:
            said["details"] = {"error_code": NO_THREADS}
        return {"type": "error", "error": said}


class AnthropicWriter:
    """
    The :class:`failsafe.inbound.base.StreamWriter` of Anthropic's Messages API. Not thread-safe.

    Args:
        thinking: Whether the client is shown the reasoning.
    """

    __slots__ = ("_blocks", "_calls", "_open", "_started", "_thinking", "_thoughts")

    def __init__(self, *, thinking: bool) -> None:
        self._thinking = thinking
        self._started = False
        self._blocks = 0
        self._open = ""  # the kind of the last block while it is open, else ""
        self._calls: dict[int, int] = {}  # the block of each tool call
        self._thoughts: dict[int, StringIO] = {}  # what each block of thinking says

    def chunk(self, chunk: Chunk) -> bytes:
        """The events for one piece."""
        return joined(self._events(chunk))

    def end(self, reply: Reply) -> bytes:
        """The events that end the answer."""
        return joined(self._last_events(reply))

    def error(self, status: int, error: Exception) -> bytes:
        """The ``error`` event."""
        return event(AnthropicFormat().error(status, error), "error")

    def _events(self, chunk: Chunk) -> Iterator[bytes]:
        if not self._started:
            yield self._start(chunk.model)
        if chunk.reasoning and self._thinking:
            yield from self._begin("thinking", {"thinking": "", "signature": ""})
            self._thoughts.setdefault(self._blocks - 1, StringIO()).write(chunk.reasoning)
            yield self._delta("thinking_delta", thinking=chunk.reasoning)
        text = chunk.text + chunk.refusal
        if text:
            yield from self._begin("text", {"text": ""})
            yield self._delta("text_delta", text=text)
        for piece in chunk.tool_calls:
            yield from self._tool_events(piece)

    def _last_events(self, reply: Reply) -> Iterator[bytes]:
        if not self._started:
            yield self._start(reply.asked_model)
        yield from self._signatures(reply)
        yield from self._close()
        yield _named("message_delta", delta=_ending(reply), usage=_own_usage(reply) | _usage(reply.usage))
        yield _named("message_stop")

    def _start(self, model: str) -> bytes:
        self._started = True
        message: dict[str, Any] = {
            "id": made_up("msg_"),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(Usage()),  # the counts come with message_delta
        }
        return _named("message_start", message=message)

    def _tool_events(self, piece: ToolCallDelta) -> Iterator[bytes]:
        block = self._calls.get(piece.index)
        if block is None:
            yield from self._close()
            yield from self._begin("tool_use", {"id": piece.id or made_up("toolu_"), "name": piece.name, "input": {}})
            block = self._calls[piece.index] = self._blocks - 1
        if piece.arguments:
            # Should calls come interleaved, this block may be closed by now: its index still tells which one it is.
            yield self._delta("input_json_delta", block, partial_json=piece.arguments)

    def _signatures(self, reply: Reply) -> Iterator[bytes]:
        """
        What an Anthropic model wants back with its thinking; known at the end only, when other blocks have begun.

        Thinking is taken back as a whole or not at all, so nothing is signed where it was not all written.
        """
        if not self._thoughts:
            return
        given = _thinking_blocks(reply)
        if [block.get("thinking") for block in given] != [said.getvalue() for said in self._thoughts.values()]:
            return
        for index, block in zip(self._thoughts, given, strict=True):
            if block.get("signature"):
                yield self._delta("signature_delta", index, signature=block["signature"])

    def _begin(self, kind: str, fields: Mapping[str, Any]) -> Iterator[bytes]:
        """A new block, unless one of this *kind* is open."""
        if self._open == kind:
            return
        yield from self._close()
        self._open = kind
        yield _named("content_block_start", index=self._blocks, content_block={"type": kind, **fields})
        self._blocks += 1

    def _close(self) -> Iterator[bytes]:
        if self._open:
            self._open = ""
            yield _named("content_block_stop", index=self._blocks - 1)

    def _delta(self, kind: str, index: int | None = None, **fields: str) -> bytes:
        block = self._blocks - 1 if index is None else index
        return _named("content_block_delta", index=block, delta={"type": kind, **fields})


def _named(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def _wants_thinking(question: Question) -> bool:
    """Whether the client asked for thinking; who did not may take the first block for the text."""
    return bool(question.parameters.get("reasoning_effort", "none") != "none")


def _blocks(reply: Reply, *, thinking: bool) -> Iterator[dict[str, Any]]:
    if thinking and reply.reasoning:
        yield {"type": "thinking", "thinking": reply.reasoning, "signature": ""}
    text = reply.content + (reply.refusal or "")
    if text:
        yield {"type": "text", "text": text}
    for call in reply.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_object(call.arguments)}


def _thinking_blocks(reply: Reply) -> list[Mapping[str, Any]]:
    blocks = (reply.provider_data or {}).get("content")
    kinds = ("thinking", "redacted_thinking")
    return [
        block
        for block in (blocks if isinstance(blocks, list) else ())
        if isinstance(block, Mapping) and block.get("type") in kinds
    ]


def _own_message(reply: Reply) -> Mapping[str, Any]:
    """The provider's own body, if it is a message of Anthropic's; else an empty one."""
    raw = reply.raw
    return raw if isinstance(raw, Mapping) and raw.get("type") == "message" else {}


def _ending(reply: Reply) -> dict[str, Any]:
    """Why the answer ended, and at which of the client's own texts, where Anthropic says that."""
    own = _own_message(reply)
    reason = "refusal" if reply.refusal else _STOP_REASONS[reply.finish_reason]
    said = {name: own[name] for name in ("stop_reason", "stop_sequence", "stop_details") if own.get(name)}
    return {"stop_reason": reason, "stop_sequence": None, **said}


def _own_usage(reply: Reply) -> dict[str, Any]:
    usage = _own_message(reply).get("usage")
    return dict(usage) if isinstance(usage, Mapping) else {}


def _usage(usage: Usage) -> dict[str, Any]:
    """Anthropic counts what the cache has beside the rest of the prompt."""
    cached = usage.cached_tokens + usage.cache_write_tokens
    return {
        "input_tokens": max(0, usage.prompt_tokens - cached),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
