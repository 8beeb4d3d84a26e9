"""
Reading a chat completion: lenient about its form, strict about what is an answer.

Whatever a server adds or leaves out is borne; what is no complete answer (an error inside a 200,
no choices, a filtered text, nothing at all) becomes a failure and never an empty success.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from failsafe.faults import Fault
from failsafe.masking import mask, shorten
from failsafe.models import Answer, Failure, FinishReason, ToolCall, Usage
from failsafe.pricing import EXACT
from failsafe.providers.base import Target
from failsafe.providers.common import arguments_text, made_up_id, plain_text, text_of, token_count, usd

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_BROKEN = {
    "error": (Fault.SERVER, "the provider gave up on the answer (finish_reason error)"),
    "insufficient_system_resource": (Fault.OVERLOADED, "the provider ran out of capacity while answering"),
}
_LONGEST_MESSAGE = 400
_THINKING = frozenset({"thinking", "reasoning"})


def read_answer(body: Any, target: Target) -> Answer | Failure:
    """The answer in a decoded 2xx *body* of *target*, or why it is none; never raises."""
    try:
        return _read(body, target)
    except RecursionError:
        return malformed("the answer is nested too deeply")


def _read(body: Any, target: Target) -> Answer | Failure:
    if not isinstance(body, dict):
        return malformed(f"the answer is JSON, but no object ({type(body).__name__})")
    failure = error_of_body(body)
    if failure is not None:
        return failure
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        return malformed(f"the answer has no choices{said_instead(body)}")
    choice = choices[0]
    if not isinstance(choice, dict):
        return malformed("choices[0] is no object")
    word = choice.get("finish_reason")
    if choice.get("error") or not isinstance(word, str) or word not in _FINISH:
        return error_of_choice(choice) or _read_choice(choice, body, target)
    return _read_choice(choice, body, target)


def error_of_body(body: Mapping[str, Any]) -> Failure | None:
    """The error that a body, or a chunk of a stream, holds beside its choices or instead of them."""
    if body.get("error") or body.get("object") == "error":
        return reported(body.get("error") or body, body.get("code"))
    return None


def error_of_choice(choice: Mapping[str, Any]) -> Failure | None:
    """The error that a choice holds, or that its finish reason tells."""
    if choice.get("error"):
        return reported(choice["error"])
    word = text_of(choice.get("finish_reason")).lower()
    if word not in _BROKEN:
        return None
    fault, said = _BROKEN[word]
    return Failure(fault=fault, message=said, code=word, maybe_billed=True)


def _read_choice(choice: dict[str, Any], body: dict[str, Any], target: Target) -> Answer | Failure:
    word = text_of(choice.get("finish_reason")).lower()
    message = choice.get("message")
    if not isinstance(message, dict):
        return malformed("choices[0] has no message")
    calls = _tool_calls(message, text_of(body.get("id")))
    if calls is None:
        return malformed("a tool call in the answer has no function name")
    content, reasoning = _texts(message)
    refusal = text_of(message.get("refusal")) or None
    if word == "content_filter":
        return _filtered(content)
    # Nothing said and no known end: OpenRouter answers so while it warms a model up.
    if not (content or reasoning or refusal or calls) and word not in _FINISH:
        return malformed("the answer is empty and has no known finish reason")
    return Answer(
        content=content,
        finish_reason=_finish_reason(word, called=bool(calls)),
        tool_calls=calls,
        usage=_usage(body.get("usage"), target),
        model=text_of(body.get("model")),
        id=text_of(body.get("id")),
        refusal=refusal,
        reasoning=reasoning or None,
        provider_data=_provider_data(message, calls, target),
        raw=body,
    )


def _finish_reason(word: str, *, called: bool) -> FinishReason:
    """The normalised reason; a named ``tool_choice`` and some servers say ``stop`` where a tool is called."""
    reason = _FINISH.get(word, "stop")
    return "tool_calls" if called and reason == "stop" else reason


def _texts(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text and the reasoning of a message; thinking models of Mistral put both into one list of parts."""
    content = message.get("content")
    reasoning = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
    if isinstance(content, list) and not reasoning:
        reasoning = "".join(map(thought_of, content))
    return plain_text(content), reasoning


def thought_of(part: Any) -> str:
    """The reasoning in one part of a message's content, or ""."""
    if not isinstance(part, dict) or text_of(part.get("type")) not in _THINKING:
        return ""
    return plain_text(part.get("thinking") or part.get("text"))


def _tool_calls(message: Mapping[str, Any], answer_id: str) -> tuple[ToolCall, ...] | None:
    """The calls of a message, each with an id of its own; None if one of them names no function."""
    given = message.get("tool_calls")
    old = message.get("function_call")
    if not given and not old:  # as most messages
        return ()
    entries = list(given) if isinstance(given, list) else []
    if not entries and isinstance(old, dict):
        entries = [{"function": old}]
    calls: dict[str, ToolCall] = {}
    for index, entry in enumerate(entries):
        function = entry.get("function") if isinstance(entry, dict) else None
        if not isinstance(function, dict) or not text_of(function.get("name")):
            return None
        name, arguments = function["name"], arguments_text(function.get("arguments"))
        call_id = text_of(entry.get("id"))
        if not call_id or call_id in calls:
            call_id = made_up_id(answer_id, index, name, arguments)
        calls[call_id] = ToolCall(id=call_id, name=name, arguments=arguments)
    return tuple(calls.values())


def _provider_data(message: Mapping[str, Any], calls: tuple[ToolCall, ...], target: Target) -> Mapping[str, Any] | None:
    """
    What the same provider and model want back with this turn.

    ``reasoning_content`` for DeepSeek, ``reasoning_details`` for OpenRouter, and the
    ``extra_content`` that carries thought signatures on Gemini's compatible endpoint.
    """
    data: dict[str, Any] = {}
    if target.quirks.returns_reasoning and text_of(message.get("reasoning_content")):
        data["reasoning_content"] = message["reasoning_content"]
    for key in ("reasoning_details", "extra_content"):
        if message.get(key):
            data[key] = message[key]
    if not calls:
        return data or None
    given = message.get("tool_calls")
    signed = {
        call.id: {"extra_content": entry["extra_content"]}
        for call, entry in zip(calls, given if isinstance(given, list) else (), strict=False)
        if entry.get("extra_content")
    }
    if signed:
        data["tool_calls"] = signed
    return data or None


def _usage(given: Any, target: Target) -> Usage:
    if not isinstance(given, dict):
        return Usage()
    prompt = token_count(given.get("prompt_tokens"))
    completion = token_count(given.get("completion_tokens"))
    read, written = _detail(given, "prompt", "cached_tokens"), _detail(given, "prompt", "cache_write_tokens")
    reasoning = _detail(given, "completion", "reasoning_tokens")
    if reasoning and token_count(given.get("total_tokens")) == prompt + completion + reasoning:
        # Servers that count reasoning beside the completion give themselves away by the sum.
        completion += reasoning
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(read or token_count(given.get("prompt_cache_hit_tokens")), prompt),
        cache_write_tokens=min(written, prompt),
        reasoning_tokens=min(reasoning, completion),
        cost_usd=stated_cost(given, target),
    )


def stated_cost(usage: Mapping[str, Any], target: Target) -> Decimal | None:
    """
    USD that the provider says it charges, or None.

    HolySheep's articles show ``cost_usd``, whose name says what it is wherever it comes from. OpenRouter's ``cost``
    is in its credits, which are dollars (openrouter.ai, "Usage Accounting"); where the caller's own key of the vendor
    is used, that is OpenRouter's fee, and the vendor charges its own cost beside it. Anybody else's ``cost`` may be in
    any unit.
    """
    if "cost_usd" in usage:
        return usd(usage["cost_usd"])
    if target.vendor != "openrouter":
        return None
    cost = usd(usage.get("cost"))
    if cost is None or usage.get("is_byok") is not True:
        return cost
    details = usage.get("cost_details")
    upstream = usd(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    return None if upstream is None else EXACT.add(cost, upstream)


def _detail(usage: Mapping[str, Any], side: str, name: str) -> int:
    details = usage.get(f"{side}_tokens_details")
    return token_count(details.get(name)) if isinstance(details, dict) else 0


def malformed(message: str) -> Failure:
    """An answer, or a chunk of one, that cannot be used."""
    return Failure(fault=Fault.MALFORMED, message=message, maybe_billed=True)


def _filtered(content: str) -> Failure:
    return Failure(
        fault=Fault.CONTENT_FILTER,
        message="the provider's content filter stopped the answer",
        code="content_filter",
        partial=content,
        maybe_billed=True,
    )


def reported(error: Any, code_beside: Any = None) -> Failure:
    """An error that the provider put into a success; xAI's is a bare sentence with the code beside it."""
    said = error if isinstance(error, dict) else {"message": error, "code": code_beside}
    code = said.get("code") if said.get("code") is not None else said.get("type")
    message = _masked(text_of(said.get("message"))) or "no reason given"
    return Failure(
        fault=Fault.SERVER,
        message=f"an error inside a success: {message}",
        code=str(code)[:80] if isinstance(code, str | int) else None,
        maybe_billed=True,
    )


def said_instead(body: Mapping[str, Any]) -> str:
    """What a body without choices says instead, if it says anything."""
    for key in ("message", "detail", "msg"):
        if text_of(body.get(key)):
            return f": {_masked(body[key])}"
    return ""


def _masked(text: str) -> str:
    """A stranger's *text* without keys, in one line of bounded length; a huge one is never searched whole."""
    return shorten(mask(text[: 2 * _LONGEST_MESSAGE]), _LONGEST_MESSAGE)
