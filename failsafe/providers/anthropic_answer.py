"""
Reading Anthropic's answers.

Source: anthropics/anthropic-sdk-python ``types/message.py``, ``types/stop_reason.py``,
``types/usage.py``; platform.claude.com "Handling stop reasons".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.models import Answer, Failure, FinishReason, ToolCall, Usage
from failsafe.providers.common import arguments_text, text_of, token_count
from failsafe.providers.native import broken, filtered, malformed

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}
_PLAIN = frozenset({"text", "tool_use"})

Block = Mapping[str, Any]


def read_answer(body: Any) -> Answer | Failure:
    """
    The answer in the decoded *body* of a 2xx, or why it is none. Never raises.

    Args:
        body: Any JSON value.
    """
    if not isinstance(body, Mapping):
        return malformed("the body is no JSON object, so no Anthropic message")
    if body.get("type") == "error" or body.get("error"):
        return _error(body.get("error"))
    blocks = body.get("content")
    if not isinstance(blocks, list):
        return malformed("the body has no list of content blocks, so it is no Anthropic message")
    try:
        return _read_message(body, [block for block in blocks if isinstance(block, Mapping)])
    except RecursionError:
        return malformed("the body nests too deep to be read")


def _error(error: Any) -> Failure:
    if isinstance(error, Mapping):
        return broken(error.get("type"), error.get("message"), "overloaded_error")
    return broken(None, error, "overloaded_error")


def _read_message(body: Mapping[str, Any], blocks: Sequence[Block]) -> Answer | Failure:
    reason = text_of(body.get("stop_reason"))
    text = _joined(blocks, "text", "text")
    if reason == "refusal":
        return _refusal(body.get("stop_details"), text)
    calls = _calls(blocks)
    problem = _problem(reason, blocks, calls)
    if problem:
        return malformed(problem, reason or None)
    return Answer(
        content=text,
        finish_reason=_finish(reason, calls),
        tool_calls=tuple(call for call in calls if call is not None),
        usage=_usage(body.get("usage")),
        model=text_of(body.get("model")),
        id=text_of(body.get("id")),
        reasoning=_joined(blocks, "thinking", "thinking") or None,
        provider_data=_to_keep(blocks),
        raw=body,
    )


def _refusal(details: Any, text: str) -> Failure:
    said = details.get("explanation") if isinstance(details, Mapping) else None
    return filtered("refusal", said, text)


def _calls(blocks: Sequence[Block]) -> list[ToolCall | None]:
    """The tool calls, None for one that cannot be called."""
    return [_call(block) for block in blocks if block.get("type") == "tool_use"]


def _call(block: Block) -> ToolCall | None:
    id_, name = text_of(block.get("id")), text_of(block.get("name"))
    if not id_ or not name:
        return None
    return ToolCall(id=id_, name=name, arguments=arguments_text(block.get("input")))


def _problem(reason: str, blocks: Sequence[Block], calls: Sequence[ToolCall | None]) -> str:
    """Why this is no answer, or ""."""
    if None in calls:
        return "a tool call without an id or a name"
    if reason == "tool_use" and not calls:
        return "it stops for a tool call and has none"
    if not reason and not any(_joined(blocks, kind, kind) for kind in ("text", "thinking")) and not calls:
        return "neither content nor a stop_reason"
    return ""


def _finish(reason: str, calls: Sequence[ToolCall | None]) -> FinishReason:
    finish = _REASONS.get(reason, "stop")
    return "tool_calls" if calls and finish == "stop" else finish


def _joined(blocks: Sequence[Block], kind: str, field: str) -> str:
    return "".join(text_of(block.get(field)) for block in blocks if block.get("type") == kind)


def _to_keep(blocks: Sequence[Block]) -> dict[str, Any] | None:
    """
    All blocks in order, if there is more to them than text and tool calls.

    Thinking comes with signatures that the same model wants back unchanged with the next turn.
    """
    if all(text_of(block.get("type")) in _PLAIN for block in blocks):
        return None
    return {"content": list(blocks)}


def _usage(usage: Any) -> Usage:
    """Anthropic counts cached tokens beside the prompt, and thinking inside the output."""
    if not isinstance(usage, Mapping):
        return Usage()
    written = token_count(usage.get("cache_creation_input_tokens"))
    cached = token_count(usage.get("cache_read_input_tokens"))
    details = usage.get("output_tokens_details")
    return Usage(
        prompt_tokens=token_count(usage.get("input_tokens")) + written + cached,
        completion_tokens=token_count(usage.get("output_tokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=token_count(details.get("thinking_tokens")) if isinstance(details, Mapping) else 0,
    )
