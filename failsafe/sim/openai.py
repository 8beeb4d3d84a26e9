"""
The OpenAI dialect, as OpenAI and the servers that imitate it speak it.

Source: openai/openai-openapi, and the vendors' own references for what they do differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from failsafe.faults import Fault
from failsafe.sim.behaviour import StreamShape
from failsafe.sim.dialect import Asked, Event, Route, last_user_text, names
from failsafe.sim.script import Call, Script, ToolCall
from failsafe.sim.vendors import Complaint
from failsafe.sim.wire import Head

_PREFIX = r"(?:/v1|/openai/v1|/api/v1)?"
_CHAT = re.compile(_PREFIX + r"/chat/completions")
_EMBEDDINGS = re.compile(_PREFIX + r"/embeddings")
_MODELS = re.compile(_PREFIX + r"/models|/openai/models")
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/chat/completions")

_FIELDS = names(
    """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort
    response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice
    tools top_logprobs top_p user verbosity web_search_options
    """
)
_MISTRAL_FIELDS = names(
    """
    frequency_penalty max_tokens messages metadata model n parallel_tool_calls prediction presence_penalty prompt_mode
    random_seed response_format safe_prompt stop stream temperature tool_choice tools top_p
    """
)
_REFUSED_FIELDS = {"openai": _FIELDS, "azure": _FIELDS, "mistral": _MISTRAL_FIELDS}
"""What the vendors that refuse unknown fields know; all others ignore what they do not know."""

_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_REASONING_MODEL = re.compile(r"(?:openai/)?(?:o\d|gpt-(?:[5-9]|\d\d))")
_MISTRAL_TOOL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")


def route(head: Head) -> Route | None:
    """What the address is for, or None when there is nothing at it."""
    if _CHAT.fullmatch(head.path):
        return Route("chat")
    if _EMBEDDINGS.fullmatch(head.path):
        return Route("embeddings")
    if _MODELS.fullmatch(head.path):
        return Route("models")
    if head.path in ("/api/v1/key", "/user/balance"):
        return Route("account")
    if deployment := _DEPLOYMENT.fullmatch(head.path):
        return Route("chat", model=deployment[1])
    return None


def complaint_about(asked: Asked) -> Complaint | None:
    """What the vendor would find wrong with a chat request, or None."""
    body, vendor = asked.body, asked.vendor
    if not isinstance(body, dict):
        return _bad("body", "We could not parse the JSON body of your request.")
    return (
        _missing(asked.route, body)
        or _unknown_field(body, vendor)
        or _bad_messages(body["messages"], vendor)
        or _bad_number(body)
        or _unsupported(body, vendor)
    )


def _bad(parameter: str, message: str, code: str | None = None, status: int | None = None) -> Complaint:
    return Complaint(fault=Fault.BAD_REQUEST, parameter=parameter, message=message, code=code, status=status)


def _missing(route: Route, body: Mapping[str, Any]) -> Complaint | None:
    if not route.model and not (isinstance(body.get("model"), str) and body["model"]):
        return _bad("model", "you must provide a model parameter")
    messages = body.get("messages")
    if messages is None:
        return _bad("messages", "Missing required parameter: 'messages'.", "missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        return _bad("messages", "Invalid 'messages': expected an array with minimum length 1.", "empty_array")
    return None


def _unknown_field(body: Mapping[str, Any], vendor: str) -> Complaint | None:
    known = _REFUSED_FIELDS.get(vendor)
    unknown = "" if known is None else next((name for name in body if name not in known), "")
    if not unknown:
        return None
    if vendor == "mistral":
        return _bad(unknown, "Extra inputs are not permitted", status=422)
    return _bad(unknown, f"Unrecognized request argument supplied: {unknown}", "unknown_parameter")


def _bad_messages(messages: Sequence[Any], vendor: str) -> Complaint | None:
    called: set[Any] = set()
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _ROLES:
            return _bad(f"messages[{index}].role", f"Missing or invalid value: 'messages[{index}].role'.")
        if vendor == "deepseek" and role == "developer":
            return _bad(f"messages[{index}].role", "messages: unknown variant `developer`", status=422)
        calls = message.get("tool_calls") or ()
        called.update(call.get("id") for call in calls)
        if role == "tool" and message.get("tool_call_id") not in called:
            where = f"messages[{index}].tool_call_id"
            return _bad(where, "Messages with role 'tool' must be a response to a preceding 'tool_calls'.")
        if role == "assistant" and message.get("content") is None and not calls:
            return _bad(f"messages[{index}].content", f"Invalid value for 'content': expected a string at {index}.")
    return _bad_tool_call_id(called) if vendor == "mistral" else None


def _bad_tool_call_id(identifiers: Iterable[Any]) -> Complaint | None:
    for identifier in identifiers:
        if not _MISTRAL_TOOL_CALL_ID.fullmatch(str(identifier)):
            text = f"Tool call id was {identifier} but must be a-z, A-Z, 0-9, with a length of 9."
            return _bad("tool_call_id", text, "3280")
    return None


def _bad_number(body: Mapping[str, Any]) -> Complaint | None:
    for name, least, most in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
        ("max_tokens", 1, 2**31),
        ("max_completion_tokens", 1, 2**31),
        ("n", 1, 128),
    ):
        value = body.get(name)
        if value is not None and not (isinstance(value, int | float) and least <= value <= most):
            return _bad(name, f"Invalid '{name}': expected a number from {least} to {most}.", "invalid_value")
    return None


def _unsupported(body: Mapping[str, Any], vendor: str) -> Complaint | None:
    """What OpenAI's reasoning models refuse."""
    if vendor not in ("openai", "azure") or not _REASONING_MODEL.match(str(body.get("model", ""))):
        return None
    if body.get("max_tokens") is not None:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return Complaint(fault=Fault.UNSUPPORTED_PARAMETER, parameter="max_tokens", message=text)
    if body.get("temperature") not in (None, 1):
        text = "Unsupported value: 'temperature' does not support this value with this model. Only the default (1)."
        return Complaint(
            fault=Fault.UNSUPPORTED_PARAMETER, parameter="temperature", message=text, code="unsupported_value"
        )
    if body.get("stop") is not None:
        return Complaint(fault=Fault.UNSUPPORTED_PARAMETER, parameter="stop")
    return None


def call(asked: Asked) -> Call:
    """What a chat request without fault asks for."""
    route, body = asked.route, asked.body
    choice = body.get("tool_choice")
    named = choice.get("function", {}).get("name", "") if isinstance(choice, dict) else ""
    options = body.get("stream_options") or {}
    return Call(
        model=route.model or body["model"],
        prompt=last_user_text(body["messages"], "content"),
        tools=tuple(tool.get("function", {}).get("name", "") for tool in body.get("tools") or ()),
        forced_tools=1 if named or choice in ("required", "any") else 0,
        wanted_tool=named,
        stream=bool(body.get("stream")),
        usage_in_stream=bool(options.get("include_usage")),
    )


def answer(script: Script) -> dict[str, Any]:
    """The body of a whole answer."""
    return {
        **_frame(script, "chat.completion"),
        "choices": [{"index": 0, "message": _message(script), "logprobs": None, "finish_reason": _finish(script)}],
        "usage": _usage(script),
    }


def _frame(script: Script, kind: str) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "id": f"chatcmpl-{script.identifier}",
        "object": kind,
        "created": script.created,
        "model": script.model,
    }
    if script.vendor in ("openai", "azure"):
        frame |= {"service_tier": "default", "system_fingerprint": "fp_sim"}
    if script.vendor == "openrouter":
        frame["provider"] = "Simulated"
    return frame


def _message(script: Script) -> dict[str, Any]:
    refused = script.finish == "refusal"
    content: Any = None if _silent(script) else script.text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": script.text if refused else None}
    if script.reasoning:
        message |= _reasoning(script.vendor, script.reasoning)
    if script.reasoning and script.vendor == "mistral":
        message["content"] += [{"type": "text", "text": content}] if content else []
    if script.tool_calls:
        message["tool_calls"] = [_tool_call(each) for each in script.tool_calls]
    return message


def _silent(script: Script) -> bool:
    """Whether an answer has no content."""
    return bool(script.tool_calls) or script.finish in ("refusal", "content_filter")


def _reasoning(vendor: str, text: str) -> dict[str, Any]:
    """The fields in which *vendor* shows reasoning, whole or a piece of it."""
    if vendor == "mistral":
        return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
    if vendor == "openrouter":
        detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
        return {"reasoning": text, "reasoning_details": [detail]}
    return {"reasoning" if vendor == "groq" else "reasoning_content": text}


def _tool_call(each: ToolCall) -> dict[str, Any]:
    function = {"name": each.name, "arguments": each.arguments_text()}
    return {"id": each.identifier, "type": "function", "function": function}


def _finish(script: Script) -> str | None:
    if script.finish == "missing":
        return None
    return "stop" if script.finish == "refusal" else script.finish


def _usage(script: Script) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.completion_tokens,
        "total_tokens": script.prompt_tokens + script.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": script.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
    }
    if script.vendor == "deepseek":
        usage["prompt_cache_hit_tokens"] = script.cached_tokens
        usage["prompt_cache_miss_tokens"] = script.prompt_tokens - script.cached_tokens
    return usage


def without_choices(answer: dict[str, Any]) -> dict[str, Any]:
    """The same body with an empty list of choices."""
    return answer | {"choices": []}


def without_message(answer: dict[str, Any]) -> dict[str, Any]:
    """The same body with a choice that says nothing and gives no reason."""
    message = {"role": "assistant", "content": None}
    return answer | {"choices": [{"index": 0, "message": message, "finish_reason": None}]}


def events(script: Script, shape: StreamShape) -> Iterator[Event]:
    """The chunks of a streamed answer, and ``[DONE]``."""
    frame = _frame(script, "chat.completion.chunk") | ({"usage": None} if shape.usage else {})
    if script.vendor == "azure":
        filters = [{"prompt_index": 0, "content_filter_results": {}}]
        yield Event({**frame, "id": "", "model": "", "choices": [], "prompt_filter_results": filters})
    for delta, finish in _deltas(script, shape):
        if finish and script.vendor == "azure":
            yield Event(frame | {"choices": [_verdict(script)]})  # the filter, which works beside the model
        chunk = frame | {"choices": [_choice(script.vendor, delta, finish)]}
        if shape.obfuscation:
            chunk["obfuscation"] = "x" * (7 + len(delta) * 3)
        if script.vendor == "groq" and (finish or "role" in delta):
            chunk["x_groq"] = {"id": f"req_{script.identifier}"} | ({"usage": _usage(script)} if finish else {})
        if finish and script.vendor in ("mistral", "deepseek"):
            chunk["usage"] = _usage(script)
        yield Event(chunk)
    if shape.usage:
        yield Event(frame | {"choices": [], "usage": _usage(script)})
    if shape.done:
        yield Event("[DONE]")


def _choice(vendor: str, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    if vendor in ("openai", "azure"):
        choice["logprobs"] = None
    if vendor == "openrouter":
        choice |= {"delta": {"role": "assistant", "content": "", **delta}, "native_finish_reason": finish}
    return choice


def _verdict(script: Script) -> dict[str, Any]:
    """A choice without a delta."""
    offsets = {"check_offset": 0, "start_offset": 0, "end_offset": len(script.text)}
    results = {"hate": {"filtered": False, "severity": "safe"}}
    return {
        "index": 0, "finish_reason": None, "content_filter_results": results, "content_filter_offsets": offsets,
    }  # fmt: skip


def _deltas(script: Script, shape: StreamShape) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield _first_delta(script), None
    for piece in script.reasoning_pieces():
        yield _beside(script.vendor, _reasoning(script.vendor, piece), "content"), None
    field = "refusal" if script.finish == "refusal" else "content"
    for piece in script.pieces():
        yield _beside(script.vendor, {field: piece}, "reasoning_content"), None
    for index, each in enumerate(script.tool_calls):
        for delta in _tool_deltas(script.vendor, index, each):
            yield delta, None
    finish = _finish(script)
    if shape.finish and finish:
        yield {}, finish


def _first_delta(script: Script) -> dict[str, Any]:
    """The role; llama.cpp, like others that are no vendor, has no content yet, and OpenAI none before tool calls."""
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    if script.vendor == "generic" or (script.vendor == "openai" and _silent(script)):
        delta["content"] = None
    return delta | ({"refusal": None} if script.vendor in ("openai", "azure") else {})


def _beside(vendor: str, delta: dict[str, Any], field: str) -> dict[str, Any]:
    """*delta* with an empty *field* where DeepSeek names both text and reasoning."""
    return {**delta, field: None} if vendor == "deepseek" else delta


def _tool_deltas(vendor: str, index: int, each: ToolCall) -> Iterator[dict[str, Any]]:
    """One tool call: first its id and name, then the arguments in two pieces; Mistral sends it whole."""
    text = each.arguments_text()
    if vendor == "mistral":
        yield {"tool_calls": [{"index": index, **_tool_call(each)}]}
        return
    start = {"name": each.name, "arguments": ""}
    yield {"tool_calls": [{"index": index, "id": each.identifier, "type": "function", "function": start}]}
    for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def error_event(body: Any) -> Event:
    """The error *body* as an event of a stream."""
    event = body if isinstance(body, dict) and "error" in body else {"error": body}
    if isinstance(event["error"], dict) and "metadata" in event["error"]:  # OpenRouter's ends the choice, too
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        event = {"object": "chat.completion.chunk", "provider": "Simulated", "choices": [choice], **event}
    return Event(event)


def models(known: Sequence[str]) -> Any:
    """The list of models."""
    entries = [{"id": model, "object": "model", "created": 1_700_000_000, "owned_by": "sim"} for model in known]
    return {"object": "list", "data": entries}
