"""
The Anthropic dialect (Messages).

Source: anthropics/anthropic-sdk-python (types and captured streams), and the vendor's reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from failsafe.faults import Fault
from failsafe.sim.behaviour import StreamShape
from failsafe.sim.dialect import Asked, Event, Route, last_user_text, names
from failsafe.sim.script import Call, Script
from failsafe.sim.vendors import Complaint
from failsafe.sim.wire import Head

_FIELDS = names(
    """
    cache_control container context_management max_tokens mcp_servers messages metadata model output_config
    service_tier stop_sequences stream system temperature thinking tool_choice tools top_k top_p
    """
)
_WITHOUT_SAMPLING = re.compile(r"claude-(?:opus-4-(?:[7-9]|\d\d)(?!\d)|opus-[5-9]|sonnet-[5-9]|haiku-5-5|fable)")
"""Models that refuse ``temperature``, ``top_p`` and ``top_k``: Opus 4.7 and later, Sonnet 5, Haiku 5.5, Fable."""
_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "refusal": "refusal",
    "tool_calls": "tool_use",
    "missing": None,
}


def route(head: Head) -> Route | None:
    """What the address is for, or None when there is nothing at it."""
    return {"/v1/messages": Route("chat"), "/v1/models": Route("models")}.get(head.path)


def complaint_about(asked: Asked) -> Complaint | None:
    """What the vendor would find wrong with a chat request, or None."""
    body = asked.body
    if "anthropic-version" not in asked.head.headers:
        return _bad("anthropic-version", "anthropic-version: header is required")
    if not isinstance(body, dict):
        return _bad("body", "The request body is not valid JSON")
    return (
        _missing(body)
        or _unknown_field(body)
        or _bad_number(body)
        or _deprecated(body)
        or _bad_messages(body["messages"])
    )


def _bad(parameter: str, message: str) -> Complaint:
    return Complaint(fault=Fault.BAD_REQUEST, parameter=parameter, message=message)


def _missing(body: Mapping[str, Any]) -> Complaint | None:
    for name, kind in (("model", str), ("messages", list), ("max_tokens", int)):
        if name not in body:
            return _bad(name, f"{name}: Field required")
        if not isinstance(body[name], kind) or isinstance(body[name], bool):
            return _bad(name, f"{name}: Input should be a valid {kind.__name__}")
    return None


def _unknown_field(body: Mapping[str, Any]) -> Complaint | None:
    unknown = next((name for name in body if name not in _FIELDS), "")
    return _bad(unknown, f"{unknown}: Extra inputs are not permitted") if unknown else None


def _bad_number(body: Mapping[str, Any]) -> Complaint | None:
    if body["max_tokens"] < 0:
        return _bad("max_tokens", "max_tokens: must be greater than or equal to 0")
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            return _bad(name, f"{name}: range: 0..1")
    return None


def _deprecated(body: Mapping[str, Any]) -> Complaint | None:
    if not _WITHOUT_SAMPLING.match(body["model"]):
        return None
    for name in ("temperature", "top_p", "top_k"):
        if body.get(name) is not None:
            return Complaint(fault=Fault.UNSUPPORTED_PARAMETER, parameter=name)
    return None


def _bad_messages(messages: Sequence[Any]) -> Complaint | None:
    if not messages:
        return _bad("messages", "messages: at least one message is required")
    called: set[Any] = set()
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            return _bad("messages", f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if not index and role != "user":
            return _bad("messages", 'messages: first message must use the "user" role')
        blocks = message.get("content")
        if isinstance(blocks, list) and (complaint := _bad_blocks(index, blocks, called)):
            return complaint
        if not blocks:
            return _bad("messages", f"messages.{index}: all messages must have non-empty content")
    return None


def _bad_blocks(index: int, blocks: Sequence[Any], called: set[Any]) -> Complaint | None:
    for block in blocks:
        kind = block.get("type")
        if kind == "tool_use":
            called.add(block.get("id"))
        if kind == "tool_result" and block.get("tool_use_id") not in called:
            text = f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks"
            return _bad("messages", text)
        if kind == "text" and not block.get("text"):
            return _bad("messages", f"messages.{index}: text content blocks must be non-empty")
    return None


def call(asked: Asked) -> Call:
    """What a chat request without fault asks for."""
    body = asked.body
    choice = body.get("tool_choice") or {}
    return Call(
        model=body["model"],
        prompt=last_user_text(body["messages"], "content"),
        tools=tuple(tool.get("name", "") for tool in body.get("tools") or ()),
        forced_tools=1 if choice.get("type") in ("any", "tool") else 0,
        wanted_tool=choice.get("name", ""),
        stream=bool(body.get("stream")),
        usage_in_stream=True,
    )


def answer(script: Script) -> dict[str, Any]:
    """
    The body of a whole answer.

    A refusal says nothing but why; an answer that the content policy stops (``content_filter``) keeps its beginning.
    """
    blocks: list[dict[str, Any]] = []
    if script.reasoning:
        blocks.append({"type": "thinking", "thinking": script.reasoning, "signature": "c2lt"})
    if script.text and script.finish != "refusal":
        blocks.append({"type": "text", "text": script.text})
    blocks += (
        {"type": "tool_use", "id": each.identifier, "name": each.name, "input": dict(each.arguments)}
        for each in script.tool_calls
    )
    return {
        "id": f"msg_{script.identifier}",
        "type": "message",
        "role": "assistant",
        "model": script.model,
        "content": blocks,
        "stop_reason": _FINISH[script.finish],
        "stop_sequence": None,
        "stop_details": _details(script),
        "usage": _usage(script),
    }


def _details(script: Script) -> dict[str, Any] | None:
    """What is told about a refusal."""
    if _FINISH[script.finish] != "refusal":
        return None
    said = script.text if script.finish == "refusal" else "This answer was stopped by the usage policy."
    return {"type": "refusal", "category": None, "explanation": said or None}


def _usage(script: Script) -> dict[str, Any]:
    return {
        "input_tokens": script.prompt_tokens - script.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": script.cached_tokens,
        "output_tokens": script.completion_tokens,
        "output_tokens_details": {"thinking_tokens": script.reasoning_tokens},
        "service_tier": "standard",
    }


def without_choices(answer: dict[str, Any]) -> dict[str, Any]:
    """The same body without ``content``."""
    return {name: value for name, value in answer.items() if name not in ("content", "stop_reason")}


def without_message(answer: dict[str, Any]) -> dict[str, Any]:
    """The same body with no block and no stop reason."""
    return answer | {"content": [], "stop_reason": None}


def events(script: Script, shape: StreamShape) -> Iterator[Event]:
    """The named events of a streamed answer, ``message_stop`` included."""
    whole = answer(script)
    yield _named("message_start", message=_begun(whole))
    for _ in range(shape.pings):
        yield _named("ping")
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block, script)
    if shape.finish and whole["stop_reason"]:
        delta = {name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
        usage = {name: count for name, count in whole["usage"].items() if name != "service_tier"}
        yield _named("message_delta", delta=delta, usage=usage)
    if shape.done:
        yield _named("message_stop")


def _begun(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The message before its first block: what it costs and why it ends is not known yet."""
    usage = {name: count for name, count in whole["usage"].items() if name != "output_tokens_details"}
    return {**whole, "content": [], "stop_reason": None, "stop_details": None, "usage": usage | {"output_tokens": 1}}


def _named(name: str, **fields: Any) -> Event:
    return Event({"type": name, **fields}, name)


def _block_events(index: int, block: Mapping[str, Any], script: Script) -> Iterator[Event]:
    empty = {"text": "", "thinking": "", "input": {}, "signature": ""}
    start = {name: empty.get(name, value) for name, value in block.items()}
    yield _named("content_block_start", index=index, content_block=start)
    for delta in _block_deltas(block, script):
        yield _named("content_block_delta", index=index, delta=delta)
    yield _named("content_block_stop", index=index)


def _block_deltas(block: Mapping[str, Any], script: Script) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for piece in script.pieces():
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        for piece in script.reasoning_pieces():
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        text = next(each for each in script.tool_calls if each.identifier == block["id"]).arguments_text()
        pieces = ("", text[: len(text) // 2], text[len(text) // 2 :]) if text != "{}" else ("",)
        for piece in pieces:  # the first one is empty, and an input without fields has no other
            yield {"type": "input_json_delta", "partial_json": piece}


def error_event(body: Any) -> Event:
    """The error *body* as an event of a stream."""
    return Event(body, "error")


def models(known: Sequence[str]) -> Any:
    """The list of models."""
    entries = [
        {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"} for model in known
    ]
    first, last = (known[0], known[-1]) if known else (None, None)
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}
